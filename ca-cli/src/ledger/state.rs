//! What was seen last, in a file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use ledger::{SignedCheckpoint, VerifierKey};

use crate::exit::{Exit, Failure};

/// The checkpoint in a file; none, when there is no file.
pub(crate) fn load(file: &Path, key: &VerifierKey) -> Result<Option<SignedCheckpoint>, Failure> {
    let bytes = match std::fs::read(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Failure::new(Exit::Failed, format!("{}: {e}", file.display()))),
        Ok(bytes) => bytes,
    };
    let signed = SignedCheckpoint::parse(&bytes, key);
    signed
        .map(Some)
        .map_err(|e| Failure::new(Exit::No, format!("{}: {e}", file.display())))
}

/// Write it: whole or not at all, durable on return.
pub(crate) fn keep(file: &Path, text: &str) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", file.display()));
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = file.with_file_name(name);
    let parent = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut out = File::create(&new).map_err(failed)?;
    out.write_all(text.as_bytes())
        .and_then(|()| out.sync_all())
        .and_then(|()| std::fs::rename(&new, file))
        .and_then(|()| File::open(parent)?.sync_all())
        .map_err(failed)
}
