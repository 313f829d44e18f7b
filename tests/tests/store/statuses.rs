//! What the record says of certificates now: the same on both engines, at once, and of no other issuer's.

use issuance::{Intent, Recorder as _};
use schema::{CertificateState, LastStep, StatusRow, Store};
use wire::revocation::RevocationReason::{CertificateHold, KeyCompromise, Superseded};
use wire::revocation::RevocationState::{OnHold, Released, Revoked};

use crate::kit::*;

/// An intent on record, for a device of the same name.
fn intended(store: &Store, name: &str) -> Intent {
    allow(store, name);
    let a = intent(name, "p", &format!("key of {name}"));
    store
        .intend(&order(name, name, name), std::slice::from_ref(&a))
        .unwrap();
    a
}

fn issued(store: &Store, name: &str) -> Intent {
    let a = intended(store, name);
    store.issued(&id(name), &[signed(&a)]).unwrap();
    a
}

fn status(store: &Store, intent: &Intent) -> Option<StatusRow> {
    let serial = *intent.serial.octets();
    let mut found = store.statuses(&intent.issuer_key_id, &[serial]).unwrap();
    let row = found.remove(&serial);
    assert!(found.is_empty());
    row
}

both! {
    fn every_step_is_seen_by_another_store_at_once(bench) {
        let store = bench.open();
        let replica = if bench.is_postgres() { bench.open() } else { store.clone() };
        let a = intended(&store, "a");
        let fresh = StatusRow {
            state: CertificateState::Intent,
            not_after: a.not_after.0,
            created_at: NOW,
            last: None,
        };
        assert_eq!(status(&replica, &a), Some(fresh));
        store.issued(&id("a"), &[signed(&a)]).unwrap();
        let good = StatusRow { state: CertificateState::Issued, ..fresh };
        assert_eq!(status(&replica, &a), Some(good));
        let row = store.certificate(a.serial.octets()).unwrap().unwrap().id;
        let told = |at| audit(at, "certificate.revoked", "x");
        let last = |step, state, reason, since| Some(StatusRow { last: Some(LastStep { step, state, reason, since }), ..good });
        store.revoke(row, CertificateHold, "", &told(NOW + 1)).unwrap();
        assert_eq!(status(&replica, &a), last(1, OnHold, CertificateHold, NOW + 1));
        store.release(row, "", &told(NOW + 2)).unwrap();
        assert_eq!(status(&replica, &a), last(2, Released, CertificateHold, NOW + 2));
        store.revoke(row, Superseded, "", &told(NOW + 3)).unwrap();
        assert_eq!(status(&replica, &a), last(3, Revoked, Superseded, NOW + 3));
        store.revoke(row, KeyCompromise, "", &told(NOW + 4)).unwrap();
        assert_eq!(status(&replica, &a), last(4, Revoked, KeyCompromise, NOW + 3));
    }

    fn many_at_once_and_none_that_is_not_there(bench) {
        let store = bench.open();
        let all: Vec<Intent> = ["a", "b", "c"].iter().map(|name| issued(&store, name)).collect();
        let orphan = intended(&store, "d");
        store.recover(NOW, NOW).unwrap();
        let row = store.certificate(all[1].serial.octets()).unwrap().unwrap().id;
        store.revoke(row, Superseded, "", &audit(NOW, "certificate.revoked", "x")).unwrap();
        let mut serials: Vec<[u8; 16]> = all.iter().chain([&orphan]).map(|a| *a.serial.octets()).collect();
        serials.push(*serial("nobody's").octets());
        let found = store.statuses(&all[0].issuer_key_id, &serials).unwrap();
        assert_eq!(found.len(), 4);
        for (n, a) in all.iter().enumerate() {
            let row = found[a.serial.octets()];
            assert_eq!((row.state, row.last.is_some()), (CertificateState::Issued, n == 1));
        }
        assert_eq!(found[orphan.serial.octets()].state, CertificateState::Orphan);
        assert!(store.statuses(&all[0].issuer_key_id, &[]).unwrap().is_empty());
        // The same serials of another issuer: not there.
        assert!(store.statuses(b"another issuer", &serials).unwrap().is_empty());
    }

    fn the_cas_own_certificates(bench) {
        let store = bench.open();
        let key = "key of the responder";
        let mut made = Vec::new();
        for (n, name) in ["first", "second", "third"].iter().enumerate() {
            let a = intent(name, "ocsp", key);
            store.intend(&ceremony(name), std::slice::from_ref(&a)).unwrap();
            if n < 2 {
                store.issued(&id(name), &[signed(&a)]).unwrap();
            }
            made.push(a);
        }
        let found = |profile: &str, key: &[u8; 32]| store.own_certificate(&made[0].issuer_key_id, profile, key).unwrap();
        let newest = found("ocsp", &made[0].spki_sha256).unwrap();
        assert_eq!(newest.serial, made[1].serial.octets(), "the newest that was issued");
        assert!(found("p", &made[0].spki_sha256).is_none());
        assert!(found("ocsp", &[0; 32]).is_none());
        assert!(store.own_certificate(b"another", "ocsp", &made[0].spki_sha256).unwrap().is_none());
        // A device's is never found, whatever its profile.
        allow(&store, "device");
        let a = intent("device", "ocsp", "key of a device");
        store.intend(&order("device", "device", "device"), std::slice::from_ref(&a)).unwrap();
        store.issued(&id("device"), &[signed(&a)]).unwrap();
        assert!(found("ocsp", &a.spki_sha256).is_none());
    }
}
