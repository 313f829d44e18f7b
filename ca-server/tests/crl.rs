//! Publishing CRLs: what is in them, when they come, and on which doubts the old one stays.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

#[path = "crl/deltas.rs"]
mod deltas;
mod kit;

use std::num::NonZeroU16;
use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::{App, web};
use ca_server::config::CrlTerms;
use ca_server::flow::enroll::{Activation, activate, begin};
use ca_server::flow::publish::{PublishError, Published, publish};
use ca_server::flow::revoke::{release, revoke};
use ca_server::house::{House, Parts, StartError};
use ca_server::http::{Front, admin_routes, monitor_routes, status_gate, status_routes, whole};
use ca_server::jobs::crl::{Watch, round};
use device_kit::soft_tpm::SoftTpm;
use issuance::crl::{CrlDoubt, CrlDraftError};
use issuance::{Crl, Issuer, IssuerUrls, RawCrl, SignFailure, SignatureAlgorithm};
use kit::{Ca, Mood, allow, manners, terms};
use schema::{AuditFilter, CrlPoint, Store};
use wire::revocation::RevocationReason::{self, CertificateHold, KeyCompromise, Superseded};

const WHOLE: &str = "http://pki.example.net/issuing.crl";
const SHARDED: &str = "http://pki.example.net/crl/{shard}.crl";
const WHO: &str = "uid:7";

struct Scene {
    ca: Ca,
    store: Store,
    house: Arc<House>,
    watch: Watch,
}

fn urls(crl: &str, shards: u16) -> IssuerUrls {
    IssuerUrls {
        crl: Some(crl.to_owned()),
        crl_shards: NonZeroU16::new(shards),
        ..IssuerUrls::default()
    }
}

fn parts(ca: &Ca, store: &Store, urls: IssuerUrls) -> Parts {
    Parts {
        issuer: Issuer::from_chain(&ca.chain, SignatureAlgorithm::EcdsaP256Sha256, urls).unwrap(),
        ..ca.parts(store)
    }
}

impl Scene {
    fn with(urls: IssuerUrls) -> Self {
        let ca = Ca::rehearse();
        let store = ca.store();
        let house = Arc::new(House::new(parts(&ca, &store, urls)).unwrap());
        Self {
            ca,
            store,
            house,
            watch: Watch::default(),
        }
    }

    fn whole() -> Self {
        Self::with(urls(WHOLE, 0))
    }

    /// Another server on the same record.
    fn replica(&self) -> Arc<House> {
        let urls = self.house.issuer.urls().clone();
        Arc::new(House::new(parts(&self.ca, &self.store, urls)).unwrap())
    }

    /// Enroll a new device; its serial.
    fn enroll(&self, name: &str) -> [u8; 16] {
        let tpm = SoftTpm::p256(&self.ca.vendor);
        allow(&self.store, name, Some(tpm.ek.sha256()), None);
        let challenge = begin(&self.house, "192.0.2.1", tpm.request("device-ldevid", None, None)).unwrap();
        let answer = tpm.answer(&challenge).unwrap();
        let Ok(Activation::Done(result)) = activate(&self.house, "192.0.2.1", challenge.id, &answer) else {
            panic!("not enrolled");
        };
        let mut serial = [0; 16];
        hex::decode_to_slice(&result.certificates[0].serial, &mut serial).unwrap();
        serial
    }

    fn revoke(&self, serial: &[u8], reason: RevocationReason) {
        revoke(&self.house, WHO, serial, reason, None).unwrap();
    }

    fn revoked(&self, name: &str) -> [u8; 16] {
        let serial = self.enroll(name);
        self.revoke(&serial, Superseded);
        serial
    }

    fn points(&self) -> Vec<CrlPoint> {
        self.store.crl_points(self.house.issuer.key_id()).unwrap()
    }

    fn publish(&self) -> Result<Published, PublishError> {
        publish(&self.house, &self.points()[0], true)
    }

    /// What is published at the first place.
    fn out(&self) -> Crl {
        self.out_at(&self.points()[0])
    }

