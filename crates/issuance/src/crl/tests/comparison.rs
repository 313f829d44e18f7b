//! What is not published.

use attest::UnixTime;

use super::*;
use crate::fixture::{DAY, NOW, serial};
use lint::example::POINT;

use RevocationReason::{CaCompromise, CertificateHold, CessationOfOperation, KeyCompromise, Superseded, Unspecified};

const NOW_AT: UnixTime = UnixTime(NOW + 60);

/// The record knows certificates that run on for a year.
fn running(_: Serial) -> Option<Known> {
    Some(Known {
        not_after: UnixTime(NOW + 365 * DAY),
        released: None,
    })
}
use crate::Serial;

fn must_not_ask(serial: Serial) -> Option<Known> {
    panic!("asked for {}", serial.hex())
}

fn later(number: u64, revoked: Vec<Revoked>) -> CrlSpec {
    let mut spec = crl_spec(number, CrlScope::Complete, revoked);
    spec.this_update = UnixTime(NOW + 30);
    spec
}

fn entry_doubt(outcome: Result<PublishableCrl, CrlDoubt>) -> (usize, Serial, EntryDoubt) {
    match outcome {
        Err(CrlDoubt::Entries { count, serial, doubt }) => (count, serial, doubt),
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_entries_and_the_same() {
    let hierarchy = Hierarchy::p256();
    let one = complete(&hierarchy, 1, vec![revoked(2, Superseded)]);
    let all = vec![
        revoked(1, Unspecified),
        revoked(2, Superseded),
        revoked(3, KeyCompromise),
    ];
    let two = made(&hierarchy, later(2, all.clone()));
    let two = compare(&one, two, NOW_AT, must_not_ask).unwrap();
    assert_eq!(two.replaces(), CrlNumber::new(1));
    assert_eq!(two.crl().number(), CrlNumber::new(2).unwrap());
    let three = made(&hierarchy, later(9, all));
    assert!(compare(&two.into_crl(), three, NOW_AT, must_not_ask).is_ok());
}

#[test]
fn the_first_of_its_scope() {
    let hierarchy = Hierarchy::p256();
    let publishable = first(complete(&hierarchy, 1, vec![]), NOW_AT).unwrap();
    assert_eq!(publishable.replaces(), None);
    let stale = first(complete(&hierarchy, 1, vec![]), UnixTime(NOW + 7 * DAY));
    assert!(matches!(stale, Err(CrlDoubt::NotCurrent { .. })));
}

/// R02.
#[test]
fn the_number_grows() {
    let hierarchy = Hierarchy::p256();
    let five = complete(&hierarchy, 5, vec![]);
    for number in [0, 4, 5] {
        let doubt = compare(&five, made(&hierarchy, later(number, vec![])), NOW_AT, must_not_ask).unwrap_err();
        let expected = CrlDoubt::Number {
            previous: CrlNumber::new(5).unwrap(),
            next: CrlNumber::new(number).unwrap(),
        };
        assert_eq!(doubt, expected);
    }
}

/// R02: the clock went back.
#[test]
fn time_does_not_go_back() {
    let hierarchy = Hierarchy::p256();
    let now = complete(&hierarchy, 1, vec![]);
    let mut spec = crl_spec(2, CrlScope::Complete, vec![]);
    assert!(
        compare(&now, made(&hierarchy, spec.clone()), NOW_AT, must_not_ask).is_ok(),
        "the same second"
    );
    // The issuer is as old as the fixture's now, so the published one moves forward instead.
    let ahead = made(&hierarchy, later(1, vec![]));
    spec.number = CrlNumber::new(2).unwrap();
    let doubt = compare(&ahead, made(&hierarchy, spec), NOW_AT, must_not_ask).unwrap_err();
    assert!(matches!(doubt, CrlDoubt::ThisUpdate { .. }), "{doubt}");
}

/// R09: neither of tomorrow nor of last week.
#[test]
fn only_a_crl_of_now() {
    let hierarchy = Hierarchy::p256();
    let one = complete(&hierarchy, 1, vec![]);
    let ends = NOW + 7 * DAY;
    for (now, fits) in [
        (NOW + 29, false),
        (NOW + 30, true),
        (ends - 1, true),
        (ends, false),
        (ends + 1, false),
    ] {
        let outcome = compare(&one, made(&hierarchy, later(2, vec![])), UnixTime(now), must_not_ask);
        assert_eq!(outcome.is_ok(), fits, "{now}");
        assert!(fits || matches!(outcome, Err(CrlDoubt::NotCurrent { .. })));
    }
}

#[test]
fn another_scope_or_issuer_or_a_delta() {
    let hierarchy = Hierarchy::p256();
    let one = complete(&hierarchy, 1, vec![]);
    let point = |url: &str| CrlScope::Point(url.to_owned());
    let sharded = |n, url| made(&hierarchy, crl_spec(n, point(url), vec![]));
    for (previous, next) in [
        (complete(&hierarchy, 1, vec![]), sharded(2, POINT)),
        (sharded(1, POINT), complete(&hierarchy, 2, vec![])),
        (sharded(1, POINT), sharded(2, "http://pki.example.com/issuing-18.crl")),
    ] {
        let doubt = compare(&previous, next, NOW_AT, must_not_ask).unwrap_err();
        assert!(matches!(doubt, CrlDoubt::AnotherScope { .. }), "{doubt}");
    }
    let other = Hierarchy::p256();
    let doubt = compare(&one, complete(&other, 2, vec![]), NOW_AT, must_not_ask).unwrap_err();
    assert_eq!(doubt, CrlDoubt::AnotherIssuer, "the same name, another key");
    let delta = || delta::delta(&hierarchy, delta_spec(&one, 2, vec![]));
    let three = complete(&hierarchy, 3, vec![]);
    assert_eq!(
        compare(&one, delta(), NOW_AT, must_not_ask).unwrap_err(),
        CrlDoubt::Delta
    );
    assert_eq!(
        compare(&delta(), three, NOW_AT, must_not_ask).unwrap_err(),
        CrlDoubt::Delta
    );
    assert_eq!(first(delta(), NOW_AT).unwrap_err(), CrlDoubt::Delta);
}

/// R01, R03: at the front, in the middle, at the end; each missing entry is counted.
#[test]
fn an_entry_that_is_gone() {
    let hierarchy = Hierarchy::p256();
    let all = || (1..=3).map(|n| revoked(n, KeyCompromise)).collect::<Vec<_>>();
    let published = complete(&hierarchy, 1, all());
    for n in 0..3 {
        let mut rest = all();
        let gone = rest.remove(n);
        let outcome = compare(&published, made(&hierarchy, later(2, rest)), NOW_AT, running);
        assert_eq!(entry_doubt(outcome), (1, gone.serial, EntryDoubt::Gone));
    }
    let outcome = compare(&published, made(&hierarchy, later(2, vec![])), NOW_AT, running);
    assert_eq!(entry_doubt(outcome), (3, serial(1), EntryDoubt::Gone));
    let outcome = compare(&published, made(&hierarchy, later(2, vec![])), NOW_AT, |_| None);
    assert_eq!(entry_doubt(outcome), (3, serial(1), EntryDoubt::GoneUnknown));
}

/// R01: a second before and after; the CRL that shows the entry after its certificate expired is the published one.
#[test]
fn an_entry_leaves_after_it_was_shown_expired() {
    let hierarchy = Hierarchy::p256();
    let published = complete(&hierarchy, 1, vec![revoked(1, KeyCompromise)]);
    for (not_after, may) in [(NOW - 1, true), (NOW, false), (NOW + 29, false), (NOW + 30, false)] {
        let known = |_| {
            Some(Known {
                not_after: UnixTime(not_after),
                released: None,
            })
        };
        let outcome = compare(&published, made(&hierarchy, later(2, vec![])), NOW_AT, known);
        assert_eq!(outcome.is_ok(), may, "{not_after}");
        assert!(may || entry_doubt(outcome).2 == EntryDoubt::Gone);
    }
}

#[test]
fn release_frees_from_hold_alone() {
    let hierarchy = Hierarchy::p256();
    let outcome = |reason, released: Option<i64>| {
        let published = complete(&hierarchy, 1, vec![revoked(1, reason)]);
        let known = |serial| {
            Some(Known {
                released: released.map(UnixTime),
                ..running(serial)?
            })
        };
        compare(&published, made(&hierarchy, later(2, vec![])), NOW_AT, known)
    };
    // Held at NOW - DAY; the new CRL speaks of NOW + 30.
    for at in [NOW - DAY, NOW + 30] {
        assert!(outcome(CertificateHold, Some(at)).is_ok());
    }
    for (reason, released) in [
        (CertificateHold, None),
        (CertificateHold, Some(NOW - DAY - 1)),
        (CertificateHold, Some(NOW + 31)),
        (KeyCompromise, Some(NOW)),
        (Unspecified, Some(NOW)),
    ] {
        let doubt = entry_doubt(outcome(reason, released)).2;
        assert_eq!(doubt, EntryDoubt::Gone, "{reason:?} {released:?}");
    }
}

#[test]
fn reasons_only_get_worse() {
    let hierarchy = Hierarchy::p256();
    for previous in RevocationReason::ALL {
        let published = complete(&hierarchy, 1, vec![revoked(1, previous)]);
        for next in RevocationReason::ALL {
            let may = previous == next
                || previous == CertificateHold
                || (entry::is_compromise(next) && !entry::is_compromise(previous));
            let outcome = compare(
                &published,
                made(&hierarchy, later(2, vec![revoked(1, next)])),
                NOW_AT,
                must_not_ask,
            );
            assert_eq!(outcome.is_ok(), may, "{previous:?} -> {next:?}");
            if !may {
                assert_eq!(entry_doubt(outcome).2, EntryDoubt::Reason { previous, next });
            }
        }
    }
    // Said once in words of its own, so that the rule above is not only compared with itself.
    for (previous, next, may) in [
        (Superseded, KeyCompromise, true),
        (CertificateHold, CessationOfOperation, true),
        (KeyCompromise, Superseded, false),
        (KeyCompromise, CaCompromise, false),
        (Superseded, CertificateHold, false),
        (Superseded, Unspecified, false),
    ] {
        let published = complete(&hierarchy, 1, vec![revoked(1, previous)]);
        let next_crl = made(&hierarchy, later(2, vec![revoked(1, next)]));
        let outcome = compare(&published, next_crl, NOW_AT, must_not_ask);
        assert_eq!(outcome.is_ok(), may, "{previous:?} -> {next:?}");
    }
}

#[test]
fn a_date_moves_back_at_most() {
    let hierarchy = Hierarchy::p256();
    let outcome = |previous, next, by| {
        let published = complete(&hierarchy, 1, vec![revoked(1, previous)]);
        let mut moved = revoked(1, next);
        moved.at.0 += by;
        compare(
            &published,
            made(&hierarchy, later(2, vec![moved])),
            NOW_AT,
            must_not_ask,
        )
    };
    assert!(outcome(Superseded, KeyCompromise, -DAY).is_ok());
    assert!(outcome(Superseded, Superseded, -1).is_ok());
    assert_eq!(entry_doubt(outcome(Superseded, Superseded, 1)).2, EntryDoubt::Date);
    assert_eq!(entry_doubt(outcome(Superseded, KeyCompromise, 1)).2, EntryDoubt::Date);
    // Released and revoked again between the two.
    assert!(outcome(CertificateHold, Superseded, 1).is_ok());
}
