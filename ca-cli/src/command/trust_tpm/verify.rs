//! `ca-cli trust tpm verify FILE`: whose signature it is, and that it does not go back.

use std::path::{Path, PathBuf};

use policies::trust::TrustStore;
use policies::trust::bundle::{self, SignedBundle, TrustKey};
use serde_json::json;

use super::{counted, counts};
use crate::exit::{Exit, Failure};
use crate::output::{Report, fields};

/// Where the signature of a store lies.
pub(super) fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

pub(super) fn run(file: &Path, keys: &[PathBuf], after: Option<&Path>) -> Result<Report, Failure> {
    let wrong = |exit, path: &Path, e: &dyn core::fmt::Display| Failure::new(exit, format!("{}: {e}", path.display()));
    let keys = keys
        .iter()
        .map(|path| TrustKey::from_pem(&crate::exit::read(path)?).map_err(|e| wrong(Exit::Usage, path, &e)))
        .collect::<Result<Vec<_>, _>>()?;
    let signature = crate::exit::read(&beside(file))?;
    // Nothing is read in it before that.
    let bytes = crate::exit::read(file)?;
    let key = bundle::signed_by(&bytes, &signature, &keys).map_err(|e| wrong(Exit::No, file, &e))?;
    let sha256 = attest::sha256(&bytes);
    let (_, store) = parse(file, bytes)?;
    if let Some(path) = after {
        let (text, before) = parse(path, crate::exit::read(path)?)?;
        let bundle = SignedBundle {
            file: file.display().to_string(),
            about: store.about().as_str(),
            version: store.version(),
            sha256,
            key_sha256: key.sha256(),
        };
        if before.about() != store.about() {
            return Err(wrong(Exit::Usage, path, &"a store about something else"));
        }
        bundle
            .may_follow(before.version(), &attest::sha256(text.as_bytes()))
            .map_err(|e| wrong(Exit::No, file, &e))?;
    }
    let lines = [
        ("file", file.display().to_string()),
        ("about", store.about().as_str().to_owned()),
        ("version", store.version().to_string()),
        ("holds", counted(&counts(&store))),
        ("SHA-256", hex::encode(sha256)),
        ("signed by", hex::encode(key.sha256())),
    ];
    let json = json!({
        "schema": "holdfast.trust-verify.v1",
        "about": store.about().as_str(),
        "version": store.version(),
        "sha256": hex::encode(sha256),
        "key_sha256": hex::encode(key.sha256()),
    });
    let text = fields(&lines);
    Ok(Report::new(json, move |_| text.trim_end().to_owned()))
}

fn parse(path: &Path, bytes: Vec<u8>) -> Result<(String, TrustStore), Failure> {
    let wrong = |e: &dyn core::fmt::Display| Failure::new(Exit::Usage, format!("{}: {e}", path.display()));
    let text = String::from_utf8(bytes).map_err(|_| wrong(&"not UTF-8"))?;
    let store =
        TrustStore::parse(&path.display().to_string(), &text).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    Ok((text, store))
}
