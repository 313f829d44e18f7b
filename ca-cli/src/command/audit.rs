//! `ca-cli audit …`: what is on record, and the ledger looked at as an auditor does.

use std::collections::BTreeMap;
use std::path::Path;

use bundle::audit::{Audit, Drawn, Findings, Pin, Proven, verify};
use ledger::{Head, ProofFile, SignedCheckpoint, inclusion};
use wire::admin::AuditPage;
use wire::audit::Behind;

use crate::admin::Client;
use crate::certificate::CertificateView;
use crate::cli::Admin;
use crate::cli::audit::{AuditCommand, Checked};
use crate::cli::certificate::Level;
use crate::cli::ledger::Place;
use crate::exit::{Exit, Failure, read, write_new};
use crate::ledger::{Reader, Witnesses, no, tile, verifier};
use crate::output::{Report, clean, fields, table};
use crate::trust::party::Party;
use crate::verification::Question;
use crate::words;

pub(super) fn run(command: &AuditCommand) -> Result<Report, Failure> {
    match command {
        AuditCommand::Show { id, admin } => show(id.as_deref(), admin),
        AuditCommand::Open { place, after, out } => begin(place, after.as_deref(), out),
        AuditCommand::Sample {
            audit,
            seed,
            count,
            place,
            out,
            admin,
        } => sample(audit, seed, *count, place, out, &Client::new(admin)),
        AuditCommand::Verify(checked) => {
            let (_, findings) = found(checked)?;
            Ok(told(findings))
        }
        AuditCommand::Export { checked, out } => {
            let (mut audit, findings) = found(checked)?;
            audit.verdict = Some(findings.clone());
            write_new(out, &audit.write().map_err(bad(out))?)?;
            Ok(told(findings))
        }
    }
}

fn bad(file: &Path) -> impl Fn(bundle::audit::AuditError) -> Failure + '_ {
    move |e| Failure::new(Exit::Usage, format!("{}: {e}", file.display()))
}

fn open(place: &Place) -> Result<Reader, Failure> {
    let witnesses = Witnesses::of(&place.witnesses, place.quorum)?;
    Reader::open(&place.from, verifier(&place.key)?, &witnesses)
}

/// The head an audit pinned, by the ledger's key.
fn head_of(audit: &Audit, file: &Path, reader: &Reader) -> Result<Head, Failure> {
    let wrong = |why: String| no(format!("{}: {why}", file.display()));
    let signed = SignedCheckpoint::parse(&audit.checkpoint, &reader.key).map_err(|e| wrong(e.to_string()))?;
    let again = Pin {
        seed: audit.pin.seed.clone(),
        count: audit.pin.count,
        ..Pin::new(&signed, audit.pin.first, audit.pin.opened_at)
    };
    if again == audit.pin {
        Ok(*signed.head())
    } else {
        Err(wrong(
            "the checkpoint is another than the one that was pinned".to_owned(),
        ))
    }
}

fn begin(place: &Place, after: Option<&Path>, out: &Path) -> Result<Report, Failure> {
    let reader = open(place)?;
    let first = match after {
        None => 0,
        Some(file) => {
            let before = Audit::read(&read(file)?).map_err(bad(file))?;
            let head = head_of(&before, file, &reader)?;
            reader.continues(&head)?;
            head.size
        }
    };
    let pin = Pin::new(&reader.signed, first, words::now());
    let audit = Audit {
        pin: pin.clone(),
        checkpoint: reader.signed.note().to_string().into_bytes(),
        drawn: BTreeMap::new(),
        verdict: None,
    };
    write_new(out, &audit.write().map_err(bad(out))?)?;
    let json = serde_json::json!({ "schema": "holdfast.audit-open.v1", "pin": pin, "out": out.display().to_string() });
    Ok(Report::new(json, move |_| {
        fields(&[
            ("ledger", clean(&pin.origin)),
            ("entries", format!("{} to {}", pin.first, pin.size)),
            ("root", pin.root.clone()),
            ("then", "choose the seed; not before".to_owned()),
        ])
    }))
}

