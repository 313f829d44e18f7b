//! Delta CRLs, made of complete ones.

use der::Decode;
use openssl::x509::X509Crl;
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::crl::BaseCrlNumber;

use super::*;
use crate::fixture::serial;
use lint::example::POINT;

use RevocationReason::{CertificateHold, KeyCompromise, Superseded};

fn delta(hierarchy: &Hierarchy, published: &[&Crl]) -> Crl {
    let draft = CrlDraft::delta(published, &hierarchy.issuer).unwrap();
    draft.lint().unwrap().sign(&hierarchy.key).unwrap()
}

fn said(crl: &Crl) -> Vec<(crate::Serial, Mark)> {
    crl.entries().iter().map(|e| (e.serial, e.mark)).collect()
}

#[test]
fn new_changed_and_gone() {
    let hierarchy = Hierarchy::p256();
    let of = |number, revoked| made(&hierarchy, crl_spec(number, CrlScope::Point(POINT.into()), revoked));
    let base = of(
        5,
        vec![
            revoked(1, Superseded),
            revoked(2, CertificateHold),
            revoked(3, CertificateHold),
        ],
    );
    let last = of(
        8,
        vec![
            revoked(1, Superseded),
            revoked(3, KeyCompromise),
            revoked(4, Superseded),
        ],
    );
    let made = delta(&hierarchy, &[&base, &last]);
    let mut expected = vec![
        (serial(2), Mark::Removed),
        (serial(3), Mark::Revoked(KeyCompromise)),
        (serial(4), Mark::Revoked(Superseded)),
    ];
    expected.sort_by_key(|(serial, _)| *serial);
    assert_eq!(said(&made), expected);
    assert!(!made.revokes(serial(2)) && made.revokes(serial(4)));
    assert_eq!((made.number(), made.base()), (last.number(), Some(base.number())));
    assert_eq!(made.scope(), last.scope());
    assert_eq!(made.this_update(), last.this_update());
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

/// On hold after the base and released before the end: whoever holds an older delta must hear it.
#[test]
fn a_hold_between_base_and_end_is_taken_back() {
    let hierarchy = Hierarchy::p256();
    let base = complete(&hierarchy, 1, vec![revoked(1, Superseded)]);
    let held = complete(&hierarchy, 2, vec![revoked(1, Superseded), revoked(2, CertificateHold)]);
    let last = complete(&hierarchy, 3, vec![revoked(1, Superseded)]);
    assert_eq!(
        said(&delta(&hierarchy, &[&base, &held, &last])),
        [(serial(2), Mark::Removed)]
    );
    assert_eq!(said(&delta(&hierarchy, &[&base, &last])), []);
}

/// Gone and there again: it differs from one of those in between.
#[test]
fn an_entry_that_came_back_is_said_again() {
    let hierarchy = Hierarchy::p256();
    let with = |number| complete(&hierarchy, number, vec![revoked(1, CertificateHold)]);
    let without = complete(&hierarchy, 2, vec![]);
    let made = delta(&hierarchy, &[&with(1), &without, &with(3)]);
    assert_eq!(said(&made), [(serial(1), Mark::Revoked(CertificateHold))]);
}

#[test]
fn what_makes_no_delta() {
    let hierarchy = Hierarchy::p256();
    let refusal = |published: &[&Crl]| CrlDraft::delta(published, &hierarchy.issuer).unwrap_err();
    let (one, two) = (complete(&hierarchy, 1, vec![]), complete(&hierarchy, 2, vec![]));
    assert!(CrlDraft::delta(&[&one, &two], &hierarchy.issuer).is_ok());
    let few = CrlDraftError::Delta("a base and a later CRL are needed");
    assert_eq!(refusal(&[]), few);
    assert_eq!(refusal(&[&one]), few);
    let order = CrlDraftError::Delta("their numbers do not grow");
    assert_eq!(refusal(&[&two, &one]), order);
    assert_eq!(refusal(&[&one, &one]), order);
    let sharded = made(&hierarchy, crl_spec(2, CrlScope::Point(POINT.into()), vec![]));
    assert_eq!(
        refusal(&[&one, &sharded]),
        CrlDraftError::Delta("they are of several scopes")
    );
    let made = delta(&hierarchy, &[&one, &two]);
    assert_eq!(refusal(&[&one, &made]), CrlDraftError::Delta("one of them is a delta"));
    let foreign = complete(&Hierarchy::p256(), 2, vec![]);
    assert_eq!(
        refusal(&[&one, &foreign]),
        CrlDraftError::Delta("one is another issuer's")
    );
}
