//! The independent reader (`tests/checker/check.py`), and that it finds what is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

use device_kit::clients::{Read, Verdict, until};
use device_kit::holder::Holder;
use device_kit::rig::Wanted;

use crate::house::PUBLIC;
use crate::play::Storm;

/// Files that stand in place of the true ones.
#[derive(Default)]
pub(crate) struct Forged {
    database: Option<PathBuf>,
    shim: Option<PathBuf>,
    signed_before: Option<PathBuf>,
    journal: Option<PathBuf>,
    published: Option<PathBuf>,
    /// Whether signatures are to be verified.
    signatures: bool,
}

/// F18: backed up under a running server and restored on the other engine, the record holds all the same.
pub(crate) fn holds_elsewhere(storm: &Storm) {
    // What is signed and published meanwhile is in no backup.
    let signed = storm.house.rig.path("signed.before");
    std::fs::copy(storm.house.shim(0).record(), &signed).unwrap();
    let public = storm.house.rig.path("public.before");
    duplicate(&storm.house.rig.path(PUBLIC), &public);
    let backup = storm.house.rig.path("storm.backup").display().to_string();
    let sqlite = storm.house.rig.path("elsewhere.db").display().to_string();
    let (from, to, read) = if storm.database.starts_with("postgres") {
        (storm.database.clone(), format!("sqlite://{sqlite}"), sqlite)
    } else {
        let other = device_kit::postgres::shared().unwrap().database().unwrap();
        (format!("sqlite://{}", storm.database), other.clone(), other)
    };
    let _ = storm
        .house
        .rig
        .cli_json(&["db", "backup", "--database", &from, "--out", &backup]);
    let _ = storm.house.rig.cli_json(&["db", "restore", &backup, "--database", &to]);
    let elsewhere = Forged {
        database: Some(PathBuf::from(read)),
        signed_before: Some(signed),
        published: Some(public),
        signatures: true,
        ..Forged::default()
    };
    let verdict = check(storm, Some(&elsewhere));
    assert!(verdict.violations.is_empty(), "elsewhere: {:#?}", verdict.violations);
}

/// Let it read what a storm left behind.
pub(crate) fn check(storm: &Storm, forged: Option<&Forged>) -> Verdict {
    let of = |path: Option<&PathBuf>, otherwise: &Path| path.map_or_else(|| otherwise.to_owned(), Clone::clone);
    let read = Read {
        database: of(forged.and_then(|f| f.database.as_ref()), Path::new(&storm.database)),
        shim: of(forged.and_then(|f| f.shim.as_ref()), storm.house.shim(0).record()),
        journal: of(forged.and_then(|f| f.journal.as_ref()), storm.journal.path()),
        chain: storm.house.rig.path("ca/chain.pem"),
        signed_before: forged.and_then(|forged| forged.signed_before.clone()),
        published: Some(of(
            forged.and_then(|f| f.published.as_ref()),
            &storm.house.rig.path(PUBLIC),
        )),
        // OpenSSL takes its time, and most damage is found without it.
        signatures: forged.is_none_or(|forged| forged.signatures),
    };
    read.verdict()
}

