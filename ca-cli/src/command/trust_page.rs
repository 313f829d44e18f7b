//! `ca-cli trust page`: the public trust page as files, so that any file server can show it.

use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::fetch::over_http;
use crate::output::{Report, clean};

/// Longest file of the page.
const LONGEST: u64 = 4 << 20;

/// The page, by the name it has beside its files; links of it lead to `trust/`.
const PAGE: &str = "index.html";

pub(super) fn run(from: &str, out: &Path) -> Result<Report, Failure> {
    let base = from.trim_end_matches('/');
    if !base.starts_with("http://") {
        let why = format!("`{}`: the page is read over http://", clean(from));
        return Err(Failure::new(Exit::Usage, why));
    }
    let get = |path: &str| -> Result<Vec<u8>, Failure> {
        let url = format!("{base}{path}");
        let bytes = over_http(&url, LONGEST)?;
        if bytes.len() as u64 > LONGEST {
            let why = format!("{}: longer than {LONGEST} bytes", clean(&url));
            return Err(Failure::new(Exit::Failed, why));
        }
        Ok(bytes)
    };
    // All of it, before anything is written.
    let mut files = vec![(PAGE, get("/trust")?)];
    for (file, path) in [
        ("trust/roots.pem", "/trust/roots.pem"),
        ("trust/chain.pem", "/trust/chain.pem"),
    ] {
        files.push((file, get(path)?));
    }
    match get("/trust/ledger.vkey") {
        Ok(key) => files.push(("trust/ledger.vkey", key)),
        // A CA without a ledger has no key of one.
        Err(failure) if matches!(failure.exit, Exit::NotFound) => {}
        Err(failure) => return Err(failure),
    }
    std::fs::create_dir_all(out.join("trust")).map_err(|e| failed(&out.join("trust"), &e))?;
    // The page last: it may speak of what is beside it already, never of what is not.
    for (file, bytes) in files.iter().rev() {
        replace(&out.join(file), bytes)?;
    }
    let names: Vec<&str> = files.iter().map(|(file, _)| *file).collect();
    let shown = format!("{}: {}", out.display(), names.join(", "));
    let sha256 = |bytes: &[u8]| hex::encode(openssl::sha::sha256(bytes));
    let said: Vec<_> = files
        .iter()
        .map(|(file, bytes)| json!({ "file": file, "sha256": sha256(bytes) }))
        .collect();
    Ok(Report::new(
        json!({ "schema": "holdfast.trust-page.v1", "files": said }),
        move |_| shown,
    ))
}

/// The new file in the place of the old one, whole: whoever reads meanwhile gets either.
fn replace(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let written = std::fs::File::create(new).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    written
        .and_then(|()| std::fs::rename(new, file))
        .map_err(|e| failed(file, &e))
}

fn failed(file: &Path, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        std::io::ErrorKind::PermissionDenied => Exit::NotAllowed,
        _ => Exit::Failed,
    };
    Failure::new(exit, format!("{}: {error}", file.display()))
}
