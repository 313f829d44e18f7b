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

/// A statement of SQLite's in PostgreSQL's words.
fn for_postgres(sql: &str) -> String {
    let random = |length: u32| format!("substr(sha256(random()::text::bytea), 1, {length})");
    sql.replace(
        "randomblob(length(hashes))",
        "decode(repeat('5a', length(hashes)), 'hex')",
    )
    .replace("randomblob(16)", &random(16))
    .replace("randomblob(20)", &random(20))
    .replace("randomblob(32)", &random(32))
    .replace("SELECT 1", "ALTER TABLE certificate DISABLE TRIGGER USER")
}

/// F18, F22: each damage alone, on PostgreSQL, in a copy of the database.
#[test]
fn f18_every_damage_is_found_on_postgres() {
    let cluster = device_kit::postgres::shared().unwrap();
    let wanted = Wanted::postgres();
    let whole = wanted.database.clone();
    let mut rig = lived(wanted);
    enroll(&rig, "three");
    let said = rig.cli(&["revoke", "three", "--reason", "superseded", "--no-input"]);
    assert!(said.status.success(), "{}", text(&said));
    grown(&rig);
    assert_eq!(rig.stop(), Some(0));
    let name = device_kit::postgres::Cluster::name_in(&whole);
    for (number, (sql, check)) in DAMAGE.into_iter().enumerate() {
        // Here the tables themselves hold references, and that check has nothing to find: see the schema.
        if check == "references" {
            continue;
        }
        let copy = format!("{name}_damaged_{number}");
        cluster
            .sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {name}"))
            .unwrap();
        // Past all triggers, as only a superuser can.
        let script = format!("SET session_replication_role = replica; {}", for_postgres(sql));
        cluster.sql(&copy, &script).unwrap();
        let said = db(&rig, &["verify", "--database", &cluster.url(&copy), "-o", "json"]);
        assert_eq!(said.status.code(), Some(3), "{sql}: {}", text(&said));
        let findings: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let checks: Vec<&str> = findings["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["check"].as_str().unwrap())
            .collect();
        assert!(checks.contains(&check), "{sql}: {findings}");
        cluster.sql("postgres", &format!("DROP DATABASE {copy}")).unwrap();
    }
    let said = db_json(&rig, &["verify", "--database", &whole]);
    assert_eq!(said["sound"], json!(true), "{said}");
}

/// Turn over one bit of a file in the middle of where the end of these bytes is; also where an older copy of it lies in a page,
/// which nobody reads.
fn flip(file: &std::path::Path, bytes: &[u8]) {
    assert!(bytes.len() >= 32);
    use std::os::unix::fs::FileExt as _;
    let whole = std::fs::read(file).unwrap();
    // A long value lies on several pages: some part of it is in one piece.
    let places = bytes.rchunks_exact(32).find_map(|part| {
        let all = whole.windows(32).enumerate().filter(|(_, window)| *window == part);
        let all: Vec<usize> = all.map(|(at, _)| at + 16).collect();
        (!all.is_empty()).then_some(all)
    });
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    for at in places.unwrap() {
        file.write_all_at(&[whole[at] ^ 4], u64::try_from(at).unwrap()).unwrap();
    }
}

/// F22: a bit of a page of SQLite's file turns over, which the engine itself does not see: in a certificate, in the published CRL, in
/// evidence. `db verify` calls each by its name, and nothing of it is handed out.
#[test]
fn f22_a_bit_of_a_page_of_sqlite_turns_over() {
    let mut rig = lived(Wanted::default());
    let serial = rig.sql("SELECT lower(hex(serial)) FROM certificate WHERE device_id = 1");
    let path = rig.sql("SELECT url FROM crl_point");
    let path = path.strip_prefix("http://pki.example.net").unwrap().to_owned();
    let (_, good) = rig.server().fetch(&path);
    assert_eq!(rig.stop(), Some(0));
    let file = rig.path("ca.db");
    let said = Command::new("sqlite3")
        .arg(&file)
        .arg("PRAGMA wal_checkpoint(TRUNCATE)")
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", text(&said));
    let whole = std::fs::read(&file).unwrap();
    // What the server remembers beside the record goes back with it: a server may have said something before it was killed.
    let beside = ["ledger.head", "anchor.json"].map(|name| rig.path(name));
    let remembered = beside.clone().map(|path| std::fs::read(path).unwrap());
    let url = format!("sqlite://{}", file.display());
    for (sql, check) in [
        (
            format!("SELECT hex(certificate) FROM certificate WHERE hex(serial) = upper('{serial}')"),
            "certificates",
        ),
        (
            "SELECT hex(substr(der, 1, length(der) - 100)) FROM crl_point".to_owned(),
            "crls",
        ),
        // The database knows nobody who could check this; the server does.
        ("SELECT hex(der) FROM crl_point".to_owned(), "signature"),
        ("SELECT hex(bytes) FROM evidence LIMIT 1".to_owned(), "evidence"),
        ("SELECT hex(bytes) FROM transcript LIMIT 1".to_owned(), "transcripts"),
        (
            "SELECT hex(hashes) FROM ledger_tile WHERE level = 0".to_owned(),
            "ledger",
        ),
    ] {
        let bytes = hex::decode(rig.sql(&sql).trim()).unwrap();
        flip(&file, &bytes);
        if check != "signature" {
            let said = db(&rig, &["verify", "--database", &url, "-o", "json"]);
            assert_eq!(said.status.code(), Some(3), "{sql}: {}", text(&said));
            let findings: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
            let findings = findings["findings"].as_array().unwrap();
            assert!(
                findings.iter().any(|f| f["check"] == json!(check)),
                "{sql}: {findings:?}"
            );
        }
        match check {
            "certificates" => {
                rig.start();
                let answer = rig
                    .client()
                    .get(&format!("/v1/certificates/{serial}"), "application/json");
                assert_eq!(answer.status, 503, "{}", String::from_utf8_lossy(&answer.body));
                rig.kill();
            }
            "crls" | "signature" => {
                let listens = rig.try_start();
                let shown = listens.then(|| rig.server().fetch(&path));
                assert!(
                    shown.is_none_or(|(status, der)| status != 200 || der == good),
                    "no damaged one"
                );
                rig.kill();
            }
            _ => {}
        }
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(rig.path(&format!("ca.db{end}")));
        }
        std::fs::write(&file, &whole).unwrap();
        for (path, bytes) in beside.iter().zip(&remembered) {
            std::fs::write(path, bytes).unwrap();
        }
    }
    rig.start();
    assert_eq!(
        rig.client()
            .get(&format!("/v1/certificates/{serial}"), "application/json")
            .status,
        200
    );
    assert_eq!(rig.server().fetch(&path), (200, good));
}

