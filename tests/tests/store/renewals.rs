//! Which certificate replaces which: refused by exactly one reason each, raced, lost, and held by the tables themselves.

use std::sync::Barrier;

use attest::Renewed;
use issuance::{Intent, Order, RecordError, Recorder as _};
use schema::{CertificateState, Store};
use wire::revocation::RevocationReason::{CertificateHold, Superseded};

use crate::kit::*;
use crate::raw::run;

/// A certificate of a new device of the same name.
fn issued(store: &Store, name: &str) -> Intent {
    allow(store, name);
    let a = intent(name, "p", &format!("key of {name}"));
    store
        .intend(&order(name, name, name), std::slice::from_ref(&a))
        .unwrap();
    store.issued(&id(name), &[signed(&a)]).unwrap();
    a
}

/// An order of this device, to replace this certificate.
fn renewal(challenge: &str, device: &str, old: &Intent) -> Order {
    Order {
        transcript: None,
        renews: Some(Renewed {
            certificate_sha256: digest("not looked at"),
            serial: old.serial.octets().to_vec(),
            issuer_key_id: old.issuer_key_id.clone(),
            spki_sha256: old.spki_sha256,
        }),
        ..order(challenge, device, device)
    }
}

fn row(store: &Store, intent: &Intent) -> i64 {
    store.certificate(intent.serial.octets()).unwrap().unwrap().id
}

fn renew(store: &Store, challenge: &str, device: &str, old: &Intent) -> Result<Intent, RecordError> {
    let new = intent(challenge, "p", &format!("key of {device}"));
    store.intend(&renewal(challenge, device, old), std::slice::from_ref(&new))?;
    Ok(new)
}

fn not_renewable(outcome: Result<Intent, RecordError>) -> String {
    match outcome {
        Err(RecordError::NotRenewable(why)) => why,
        other => panic!("{other:?}"),
    }
}

