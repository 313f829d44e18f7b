//! A factory with a token, and lots it signs.

use std::path::PathBuf;
use std::process::Output;
use std::sync::LazyLock;

use device_kit::rig::{Rig, Wanted};
use serde_json::Value;

pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The factory that all tests of files share: a token, no server.
pub(crate) fn factory() -> &'static Rig {
    static FACTORY: LazyLock<Rig> = LazyLock::new(|| {
        let rig = Rig::initialised(&Wanted::default());
        make_key(&rig);
        rig
    });
    &FACTORY
}

/// Run `ca-cli`.
pub(crate) fn run(rig: &Rig, arguments: &[&str]) -> Output {
    let mut command = rig.command("ca-cli");
    command.args(arguments).args(["--no-input", "-o", "json"]);
    command.current_dir(rig.path("")).output().unwrap()
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output of a run that ended so.
pub(crate) fn ends(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}", errors(output));
    if output.stdout.is_empty() {
        return Value::Null;
    }
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema = told["schema"].as_str().unwrap();
    assert!(schema.starts_with("holdfast.manifest"), "{schema}");
    told
}

/// Which key signs.
fn key(rig: &Rig) -> Vec<String> {
    let pin = rig.path("secrets/issuing.pin").display().to_string();
    let list = ["--module", MODULE, "--token", "holdfast-issuing", "--id", "0a"];
    let mut list: Vec<String> = list.map(str::to_owned).to_vec();
    list.extend(["--label", "manifest-1", "--pin-file", &pin].map(str::to_owned));
    list
}

/// Make the key of manifests; its public half is `manifest-key.pem`.
pub(crate) fn make_key(rig: &Rig) {
    let key = key(rig);
    let mut arguments = vec!["manifest", "key", "--out", "manifest-key.pem"];
    arguments.extend(key.iter().map(String::as_str));
    ends(&run(rig, &arguments), 0);
}

/// Sign a file.
pub(crate) fn sign(rig: &Rig, file: &str, out: &str) -> Output {
    let key = key(rig);
    let mut arguments = vec!["manifest", "sign", file, "--out", out];
    arguments.extend(key.iter().map(String::as_str));
    run(rig, &arguments)
}

/// Make and sign the manifest of a table; path of the signed one.
pub(crate) fn signed(rig: &Rig, kind: &str, lot: &str, table: &str) -> PathBuf {
    let file = |end: &str| format!("{lot}.{end}");
    std::fs::write(rig.path(&file("csv")), table).unwrap();
    let (csv, draft, out) = (file("csv"), file("draft"), file("signed"));
    let arguments = [
        "manifest",
        "create",
        "--kind",
        kind,
        "--lot",
        lot,
        "--maker",
        "Example GmbH",
        "--to",
        "Owner AG",
        "--model",
        "GW-7",
        "--from",
        &csv,
        "--out",
        &draft,
    ];
    ends(&run(rig, &arguments), 0);
    ends(&sign(rig, &draft, &out), 0);
    rig.path(&out)
}

/// A hash that stands for an EK.
pub(crate) fn ek(name: &str) -> String {
    hex::encode(openssl::sha::sha256(name.as_bytes()))
}
