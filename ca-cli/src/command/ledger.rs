//! `ca-cli ledger …`: the ledger as a stranger reads it.

use std::path::{Path, PathBuf};

use ledger::{Entry, Event, Head, KeyName, ProofFile, SignatureKind, SigningKey, cosign, inclusion};
use serde_json::{Value, json};

use crate::certificate;
use crate::cli::ledger::{LedgerCommand, Place};
use crate::exit::{Exit, Failure};
use crate::ledger::{Reader, Witnesses, keep, load, no, tile, verifier};
use crate::output::{Report, clean, fields};
use crate::words;

pub(super) fn run(command: &LedgerCommand) -> Result<Report, Failure> {
    match command {
        LedgerCommand::Key {
            key_file,
            origin,
            witness,
        } => key(key_file, origin, *witness),
        LedgerCommand::Head { place, out } => head(place, out.as_deref()),
        LedgerCommand::Proof {
            certificate,
            place,
            out,
        } => proof(certificate, place, out.as_deref()),
        LedgerCommand::Consistency { since, place } => consistency(since, place),
        LedgerCommand::Watch { state, place } => watch(state, place),
        LedgerCommand::Witness {
            state,
            place,
            witness_key,
            name,
            out,
        } => witness(state, place, witness_key, name, out),
    }
}

fn open(place: &Place) -> Result<Reader, Failure> {
    let witnesses = Witnesses::of(&place.witnesses, place.quorum)?;
    Reader::open(&place.from, verifier(&place.key)?, &witnesses)
}

fn signing(file: &Path, name: &str, kind: SignatureKind) -> Result<SigningKey, Failure> {
    let pem = zeroize::Zeroizing::new(crate::exit::read(file)?);
    KeyName::new(name)
        .and_then(|name| SigningKey::from_pem(name, kind, &pem))
        .map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", file.display())))
}

fn key(file: &Path, origin: &str, witness: bool) -> Result<Report, Failure> {
    let kind = if witness {
        SignatureKind::Cosignature
    } else {
        SignatureKind::Ed25519
    };
    let text = signing(file, origin, kind)?.verifier().to_string();
    let json = json!({ "schema": "holdfast.ledger-key.v1", "key": text });
    Ok(Report::new(json, move |_| text))
}

fn of_head(head: &Head) -> Value {
    json!({ "size": head.size, "root": hex::encode(head.root) })
}

fn head(place: &Place, out: Option<&Path>) -> Result<Report, Failure> {
    let reader = open(place)?;
    if let Some(out) = out {
        keep(out, &reader.signed.note().to_string())?;
    }
    let head = *reader.head();
    let signers: Vec<String> = reader
        .signed
        .note()
        .signatures()
        .iter()
        .map(|line| {
            let witness = reader.seen.iter().find(|(key, _)| key.made(line));
            let word = match witness {
                Some((_, time)) => format!(
                    "checked; saw it {}",
                    words::rfc3339(i64::try_from(*time).unwrap_or(i64::MAX))
                ),
                None if reader.key.made(line) => "checked".to_owned(),
                None => "not checked: no key for it was given".to_owned(),
            };
            format!("{}+{} ({word})", line.name, hex::encode(line.id))
        })
        .collect();
    let json = json!({
        "schema": "holdfast.ledger-head.v1",
        "origin": reader.signed.checkpoint().origin.as_str(),
        "head": of_head(&head),
        "signatures": signers,
    });
    let origin = reader.signed.checkpoint().origin.to_string();
    Ok(Report::new(json, move |_| {
        let mut lines = vec![
            ("ledger", clean(&origin)),
            ("entries", head.size.to_string()),
            ("root", hex::encode(head.root)),
        ];
        lines.extend(signers.iter().map(|signer| ("signed by", clean(signer))));
        fields(&lines)
    }))
}