/// F22: the same of a page of PostgreSQL's, whose checksums see it: it is said to be damage, and nothing of it is handed out.
#[test]
fn f22_a_bit_of_a_page_of_postgres_turns_over() {
    let cluster = device_kit::postgres::Cluster::start().unwrap();
    let url = cluster.database().unwrap();
    let name = device_kit::postgres::Cluster::name_in(&url).to_owned();
    let mut rig = lived(Wanted {
        database: url.clone(),
        ..Wanted::default()
    });
    let serial = rig.sql("SELECT encode(serial, 'hex') FROM certificate WHERE device_id = 1");
    assert_eq!(cluster.sql("postgres", "SHOW data_checksums").unwrap(), "on");
    let heap = cluster
        .sql(&name, "SELECT pg_relation_filepath('certificate')")
        .unwrap();
    let certificate = rig.sql("SELECT encode(certificate, 'hex') FROM certificate WHERE device_id = 1");
    let certificate = hex::decode(certificate).unwrap();
    cluster.stop().unwrap();
    flip(&cluster.file(&heap), &certificate);
    cluster.up().unwrap();
    until("it says so", || {
        let answer = rig
            .client()
            .get(&format!("/v1/certificates/{serial}"), "application/json");
        assert_ne!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.status == 503
    });
    assert!(cluster.log().contains("page verification failed"), "{}", cluster.log());
    rig.kill();
    let said = db(&rig, &["verify", "--database", &url]);
    assert_eq!(said.status.code(), Some(1), "{}", text(&said));
    assert!(text(&said).contains("the database is damaged"), "{}", text(&said));
    let out = rig.path("damaged.backup").display().to_string();
    let said = db(&rig, &["backup", "--database", &url, "--out", &out]);
    assert!(text(&said).contains("the database is damaged"), "{}", text(&said));
    assert!(!rig.path("damaged.backup").exists(), "no backup of damage");
}