    fn out_at(&self, point: &CrlPoint) -> Crl {
        let (number, der) = self.store.published_crl(point.id).unwrap().unwrap();
        let crl = RawCrl::decode(der).unwrap().verify(&self.house.issuer).unwrap();
        assert_eq!(crl.number(), number);
        crl
    }

    fn lists(&self) -> Vec<String> {
        self.out().entries().iter().map(|entry| entry.serial.hex()).collect()
    }

    fn round(&mut self) {
        round(&self.house, &mut self.watch, || false);
    }

    fn sql(&self, sql: &str) {
        let output = std::process::Command::new("sqlite3")
            .args(["-batch", "-bail", "-cmd", ".timeout 10000"])
            .arg(self.ca.path("ca.db"))
            .arg(sql)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Reasons of alarms that are under way.
    fn alarms(&self) -> Vec<&'static str> {
        self.house.alarms.all().iter().map(|(_, alarm)| alarm.reason).collect()
    }

    /// Reasons on record, the newest first.
    fn recorded(&self, action: &str) -> Vec<String> {
        let all = self.store.audit_entries(&AuditFilter::default(), 1000).unwrap();
        all.into_iter()
            .filter(|r| r.action == action)
            .map(|r| r.record.reason)
            .collect()
    }

    /// A publication that must fail, loudly; what is published stays, octet for octet.
    fn refused(&self, reason: &'static str) -> PublishError {
        let before = self.store.published_crl(self.points()[0].id).unwrap();
        let error = self.publish().unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert_eq!(self.store.published_crl(self.points()[0].id).unwrap(), before);
        assert_eq!(self.alarms(), [reason]);
        assert_eq!(self.recorded("crl.alarm")[0], reason);
        let text = self.house.metrics.render(true, false);
        let counted = format!("ca_crl_alarms_total{{reason=\"{reason}\"}} 1");
        assert!(text.contains(&counted), "{text}");
        error
    }
}

#[test]
fn a_revocation_is_in_the_crl_of_its_shard() {
    let mut scene = Scene::with(urls(SHARDED, 4));
    scene.round();
    let places = scene.points();
    assert_eq!(places.len(), 4);
    assert!(places.iter().all(|p| p.published.is_some_and(|out| out.entries == 0)));
    let serials: Vec<_> = (0..12).map(|n| scene.revoked(&format!("gw-{n}"))).collect();
    scene.ca.hands.forward(1);
    scene.round();
    for serial in &serials {
        let url = scene.house.issuer.urls().crl_url(serial).unwrap();
        for place in scene.points() {
            let crl = scene.out_at(&place);
            let serial = issuance::Serial::from_octets(*serial).unwrap();
            assert_eq!(crl.revokes(serial), place.url == url, "{}", place.url);
        }
    }
    // A shard that nothing happened to keeps its CRL.
    let quiet: Vec<_> = scene
        .points()
        .iter()
        .filter(|p| p.published.unwrap().entries == 0)
        .cloned()
        .collect();
    for place in quiet {
        assert!(places.contains(&place));
    }
    // After a change of the number of shards old certificates keep their place; new places come beside it.
    let more = House::new(parts(&scene.ca, &scene.store, urls(SHARDED, 8))).unwrap();
    round(&more, &mut Watch::default(), || false);
    assert_eq!(scene.points().len(), 8);
    assert_eq!(
        scene.points().iter().map(|p| p.published.unwrap().entries).sum::<i64>(),
        12
    );
}

#[test]
fn crls_come_when_they_are_due_and_not_before() {
    let mut scene = Scene::whole();
    let serial = scene.enroll("gw-1");
    let mut number = || {
        scene.round();
        scene.out().number().get()
    };
    assert_eq!([number(), number()], [1, 1]);
    scene.ca.hands.forward(21_599);
    assert_eq!(
        {
            scene.round();
            scene.out().number().get()
        },
        1
    );
    scene.ca.hands.forward(1);
    scene.round();
    assert_eq!(scene.out().number().get(), 2, "it is time");
    let crl = scene.out();
    assert_eq!(crl.next_update().0 - crl.this_update().0, 86_400);
    scene.revoke(&serial, Superseded);
    scene.round();
    assert_eq!(scene.out().number().get(), 2, "two of a place are apart");
    scene.ca.hands.forward(1);
    scene.round();
    assert_eq!((scene.out().number().get(), scene.lists().len()), (3, 1));
    scene.round();
    assert_eq!(scene.out().number().get(), 3);
}

