use std::path::Path;
use std::process::Command;

use attest::UnixTime;
use der::{Decode, Encode};
use policies::{ProfileKind, Validity};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::EndEntityCert;

use super::recorded::check;
use super::{Draft, DraftError, SignFailure, issue, record};
use crate::fixture::{Hierarchy, KINDS, Memory, NOW, leaf_spki, order, serial, spec, walk};
use crate::testkey::{Answer, SoftKey};
use crate::view::{Certificate, Tbs};
use crate::{CaKey, Issued, IssuerUrls, KeyError, RecordError, SignatureAlgorithm, probe};

const LEAVES: [ProfileKind; 5] = [
    ProfileKind::DeviceIak,
    ProfileKind::DeviceIdevid,
    ProfileKind::DeviceLdevid,
    ProfileKind::Service,
    ProfileKind::ServerTls,
];

fn leaf(hierarchy: &Hierarchy, kind: ProfileKind) -> Issued {
    let draft = Draft::below(spec(kind, &leaf_spki()), &hierarchy.issuer, serial(9)).unwrap();
    walk(draft, &hierarchy.key)
}

fn pem(path: &Path, certificates: &[&[u8]]) {
    let text: Vec<u8> = certificates
        .iter()
        .flat_map(|c| openssl::x509::X509::from_der(c).unwrap().to_pem().unwrap())
        .collect();
    std::fs::write(path, text).unwrap();
}

fn openssl_verify(hierarchy: &Hierarchy, leaf: &[u8]) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let chain = hierarchy.issuer.chain();
    pem(&file("root.pem"), &[&chain[1]]);
    pem(&file("issuing.pem"), &[&chain[0]]);
    pem(&file("leaf.pem"), &[leaf]);
    let out = Command::new("openssl")
        .args([
            "verify",
            "-x509_strict",
            "-policy_check",
            "-attime",
            &(NOW + 60).to_string(),
        ])
        .arg("-CAfile")
        .arg(file("root.pem"))
        .arg("-untrusted")
        .arg(file("issuing.pem"))
        .arg(file("leaf.pem"))
        .output()
        .unwrap();
    if out.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&out.stderr).into_owned())
    }
}

fn webpki_verify(hierarchy: &Hierarchy, leaf: &[u8], usage: webpki::KeyUsage) -> Result<(), webpki::Error> {
    let chain = hierarchy.issuer.chain();
    let root = CertificateDer::from(chain[1].as_slice());
    let anchor = webpki::anchor_from_trusted_cert(&root).unwrap();
    let der = CertificateDer::from(leaf);
    let end = EndEntityCert::try_from(&der)?;
    let time = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs((NOW + 60).unsigned_abs()));
    let all: &[&dyn SignatureVerificationAlgorithm] = webpki::ALL_VERIFICATION_ALGS;
    end.verify_for_usage(
        all,
        &[anchor],
        &[CertificateDer::from(chain[0].as_slice())],
        time,
        usage,
        None,
        None,
    )
    .map(|_| ())
}

#[test]
fn every_algorithm_and_kind_satisfies_openssl_and_webpki() {
    for algorithm in SignatureAlgorithm::ALL {
        let hierarchy = Hierarchy::new(algorithm);
        for kind in LEAVES {
            let issued = leaf(&hierarchy, kind);
            openssl_verify(&hierarchy, issued.certificate()).unwrap_or_else(|e| panic!("{algorithm:?} {kind:?}: {e}"));
            let usages = match kind {
                ProfileKind::ServerTls => vec![webpki::KeyUsage::server_auth()],
                ProfileKind::DeviceLdevid => vec![webpki::KeyUsage::client_auth()],
                _ => vec![webpki::KeyUsage::server_auth(), webpki::KeyUsage::client_auth()],
            };
            for usage in usages {
                webpki_verify(&hierarchy, issued.certificate(), usage)
                    .unwrap_or_else(|e| panic!("{algorithm:?} {kind:?}: {e}"));
            }
        }
    }
}

#[test]
fn what_others_refuse_shows_the_oracles_work() {
    let hierarchy = Hierarchy::p256();
    let other = Hierarchy::p256();
    let issued = leaf(&other, ProfileKind::Service);
    assert!(openssl_verify(&hierarchy, issued.certificate()).is_err());
    assert!(webpki_verify(&hierarchy, issued.certificate(), webpki::KeyUsage::server_auth()).is_err());
}

#[test]
fn what_is_read_back_is_what_x509_cert_would_write() {
    let hierarchy = Hierarchy::p256();
    for kind in LEAVES {
        let issued = leaf(&hierarchy, kind);
        let parsed = x509_cert::Certificate::from_der(issued.certificate()).unwrap();
        assert_eq!(parsed.to_der().unwrap(), issued.certificate(), "{kind:?}");
    }
    for der in hierarchy.issuer.chain() {
        assert_eq!(x509_cert::Certificate::from_der(der).unwrap().to_der().unwrap(), *der);
    }
}