/// What is done to a copy of the database, and the invariant that then does not hold. The tables refuse all of it:
/// their triggers are taken away first.
const STATEMENTS: [(&str, &str); 18] = [
    (
        "I1",
        "INSERT INTO certificate SELECT id + 1000000, x'0102030405', issuer_key_id, enrollment_id, device_id, profile || 'x', profile_sha256, key_role, spki_sha256, CAST(tbs || x'00' AS BLOB), CAST(certificate || x'00' AS BLOB), state, not_before, not_after, created_at, decision FROM certificate WHERE state = 'issued' AND device_id IS NOT NULL ORDER BY id LIMIT 1",
    ),
    (
        "I1",
        "UPDATE crl SET tbs_sha256 = randomblob(32) WHERE id = (SELECT min(id) FROM crl WHERE tbs_sha256 IS NOT NULL)",
    ),
    (
        "I3",
        "DROP INDEX certificate_serial; UPDATE certificate SET serial = (SELECT min(serial) FROM certificate) WHERE id IN (SELECT id FROM certificate ORDER BY id DESC LIMIT 1)",
    ),
    (
        "I4",
        "UPDATE certificate SET certificate = CAST(certificate || x'00' AS BLOB) WHERE id = (SELECT max(id) FROM certificate WHERE state = 'issued' AND device_id IS NOT NULL)",
    ),
    (
        "I4",
        "UPDATE certificate SET state = 'orphan', certificate = NULL WHERE id = (SELECT max(id) FROM certificate WHERE state = 'issued' AND device_id IS NOT NULL)",
    ),
    (
        "I5",
        "DROP INDEX enrollment_challenge; UPDATE enrollment SET challenge = (SELECT max(challenge) FROM enrollment)",
    ),
    (
        "I5",
        "UPDATE evidence SET bytes = CAST(bytes || x'00' AS BLOB) WHERE enrollment_id = (SELECT max(enrollment_id) FROM evidence)",
    ),
    (
        "I5",
        "UPDATE transcript SET bytes = CAST(bytes || x'20' AS BLOB) WHERE enrollment_id = (SELECT max(enrollment_id) FROM transcript)",
    ),
    ("I6", "DELETE FROM revocation"),
    (
        "I8",
        "UPDATE certificate SET profile_sha256 = randomblob(32) WHERE id = (SELECT max(id) FROM certificate WHERE device_id IS NOT NULL)",
    ),
    (
        "I9",
        "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit WHERE action = 'enrollment.issued')",
    ),
    (
        "I9",
        "INSERT INTO audit (id, at, action, actor, subject, reason, detail, entry_id) SELECT id + 1000000, at, action, actor, 'enr_00', reason, detail, NULL FROM audit WHERE action = 'enrollment.granted' LIMIT 1",
    ),
    (
        "I10",
        "UPDATE ledger_entry SET bytes = (SELECT bytes FROM ledger_entry WHERE position = 1) WHERE position = 2",
    ),
    (
        "I10",
        "DELETE FROM ledger_entry WHERE position = (SELECT max(position) FROM ledger_entry)",
    ),
    (
        "I10",
        "UPDATE audit SET reason = reason || 'X' WHERE id = (SELECT max(id) FROM audit)",
    ),
    (
        "I10",
        "UPDATE ledger SET checkpoint = replace(checkpoint, char(10) || signed_size || char(10), char(10) || (signed_size - 1) || char(10))",
    ),
    (
        "I12",
        "UPDATE certificate SET state = 'intent', certificate = NULL WHERE id = (SELECT max(id) FROM certificate WHERE device_id IS NOT NULL)",
    ),
    (
        "I11",
        "UPDATE certificate SET certificate = CAST(substr(certificate, 1, length(certificate) - 1) || x'00' AS BLOB) WHERE id = (SELECT max(id) FROM certificate WHERE state = 'issued' AND device_id IS NOT NULL)",
    ),
];

/// Every kind of damage, done to copies, is found and called by its name. On SQLite, whose database is a file.
pub(crate) fn finds_what_is_done_to_it(storm: &Storm) {
    if storm.database.starts_with("postgres") {
        return;
    }
    let copy = storm.house.rig.path("damaged.db");
    let triggers = sqlite(
        Path::new(&storm.database),
        "SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_master WHERE type = 'trigger'",
    );
    for (invariant, statement) in STATEMENTS {
        let _ = std::fs::remove_file(&copy);
        let _ = sqlite(Path::new(&storm.database), &format!("VACUUM INTO '{}'", copy.display()));
        let _ = sqlite(
            &copy,
            &format!("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; {triggers} {statement}"),
        );
        let forged = Forged {
            database: Some(copy.clone()),
            signatures: invariant == "I11",
            ..Forged::default()
        };
        finds(storm, &forged, invariant, statement);
    }
    let record = std::fs::read_to_string(storm.house.shim(0).record()).unwrap();
    let journal = std::fs::read_to_string(storm.journal.path()).unwrap();
    let last_of = |text: &str, word: &str| text.lines().rfind(|line| line.contains(word)).unwrap().to_owned();
    let signed = last_of(&record, "sign ");
    let issued = last_of(&journal, "\"kind\":\"issued\"");
    let newest = last_of(&journal, "\"kind\":\"crl\"");
    let oldest = journal
        .lines()
        .find(|line| line.contains("\"kind\":\"crl\""))
        .unwrap()
        .to_owned();
    assert_ne!(newest, oldest, "more than one CRL was heard");
    let other = signed.rsplit_once(' ').unwrap().0.to_owned() + " " + &"00".repeat(32);
    for (invariant, changed) in [
        ("I1", record.clone() + &other + "\n"),
        ("I1", record.clone() + "call sign_update\n"),
        ("I2", record.clone() + &signed_for_a_certificate(storm, &record) + "\n"),
    ] {
        let path = storm.house.rig.path("damaged.record");
        std::fs::write(&path, changed).unwrap();
        let forged = Forged {
            shim: Some(path),
            ..Forged::default()
        };
        finds(storm, &forged, invariant, "the shim's record");
    }
    let another = issued.replace("\"device\":\"storm-", "\"device\":\"other-");
    for (invariant, line) in [
        ("I4", another),
        ("I10", issued.replace("\"leaf\":\"", "\"leaf\":\"00")),
        (
            "I6",
            "{\"kind\":\"revoked\",\"serial\":\"00\",\"began\":0.0,\"ended\":0.0}".to_owned(),
        ),
        ("I7", oldest),
        ("I20", "{\"kind\":\"answer\",\"status\":500}".to_owned()),
    ] {
        let path = storm.house.rig.path("damaged.jsonl");
        std::fs::write(&path, format!("{journal}{line}\n")).unwrap();
        let forged = Forged {
            journal: Some(path),
            ..Forged::default()
        };
        finds(storm, &forged, invariant, &line);
    }
    for (invariant, name, damage) in FILES {
        let public = storm.house.rig.path("damaged.public");
        duplicate(&storm.house.rig.path(PUBLIC), &public);
        let file = first_file(&public.join(name));
        match damage(std::fs::read(&file).unwrap()) {
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let forged = Forged {
            published: Some(public),
            signatures: invariant == "I11",
            ..Forged::default()
        };
        finds(storm, &forged, invariant, &file.display().to_string());
    }
}

/// What becomes of the bytes of a file: others, or nothing.
type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;

/// A folder as it is, in the place of what was copied before. A checkpoint before its tiles: more of them may come meanwhile.
fn duplicate(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let mut below: Vec<PathBuf> = std::fs::read_dir(from)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    below.sort_by_key(|path| path.is_dir());
    std::fs::create_dir_all(to).unwrap();
    for path in below {
        let place = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => duplicate(&path, &place),
            // A file that is about to take its place may be gone by now.
            false => drop(std::fs::copy(&path, place)),
        }
    }
}