#[test]
fn a_released_hold_leaves_and_a_compromise_stays() {
    let scene = Scene::whole();
    let (held, lost) = (scene.enroll("gw-1"), scene.enroll("gw-2"));
    scene.revoke(&held, CertificateHold);
    scene.revoke(&lost, Superseded);
    scene.publish().unwrap();
    assert_eq!(scene.lists().len(), 2);
    scene.ca.hands.forward(10);
    release(&scene.house, WHO, &held, None).unwrap();
    scene.revoke(&lost, KeyCompromise);
    scene.publish().unwrap();
    assert_eq!(scene.lists(), [hex::encode(lost)]);
    assert!(scene.alarms().is_empty());
}

/// R03: a row hidden, and another one put in its place so that the count is right: only the comparison can tell.
#[test]
fn r03_an_entry_that_went_away_stops_publication() {
    let scene = Scene::whole();
    scene.revoked("gw-1");
    scene.publish().unwrap();
    scene.revoked("gw-2");
    scene.sql(
        "DROP TRIGGER crl_entry_final; \
         UPDATE crl_entry SET issuer_key_id = x'09' WHERE certificate_id = (SELECT min(certificate_id) FROM crl_entry)",
    );
    let error = scene.refused("CRL_DOUBT");
    assert!(
        matches!(error, PublishError::Doubt(CrlDoubt::Entries { count: 1, .. })),
        "{error}"
    );
    // The next attempt is no other alarm, and the repair ends it.
    scene.publish().unwrap_err();
    assert_eq!(scene.recorded("crl.alarm").len(), 1);
    let key = hex::encode(scene.house.issuer.key_id());
    scene.sql(&format!("UPDATE crl_entry SET issuer_key_id = x'{key}'"));
    scene.publish().unwrap();
    assert!(scene.alarms().is_empty());
    assert_eq!(scene.recorded("crl.calm").len(), 1);
    assert_eq!(scene.lists().len(), 2);
}

/// R03: a record that is not whole is noticed before anything is drafted.
#[test]
fn r03_fewer_steps_than_before_stop_publication() {
    let scene = Scene::whole();
    scene.revoked("gw-1");
    scene.revoked("gw-2");
    scene.publish().unwrap();
    let signed = scene.ca.key.count();
    scene.sql("DROP TRIGGER revocation_kept; DELETE FROM revocation WHERE id = (SELECT max(id) FROM revocation)");
    let error = scene.refused("CRL_INCOMPLETE");
    assert!(
        matches!(error, PublishError::Incomplete { read: 1, published: 2 }),
        "{error}"
    );
    assert_eq!(scene.ca.key.count(), signed, "the key was not asked");
}

/// R03: what is published and cannot be read is an alarm, never "nothing was published".
#[test]
fn r03_a_damaged_published_crl_stops_publication() {
    let scene = Scene::whole();
    scene.publish().unwrap();
    scene.sql(
        "DROP TRIGGER crl_point_grows; DROP TRIGGER crl_point_recorded; \
         UPDATE crl_point SET der = substr(der, 1, length(der) - 1)",
    );
    let error = scene.refused("CRL_UNREADABLE");
    assert!(matches!(error, PublishError::Unreadable(_)), "{error}");
}

