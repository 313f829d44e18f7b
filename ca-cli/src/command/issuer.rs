//! `ca-cli issuer request` and `ca-cli issuer import`.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use ceremony::{Sha256, display};
use hsm::{Found, HsmKey, KeySpec, PinSource, Pkcs11Uri, Token, TokenConfig};

use crate::ceremony::exchange;
use crate::cli::issuer::{IssuerCommand, IssuerKey};
use crate::exit::{Exit, Failure, read};
use crate::output::Report;

pub(super) fn run(command: &IssuerCommand, no_input: bool) -> Result<Report, Failure> {
    match command {
        IssuerCommand::Request {
            key,
            organization,
            common_name,
            out,
        } => {
            let key = find(key, true, no_input)?;
            let request = exchange::request(organization, common_name, &key)?;
            put(out, &request)?;
            let sha256 = Sha256::of(&request);
            let json = serde_json::json!({
                "schema": "holdfast.issuer-request.v1", "request": out, "sha256": sha256,
                "spki_sha256": Sha256::of(issuance::CaKey::spki(&key)),
            });
            Ok(Report::new(json, move |_| {
                format!(
                    "request sha256\n{}\nTake it to the ceremony; read the digest to the administrator by another way.\n",
                    display::groups(&sha256)
                )
            }))
        }
        IssuerCommand::Import {
            archive,
            request,
            key,
            to,
            rehearsal,
        } => {
            let key = find(key, false, no_input)?;
            let accepted = exchange::accept(&read(archive)?, &read(request)?, &key, *rehearsal)?;
            let pem = |ders: &[&[u8]]| -> Result<Vec<u8>, Failure> {
                let mut text = Vec::new();
                for der in ders {
                    let x509 = openssl::x509::X509::from_der(der).and_then(|x| x.to_pem());
                    text.extend(x509.context("certificate")?);
                }
                Ok(text)
            };
            std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
            put(&to.join("root.pem"), &pem(&[&accepted.root])?)?;
            put(&to.join("issuing.pem"), &pem(&[&accepted.issuing])?)?;
            put(&to.join("chain.pem"), &pem(&[&accepted.issuing, &accepted.root])?)?;
            let sha256 = Sha256::of(&accepted.issuing);
            let json = serde_json::json!({ "schema": "holdfast.issuer-import.v1", "dir": to, "sha256": sha256 });
            let to = to.display().to_string();
            Ok(Report::new(json, move |_| {
                format!(
                    "{to}/chain.pem\nissuing CA sha256\n{}\nserver.toml: [issuer] certificate = \"{to}/chain.pem\"\n",
                    display::groups(&sha256)
                )
            }))
        }
    }
}

/// The key in its token, proven; made if it is not there and that is wanted.
pub(super) fn find(wanted: &IssuerKey, make: bool, no_input: bool) -> Result<HsmKey, Failure> {
    let pin = match &wanted.pin_file {
        Some(path) => PinSource::File(path.clone()),
        None if no_input => {
            return Err(Failure::new(Exit::Stopped, "the PIN would have to be asked").fix("--pin-file FILE, mode 0600"));
        }
        None => PinSource::Prompt,
    };
    let pin = pin.read(None).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let id = hex::decode(&wanted.id).ok().filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| Failure::new(Exit::Usage, "--id: a CKA_ID in hex"))?;
    let config = TokenConfig {
        uri: Pkcs11Uri {
            token: Some(wanted.token.clone()),
            module_path: Some(wanted.module.clone()),
            ..Pkcs11Uri::default()
        },
        sessions: 1,
        queue_deadline: Duration::from_secs(10),
        login_backoff: Duration::from_secs(10),
    };
    let token = Token::open(config, pin).map_err(|e| Failure::new(Exit::TryAgain, e.to_string()))?;
    let spec = KeySpec {
        label: wanted.label.clone(),
        id,
        algorithm: wanted.algorithm,
    };
    let failed = |e: hsm::HsmError| Failure::new(Exit::No, e.to_string());
    match (token.found(&spec).map_err(failed)?, make) {
        (Found::Nothing, true) => {
            token.generate(&spec).map_err(failed)?;
        }
        (Found::Nothing, false) => return Err(Failure::new(Exit::NotFound, "the token has no such key")),
        _ => {}
    }
    if token.id_of(&spec.label).map_err(failed)? != spec.id {
        return Err(Failure::new(Exit::No, "label and id are of two keys"));
    }
    token.own_key(&spec.id, spec.algorithm).map_err(failed)
}

/// A new file; one that is there is never overwritten.
pub(super) fn put(path: &Path, content: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path);
    let written = opened.and_then(|mut f| f.write_all(content).and_then(|()| f.sync_all()));
    written.map_err(|e| {
        let exit = match e.kind() {
            std::io::ErrorKind::AlreadyExists => Exit::Conflict,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{}: {e}", path.display()))
    })
}
