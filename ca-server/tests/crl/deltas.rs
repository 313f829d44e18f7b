//! Delta CRLs: when they come, what they say, and on which doubts the old one stays.

use ca_server::config::DeltaTerms;
use ca_server::flow::delta::publish_delta;
use issuance::crl::{EntryDoubt, Mark};
use std::time::Duration;

use super::*;

const DELTA: &str = "http://pki.example.net/issuing-delta.crl";
const TERMS: DeltaTerms = DeltaTerms {
    every: Duration::from_secs(600),
    valid: Duration::from_secs(3600),
};

fn with_deltas(crl: CrlTerms) -> CrlTerms {
    CrlTerms {
        delta: Some(TERMS),
        ..crl
    }
}

fn house(ca: &Ca, store: &Store, crl: CrlTerms, urls: IssuerUrls) -> Result<House, StartError> {
    House::new(Parts {
        crl,
        ..parts(ca, store, urls)
    })
}

impl Scene {
    fn deltas() -> Self {
        let ca = Ca::rehearse();
        let store = ca.store();
        let house = Arc::new(house(&ca, &store, with_deltas(terms()), urls(WHOLE, 0)).unwrap());
        Self {
            ca,
            store,
            house,
            watch: Watch::default(),
        }
    }

    /// The complete CRL, and a second later the first delta on it.
    fn begin(&mut self) {
        self.round();
        self.ca.hands.forward(1);
        self.round();
    }

    fn publish_delta(&self) -> Result<Published, PublishError> {
        publish_delta(&self.house, &self.points()[0], TERMS, DELTA, true)
    }

    fn delta(&self) -> Crl {
        let (number, der) = self.store.published_delta(self.points()[0].id).unwrap().unwrap();
        let crl = RawCrl::decode(der).unwrap().verify(&self.house.issuer).unwrap();
        assert_eq!(crl.number(), number);
        assert_eq!(self.house.shelf.of(DELTA).unwrap().der, crl.der(), "served");
        crl
    }

    fn says(&self) -> Vec<(String, Mark)> {
        let delta = self.delta();
        delta.entries().iter().map(|e| (e.serial.hex(), e.mark)).collect()
    }

    fn numbers(&self) -> (u64, u64, u64) {
        let delta = self.delta();
        (
            self.out().number().get(),
            delta.base().unwrap().get(),
            delta.number().get(),
        )
    }
}

/// What a delta refuses; the one that is out, and the complete CRL, stay.
fn refused(scene: &Scene, reason: &'static str) -> PublishError {
    let before = (scene.delta().der().to_vec(), scene.out().der().to_vec());
    let error = scene.publish_delta().unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    assert_eq!((scene.delta().der().to_vec(), scene.out().der().to_vec()), before);
    assert_eq!(scene.alarms(), [reason]);
    let (url, _) = scene.house.alarms.all().remove(0);
    assert_eq!(url, DELTA);
    error
}