/// R11: an entry dated after its CRL is not signed. The clocks differ by more than is tolerated.
#[test]
fn r11_an_entry_of_tomorrow_stops_publication() {
    let scene = Scene::whole();
    let serial = scene.enroll("gw-1");
    scene.publish().unwrap();
    scene.ca.hands.forward(301);
    scene.revoke(&serial, Superseded);
    let late = scene.replica();
    scene.ca.hands.forward(-301);
    // A server that heard nothing of it: only the steps it reads say what time it was.
    let house = House::new(parts(&scene.ca, &scene.store, urls(WHOLE, 0)));
    assert!(
        matches!(house.err(), Some(StartError::Refused(_))),
        "the record is of tomorrow"
    );
    drop(late);
    let error = scene.refused("CRL_CLOCK");
    assert!(matches!(error, PublishError::Clock), "{error}");
    scene.ca.hands.forward(301);
    scene.publish().unwrap();
    assert_eq!(scene.lists(), [hex::encode(serial)]);
}

/// R11: clocks that differ within the tolerance are no doubt; the CRL is of the latest time on record.
#[test]
fn clocks_that_differ_a_little_are_no_doubt() {
    let scene = Scene::whole();
    let serial = scene.enroll("gw-1");
    let slow = scene.replica();
    scene.ca.hands.forward(5);
    scene.revoke(&serial, Superseded);
    let at = scene.ca.hands.now();
    scene.publish().unwrap();
    scene.ca.hands.forward(-5);
    publish(&slow, &scene.points()[0], true).unwrap();
    assert_eq!(scene.out().this_update().0, at);
    assert_eq!(scene.lists(), [hex::encode(serial)]);
    assert!(slow.alarms.all().is_empty());
}

/// R02, F14: the clock goes back by an hour, also over a restart.
#[test]
fn r02_the_clock_goes_back() {
    let scene = Scene::whole();
    scene.publish().unwrap();
    scene.ca.hands.forward(-3600);
    scene.refused("CRL_CLOCK");
    let again = House::new(parts(&scene.ca, &scene.store, urls(WHOLE, 0)));
    assert!(matches!(again.err(), Some(StartError::Refused(_))));
    scene.ca.hands.forward(3601);
    let before = scene.out().this_update();
    scene.publish().unwrap();
    assert!(scene.out().this_update() > before);
}

/// R09: the token is away for a life of the CRL. The old one stays, the alarm comes at half of its life, and again when it
/// ended; the token's return is enough.
#[test]
fn r09_the_token_is_away() {
    let mut scene = Scene::whole();
    scene.round();
    let old = scene.out();
    scene.ca.key.set(Mood::Away);
    scene.ca.hands.forward(21_600);
    scene.round();
    assert!(scene.alarms().is_empty(), "it may pass");
    assert_eq!(scene.out().der(), old.der());
    scene.ca.hands.forward(21_600);
    scene.round();
    assert!(scene.alarms().is_empty(), "half of it is not over");
    scene.ca.hands.forward(1);
    scene.round();
    assert_eq!(scene.alarms(), ["CRL_LATE"]);
    scene.ca.hands.forward(43_200);
    scene.round();
    assert_eq!(scene.alarms(), ["CRL_ENDED"]);
    assert_eq!(scene.recorded("crl.alarm"), ["CRL_ENDED", "CRL_LATE"]);
    assert_eq!(scene.out().der(), old.der());
    let numbers = scene.store.crl_numbers(scene.house.issuer.key_id(), 100).unwrap();
    assert_eq!(
        numbers.len(),
        2,
        "away is known after one attempt: no more numbers are burnt"
    );
    scene.ca.key.set(Mood::Works);
    scene.house.probe_signer().unwrap();
    scene.watch = Watch::default();
    scene.round();
    assert!(scene.alarms().is_empty());
    assert!(scene.out().number() > old.number());
}

/// A place without any CRL is an alarm at once.
#[test]
fn r09_the_token_is_away_before_the_first() {
    let scene = Scene::whole();
    scene.ca.key.set(Mood::Away);
    let error = scene.refused("CRL_SIGNER_AWAY");
    assert!(matches!(error, PublishError::Sign(SignFailure::Key(_))), "{error}");
}

/// A signature that is none of the key's is not published, and halts the house; CRLs of a key that works again go on.
#[test]
fn r09_a_wrong_signature_is_not_published() {
    let scene = Scene::whole();
    scene.publish().unwrap();
    scene.ca.key.set(Mood::Corrupt);
    let error = scene.refused("CRL_SIGNER_WRONG");
    assert!(matches!(error, PublishError::Sign(SignFailure::Corrupt)), "{error}");
    assert!(scene.house.halt.reason().is_some());
    scene.ca.key.set(Mood::Works);
    scene.publish().unwrap();
}

