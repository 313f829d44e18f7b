//! PostgreSQL goes away: what was acknowledged stays, what is said to be unwritten is unwritten, nobody waits for ever.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use device_kit::postgres::{self, Cluster};
use issuance::{RecordError, Recorder as _};
use schema::{CertificateState, Store, StoreError, StoreOptions};

use crate::kit::*;
use crate::proxy::{Cut, Proxy};

fn open(url: &str) -> Store {
    let options = StoreOptions {
        connect_timeout: Duration::from_secs(2),
        ..options()
    };
    Store::open(url, &options).unwrap()
}

/// A store behind a wire, and the same database without it.
fn behind_a_wire() -> (Proxy, Store, Store) {
    let direct = postgres::shared().unwrap().database().unwrap();
    let behind = direct.split("host=").nth(1).unwrap().split('&').next().unwrap();
    let proxy = Proxy::new(behind);
    let store = open(&proxy.url(Cluster::name_in(&direct)));
    (proxy, store, open(&direct))
}

#[test]
fn a_restart_between_two_orders_is_not_noticed() {
    let cluster = Cluster::start().unwrap();
    let store = open(&cluster.database().unwrap());
    for n in 0..3 {
        let name = format!("x{n}");
        allow(&store, &name);
        let a = intent(&name, "p", &name);
        store
            .intend(&order(&name, &name, &name), std::slice::from_ref(&a))
            .unwrap();
        cluster.crash().unwrap();
        cluster.up().unwrap();
        store.issued(&id(&name), &[signed(&a)]).unwrap();
        assert_eq!(store.certificates_of(&name).unwrap()[0].state, CertificateState::Issued);
        cluster.crash().unwrap();
        cluster.up().unwrap();
    }
}

#[test]
fn a_server_that_is_down_is_told_of_at_once() {
    let cluster = Cluster::start().unwrap();
    let store = open(&cluster.database().unwrap());
    allow(&store, "x");
    cluster.crash().unwrap();
    let begun = Instant::now();
    let refused = store.intend(&order("c", "x", "tpm"), &[intent("s", "p", "k")]);
    assert!(matches!(refused, Err(RecordError::Unavailable(_))), "{refused:?}");
    let refused = store.record_failed_attempt(&id("c"), &audit(NOW, "enrollment.refused", "inc"));
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(matches!(store.ping(), Err(StoreError::Unavailable(_))));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    cluster.up().unwrap();
    // Back-off is short; until it is over the answer is the same refusal.
    let mut last = store.intend(&order("c", "x", "tpm"), &[intent("s", "p", "k")]);
    while matches!(last, Err(RecordError::Unavailable(_))) && begun.elapsed() < Duration::from_secs(30) {
        last = store.intend(&order("c", "x", "tpm"), &[intent("s", "p", "k")]);
    }
    assert_eq!(last, Ok(()));
    store.ping().unwrap();
    assert_eq!(store.challenge(&id("c")).unwrap().failures, 0);
}

#[test]
fn an_unknown_commit_is_resolved_by_reading_back() {
    for cut in [Cut::Before, Cut::After] {
        let (proxy, store, direct) = behind_a_wire();
        allow(&direct, "x");
        let a = intent("s", "p", "k");
        proxy.cut(cut);
        store.intend(&order("c", "x", "tpm"), std::slice::from_ref(&a)).unwrap();
        assert_eq!(proxy.cuts(), 1);
        assert_eq!(direct.enrollment(&id("c")).unwrap().unwrap().certificates.len(), 1);
        proxy.cut(cut);
        store.issued(&id("c"), &[signed(&a)]).unwrap();
        assert_eq!(proxy.cuts(), 2);
        let row = direct.certificate(a.serial.octets()).unwrap().unwrap();
        assert_eq!(row.certificate, Some(signed(&a).certificate));
        // Later, the same is refused as ever.
        let again = store.intend(&order("c", "x", "tpm"), std::slice::from_ref(&a));
        assert_eq!(again, Err(RecordError::ChallengeUsed));
        assert_eq!(store.issued(&id("c"), &[signed(&a)]), Err(RecordError::IntentClosed));
        proxy.cut(cut);
        store
            .allow_device(&open_device("y"), &audit(NOW, "device.allowed", "y"))
            .unwrap();
        proxy.cut(cut);
        store
            .block_key(&digest("k9"), "leaked", &audit(NOW, "key.blocked", "k9"))
            .unwrap();
        assert_eq!(proxy.cuts(), 4);
        assert!(direct.device_by_name("y").unwrap().is_some());
    }
}

