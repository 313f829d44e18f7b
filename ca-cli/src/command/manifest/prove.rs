//! `ca-cli manifest prove` and `ca-cli manifest verify --proof`: one device of a manifest, without the others.

use std::io::Write as _;
use std::path::Path;

use manifest::{Entry, Proof, Proven, Read, ReadError};

use super::verify::{no, sha256_of, signed};
use super::{NewFile, next, open, unread};
use crate::cli::manifest::Signer;
use crate::exit::{Exit, Failure, read};
use crate::manifest::leaves::Leaves;
use crate::manifest::progress::Progress;
use crate::output::{Report, clean, fields};
use crate::words;

/// Read the manifest whole; write what shows this device.
pub(super) fn run(file: &Path, device: &str, out: &Path) -> Result<Report, Failure> {
    let (target, mut sink) = NewFile::create(out)?;
    let mut reader = open(file)?;
    let kind = reader.header().kind;
    let mut leaves = Leaves::new()?;
    leaves.push(reader.header_line())?;
    let mut found = None;
    let mut progress = Progress::new("devices read", 0, None);
    let (closing, seal) = loop {
        match next(&mut reader, file)? {
            Read::Device { position, line } => {
                leaves.push(&line)?;
                let named = |entry: &Entry| entry.serial() == device;
                if found.is_none() && Entry::parse(kind, &line).as_ref().is_ok_and(named) {
                    found = Some((position, line));
                }
                progress.at(position.saturating_add(1));
            }
            Read::End { closing, seal } => break (closing, seal),
        }
    };
    drop(progress);
    let seal = seal.ok_or_else(|| no(file, "it is not signed"))?;
    signed(&closing, &seal, None).map_err(|why| no(file, &why))?;
    let missing = || {
        let what = format!("{}: no device `{}` is in it", file.display(), clean(device));
        Failure::new(Exit::NotFound, what)
    };
    let (position, line) = found.ok_or_else(missing)?;
    let lines = [reader.header_line(), line.as_slice()];
    let proof = Proof::make(&leaves.whole()?, position, lines, &closing, &seal)?.ok_or_else(missing)?;
    let bytes = proof
        .to_bytes()
        .map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    sink.write_all(&bytes)
        .map_err(|e| Failure::new(Exit::Failed, format!("{}: {e}", out.display())))?;
    target.finish(sink)?;
    let (size, line) = (bytes.len(), position.saturating_add(2));
    let json = serde_json::json!({
        "schema": "holdfast.manifest-proof.v1", "file": out, "device": device, "line": line,
        "entries": closing.entries, "root": closing.root(), "octets": size,
    });
    let (out, device) = (out.display().to_string(), clean(device));
    Ok(Report::new(json, move |style| {
        format!(
            "{} {out}: {device} is line {line} of this manifest, {size} octets say so\nnext\n  ca-cli manifest verify --proof {out} --signer KEY\n",
            style.tick(true),
        )
    }))
}

/// Whether the root that this key signed is over this device.
pub(super) fn verify(file: &Path, signer: &Signer) -> Result<Report, Failure> {
    let believed = sha256_of(signer)?;
    let bad = |error: ReadError| unread(file, &error);
    let proven = Proof::parse(&read(file)?).map_err(bad)?.verify().map_err(bad)?;
    let Proven {
        header,
        entry,
        position,
        closing,
        seal,
    } = proven;
    signed(&closing, &seal, Some(&believed)).map_err(|why| no(file, &why))?;
    let hex = |hashes: &[manifest::Hash]| hashes.iter().map(hex::encode).collect::<Vec<_>>();
    let (ek, was) = (hex(entry.ek()), hex(entry.was()));
    let json = serde_json::json!({
        "schema": "holdfast.manifest-proof-verification.v1", "file": file, "verified": true, "lot": header.lot,
        "kind": header.kind, "maker": header.maker, "to": header.to, "made_at": header.made_at,
        "entries": closing.entries, "line": position.saturating_add(2), "root": closing.root(),
        "signer_sha256": hex::encode(believed), "device": entry.serial(), "model": entry.model(), "ek": ek, "was": was,
        "identities": entry.identities(),
    });
    let root = closing.root().to_owned();
    Ok(Report::new(json, move |style| {
        let mut lines = vec![
            ("lot", clean(&header.lot)),
            ("kind", header.kind.as_str().to_owned()),
            ("maker", clean(&header.maker)),
            ("made", words::rfc3339(header.made_at)),
            (
                "line",
                format!("{} of {} devices", position.saturating_add(2), closing.entries),
            ),
            ("root", root),
            ("signer", hex::encode(believed)),
            ("model", clean(entry.model())),
        ];
        lines.extend(header.to.iter().map(|to| ("to", clean(to))));
        lines.extend(ek.iter().map(|ek| ("EK", ek.clone())));
        lines.extend(was.iter().map(|ek| ("EK, went", ek.clone())));
        let identity = |one: &manifest::Identity| format!("{} {}", clean(&one.profile), one.sha256);
        lines.extend(entry.identities().iter().map(|one| ("certificate", identity(one))));
        format!(
            "{} {} is of this lot\n{}",
            style.tick(true),
            clean(entry.serial()),
            fields(&lines)
        )
    }))
}