/// R02: the answer of the key is lost. Its number is burnt; the next is greater.
#[test]
fn r02_a_lost_signature_burns_its_number() {
    let scene = Scene::whole();
    scene.publish().unwrap();
    scene.ca.key.set(Mood::Unknown);
    scene.publish().unwrap_err();
    scene.ca.key.set(Mood::Works);
    scene.house.probe_signer().unwrap();
    scene.publish().unwrap();
    assert_eq!(scene.out().number().get(), 3);
    let numbers = scene.store.crl_numbers(scene.house.issuer.key_id(), 100).unwrap();
    assert!(
        numbers.iter().all(|taken| taken.tbs_sha256.is_some()),
        "written down before the key was asked"
    );
}

/// Losing the swap is no alarm.
#[test]
fn losing_the_swap_is_no_alarm() {
    let scene = Scene::whole();
    scene.publish().unwrap();
    let slow = Arc::clone(&scene.house);
    let point = scene.points().remove(0);
    let door = scene.ca.key.hold();
    let waiting = std::thread::spawn(move || publish(&slow, &point, true));
    while scene.ca.key.count() == 0 {
        std::thread::yield_now();
    }
    // What another server did meanwhile.
    scene.sql(
        "UPDATE crl_sequence SET number = number + 1; \
         INSERT INTO crl (issuer_key_id, number, crl_point_id, created_at, this_update, next_update, entries, steps, \
         tbs_sha256) SELECT s.issuer_key_id, s.number, p.id, 0, p.this_update, p.next_update, 0, 0, zeroblob(32) \
         FROM crl_sequence AS s, crl_point AS p; \
         UPDATE crl_point SET crl_id = (SELECT max(id) FROM crl), number = (SELECT max(number) FROM crl)",
    );
    drop(door);
    assert_eq!(waiting.join().unwrap().unwrap(), Published::Overtaken);
    assert!(scene.alarms().is_empty());
    assert_eq!(scene.points()[0].published.unwrap().number.get(), 3);
}

/// R01: maintenance, an end, and a clock one second before and after it.
#[test]
fn r01_a_revoked_certificate_is_listed_beyond_its_end() {
    let mut scene = Scene::whole();
    let serial = scene.revoked("gw-1");
    let end = scene.store.certificate(&serial).unwrap().unwrap().not_after;
    for (now, listed) in [(end - 1, 1), (end, 1), (end + 1, 1), (end + 2, 0)] {
        scene.ca.hands.set(now);
        scene.store.forget_attempts(now).unwrap();
        ca_server::flow::recover::recover(&scene.house, ca_server::flow::recover::Which::All).unwrap();
        scene.sql("VACUUM");
        scene.publish().unwrap();
        assert_eq!(scene.lists().len(), listed, "{}", now - end);
    }
    scene.round();
    assert!(scene.alarms().is_empty());
}

/// S07, R11: revoked while it is being signed, and an orphan: in the CRL once, and for good.
#[test]
fn s07_what_is_revoked_before_it_is_signed_is_listed() {
    let scene = Scene::whole();
    let tpm = SoftTpm::p256(&scene.ca.vendor);
    allow(&scene.store, "gw-1", Some(tpm.ek.sha256()), None);
    let challenge = begin(&scene.house, "192.0.2.1", tpm.request("device-ldevid", None, None)).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    let door = scene.ca.key.hold();
    let house = Arc::clone(&scene.house);
    let late = std::thread::spawn(move || activate(&house, "192.0.2.1", challenge.id, &answer).is_ok());
    while scene.ca.key.count() == 0 {
        std::thread::yield_now();
    }
    let open = scene.store.certificates_of("gw-1").unwrap().remove(0);
    scene.revoke(&open.serial, KeyCompromise);
    drop(door);
    assert!(!late.join().unwrap());
    scene.publish().unwrap();
    assert_eq!(scene.lists(), [hex::encode(&open.serial)]);
    scene.ca.hands.forward(10);
    scene.publish().unwrap();
    assert_eq!(scene.lists(), [hex::encode(&open.serial)]);
}

