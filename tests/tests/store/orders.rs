//! What an order is refused for, each alone, and what is written when it is not.

use attest::UnixTime;
use issuance::{KeyRole, RecordError, Recorder as _};
use schema::{AuditFilter, CertificateState};

use crate::kit::*;

both! {
    fn an_order_is_written_whole(bench) {
        let store = bench.open();
        allow(&store, "pump-1");
        let order = order("c1", "pump-1", "tpm-1");
        let mut ak = intent("s-ak", "device-iak", "ak-1");
        ak.key_role = KeyRole::Attestation;
        let ik = intent("s-ik", "device-idevid", "ik-1");
        assert!(store.enrollment(&id("c1")).unwrap().is_none());
        store.intend(&order, &[ak.clone(), ik.clone()]).unwrap();

        let row = store.enrollment(&id("c1")).unwrap().unwrap();
        assert_eq!(row.request_sha256, order.request_sha256);
        assert_eq!(row.device.as_deref(), Some("pump-1"));
        assert_eq!(row.created_at, NOW);
        let [first, second] = row.certificates.as_slice() else { panic!("{:?}", row.certificates) };
        assert_eq!((first.profile.as_str(), first.key_role), ("device-iak", KeyRole::Attestation));
        assert_eq!((second.profile.as_str(), second.key_role), ("device-idevid", KeyRole::Identity));
        assert_eq!(first.serial, ak.serial.octets());
        assert_eq!(first.tbs, ak.tbs);
        assert_eq!(first.state, CertificateState::Intent);
        assert_eq!(first.certificate, None);
        assert_eq!(first.issuer_key_id, ak.issuer_key_id);
        assert_eq!(first.spki_sha256, ak.spki_sha256);
        assert_eq!((first.not_before, first.not_after), (NOW, NOW + 86_400));
        let evidence = store.evidence(&id("c1")).unwrap().unwrap();
        assert_eq!(Some(evidence.bytes), order.evidence.map(|e| e.bytes));
        let device = store.device_by_name("pump-1").unwrap().unwrap();
        assert_eq!(device.ek_spki_sha256, Some(digest("tpm-1")));
        assert_eq!(device.tpm.as_ref().unwrap().model, "ST33");
        assert_eq!(device.last_seen_at, None);
        assert!(store.live_identity("pump-1", "device-idevid", NOW).unwrap().is_none());

        store.issued(&id("c1"), &[signed(&ak), signed(&ik)]).unwrap();
        let row = store.certificate(ik.serial.octets()).unwrap().unwrap();
        assert_eq!(row.state, CertificateState::Issued);
        assert_eq!(row.certificate, Some(signed(&ik).certificate));
        let live = store.live_identity("pump-1", "device-idevid", NOW + 86_400).unwrap().unwrap();
        assert_eq!(live.serial, ik.serial.octets());
        assert!(store.live_identity("pump-1", "device-idevid", NOW + 86_401).unwrap().is_none());
        assert!(store.live_identity("pump-1", "other", NOW).unwrap().is_none());
        assert_eq!(store.device_by_name("pump-1").unwrap().unwrap().last_seen_at, Some(NOW));
        let newest_first: Vec<_> = store.certificates_of("pump-1").unwrap().into_iter().map(|c| c.profile).collect();
        assert_eq!(newest_first, ["device-idevid", "device-iak"]);
        let subject = Some(wire::EnrollmentId(id("c1")).to_string());
        let told = store.audit_entries(&AuditFilter { subject }, 10).unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].action, "enrollment.issued");
        assert!(told[0].detail.contains(&ik.serial.hex()));
        let all = store.audit_entries(&AuditFilter::default(), 10).unwrap();
        let actions: Vec<_> = all.iter().map(|r| r.action.as_str()).collect();
        assert_eq!(actions, ["enrollment.issued", "enrollment.granted", "device.allowed"]);
    }

    fn a_challenge_is_used_once(bench) {
        let store = bench.open();
        allow(&store, "a");
        allow(&store, "b");
        store.intend(&order("c", "a", "tpm-a"), &[intent("s1", "p", "k1")]).unwrap();
        // All else is new: device, TPM, key, serial.
        let again = store.intend(&order("c", "b", "tpm-b"), &[intent("s2", "p", "k2")]);
        assert_eq!(again, Err(RecordError::ChallengeUsed));
        // The very same order, sent again, is no success either: its intents may be signed already.
        let same = store.intend(&order("c", "a", "tpm-a"), &[intent("s1", "p", "k1")]);
        assert_eq!(same, Err(RecordError::ChallengeUsed));
        assert_eq!(store.device_by_name("b").unwrap().unwrap().ek_spki_sha256, None);
        assert!(store.certificate(serial("s2").octets()).unwrap().is_none());
    }

    fn a_bound_device_takes_no_other_tpm(bench) {
        let store = bench.open();
        allow(&store, "x");
        store.intend(&order("c1", "x", "tpm-a"), &[intent("s1", "p", "k1")]).unwrap();
        let taken = store.intend(&order("c2", "x", "tpm-b"), &[intent("s2", "q", "k2")]);
        assert_eq!(taken, Err(RecordError::DeviceBoundElsewhere("x".to_owned())));
        let device = store.device_by_name("x").unwrap().unwrap();
        assert_eq!(device.ek_spki_sha256, Some(digest("tpm-a")), "the old record stands");
        // The challenge of a refused order is not used up.
        store.intend(&order("c2", "x", "tpm-a"), &[intent("s2", "q", "k2")]).unwrap();
    }

    fn a_tpm_has_one_identity(bench) {
        let store = bench.open();
        allow(&store, "x");
        allow(&store, "y");
        store.intend(&order("c1", "x", "tpm-a"), &[intent("s1", "p", "k1")]).unwrap();
        let second = store.intend(&order("c2", "y", "tpm-a"), &[intent("s2", "p", "k2")]);
        assert_eq!(second, Err(RecordError::EkBoundElsewhere("x".to_owned())));
        let unknown = store.intend(&order("c3", "z", "tpm-a"), &[intent("s3", "p", "k3")]);
        assert_eq!(unknown, Err(RecordError::EkBoundElsewhere("x".to_owned())));
    }

    fn only_an_open_device_is_bound(bench) {
        let store = bench.open();
        let closed = |name: &str| Err(RecordError::DeviceNotOpen(name.to_owned()));
        let at = |time: i64| {
            let mut order = order("c1", "x", "tpm-a");
            order.at = UnixTime(time);
            order
        };
        let intents = [intent("s1", "p", "k1")];
        assert_eq!(store.intend(&at(NOW), &intents), closed("x"), "not in the inventory");
        allow(&store, "x");
        assert_eq!(store.intend(&at(NOW + 3601), &intents), closed("x"), "the window is over");
        store.hold_device("x", true, &audit(NOW, "device.held", "x")).unwrap();
        assert_eq!(store.intend(&at(NOW + 3600), &intents), closed("x"), "held");
        store.hold_device("x", false, &audit(NOW, "device.released", "x")).unwrap();
        store.intend(&at(NOW + 3600), &intents).unwrap();
        // Bound: the window no longer matters, a hold does.
        let mut later = order("c2", "x", "tpm-a");
        later.at = UnixTime(NOW + 9999);
        store.hold_device("x", true, &audit(NOW, "device.held", "x")).unwrap();
        assert_eq!(store.intend(&later, &[intent("s2", "q", "k2")]), closed("x"));
        store.hold_device("x", false, &audit(NOW, "device.released", "x")).unwrap();
        store.intend(&later, &[intent("s2", "q", "k2")]).unwrap();
    }

    fn a_device_without_a_window_waits_for_its_tpm(bench) {
        let store = bench.open();
        let mut device = open_device("x");
        device.first_contact_until = None;
        device.ek_spki_sha256 = Some(digest("tpm-a"));
        store.allow_device(&device, &audit(NOW, "device.allowed", "x")).unwrap();
        let other = store.intend(&order("c1", "x", "tpm-b"), &[intent("s1", "p", "k1")]);
        assert_eq!(other, Err(RecordError::DeviceBoundElsewhere("x".to_owned())));
        store.intend(&order("c1", "x", "tpm-a"), &[intent("s1", "p", "k1")]).unwrap();
        let found = store.device_by_ek(&digest("tpm-a")).unwrap().unwrap();
        assert_eq!(found.name, "x");
        assert_eq!(found.tpm.unwrap().ek_certificate_sha256, digest("certificate of tpm-a"));
        // A new EK certificate of the same key is noted.
        let mut newer = order("c2", "x", "tpm-a");
        ek_of(&mut newer).certificate_sha256 = digest("newer");
        store.intend(&newer, &[intent("s2", "q", "k2")]).unwrap();
        let found = store.device_by_ek(&digest("tpm-a")).unwrap().unwrap();
        assert_eq!(found.tpm.unwrap().ek_certificate_sha256, digest("newer"));
    }

    fn a_blocked_key_is_refused(bench) {
        let store = bench.open();
        allow(&store, "x");
        store.block_key(&digest("k1"), "leaked", &audit(NOW, "key.blocked", "k1")).unwrap();
        store.block_key(&digest("k1"), "again", &audit(NOW, "key.blocked", "k1")).unwrap();
        let two = [intent("s0", "o", "k0"), intent("s1", "p", "k1")];
        assert_eq!(store.intend(&order("c1", "x", "tpm-a"), &two), Err(RecordError::KeyBlocked));
        assert_eq!(store.intend(&ceremony("c1"), &two), Err(RecordError::KeyBlocked));
        store.intend(&order("c1", "x", "tpm-a"), &two[..1]).unwrap();
    }

    fn a_key_is_certified_for_one_device(bench) {
        let store = bench.open();
        allow(&store, "x");
        allow(&store, "y");
        store.intend(&order("c1", "x", "tpm-a"), &[intent("s1", "p", "k1")]).unwrap();
        let stolen = store.intend(&order("c2", "y", "tpm-b"), &[intent("s2", "p", "k1")]);
        let exists = RecordError::IdentityExists { device: "x".to_owned(), profile: "p".to_owned() };
        assert_eq!(stolen, Err(exists.clone()));
        // Also after the certificate got lost: the key stays where it lives.
        store.recover(NOW, NOW).unwrap();
        assert_eq!(store.intend(&order("c2", "y", "tpm-b"), &[intent("s2", "p", "k1")]), Err(exists.clone()));
        assert_eq!(store.intend(&ceremony("c3"), &[intent("s3", "p", "k1")]), Err(exists));
        // The CA's own keys are no device's.
        store.intend(&ceremony("c4"), &[intent("s4", "root", "ca-key")]).unwrap();
        store.intend(&ceremony("c5"), &[intent("s5", "root", "ca-key")]).unwrap();
        let own = store.intend(&order("c6", "y", "tpm-b"), &[intent("s6", "p", "ca-key")]);
        assert_eq!(own, Err(RecordError::KeyBlocked));
    }

    fn a_live_identity_keeps_its_place(bench) {
        let store = bench.open();
        allow(&store, "x");
        let exists = Err(RecordError::IdentityExists { device: "x".to_owned(), profile: "p".to_owned() });
        let first = intent("s1", "p", "k1");
        store.intend(&order("c1", "x", "tpm-a"), std::slice::from_ref(&first)).unwrap();
        // The signature is under way: neither another key nor the same one.
        assert_eq!(store.intend(&order("c2", "x", "tpm-a"), &[intent("s2", "p", "k2")]), exists);
        assert_eq!(store.intend(&order("c2", "x", "tpm-a"), &[intent("s2", "p", "k1")]), exists);
        store.issued(&id("c1"), &[signed(&first)]).unwrap();
        assert_eq!(store.intend(&order("c2", "x", "tpm-a"), &[intent("s2", "p", "k2")]), exists);
        // Another profile is another identity.
        store.intend(&order("c2", "x", "tpm-a"), &[intent("s2", "q", "k2")]).unwrap();
        // The same key again has its certificate: two who asked at once are answered with one.
        assert_eq!(store.intend(&order("c3", "x", "tpm-a"), &[intent("s3", "p", "k1")]), exists);
        let live = store.live_identity("x", "p", NOW).unwrap().unwrap();
        assert_eq!(live.serial, first.serial.octets());
        // In its last second it stands, one later it does not.
        let mut late = order("c4", "x", "tpm-a");
        late.at = UnixTime(NOW + 86_400);
        assert_eq!(store.intend(&late, &[intent("s4", "p", "k4")]), exists);
        late.at = UnixTime(NOW + 86_401);
        store.intend(&late, &[intent("s4", "p", "k4")]).unwrap();
    }

    fn one_order_gives_one_identity_per_profile(bench) {
        let store = bench.open();
        allow(&store, "x");
        let two = [intent("s1", "p", "k1"), intent("s2", "p", "k2")];
        let exists = RecordError::IdentityExists { device: "x".to_owned(), profile: "p".to_owned() };
        assert_eq!(store.intend(&order("c1", "x", "tpm-a"), &two), Err(exists));
    }

    fn a_serial_is_used_once_per_issuer(bench) {
        let store = bench.open();
        allow(&store, "x");
        allow(&store, "y");
        store.intend(&order("c1", "x", "tpm-a"), &[intent("s", "p", "k1")]).unwrap();
        let same = intent("s", "p", "k2");
        assert_eq!(
            store.intend(&order("c2", "y", "tpm-b"), std::slice::from_ref(&same)),
            Err(RecordError::SerialTaken)
        );
        assert!(store.enrollment(&id("c2")).unwrap().is_none(), "nothing of the order is written");
        assert!(store.evidence(&id("c2")).unwrap().is_none());
        assert_eq!(store.device_by_name("y").unwrap().unwrap().ek_spki_sha256, None);
        let twice = [intent("t", "p", "k2"), intent("t", "q", "k3")];
        assert_eq!(store.intend(&order("c2", "y", "tpm-b"), &twice), Err(RecordError::SerialTaken));
        // Another issuer counts for itself.
        let mut elsewhere = same;
        elsewhere.issuer_key_id = vec![7; 20];
        store.intend(&order("c2", "y", "tpm-b"), &[elsewhere]).unwrap();
    }

    fn signatures_are_recorded_once_and_whole(bench) {
        let store = bench.open();
        allow(&store, "x");
        allow(&store, "y");
        let closed = Err(RecordError::IntentClosed);
        let (a, b) = (intent("s1", "p", "k1"), intent("s2", "q", "k2"));
        let other = intent("s3", "p", "k3");
        assert_eq!(store.issued(&id("c1"), &[signed(&a)]), closed, "no such enrollment");
        store.intend(&order("c1", "x", "tpm-a"), &[a.clone(), b.clone()]).unwrap();
        store.intend(&order("c2", "y", "tpm-b"), std::slice::from_ref(&other)).unwrap();
        assert_eq!(store.issued(&id("c1"), &[]), closed, "nothing");
        assert_eq!(store.issued(&id("c1"), &[signed(&other)]), closed, "another order's serial");
        assert_eq!(store.issued(&id("c1"), &[signed(&a), signed(&other)]), closed, "one of two");
        assert_eq!(store.issued(&id("c1"), &[signed(&a), signed(&a)]), closed, "twice the same");
        let state = |i: &issuance::Intent| store.certificate(i.serial.octets()).unwrap().unwrap().state;
        assert_eq!(state(&a), CertificateState::Intent, "all or nothing");
        store.issued(&id("c1"), &[signed(&b), signed(&a)]).unwrap();
        assert_eq!(store.issued(&id("c1"), &[signed(&a), signed(&b)]), closed, "once");
    }

    fn only_recorded_bytes_become_a_certificate(bench) {
        let store = bench.open();
        allow(&store, "x");
        let a = intent("s1", "p", "k1");
        store.intend(&order("c1", "x", "tpm-a"), std::slice::from_ref(&a)).unwrap();
        let mut forged = signed(&a);
        forged.certificate = b"other bytes".to_vec();
        assert!(matches!(store.issued(&id("c1"), &[forged]), Err(RecordError::Unavailable(_))));
        assert_eq!(store.certificate(a.serial.octets()).unwrap().unwrap().state, CertificateState::Intent);
        store.issued(&id("c1"), &[signed(&a)]).unwrap();
    }

    fn an_orphan_is_never_issued_and_frees_the_device(bench) {
        let store = bench.open();
        allow(&store, "x");
        let a = intent("s1", "p", "k1");
        store.intend(&order("c1", "x", "tpm-a"), std::slice::from_ref(&a)).unwrap();
        assert_eq!(store.recover(NOW - 1, NOW).unwrap(), [], "not old enough");
        let orphans = store.recover(NOW, NOW + 60).unwrap();
        assert_eq!(orphans.len(), 1);
        assert_eq!(orphans[0].serial, a.serial.octets());
        assert_eq!(orphans[0].enrollment_id, id("c1"));
        assert_eq!(orphans[0].device.as_deref(), Some("x"));
        assert_eq!(orphans[0].profile, "p");
        assert_eq!(store.recover(NOW, NOW + 60).unwrap(), [], "once");
        assert_eq!(store.issued(&id("c1"), &[signed(&a)]), Err(RecordError::IntentClosed), "the late worker");
        let listed = store.orphans().unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].state, &listed[0].tbs), (CertificateState::Orphan, &a.tbs));
        let subject = Some(wire::EnrollmentId(id("c1")).to_string());
        let told = store.audit_entries(&AuditFilter { subject }, 10).unwrap();
        assert_eq!((told[0].action.as_str(), told[0].at.0), ("certificate.orphaned", NOW + 60));
        // A new order, a new key.
        let b = intent("s2", "p", "k2");
        store.intend(&order("c2", "x", "tpm-a"), std::slice::from_ref(&b)).unwrap();
        store.issued(&id("c2"), &[signed(&b)]).unwrap();
        assert_eq!(store.recover(NOW + 1000, NOW).unwrap(), [], "what is issued stays issued");
    }

    fn time_never_seems_to_go_back(bench) {
        let store = bench.open();
        assert_eq!(store.latest_time().unwrap(), None);
        allow(&store, "x");
        assert_eq!(store.latest_time().unwrap(), Some(NOW - 1));
        let mut late = order("c1", "x", "tpm-a");
        late.at = UnixTime(NOW + 50);
        store.intend(&late, &[intent("s1", "p", "k1")]).unwrap();
        assert_eq!(store.latest_time().unwrap(), Some(NOW + 50));
        store.audit(&audit(NOW + 70, "clock.told", "-")).unwrap();
        store.audit(&audit(NOW - 70, "clock.back", "-")).unwrap();
        assert_eq!(store.latest_time().unwrap(), Some(NOW + 70));
    }
}
