//! Faults one by one, under load: a statement on one table, an order to end in the middle; and what a storm once found.

use std::time::{Duration, Instant};

use device_kit::rig::Wanted;
use device_kit::trial::played;
use serde_json::json;

use crate::kill::Blow;
use crate::play::Storm;
use device_kit::clients::now;

/// Every table that is written while devices enroll, renew and are revoked, and how.
const WRITTEN: [(&str, &str); 18] = [
    ("audit", "INSERT"),
    ("certificate", "INSERT"),
    ("certificate", "UPDATE"),
    ("crl", "INSERT"),
    ("crl", "UPDATE"),
    ("crl_entry", "INSERT"),
    ("crl_point", "UPDATE"),
    ("device", "INSERT"),
    ("device", "UPDATE"),
    ("enrollment", "INSERT"),
    ("evidence", "INSERT"),
    ("identity", "INSERT"),
    ("key_owner", "INSERT"),
    ("ledger", "UPDATE"),
    ("ledger_entry", "INSERT"),
    ("ledger_tile", "INSERT"),
    ("revocation", "INSERT"),
    ("transcript", "INSERT"),
];

/// F04: each of them is refused by a trigger for a while. Nobody hears more than *later*, nothing is half done.
fn one_statement_fails(wanted: Wanted, engine: &'static str) {
    let mut storm = Storm::still(wanted, engine, 1);
    let postgres = storm.database.starts_with("postgres");
    storm.up();
    if postgres {
        let _ = storm
            .house
            .rig
            .sql("CREATE FUNCTION f04() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'f04'; END $$");
    }
    for (table, kind) in WRITTEN {
        storm.supplied(2);
        storm.up();
        let (make, drop) = if postgres {
            (
                format!("CREATE TRIGGER f04 BEFORE {kind} ON {table} FOR EACH ROW EXECUTE FUNCTION f04()"),
                format!("DROP TRIGGER f04 ON {table}"),
            )
        } else {
            (
                format!("CREATE TRIGGER f04 BEFORE {kind} ON {table} BEGIN SELECT RAISE(ABORT, 'f04'); END"),
                "DROP TRIGGER f04".to_owned(),
            )
        };
        let wait = if postgres { "" } else { "PRAGMA busy_timeout = 20000; " };
        let _ = storm.house.rig.sql(&format!("{wait}{make}"));
        let rows = |storm: &Storm| storm.house.rig.sql(&format!("SELECT count(*) FROM {table}"));
        let before = rows(&storm);
        storm.work_is_given();
        storm.loaded(Blow::Anywhere(0));
        if kind == "INSERT" {
            assert_eq!(rows(&storm), before, "{table}");
        }
        assert!(storm.house.rig.is_alive(), "{table}");
        let _ = storm.house.rig.sql(&format!("{wait}{drop}"));
        storm.everybody_persists();
        let begun = Instant::now();
        while storm.house.rig.admin_call("POST", "/v1/crls/publications", b"{}").0 != 200 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{table}: no CRL afterwards");
            std::thread::sleep(Duration::from_millis(50));
        }
        // Tiles of a tree are written again and again.
        if kind == "INSERT" && table != "ledger_tile" {
            assert_ne!(rows(&storm), before, "{table}: nothing wanted to be written there");
        }
        storm
            .journal
            .note(&json!({"kind": "fault", "what": format!("statement-fails {kind} {table}")}));
    }
    storm.all_is_well();
    played(
        &format!(
            "f04_one_statement_fails_on_{}",
            engine.to_lowercase().replace("postgresql", "postgres")
        ),
        WRITTEN.len(),
    );
}

/// F04 on SQLite.
#[test]
fn f04_one_statement_fails_on_sqlite() {
    one_statement_fails(Wanted::default(), "SQLite");
}

/// F04 on PostgreSQL.
#[test]
fn f04_one_statement_fails_on_postgres() {
    one_statement_fails(Wanted::postgres(), "PostgreSQL");
}

/// F19: told to end in the middle of the work, it ends well each time, and what it had begun is whole.
#[test]
fn f19_told_to_end_in_the_middle() {
    let mut storm = Storm::still(Wanted::default(), "SQLite", 1);
    for later in [0, 5, 20, 60, 150] {
        storm.supplied(2);
        storm.up();
        storm.work_is_given();
        storm.loaded(Blow::End(Duration::from_millis(later)));
        assert_eq!(storm.house.rig.stop(), Some(0), "{}", storm.house.rig.log());
    }
    storm.all_is_well();
    played("f19_told_to_end_in_the_middle", 5);
}

/// I6: a CRL speaks of a moment that its reading has seen. One that was read before a revocation was answered, and signed
/// after, once said that it was the later of the two; a storm of kills found it.
fn a_crl_is_as_old_as_its_reading(wanted: Wanted, engine: &'static str) {
    let mut storm = Storm::still(wanted, engine, 1);
    storm.supplied(2);
    // The job leaves this CRL to whoever is at work on it.
    storm
        .house
        .rig
        .configure(&[("crl".to_owned(), "after_revocation".to_owned(), "30s".into())]);
    storm.ordered("crl.taken:pause=2500");
    storm.house.rig.start();
    let serial = storm.devices.iter().find_map(|d| d.serial()).unwrap().to_owned();
    let rig = &storm.house.rig;
    std::thread::scope(|scope| {
        let published = scope.spawn(|| rig.admin_call("POST", "/v1/crls/publications", b"{}"));
        let begun = Instant::now();
        while !rig.log().contains("failpoint crl.taken") {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", rig.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        let began = now();
        let path = format!("/v1/certificates/{serial}/revocation");
        let (status, _) = rig.admin_call("POST", &path, b"{\"reason\":\"superseded\"}");
        assert_eq!(status, 200);
        storm
            .journal
            .note(&json!({"kind": "revoked", "serial": serial, "began": began, "ended": now()}));
        assert_eq!(published.join().unwrap().0, 200);
    });
    let read = || {
        let (status, der) = storm.house.rig.server().fetch("/crl/all.crl");
        assert_eq!(status, 200);
        openssl::x509::X509Crl::from_der(&der).unwrap()
    };
    let crl = read();
    let revoked = openssl::bn::BigNum::from_hex_str(&serial).unwrap();
    let listed = |crl: &openssl::x509::X509Crl| {
        let mut entries = crl.get_revoked().into_iter().flatten();
        entries.any(|entry| entry.serial_number().to_bn().unwrap() == revoked)
    };
    assert!(!listed(&crl), "it was read before");
    storm.crl_is_read().unwrap();
    storm.all_is_well();
}

/// On SQLite.
#[test]
fn i6_a_crl_is_as_old_as_its_reading_on_sqlite() {
    a_crl_is_as_old_as_its_reading(Wanted::default(), "SQLite");
}

/// On PostgreSQL.
#[test]
fn i6_a_crl_is_as_old_as_its_reading_on_postgres() {
    a_crl_is_as_old_as_its_reading(Wanted::postgres(), "PostgreSQL");
}
