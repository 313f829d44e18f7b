//! TPMs' clocks: each attestation is judged after the last one of the same key, in the transaction that records it.

use std::sync::Barrier;

use attest::UnixTime;
use attest::tpm::TpmsClockInfo;
use issuance::{ClockReading, ClockRule, Order, RecordError, Recorder as _};
use schema::{AuditFilter, ClockAlarms, Store};

use crate::kit::*;
use crate::raw::run;

fn at(clock: u64, reset_count: u32) -> TpmsClockInfo {
    TpmsClockInfo {
        clock,
        reset_count,
        restart_count: 0,
        safe: true,
    }
}

/// An order for another profile each time, so that nothing but the clock is in its way.
fn attested(challenge: &str, device: &str, info: TpmsClockInfo, rule: ClockRule, now: i64) -> Order {
    let mut order = order(challenge, device, device);
    order.at = UnixTime(now);
    order.device.as_mut().unwrap().clock = ClockReading {
        info,
        asked_at: UnixTime(now),
        rule,
    };
    order
}

fn intend(store: &Store, order: &Order, challenge: &str) -> Result<(), RecordError> {
    let key = &order.device.as_ref().unwrap().name;
    let a = intent(challenge, challenge, &format!("key of {key}"));
    store.intend(order, std::slice::from_ref(&a))
}

fn tell(store: &Store, challenge: &str, info: TpmsClockInfo, now: i64) -> Result<(), RecordError> {
    intend(store, &attested(challenge, "x", info, ClockRule::Hold, now), challenge)
}

fn back(outcome: Result<(), RecordError>) -> (String, bool) {
    match outcome {
        Err(RecordError::ClockBack { device, what, held }) => {
            assert_eq!(device, "x");
            (what, held)
        }
        other => panic!("{other:?}"),
    }
}

fn alarms(store: &Store) -> Vec<(String, String, String)> {
    let page = store.audit_entries(&AuditFilter::default(), 99).unwrap();
    page.into_iter()
        .filter(|record| record.reason == "TPM_CLOCK")
        .map(|row| (row.record.action, row.record.subject, row.record.detail))
        .collect()
}

