//! An older database is put back: each anchor alone refuses it, and says which command goes on with it; that command works.

use device_kit::rig::{Rig, Wanted};
use serde_json::json;

use crate::kit::*;

/// A setting, its value that hides this anchor, and the one that shows it.
type Anchor = (&'static str, &'static str, toml::Value, toml::Value);

fn anchors() -> Vec<(Anchor, &'static str)> {
    let text = |value: &str| toml::Value::from(value);
    vec![
        (
            ("anchor", "file", text("none.json"), text("anchor.json")),
            "anchor.json remembers",
        ),
        (("anchor", "token", false.into(), true.into()), "the token remembers"),
        (
            ("ledger", "head", text("none.head"), text("ledger.head")),
            "entries when it was signed last",
        ),
        (
            ("ledger", "folder", text("notiles"), text("tiles")),
            "entries when it was signed last",
        ),
        (("crl", "folder", text("nocrls"), text("crls")), "is published at"),
    ]
}

/// Show this anchor and no other.
fn only(rig: &Rig, shown: Option<usize>) {
    let settings: Vec<_> = anchors()
        .into_iter()
        .enumerate()
        .map(|(number, ((section, key, hidden, seen), _))| {
            let value = if shown == Some(number) { seen } else { hidden };
            (section.to_owned(), key.to_owned(), value)
        })
        .collect();
    rig.configure(&settings);
}

fn all(rig: &Rig) {
    let settings: Vec<_> = anchors()
        .into_iter()
        .map(|((section, key, _, seen), _)| (section.to_owned(), key.to_owned(), seen))
        .collect();
    rig.configure(&settings);
}

fn refused(rig: &Rig, word: &str) {
    let said = rig.refuses_to_start();
    assert_eq!(said.status.code(), Some(78), "{word}: {}", text(&said));
    assert!(text(&said).contains(word), "{word}: {}", text(&said));
    assert!(text(&said).contains("ca-cli db accept"), "{word}: {}", text(&said));
}

