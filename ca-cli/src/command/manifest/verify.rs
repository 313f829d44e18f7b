//! `ca-cli manifest verify`: every line of a manifest, offline, in memory that does not grow with it.

use std::path::Path;

use anyhow::Context as _;
use issuance::{SignatureAlgorithm, Statement};
use manifest::{Closing, Entry, Header, Read, Seal};

use super::{next, open};
use crate::cli::manifest::Signer;
use crate::exit::{Exit, Failure, read};
use crate::fingerprint::groups;
use crate::manifest::distinct::Distinct;
use crate::output::{Report, clean, fields};
use crate::words;

/// Bad lines that are told one by one; the others are counted.
const TOLD: usize = 100;

pub(super) fn run(file: &Path, signer: &Signer) -> Result<Report, Failure> {
    let believed = sha256_of(signer)?;
    let mut bad = Vec::new();
    let mut count: u64 = 0;
    let verified = pass(file, |number, why| {
        count = count.saturating_add(1);
        if bad.len() < TOLD {
            bad.push((number, why));
        }
    })?;
    let seal = verified.seal.ok_or_else(|| no(file, "it is not signed"))?;
    signed(&verified.closing, &seal, Some(&believed)).map_err(|why| no(file, &why))?;
    let header = verified.header;
    let json = serde_json::json!({
        "schema": "holdfast.manifest-verification.v1", "file": file, "verified": count == 0, "lot": header.lot,
        "kind": header.kind, "maker": header.maker, "to": header.to, "made_at": header.made_at,
        "entries": verified.closing.entries, "root": verified.closing.root(), "signer_sha256": hex::encode(believed),
        "bad_lines": bad.iter().map(|(n, why)| serde_json::json!({ "line": n, "why": why })).collect::<Vec<_>>(),
        "bad": count,
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
        for (number, why) in &bad {
            text.push_str(&format!("  line {number}: {}\n", clean(why)));
        }
        if count > 0 {
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

/// Read all of it; bad lines, and EKs that two lines have, are told with their number.
pub(super) fn pass(file: &Path, mut bad: impl FnMut(u64, String)) -> Result<Whole, Failure> {
    let mut reader = open(file)?;
    let kind = reader.header().kind;
    let mut distinct = Distinct::new()?;
    let mut last = String::new();
    loop {
        match next(&mut reader, file)? {
            Read::Device { position, line } => {
                let number = position.saturating_add(2);
                match Entry::parse_behind(kind, &line, &last) {
                    Ok(entry) => {
                        for ek in entry.ek().iter().chain(entry.was()) {
                            distinct.push(ek, number)?;
                        }
                        entry.serial().clone_into(&mut last);
                    }
                    Err(why) => bad(number, why.to_string()),
                }
            }
            Read::End { closing, seal } => {
                distinct.finish(|ek, first, again| {
                    bad(again, format!("EK {} is in line {first}, too", hex::encode(ek)));
                })?;
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

fn no(file: &Path, why: &str) -> Failure {
    Failure::new(Exit::No, format!("{}: {why}", file.display()))
}

/// SHA-256 of the SubjectPublicKeyInfo that a person named.
fn sha256_of(signer: &Signer) -> Result<[u8; 32], Failure> {
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
