//! Carried away, put back, moved.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use device_kit::rig::Wanted;
use serde_json::json;

use crate::kit::*;

/// Whatever ends the test, the load ends with it.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Under load, to each engine: the same rows, which verify; and a server goes on with them.
fn there_and_back(wanted: Wanted) {
    let named = wanted.database.clone();
    let mut rig = lived(wanted);
    let from = database(&rig, &named);
    // Backups while devices enroll: each is of one moment.
    let (stop, enrolled) = (AtomicBool::new(false), AtomicUsize::new(0));
    let backups: Vec<_> = std::thread::scope(|scope| {
        let _end = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                enroll(&rig, &format!("busy-{}", enrolled.fetch_add(1, Ordering::SeqCst)));
            }
        });
        (0..3)
            .map(|number| {
                until("another device", || enrolled.load(Ordering::SeqCst) > number * 2);
                backup(&rig, &from, &format!("busy-{number}.backup"))
            })
            .collect()
    });
    let said = db_json(&rig, &["verify", "--database", &from]);
    assert_eq!(said["sound"], json!(true), "{said}");
    for check in [
        "certificates",
        "evidence",
        "audit",
        "ledger leaves",
        "ledger tiles",
        "crls",
        "references",
        "rules",
    ] {
        assert!(said["checked"][check].as_u64().unwrap() > 0, "{check}: {said}");
    }
    for (number, (path, manifest)) in backups.iter().enumerate() {
        let path = path.display().to_string();
        // To the engine it came from, and to the other, and from there once more.
        for target in empty(&rig, &format!("busy-{number}")) {
            let said = db_json(&rig, &["restore", &path, "--database", &target]);
            assert_eq!(content(&said["manifest"]), content(manifest));
            let said = db_json(&rig, &["verify", "--database", &target]);
            assert_eq!(said["sound"], json!(true), "{said}");
            let again = format!("again-{number}-{}.backup", &target[..6].replace(':', ""));
            let (_, again) = backup(&rig, &target, &again);
            assert_eq!(content(&again), content(manifest), "not a row is another on {target}");
        }
    }
    grown(&rig);
    assert_eq!(rig.stop(), Some(0));
    // The last word: everything, on the other engine, under the same server.
    let other = empty(&rig, "moved");
    let other = if from.starts_with("sqlite") {
        &other[1]
    } else {
        &other[0]
    };
    let before = rig.certificates().len();
    let said = db_json(&rig, &["move", "--database", &from, "--to", other]);
    assert!(said["manifest"]["ledger"]["signed"].as_i64().unwrap() > 0, "{said}");
    // Nobody writes where it was.
    let refused = rig.refuses_to_start();
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused));
    assert!(
        text(&refused).contains("moved to another database"),
        "{}",
        text(&refused)
    );
    rig.moved(other);
    rig.start();
    assert_eq!(rig.certificates().len(), before);
    enroll(&rig, "after");
    let said = rig.cli(&["revoke", "one", "--reason", "superseded", "--no-input"]);
    assert!(said.status.success(), "{}", text(&said));
    grown(&rig);
    let said = db_json(&rig, &["verify", "--database", other]);
    assert_eq!(said["sound"], json!(true), "{said}");
    rig.kill();
}

/// F18: a backup of a running SQLite, restored on both engines, moved to PostgreSQL.
#[test]
fn f18_a_record_of_sqlite_is_the_same_everywhere() {
    there_and_back(Wanted::default());
}

/// F18: a backup of a running PostgreSQL, restored on both engines, moved to SQLite.
#[test]
fn f18_a_record_of_postgres_is_the_same_everywhere() {
    there_and_back(Wanted::postgres());
}

/// What is not a whole backup is refused, and leaves nothing behind; so is a database that is not empty, or in use.
fn refusals(wanted: Wanted) {
    let named = wanted.database.clone();
    let mut rig = lived(wanted);
    let from = database(&rig, &named);
    let (path, _) = backup(&rig, &from, "whole.backup");
    let whole = std::fs::read_to_string(&path).unwrap();
    let postgres = from.starts_with("postgres");
    let target = |name: &str| empty(&rig, name)[usize::from(postgres)].clone();

    // The servers are at work on it.
    let said = db(&rig, &["move", "--database", &from, "--to", &target("busy")]);
    assert!(!said.status.success(), "{}", text(&said));
    let word = if postgres {
        "stop its servers first"
    } else {
        "held by another process"
    };
    assert!(text(&said).contains(word), "{}", text(&said));

    // Not twice into one, nor into one that is there.
    let full = target("full");
    let arguments = ["restore", &path.display().to_string(), "--database", &full];
    assert!(db(&rig, &arguments).status.success());
    let said = db(&rig, &arguments);
    assert_eq!(said.status.code(), Some(5), "{}", text(&said));
    assert!(text(&said).contains("not empty"), "{}", text(&said));
    let said = db(
        &rig,
        &["backup", "--database", &from, "--out", &path.display().to_string()],
    );
    assert_eq!(
        said.status.code(),
        Some(5),
        "a backup takes no other's place: {}",
        text(&said)
    );

    let lines: Vec<&str> = whole.lines().collect();
    let row = lines.iter().position(|line| line.starts_with("table audit ")).unwrap() + 1;
    let damaged: Vec<(&str, String, &str)> = vec![
        ("short", whole[..whole.len() / 2].to_owned(), "ends early"),
        ("no-manifest", lines[..lines.len() - 1].join("\n") + "\n", "ends early"),
        ("more", whole.clone() + "more\n", "something follows"),
        (
            "other",
            whole.replacen("holdfast-backup 1", "holdfast-backup 2", 1),
            "first line",
        ),
        (
            "newer",
            whole.replacen("migrations ", "migrations 99999999999999 ", 1),
            "newer Holdfast",
        ),
        (
            "a-row-less",
            {
                let mut fewer = lines.clone();
                fewer.remove(row);
                fewer.join("\n") + "\n"
            },
            "manifest is not of what it holds",
        ),
        ("a-word", whole.replacen("superseded", "keyCompromise", 1), ""),
    ];
    for (name, content, word) in damaged {
        let broken = rig.path(&format!("{name}.backup"));
        std::fs::write(&broken, content).unwrap();
        let into = target(name);
        let said = db(&rig, &["restore", &broken.display().to_string(), "--database", &into]);
        assert!(matches!(said.status.code(), Some(1 | 3)), "{name}: {}", text(&said));
        assert!(text(&said).contains(word), "{name}: {}", text(&said));
        // Nothing is left: the whole one goes in.
        let said = db(&rig, &["restore", &path.display().to_string(), "--database", &into]);
        assert!(said.status.success(), "{name}: {}", text(&said));
    }
    let said = db(&rig, &["verify", "--database", "sqlite:///nowhere/ca.db"]);
    assert_eq!(said.status.code(), Some(4), "{}", text(&said));
    let said = db(&rig, &["verify", "--database", "postgres://ca:secret@localhost/ca"]);
    assert_eq!(said.status.code(), Some(2), "no password in arguments: {}", text(&said));
    rig.kill();
}

/// F18: half a backup, another's, and what does not fit together, on SQLite.
#[test]
fn f18_what_is_not_a_whole_backup_is_refused_by_sqlite() {
    refusals(Wanted::default());
}

/// The same on PostgreSQL.
#[test]
fn f18_what_is_not_a_whole_backup_is_refused_by_postgres() {
    refusals(Wanted::postgres());
}