fn sample(file: &Path, seed: &str, count: u64, place: &Place, out: &Path, client: &Client) -> Result<Report, Failure> {
    let mut audit = Audit::read(&read(file)?).map_err(bad(file))?;
    if !audit.drawn.is_empty() || audit.pin.seed.is_some() {
        return Err(
            Failure::new(Exit::Conflict, format!("{}: it was drawn already", file.display()))
                .fix("one seed for one audit: begin another with `audit open`"),
        );
    }
    let reader = open(place)?;
    let head = head_of(&audit, file, &reader)?;
    reader.continues(&head)?;
    audit.pin.seed = Some(seed.to_owned());
    audit.pin.count = Some(count);
    let pinned = SignedCheckpoint::parse(&audit.checkpoint, &reader.key).map_err(|e| no(e.to_string()))?;
    for index in audit.pin.draw().map_err(bad(file))? {
        let proven = prove(&reader, index, &pinned)?;
        let behind = behind(client, index)?;
        let erased = behind
            .as_ref()
            .and_then(|behind| behind.erased)
            .and_then(|erased| erased.place);
        // It may have been erased after the pin: the newest tree proves it.
        let erasure = match erased.filter(|place| *place < reader.head().size) {
            Some(place) => {
                let shown = self::behind(client, place)?;
                match shown {
                    Some(shown) => Some((prove(&reader, place, &reader.signed)?, shown)),
                    None => None,
                }
            }
            None => None,
        };
        let drawn = Drawn {
            proven,
            behind,
            erasure,
        };
        audit.drawn.insert(index, drawn);
    }
    write_new(out, &audit.write().map_err(bad(out))?)?;
    let places: Vec<u64> = audit.drawn.keys().copied().collect();
    let missing: Vec<u64> = audit
        .drawn
        .iter()
        .filter(|(_, drawn)| drawn.behind.is_none())
        .map(|(place, _)| *place)
        .collect();
    let events: Vec<String> = audit
        .drawn
        .values()
        .map(|drawn| {
            let entry: serde_json::Value = serde_json::from_slice(&drawn.proven.entry).unwrap_or_default();
            entry
                .get("event")
                .and_then(|event| event.as_str())
                .unwrap_or("unknown")
                .to_owned()
        })
        .collect();
    let json = serde_json::json!({
        "schema": "holdfast.audit-sample.v1", "pin": audit.pin, "drawn": places, "not_shown": missing,
        "out": out.display().to_string(),
    });
    Ok(Report::new(json, move |style| {
        let rows = places.iter().zip(&events).map(|(place, event)| {
            let shown = !missing.contains(place);
            let word = if shown { "shown" } else { "the CA shows nothing" };
            vec![place.to_string(), clean(event), format!("{} {word}", style.tick(shown))]
        });
        table(&["ENTRY", "EVENT", "BEHIND IT"], rows.collect())
    }))
}

/// An entry, with the proof that this tree has it.
fn prove(reader: &Reader, index: u64, tree: &SignedCheckpoint) -> Result<Proven, Failure> {
    let all = reader.bundle(index / 256)?;
    let place = usize::try_from(index % 256).unwrap_or_default();
    let entry = all
        .get(place)
        .cloned()
        .ok_or_else(|| no(format!("entry {index} is not there")))?;
    let inclusion = inclusion(&reader.nodes(), index, tree.head().size).map_err(tile)?;
    let inclusion = inclusion.ok_or_else(|| no(format!("entry {index} is not in the tree")))?;
    let leaf = ledger::leaf_hash(&entry);
    inclusion
        .verify(&leaf, tree.head())
        .map_err(|e| no(format!("entry {index}: {e}")))?;
    let proof = ProofFile {
        inclusion,
        checkpoint: tree.note().clone(),
    };
    Ok(Proven {
        entry,
        proof: proof.to_string().into_bytes(),
    })
}

