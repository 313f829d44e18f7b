//! `ca-cli cert inspect FILE`.

use std::path::Path;

use crate::certificate;
use crate::exit::Failure;
use crate::fingerprint;
use crate::output::Report;
use crate::words;

pub(super) fn run(file: &Path, qr: bool) -> Result<Report, Failure> {
    let certificates = certificate::load(file)?;
    let json = serde_json::json!({ "schema": "holdfast.certificates.v1", "items": certificates });
    Ok(Report::new(json, move |_| {
        let now = words::now();
        let text = certificates.iter().map(|c| {
            let picture = if qr {
                fingerprint::qr(&hex::decode(&c.sha256).unwrap_or_default())
            } else {
                None
            };
            c.words(now) + &picture.map(|p| format!("\n{p}\n")).unwrap_or_default()
        });
        text.collect::<Vec<_>>().join("\n")
    }))
}
