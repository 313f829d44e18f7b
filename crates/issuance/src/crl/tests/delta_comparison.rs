//! Delta CRLs that are not published, and complete ones that would unsay what a delta said.

use attest::UnixTime;

use super::delta::delta;
use super::*;
use crate::Serial;
use crate::fixture::{DAY, NOW, serial};
use lint::example::POINT;

use RevocationReason::{CertificateHold, KeyCompromise, Superseded};

const NOW_AT: UnixTime = UnixTime(NOW + 60);

fn released_at(at: i64) -> impl Fn(Serial) -> Option<Known> {
    move |_| {
        Some(Known {
            not_after: UnixTime(NOW + 365 * DAY),
            released: Some(UnixTime(at)),
        })
    }
}

fn running(_: Serial) -> Option<Known> {
    Some(Known {
        not_after: UnixTime(NOW + 365 * DAY),
        released: None,
    })
}

fn doubt<T: std::fmt::Debug>(outcome: Result<T, CrlDoubt>) -> (Serial, EntryDoubt) {
    match outcome {
        Err(CrlDoubt::Entries { serial, doubt, .. }) => (serial, doubt),
        other => panic!("{other:?}"),
    }
}

/// The next delta, of ten seconds later than the one before.
fn next<'a>(base: &'a Crl, number: u64, revoked: Vec<Revoked>, released: Vec<Released>) -> DeltaSpec<'a> {
    let mut spec = delta_spec(base, number, revoked);
    spec.this_update = UnixTime(NOW + 20);
    spec.released = released;
    spec
}

#[test]
fn one_after_the_other() {
    let hierarchy = Hierarchy::p256();
    let base = complete(&hierarchy, 1, vec![revoked(1, Superseded), revoked(2, CertificateHold)]);
    let all = || {
        vec![
            revoked(1, Superseded),
            revoked(2, CertificateHold),
            revoked(3, CertificateHold),
        ]
    };
    let two = delta(&hierarchy, delta_spec(&base, 2, all()));
    let two = compare_delta(&base, None, two, NOW_AT, running).unwrap();
    assert_eq!((two.replaces(), Some(two.base())), (None, CrlNumber::new(1)));
    let two = two.into_crl();
    // 2 is released, 3 turned out to be compromised.
    let rest = vec![revoked(1, Superseded), revoked(3, KeyCompromise)];
    let three = delta(&hierarchy, next(&base, 3, rest, vec![released(2, NOW + 15)]));
    let three = compare_delta(&base, Some(&two), three, NOW_AT, released_at(NOW + 15)).unwrap();
    assert_eq!(three.replaces(), CrlNumber::new(2));
    assert_eq!(three.crl().entries().len(), 2);
}