#[test]
fn issuer_name_is_the_subject_of_the_issuer_byte_for_byte() {
    let hierarchy = Hierarchy::p256();
    let issued = leaf(&hierarchy, ProfileKind::Service);
    let tbs = Tbs::parse(Certificate::parse(issued.certificate()).unwrap().tbs).unwrap();
    let issuing = Tbs::parse(Certificate::parse(&hierarchy.issuer.chain()[0]).unwrap().tbs).unwrap();
    assert_eq!(tbs.issuer, issuing.subject);
    assert_eq!(hierarchy.issuer.name(), issuing.subject);
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
            let draft = Draft::below(spec(ProfileKind::Service, &leaf_spki()), &hierarchy.issuer, serial(9)).unwrap();
            let recorded = record(vec![draft.lint().unwrap()], &order(), &Memory::default()).unwrap();
            let outcome = recorded.into_iter().next().unwrap().sign(&hierarchy.key);
            assert!(
                matches!(outcome, Err(SignFailure::Corrupt)),
                "{algorithm:?} {answer:?}: {outcome:?}"
            );
            assert_eq!(hierarchy.key.asked(), 1, "one signature asked for, never two");
        }
    }
}

#[test]
fn a_certificate_with_other_bytes_than_recorded() {
    let hierarchy = Hierarchy::p256();
    let facts = &hierarchy.issuer.facts;
    let one = leaf(&hierarchy, ProfileKind::Service);
    let other = leaf(&hierarchy, ProfileKind::Service);
    let tbs = |i: &Issued| Certificate::parse(i.certificate()).unwrap().tbs.to_vec();
    assert!(check(one.certificate(), &tbs(&one), facts).is_ok());
    // Correctly signed, but not what was recorded.
    assert!(matches!(
        check(other.certificate(), &tbs(&one), facts),
        Err(SignFailure::BytesDiffer)
    ));
    assert!(matches!(
        check(&one.certificate()[1..], &tbs(&one), facts),
        Err(SignFailure::BytesDiffer)
    ));
}

#[test]
fn an_outer_algorithm_other_than_the_inner() {
    use crate::encode::{BIT_STRING, SEQUENCE, tlv};
    let hierarchy = Hierarchy::p256();
    let one = leaf(&hierarchy, ProfileKind::Service);
    let read = Certificate::parse(one.certificate()).unwrap();
    let bits = tlv(BIT_STRING, &[&[0], read.signature]);
    let outer = SignatureAlgorithm::EcdsaP384Sha384.identifier();
    let forged = tlv(SEQUENCE, &[read.tbs, outer, &bits]);
    assert!(matches!(
        check(&forged, read.tbs, &hierarchy.issuer.facts),
        Err(SignFailure::BytesDiffer)
    ));
}

#[test]
fn a_recorder_that_refuses_keeps_the_key_silent() {
    let hierarchy = Hierarchy::p256();
    for refusal in [RecordError::ChallengeUsed, RecordError::Unknown("commit lost".into())] {
        let draft = Draft::below(spec(ProfileKind::Service, &leaf_spki()), &hierarchy.issuer, serial(9)).unwrap();
        let memory = Memory {
            refuse_intents: Some(refusal.clone()),
            ..Memory::default()
        };
        let outcome = record(vec![draft.lint().unwrap()], &order(), &memory).map(|r| r.len());
        assert_eq!(outcome, Err(refusal));
        assert_eq!(hierarchy.key.asked(), 0);
    }
}

#[test]
fn a_closed_intent_is_not_issued() {
    let hierarchy = Hierarchy::p256();
    let draft = Draft::below(spec(ProfileKind::Service, &leaf_spki()), &hierarchy.issuer, serial(9)).unwrap();
    let memory = Memory {
        refuse_issued: Some(RecordError::IntentClosed),
        ..Memory::default()
    };
    let recorded = record(vec![draft.lint().unwrap()], &order(), &memory).unwrap();
    let signed = recorded.into_iter().map(|r| r.sign(&hierarchy.key).unwrap()).collect();
    assert_eq!(
        issue(signed, &[7; 16], &memory).map(|i| i.len()),
        Err(RecordError::IntentClosed)
    );
}