both! {
    fn one_that_went_back_is_refused_held_and_written_down(bench) {
        let store = bench.open();
        allow(&store, "x");
        tell(&store, "a", at(1_000_000, 3), NOW).unwrap();
        tell(&store, "b", at(1_000_000, 3), NOW + 100).unwrap();
        tell(&store, "c", at(2_000_000, 3), NOW + 200).unwrap();
        tell(&store, "d", at(2_500_000, 4), NOW + 300).unwrap();
        let last = store.tpm_clocks("x").unwrap();
        assert_eq!(last.len(), 1);
        assert_eq!((last[0].info, last[0].seen_at, last[0].alarmed_at), (at(2_500_000, 4), NOW + 300, None));
        assert_eq!(last[0].ak_spki_sha256, digest("ak of x"));
        assert_eq!(store.clock_alarms(), ClockAlarms::default());

        // The copy, of an hour before.
        let (what, held) = back(tell(&store, "e", at(2_499_999, 4), NOW + 900));
        assert!(held && what.starts_with("the clock went back by 1 ms since the same start; last: clock 2500000 ms"), "{what}");
        assert!(store.device_by_name("x").unwrap().unwrap().held);
        assert_eq!(store.certificates_of("x").unwrap().len(), 4, "nothing of it was recorded");
        assert!(!store.challenge(&id("e")).unwrap().used);
        let told = alarms(&store);
        assert_eq!(told.len(), 2, "{told:?}");
        let of = |action: &str| &told.iter().find(|t| t.0 == action).unwrap().2;
        assert!(of("device.clock.alarm").ends_with("refused, and the device is held"), "{told:?}");
        assert!(of("device.clock.alarm").contains(&hex::encode(digest("ak of x"))), "{told:?}");
        assert!(of("device.held").contains("went back by 1 ms"), "{told:?}");
        assert!(told.iter().all(|t| t.1 == "x"));
        assert_eq!(store.clock_alarms(), ClockAlarms { hold: 1, ..ClockAlarms::default() });
        let last = store.tpm_clocks("x").unwrap()[0];
        assert_eq!((last.info, last.alarmed_at), (at(2_500_000, 4), Some(NOW + 900)), "what was good stays");

        // Held: the original waits too, and nobody is told more.
        let closed = RecordError::DeviceNotOpen("x".to_owned());
        assert_eq!(tell(&store, "f", at(9_000_000, 4), NOW + 1000), Err(closed));
        assert_eq!(alarms(&store).len(), 2);

        // People look, and release it: the next attestation is a beginning, whatever it says.
        let told = audit(NOW + 2000, "device.released", "x");
        assert!(store.hold_device("x", false, &told).unwrap());
        assert_eq!(store.tpm_clocks("x").unwrap(), []);
        tell(&store, "g", at(7, 0), NOW + 3000).unwrap();
        back(tell(&store, "h", at(6, 0), NOW + 4000));
        // A release of a device that had no such alarm forgets nothing.
        allow(&store, "y");
        intend(&store, &attested("y", "y", at(5, 5), ClockRule::Hold, NOW), "y").unwrap();
        for held in [true, false] {
            store.hold_device("y", held, &told).unwrap();
        }
        assert_eq!(store.tpm_clocks("y").unwrap().len(), 1);
    }

    fn refused_without_a_hold_or_only_told(bench) {
        let store = bench.open();
        allow(&store, "x");
        let now = |n: i64| NOW + 1000 * n;
        let tell = |challenge: &str, info, rule, n| intend(&store, &attested(challenge, "x", info, rule, now(n)), challenge);
        tell("a", at(1_000_000, 3), ClockRule::Hold, 0).unwrap();
        let (what, held) = back(tell("b", at(1_000_000, 2), ClockRule::Refuse, 1));
        assert!(!held && what.starts_with("resetCount went back by 1"), "{what}");
        assert!(!store.device_by_name("x").unwrap().unwrap().held);
        tell("c", at(1_100_000, 3), ClockRule::Refuse, 2).unwrap();
        // Only told: it is issued, and compared with from now on.
        tell("d", at(50, 2), ClockRule::Alarm, 3).unwrap();
        assert_eq!(store.tpm_clocks("x").unwrap()[0].info, at(50, 2));
        assert_eq!(store.tpm_clocks("x").unwrap()[0].alarmed_at, Some(now(3)));
        let told: Vec<String> = alarms(&store).into_iter().map(|(_, _, detail)| detail).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].ends_with("issued nevertheless") && told[1].ends_with(": refused"), "{told:?}");
        assert_eq!(store.clock_alarms(), ClockAlarms { alarm: 1, refuse: 1, hold: 0 });
        // Under `refuse` people hold and release it, to say that they looked.
        for held in [true, false] {
            store.hold_device("x", held, &audit(now(4), "device.released", "x")).unwrap();
        }
        assert_eq!(store.tpm_clocks("x").unwrap(), []);
    }

    fn another_key_of_the_same_device_has_a_clock_of_its_own(bench) {
        let store = bench.open();
        allow(&store, "x");
        tell(&store, "a", at(1_000_000, 900), NOW).unwrap();
        // Its counters are obfuscated by other numbers: nothing follows from them.
        let mut other = attested("b", "x", at(500, 1), ClockRule::Hold, NOW + 100);
        other.device.as_mut().unwrap().ak_spki_sha256 = digest("another ak of x");
        intend(&store, &other, "b").unwrap();
        assert_eq!(store.tpm_clocks("x").unwrap().len(), 2);
        back(tell(&store, "c", at(999_999, 900), NOW + 200));
    }

    fn an_answer_that_was_overtaken_is_no_alarm(bench) {
        let store = bench.open();
        allow(&store, "x");
        tell(&store, "a", at(1_000_000, 3), NOW + 30).unwrap();
        // Asked for ten seconds before that one was taken, and slower on its way.
        let mut late = attested("b", "x", at(991_000, 3), ClockRule::Hold, NOW + 40);
        late.device.as_mut().unwrap().clock.asked_at = UnixTime(NOW + 20);
        intend(&store, &late, "b").unwrap();
        assert_eq!(store.tpm_clocks("x").unwrap()[0].info, at(1_000_000, 3), "it says nothing new");
        // No further back than that.
        let mut late = attested("c", "x", at(1_000_000 - 22_001, 3), ClockRule::Hold, NOW + 40);
        late.device.as_mut().unwrap().clock.asked_at = UnixTime(NOW + 20);
        back(intend(&store, &late, "c"));
    }

    fn what_issues_nothing_is_compared_too(bench) {
        let store = bench.open();
        allow(&store, "x");
        let reading = |info, now| ClockReading { info, asked_at: UnixTime(now), rule: ClockRule::Hold };
        let attest = |challenge: &str, info, now| store.attested("x", digest("ak of x"), reading(info, now), id(challenge), now);
        attest("a", at(1_000_000, 3), NOW).unwrap();
        attest("b", at(1_000_001, 3), NOW + 100).unwrap();
        tell(&store, "c", at(1_000_002, 3), NOW + 200).unwrap();
        let (_, held) = back(attest("d", at(1_000_001, 3), NOW + 300));
        assert!(held && store.device_by_name("x").unwrap().unwrap().held);
        assert_eq!(alarms(&store).len(), 2);
        let nobody = store.attested("nobody", [0; 32], reading(at(1, 1), NOW), id("e"), NOW);
        assert_eq!(nobody, Err(RecordError::DeviceNotOpen("nobody".to_owned())));
    }

    fn the_largest_numbers_come_back(bench) {
        let store = bench.open();
        allow(&store, "x");
        let end = TpmsClockInfo { clock: u64::MAX, reset_count: u32::MAX, restart_count: u32::MAX, safe: false };
        tell(&store, "a", end, NOW).unwrap();
        assert_eq!(store.tpm_clocks("x").unwrap()[0].info, end);
        back(tell(&store, "b", TpmsClockInfo { clock: u64::MAX - 1, ..end }, NOW + 100));
    }

    fn of_two_copies_at_two_servers_one_loses(bench) {
        let servers: Vec<Store> = (0..if bench.is_postgres() { 2 } else { 1 }).map(|_| bench.open()).collect();
        // Each of them is no successor of the other: more resets with less time, and the other way round.
        let copies = [at(50_000_000, 5), at(90_000_000, 4)];
        for n in 0..30 {
            let name = format!("x{n}");
            allow(&servers[0], &name);
            let first = format!("{name} first");
            intend(&servers[0], &attested(&first, &name, at(10_000_000, 4), ClockRule::Hold, NOW), &first).unwrap();
            let barrier = Barrier::new(2);
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = copies
                    .iter()
                    .enumerate()
                    .map(|(side, copy)| {
                        let (store, name, barrier) = (&servers[side % servers.len()], &name, &barrier);
                        scope.spawn(move || {
                            let challenge = format!("{name} {side}");
                            let order = attested(&challenge, name, *copy, ClockRule::Refuse, NOW + 1000);
                            barrier.wait();
                            intend(store, &order, &challenge)
                        })
                    })
                    .collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "{outcomes:?}");
            let lost = outcomes.into_iter().find_map(Result::err).unwrap();
            assert!(matches!(lost, RecordError::ClockBack { held: false, .. }), "{lost:?}");
            assert_eq!(servers[0].certificates_of(&name).unwrap().len(), 2);
        }
    }

    fn the_tables_hold_it_by_themselves(bench) {
        let store = bench.open();
        allow(&store, "x");
        tell(&store, "a", at(1, 1), NOW).unwrap();
        let (yes, ak) = if bench.is_postgres() {
            ("true", "decode(repeat('00', 32), 'hex')")
        } else {
            ("1", "zeroblob(32)")
        };
        for (sql, word) in [
            ("UPDATE tpm_clock SET ak_spki_sha256 = ".to_owned() + ak, "a row is of one key"),
            ("UPDATE tpm_clock SET reset_count = -1".to_owned(), "check"),
            ("UPDATE tpm_clock SET restart_count = 4294967296".to_owned(), "check"),
            (format!("INSERT INTO tpm_clock VALUES (4711, {ak}, 0, 0, 0, {yes}, 0, NULL)"), "foreign key"),
        ] {
            let refusal = run(bench, &sql).expect_err(&sql).to_lowercase();
            assert!(refusal.contains(word), "{sql}\n{refusal}");
        }
    }
}