#[test]
fn base_issuer_scope_number_and_time() {
    let hierarchy = Hierarchy::p256();
    let (one, two) = (complete(&hierarchy, 1, vec![]), complete(&hierarchy, 2, vec![]));
    let of = |base: &Crl, number| delta(&hierarchy, delta_spec(base, number, vec![]));
    let refused = |base: &Crl, previous: Option<&Crl>, next: Crl, now| {
        compare_delta(base, previous, next, UnixTime(now), running).unwrap_err()
    };
    let now = NOW + 60;
    assert!(compare_delta(&two, None, of(&two, 3), NOW_AT, running).is_ok());
    // On the one that was published before.
    let older = CrlDoubt::Base {
        base: CrlNumber::new(1).unwrap(),
        published: CrlNumber::new(2).unwrap(),
    };
    assert_eq!(refused(&two, None, of(&one, 3), now), older);
    // A number that does not grow: over its base (as when the base was published meanwhile), over the delta before.
    let grown = |previous, next| CrlDoubt::Number {
        previous: CrlNumber::new(previous).unwrap(),
        next: CrlNumber::new(next).unwrap(),
    };
    assert_eq!(
        refused(&complete(&hierarchy, 9, vec![]), None, of(&one, 3), now),
        grown(9, 3)
    );
    for number in [3, 4] {
        assert_eq!(
            refused(&two, Some(&of(&two, 4)), of(&two, number), now),
            grown(4, number)
        );
    }
    // The delta before is on an older base, and yet newer than the base: they were not compared.
    assert_eq!(refused(&two, Some(&of(&one, 3)), of(&two, 4), now), grown(3, 2));
    // Or the base speaks of an earlier moment than that delta.
    let four = complete(&hierarchy, 4, vec![]);
    let five = delta(&hierarchy, next(&four, 5, vec![], vec![]));
    assert!(matches!(
        refused(&four, Some(&of(&one, 3)), five, now),
        CrlDoubt::ThisUpdate { .. }
    ));
    // Another shard, another issuer.
    let sharded = made(&hierarchy, crl_spec(2, CrlScope::Point(POINT.into()), vec![]));
    assert!(matches!(
        refused(&two, None, of(&sharded, 3), now),
        CrlDoubt::AnotherScope { .. }
    ));
    assert!(matches!(
        refused(&two, Some(&of(&sharded, 3)), of(&two, 4), now),
        CrlDoubt::AnotherScope { .. }
    ));
    let other = Hierarchy::p256();
    let foreign = complete(&other, 2, vec![]);
    let foreign = delta(&other, delta_spec(&foreign, 3, vec![]));
    assert_eq!(refused(&two, None, foreign, now), CrlDoubt::AnotherIssuer);
    // Complete ones where a delta belongs, and the other way round.
    assert_eq!(
        refused(&two, None, complete(&hierarchy, 3, vec![]), now),
        CrlDoubt::NoDelta
    );
    assert_eq!(refused(&two, Some(&one), of(&two, 3), now), CrlDoubt::NoDelta);
    assert_eq!(refused(&of(&one, 2), None, of(&two, 3), now), CrlDoubt::Delta);
    // Not of now; earlier than the one before.
    for now in [NOW + 9, NOW + 3600] {
        assert!(matches!(
            refused(&two, None, of(&two, 3), now),
            CrlDoubt::NotCurrent { .. }
        ));
    }
    let later = delta(&hierarchy, next(&two, 3, vec![], vec![]));
    assert!(matches!(
        refused(&two, Some(&later), of(&two, 4), now),
        CrlDoubt::ThisUpdate { .. }
    ));
    // Drafted on a base of an earlier moment than the one of that number which is published.
    let mut moved = crl_spec(2, CrlScope::Complete, vec![]);
    moved.this_update = UnixTime(NOW + 10);
    let moved = made(&hierarchy, moved);
    assert_eq!(refused(&moved, None, of(&two, 3), now), CrlDoubt::SameMoment);
}

/// Only a hold is taken back, and only when the record knows since when.
#[test]
fn nothing_is_taken_back_but_by_release() {
    let hierarchy = Hierarchy::p256();
    let hold = complete(&hierarchy, 1, vec![revoked(1, CertificateHold)]);
    let lost = complete(&hierarchy, 1, vec![revoked(1, KeyCompromise)]);
    let back = |base: &Crl| {
        let mut spec = delta_spec(base, 2, vec![]);
        spec.released = vec![released(1, NOW + 5)];
        delta(&hierarchy, spec)
    };
    assert!(compare_delta(&hold, None, back(&hold), NOW_AT, released_at(NOW + 5)).is_ok());
    let no = (serial(1), EntryDoubt::NotReleased);
    assert_eq!(doubt(compare_delta(&hold, None, back(&hold), NOW_AT, running)), no);
    assert_eq!(doubt(compare_delta(&hold, None, back(&hold), NOW_AT, |_| None)), no);
    assert_eq!(
        doubt(compare_delta(&hold, None, back(&hold), NOW_AT, released_at(NOW + 11))),
        no
    );
    assert_eq!(
        doubt(compare_delta(&lost, None, back(&lost), NOW_AT, released_at(NOW + 5))),
        no
    );
}

