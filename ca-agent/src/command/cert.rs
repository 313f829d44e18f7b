//! `ca-agent cert show|path`.

use openssl::x509::{X509NameEntryRef, X509NameRef};

use super::Said;
use crate::cli::CertCommand;
use crate::config::Config;
use crate::error::AgentError;
use crate::received::binding_in;
use crate::state::{State, StateError};
use crate::stored;
use crate::words::{clean, date};

/// The certificates a device may have, and what they are called.
const FILES: [(&str, &str); 2] = [("identity", stored::IDENTITY), ("attestation", stored::ATTESTATION)];

pub(super) fn run(config: &Config, command: &CertCommand) -> Result<Said, AgentError> {
    let state = State::look(&config.state_dir);
    match command {
        CertCommand::Show => show(&state),
        CertCommand::Path => {
            let path = state.path(stored::IDENTITY);
            if state.read(stored::IDENTITY)?.is_none() {
                return Err(none());
            }
            let text = path.display().to_string();
            Ok(Said::new(
                serde_json::json!({ "schema": "holdfast.path.v1", "path": text }),
                text.clone(),
                text,
            ))
        }
    }
}

fn none() -> AgentError {
    AgentError::NotFound("this device has no certificate yet: ca-agent enroll".into())
}

/// `O=Example, CN=Issuing 1A`.
fn name(name: &X509NameRef) -> String {
    let part = |entry: &X509NameEntryRef| {
        let key = entry.object().nid().short_name().unwrap_or("?").to_owned();
        let value = String::from_utf8_lossy(entry.data().as_slice()).into_owned();
        format!("{key}={value}")
    };
    name.entries().map(part).collect::<Vec<_>>().join(", ")
}

fn show(state: &State) -> Result<Said, AgentError> {
    let mut items = Vec::new();
    let mut text = String::new();
    let mut serials = Vec::new();
    for (key, file) in FILES {
        let Some(certificate) = stored::certificate(state, file)? else {
            continue;
        };
        let damaged = |detail: String| StateError::Damaged {
            path: state.path(file),
            detail,
        };
        let der = certificate.to_der().map_err(|e| damaged(e.to_string()))?;
        let binding = binding_in(&der);
        let serial = certificate
            .serial_number()
            .to_bn()
            .map(|n| hex::encode(n.to_vec()))
            .unwrap_or_default();
        let expires = stored::last_second(&certificate).unwrap_or_default();
        let hexed = |field: Option<&[u8]>| field.map(hex::encode);
        let (ak, ik) = (
            hexed(binding.as_ref().map(|b| b.voucher_name())),
            hexed(binding.as_ref().map(|b| b.ik_name())),
        );
        let (subject, issuer) = (name(certificate.subject_name()), name(certificate.issuer_name()));
        items.push(serde_json::json!({
            "key": key, "file": state.path(file), "serial": serial, "not_after": expires,
            "subject": subject, "issuer": issuer,
            "sha256": hex::encode(openssl::sha::sha256(&der)), "ak_name": ak, "ik_name": ik,
            "basis": binding.as_ref().map(|b| b.basis().as_str()),
        }));
        text.push_str(&format!(
            "certificate of the {key} key\n  subject    {}\n  issuer     {}\n  serial     {serial}\n  expires    {}\n",
            clean(&subject),
            clean(&issuer),
            date(expires)
        ));
        if let (Some(ak), Some(ik)) = (ak, ik) {
            text.push_str(&format!("  this key   TPM Name {ik}\n  proven by  TPM Name {ak}\n"));
        }
        text.push_str(&format!("  file       {}\n", state.path(file).display()));
        serials.push(serial);
    }
    if items.is_empty() {
        return Err(none());
    }
    text.push_str(&format!(
        "next: anybody who knows the CA's root verifies it\n  ca-cli verify {} --trust root.pem --untrusted {}\n",
        state.path(stored::IDENTITY).display(),
        state.path("chain.pem").display()
    ));
    Ok(Said::new(
        serde_json::json!({ "schema": "holdfast.certificates.v1", "items": items }),
        text,
        serials.join("\n"),
    ))
}
