//! What refuses a draft, and what a key can do wrong.

use attest::UnixTime;
use wire::revocation::RevocationReason;

use super::*;
use crate::fixture::{DAY, NOW, serial};
use crate::lint::Finding;
use crate::testkey::{Answer, SoftKey};
use crate::{CaKey, KeyError, SignFailure, SignatureAlgorithm};
use lint::example::HOURS_12;

fn linted(house: &House) -> LintedOcsp {
    let draft = OcspDraft::new(ocsp_spec(vec![good(1)]), &house.responder).unwrap();
    draft.lint().unwrap()
}

#[test]
fn what_was_asked_for_is_said() {
    let house = House::p256();
    let mut spec = ocsp_spec(vec![good(1), revoked(2, RevocationReason::KeyCompromise)]);
    spec.nonce = Nonce::new(&[9; 20]);
    let response = made(&house, spec.clone());
    assert_eq!(response.answers(), spec.answers);
    assert_eq!(response.nonce(), spec.nonce.as_ref());
    assert_eq!(
        (response.produced_at(), response.this_update(), response.next_update()),
        (UnixTime(NOW), UnixTime(NOW), UnixTime(NOW + HOURS_12))
    );
    assert_eq!(response.status(serial(1)), Some(CertStatus::Good));
    let since = UnixTime(NOW - DAY);
    let reason = RevocationReason::KeyCompromise;
    assert_eq!(response.status(serial(2)), Some(CertStatus::Revoked { since, reason }));
    assert_eq!(response.status(serial(3)), None);
    assert_eq!(house.key.asked(), 1);
    // Whoever has the issuer reads the same.
    let read = RawOcspResponse::decode(response.der().to_vec()).unwrap();
    let read = read.verify(&house.hierarchy.issuer).unwrap();
    assert_eq!(read.answers(), response.answers());
}

#[test]
fn corrupt_signers() {
    for answer in [
        Answer::FlippedBit,
        Answer::OtherBytes,
        Answer::TrailingOctet,
        Answer::Nothing,
    ] {
        let mut house = House::p256();
        house.key = house.key.answering(answer);
        let outcome = linted(&house).sign(&house.key);
        assert!(matches!(outcome, Err(SignFailure::Corrupt)), "{answer:?}: {outcome:?}");
        assert_eq!(house.key.asked(), 1, "one signature asked for, never two");
    }
}

#[test]
fn an_absent_signer_is_its_own_error() {
    let mut house = House::p256();
    house.key = house.key.answering(Answer::Unavailable);
    let outcome = linted(&house).sign(&house.key);
    assert!(matches!(outcome, Err(SignFailure::Key(KeyError::Unavailable(_)))));
}

#[test]
fn another_key_or_algorithm_is_not_asked() {
    let algorithm = SignatureAlgorithm::Rsa3072Pkcs1Sha256;
    let house = House::with(crate::fixture::Hierarchy::p256(), SoftKey::new(algorithm));
    let other = SoftKey::numbered(algorithm, 1);
    let pss = SoftKey::of(SignatureAlgorithm::Rsa3072PssSha256, house.key.key.clone());
    for key in [other, pss] {
        let outcome = linted(&house).sign(&key);
        assert!(matches!(outcome, Err(SignFailure::WrongKey(_))));
        assert_eq!(key.asked(), 0);
    }
    assert_eq!(house.key.algorithm(), algorithm);
    linted(&house).sign(&house.key).unwrap();
}

#[test]
fn specs_that_are_refused() {
    let house = House::p256();
    let refusal = |spec| OcspDraft::new(spec, &house.responder).unwrap_err();
    assert_eq!(refusal(ocsp_spec(vec![])), OcspDraftError::Answers(0));
    let nine = (1..=9).map(good).collect();
    assert_eq!(refusal(ocsp_spec(nine)), OcspDraftError::Answers(9));
    for (this, next) in [(-1, NOW), (NOW, 253_402_300_800)] {
        let mut spec = ocsp_spec(vec![good(1)]);
        (spec.this_update, spec.next_update) = (UnixTime(this), UnixTime(next));
        assert_eq!(refusal(spec), OcspDraftError::Date);
    }
}

/// What the lints find stops the corridor.
#[test]
fn an_answer_that_outlives_its_responder_is_not_signed() {
    let house = House::p256();
    let mut spec = ocsp_spec(vec![good(1)]);
    spec.next_update = UnixTime(house.responder.not_after().0 + 1);
    let refusal = OcspDraft::new(spec, &house.responder).unwrap().lint().unwrap_err();
    let OcspDraftError::Lints(findings) = refusal else {
        panic!("{refusal:?}")
    };
    let names: Vec<_> = findings.iter().map(|Finding { lint, .. }| *lint).collect();
    assert_eq!(names, ["ocsp_inside_responder"]);
}

#[test]
fn every_algorithm_of_ca_and_responder() {
    for ca in SignatureAlgorithm::ALL {
        for own in SignatureAlgorithm::ALL {
            // An RSA key of the hierarchy would be the issuer's or the root's own: take those of other numbers.
            let key = match own {
                SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::EcdsaP384Sha384 => SoftKey::new(own),
                _ => SoftKey::numbered(own, 0),
            };
            let house = House::with(crate::fixture::Hierarchy::new(ca), key);
            let response = made(&house, ocsp_spec(vec![revoked(1, RevocationReason::Superseded)]));
            assert!(response.der().len() < MAX_RESPONSE_BYTES / 2, "{ca:?} {own:?}");
            let read = RawOcspResponse::decode(response.der().to_vec()).unwrap();
            read.verify(&house.hierarchy.issuer).unwrap();
        }
    }
}

#[test]
fn refusals_are_the_five_octets_of_the_rfc() {
    let codes = OcspRefusal::ALL.map(|refusal| (refusal.der().to_vec(), refusal.as_str()));
    let expected = [
        (1, "malformedRequest"),
        (2, "internalError"),
        (3, "tryLater"),
        (6, "unauthorized"),
    ];
    assert_eq!(codes, expected.map(|(code, name)| (vec![0x30, 3, 0x0a, 1, code], name)));
    for refusal in OcspRefusal::ALL {
        let read = RawOcspResponse::decode(refusal.der().to_vec());
        assert_eq!(read.unwrap_err(), OcspError::Refused(refusal));
    }
}
