//! `ca-cli db verify` finds what is done to a database past its own rules, and calls it by its name.

use std::process::Command;

use device_kit::rig::Wanted;
use serde_json::json;

use crate::kit::*;

/// Damage, and the check that must find it; all else stays as it is.
const DAMAGE: [(&str, &str); 19] = [
    (
        "UPDATE certificate SET serial = randomblob(16) WHERE id = 1 AND 0 = (SELECT count(*) FROM crl_entry WHERE certificate_id = 1)",
        "certificates",
    ),
    (
        "UPDATE certificate SET spki_sha256 = randomblob(32) WHERE id = 1",
        "certificates",
    ),
    (
        "UPDATE certificate SET profile_sha256 = randomblob(32) WHERE id = 1",
        "certificates",
    ),
    (
        "UPDATE certificate SET issuer_key_id = randomblob(20) WHERE id = 1",
        "certificates",
    ),
    (
        "UPDATE certificate SET certificate = substr(certificate, 1, length(certificate) - 1) WHERE id = 1",
        "certificates",
    ),
    (
        "UPDATE ledger_entry SET bytes = (SELECT bytes FROM ledger_entry WHERE certificate_id = 2) WHERE certificate_id = 1",
        "certificates",
    ),
    (
        "UPDATE evidence SET bytes = substr(bytes, 2) WHERE enrollment_id = (SELECT min(enrollment_id) FROM evidence)",
        "evidence",
    ),
    (
        "DELETE FROM evidence WHERE enrollment_id = (SELECT min(enrollment_id) FROM evidence)",
        "rules",
    ),
    ("UPDATE audit SET detail = 'nothing happened' WHERE id = 1", "audit"),
    ("DELETE FROM audit WHERE id = 1", "audit"),
    (
        "UPDATE ledger_entry SET position = position + 1 WHERE position = (SELECT max(position) FROM ledger_entry)",
        "ledger",
    ),
    ("UPDATE ledger SET root = randomblob(32)", "ledger"),
    (
        "UPDATE ledger_tile SET hashes = randomblob(length(hashes)) WHERE level = 0 AND number = 0",
        "ledger",
    ),
    ("UPDATE crl_point SET number = number + 1, der = der", "crls"),
    ("UPDATE crl_sequence SET number = 1", "rules"),
    ("DELETE FROM crl_entry", "rules"),
    ("UPDATE revocation SET step = 3", "rules"),
    ("DELETE FROM device WHERE id = 1", "references"),
    ("SELECT 1", "triggers"),
];

/// F18: each damage alone.
#[test]
fn f18_every_damage_is_found_by_its_own_check() {
    let mut rig = lived(Wanted::default());
    enroll(&rig, "three");
    // A second number, so that the first is not the last.
    let said = rig.cli(&["revoke", "three", "--reason", "superseded", "--no-input"]);
    assert!(said.status.success(), "{}", text(&said));
    grown(&rig);
    assert_eq!(rig.stop(), Some(0));
    let whole = rig.path("ca.db");
    let mut triggers = Command::new("sqlite3");
    let triggers = triggers
        .arg(&whole)
        .arg("SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_schema WHERE type = 'trigger'")
        .output()
        .unwrap();
    let drop = String::from_utf8(triggers.stdout).unwrap();
    let again = Command::new("sqlite3")
        .arg(&whole)
        .arg("SELECT sql || ';' FROM sqlite_schema WHERE type = 'trigger'")
        .output()
        .unwrap();
    let again = String::from_utf8(again.stdout).unwrap();
    for (number, (sql, check)) in DAMAGE.into_iter().enumerate() {
        let copy = rig.path(&format!("damaged-{number}.db"));
        std::fs::copy(&whole, &copy).unwrap();
        let again = if check == "triggers" { "" } else { &again };
        let script =
            format!("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;\n{drop}\n{sql};\n{again}");
        let said = Command::new("sqlite3")
            .arg("-bail")
            .arg(&copy)
            .arg(script)
            .output()
            .unwrap();
        assert!(said.status.success(), "{sql}: {}", text(&said));
        let url = format!("sqlite://{}", copy.display());
        let said = db(&rig, &["verify", "--database", &url, "-o", "json"]);
        assert_eq!(said.status.code(), Some(3), "{sql}: {}", text(&said));
        let findings: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!(findings["sound"], json!(false));
        let checks: Vec<&str> = findings["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["check"].as_str().unwrap())
            .collect();
        assert!(checks.contains(&check), "{sql}: {findings}");
    }
    let url = format!("sqlite://{}", whole.display());
    let said = db_json(&rig, &["verify", "--database", &url]);
    assert_eq!(said["sound"], json!(true), "{said}");
    // A file that is not whole any more.
    let mut bytes = std::fs::read(&whole).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xa5);
    let copy = rig.path("torn.db");
    std::fs::write(&copy, bytes).unwrap();
    let said = db(&rig, &["verify", "--database", &format!("sqlite://{}", copy.display())]);
    assert!(matches!(said.status.code(), Some(1 | 3)), "{}", text(&said));
}