/// The issuing CA has ended: nothing that reaches beyond it is signed.
#[test]
fn no_crl_beyond_the_end_of_the_issuer() {
    let scene = Scene::whole();
    let end = scene.house.issuer.not_after().0;
    scene.ca.hands.set(end - 10);
    scene.publish().unwrap();
    assert_eq!(scene.out().next_update().0, end);
    scene.ca.hands.set(end);
    scene.refused("CRL_ISSUER_ENDED");
}

/// A record that is older than what this server published is not believed.
#[test]
fn a_record_that_was_put_back_halts() {
    let mut scene = Scene::whole();
    scene.round();
    scene.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    scene.publish().unwrap();
    scene.sql(
        "DROP TRIGGER crl_point_grows; DROP TRIGGER crl_point_recorded; \
         UPDATE crl_point SET number = 1, crl_id = (SELECT min(id) FROM crl)",
    );
    scene.round();
    assert_eq!(scene.alarms(), ["CRL_ROLLED_BACK"]);
    assert!(
        scene
            .house
            .halt
            .reason()
            .is_some_and(|why| why.contains("older than what was said"))
    );
}

/// F21: the folder for a web server.
mod folder {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn with_folder(name: &str) -> (Scene, std::path::PathBuf) {
        let ca = Ca::rehearse();
        let store = ca.store();
        let folder = ca.path(name);
        let wanted = Parts {
            crl: CrlTerms {
                folder: Some(folder.clone()),
                ..terms()
            },
            ..parts(&ca, &store, urls("http://pki.example.net/crl/all.crl", 0))
        };
        let house = Arc::new(House::new(wanted).unwrap());
        let watch = Watch::default();
        let file = folder.join("crl/all.crl");
        (
            Scene {
                ca,
                store,
                house,
                watch,
            },
            file,
        )
    }

