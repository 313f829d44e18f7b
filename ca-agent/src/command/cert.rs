//! `ca-agent cert show|path`.

use openssl::asn1::Asn1Time;
use openssl::x509::X509;

use super::Said;
use crate::cli::{CertCommand, Cli};
use crate::error::AgentError;
use crate::received::binding_in;
use crate::state::{State, StateError};
use crate::words::date;

/// The certificates a device may have, and what they are called.
const FILES: [(&str, &str); 2] = [("identity", "cert.pem"), ("attestation", "ak-cert.pem")];

pub(super) fn run(cli: &Cli, command: &CertCommand) -> Result<Said, AgentError> {
    let state = State::look(&cli.state_dir);
    match command {
        CertCommand::Show => show(&state),
        CertCommand::Path => {
            let path = state.path("cert.pem");
            if state.read("cert.pem")?.is_none() {
                return Err(none());
            }
            let text = path.display().to_string();
            Ok(Said::new(
                serde_json::json!({ "schema": "holdfast.path.v1", "path": text }),
                text,
            ))
        }
    }
}

fn none() -> AgentError {
    AgentError::NotFound("this device has no certificate yet: ca-agent enroll".into())
}

fn show(state: &State) -> Result<Said, AgentError> {
    let mut items = Vec::new();
    let mut text = String::new();
    for (key, file) in FILES {
        let Some(certificate) = read(state, file)? else {
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
        let expires = unix(&certificate).unwrap_or_default();
        let hexed = |field: Option<&[u8]>| field.map(hex::encode);
        let (ak, ik) = (
            hexed(binding.as_ref().map(|b| b.ak_name.as_bytes())),
            hexed(binding.as_ref().map(|b| b.ik_name.as_bytes())),
        );
        items.push(serde_json::json!({
            "key": key, "file": state.path(file), "serial": serial, "not_after": expires,
            "sha256": hex::encode(openssl::sha::sha256(&der)), "ak_name": ak, "ik_name": ik,
        }));
        text.push_str(&format!(
            "{key} key\n  serial     {serial}\n  expires    {}\n",
            date(expires)
        ));
        if let (Some(ak), Some(ik)) = (ak, ik) {
            text.push_str(&format!("  this key   {ik}\n  attested   by {ak}\n"));
        }
        text.push_str(&format!("  file       {}\n", state.path(file).display()));
    }
    if items.is_empty() {
        return Err(none());
    }
    Ok(Said::new(
        serde_json::json!({ "schema": "holdfast.certificates.v1", "items": items }),
        text,
    ))
}

fn read(state: &State, file: &str) -> Result<Option<X509>, StateError> {
    let Some(pem) = state.read(file)? else { return Ok(None) };
    let certificate = X509::from_pem(&pem);
    certificate.map(Some).map_err(|e| StateError::Damaged {
        path: state.path(file),
        detail: e.to_string(),
    })
}

/// Last second of a certificate.
fn unix(certificate: &X509) -> Option<i64> {
    let epoch = Asn1Time::from_unix(0).ok()?;
    let distance = epoch.diff(certificate.not_after()).ok()?;
    Some(i64::from(distance.days) * 86_400 + i64::from(distance.secs))
}

/// Last second of the certificate in `file`, if there is one.
pub(super) fn not_after(state: &State, file: &str) -> Result<Option<i64>, StateError> {
    Ok(read(state, file)?.as_ref().and_then(unix))
}