fn older(wanted: Wanted) {
    let named = wanted.database.clone();
    let mut wanted = wanted;
    for ((section, key, _, seen), _) in anchors() {
        wanted = wanted.set(section, key, seen);
    }
    let mut rig = lived(wanted);
    let from = database(&rig, &named);
    let (yesterday, _) = backup(&rig, &from, "yesterday.backup");
    let yesterday = yesterday.display().to_string();
    enroll(&rig, "three");
    let said = rig.cli(&["revoke", "three", "--reason", "superseded", "--no-input"]);
    assert!(said.status.success(), "{}", text(&said));
    grown(&rig);
    until("the folder has the last CRL", || {
        let number: u64 = rig.sql("SELECT number FROM crl_sequence").parse().unwrap();
        let crl = crl_in(&rig);
        number == crl
    });
    assert_eq!(rig.stop(), Some(0));
    // With all anchors, and nothing put back: it starts.
    rig.start();
    assert_eq!(rig.stop(), Some(0));
    let published = crl_in(&rig);
    let place = |name: &str| {
        let both = empty(&rig, name);
        both[usize::from(from.starts_with("postgres"))].clone()
    };
    let (today, again, free) = (place("today"), place("again"), place("free"));
    let anchor = rig.path("anchor.json").display().to_string();
    let head = rig.path("ledger.head").display().to_string();
    let folder = rig.path("crls").display().to_string();

    // `restore` is told what is known, each alone, and refuses; nothing is written.
    for (flag, file, word) in [
        ("--anchor", &anchor, "which was seen"),
        ("--ledger-head", &head, "entries was signed"),
        ("--crl", &folder, "is published; the last it knows"),
    ] {
        let said = db(&rig, &["restore", &yesterday, "--database", &today, flag, file]);
        assert_eq!(said.status.code(), Some(3), "{flag}: {}", text(&said));
        assert!(text(&said).contains(word), "{flag}: {}", text(&said));
        let said = db(&rig, &["verify", "--database", &from, flag, file]);
        assert_eq!(said.status.code(), Some(0), "{flag}: {}", text(&said));
    }

    // Put back past all that: the server sees it by each anchor alone.
    let _ = db_json(&rig, &["restore", &yesterday, "--database", &today]);
    rig.moved(&today);
    for (number, (_, word)) in anchors().into_iter().enumerate() {
        only(&rig, Some(number));
        refused(&rig, word);
    }

    // Going on with it, by a person's word: the ledger under a new name, and CRLs beyond those that are out.
    let said = db_json(
        &rig,
        &[
            "accept",
            "--database",
            &today,
            "--anchor",
            &anchor,
            "--crl",
            &folder,
            "--reason",
            "disk lost, ticket 12",
        ],
    );
    assert_eq!(said["behind"].as_array().unwrap().len(), 2, "{said}");
    all(&rig);
    refused(&rig, "entries when it was signed last");
    std::fs::write(rig.path("second.key"), std::fs::read(rig.path("ledger.key")).unwrap()).unwrap();
    let named = |key: &str, value: &str| ("ledger".to_owned(), key.to_owned(), toml::Value::from(value));
    rig.configure(&[
        named("origin", "pki.example.net/second"),
        named("head", "second.head"),
        named("folder", "second"),
    ]);
    rig.start();
    enroll(&rig, "four");
    let said = rig.cli(&["revoke", "one", "--reason", "superseded", "--no-input"]);
    assert!(said.status.success(), "{}", text(&said));
    grown(&rig);
    until("a CRL beyond those that were out", || crl_in(&rig) > published);
    let audit = rig.sql("SELECT detail FROM audit WHERE action = 'database.accepted'");
    assert!(audit.contains("disk lost, ticket 12"), "{audit}");
    assert_eq!(rig.stop(), Some(0));
    let said = db_json(
        &rig,
        &["verify", "--database", &today, "--anchor", &anchor, "--crl", &folder],
    );
    assert_eq!(said["sound"], json!(true), "{said}");

    // The same backup once more: the epoch that was begun is remembered, in the file and in the token.
    let _ = db_json(&rig, &["restore", &yesterday, "--database", &again]);
    rig.moved(&again);
    for (number, word) in [(0, "anchor.json remembers"), (1, "the token remembers")] {
        only(&rig, Some(number));
        let said = rig.refuses_to_start();
        assert_eq!(said.status.code(), Some(78), "{}", text(&said));
        assert!(text(&said).contains(word), "{}", text(&said));
        assert!(text(&said).contains("of epoch 0, which ended"), "{}", text(&said));
    }

    // In one step: restored, with a reason.
    let said = db_json(
        &rig,
        &[
            "restore",
            &yesterday,
            "--database",
            &free,
            "--anchor",
            &anchor,
            "--crl",
            &folder,
            "--accept-older",
            "once more",
        ],
    );
    assert!(said["manifest"]["tables"].is_array(), "{said}");
    rig.moved(&free);
    only(&rig, Some(0));
    rig.start();
    assert_eq!(rig.stop(), Some(0));

    // An anchor that cannot be read is no anchor.
    std::fs::write(rig.path("anchor.json"), "{}").unwrap();
    let said = rig.refuses_to_start();
    assert_eq!(said.status.code(), Some(78), "{}", text(&said));
    assert!(text(&said).contains("no anchor"), "{}", text(&said));
}

/// The greatest number of a CRL in the folder.
fn crl_in(rig: &Rig) -> u64 {
    let url = rig.sql("SELECT url FROM crl_point");
    let path = url.strip_prefix("http://pki.example.net/").unwrap();
    let Ok(der) = std::fs::read(rig.path("crls").join(path)) else {
        return 0;
    };
    issuance::crl::RawCrl::decode(der).unwrap().claimed_number().get()
}

/// F18, S03: on SQLite.
#[test]
fn f18_an_older_record_on_sqlite() {
    older(Wanted::default());
}

/// F18, S03: on PostgreSQL.
#[test]
fn f18_an_older_record_on_postgres() {
    older(Wanted::postgres());
}
