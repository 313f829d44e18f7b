//! What clients sent and heard, a JSON object per line; and what the independent reader says of it and of the record.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use device_kit::rig::{Rig, Shim};
use serde_json::Value;

use crate::until;

/// The journal.
pub(crate) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    /// Certificates that were received.
    pub(crate) received: AtomicUsize,
    /// Requests that had no answer.
    pub(crate) lost: AtomicUsize,
}

/// Now, seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

impl Journal {
    pub(crate) fn of(rig: &Rig) -> Self {
        let path = rig.path("journal.jsonl");
        Self {
            file: Mutex::new(File::create(&path).unwrap()),
            path,
            received: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        }
    }

    /// Write one line.
    pub(crate) fn note(&self, line: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// How many certificates were received so far.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }
}

/// Nothing is open any more, and no invariant is violated.
pub(crate) fn holds(rig: &Rig, shim: &Shim, journal: &Journal, database: &str) {
    until("no intent is left open", || rig.open_intents() == 0);
    until("every leaf is in the signed tree", || {
        rig.sql("SELECT count(*) FROM ledger_entry WHERE position IS NULL") == "0"
            && rig.sql("SELECT count(*) FROM ledger WHERE signed_size = size") == "1"
    });
    let (text, violations) = verdict(rig, shim, journal, database);
    println!("{text}");
    assert!(violations.is_empty(), "{violations:#?}");
}

/// What it counted, and the invariants that are violated.
pub(crate) fn verdict(rig: &Rig, shim: &Shim, journal: &Journal, database: &str) -> (String, Vec<String>) {
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("checker/check.py"))
        .args(["--json", "--database", database, "--shim"])
        .arg(shim.record())
        .arg("--journal")
        .arg(&journal.path)
        .arg("--chain")
        .arg(rig.path("ca/chain.pem"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let value: Value = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("the checker: {said}{}", String::from_utf8_lossy(&output.stderr)));
    let violations: Vec<String> = value["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| format!("{}: {}", v["invariant"].as_str().unwrap(), v["what"].as_str().unwrap()))
        .collect();
    assert_eq!(output.status.code(), Some(i32::from(!violations.is_empty())));
    let counts = value["counts"].as_object().unwrap().iter();
    let text: Vec<String> = counts.map(|(name, count)| format!("{count:>8}  {name}")).collect();
    (text.join("\n"), violations)
}