    #[test]
    fn f21_the_folder_holds_what_is_published() {
        let (mut scene, file) = with_folder("pki");
        scene.round();
        assert_eq!(std::fs::read(&file).unwrap(), scene.out().der());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        scene.publish().unwrap();
        scene.round();
        assert_eq!(std::fs::read(&file).unwrap(), scene.out().der());
        // Damaged, truncated, taken away: put right.
        for damage in [b"".as_slice(), b"x"] {
            std::fs::write(&file, damage).unwrap();
            scene.round();
            assert_eq!(std::fs::read(&file).unwrap(), scene.out().der());
        }
        std::fs::remove_file(&file).unwrap();
        scene.round();
        assert_eq!(std::fs::read(&file).unwrap(), scene.out().der());
        assert_eq!(
            std::fs::read_dir(file.parent().unwrap()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        assert!(scene.alarms().is_empty());
    }

    #[test]
    fn f21_a_folder_that_takes_nothing_is_an_alarm_and_no_more() {
        let (mut scene, file) = with_folder("pki");
        std::fs::write(scene.ca.path("pki"), "not a directory").unwrap();
        scene.round();
        assert_eq!(scene.alarms(), ["CRL_FOLDER"]);
        assert_eq!(scene.out().number().get(), 1, "published all the same");
        std::fs::remove_file(scene.ca.path("pki")).unwrap();
        scene.round();
        assert!(scene.alarms().is_empty());
        assert_eq!(std::fs::read(&file).unwrap(), scene.out().der());
    }

    #[test]
    fn f21_a_newer_crl_in_the_folder_is_not_replaced() {
        let (mut scene, file) = with_folder("pki");
        scene.round();
        scene.publish().unwrap();
        let newer = scene.out().der().to_vec();
        scene.round();
        assert_eq!(std::fs::read(&file).unwrap(), newer);
        // A server on an older record: the same CA, an empty store.
        let other = Ca {
            directory: tempfile::tempdir().unwrap(),
            key: Arc::clone(&scene.ca.key),
            chain: scene.ca.chain.clone(),
            tls_certificate: scene.ca.tls_certificate.clone(),
            tls_key: scene.ca.tls_key.clone(),
            vendor: device_kit::vendor::VendorCa::root("Kit TPM Root"),
            hands: scene.ca.hands.clone(),
        };
        let store = other.store();
        let wanted = |folder: Option<std::path::PathBuf>| Parts {
            crl: CrlTerms { folder, ..terms() },
            ..parts(&other, &store, urls("http://pki.example.net/crl/all.crl", 0))
        };
        let refusal = House::new(wanted(Some(scene.ca.path("pki")))).err().unwrap();
        assert_eq!(refusal.exit().code(), 78);
        assert!(refusal.to_string().contains("older than what was said"), "{refusal}");
        // Also one that was started without looking.
        let house = House::new(wanted(None)).unwrap();
        round(&house, &mut Watch::default(), || false);
        let shelved = house.shelf.all().remove(0);
        assert_eq!(shelved.number.get(), 1);
        let refusal = ca_server::house::folder::keep(&file, &shelved, &house.issuer).unwrap_err();
        assert!(refusal.to_string().contains("number 2 is published"), "{refusal}");
        assert_eq!(std::fs::read(&file).unwrap(), newer);
    }
}

macro_rules! serve {
    ($house:expr, $($routes:expr),+) => {
        test::init_service(
            App::new()
                .app_data(web::Data::new(Front::new($house, manners())))
                .wrap(from_fn(whole))
                $(.configure($routes))+,
        )
        .await
    };
}

macro_rules! call {
    ($service:expr, $request:expr) => {{
        let response = test::call_service($service, $request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, test::read_body(response).await)
    }};
}

#[actix_web::test]
async fn every_replica_serves_what_one_published() {
    let mut scene = Scene::whole();
    let serial = scene.enroll("gw-1");
    scene.round();
    let replica = scene.replica();
    let mut watch = Watch::default();
    round(&replica, &mut watch, || false);
    let service = test::init_service(
        App::new()
            .app_data(web::Data::new(Front::new(Arc::clone(&replica), manners())))
            .wrap(from_fn(whole))
            .wrap(from_fn(status_gate))
            .configure(status_routes),
    )
    .await;
    let get = || TestRequest::get().uri("/issuing.crl");
    let (status, headers, body) = call!(&service, get());
    assert_eq!((status, &body[..]), (StatusCode::OK, scene.out().der()));
    assert_eq!(headers.get(header::CONTENT_TYPE).unwrap(), "application/pkix-crl");
    assert_eq!(
        headers.get(header::CACHE_CONTROL).unwrap(),
        "public, max-age=600, no-transform"
    );
    let tag = headers.get(header::ETAG).unwrap().clone();
    let (status, ..) = call!(&service, get().insert_header((header::IF_NONE_MATCH, tag.clone())));
    assert_eq!(status, StatusCode::NOT_MODIFIED);
    scene.revoke(&serial, Superseded);
    scene.publish().unwrap();
    round(&replica, &mut watch, || false);
    let (status, headers, body) = call!(&service, get().insert_header((header::IF_NONE_MATCH, tag.clone())));
    assert_eq!((status, &body[..]), (StatusCode::OK, scene.out().der()));
    assert_ne!(headers.get(header::ETAG).unwrap(), &tag);
    // Nobody keeps it beyond its end; it is served also then: what it says is better than nothing.
    let end = scene.out().next_update().0;
    for (now, age) in [(end - 599, 599), (end, 0), (end + 10, 0)] {
        scene.ca.hands.set(now);
        let (_, headers, _) = call!(&service, get());
        let expected = format!("public, max-age={age}, no-transform");
        assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), expected.as_str());
    }
}

