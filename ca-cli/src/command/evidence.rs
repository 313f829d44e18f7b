//! `ca-cli cert bundle`, `ca-cli evidence erase`.

use std::path::Path;

use wire::evidence::{EraseEvidence, ErasedEvidence};

use super::revoke::serial;
use crate::admin::Client;
use crate::cli::Admin;
use crate::cli::certificate::EvidenceCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, fields};

fn path(text: &str, what: &str) -> Result<String, Failure> {
    let wrong = || Failure::new(Exit::Usage, format!("`{}`: a serial has 32 hex digits", clean(text)));
    Ok(format!("/v1/certificates/{}/{what}", serial(text).ok_or_else(wrong)?))
}

pub(super) fn bundle(text: &str, out: &Path, admin: &Admin) -> Result<Report, Failure> {
    let bytes = Client::new(admin).bytes(&path(text, "bundle")?, &[], bundle::MAX_BUNDLE_BYTES as u64)?;
    // What cannot be read here is not kept for a day on which nobody can ask again.
    let read = bundle::Bundle::read(&bytes).map_err(|e| Failure::new(Exit::Failed, format!("the bundle: {e}")))?;
    crate::exit::write_new(out, &bytes)?;
    let sha256 = hex::encode(openssl::sha::sha256(&bytes));
    let ledger = read.ledger.is_some();
    let json = serde_json::json!({
        "schema": "holdfast.bundle.v1",
        "out": out.display().to_string(),
        "sha256": sha256,
        "bytes": bytes.len(),
        "ledger": ledger,
    });
    let out = out.display().to_string();
    Ok(Report::new(json, move |style| {
        let proof = if ledger {
            format!("{} proven", style.tick(true))
        } else {
            "not signed by this server: the transcript is nobody's word".to_owned()
        };
        fields(&[("bundle", clean(&out)), ("sha256", sha256), ("ledger", proof)])
    }))
}

pub(super) fn run(command: &EvidenceCommand) -> Result<Report, Failure> {
    let EvidenceCommand::Erase { serial, reason, admin } = command;
    let body = EraseEvidence { reason: reason.clone() };
    let erased: ErasedEvidence = Client::new(admin).post(&path(serial, "evidence-erasure")?, &body)?;
    let json = serde_json::json!({ "schema": "holdfast.evidence-erased.v1", "serials": erased.serials });
    Ok(Report::new(json, move |_| {
        let serials: Vec<String> = erased.serials.iter().map(|serial| clean(serial)).collect();
        format!("erased: the evidence of {}", serials.join(", "))
    }))
}