/// What the delta before said is not unsaid by the next.
#[test]
fn nothing_is_unsaid_by_the_next_delta() {
    let hierarchy = Hierarchy::p256();
    let base = complete(&hierarchy, 1, vec![revoked(9, CertificateHold)]);
    let nine = || revoked(9, CertificateHold);
    let two = delta(
        &hierarchy,
        delta_spec(
            &base,
            2,
            vec![nine(), revoked(1, Superseded), revoked(2, CertificateHold)],
        ),
    );
    let three = |revoked, released| delta(&hierarchy, next(&base, 3, revoked, released));
    let judged = |crl| compare_delta(&base, Some(&two), crl, NOW_AT, released_at(NOW + 15));
    assert!(
        judged(three(
            vec![nine(), revoked(1, KeyCompromise)],
            vec![released(2, NOW + 15)]
        ))
        .is_ok()
    );
    // Gone, weaker, and later.
    assert_eq!(
        doubt(judged(three(vec![nine(), revoked(2, CertificateHold)], vec![]))),
        (serial(1), EntryDoubt::Gone)
    );
    let weaker = revoked(1, RevocationReason::Unspecified);
    assert!(matches!(
        doubt(judged(three(vec![nine(), weaker, revoked(2, CertificateHold)], vec![]))),
        (_, EntryDoubt::Reason { .. })
    ));
    let mut late = revoked(1, Superseded);
    late.at = UnixTime(NOW + 5);
    assert_eq!(
        doubt(judged(three(vec![nine(), late, revoked(2, CertificateHold)], vec![]))),
        (serial(1), EntryDoubt::Date)
    );
    // A revocation for good is not taken back, whatever the record says.
    let back = three(vec![nine(), revoked(2, CertificateHold)], vec![released(1, NOW + 15)]);
    assert_eq!(doubt(judged(back)).0, serial(1));
    // Taken back by the delta before, and now left to the base, which lists it.
    let mut spec = delta_spec(&base, 2, vec![]);
    spec.released = vec![released(9, NOW + 5)];
    let freed = delta(&hierarchy, spec);
    let again = three(vec![nine()], vec![]);
    assert_eq!(
        doubt(compare_delta(&base, Some(&freed), again, NOW_AT, released_at(NOW + 5))),
        (serial(9), EntryDoubt::Again)
    );
    // Put on hold anew since: that is the record's word.
    let again = three(vec![nine()], vec![]);
    assert!(compare_delta(&base, Some(&freed), again, NOW_AT, running).is_ok());
}

/// What a delta said is in the next complete CRL, too.
#[test]
fn nothing_is_unsaid_by_the_next_complete_crl() {
    let hierarchy = Hierarchy::p256();
    let base = complete(&hierarchy, 1, vec![revoked(9, CertificateHold)]);
    let mut spec = delta_spec(&base, 2, vec![revoked(1, Superseded), revoked(2, CertificateHold)]);
    spec.released = vec![released(9, NOW + 5)];
    let two = delta(&hierarchy, spec);
    let later = |number, revoked| {
        let mut spec = crl_spec(number, CrlScope::Complete, revoked);
        spec.this_update = UnixTime(NOW + 30);
        made(&hierarchy, spec)
    };
    let freed = released_at(NOW + 15);
    let judged = |crl| compare(&base, crl, NOW_AT, &freed).unwrap().besides(&two, &freed);
    let whole = judged(later(3, vec![revoked(1, Superseded)])).unwrap();
    assert_eq!(
        (whole.replaces(), whole.beside()),
        (CrlNumber::new(1), CrlNumber::new(2))
    );
    assert_eq!(
        doubt(judged(later(3, vec![revoked(2, CertificateHold)]))),
        (serial(1), EntryDoubt::Gone)
    );
    let missing = compare(&base, later(3, vec![revoked(1, Superseded)]), NOW_AT, &freed).unwrap();
    assert_eq!(doubt(missing.besides(&two, running)), (serial(2), EntryDoubt::Gone));
    // A number that was taken before that of the delta: it may have seen less.
    let early = compare(&base, later(2, vec![revoked(1, Superseded)]), NOW_AT, &freed).unwrap();
    assert!(matches!(early.besides(&two, &freed), Err(CrlDoubt::Number { .. })));
    // Beside a complete one, or beside nothing.
    let three = || compare(&base, later(3, vec![]), NOW_AT, &freed).unwrap();
    assert_eq!(three().besides(&base, &freed).unwrap_err(), CrlDoubt::NoDelta);
    let alone = first(later(3, vec![]), NOW_AT).unwrap();
    assert_eq!(alone.besides(&two, &freed).unwrap_err(), CrlDoubt::NoDelta);
}