both! {
    fn a_certificate_is_replaced_once_and_descent_is_remembered(bench) {
        let store = bench.open();
        let a = issued(&store, "x");
        assert!(store.successor(row(&store, &a)).unwrap().is_none());
        let b = renew(&store, "b", "x", &a).unwrap();
        assert_eq!(renew(&store, "b2", "x", &a).unwrap_err(), RecordError::Replaced, "while it is being signed");
        store.issued(&id("b"), &[signed(&b)]).unwrap();
        assert_eq!(renew(&store, "b3", "x", &a).unwrap_err(), RecordError::Replaced);
        let c = renew(&store, "c", "x", &b).unwrap();
        store.issued(&id("c"), &[signed(&c)]).unwrap();
        let line = [&a, &b, &c].map(|i| row(&store, i));
        for id in line {
            let kin: Vec<i64> = store.lineage(id).unwrap().iter().map(|r| r.id).collect();
            assert_eq!(kin, line);
        }
        assert_eq!(store.successor(line[0]).unwrap().unwrap().id, line[1]);
        assert_eq!(store.live_identity("x", "p", NOW).unwrap().unwrap().id, line[2]);
        let y = issued(&store, "y");
        let alone = store.lineage(row(&store, &y)).unwrap();
        assert_eq!(alone.len(), 1, "an enrollment has no kin");
    }

    fn what_does_not_stand_is_not_replaced(bench) {
        let store = bench.open();
        let (a, other) = (issued(&store, "x"), issued(&store, "y"));
        assert!(not_renewable(renew(&store, "1", "x", &other)).contains("another device"));
        let strange = intent("never recorded", "p", "k");
        assert!(not_renewable(renew(&store, "2", "x", &strange)).contains("not on record"));
        let another = intent("q", "q", "key of x");
        let refused = store.intend(&renewal("3", "x", &a), std::slice::from_ref(&another));
        assert!(matches!(refused, Err(RecordError::NotRenewable(_))), "{refused:?}");
        let two = [intent("4a", "p", "key of x"), intent("4b", "q", "another of x")];
        let refused = store.intend(&renewal("4", "x", &a), &two);
        assert!(matches!(refused, Err(RecordError::NotRenewable(_))), "{refused:?}");
        let mut late = renewal("5", "x", &a);
        late.at = attest::UnixTime(NOW + 86_401);
        let refused = store.intend(&late, &[intent("5", "p", "key of x")]);
        assert_eq!(refused, Err(RecordError::NotRenewable("it has ended".to_owned())));
        // On hold, released, revoked.
        let told = audit(NOW, "certificate.revoked", "x");
        store.revoke(row(&store, &a), CertificateHold, "", &told).unwrap();
        assert!(not_renewable(renew(&store, "6", "x", &a)).contains("on hold"));
        store.release(row(&store, &a), "", &told).unwrap();
        let b = renew(&store, "7", "x", &a).unwrap();
        store.issued(&id("7"), &[signed(&b)]).unwrap();
        store.revoke(row(&store, &b), Superseded, "", &told).unwrap();
        assert!(not_renewable(renew(&store, "8", "x", &b)).contains("revoked"));
        // None of the refused left anything: a, other, and b.
        assert_eq!(store.certificates_of("x").unwrap().len(), 2);
        assert_eq!(store.certificates_of("y").unwrap().len(), 1);
    }

    fn another_identity_in_its_place_is_not_pushed_aside(bench) {
        let store = bench.open();
        let a = issued(&store, "x");
        // Its renewal got lost, and the device enrolled anew instead: that one stands now.
        renew(&store, "lost", "x", &a).unwrap();
        store.recover(NOW, NOW).unwrap();
        let told = audit(NOW, "certificate.revoked", "x");
        store.revoke(row(&store, &a), CertificateHold, "", &told).unwrap();
        assert!(store.intend(&order("new", "x", "x"), &[intent("new", "p", "key of x")]).is_err(), "a hold keeps its place");
        store.release(row(&store, &a), "", &told).unwrap();
        let refused = store.intend(&order("new", "x", "x"), &[intent("new", "p", "key of x")]);
        assert!(matches!(refused, Err(RecordError::IdentityExists { .. })), "{refused:?}");
        renew(&store, "again", "x", &a).unwrap();
    }

    fn a_lost_signature_gives_the_place_back(bench) {
        let store = bench.open();
        let a = issued(&store, "x");
        let lost = renew(&store, "lost", "x", &a).unwrap();
        assert_eq!(store.live_identity("x", "p", NOW).unwrap().map(|r| r.id), None, "an intent is no identity");
        assert_eq!(store.recover(NOW, NOW).unwrap().len(), 1);
        assert_eq!(store.live_identity("x", "p", NOW).unwrap().unwrap().id, row(&store, &a));
        assert!(store.successor(row(&store, &a)).unwrap().is_none());
        let b = renew(&store, "b", "x", &a).unwrap();
        store.issued(&id("b"), &[signed(&b)]).unwrap();
        assert_eq!(store.issued(&id("lost"), &[signed(&lost)]), Err(RecordError::IntentClosed));
        let states: Vec<_> = store.certificates_of("x").unwrap().iter().map(|r| r.state).collect();
        assert_eq!(states, [CertificateState::Issued, CertificateState::Orphan, CertificateState::Issued]);
        assert_eq!(store.lineage(row(&store, &b)).unwrap().len(), 3, "the orphan counts as kin");
    }

    fn two_renewals_at_once(bench) {
        let servers: Vec<Store> = (0..if bench.is_postgres() { 3 } else { 1 }).map(|_| bench.open()).collect();
        for n in 0..60 {
            let name = format!("x{n}");
            let a = issued(&servers[0], &name);
            let barrier = Barrier::new(3);
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..3)
                    .map(|side| {
                        let (store, name, a, barrier) = (&servers[side % servers.len()], &name, &a, &barrier);
                        scope.spawn(move || {
                            let challenge = format!("{name} {side}");
                            barrier.wait();
                            renew(store, &challenge, name, a)
                        })
                    })
                    .collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "{outcomes:?}");
            for refused in outcomes.into_iter().filter_map(Result::err) {
                assert_eq!(refused, RecordError::Replaced);
            }
            assert_eq!(servers[0].certificates_of(&name).unwrap().len(), 2);
        }
    }

    fn the_tables_hold_it_by_themselves(bench) {
        let store = bench.open();
        let a = issued(&store, "x");
        let b = renew(&store, "b", "x", &a).unwrap();
        store.issued(&id("b"), &[signed(&b)]).unwrap();
        // Once b is revoked, an enrollment of the same device and profile may follow: c.
        let told = audit(NOW, "certificate.revoked", "x");
        store.revoke(row(&store, &b), Superseded, "", &told).unwrap();
        let c = intent("c", "p", "key of x");
        store.intend(&order("c", "x", "x"), std::slice::from_ref(&c)).unwrap();
        let y = issued(&store, "y");
        let [a, b, c, y] = [&a, &b, &c, &y].map(|i| row(&store, i));
        let put = |new: i64, old: i64| format!("INSERT INTO renewal (certificate_id, replaces_id) VALUES ({new}, {old})");
        for (sql, word) in [
            (put(c, a), "replaced once"),
            (put(c, y), "same device and profile"),
            (put(c, b), "revoked or on hold"),
            ("UPDATE renewal SET replaces_id = replaces_id".to_owned(), "rows are final"),
            ("DELETE FROM renewal".to_owned(), "rows are kept"),
        ] {
            let refusal = run(bench, &sql).expect_err(&sql);
            assert!(refusal.contains(word), "{sql}\n{refusal}");
        }
    }
}
