//! L01: where the PIN and the seal key must not be, while the server runs and after it fell.

use std::os::unix::fs::PermissionsExt as _;

use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::shows;

use crate::serves;

fn secret(rig: &Rig, file: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(rig.path(file)).unwrap();
    let text = text.trim();
    assert!(text.len() >= 32, "{file} holds a secret");
    text.as_bytes().to_vec()
}

#[test]
fn l01_no_secret_where_others_look() {
    // As talkative as it can be.
    let wanted = Wanted::default()
        .set("log", "level", "trace")
        .set("log", "format", "json");
    let mut rig = Rig::with(&wanted);
    let pins = [secret(&rig, "secrets/issuing.pin"), secret(&rig, "secrets/root.pin")];
    let seal = secret(&rig, "seal.key");
    let secrets = [
        pins[0].clone(),
        pins[1].clone(),
        secret(&rig, "secrets/issuing.so-pin"),
        hex::decode(&seal).unwrap(),
    ];
    serves(&rig);
    // Refusals are told to the log and to the record.
    let tpm = SoftTpm::p256(&rig.vendor);
    let client = rig.client();
    let challenge = client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    assert_eq!(client.activate(challenge.id, &answer).unwrap_err().status, 403);
    assert_eq!(rig.monitor("/readyz?verbose").0, 200);

    let pid = rig.pid();
    let proc = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap();
    for name in ["environ", "cmdline", "maps", "status"] {
        assert!(!shows(&proc(name), &secrets), "/proc/PID/{name}");
    }
    assert!(
        proc("cmdline").windows(8).any(|w| w == b"--config"),
        "this is the server"
    );
    let (_, metrics) = rig.monitor("/metrics");
    assert!(!shows(metrics.as_bytes(), &secrets), "/metrics");

    let limits = String::from_utf8(proc("limits")).unwrap();
    let core: Vec<&str> = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(core[..2], ["0", "0"], "no core is written, and nobody raises the limit");

    for entry in std::fs::read_dir(rig.path("")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let name = entry.file_name().into_string().unwrap();
        // What the server and the ceremony made; the log and the configuration are this test's.
        if [
            "ca.db",
            "ca.db-wal",
            "ca.db-shm",
            "audit.jsonl",
            "seal.key",
            "admin.sock",
            "server-tls.key",
        ]
        .contains(&name.as_str())
        {
            assert_eq!(mode, 0o600, "{name}");
        }
    }

    // It falls as a program falls: no core, and no last words that tell.
    let raw = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::ABORT).unwrap();
    rig.stop_waiting();
    for entry in std::fs::read_dir(rig.path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with("core"), "{name}");
    }
    // The wrong PIN is not repeated by whoever complains about it.
    std::fs::write(rig.path("secrets/issuing.pin"), "c0ffee-canary-c0ffee-canary-0123\n").unwrap();
    let output = rig.refuses_to_start();
    assert_eq!(output.status.code(), Some(78));
    let wrong = [b"c0ffee-canary-c0ffee-canary-0123".to_vec()];
    assert!(!shows(&output.stderr, &wrong) && !shows(&output.stdout, &wrong));
    for name in ["server.log", "audit.jsonl", "ca.db", "ca.db-wal"] {
        let bytes = std::fs::read(rig.path(name)).unwrap_or_default();
        assert!(!shows(&bytes, &secrets), "{name}");
        assert!(
            !shows(&bytes, std::slice::from_ref(&answer.secret.0)),
            "{name}: the secret of a challenge"
        );
    }
    assert!(rig.log().len() > 1000, "the log said something");
}

/// No page of the server goes to swap where the system lets it lock its memory; and the log tells which of both it is.
#[test]
fn l01_memory_is_locked_where_it_may_be() {
    let rig = Rig::with(&Wanted::default());
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.pid())).unwrap();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    let locked = locked.trim() != "0 kB";
    if rustix::process::geteuid().is_root() {
        assert!(locked, "root is not limited");
    }
    assert_eq!(locked, rig.log().contains("memory is locked"), "{}", rig.log());
    assert_eq!(!locked, rig.log().contains("memory is not locked"), "{}", rig.log());
}

/// A secret of the configuration that others can read is refused.
#[test]
fn l01_secrets_in_files_of_everybody() {
    let rig = Rig::initialised(&Wanted::default());
    for file in ["secrets/issuing.pin", "seal.key"] {
        let path = rig.path(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let output = rig.refuses_to_start();
        assert!(
            matches!(output.status.code(), Some(2 | 78)),
            "{file}: {:?}",
            output.status
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("600"), "{file}: {said}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut rig = rig;
    rig.start();
    serves(&rig);
}