#[test]
fn what_is_recorded_is_what_is_signed() {
    let hierarchy = Hierarchy::p256();
    let memory = Memory::default();
    let linted = [(ProfileKind::DeviceIak, 3), (ProfileKind::DeviceIdevid, 4)].map(|(kind, n)| {
        Draft::below(spec(kind, &leaf_spki()), &hierarchy.issuer, serial(n))
            .unwrap()
            .lint()
            .unwrap()
    });
    let recorded = record(linted.into(), &order(), &memory).unwrap();
    assert_eq!(hierarchy.key.asked(), 0, "recorded before the key is asked");
    let signed = recorded.into_iter().map(|r| r.sign(&hierarchy.key).unwrap()).collect();
    let issued = issue(signed, &[7; 16], &memory).unwrap();
    let intents = memory.intents.lock().unwrap();
    let records = memory.issued.lock().unwrap();
    assert_eq!(issued.len(), 2);
    for ((issued, intent), record) in issued.iter().zip(intents.iter()).zip(records.iter()) {
        let read = Certificate::parse(issued.certificate()).unwrap();
        assert_eq!(read.tbs, intent.tbs);
        assert_eq!(record.certificate, issued.certificate());
        assert_eq!((record.serial, issued.serial()), (intent.serial, intent.serial));
        assert_eq!(record.issuer_key_id, hierarchy.issuer.key_id());
        assert_eq!(intent.issuer_key_id, hierarchy.issuer.key_id());
        let tbs = Tbs::parse(read.tbs).unwrap();
        assert_eq!(tbs.serial, intent.serial.octets());
        assert_eq!(openssl::sha::sha256(tbs.spki), intent.spki_sha256);
        assert_eq!(issued.key_role(), intent.key_role);
    }
}

#[test]
fn another_key_than_the_issuers_is_not_asked() {
    let hierarchy = Hierarchy::p256();
    let other = SoftKey::new(SignatureAlgorithm::EcdsaP256Sha256);
    let draft = Draft::below(spec(ProfileKind::Service, &leaf_spki()), &hierarchy.issuer, serial(9)).unwrap();
    let recorded = record(vec![draft.lint().unwrap()], &order(), &Memory::default()).unwrap();
    let outcome = recorded.into_iter().next().unwrap().sign(&other);
    assert!(matches!(outcome, Err(SignFailure::WrongKey(_))));
    assert_eq!(other.asked(), 0);
}

#[test]
fn another_algorithm_than_the_issuers_is_not_asked() {
    let hierarchy = Hierarchy::new(SignatureAlgorithm::Rsa3072Pkcs1Sha256);
    let other = SoftKey::of(SignatureAlgorithm::Rsa3072PssSha256, hierarchy.key.key.clone());
    let draft = Draft::below(spec(ProfileKind::Service, &leaf_spki()), &hierarchy.issuer, serial(9)).unwrap();
    let recorded = record(vec![draft.lint().unwrap()], &order(), &Memory::default()).unwrap();
    let outcome = recorded.into_iter().next().unwrap().sign(&other);
    assert!(matches!(outcome, Err(SignFailure::WrongKey(_))));
    assert_eq!(other.asked(), 0);
}

#[test]
fn an_absent_signer_is_its_own_error() {
    let hierarchy = Hierarchy::p256().answering(Answer::Unavailable);
    let draft = Draft::below(spec(ProfileKind::Service, &leaf_spki()), &hierarchy.issuer, serial(9)).unwrap();
    let recorded = record(vec![draft.lint().unwrap()], &order(), &Memory::default()).unwrap();
    let outcome = recorded.into_iter().next().unwrap().sign(&hierarchy.key);
    assert!(matches!(outcome, Err(SignFailure::Key(KeyError::Unavailable(_)))));
}

#[test]
fn the_issuers_own_key_is_not_certified() {
    let hierarchy = Hierarchy::p256();
    for kind in LEAVES {
        let own = spec(kind, hierarchy.issuer.spki());
        assert_eq!(
            Draft::below(own, &hierarchy.issuer, serial(9)).err(),
            Some(DraftError::IssuerKey)
        );
    }
}

#[test]
fn nothing_outlives_its_issuer_by_a_second_but_initial_identities() {
    let hierarchy = Hierarchy::p256();
    let (first, last) = (hierarchy.issuer.not_before(), hierarchy.issuer.not_after());
    for kind in KINDS.into_iter().filter(|k| *k != ProfileKind::Root) {
        let exempt = matches!(kind, ProfileKind::DeviceIak | ProfileKind::DeviceIdevid);
        let draft = |not_before, not_after| {
            let mut spec = spec(kind, &leaf_spki());
            spec.validity = Validity { not_before, not_after };
            Draft::below(spec, &hierarchy.issuer, serial(9)).err()
        };
        let refusal = (!exempt).then_some(DraftError::OutlivesIssuer);
        assert_eq!(draft(first, last), None, "{kind:?}");
        assert_eq!(draft(first, UnixTime(last.0 + 1)), refusal, "{kind:?}");
        assert_eq!(draft(UnixTime(first.0 - 1), last), refusal, "{kind:?}");
        // Born in its last second at the latest.
        assert_eq!(draft(last, UnixTime(last.0 + 1)), refusal, "{kind:?}");
        let beyond = draft(UnixTime(last.0 + 1), UnixTime(last.0 + 1));
        assert_eq!(beyond, Some(DraftError::OutlivesIssuer), "{kind:?}");
    }
}

