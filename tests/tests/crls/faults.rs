//! F21 where the record itself fails: a full disk, and a database that is lost in the middle of a publication.

use device_kit::holder::Holder;
use device_kit::postgres::Cluster;
use device_kit::rig::{Rig, Wanted};
use device_kit::small_disk::SmallDisk;

use super::{EVERY_PLACE, crl, enroll, listed, number, relied_upon, revoke, until};

const PATH: &str = "/crl/all.crl";

/// CRLs that are renewed every two seconds, and soon late.
fn hasty(wanted: Wanted) -> Wanted {
    wanted
        .with_crls(0)
        .set("crl", "every", "2s")
        .set("crl", "valid", "12s")
        .set("enrollment", "sign_deadline", "2s")
}

/// The alarm is shown, and until then and after nothing but whole CRLs were served, none newer than `last`.
fn late(rig: &Rig) {
    let (_, last) = rig.server().fetch(PATH);
    let mut served = last;
    until("the alarm", || {
        let (status, now) = rig.server().fetch(PATH);
        assert_eq!(status, 200, "the old one is served");
        let read = openssl::x509::X509Crl::from_der(&now).unwrap();
        assert_eq!(read.to_der().unwrap(), now, "whole");
        served = now;
        let (_, said) = rig.monitor("/readyz?verbose");
        said.contains("[!] crl CRL_LATE") || said.contains("[!] crl CRL_ENDED")
    });
    // Counted at the end of the round that raised it.
    until("it is counted", || rig.server().metric("ca_crl_alarmed") >= 1.0);
    let (_, now) = rig.server().fetch(PATH);
    assert_eq!(now, served, "what was published last stays");
}

/// It went on by itself, and nothing is there twice or half.
fn healed(rig: &Rig, old: i64) {
    until("a newer one", || {
        crl(rig.server(), PATH).is_some_and(|crl| number(&crl) > old)
    });
    until("no alarm", || rig.server().metric("ca_crl_alarmed") == 0.0);
    assert_eq!(rig.sql("SELECT count(*) FROM crl_point"), "1");
    let (_, der) = rig.server().fetch(PATH);
    let burnt: i64 = rig.sql("SELECT max(number) FROM crl").parse().unwrap();
    assert!(number(&openssl::x509::X509Crl::from_der(&der).unwrap()) <= burnt);
    let audit = rig.cli_json(&["audit", "show", &format!("http://pki.example.net{PATH}")]);
    assert!(audit.to_string().contains("CRL_ALARM_OVER"), "{audit:#}");
}

/// No byte is free while CRLs are due.
#[test]
fn f21_the_disk_is_full_while_crls_are_due() {
    let wanted = Wanted {
        database: "sqlite://small/ca.db".into(),
        ..Wanted::default()
    };
    let mut rig = Rig::initialised(&hasty(wanted));
    let Some(small) = SmallDisk::wanted(&rig.path("small")) else {
        return;
    };
    rig.start();
    let (first, second) = (enroll(&rig, "gw-1"), enroll(&rig, "gw-2"));
    revoke(&rig, &first, "superseded");
    until("it is listed", || listed(rig.server(), &first));
    small.fill();
    late(&rig);
    assert!(listed(rig.server(), &first), "nothing left it");
    // What cannot be recorded is not answered.
    let refused = rig.cli(&["revoke", &second.serial, "--reason", "superseded"]);
    assert_eq!(
        refused.status.code(),
        Some(7),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    let old = number(&crl(rig.server(), PATH).unwrap());
    small.free();
    healed(&rig, old);
    revoke(&rig, &second, "superseded");
    until("both are listed", || listed(rig.server(), &second));
    assert!(listed(rig.server(), &first));
    let (ok, said) = relied_upon(&rig, &first);
    assert!(!ok && said.contains("revoked"), "{said}");
    assert!(rig.is_alive(), "without a restart");
    rig.kill();
}

/// The database dies between signature and publication.
#[test]
fn f21_the_database_is_lost_in_the_middle_of_a_publication() {
    let cluster = Cluster::start().unwrap();
    let wanted = Wanted {
        database: cluster.database().unwrap(),
        ..Wanted::default()
    };
    let mut rig = Rig::with(&hasty(wanted.clone()));
    let device = enroll(&rig, "gw-1");
    until("a CRL", || crl(rig.server(), PATH).is_some());
    let holder = Holder::of(&wanted.database, EVERY_PLACE);
    revoke(&rig, &device, "superseded");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock' AND query LIKE 'SELECT \"crl_point\"% FOR UPDATE%'";
    until("it is signed and waits", || rig.sql(waiting) == "1");
    let signed: i64 = rig
        .sql("SELECT max(number) FROM crl WHERE tbs_sha256 IS NOT NULL")
        .parse()
        .unwrap();
    let before = number(&crl(rig.server(), PATH).unwrap());
    assert!(before < signed);
    cluster.crash().unwrap();
    drop(holder);
    late(&rig);
    assert_eq!(
        number(&crl(rig.server(), PATH).unwrap()),
        before,
        "what was signed is not out"
    );
    cluster.up().unwrap();
    healed(&rig, signed);
    assert!(listed(rig.server(), &device));
    let (ok, said) = relied_upon(&rig, &device);
    assert!(!ok && said.contains("revoked"), "{said}");
    assert!(rig.is_alive(), "without a restart");
    rig.kill();
}
