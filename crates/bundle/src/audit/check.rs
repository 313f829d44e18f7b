//! Every drawn entry checked again: what was shown must be what the ledger says. Each fault has a name.

use attest::sha256;
use ledger::{AuditLine, Entry, Event, Hash, Issuance, ProofFile, SignedCheckpoint, VerifierKey, audit_digest};
use serde::{Deserialize, Serialize};
use wire::admin::AuditEntry;
use wire::audit::Behind;

use super::{Audit, Drawn, Proven};
use crate::archive::Bundle;
use crate::check::Trust;

/// Whether a certificate leads to a root of the CA: certificate, what is offered for the path, and when.
pub type Chain<'a> = &'a dyn Fn(&[u8], &[Vec<u8>], i64) -> Result<(), String>;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What kind: `pin`, `draw`, `proof`, `missing`, `entry`, `certificate`, `chain`, `bundle`, `erasure`, `status`, `records`,
    /// `text`, `verdict`.
    pub check: String,
    /// In words.
    pub why: String,
}

/// What was found of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Its place.
    pub place: u64,
    /// What it is about.
    pub event: String,
    /// `good`, `erased` (as the ledger says), `refused`.
    pub verdict: String,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Findings {
    /// `holdfast-audit-verdict/v1`.
    pub v: String,
    /// SHA-256 of the audit without its verdict.
    pub audit_sha256: String,
    /// Of the audit as a whole.
    pub faults: Vec<Fault>,
    /// Of each entry that was drawn.
    pub entries: Vec<Finding>,
}

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.entries.iter().all(|entry| entry.faults.is_empty())
    }
}

fn fault(check: &str, why: impl Into<String>) -> Fault {
    Fault {
        check: check.to_owned(),
        why: why.into(),
    }
}

/// Check all of it.
#[must_use]
pub fn verify(audit: &Audit, trust: &Trust, chain: Chain<'_>) -> Findings {
    let mut faults = Vec::new();
    let pinned = pinned(audit, &trust.ledgers).map_err(|why| faults.push(fault("pin", why)));
    match audit.pin.draw() {
        Err(error) => faults.push(fault("draw", error.to_string())),
        Ok(places) => {
            for place in places.iter().filter(|place| !audit.drawn.contains_key(place)) {
                faults.push(fault("draw", format!("entry {place} is drawn, and not here")));
            }
            for place in audit.drawn.keys().filter(|place| !places.contains(place)) {
                faults.push(fault("draw", format!("entry {place} is here, and not drawn")));
            }
        }
    }
    let mut entries = Vec::new();
    for (place, drawn) in &audit.drawn {
        let mut wrong = Vec::new();
        if let Ok(pinned) = &pinned
            && let Err(why) = in_tree(*place, &drawn.proven, pinned)
        {
            wrong.push(fault("proof", why));
        }
        let (event, erased) = match Entry::parse(&drawn.proven.entry) {
            Err(error) => {
                wrong.push(fault("entry", error.to_string()));
                ("unknown", false)
            }
            Ok(entry) => {
                let erased = shown(&entry, drawn, trust, chain, &mut wrong);
                (word(&entry.event), erased)
            }
        };
        let verdict = match (wrong.is_empty(), erased) {
            (false, _) => "refused",
            (true, true) => "erased",
            (true, false) => "good",
        };
        entries.push(Finding {
            place: *place,
            event: event.to_owned(),
            verdict: verdict.to_owned(),
            faults: wrong,
        });
    }
    let bare = Audit {
        verdict: None,
        ..audit.clone()
    };
    let audit_sha256 = bare
        .write()
        .map(|bytes| hex::encode(sha256(&bytes)))
        .unwrap_or_default();
    let mut found = Findings {
        v: "holdfast-audit-verdict/v1".to_owned(),
        audit_sha256,
        faults,
        entries,
    };
    if audit.verdict.as_ref().is_some_and(|said| *said != found) {
        found.faults.push(fault("verdict", "the verdict in it is another one"));
    }
    found
}

fn word(event: &Event) -> &'static str {
    match event {
        Event::Issued(_) => "issued",
        Event::Status { .. } => "status",
        Event::Changed { .. } => "changed",
        Event::Audit { .. } => "audit",
    }
}

