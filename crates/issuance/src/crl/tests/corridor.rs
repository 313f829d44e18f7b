//! What refuses a draft, and what a key can do wrong.

use std::sync::Arc;

use attest::UnixTime;

use super::*;
use crate::fixture::{DAY, NOW, serial};
use crate::lint::Finding;
use crate::testkey::{Answer, SoftKey};
use crate::{CaKey, Issuer, KeyError, SignFailure, SignatureAlgorithm};
use lint::example::{POINT, three};

fn linted(hierarchy: &Hierarchy) -> LintedCrl {
    let spec = crl_spec(7, CrlScope::Point(POINT.into()), three());
    CrlDraft::new(spec, &hierarchy.issuer).unwrap().lint().unwrap()
}

#[test]
fn what_was_asked_for_is_said() {
    let hierarchy = Hierarchy::p256();
    let mut mixed = three();
    mixed.reverse();
    let crl = made(&hierarchy, crl_spec(7, CrlScope::Point(POINT.into()), mixed));
    assert_eq!(crl.number().get(), 7);
    assert_eq!(crl.base(), None);
    assert_eq!(*crl.scope(), CrlScope::Point(POINT.into()));
    assert_eq!(
        (crl.this_update(), crl.next_update()),
        (UnixTime(NOW), UnixTime(NOW + 7 * DAY))
    );
    assert_eq!(crl.issuer_name(), hierarchy.issuer.name());
    assert_eq!(crl.issuer_key_id(), hierarchy.issuer.key_id());
    assert_eq!(
        crl.entries(),
        three().into_iter().map(CrlEntry::from).collect::<Vec<_>>()
    );
    for entry in three() {
        assert_eq!(crl.find(entry.serial), Some(entry.into()));
        assert!(crl.revokes(entry.serial));
    }
    assert!(!crl.revokes(serial(99)));
}

#[test]
fn what_is_written_down_is_what_is_signed() {
    let hierarchy = Hierarchy::p256();
    let linted = linted(&hierarchy);
    let digest = linted.tbs_sha256();
    assert_eq!(linted.number().get(), 7);
    assert_eq!(*linted.scope(), CrlScope::Point(POINT.into()));
    assert_eq!(hierarchy.key.asked(), 0);
    let crl = linted.sign(&hierarchy.key).unwrap();
    assert_eq!(hierarchy.key.asked(), 1);
    let outer = crate::view::Certificate::parse(crl.der()).unwrap();
    assert_eq!(openssl::sha::sha256(outer.tbs), digest);
}

#[test]
fn corrupt_signers() {
    for algorithm in SignatureAlgorithm::ALL {
        for answer in [
            Answer::FlippedBit,
            Answer::OtherBytes,
            Answer::TrailingOctet,
            Answer::Nothing,
        ] {
            let hierarchy = Hierarchy::new(algorithm).answering(answer);
            let outcome = linted(&hierarchy).sign(&hierarchy.key);
            assert!(matches!(outcome, Err(SignFailure::Corrupt)), "{algorithm:?} {answer:?}");
            assert_eq!(hierarchy.key.asked(), 1, "one signature asked for, never two");
        }
    }
}

#[test]
fn an_absent_signer_is_its_own_error() {
    let hierarchy = Hierarchy::p256().answering(Answer::Unavailable);
    let outcome = linted(&hierarchy).sign(&hierarchy.key);
    assert!(matches!(outcome, Err(SignFailure::Key(KeyError::Unavailable(_)))));
}

#[test]
fn another_key_or_algorithm_is_not_asked() {
    let hierarchy = Hierarchy::new(SignatureAlgorithm::Rsa3072Pkcs1Sha256);
    let other = SoftKey::new(SignatureAlgorithm::Rsa3072Pkcs1Sha256);
    let pss = SoftKey::of(SignatureAlgorithm::Rsa3072PssSha256, hierarchy.key.key.clone());
    for key in [other, pss] {
        let outcome = linted(&hierarchy).sign(&key);
        assert!(matches!(outcome, Err(SignFailure::WrongKey(_))));
        assert_eq!(key.asked(), 0);
    }
}

