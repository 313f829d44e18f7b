//! `ca-cli trust tpm export FILE`: the same store gives the same bytes.

use std::io::Write as _;
use std::path::Path;

use attest::trust::{About, Anchors};
use serde_json::json;

use super::{counted, counts};
use crate::exit::{Exit, Failure};
use crate::fingerprint;
use crate::output::{Report, fields};
use crate::trust;

pub(super) fn run(file: &Path, decided: bool, store: &Path, about: About) -> Result<Report, Failure> {
    let store = trust::open(store, about)?;
    let store = if decided { store.decided() } else { store };
    let anchors = Anchors::of(store.sources()).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let software: Vec<String> = anchors.software_anchors().into_iter().map(str::to_owned).collect();
    let text = store.render()?;
    let written = std::fs::File::create_new(file).and_then(|mut out| {
        out.write_all(text.as_bytes())?;
        out.sync_all()
    });
    written.map_err(|e| {
        let exit = match e.kind() {
            std::io::ErrorKind::AlreadyExists => Exit::Conflict,
            std::io::ErrorKind::PermissionDenied => Exit::NotAllowed,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{}: {e}", file.display()))
    })?;
    let sha256 = openssl::sha::sha256(text.as_bytes());
    let all = counts(&store);
    let json = json!({
        "schema": "holdfast.trust-export.v1",
        "version": store.version(),
        "sha256": hex::encode(sha256),
        "counts": all.iter().map(|(state, count)| ((*state).to_owned(), json!(count))).collect::<serde_json::Map<_, _>>(),
        "software_anchors": software,
    });
    let mut lines = vec![
        ("file", file.display().to_string()),
        ("version", store.version().to_string()),
        ("holds", counted(&all)),
    ];
    if !software.is_empty() {
        lines.push((
            "warning",
            format!(
                "software anchors, which no production server starts with: {}",
                software.join(", ")
            ),
        ));
    }
    let text = format!("{}SHA-256\n{}", fields(&lines), fingerprint::groups(&sha256));
    Ok(Report::new(json, move |_| text))
}