fn pinned(audit: &Audit, keys: &[VerifierKey]) -> Result<SignedCheckpoint, String> {
    let mut why = "no key of a ledger is among those you trust".to_owned();
    for key in keys {
        match audit.pin.is_of(&audit.checkpoint, key) {
            Ok(signed) => return Ok(signed),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// It is at its place in the pinned tree.
fn in_tree(place: u64, proven: &Proven, pinned: &SignedCheckpoint) -> Result<(), String> {
    let proof = ProofFile::parse(&proven.proof).map_err(|e| e.to_string())?;
    if proof.inclusion.index != place {
        return Err("it is the proof of another place".to_owned());
    }
    if proof.checkpoint.to_string() != pinned.note().to_string() {
        return Err("it is a proof of another tree than the pinned one".to_owned());
    }
    let leaf = ledger::leaf_hash(&proven.entry);
    proof.inclusion.verify(&leaf, pinned.head()).map_err(|e| e.to_string())
}

/// What was shown is what the entry says; whether it was erased.
fn shown(entry: &Entry, drawn: &Drawn, trust: &Trust, chain: Chain<'_>, wrong: &mut Vec<Fault>) -> bool {
    let Some(behind) = &drawn.behind else {
        wrong.push(fault("missing", "the CA showed nothing of this entry"));
        return false;
    };
    if behind.entry.0 != drawn.proven.entry {
        wrong.push(fault("entry", "the CA's tables have another entry at this place"));
    }
    match &entry.event {
        Event::Issued(said) => return certificate(entry, said, drawn, behind, trust, chain, wrong),
        Event::Status { state, reason, .. } => {
            let taken =
                |step: &&wire::audit::StepTaken| (&step.state, &step.reason, step.at) == (state, reason, entry.at);
            if !behind.steps.iter().any(|step| taken(&step)) {
                wrong.push(fault(
                    "status",
                    format!("the CA's tables know no step `{state}` of that time"),
                ));
            }
        }
        Event::Changed { after, .. } => match &behind.text {
            None => wrong.push(fault("missing", "the archived text is not there")),
            Some(text) if sha256(&text.0) != *after => wrong.push(fault("text", "the archived text is another one")),
            Some(_) => {}
        },
        Event::Audit { records, digest } => {
            if let Err(why) = held(behind, *records, digest) {
                wrong.push(fault("records", why));
            }
        }
    }
    false
}

/// The records are those that the leaf was made of.
fn held(behind: &Behind, count: u32, digest: &Hash) -> Result<(), String> {
    let salt = behind.salt.as_ref().ok_or("the salt is not there")?;
    let salt: [u8; 16] = salt.0.as_slice().try_into().map_err(|_| "a salt of another length")?;
    if u32::try_from(behind.records.len()) != Ok(count) {
        return Err(format!(
            "{} records are there, the entry says {count}",
            behind.records.len()
        ));
    }
    let lines = behind.records.iter().map(line).collect::<Result<Vec<_>, _>>()?;
    if audit_digest(&salt, lines) == *digest {
        Ok(())
    } else {
        Err("the records are not those that the entry was made of".to_owned())
    }
}

fn line(record: &AuditEntry) -> Result<AuditLine<'_>, String> {
    let hash = |text: &Option<String>| -> Result<Option<Hash>, String> {
        let Some(text) = text else { return Ok(None) };
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|e| e.to_string())?;
        Ok(Some(hash))
    };
    Ok(AuditLine {
        at: record.at,
        action: &record.action,
        actor: &record.actor,
        subject: &record.subject,
        reason: &record.reason,
        detail: &record.detail,
        before: hash(&record.before)?,
        after: hash(&record.after)?,
    })
}

fn certificate(
    entry: &Entry,
    said: &Issuance,
    drawn: &Drawn,
    behind: &Behind,
    trust: &Trust,
    chain: Chain<'_>,
    wrong: &mut Vec<Fault>,
) -> bool {
    let Some(certificate) = &behind.certificate else {
        wrong.push(fault("missing", "the certificate is not there"));
        return false;
    };
    if sha256(&certificate.0) != said.certificate {
        wrong.push(fault(
            "certificate",
            "the CA's tables have another certificate than the ledger",
        ));
        return false;
    }
    let issuers: Vec<Vec<u8>> = behind.issuers.iter().map(|der| der.0.clone()).collect();
    if let Err(why) = chain(&certificate.0, &issuers, entry.at) {
        wrong.push(fault("chain", why));
    }
    if said.evidence.is_none() {
        return false;
    }
    let Some(bundle) = &behind.bundle else {
        return match erased(said, drawn, behind, &trust.ledgers) {
            Ok(()) => true,
            Err(why) => {
                wrong.push(fault(if behind.erased.is_some() { "erasure" } else { "missing" }, why));
                false
            }
        };
    };
    match Bundle::read(&bundle.0) {
        Err(error) => wrong.push(fault("bundle", error.to_string())),
        Ok(bundle) => {
            for check in crate::check::verify(&bundle, &certificate.0, trust) {
                if let Err(why) = check.found {
                    wrong.push(fault("bundle", format!("{}: {why}", check.id)));
                }
            }
            let same = bundle
                .ledger
                .as_ref()
                .is_some_and(|part| part.entry == drawn.proven.entry);
            if !same {
                wrong.push(fault("bundle", "ledger: the bundle is of another entry"));
            }
        }
    }
    false
}

/// The ledger holds a record of erasing exactly this evidence.
fn erased(said: &Issuance, drawn: &Drawn, behind: &Behind, keys: &[VerifierKey]) -> Result<(), String> {
    let missing = "the bundle is not there, and no erasure of it is in the ledger";
    let row = behind.erased.ok_or(missing)?.row;
    let (proven, shown) = drawn.erasure.as_ref().ok_or(missing)?;
    let proof = ProofFile::parse(&proven.proof).map_err(|e| e.to_string())?;
    let signed = |key: &VerifierKey| proof.verify(&proven.entry, key).is_ok();
    if !keys.iter().any(signed) {
        return Err("the record of the erasure is in no ledger of yours".to_owned());
    }
    let entry = Entry::parse(&proven.entry).map_err(|e| e.to_string())?;
    let Event::Audit { records, digest } = &entry.event else {
        return Err("what is said to record the erasure is no audit record".to_owned());
    };
    held(shown, *records, digest)?;
    // The emptied row, as a backup writes it.
    let evidence = hex::encode(said.evidence.unwrap_or_default());
    let became = hex::encode(sha256(format!("{row}\t\\\\x{evidence}\t\\\\x").as_bytes()));
    let of_it = |record: &AuditEntry| record.action == "evidence.erased" && record.after.as_ref() == Some(&became);
    if shown.records.iter().any(of_it) {
        Ok(())
    } else {
        Err("the record is of erasing something else".to_owned())
    }
}
