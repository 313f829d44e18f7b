//! R12: certificates that may not answer for the CA; exactly one thing is wrong with each.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ANY_EXTENDED_KEY_USAGE, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE,
    ID_CE_KEY_USAGE, ID_KP_CLIENT_AUTH, ID_KP_OCSP_SIGNING,
};
use const_oid::db::rfc6960::ID_PKIX_OCSP_NOCHECK;
use policies::ProfileKind;

use super::*;
use crate::encode::{BIT_STRING, INTEGER, SEQUENCE, context_constructed, oid, tlv};
use crate::fixture::{Hierarchy, spec};
use crate::tbs::extension;
use crate::testkey::SoftKey;
use crate::view::Tbs;
use crate::{CaKey, Draft, SignatureAlgorithm};

const P256: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

/// A responder's TBSCertificate with some of its extensions exchanged, correctly signed by the issuer: no lint of ours
/// would let it pass, another CA software might.
fn certificate(hierarchy: &Hierarchy, change: impl Fn(&ObjectIdentifier, &[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let key = SoftKey::new(P256);
    let draft = Draft::below(
        spec(ProfileKind::Ocsp, &key.spki),
        &hierarchy.issuer,
        crate::fixture::serial(7),
    )
    .unwrap();
    let (tbs, ..) = draft.into_parts();
    let tbs = Tbs::parse(&tbs).unwrap();
    let extensions: Vec<u8> = tbs
        .extensions
        .iter()
        .flat_map(|e| match change(&e.oid, e.value) {
            None => extension(&e.oid, e.is_critical(), e.value),
            Some(other) => other,
        })
        .collect();
    sign(hierarchy, &tbs, tbs.serial, &extensions)
}

fn sign(hierarchy: &Hierarchy, tbs: &Tbs<'_>, serial: &[u8], extensions: &[u8]) -> Vec<u8> {
    let tbs = tlv(
        SEQUENCE,
        &[
            b"\xa0\x03\x02\x01\x02",
            &tlv(INTEGER, &[serial]),
            tbs.algorithm,
            tbs.issuer,
            &tlv(SEQUENCE, &[tbs.not_before.raw, tbs.not_after.raw]),
            tbs.subject,
            tbs.spki,
            &tlv(context_constructed(3), &[&tlv(SEQUENCE, &[extensions])]),
        ],
    );
    let bits = tlv(BIT_STRING, &[&[0], &hierarchy.key.raw_sign(&tbs)]);
    tlv(SEQUENCE, &[&tbs, hierarchy.key.algorithm().identifier(), &bits])
}

fn refusal(der: &[u8], hierarchy: &Hierarchy) -> ResponderError {
    Responder::new(der, P256, &hierarchy.issuer).unwrap_err()
}

fn usages(usages: &[ObjectIdentifier]) -> Vec<u8> {
    let list = tlv(SEQUENCE, &[&usages.iter().flat_map(oid).collect::<Vec<u8>>()]);
    extension(&ID_CE_EXT_KEY_USAGE, false, &list)
}

#[test]
fn a_good_one() {
    let hierarchy = Hierarchy::p256();
    let der = certificate(&hierarchy, |_, _| None);
    let responder = Responder::new(&der, P256, &hierarchy.issuer).unwrap();
    assert_eq!(responder.certificate(), der);
    assert_eq!(responder.serial(), crate::fixture::serial(7));
    assert_eq!(*responder.issuer(), IssuerHashes::of(&hierarchy.issuer));
}

#[test]
fn usages_that_are_not_for_ocsp() {
    let hierarchy = Hierarchy::p256();
    for instead in [
        usages(&[ID_KP_CLIENT_AUTH]),
        usages(&[ID_KP_OCSP_SIGNING, ID_KP_CLIENT_AUTH]),
        usages(&[ANY_EXTENDED_KEY_USAGE]),
        usages(&[]),
        Vec::new(),
    ] {
        let der = certificate(&hierarchy, |oid, _| {
            (*oid == ID_CE_EXT_KEY_USAGE).then(|| instead.clone())
        });
        assert_eq!(refusal(&der, &hierarchy), ResponderError::NotForOcsp);
    }
}

#[test]
fn without_no_check() {
    let hierarchy = Hierarchy::p256();
    for instead in [Vec::new(), extension(&ID_PKIX_OCSP_NOCHECK, false, &[4, 0])] {
        let der = certificate(&hierarchy, |oid, _| {
            (*oid == ID_PKIX_OCSP_NOCHECK).then(|| instead.clone())
        });
        assert_eq!(refusal(&der, &hierarchy), ResponderError::NoCheck);
    }
}

#[test]
fn other_key_usages_and_cas() {
    let hierarchy = Hierarchy::p256();
    for value in [&b"\x03\x02\x01\x06"[..], b"\x03\x02\x06\xc0", b"\x03\x01\x00"] {
        let instead = extension(&ID_CE_KEY_USAGE, true, value);
        let der = certificate(&hierarchy, |oid, _| (*oid == ID_CE_KEY_USAGE).then(|| instead.clone()));
        assert_eq!(refusal(&der, &hierarchy), ResponderError::KeyUsage);
    }
    let der = certificate(&hierarchy, |oid, _| (*oid == ID_CE_KEY_USAGE).then(Vec::new));
    assert_eq!(refusal(&der, &hierarchy), ResponderError::KeyUsage);
    let more = extension(&ID_CE_BASIC_CONSTRAINTS, true, b"\x30\x03\x01\x01\xff");
    let der = certificate(&hierarchy, |oid, value| {
        (*oid == ID_PKIX_OCSP_NOCHECK).then(|| [extension(oid, false, value), more.clone()].concat())
    });
    assert_eq!(refusal(&der, &hierarchy), ResponderError::Ca);
}

/// Another CA's: of the same name with another key, of the root, and one that only claims the key identifier.
#[test]
fn of_another_ca() {
    let (one, two) = (Hierarchy::p256(), Hierarchy::p256());
    let der = certificate(&two, |_, _| None);
    assert_eq!(
        refusal(&der, &one),
        ResponderError::AnotherIssuer("authority key identifier")
    );
    let claimed = extension(
        &ID_CE_AUTHORITY_KEY_IDENTIFIER,
        false,
        &tlv(SEQUENCE, &[&tlv(0x80, &[one.issuer.key_id()])]),
    );
    let der = certificate(&two, |oid, _| {
        (*oid == ID_CE_AUTHORITY_KEY_IDENTIFIER).then(|| claimed.clone())
    });
    assert_eq!(refusal(&der, &one), ResponderError::Signature);
    let outcome = Responder::new(&certificate(&one, |_, _| None), P256, &one.root);
    assert_eq!(outcome.unwrap_err(), ResponderError::AnotherIssuer("issuer name"));
    let other = Hierarchy::new(SignatureAlgorithm::EcdsaP384Sha384);
    let claimed = extension(
        &ID_CE_AUTHORITY_KEY_IDENTIFIER,
        false,
        &tlv(SEQUENCE, &[&tlv(0x80, &[one.issuer.key_id()])]),
    );
    let der = certificate(&other, |oid, _| {
        (*oid == ID_CE_AUTHORITY_KEY_IDENTIFIER).then(|| claimed.clone())
    });
    assert_eq!(
        refusal(&der, &one),
        ResponderError::AnotherIssuer("signature algorithm")
    );
    // One octet of a good one.
    let good = certificate(&one, |_, _| None);
    for at in 0..good.len() {
        let mut spoilt = good.clone();
        spoilt[at] ^= 1;
        assert!(Responder::new(&spoilt, P256, &one.issuer).is_err(), "octet {at}");
    }
}

#[test]
fn keys_that_do_not_go_with_it() {
    let hierarchy = Hierarchy::p256();
    let der = certificate(&hierarchy, |_, _| None);
    for algorithm in SignatureAlgorithm::ALL.into_iter().filter(|a| *a != P256) {
        let outcome = Responder::new(&der, algorithm, &hierarchy.issuer);
        assert_eq!(outcome.unwrap_err(), ResponderError::Algorithm(algorithm.as_str()));
    }
    // The issuer's own key: the corridor drafts no such thing, so it is put together by hand.
    let draft = Draft::below(
        spec(ProfileKind::Ocsp, &SoftKey::new(P256).spki),
        &hierarchy.issuer,
        crate::fixture::serial(7),
    );
    let (tbs, ..) = draft.unwrap().into_parts();
    let tbs = Tbs::parse(&tbs).unwrap();
    let own = Tbs {
        spki: hierarchy.issuer.spki(),
        ..tbs.clone()
    };
    let extensions: Vec<u8> = tbs
        .extensions
        .iter()
        .flat_map(|e| extension(&e.oid, e.is_critical(), e.value))
        .collect();
    let der = sign(&hierarchy, &own, tbs.serial, &extensions);
    assert_eq!(refusal(&der, &hierarchy), ResponderError::IssuerKey);
    let der = sign(&hierarchy, &tbs, &[0x40; 15], &extensions);
    assert_eq!(
        refusal(&der, &hierarchy),
        ResponderError::Malformed("a serial this CA does not draw")
    );
}

/// Only with its key in hand is a responder drafted, and only under its profile.
#[test]
fn drafting_one() {
    use crate::testkey::Answer;
    use crate::{DraftError, GrantKind};
    use attest::UnixTime;
    use policies::{Profiles, delegate};

    let hierarchy = Hierarchy::p256();
    let profiles = Profiles::builtin().unwrap();
    let now = UnixTime(crate::fixture::NOW + 3600);
    let key = SoftKey::new(P256);
    let grant = || delegate(&profiles, &key.spki, now).unwrap();
    let serial = crate::fixture::serial(8);
    let draft = Draft::responder(grant(), &key, &hierarchy.issuer, serial).unwrap();
    let issued = crate::fixture::walk(draft, &hierarchy.key);
    let responder = Responder::new(issued.certificate(), P256, &hierarchy.issuer).unwrap();
    assert_eq!(responder.not_before(), UnixTime(now.0 - 300));

    let outcome = Draft::new(grant(), &hierarchy.issuer, serial);
    assert_eq!(outcome.unwrap_err(), DraftError::WrongGrant(GrantKind::Responder));
    let outcome = Draft::responder(grant(), &SoftKey::new(P256), &hierarchy.issuer, serial);
    assert!(matches!(outcome, Err(DraftError::Key(_))), "another key");
    // A key that does not sign is not there.
    let mute = SoftKey::of(P256, key.key.clone()).answering(Answer::FlippedBit);
    let outcome = Draft::responder(grant(), &mute, &hierarchy.issuer, serial);
    assert!(matches!(outcome, Err(DraftError::Key(_))), "a key that does not sign");
    let own = delegate(&profiles, hierarchy.issuer.spki(), now).unwrap();
    let outcome = Draft::responder(own, &hierarchy.key, &hierarchy.issuer, serial);
    assert_eq!(outcome.unwrap_err(), DraftError::IssuerKey);
}