fn proof(file: &Path, place: &Place, out: Option<&Path>) -> Result<Report, Failure> {
    let reader = open(place)?;
    let view = certificate::load(file)?.into_iter().next();
    let der = view
        .map(|view| view.der)
        .ok_or_else(|| Failure::new(Exit::Usage, "no certificate"))?;
    let sha256 = openssl::sha::sha256(&der);
    let (proof, entry) = if place.from.contains("://") {
        asked(&reader, &der)?
    } else {
        searched(&reader, &sha256)?
    };
    let signed = proof.verify(&entry, &reader.key).map_err(|e| no(e.to_string()))?;
    let said = Entry::parse(&entry).map_err(|e| no(e.to_string()))?;
    let Event::Issued(issuance) = &said.event else {
        return Err(no("the entry is not of a certificate".to_owned()));
    };
    if issuance.certificate != sha256 {
        return Err(no("the entry is of another certificate with this serial".to_owned()));
    }
    if let Some(out) = out {
        keep(out, &proof.to_string())?;
    }
    let (index, head) = (proof.inclusion.index, *signed.head());
    let evidence = issuance.evidence.map(hex::encode);
    let json = json!({
        "schema": "holdfast.ledger-proof.v1",
        "index": index,
        "head": of_head(&head),
        "path": proof.inclusion.path.iter().map(hex::encode).collect::<Vec<_>>(),
        "entry": serde_json::to_value(&said).unwrap_or_default(),
        "out": out.map(|path| path.display().to_string()),
    });
    let profile = issuance.profile.clone();
    Ok(Report::new(json, move |style| {
        let found = format!("{} entry {index} of {}", style.tick(true), head.size);
        fields(&[
            ("ledger", found),
            ("recorded", words::rfc3339(said.at)),
            ("profile", clean(&profile)),
            ("evidence", evidence.unwrap_or_else(|| "-".to_owned())),
            ("root", hex::encode(head.root)),
        ])
    }))
}

/// Ask the server where the entry is; it proves what it says.
fn asked(reader: &Reader, der: &[u8]) -> Result<(ProofFile, Vec<u8>), Failure> {
    let serial = openssl::x509::X509::from_der(der)
        .and_then(|x| x.serial_number().to_bn())
        .map_err(|e| Failure::new(Exit::Usage, format!("the certificate: {e}")))?;
    let mut serial = serial.to_vec();
    // As in DER: a first bit that is set has an octet before it.
    if serial.first().is_none_or(|octet| octet & 0x80 != 0) {
        serial.insert(0, 0);
    }
    let bytes = reader.fetch(&format!("proof/{}", hex::encode(serial)))?;
    let proof = ProofFile::parse(&bytes).map_err(|e| no(e.to_string()))?;
    let index = proof.inclusion.index;
    // The proof may be of a later tree than the checkpoint of before.
    let signed = ledger::SignedCheckpoint::open(proof.checkpoint.clone(), &reader.key);
    let size = signed.map_err(|e| no(e.to_string()))?.head().size;
    let resource = ledger::Resource::entries_at(size, index / 256).ok_or_else(|| no("no such entry".to_owned()))?;
    let ledger::Resource::Entries { width, .. } = resource else {
        return Err(no("no such entry".to_owned()));
    };
    let bundle = reader.fetch(&resource.to_string())?;
    let all = ledger::entries(&bundle, width).map_err(|e| no(e.to_string()))?;
    let place = usize::try_from(index % 256).unwrap_or_default();
    let entry = all.get(place).ok_or_else(|| no("no such entry".to_owned()))?;
    Ok((proof, entry.to_vec()))
}

