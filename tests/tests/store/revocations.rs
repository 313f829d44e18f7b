//! What became of a certificate: one history on both engines, and tables that hold it by themselves.

use std::sync::Barrier;

use issuance::{AuditRecord, Intent, RecordError, Recorder as _};
use schema::{AuditFilter, CertificateState, Revocation, RevokeError, Store};
use wire::revocation::RevocationReason::{self, CertificateHold, CessationOfOperation, KeyCompromise, Superseded};
use wire::revocation::RevocationState::{OnHold, Released, Revoked};

use crate::kit::*;
use crate::raw::run;

/// Issue a certificate to a new device of the same name; its row id and its intent.
fn issued(store: &Store, name: &str) -> (i64, Intent) {
    allow(store, name);
    let a = intent(name, "p", &format!("key of {name}"));
    store
        .intend(&order(name, name, name), std::slice::from_ref(&a))
        .unwrap();
    store.issued(&id(name), &[signed(&a)]).unwrap();
    (row(store, &a), a)
}

fn row(store: &Store, intent: &Intent) -> i64 {
    store.certificate(intent.serial.octets()).unwrap().unwrap().id
}

fn told(at: i64) -> AuditRecord {
    audit(at, "certificate.revoked", "x")
}

fn revoke(store: &Store, certificate: i64, reason: RevocationReason, at: i64) -> Result<Revocation, String> {
    store
        .revoke(certificate, reason, "because", &told(at))
        .map_err(|e| e.to_string())
}

fn release(store: &Store, certificate: i64, at: i64) -> Result<Revocation, String> {
    store
        .release(certificate, "found again", &told(at))
        .map_err(|e| e.to_string())
}

/// How many audit records there are about revocations.
fn records(store: &Store) -> usize {
    let filter = AuditFilter {
        subject: Some("x".to_owned()),
    };
    let all = store.audit_entries(&filter, 1000).unwrap();
    all.iter().filter(|r| r.action == "certificate.revoked").count()
}

fn final_(reason: RevocationReason) -> Result<Revocation, String> {
    Err(RevokeError::Final(reason).to_string())
}

