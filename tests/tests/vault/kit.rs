//! A CA with something on record, and `ca-cli db` beside it.

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use device_kit::postgres;
use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use serde_json::Value;

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ask until it is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running CA whose record has something of all that grows: certificates, a revocation, a CRL, a signed ledger.
pub(crate) fn lived(wanted: Wanted) -> Rig {
    let rig = Rig::with(&wanted.with_crls(0).set("ledger", "every", "1s"));
    for name in ["one", "two"] {
        enroll(&rig, name);
    }
    let said = rig.cli(&["revoke", "two", "--reason", "superseded", "--no-input"]);
    assert!(said.status.success(), "{}", text(&said));
    grown(&rig);
    rig
}

/// Everything that was done is in a published CRL and in the signed ledger.
pub(crate) fn grown(rig: &Rig) {
    until("a CRL of all steps", || {
        rig.sql("SELECT count(*) FROM crl_point WHERE steps = (SELECT count(*) FROM revocation)") == "1"
    });
    until("a ledger of all leaves", || {
        rig.sql("SELECT count(*) FROM ledger WHERE signed_size = size") == "1"
            && rig.sql("SELECT count(*) FROM ledger_entry WHERE position IS NULL") == "0"
    });
}

/// A new device with its certificate.
pub(crate) fn enroll(rig: &Rig, name: &str) {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(name, &tpm);
    rig.client()
        .enroll(&tpm, &tpm.request("device-ldevid", None, None))
        .unwrap();
}

/// The database of a rig, as `ca-cli db` wants it.
pub(crate) fn database(rig: &Rig, wanted: &str) -> String {
    match wanted.strip_prefix("sqlite://") {
        Some(path) => format!("sqlite://{}", rig.path(path).display()),
        None => wanted.to_owned(),
    }
}

/// `ca-cli db …`.
pub(crate) fn db(rig: &Rig, arguments: &[&str]) -> Output {
    let mut all = vec!["db"];
    all.extend_from_slice(arguments);
    rig.cli(&all)
}

/// `ca-cli db … -o json`, which must succeed.
pub(crate) fn db_json(rig: &Rig, arguments: &[&str]) -> Value {
    let mut all = vec!["db"];
    all.extend_from_slice(arguments);
    rig.cli_json(&all)
}

/// Both streams.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// An empty database of each engine.
pub(crate) fn empty(rig: &Rig, name: &str) -> [String; 2] {
    [
        format!("sqlite://{}", rig.path(&format!("{name}.db")).display()),
        postgres::shared().unwrap().database().unwrap(),
    ]
}

/// A backup of this database, now.
pub(crate) fn backup(rig: &Rig, database: &str, name: &str) -> (PathBuf, Value) {
    let path = rig.path(name);
    let said = db_json(
        rig,
        &["backup", "--database", database, "--out", &path.display().to_string()],
    );
    (path, said["manifest"].clone())
}

/// Tables with their counts and digests, and the ledger: what must be the same wherever the record is.
pub(crate) fn content(manifest: &Value) -> Value {
    let mut tables: Vec<Value> = manifest["tables"].as_array().unwrap().clone();
    tables.sort_by_key(|table| table["name"].as_str().unwrap().to_owned());
    serde_json::json!([tables, manifest["ledger"], manifest["crls"], manifest["migrations"]])
}