/// The first file at a path of published ones, what is done to it, and the invariant that then does not hold.
const FILES: [(&str, &str, Damage); 7] = [
    ("I10", "ledger/tile/0", flip),
    ("I10", "ledger/tile/entries", flip),
    ("I10", "ledger/tile/0", |bytes| Some(bytes[1..].to_vec())),
    ("I10", "ledger/checkpoint", flip),
    ("I10", "ledger/checkpoint", |_| None),
    // The last octet is of the signature.
    ("I11", "crls", flip),
    ("I1", "crls", |bytes| {
        let number = bytes.windows(3).position(|three| three == [0x55, 0x1d, 0x14]).unwrap();
        let mut changed = bytes;
        changed[number + 7] ^= 1;
        Some(changed)
    }),
];

/// The last octet of a tile, or the first of a checkpoint's size.
fn flip(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let line = std::str::from_utf8(&bytes).ok().and_then(|text| text.find('\n'));
    let at = line.map_or(bytes.len() - 1, |line| line + 1);
    bytes[at] ^= 1;
    Some(bytes)
}

/// The file itself, or the first one below a folder.
fn first_file(path: &Path) -> PathBuf {
    if path.is_file() {
        return path.to_owned();
    }
    let mut below: Vec<PathBuf> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
        .collect();
    below.sort();
    first_file(&below[0])
}

/// The line of the record that made a certificate.
fn signed_for_a_certificate(storm: &Storm, record: &str) -> String {
    let tbs = sqlite(
        Path::new(&storm.database),
        "SELECT lower(hex(tbs)) FROM certificate WHERE state = 'issued' ORDER BY id DESC LIMIT 1",
    );
    let digest = hex::encode(openssl::sha::sha256(&hex::decode(tbs.trim_end()).unwrap()));
    let made = |line: &&str| line.starts_with("sign ") && line.ends_with(&digest);
    record.lines().find(made).unwrap().to_owned()
}

fn finds(storm: &Storm, forged: &Forged, invariant: &str, how: &str) {
    let verdict = check(storm, Some(forged));
    assert!(
        verdict.violations.iter().any(|(name, _)| name == invariant),
        "{how}: {invariant} does not hold, and the checker says {:?}",
        verdict.violations
    );
}

fn sqlite(database: &Path, statement: &str) -> String {
    let output = Command::new("sqlite3")
        .args(["-batch", "-bail"])
        .arg(database)
        .arg(statement)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{statement}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// It reads all tables as they were at one moment: a tree that grows between the reading of its leaves and of its size is no
/// violation.
#[test]
fn reads_one_moment_of_a_record_that_changes() {
    let wanted = Wanted::postgres();
    let url = wanted.database.clone();
    let mut storm = Storm::still(wanted, "PostgreSQL", 1);
    storm.supplied(1);
    storm.up();
    storm.settled();
    storm.house.rig.every_leaf_is_signed();
    storm.house.rig.kill();
    let holder = Holder::of(&url, "LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE");
    let read = std::thread::scope(|scope| {
        let read = scope.spawn(|| check(&storm, None));
        until("the reader is at the last table", || {
            let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'ledger'::regclass";
            storm.house.rig.sql(waits) == "1"
        });
        holder.commits("UPDATE ledger SET size = size + 1");
        read.join().unwrap()
    });
    assert!(read.violations.is_empty(), "{:#?}", read.violations);
    let afterwards = check(&storm, None).violations;
    assert!(afterwards.iter().any(|(name, _)| name == "I10"), "{afterwards:?}");
}