both! {
    fn a_revocation_is_final_but_for_a_compromised_key(bench) {
        let store = bench.open();
        let (x, _) = issued(&store, "x");
        let first = revoke(&store, x, Superseded, NOW + 1).unwrap();
        let step = Revocation {
            state: Revoked,
            reason: Superseded,
            at: NOW + 1,
            since: NOW + 1,
            actor: "test".to_owned(),
            comment: "because".to_owned(),
        };
        assert_eq!(first, step);
        assert_eq!(revoke(&store, x, Superseded, NOW + 2).unwrap(), step, "again changes nothing");
        assert_eq!(revoke(&store, x, CessationOfOperation, NOW + 2), final_(Superseded));
        assert_eq!(revoke(&store, x, CertificateHold, NOW + 2), final_(Superseded));
        assert_eq!(release(&store, x, NOW + 2), Err(RevokeError::NotOnHold.to_string()));
        assert_eq!(records(&store), 1, "what changes nothing is not on record");

        let worse = revoke(&store, x, KeyCompromise, NOW + 3).unwrap();
        assert_eq!((worse.state, worse.reason, worse.at), (Revoked, KeyCompromise, NOW + 3));
        assert_eq!(worse.since, NOW + 1, "it was no good since then");
        assert_eq!(revoke(&store, x, KeyCompromise, NOW + 4).unwrap(), worse);
        assert_eq!(revoke(&store, x, Superseded, NOW + 4), final_(KeyCompromise));
        assert_eq!(revoke(&store, x, CertificateHold, NOW + 4), final_(KeyCompromise));
        assert_eq!(release(&store, x, NOW + 4), Err(RevokeError::NotOnHold.to_string()));
        assert_eq!(records(&store), 2);
        assert_eq!(store.revocation_history(x).unwrap(), [first, worse.clone()]);
        drop(store);
        let again = bench.open();
        assert_eq!(again.certificates_of("x").unwrap()[0].revocation, Some(worse), "a restart forgets nothing");
    }

    fn only_a_hold_is_released(bench) {
        let store = bench.open();
        let (x, _) = issued(&store, "x");
        assert_eq!(release(&store, x, NOW), Err(RevokeError::NotOnHold.to_string()), "nobody held it");
        let held = revoke(&store, x, CertificateHold, NOW + 1).unwrap();
        assert_eq!((held.state, held.reason, held.since), (OnHold, CertificateHold, NOW + 1));
        assert_eq!(revoke(&store, x, CertificateHold, NOW + 2).unwrap(), held);
        let free = release(&store, x, NOW + 3).unwrap();
        assert_eq!((free.state, free.comment.as_str()), (Released, "found again"));
        assert!(!free.not_good());
        assert_eq!(release(&store, x, NOW + 4).unwrap(), free);
        assert!(store.certificates_of("x").unwrap()[0].not_good().is_none());
        let held = revoke(&store, x, CertificateHold, NOW + 5).unwrap();
        assert_eq!(held.since, NOW + 5);
        let over = revoke(&store, x, Superseded, NOW + 6).unwrap();
        assert_eq!((over.state, over.since), (Revoked, NOW + 5), "it counts from the hold");
        assert_eq!(store.revocation_history(x).unwrap(), [
            Revocation { at: NOW + 1, since: NOW + 1, ..held.clone() },
            free,
            held,
            over,
        ]);
        assert_eq!(records(&store), 4);
        assert!(matches!(store.revoke(9999, Superseded, "", &told(NOW)), Err(RevokeError::NotFound)));
        assert!(matches!(store.release(9999, "", &told(NOW)), Err(RevokeError::NotFound)));
    }

    fn a_revoked_certificate_stands_for_nobody(bench) {
        let store = bench.open();
        let (x, _) = issued(&store, "x");
        let taken = RecordError::IdentityExists { device: "x".to_owned(), profile: "p".to_owned() };
        assert_eq!(store.intend(&order("c1", "x", "x"), &[intent("s1", "p", "k1")]), Err(taken.clone()));
        // On hold: not handed out, and nothing takes its place.
        revoke(&store, x, CertificateHold, NOW).unwrap();
        assert!(store.live_identity("x", "p", NOW).unwrap().is_none());
        assert_eq!(store.intend(&order("c1", "x", "x"), &[intent("s1", "p", "k1")]), Err(taken));
        release(&store, x, NOW).unwrap();
        assert_eq!(store.live_identity("x", "p", NOW).unwrap().unwrap().id, x);
        revoke(&store, x, Superseded, NOW).unwrap();
        assert!(store.live_identity("x", "p", NOW).unwrap().is_none());
        // A device that is held gets no other.
        store.hold_device("x", true, &audit(NOW, "device.held", "x")).unwrap();
        let closed = RecordError::DeviceNotOpen("x".to_owned());
        assert_eq!(store.intend(&order("c1", "x", "x"), &[intent("s1", "p", "k1")]), Err(closed));
        store.hold_device("x", false, &audit(NOW, "device.released", "x")).unwrap();
        let new = intent("s1", "p", "k1");
        store.intend(&order("c1", "x", "x"), std::slice::from_ref(&new)).unwrap();
        store.issued(&id("c1"), &[signed(&new)]).unwrap();
        assert_eq!(store.live_identity("x", "p", NOW).unwrap().unwrap().serial, new.serial.octets());
    }

    // K04
    fn a_compromised_key_is_blocked_for_ever(bench) {
        let store = bench.open();
        let (x, _) = issued(&store, "x");
        let (y, _) = issued(&store, "y");
        revoke(&store, x, Superseded, NOW).unwrap();
        store.intend(&order("c1", "x", "x"), &[intent("s1", "p", "key of x")]).unwrap();
        revoke(&store, row(&store, &intent("s1", "p", "key of x")), KeyCompromise, NOW).unwrap();
        revoke(&store, y, KeyCompromise, NOW).unwrap();
        for (name, profile) in [("x", "p"), ("x", "other"), ("y", "p")] {
            let refused = store.intend(&order("c2", name, name), &[intent("s2", profile, &format!("key of {name}"))]);
            assert_eq!(refused, Err(RecordError::KeyBlocked), "{name} {profile}");
        }
        store.intend(&order("c2", "y", "y"), &[intent("s2", "p", "a new key")]).unwrap();
        // Blocked before: a success, and the first reason stays.
        allow(&store, "z");
        let z = intent("z", "p", "k9");
        store.intend(&order("z", "z", "z"), std::slice::from_ref(&z)).unwrap();
        store.block_key(&digest("k9"), "leaked", &audit(NOW, "key.blocked", "k9")).unwrap();
        revoke(&store, row(&store, &z), KeyCompromise, NOW).unwrap();
    }

    fn whatever_is_on_record_is_revoked(bench) {
        let store = bench.open();
        allow(&store, "x");
        let lost = intent("s1", "p", "k1");
        store.intend(&order("c1", "x", "x"), std::slice::from_ref(&lost)).unwrap();
        store.recover(NOW, NOW).unwrap();
        revoke(&store, row(&store, &lost), Superseded, NOW + 1).unwrap();
        let orphans = store.orphans().unwrap();
        assert_eq!(orphans[0].not_good().map(|r| r.reason), Some(Superseded));
        // An ended one, too.
        let (y, _) = issued(&store, "y");
        revoke(&store, y, KeyCompromise, NOW + 999_999).unwrap();
        // One of the CA itself.
        let own = intent("own", "server-tls", "own key");
        store.intend(&ceremony("own"), std::slice::from_ref(&own)).unwrap();
        revoke(&store, row(&store, &own), Superseded, NOW + 1).unwrap();
    }

    // S07: revoked while it is being signed.
    fn a_signature_that_comes_late_is_recorded_and_not_answered(bench) {
        let store = bench.open();
        for (name, reason) in [("x", Superseded), ("y", CertificateHold)] {
            allow(&store, name);
            let a = intent(name, "p", name);
            store.intend(&order(name, name, name), std::slice::from_ref(&a)).unwrap();
            revoke(&store, row(&store, &a), reason, NOW).unwrap();
            assert_eq!(store.issued(&id(name), &[signed(&a)]), Err(RecordError::Revoked));
            let found = store.certificate(a.serial.octets()).unwrap().unwrap();
            assert_eq!((found.state, found.certificate), (CertificateState::Issued, Some(signed(&a).certificate)));
            assert!(found.revocation.is_some_and(|r| r.reason == reason));
            assert!(store.live_identity(name, "p", NOW).unwrap().is_none());
        }
        // Released before it was signed: nothing is in the way.
        allow(&store, "z");
        let a = intent("z", "p", "z");
        store.intend(&order("z", "z", "z"), std::slice::from_ref(&a)).unwrap();
        revoke(&store, row(&store, &a), CertificateHold, NOW).unwrap();
        release(&store, row(&store, &a), NOW).unwrap();
        store.issued(&id("z"), &[signed(&a)]).unwrap();
    }

    fn steps_are_listed_in_pages(bench) {
        let store = bench.open();
        let mut all = Vec::new();
        for n in 0..5 {
            let name = format!("x{n}");
            let (x, a) = issued(&store, &name);
            revoke(&store, x, CertificateHold, NOW + n).unwrap();
            all.push((name.clone(), a.serial.octets().to_vec(), OnHold));
            revoke(&store, x, Superseded, NOW + n).unwrap();
            all.push((name, a.serial.octets().to_vec(), Revoked));
        }
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let page = store.revocations(cursor, 3).unwrap();
            assert!(page.items.len() <= 3);
            found.extend(page.items.into_iter().map(|row| (row.device.unwrap(), row.serial, row.step.state)));
            let Some(next) = page.next else { break };
            cursor = Some(next);
        }
        assert_eq!(found, all);
    }

    fn texts_of_steps_are_only_texts(bench) {
        let store = bench.open();
        let (x, _) = issued(&store, "x");
        let mut by = told(NOW);
        by.actor = "'; DROP TABLE revocation; --\0".to_owned();
        let step = store.revoke(x, Superseded, &format!("\0{}", "ü".repeat(600)), &by).unwrap();
        assert_eq!(step.actor, "'; DROP TABLE revocation; --\u{fffd}");
        assert_eq!(step.comment, format!("\u{fffd}{}", "ü".repeat(499)));
        assert_eq!(store.revocation_history(x).unwrap(), [step]);
        let (y, _) = issued(&store, "y");
        by.actor = "ü".repeat(300);
        assert_eq!(store.revoke(y, Superseded, "", &by).unwrap().actor, "ü".repeat(255));
    }

    fn many_at_once_take_each_step_once(bench) {
        let count = if bench.is_postgres() { 3 } else { 1 };
        let servers: Vec<Store> = (0..count).map(|_| bench.open()).collect();
        for n in 0..25 {
            let (x, _) = issued(&servers[0], &format!("x{n}"));
            let asked = [Superseded, KeyCompromise, CertificateHold, Superseded, CessationOfOperation, KeyCompromise];
            let barrier = Barrier::new(asked.len());
            let verdicts: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = asked
                    .iter()
                    .zip(servers.iter().cycle())
                    .map(|(reason, store)| {
                        let barrier = &barrier;
                        scope.spawn(move || {
                            barrier.wait();
                            store.revoke(x, *reason, "", &told(NOW + n))
                        })
                    })
                    .collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            for (reason, verdict) in asked.iter().zip(&verdicts) {
                match verdict {
                    Ok(step) => assert_eq!(step.reason, *reason),
                    Err(RevokeError::Final(_)) => assert_ne!(*reason, KeyCompromise, "nobody is refused this"),
                    Err(other) => panic!("{other}"),
                }
            }
            let history = servers[0].revocation_history(x).unwrap();
            let reasons: Vec<_> = history.iter().map(|step| step.reason).collect();
            assert_eq!(reasons.last(), Some(&KeyCompromise), "{reasons:?}");
            assert_eq!(reasons.iter().filter(|r| **r == KeyCompromise).count(), 1, "{reasons:?}");
            assert!(reasons.len() <= 3, "{reasons:?}");
        }
    }

    fn a_key_is_certified_before_it_is_blocked_or_not_at_all(bench) {
        let count = if bench.is_postgres() { 2 } else { 1 };
        let servers: Vec<Store> = (0..count).map(|_| bench.open()).collect();
        for n in 0..40 {
            let name = format!("x{n}");
            let (x, _) = issued(&servers[0], &name);
            let (label, key) = (format!("c{n}"), format!("key of {name}"));
            let barrier = Barrier::new(2);
            let verdict = std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    barrier.wait();
                    let order = order(&label, &name, &name);
                    servers[servers.len() - 1].intend(&order, &[intent(&label, "other", &key)])
                });
                barrier.wait();
                let about = audit(NOW, "certificate.revoked", &label);
                servers[0].revoke(x, KeyCompromise, "", &about).unwrap();
                other.join().unwrap()
            });
            // The order and the revocation have their records under one subject: the newest is the later one.
            let filter = AuditFilter { subject: Some(label.clone()) };
            let actions: Vec<_> =
                servers[0].audit_entries(&filter, 9).unwrap().into_iter().map(|r| r.record.action).collect();
            match verdict {
                Ok(()) => assert_eq!(actions, ["certificate.revoked", "enrollment.granted"]),
                Err(RecordError::KeyBlocked) => assert_eq!(actions, ["certificate.revoked"]),
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn the_table_of_steps_defends_itself(bench) {
        let store = bench.open();
        let (x, _) = issued(&store, "x");
        let (y, _) = issued(&store, "y");
        let (z, _) = issued(&store, "z");
        revoke(&store, x, Superseded, NOW).unwrap();
        revoke(&store, y, CertificateHold, NOW).unwrap();
        let enter = format!(
            "INSERT INTO crl_entry (certificate_id, issuer_key_id, serial, not_after) \
             SELECT id, issuer_key_id, serial, not_after FROM certificate WHERE id = {z}"
        );
        run(bench, &enter).unwrap();
        let insert = |certificate: i64, step: i64, state: &str, reason: &str, at: i64, since: i64| {
            let sql = format!(
                "INSERT INTO revocation (certificate_id, step, state, reason, at, since, actor, comment) \
                 VALUES ({certificate}, {step}, '{state}', '{reason}', {at}, {since}, '', '')"
            );
            run(bench, &sql)
        };
        let later = NOW + 5;
        let refused = [
            ("follows the one before", insert(y, 1, "released", "certificateHold", later, later)),
            ("follows the one before", insert(y, 3, "released", "certificateHold", later, later)),
            ("follows the one before", insert(z, 2, "revoked", "superseded", later, later)),
            ("does not go", insert(x, 2, "released", "certificateHold", later, later)),
            ("does not go", insert(x, 2, "on_hold", "certificateHold", later, later)),
            ("does not go", insert(x, 2, "revoked", "unspecified", later, NOW)),
            ("does not go", insert(y, 2, "on_hold", "certificateHold", later, later)),
            ("does not go", insert(z, 1, "released", "certificateHold", later, later)),
            ("from its beginning", insert(y, 2, "revoked", "superseded", later, later)),
            ("from its beginning", insert(z, 1, "revoked", "superseded", later, NOW)),
            ("from its beginning", insert(y, 2, "released", "certificateHold", later, NOW)),
            ("key is blocked", insert(z, 1, "revoked", "keyCompromise", later, later)),
            ("check", insert(z, 1, "revoked", "certificateHold", later, later)),
            ("check", insert(z, 1, "on_hold", "superseded", later, later)),
            ("check", insert(z, 1, "revoked", "removeFromCRL", later, later)),
            ("check", insert(z, 1, "good", "certificateHold", later, later)),
            ("in the list of its crl", insert(999_999, 1, "revoked", "superseded", later, later)),
            ("final", run(bench, "UPDATE revocation SET reason = 'unspecified'")),
            ("kept", run(bench, "DELETE FROM revocation")),
        ];
        for (n, (word, refusal)) in refused.into_iter().enumerate() {
            let text = refusal.expect_err(word);
            assert!(text.to_lowercase().contains(word), "{n}: {word}\n{text}");
        }
        // The same steps are free where they belong.
        insert(z, 1, "revoked", "superseded", later, later).unwrap();
        insert(y, 2, "released", "certificateHold", later, later).unwrap();
        insert(y, 3, "on_hold", "certificateHold", later + 1, later + 1).unwrap();
        insert(y, 4, "revoked", "unspecified", later + 2, later + 1).unwrap();
        store.block_key(&digest("key of x"), "", &audit(NOW, "key.blocked", "x")).unwrap();
        insert(x, 2, "revoked", "keyCompromise", later, NOW).unwrap();
        let refusal = insert(x, 3, "revoked", "keyCompromise", later, NOW).unwrap_err();
        assert!(refusal.contains("does not go"), "{refusal}");
    }
}
