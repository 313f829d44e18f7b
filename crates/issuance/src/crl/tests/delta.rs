//! Delta CRLs: what differs from a published complete one.

use attest::UnixTime;
use der::Decode;
use openssl::x509::X509Crl;
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::crl::BaseCrlNumber;

use super::*;
use crate::fixture::{NOW, serial};
use lint::example::{DELTA, POINT};

use RevocationReason::{CertificateHold, KeyCompromise, Superseded};

pub(super) fn delta(hierarchy: &Hierarchy, spec: DeltaSpec<'_>) -> Crl {
    let draft = CrlDraft::delta(spec, &hierarchy.issuer).unwrap();
    draft.lint().unwrap().sign(&hierarchy.key).unwrap()
}

fn said(crl: &Crl) -> Vec<(crate::Serial, Mark)> {
    crl.entries().iter().map(|e| (e.serial, e.mark)).collect()
}

#[test]
fn new_changed_and_gone() {
    let hierarchy = Hierarchy::p256();
    let mut spec = crl_spec(
        5,
        CrlScope::Point(POINT.into()),
        vec![
            revoked(1, Superseded),
            revoked(2, CertificateHold),
            revoked(3, CertificateHold),
        ],
    );
    spec.delta_url = Some(DELTA.into());
    let base = made(&hierarchy, spec);
    assert_eq!(base.delta_url(), Some(DELTA));
    let mut spec = delta_spec(
        &base,
        8,
        vec![
            revoked(1, Superseded),
            revoked(3, KeyCompromise),
            revoked(4, Superseded),
        ],
    );
    spec.released = vec![released(2, NOW + 5)];
    let made = delta(&hierarchy, spec);
    let mut expected = vec![
        (serial(2), Mark::Removed),
        (serial(3), Mark::Revoked(KeyCompromise)),
        (serial(4), Mark::Revoked(Superseded)),
    ];
    expected.sort_by_key(|(serial, _)| *serial);
    assert_eq!(said(&made), expected);
    assert!(!made.revokes(serial(2)) && made.revokes(serial(4)));
    assert_eq!(
        (made.number(), made.base()),
        (CrlNumber::new(8).unwrap(), Some(base.number()))
    );
    assert_eq!(made.scope(), base.scope());
    assert_eq!((made.this_update(), made.delta_url()), (UnixTime(NOW + 10), None));
    // Others read it so.
    X509Crl::from_der(made.der()).unwrap();
    let theirs = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(made.der()).unwrap();
    let extensions = theirs.tbs_cert_list.crl_extensions.unwrap();
    let indicator = extensions
        .iter()
        .find(|e| e.extn_id == const_oid::db::rfc5280::ID_CE_DELTA_CRL_INDICATOR)
        .unwrap();
    assert!(indicator.critical);
    let number = BaseCrlNumber::from_der(indicator.extn_value.as_bytes()).unwrap();
    assert_eq!(number.0.as_bytes(), [5]);
    // And so do we.
    let read = RawCrl::decode(made.der().to_vec()).unwrap();
    assert_eq!(said(&read.verify(&hierarchy.issuer).unwrap()), expected);
}

/// RFC 5280 §5.2.6: where x509-cert finds it, too, and not critical.
#[test]
fn a_base_says_where_its_deltas_are() {
    use x509_cert::ext::pkix::crl::FreshestCrl;
    let hierarchy = Hierarchy::p256();
    let mut spec = crl_spec(5, CrlScope::Complete, vec![]);
    spec.delta_url = Some(DELTA.into());
    let base = made(&hierarchy, spec);
    let theirs = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(base.der()).unwrap();
    let extensions = theirs.tbs_cert_list.crl_extensions.unwrap();
    let freshest = extensions
        .iter()
        .find(|e| e.extn_id == const_oid::db::rfc5280::ID_CE_FRESHEST_CRL)
        .unwrap();
    assert!(!freshest.critical);
    let points = FreshestCrl::from_der(freshest.extn_value.as_bytes()).unwrap();
    assert_eq!(points.0.len(), 1);
    assert!(format!("{points:?}").contains(DELTA));
}

/// On hold after the base and released before the delta: another CRL in between may have listed it, and whoever holds
/// that must hear of it. What was released long before the base is over.
#[test]
fn a_release_since_the_base_is_said_whether_the_base_lists_it_or_not() {
    let hierarchy = Hierarchy::p256();
    let base = complete(&hierarchy, 1, vec![revoked(1, Superseded)]);
    for (at, told) in [(NOW + 10, true), (NOW, true), (NOW - 3600, true), (NOW - 3601, false)] {
        let mut spec = delta_spec(&base, 2, vec![revoked(1, Superseded)]);
        spec.released = vec![released(2, at)];
        let expected: &[_] = if told { &[(serial(2), Mark::Removed)] } else { &[] };
        assert_eq!(said(&delta(&hierarchy, spec)), expected, "{at}");
    }
    // What the base lists is taken back, whenever that was.
    let base = complete(&hierarchy, 1, vec![revoked(2, CertificateHold)]);
    let mut spec = delta_spec(&base, 2, vec![]);
    spec.released = vec![released(2, NOW - 9000)];
    assert_eq!(said(&delta(&hierarchy, spec)), [(serial(2), Mark::Removed)]);
}

/// Ended meanwhile, hence neither revoked any more nor released: the base goes on saying it.
#[test]
fn what_expired_is_left_to_the_base() {
    let hierarchy = Hierarchy::p256();
    let base = complete(&hierarchy, 1, vec![revoked(1, Superseded)]);
    assert_eq!(said(&delta(&hierarchy, delta_spec(&base, 2, vec![]))), []);
}

#[test]
fn what_makes_no_delta() {
    let hierarchy = Hierarchy::p256();
    let refusal = |spec: DeltaSpec<'_>| CrlDraft::delta(spec, &hierarchy.issuer).unwrap_err();
    let one = complete(&hierarchy, 3, vec![]);
    let spec = || delta_spec(&one, 4, vec![]);
    assert!(CrlDraft::delta(spec(), &hierarchy.issuer).is_ok());
    let early = CrlDraftError::Delta("it is not after its base");
    for number in [2, 3] {
        assert_eq!(refusal(delta_spec(&one, number, vec![])), early, "number {number}");
    }
    for this_update in [NOW - 1, NOW] {
        let mut spec = spec();
        spec.this_update = UnixTime(this_update);
        assert_eq!(refusal(spec), early, "{this_update}");
    }
    let made = delta(&hierarchy, spec());
    assert_eq!(
        refusal(delta_spec(&made, 5, vec![])),
        CrlDraftError::Delta("its base is a delta")
    );
    let foreign = complete(&Hierarchy::p256(), 3, vec![]);
    assert_eq!(
        refusal(delta_spec(&foreign, 4, vec![])),
        CrlDraftError::Delta("its base is another issuer's")
    );
    let mut twice = spec();
    twice.revoked = vec![revoked(1, Superseded)];
    twice.released = vec![released(1, NOW)];
    assert_eq!(refusal(twice), CrlDraftError::Twice(serial(1)));
    // A release of a time to come.
    let mut later = spec();
    later.released = vec![released(1, NOW + 11)];
    let draft = CrlDraft::delta(later, &hierarchy.issuer).unwrap();
    assert!(matches!(draft.lint(), Err(CrlDraftError::Lints(findings)) if findings[0].lint == "crl_entry_dates"));
}