/// Look through the files; the newest first.
fn searched(reader: &Reader, sha256: &[u8; 32]) -> Result<(ProofFile, Vec<u8>), Failure> {
    let size = reader.head().size;
    let wanted = hex::encode(sha256);
    for bundle in (0..size.div_ceil(256)).rev() {
        for (place, entry) in (0_u64..).zip(reader.bundle(bundle)?) {
            let found = Entry::parse(&entry).is_ok_and(
                |entry| matches!(&entry.event, Event::Issued(issuance) if hex::encode(issuance.certificate) == wanted),
            );
            if found {
                let index = bundle * 256 + place;
                let inclusion = inclusion(&reader.nodes(), index, size).map_err(tile)?;
                let inclusion = inclusion.ok_or_else(|| no("no such entry".to_owned()))?;
                let checkpoint = reader.signed.note().clone();
                return Ok((ProofFile { inclusion, checkpoint }, entry));
            }
        }
    }
    Err(Failure::new(
        Exit::NotFound,
        format!("none of {size} entries is of this certificate"),
    ))
}

fn consistency(since: &Path, place: &Place) -> Result<Report, Failure> {
    let reader = open(place)?;
    let before = load(since, &reader.key)?
        .ok_or_else(|| Failure::new(Exit::NotFound, format!("{}: no such file", since.display())))?;
    reader.continues(before.head())?;
    let (old, new) = (*before.head(), *reader.head());
    let json = json!({ "schema": "holdfast.ledger-consistency.v1", "old": of_head(&old), "new": of_head(&new) });
    Ok(Report::new(json, move |style| {
        format!(
            "{} {} entries continue the {} that were seen",
            style.tick(true),
            new.size,
            old.size
        )
    }))
}

/// The new entries, or why not; a checkpoint that is wrong is kept.
fn seen(state: &Path, place: &Place) -> Result<(Reader, Head, Vec<Entry>), Failure> {
    let reader = open(place)?;
    let before = load(state, &reader.key)?;
    let before = before.map_or_else(Head::empty, |before| *before.head());
    match reader.news(&before) {
        Ok(news) => Ok((reader, before, news)),
        Err(failure) if failure.exit == Exit::No => {
            let mut name = state.file_name().unwrap_or_default().to_owned();
            name.push(".wrong");
            let kept: PathBuf = state.with_file_name(name);
            keep(&kept, &reader.signed.note().to_string())?;
            Err(failure.fix(format!(
                "keep {} and {}: together they prove it",
                state.display(),
                kept.display()
            )))
        }
        Err(failure) => Err(failure),
    }
}

fn told(schema: &'static str, before: Head, head: Head, news: &[Entry]) -> Report {
    let count = |wanted: fn(&Event) -> bool| news.iter().filter(|entry| wanted(&entry.event)).count();
    let issued = count(|event| matches!(event, Event::Issued(_)));
    let status = count(|event| matches!(event, Event::Status { .. }));
    let audit = count(|event| matches!(event, Event::Audit { .. }));
    let changed = count(|event| matches!(event, Event::Changed { .. }));
    let json = json!({
        "schema": schema,
        "old": of_head(&before),
        "new": of_head(&head),
        "entries": serde_json::to_value(news).unwrap_or_default(),
    });
    Report::new(json, move |style| {
        let ok = style.tick(true);
        format!(
            "{ok} {} entries, {} of them new: {issued} issued, {status} revoked, held or released, {changed} of what the \
             CA stands on, {audit} of the audit record",
            head.size,
            head.size - before.size
        )
    })
}

fn watch(state: &Path, place: &Place) -> Result<Report, Failure> {
    let (reader, before, news) = seen(state, place)?;
    keep(state, &reader.signed.note().to_string())?;
    Ok(told("holdfast.ledger-watch.v1", before, *reader.head(), &news))
}

fn witness(state: &Path, place: &Place, key: &Path, name: &str, out: &Path) -> Result<Report, Failure> {
    let key = signing(key, name, SignatureKind::Cosignature)?;
    let (reader, before, news) = seen(state, place)?;
    // Durable before the signature exists: a witness never goes back.
    keep(state, &reader.signed.note().to_string())?;
    let head = *reader.head();
    let mut note = reader.signed.note().clone();
    let now = u64::try_from(words::now()).unwrap_or(0);
    let line = cosign(&key, note.text(), now).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    note.add(line);
    keep(out, &note.to_string())?;
    Ok(told("holdfast.ledger-witness.v1", before, head, &news))
}