#[actix_web::test]
async fn people_see_and_publish() {
    let mut scene = Scene::with(urls(SHARDED, 2));
    let service = serve!(Arc::clone(&scene.house), admin_routes);
    let json = |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).unwrap();
    let (status, _, body) = call!(&service, TestRequest::get().uri("/v1/crls"));
    assert_eq!(status, StatusCode::OK);
    assert_eq!(json(&body)["items"][0]["published"], serde_json::Value::Null);
    scene.round();
    let serial = scene.revoked("gw-1");
    let url = scene.house.issuer.urls().crl_url(&serial).unwrap();
    let (_, _, body) = call!(&service, TestRequest::get().uri("/v1/crls"));
    let items = json(&body)["items"].clone();
    for item in items.as_array().unwrap() {
        assert_eq!(item["behind"], i64::from(item["url"] == url.as_str()), "{item}");
    }
    let post = |body: &str| {
        TestRequest::post()
            .uri("/v1/crls/publications")
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .set_payload(body.to_owned())
    };
    let (status, _, body) = call!(&service, post(&format!("{{\"url\":\"{url}\"}}")));
    assert_eq!(status, StatusCode::OK);
    assert_eq!(json(&body)["items"].as_array().unwrap().len(), 1);
    assert_eq!(json(&body)["items"][0]["outcome"], "published");
    assert_eq!(json(&body)["items"][0]["entries"], 1);
    let (_, _, body) = call!(&service, post("{}"));
    assert_eq!(json(&body)["items"].as_array().unwrap().len(), 2);
    let (status, ..) = call!(&service, post("{\"url\":\"http://x/\"}"));
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, ..) = call!(&service, post("{\"uri\":1}"));
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let path = format!("/v1/crls/der?url={url}");
    let (status, _, body) = call!(&service, TestRequest::get().uri(&path));
    let place = scene.points().into_iter().find(|p| p.url == url).unwrap();
    assert_eq!((status, &body[..]), (StatusCode::OK, scene.out_at(&place).der()));
    for (path, expected) in [
        ("/v1/crls/der", 400),
        ("/v1/crls/der?url=x", 404),
        ("/v1/crls?x=1", 400),
    ] {
        let (status, ..) = call!(&service, TestRequest::get().uri(path));
        assert_eq!(status.as_u16(), expected, "{path}");
    }
    // A failure is an answer, too.
    scene.ca.key.set(Mood::Away);
    let (_, _, body) = call!(&service, post("{}"));
    assert_eq!(json(&body)["items"][0]["outcome"], "failed");
    assert_eq!(json(&body)["items"][0]["reason"], "CRL_SIGNER_AWAY");
}

#[actix_web::test]
async fn supervisors_see_alarms_and_send_devices_on() {
    let scene = Scene::whole();
    scene.publish().unwrap();
    scene.revoked("gw-1");
    let service = serve!(Arc::clone(&scene.house), monitor_routes);
    scene.sql("DROP TRIGGER crl_point_grows; DROP TRIGGER crl_point_recorded; UPDATE crl_point SET der = x'00'");
    scene.publish().unwrap_err();
    let (status, _, body) = call!(&service, TestRequest::get().uri("/readyz?verbose"));
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains(&format!("[!] crl CRL_UNREADABLE {WHOLE}: ")), "{text}");
    assert!(text.ends_with("ready\n"), "{text}");
}

/// R11: an orphan and the final certificate, both revoked, would be one serial twice: nothing is signed.
#[test]
fn r11_a_certificate_twice_stops_publication() {
    let scene = Scene::whole();
    scene.revoked("gw-1");
    // The same serial under two rows: a record that cannot be.
    scene.sql("DROP TRIGGER crl_entry_true");
    let other = scene.enroll("gw-2");
    let other = scene.store.certificate(&other).unwrap().unwrap().id;
    scene.sql(&format!(
        "INSERT INTO crl_entry (certificate_id, issuer_key_id, crl_url, serial, not_after) \
         SELECT {other}, issuer_key_id, crl_url, serial, not_after FROM crl_entry; \
         INSERT INTO revocation (certificate_id, step, state, reason, at, since, actor, comment) \
         SELECT {other}, 1, state, reason, at, since, actor, comment FROM revocation",
    ));
    let error = scene.refused("CRL_DRAFT");
    assert!(matches!(error, PublishError::Draft(CrlDraftError::Twice(_))), "{error}");
}