#[test]
fn validity_is_exact_to_the_second() {
    let hierarchy = Hierarchy::p256();
    let issued = leaf(&hierarchy, ProfileKind::Service);
    let x509 = openssl::x509::X509::from_der(issued.certificate()).unwrap();
    let diff = x509.not_before().diff(x509.not_after()).unwrap();
    // Both ends are inside: seven days are 604 800 seconds, first to last 604 799 apart.
    assert_eq!((diff.days, diff.secs), (6, 86_399));
    let start = openssl::asn1::Asn1Time::from_unix(NOW).unwrap();
    assert!(x509.not_before() == start);
}

#[test]
fn dates_and_characters_der_cannot_say() {
    let hierarchy = Hierarchy::p256();
    let mut early = spec(ProfileKind::DeviceIak, &leaf_spki());
    early.validity.not_before = UnixTime(-1);
    assert!(matches!(
        Draft::below(early, &hierarchy.issuer, serial(9)),
        Err(DraftError::Encoding(_))
    ));
    let mut late = spec(ProfileKind::DeviceIak, &leaf_spki());
    late.validity.not_after = UnixTime(i64::MAX);
    assert!(matches!(
        Draft::below(late, &hierarchy.issuer, serial(9)),
        Err(DraftError::Encoding(_))
    ));
    let mut name = spec(ProfileKind::DeviceIak, &leaf_spki());
    name.subject.0[1].value = "pump_17".into();
    assert!(matches!(
        Draft::below(name, &hierarchy.issuer, serial(9)),
        Err(DraftError::Encoding(_))
    ));
}

#[test]
fn a_root_is_signed_by_the_granted_key_only() {
    let key = SoftKey::new(SignatureAlgorithm::EcdsaP256Sha256);
    let other = SoftKey::new(SignatureAlgorithm::EcdsaP256Sha256);
    let outcome = Draft::root(spec(ProfileKind::Root, &key.spki), &other, serial(1));
    assert!(matches!(outcome, Err(DraftError::Key(_))));
}

#[test]
fn probes() {
    for algorithm in SignatureAlgorithm::ALL {
        let key = SoftKey::new(algorithm);
        probe(&key).unwrap();
        assert_eq!(key.asked(), 1);
        for answer in [
            Answer::FlippedBit,
            Answer::OtherBytes,
            Answer::TrailingOctet,
            Answer::Nothing,
        ] {
            let outcome = probe(&SoftKey::new(algorithm).answering(answer));
            assert!(matches!(outcome, Err(SignFailure::Corrupt)), "{algorithm:?} {answer:?}");
        }
        let outcome = probe(&SoftKey::new(algorithm).answering(Answer::Unavailable));
        assert!(matches!(outcome, Err(SignFailure::Key(KeyError::Unavailable(_)))));
    }
    let liar = SoftKey::of(
        SignatureAlgorithm::EcdsaP384Sha384,
        SoftKey::new(SignatureAlgorithm::EcdsaP256Sha256).key,
    );
    assert!(matches!(probe(&liar), Err(SignFailure::WrongKey(_))));
    assert_eq!(liar.asked(), 0);
}

#[test]
fn a_certificate_without_urls_has_neither_extension() {
    use const_oid::db::rfc5280::{ID_CE_CRL_DISTRIBUTION_POINTS, ID_PE_AUTHORITY_INFO_ACCESS};
    let hierarchy = Hierarchy::p256();
    let bare = crate::Issuer::from_chain(
        hierarchy.issuer.chain(),
        hierarchy.key.algorithm(),
        IssuerUrls::default(),
    )
    .unwrap();
    let spec = spec(ProfileKind::Service, &leaf_spki());
    let issued = walk(Draft::below(spec, &bare, serial(9)).unwrap(), &hierarchy.key);
    let tbs = Tbs::parse(Certificate::parse(issued.certificate()).unwrap().tbs).unwrap();
    assert!(tbs.extension(&ID_CE_CRL_DISTRIBUTION_POINTS).is_none());
    assert!(tbs.extension(&ID_PE_AUTHORITY_INFO_ACCESS).is_none());
}
