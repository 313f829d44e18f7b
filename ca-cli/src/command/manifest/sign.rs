//! `ca-cli manifest key` and `ca-cli manifest sign`.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use issuance::{CaKey as _, Statement};
use manifest::Seal;

use super::verify::{self, Whole};
use super::{NewFile, open};
use crate::cli::issuer::IssuerKey;
use crate::command::issuer;
use crate::exit::{Exit, Failure};
use crate::fingerprint::groups;
use crate::manifest::bad::Bad;
use crate::output::{Report, clean};

/// Make the key unless it is there; write its public half.
pub(super) fn key(wanted: &IssuerKey, out: &Path, no_input: bool) -> Result<Report, Failure> {
    let key = issuer::find(wanted, true, no_input)?;
    let public = openssl::pkey::PKey::public_key_from_der(key.spki()).context("public key")?;
    issuer::put(out, &public.public_key_to_pem().context("public key")?)?;
    let sha256 = openssl::sha::sha256(key.spki());
    let json = serde_json::json!({
        "schema": "holdfast.manifest-key.v1", "key": out, "sha256": hex::encode(sha256),
        "algorithm": key.algorithm().as_str(),
    });
    Ok(Report::new(json, move |_| {
        format!(
            "manifest key sha256\n{}\nGive the file to whoever shall believe your manifests; read the digest to them by\n\
             another way.\n",
            groups(&sha256)
        )
    }))
}

/// Read all of it, then sign what it comes to.
pub(super) fn run(file: &Path, out: &Path, wanted: &IssuerKey, no_input: bool) -> Result<Report, Failure> {
    let (target, mut sink) = NewFile::create(out)?;
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", out.display()));
    let mut put = |line: &[u8]| {
        sink.write_all(line)
            .and_then(|()| sink.write_all(b"\n"))
            .map_err(failed)
    };
    put(open(file)?.header_line())?;
    let mut bad = Bad::default();
    let whole = verify::pass(file, "devices read", &mut put, &mut bad)?;
    if let Some(told) = bad.told() {
        return Err(verify::no(
            file,
            &format!("{} bad lines; nothing is signed\n{told}", bad.count()),
        ));
    }
    if whole.seal.is_some() {
        let what = format!("{}: it is signed already", file.display());
        return Err(Failure::new(Exit::Conflict, what));
    }
    let Whole { header, closing, .. } = whole;
    let key = issuer::find(wanted, false, no_input)?;
    let digest = closing
        .digest()
        .map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    let signature = Statement::Manifest
        .sign(&digest, &key)
        .map_err(|e| Failure::new(Exit::TryAgain, e.to_string()))?;
    let line = |line: Result<Vec<u8>, manifest::BadLine>| line.map_err(|e| Failure::new(Exit::Failed, e.to_string()));
    put(&line(closing.line())?)?;
    let seal = Seal::new(key.algorithm().as_str(), key.spki(), &signature);
    put(&line(seal.line())?)?;
    target.finish(sink)?;
    let (lot, kind) = (header.lot, header.kind);
    let signer = openssl::sha::sha256(key.spki());
    let json = serde_json::json!({
        "schema": "holdfast.manifest.v1", "file": out, "lot": lot, "kind": kind, "entries": closing.entries,
        "root": closing.root(), "signer_sha256": hex::encode(signer),
    });
    let out = out.display().to_string();
    Ok(Report::new(json, move |style| {
        format!(
            "{} {out} is signed: {} devices of lot {}\nroot sha256\n{}\n",
            style.tick(true),
            closing.entries,
            clean(&lot),
            groups(&hex::decode(closing.root()).unwrap_or_default()),
        )
    }))
}