/// What the CA has behind an entry; none where it says that it has nothing.
fn behind(client: &Client, index: u64) -> Result<Option<Behind>, Failure> {
    match client.get::<Behind>(&format!("/v1/ledger/entries/{index}"), &[]) {
        Ok(behind) => Ok(Some(behind)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn found(checked: &Checked) -> Result<(Audit, Findings), Failure> {
    let audit = Audit::read(&read(&checked.audit)?).map_err(|e| no(format!("{}: {e}", checked.audit.display())))?;
    let mut party = Party::default();
    for path in &checked.trust {
        party.add(path)?;
    }
    let view = |der: &Vec<u8>| CertificateView::read(der).map_err(|e| Failure::new(Exit::Usage, e.to_string()));
    let anchors = party.ca.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    let trust = bundle::Trust {
        tpm_roots: party.tpm,
        ledgers: party.ledgers,
        iak_roots: party.iak,
        ..bundle::Trust::default()
    };
    let chain = |certificate: &[u8], issuers: &[Vec<u8>], at: i64| {
        let question = Question {
            leaf: CertificateView::read(certificate).map_err(|e| e.to_string())?,
            chain: issuers
                .iter()
                .filter_map(|der| CertificateView::read(der).ok())
                .collect(),
            anchors: anchors.clone(),
            at,
            level: Level::None,
            ek_certificate: None,
            crls: Vec::new(),
            rehearsal: checked.rehearsal,
        };
        match question.checks().into_iter().find(|check| !check.ok) {
            None => Ok(()),
            Some(check) => Err(format!("{}: {}", check.id, check.found)),
        }
    };
    let findings = verify(&audit, &trust, &chain);
    Ok((audit, findings))
}

fn told(findings: Findings) -> Report {
    let good = findings.is_good();
    let json = serde_json::json!({
        "schema": "holdfast.audit-verdict.v1",
        "verdict": if good { "good" } else { "refused" },
        "faults": findings.faults,
        "entries": findings.entries,
    });
    let report = Report::new(json, move |style| {
        let mut lines: Vec<String> = findings
            .faults
            .iter()
            .map(|fault| format!("{} {}: {}", style.tick(false), fault.check, clean(&fault.why)))
            .collect();
        for entry in &findings.entries {
            let ok = entry.faults.is_empty();
            lines.push(format!(
                "{} entry {} {}: {}",
                style.tick(ok),
                entry.place,
                entry.event,
                entry.verdict
            ));
            lines.extend(
                entry
                    .faults
                    .iter()
                    .map(|fault| format!("    {}: {}", fault.check, clean(&fault.why))),
            );
        }
        let count = |verdict: &str| findings.entries.iter().filter(|entry| entry.verdict == verdict).count();
        lines.push(format!(
            "{} good, {} erased, {} refused",
            count("good"),
            count("erased"),
            count("refused")
        ));
        lines.join("\n")
    });
    report.exit(if good { Exit::Done } else { Exit::No })
}

fn show(id: Option<&str>, admin: &Admin) -> Result<Report, Failure> {
    let query: Vec<(&str, String)> = id.map(|id| ("subject", id.to_owned())).into_iter().collect();
    let entries = Client::new(admin).get::<AuditPage>("/v1/audit", &query)?.items;
    if let (Some(id), true) = (id, entries.is_empty()) {
        return Err(
            Failure::new(Exit::NotFound, format!("no audit record for `{}`", clean(id)))
                .fix("refusals before a challenge was made are in the audit file of the server, not in its database"),
        );
    }
    let json = serde_json::json!({ "schema": "holdfast.audit.v1", "items": entries });
    Ok(Report::new(json, move |_| {
        let rows = entries.iter().map(|e| {
            vec![
                words::rfc3339(e.at),
                clean(&e.action),
                clean(&e.actor),
                clean(&e.subject),
                clean(&e.reason),
                clean(&e.detail),
            ]
        });
        table(
            &["AT", "ACTION", "ACTOR", "SUBJECT", "REASON", "DETAIL"],
            rows.collect(),
        )
    }))
}