#[test]
fn a_revocation_is_in_the_delta_at_once_and_in_the_crl_when_that_is_due() {
    let mut scene = Scene::deltas();
    let (lost, held) = (scene.enroll("gw-1"), scene.enroll("gw-2"));
    scene.round();
    assert_eq!(scene.out().delta_url(), Some(DELTA));
    scene.round();
    assert!(scene.points()[0].delta.is_none(), "not of the moment of its base");
    scene.ca.hands.forward(1);
    scene.round();
    assert_eq!(scene.numbers(), (1, 1, 2));
    assert!(scene.says().is_empty());
    let delta = scene.delta();
    assert_eq!(delta.next_update().0 - delta.this_update().0, 3600);
    scene.round();
    assert_eq!(scene.numbers(), (1, 1, 2), "nothing is due");
    // Revoked, and on hold.
    scene.revoke(&lost, KeyCompromise);
    scene.revoke(&held, CertificateHold);
    scene.ca.hands.forward(1);
    scene.round();
    assert_eq!(scene.numbers(), (1, 1, 3));
    assert!(scene.out().entries().is_empty());
    let mut expected = [
        (hex::encode(lost), Mark::Revoked(KeyCompromise)),
        (hex::encode(held), Mark::Revoked(CertificateHold)),
    ];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(scene.says(), expected);
    // Released: taken back, though the base never listed it.
    release(&scene.house, WHO, &held, None).unwrap();
    scene.ca.hands.forward(1);
    scene.round();
    assert_eq!(scene.numbers(), (1, 1, 4));
    assert!(scene.says().contains(&(hex::encode(held), Mark::Removed)));
    // One more when it is time, with the same words.
    let said = scene.says();
    scene.ca.hands.forward(599);
    scene.round();
    assert_eq!(scene.numbers(), (1, 1, 4));
    scene.ca.hands.forward(1);
    scene.round();
    assert_eq!((scene.numbers(), scene.says()), ((1, 1, 5), said));
    // The complete one, on schedule; a delta on it follows.
    scene.ca.hands.forward(21_600);
    scene.round();
    assert_eq!(
        (scene.out().number().get(), scene.lists()),
        (6, vec![hex::encode(lost)])
    );
    scene.ca.hands.forward(1);
    scene.round();
    assert_eq!(scene.numbers(), (6, 6, 7));
    // Within the hour before its base: taken back once too often rather than once too little.
    assert!(scene.says().iter().all(|(_, mark)| *mark == Mark::Removed));
    assert!(scene.alarms().is_empty());
}

/// Switched on: a new complete CRL says where the deltas are. Switched off: revocations are in the complete one again.
#[test]
fn deltas_are_switched_on_and_off() {
    let mut scene = Scene::whole();
    let serial = scene.enroll("gw-1");
    scene.round();
    assert_eq!(scene.out().delta_url(), None);
    scene.house = Arc::new(house(&scene.ca, &scene.store, with_deltas(terms()), urls(WHOLE, 0)).unwrap());
    scene.round();
    assert_eq!(scene.out().number().get(), 1, "two of a place are apart");
    scene.ca.hands.forward(1);
    scene.begin();
    assert_eq!((scene.out().delta_url(), scene.numbers()), (Some(DELTA), (2, 2, 3)));
    scene.house = Arc::new(house(&scene.ca, &scene.store, terms(), urls(WHOLE, 0)).unwrap());
    scene.revoke(&serial, Superseded);
    scene.ca.hands.forward(1);
    scene.round();
    assert_eq!((scene.out().delta_url(), scene.lists().len()), (None, 1));
    assert!(scene.house.shelf.of(DELTA).is_none(), "nobody is sent there any more");
    assert!(scene.alarms().is_empty());
}

#[test]
fn r03_fewer_steps_than_a_delta_stop_the_next_one_and_the_complete_crl() {
    let mut scene = Scene::deltas();
    let serial = scene.enroll("gw-1");
    scene.begin();
    scene.revoke(&serial, Superseded);
    scene.ca.hands.forward(1);
    scene.round();
    assert_eq!(scene.says().len(), 1);
    scene.sql("DROP TRIGGER revocation_kept; DELETE FROM revocation");
    scene.ca.hands.forward(1);
    refused(&scene, "CRL_INCOMPLETE");
    let error = scene.publish().unwrap_err();
    assert_eq!(error.reason(), "CRL_INCOMPLETE");
}

/// What the delta said is not in the record any more, and the count is right: only comparison can tell.
#[test]
fn r03_what_a_delta_said_is_not_unsaid() {
    let mut scene = Scene::deltas();
    let (lost, other) = (scene.enroll("gw-1"), scene.enroll("gw-2"));
    scene.begin();
    scene.revoke(&lost, Superseded);
    scene.ca.hands.forward(1);
    scene.round();
    assert_eq!(scene.says().len(), 1);
    scene.revoke(&other, Superseded);
    scene.sql(&format!(
        "DROP TRIGGER revocation_kept; \
         DELETE FROM revocation WHERE certificate_id = (SELECT id FROM certificate WHERE serial = x'{}')",
        hex::encode(lost)
    ));
    scene.ca.hands.forward(1);
    let error = refused(&scene, "CRL_DOUBT");
    let gone = |error: PublishError| match error {
        PublishError::Doubt(CrlDoubt::Entries { serial, doubt, .. }) => (serial.hex(), doubt),
        other => panic!("{other}"),
    };
    assert_eq!(gone(error), (hex::encode(lost), EntryDoubt::Gone));
    // Nor is it by the complete one, which never said it.
    let error = scene.publish().unwrap_err();
    assert_eq!(gone(error), (hex::encode(lost), EntryDoubt::GoneUnknown));
    assert!(scene.out().entries().is_empty());
}