/// The facts of the issuer with one of them changed.
fn spoilt(issuer: &Issuer, change: impl FnOnce(&mut crate::issuer::IssuerFacts)) -> Issuer {
    let mut issuer = issuer.clone();
    let mut facts = (*issuer.facts).clone();
    change(&mut facts);
    issuer.facts = Arc::new(facts);
    issuer
}

#[test]
fn an_issuer_without_crl_sign() {
    let hierarchy = Hierarchy::p256();
    let issuer = spoilt(&hierarchy.issuer, |facts| facts.crl_sign = false);
    let spec = crl_spec(7, CrlScope::Complete, three());
    assert_eq!(
        CrlDraft::new(spec.clone(), &issuer).unwrap_err(),
        CrlDraftError::NotForCrls
    );
    let one = complete(&hierarchy, 1, vec![]);
    assert_eq!(
        CrlDraft::delta(delta_spec(&one, 7, vec![]), &issuer).unwrap_err(),
        CrlDraftError::NotForCrls
    );
}

#[test]
fn specs_that_are_refused() {
    let hierarchy = Hierarchy::p256();
    let refusal = |spec| CrlDraft::new(spec, &hierarchy.issuer).unwrap_err();
    let scope = CrlScope::Point("https://pki.example.com/1.crl".into());
    assert!(matches!(refusal(crl_spec(7, scope, three())), CrlDraftError::Scope(_)));
    // R11: listed twice, even when both say the same.
    let mut twice = three();
    twice.push(twice[1]);
    let expected = CrlDraftError::Twice(twice[1].serial);
    assert_eq!(refusal(crl_spec(7, CrlScope::Complete, twice)), expected);
    for change in [
        |spec: &mut CrlSpec| spec.this_update = UnixTime(-1),
        |spec: &mut CrlSpec| spec.next_update = UnixTime(253_402_300_800),
        |spec: &mut CrlSpec| spec.revoked[1].at = UnixTime(i64::MIN),
    ] {
        let mut spec = crl_spec(7, CrlScope::Complete, three());
        change(&mut spec);
        assert_eq!(refusal(spec), CrlDraftError::Date);
    }
    let many = vec![three()[0]; MAX_CRL_ENTRIES + 1];
    let expected = CrlDraftError::TooMany(MAX_CRL_ENTRIES + 1);
    assert_eq!(refusal(crl_spec(7, CrlScope::Complete, many)), expected);
}

/// R11: what the lints find stops the corridor.
#[test]
fn an_entry_of_tomorrow_is_not_signed() {
    let hierarchy = Hierarchy::p256();
    let mut spec = crl_spec(7, CrlScope::Complete, three());
    spec.revoked[2].at = UnixTime(NOW + 1);
    let refusal = CrlDraft::new(spec, &hierarchy.issuer).unwrap().lint().unwrap_err();
    let CrlDraftError::Lints(findings) = refusal else {
        panic!("{refusal:?}")
    };
    let names: Vec<_> = findings.iter().map(|Finding { lint, .. }| *lint).collect();
    assert_eq!(names, ["crl_entry_dates"]);
}

#[test]
fn a_root_signs_for_its_issuing_cas() {
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    let root_key = SoftKey::new(algorithm);
    let spec = crate::fixture::spec(policies::ProfileKind::Root, &root_key.spki);
    let root = crate::fixture::walk(crate::Draft::root(spec, &root_key, serial(1)).unwrap(), &root_key);
    let chain = [root.certificate().to_vec()];
    let issuer = Issuer::from_chain(&chain, root_key.algorithm(), crate::IssuerUrls::default()).unwrap();
    let spec = crl_spec(1, CrlScope::Complete, vec![revoked(2, RevocationReason::CaCompromise)]);
    let crl = CrlDraft::new(spec, &issuer)
        .unwrap()
        .lint()
        .unwrap()
        .sign(&root_key)
        .unwrap();
    assert!(crl.revokes(serial(2)));
}