#[test]
fn a_twin_at_another_server_is_not_taken_for_ours() {
    let (proxy, store, direct) = behind_a_wire();
    allow(&direct, "x");
    // The same request was recorded by another server with another serial; then our own commit is cut.
    direct
        .intend(&order("c", "x", "tpm"), &[intent("theirs", "p", "k")])
        .unwrap();
    allow(&direct, "y");
    proxy.cut(Cut::Before);
    let verdict = std::thread::scope(|scope| {
        // A neighbour whose order is fine makes the batch commit at all.
        let neighbour = scope.spawn(|| store.intend(&order("d", "y", "tpm-y"), &[intent("s2", "p", "k2")]));
        let ours = store.intend(&order("c", "x", "tpm"), &[intent("ours", "p", "k")]);
        neighbour.join().unwrap().unwrap();
        ours
    });
    assert_eq!(verdict, Err(RecordError::ChallengeUsed));
    let row = direct.enrollment(&id("c")).unwrap().unwrap();
    assert_eq!(row.certificates.len(), 1);
    assert_eq!(row.certificates[0].serial, serial("theirs").octets());
}

#[test]
fn what_cannot_be_repeated_is_called_unknown() {
    for (cut, counted) in [(Cut::Before, 0), (Cut::After, 1)] {
        let (proxy, store, direct) = behind_a_wire();
        proxy.cut(cut);
        let verdict = store.record_failed_attempt(&id("c"), &audit(NOW, "enrollment.refused", "inc"));
        assert!(matches!(verdict, Err(StoreError::Unknown(_))), "{verdict:?}");
        assert_eq!(direct.challenge(&id("c")).unwrap().failures, counted);
        assert_eq!(
            store
                .record_failed_attempt(&id("c"), &audit(NOW, "enrollment.refused", "inc"))
                .unwrap(),
            counted + 1
        );
    }
}

#[test]
fn without_a_way_back_it_is_unknown() {
    for (cut, written) in [(Cut::Before, false), (Cut::After, true)] {
        let (proxy, store, direct) = behind_a_wire();
        allow(&direct, "x");
        proxy.cut(cut);
        proxy.close();
        let begun = Instant::now();
        let verdict = store.intend(&order("c", "x", "tpm"), &[intent("s", "p", "k")]);
        assert!(matches!(verdict, Err(RecordError::Unknown(_))), "{verdict:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!(direct.enrollment(&id("c")).unwrap().is_some(), written);
    }
}

#[test]
fn cut_off_clients_lose_nothing() {
    let cluster = Cluster::start().unwrap();
    let url = cluster.database().unwrap();
    let store = open(&url);
    let over = AtomicBool::new(false);
    let acknowledged = AtomicUsize::new(0);
    let verdicts: Vec<(String, Result<(), RecordError>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (store, over, acknowledged) = (&store, &over, &acknowledged);
                scope.spawn(move || {
                    let mut verdicts = Vec::new();
                    for n in 0.. {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        let label = format!("{thread}-{n}");
                        let verdict = store.intend(&ceremony(&label), &[intent(&label, "root", &label)]);
                        if verdict.is_ok() {
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        } else {
                            // A pace for the time without a server: it is refused at once, over and over.
                            std::thread::sleep(Duration::from_millis(20));
                        }
                        verdicts.push((label, verdict));
                    }
                    verdicts
                })
            })
            .collect();
        for round in 0..12 {
            if round % 4 == 3 {
                cluster.crash().unwrap();
                cluster.up().unwrap();
            } else {
                let name = Cluster::name_in(&url);
                let cut =
                    format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'");
                cluster.sql("postgres", &cut).unwrap();
            }
            // Until it works again, for writers and readers.
            let (begun, before) = (Instant::now(), acknowledged.load(Ordering::Relaxed));
            while (acknowledged.load(Ordering::Relaxed) < before + 20 || store.ping().is_err())
                && begun.elapsed() < Duration::from_secs(30)
            {
                std::thread::yield_now();
            }
        }
        over.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let mut written = 0;
    for (label, verdict) in verdicts {
        let found = store.enrollment(&id(&label)).unwrap().is_some();
        match verdict {
            Ok(()) => assert!(found, "{label} was acknowledged"),
            Err(RecordError::Unavailable(_)) => assert!(!found, "{label} was said to be unwritten"),
            Err(RecordError::Unknown(_)) => {}
            Err(other) => panic!("{label}: {other}"),
        }
        written += usize::from(found);
    }
    assert!(written >= 12 * 20, "{written}");
}