#[test]
fn r03_a_damaged_delta_stops_publication() {
    let mut scene = Scene::deltas();
    scene.begin();
    scene.sql("DROP TRIGGER crl_delta_grows; UPDATE crl_delta SET der = substr(der, 1, length(der) - 1)");
    scene.ca.hands.forward(1);
    for outcome in [scene.publish_delta(), scene.publish()] {
        assert_eq!(outcome.unwrap_err().reason(), "CRL_UNREADABLE");
    }
}

#[test]
fn the_token_is_away_and_a_wrong_signature() {
    let mut scene = Scene::deltas();
    scene.begin();
    scene.ca.hands.forward(1);
    scene.ca.key.set(Mood::Unknown);
    let error = scene.publish_delta().unwrap_err();
    assert_eq!((error.reason(), error.passes()), ("CRL_SIGNER_AWAY", true));
    assert!(scene.alarms().is_empty(), "it may pass by itself");
    scene.ca.key.set(Mood::Works);
    scene.house.probe_signer().unwrap();
    scene.publish_delta().unwrap();
    // When it does not pass, it is late.
    scene.ca.key.set(Mood::Unknown);
    scene.ca.hands.forward(1801);
    scene.round();
    assert!(scene.alarms().contains(&"CRL_LATE"), "{:?}", scene.alarms());
}

/// Another server published a complete CRL while this one signed a delta on the one before; then the other way round.
#[test]
fn r02_a_delta_on_another_base_than_the_published_one_is_overtaken() {
    let mut scene = Scene::deltas();
    scene.begin();
    scene.ca.hands.forward(1);
    let (slow, point) = (Arc::clone(&scene.house), scene.points().remove(0));
    let before = scene.delta().number();
    let door = scene.ca.key.hold();
    let waiting = std::thread::spawn(move || publish_delta(&slow, &point, TERMS, DELTA, true));
    while scene.ca.key.count() == 0 {
        std::thread::yield_now();
    }
    scene.sql(
        "UPDATE crl_sequence SET number = number + 1; \
         INSERT INTO crl (issuer_key_id, number, crl_point_id, created_at, this_update, next_update, entries, steps, \
         tbs_sha256) SELECT s.issuer_key_id, s.number, p.id, 0, p.this_update + 1, p.next_update, 0, 0, zeroblob(32) \
         FROM crl_sequence AS s, crl_point AS p; \
         UPDATE crl_point SET crl_id = (SELECT max(id) FROM crl), number = (SELECT max(number) FROM crl), \
         this_update = this_update + 1",
    );
    drop(door);
    assert_eq!(waiting.join().unwrap().unwrap(), Published::Overtaken);
    assert!(scene.alarms().is_empty());
    assert_eq!(scene.delta().number(), before);
}

#[test]
fn r02_a_complete_crl_that_saw_less_than_a_delta_is_overtaken() {
    let mut scene = Scene::deltas();
    scene.begin();
    scene.ca.hands.forward(1);
    let (slow, point) = (Arc::clone(&scene.house), scene.points().remove(0));
    let door = scene.ca.key.hold();
    let waiting = std::thread::spawn(move || publish(&slow, &point, true));
    while scene.ca.key.count() == 0 {
        std::thread::yield_now();
    }
    scene.sql(
        "UPDATE crl_sequence SET number = number + 1; \
         INSERT INTO crl (issuer_key_id, number, crl_point_id, created_at, this_update, next_update, entries, steps, \
         tbs_sha256, base) SELECT s.issuer_key_id, s.number, d.crl_point_id, 0, d.this_update, d.next_update, 0, 0, \
         zeroblob(32), d.base FROM crl_sequence AS s, crl_delta AS d; \
         UPDATE crl_delta SET crl_id = (SELECT max(id) FROM crl), number = (SELECT max(number) FROM crl)",
    );
    drop(door);
    assert_eq!(waiting.join().unwrap().unwrap(), Published::Overtaken);
    assert!(scene.alarms().is_empty());
    assert_eq!(scene.out().number().get(), 1);
}

