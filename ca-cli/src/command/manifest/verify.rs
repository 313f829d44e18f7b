//! `ca-cli manifest verify`: every line of a manifest, offline, in memory that does not grow with it.

use std::path::Path;

use anyhow::Context as _;
use issuance::{SignatureAlgorithm, Statement};
use manifest::{Closing, Entry, Header, Read, Seal};

use super::{next, open};
use crate::cli::manifest::Signer;
use crate::exit::{Exit, Failure, read};
use crate::fingerprint::groups;
use crate::manifest::bad::Bad;
use crate::manifest::distinct::Distinct;
use crate::manifest::progress::Progress;
use crate::output::{Report, clean, fields};
use crate::words;

pub(super) fn run(file: &Path, signer: &Signer) -> Result<Report, Failure> {
    let believed = sha256_of(signer)?;
    let mut bad = Bad::default();
    let verified = pass(file, "devices verified", |_| Ok(()), &mut bad)?;
    let seal = verified.seal.ok_or_else(|| no(file, "it is not signed"))?;
    signed(&verified.closing, &seal, Some(&believed)).map_err(|why| no(file, &why))?;
    let header = verified.header;
    let count = bad.count();
    let lines: Vec<_> = bad
        .kept()
        .iter()
        .map(|(line, why)| serde_json::json!({ "line": line, "why": why }))
        .collect();
    let json = serde_json::json!({
        "schema": "holdfast.manifest-verification.v1", "file": file, "verified": count == 0, "lot": header.lot,
        "kind": header.kind, "maker": header.maker, "to": header.to, "made_at": header.made_at,
        "entries": verified.closing.entries, "root": verified.closing.root(), "signer_sha256": hex::encode(believed),
        "bad_lines": lines, "bad": count,
    });
    let exit = if count == 0 { Exit::Done } else { Exit::No };
    let root = verified.closing.root().to_owned();
    Ok(Report::new(json, move |style| {
        let mut text = format!(
            "{} {} devices of lot {}\n",
            style.tick(count == 0),
            verified.closing.entries,
            clean(&header.lot)
        );
        let mut lines = vec![
            ("kind", header.kind.as_str().to_owned()),
            ("maker", clean(&header.maker)),
            ("made", words::rfc3339(header.made_at)),
            ("root", root),
            ("signer", hex::encode(believed)),
        ];
        lines.extend(header.to.iter().map(|to| ("to", clean(to))));
        text.push_str(&fields(&lines));
        if let Some(told) = bad.told() {
            text.push_str(&told);
            text.push('\n');
            text.push_str(&format!("{count} bad lines: as a whole this manifest is not good.\n"));
        }
        text
    })
    .exit(exit))
}

/// A manifest that was read to its end. The signature is not looked at yet.
pub(super) struct Whole {
    pub(super) header: Header,
    pub(super) header_line: Vec<u8>,
    pub(super) closing: Closing,
    pub(super) seal: Option<Seal>,
}

/// Read all of it, each line that is good or bad by itself; bad ones, and EKs and certificates that two lines have, are told
/// with their number.
pub(super) fn pass(
    file: &Path,
    doing: &'static str,
    mut each: impl FnMut(&[u8]) -> Result<(), Failure>,
    bad: &mut Bad,
) -> Result<Whole, Failure> {
    let mut reader = open(file)?;
    let kind = reader.header().kind;
    let mut distinct = Distinct::new()?;
    let mut progress = Progress::new(doing, 0, None);
    let mut last = String::new();
    loop {
        match next(&mut reader, file)? {
            Read::Device { position, line } => {
                let number = position.saturating_add(2);
                match Entry::parse_behind(kind, &line, &last) {
                    Ok(entry) => {
                        distinct.push_all(&entry, number)?;
                        entry.serial().clone_into(&mut last);
                    }
                    Err(why) => bad.push(number, why.to_string()),
                }
                each(&line)?;
                progress.at(position.saturating_add(1));
            }
            Read::End { closing, seal } => {
                distinct.finish(|what, first, again| bad.push(again, format!("{what} is in line {first}, too")))?;
                return Ok(Whole {
                    header: reader.header().clone(),
                    header_line: reader.header_line().to_vec(),
                    closing,
                    seal,
                });
            }
        }
    }
}

/// Whether the seal is the signature of this key (none: of the key it names) over this closing.
pub(super) fn signed(closing: &Closing, seal: &Seal, believed: Option<&[u8; 32]>) -> Result<[u8; 32], String> {
    let spki = seal.spki();
    let key = openssl::sha::sha256(&spki);
    if believed.is_some_and(|believed| *believed != key) {
        return Err(format!("it is signed by another key: sha256\n{}", groups(&key)));
    }
    let algorithm = SignatureAlgorithm::from_text(&seal.algorithm).ok_or("an unknown signature algorithm")?;
    let digest = closing.digest().map_err(|e| e.to_string())?;
    if Statement::Manifest.is_signed(&digest, algorithm, &spki, &seal.signature()) {
        Ok(key)
    } else {
        Err("the signature is not good".to_owned())
    }
}

pub(super) fn no(file: &Path, why: &str) -> Failure {
    Failure::new(Exit::No, format!("{}: {why}", file.display()))
}

/// SHA-256 of the SubjectPublicKeyInfo that a person named.
pub(super) fn sha256_of(signer: &Signer) -> Result<[u8; 32], Failure> {
    if let Some(text) = &signer.signer_sha256 {
        let compact: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
        let mut out = [0; 32];
        return match hex::decode_to_slice(&compact, &mut out) {
            Ok(()) => Ok(out),
            Err(_) => Err(Failure::new(Exit::Usage, "--signer-sha256: 64 hex digits")),
        };
    }
    let path = signer.signer.as_deref().unwrap_or(Path::new("-"));
    let bytes = read(path)?;
    let key = openssl::pkey::PKey::public_key_from_pem(&bytes)
        .or_else(|_| openssl::pkey::PKey::public_key_from_der(&bytes))
        .map_err(|_| Failure::new(Exit::Usage, format!("{}: no public key, PEM or DER", path.display())))?;
    let der = key.public_key_to_der().context("public key")?;
    Ok(openssl::sha::sha256(&der))
}
