//! Two at once: the indexes decide, and exactly one wins. On PostgreSQL through three servers.

use std::sync::Barrier;

use issuance::{Intent, Order, RecordError, Recorder as _};
use schema::{CertificateState, Store};

use crate::kit::*;

/// As many servers as the engine allows.
fn servers(bench: &Bench) -> Vec<Store> {
    let count = if bench.is_postgres() { 3 } else { 1 };
    (0..count).map(|_| bench.open()).collect()
}

/// Send orders at the same moment, each through another server; their verdicts.
fn at_once(servers: &[Store], orders: &[(Order, Vec<Intent>)]) -> Vec<Result<(), RecordError>> {
    let barrier = Barrier::new(orders.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = orders
            .iter()
            .zip(servers.iter().cycle())
            .map(|((order, intents), store)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    store.intend(order, intents)
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

both! {
    fn two_tpms_claim_one_name(bench) {
        let servers = servers(bench);
        for n in 0..200 {
            let name = format!("x{n}");
            allow(&servers[0], &name);
            let pair: Vec<_> = ["a", "b"]
                .map(|side| {
                    let label = format!("{n}{side}");
                    (order(&label, &name, &label), vec![intent(&label, "p", &label)])
                })
                .into();
            let verdicts = at_once(&servers, &pair);
            let winners = verdicts.iter().filter(|v| v.is_ok()).count();
            assert_eq!(winners, 1, "{verdicts:?}");
            assert!(verdicts.contains(&Err(RecordError::DeviceBoundElsewhere(name.clone()))), "{verdicts:?}");
            let winner = if verdicts[0].is_ok() { "a" } else { "b" };
            let device = servers[0].device_by_name(&name).unwrap().unwrap();
            assert_eq!(device.ek_spki_sha256, Some(digest(&format!("{n}{winner}"))));
            assert_eq!(servers[0].certificates_of(&name).unwrap().len(), 1);
        }
    }

    fn one_tpm_claims_two_names(bench) {
        let servers = servers(bench);
        for n in 0..200 {
            let names = ["a", "b"].map(|side| format!("x{n}{side}"));
            let pair: Vec<_> = names
                .iter()
                .map(|name| {
                    allow(&servers[0], name);
                    (order(name, name, &format!("tpm{n}")), vec![intent(name, "p", name)])
                })
                .collect();
            let verdicts = at_once(&servers, &pair);
            assert_eq!(verdicts.iter().filter(|v| v.is_ok()).count(), 1, "{verdicts:?}");
            let winner = usize::from(verdicts[1].is_ok());
            assert!(verdicts.contains(&Err(RecordError::EkBoundElsewhere(names[winner].clone()))), "{verdicts:?}");
            let device = servers[0].device_by_ek(&digest(&format!("tpm{n}"))).unwrap().unwrap();
            assert_eq!(device.name, names[winner]);
        }
    }

    fn one_challenge_is_answered_fifty_times(bench) {
        let servers = servers(bench);
        let mut orders = Vec::new();
        for n in 0..50 {
            let name = format!("x{n}");
            allow(&servers[0], &name);
            orders.push((order("c", &name, &name), vec![intent(&name, "p", &name)]));
        }
        let verdicts = at_once(&servers, &orders);
        assert_eq!(verdicts.iter().filter(|v| v.is_ok()).count(), 1);
        let losers = verdicts.iter().filter(|v| **v == Err(RecordError::ChallengeUsed)).count();
        assert_eq!(losers, 49, "{verdicts:?}");
        let row = servers[0].enrollment(&id("c")).unwrap().unwrap();
        assert_eq!(row.certificates.len(), 1);
    }

    fn one_request_is_sent_fifty_times(bench) {
        let servers = servers(bench);
        allow(&servers[0], "x");
        // The same request through several servers: each draws a serial of its own.
        let orders: Vec<_> =
            (0..50).map(|n| (order("c", "x", "tpm"), vec![intent(&format!("s{n}"), "p", "k")])).collect();
        let verdicts = at_once(&servers, &orders);
        assert_eq!(verdicts.iter().filter(|v| v.is_ok()).count(), 1, "{verdicts:?}");
        let winner = verdicts.iter().position(Result::is_ok).unwrap();
        let certificates = servers[0].certificates_of("x").unwrap();
        assert_eq!(certificates.len(), 1);
        assert_eq!(certificates[0].serial, orders[winner].1[0].serial.octets());
    }

    fn two_keys_want_one_identity(bench) {
        let servers = servers(bench);
        for n in 0..50 {
            let name = format!("x{n}");
            allow(&servers[0], &name);
            let pair: Vec<_> = ["a", "b"]
                .map(|side| {
                    let label = format!("{n}{side}");
                    (order(&label, &name, &name), vec![intent(&label, "p", &label)])
                })
                .into();
            let verdicts = at_once(&servers, &pair);
            assert_eq!(verdicts.iter().filter(|v| v.is_ok()).count(), 1, "{verdicts:?}");
            let exists = RecordError::IdentityExists { device: name, profile: "p".to_owned() };
            assert!(verdicts.contains(&Err(exists)), "{verdicts:?}");
        }
    }

    fn two_devices_want_one_key(bench) {
        let servers = servers(bench);
        for n in 0..50 {
            let names = ["a", "b"].map(|side| format!("x{n}{side}"));
            let pair: Vec<_> = names
                .iter()
                .map(|name| {
                    allow(&servers[0], name);
                    (order(name, name, name), vec![intent(name, "p", &format!("key{n}"))])
                })
                .collect();
            let verdicts = at_once(&servers, &pair);
            assert_eq!(verdicts.iter().filter(|v| v.is_ok()).count(), 1, "{verdicts:?}");
            let owner = names[usize::from(verdicts[1].is_ok())].clone();
            let exists = RecordError::IdentityExists { device: owner, profile: "p".to_owned() };
            assert!(verdicts.contains(&Err(exists)), "{verdicts:?}");
        }
    }

    fn one_serial_is_drawn_twice(bench) {
        let servers = servers(bench);
        for n in 0..50 {
            let pair: Vec<_> = ["a", "b"]
                .map(|side| {
                    let name = format!("x{n}{side}");
                    allow(&servers[0], &name);
                    (order(&name, &name, &name), vec![intent(&format!("s{n}"), "p", &name)])
                })
                .into();
            let verdicts = at_once(&servers, &pair);
            assert_eq!(verdicts.iter().filter(|v| v.is_ok()).count(), 1, "{verdicts:?}");
            assert!(verdicts.contains(&Err(RecordError::SerialTaken)), "{verdicts:?}");
        }
    }

    fn recovery_and_signature_do_not_both_win(bench) {
        let servers = servers(bench);
        for n in 0..50 {
            let name = format!("x{n}");
            allow(&servers[0], &name);
            let a = intent(&name, "p", &name);
            servers[0].intend(&order(&name, &name, &name), std::slice::from_ref(&a)).unwrap();
            let barrier = Barrier::new(2);
            let (orphans, verdict) = std::thread::scope(|scope| {
                let late = scope.spawn(|| {
                    barrier.wait();
                    servers[servers.len() - 1].issued(&id(&name), &[signed(&a)])
                });
                barrier.wait();
                let orphans = servers[0].recover(NOW, NOW).unwrap();
                (orphans, late.join().unwrap())
            });
            let state = servers[0].certificate(a.serial.octets()).unwrap().unwrap().state;
            match verdict {
                Ok(()) => assert_eq!((orphans.len(), state), (0, CertificateState::Issued)),
                Err(RecordError::IntentClosed) => assert_eq!((orphans.len(), state), (1, CertificateState::Orphan)),
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn neighbours_of_a_bad_order_are_written(bench) {
        let store = bench.open();
        store.intend(&ceremony("first"), &[intent("taken", "root", "ca")]).unwrap();
        // Every fourth wants a serial that exists: its batch fails at the index, and only it is refused.
        let orders: Vec<_> = (0..64)
            .map(|n| {
                let name = format!("x{n}");
                allow(&store, &name);
                let serial = if n % 4 == 0 { "taken".to_owned() } else { name.clone() };
                (order(&name, &name, &name), vec![intent(&serial, "p", &name)])
            })
            .collect();
        for (n, verdict) in at_once(std::slice::from_ref(&store), &orders).into_iter().enumerate() {
            assert_eq!(verdict, if n % 4 == 0 { Err(RecordError::SerialTaken) } else { Ok(()) });
        }
    }

    fn failures_are_counted_by_all_servers_together(bench) {
        let servers = servers(bench);
        let counts: Vec<u32> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..30)
                .zip(servers.iter().cycle())
                .map(|(n, store)| {
                    scope.spawn(move || {
                        store.record_failed_attempt(&id("c"), &audit(NOW + n, "enrollment.refused", "inc")).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let mut sorted = counts;
        sorted.sort_unstable();
        assert_eq!(sorted, (1..=30).collect::<Vec<_>>(), "each failure was a number of its own");
        assert_eq!(servers[0].challenge(&id("c")).unwrap().failures, 30);
        assert_eq!(servers[0].challenge(&id("d")).unwrap().failures, 0);
        drop(servers);
        let again = bench.open();
        assert_eq!(again.challenge(&id("c")).unwrap().failures, 30, "a restart forgets nothing");
        assert_eq!(again.forget_attempts(NOW).unwrap(), 0);
        assert_eq!(again.forget_attempts(NOW + 1000).unwrap(), 1);
        assert_eq!(again.challenge(&id("c")).unwrap().failures, 0);
    }
}