/// A record that is older than the delta this server served is not believed.
#[test]
fn r02_a_record_that_was_put_back_behind_a_delta_halts() {
    let mut scene = Scene::deltas();
    scene.begin();
    let first = scene.delta().number();
    scene.ca.hands.forward(1);
    scene.publish_delta().unwrap();
    scene.sql(&format!(
        "DROP TRIGGER crl_delta_grows; DROP TRIGGER crl_delta_rerecorded; UPDATE crl_delta SET number = {first}"
    ));
    scene.round();
    assert_eq!(scene.alarms(), ["CRL_ROLLED_BACK"]);
    assert!(scene.house.halt.reason().is_some());
}

/// Shards have deltas of their own, under the same issuingDistributionPoint.
#[test]
fn each_shard_has_its_delta() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = Arc::new(house(&ca, &store, with_deltas(terms()), urls(SHARDED, 3)).unwrap());
    let mut scene = Scene {
        ca,
        store,
        house,
        watch: Watch::default(),
    };
    scene.begin();
    scene.revoked("gw-1");
    scene.ca.hands.forward(1);
    scene.round();
    let mut entries = 0;
    for point in scene.points() {
        let (_, der) = scene.store.published_delta(point.id).unwrap().unwrap();
        let delta = RawCrl::decode(der).unwrap().verify(&scene.house.issuer).unwrap();
        assert_eq!(delta.scope(), scene.out_at(&point).scope());
        assert_eq!(delta.base(), Some(scene.out_at(&point).number()));
        entries += delta.entries().len();
    }
    assert_eq!((scene.points().len(), entries), (3, 1));
    assert!(scene.alarms().is_empty());
}

/// Deltas lie in the folder, too; and under no URL that something else has.
#[test]
fn where_deltas_lie() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let folder = ca.path("pki");
    let crl = CrlTerms {
        folder: Some(folder.clone()),
        ..with_deltas(terms())
    };
    let house_of = |crl, urls| house(&ca, &store, crl, urls);
    let running = Arc::new(house_of(crl.clone(), urls(WHOLE, 0)).unwrap());
    let mut watch = Watch::default();
    round(&running, &mut watch, || false);
    ca.hands.forward(1);
    round(&running, &mut watch, || false);
    let file = folder.join("issuing-delta.crl");
    assert_eq!(std::fs::read(&file).unwrap(), running.shelf.of(DELTA).unwrap().der);
    // A newer one there than the record knows: it is older than what was said.
    drop(running);
    let blank = Ca::rehearse();
    let blank = blank.store();
    let refusal = House::new(Parts {
        crl: crl.clone(),
        ..parts(&ca, &blank, urls("http://pki.example.net/other.crl", 0))
    });
    assert!(refusal.is_ok(), "it has no such place");
    std::fs::remove_file(folder.join("issuing.crl")).unwrap();
    let refusal = House::new(Parts {
        crl,
        ..parts(&ca, &blank, urls(WHOLE, 0))
    });
    let refusal = refusal.err().unwrap();
    assert_eq!(refusal.exit().code(), 78);
    assert!(refusal.to_string().contains("issuing-delta.crl"), "{refusal}");
    // The URL of another CRL, and of the issuer's certificate.
    let refusal = house_of(with_deltas(terms()), urls(DELTA, 0)).err().unwrap();
    assert!(refusal.to_string().contains(DELTA), "{refusal}");
    let taken = IssuerUrls {
        ca_issuers: Some(DELTA.to_owned()),
        ..urls(WHOLE, 0)
    };
    let refusal = house_of(with_deltas(terms()), taken).err().unwrap();
    assert!(refusal.to_string().contains(DELTA), "{refusal}");
}
