//! The parsers on bytes that are not what they say: one fixed case per field (A46), and thousands of altered ones.

use crate::kit::{Attest, Public, SoftKey, ec, rsa};
use attest::tpm::{TpmAlgId, TpmEccCurve, TpmsAttest, TpmtPublic, TpmtSignature};
use attest::{EvidenceFields, Reason, Refusal};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcKey, EcPoint};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// What each structure looks like when all is well; the same bytes in every run.
pub(crate) fn publics() -> Vec<Vec<u8>> {
    let p256 = fixed_ec(TpmEccCurve::NIST_P256);
    let p384 = fixed_ec(TpmEccCurve::NIST_P384);
    let p521 = fixed_ec(TpmEccCurve::NIST_P521);
    let fixed_modulus = |public: Public| Public {
        unique: vec![[&[0xC5; 255][..], &[0x01]].concat()],
        ..public
    };
    vec![
        Public::ak(&p256, TpmAlgId::ECDSA, TpmAlgId::SHA256).bytes(),
        Public::identity(&p384).bytes(),
        Public::ek(&p256, TpmAlgId::SHA256, 128, 0x0003_00B2, &[0xAA; 32]).bytes(),
        Public::ek(&p521, TpmAlgId::SHA512, 256, 0x0003_00F2, &[0xAA; 64]).bytes(),
        fixed_modulus(Public::ak(&rsa(2048, 0), TpmAlgId::RSAPSS, TpmAlgId::SHA256)).bytes(),
        fixed_modulus(Public::ek(
            &rsa(2048, 0),
            TpmAlgId::SHA256,
            128,
            0x0003_00B2,
            &[0xAA; 32],
        ))
        .bytes(),
    ]
}

/// The key whose private part is 5.
fn fixed_ec(curve: TpmEccCurve) -> SoftKey {
    let group = crate::kit::group(curve);
    let private = BigNum::from_u32(5).unwrap();
    let mut point = EcPoint::new(&group).unwrap();
    point
        .mul_generator2(&group, &private, &mut BigNumContext::new().unwrap())
        .unwrap();
    SoftKey::Ec(EcKey::from_private_components(&group, &private, &point).unwrap(), curve)
}

fn attests() -> Vec<Vec<u8>> {
    vec![
        Attest::certify(&[&[0, 0x0B][..], &[3; 32]].concat(), &[4; 32]).bytes(),
        Attest::certify(&[&[0, 0x0C][..], &[3; 48]].concat(), &[]).bytes(),
    ]
}

pub(crate) fn signatures() -> Vec<Vec<u8>> {
    let rsa = |alg: &[u8]| [&[0], alg, &[0, 0x0B, 1, 0], &[0x77; 256]].concat();
    vec![
        [&[0, 0x18, 0, 0x0B, 0, 32][..], &[0x77; 32], &[0, 31], &[0x66; 31]].concat(),
        rsa(&[0x14]),
        rsa(&[0x16]),
    ]
}

fn malformed<T>(outcome: Result<T, Refusal>) -> bool {
    outcome.is_err_and(|refusal| refusal.reason == Reason::Malformed)
}

#[test]
fn a46_every_truncation_and_one_byte_more_is_malformed() {
    for bytes in publics() {
        assert!(TpmtPublic::parse(&bytes).is_ok());
        for len in 0..bytes.len() {
            assert!(malformed(TpmtPublic::parse(&bytes[..len])), "public cut at {len}");
        }
        assert!(malformed(TpmtPublic::parse(&[&bytes[..], &[0]].concat())));
    }
    for bytes in attests() {
        assert!(TpmsAttest::parse(&bytes).is_ok());
        for len in 0..bytes.len() {
            assert!(malformed(TpmsAttest::parse(&bytes[..len])), "attest cut at {len}");
        }
        assert!(malformed(TpmsAttest::parse(&[&bytes[..], &[0]].concat())));
    }
    for bytes in signatures() {
        assert!(TpmtSignature::parse(&bytes).is_ok());
        for len in 0..bytes.len() {
            assert!(malformed(TpmtSignature::parse(&bytes[..len])), "signature cut at {len}");
        }
        assert!(malformed(TpmtSignature::parse(&[&bytes[..], &[0]].concat())));
    }
}

/// Writes `size` over the u16 at `at`.
fn with_size(bytes: &[u8], at: usize, size: u16) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 2].copy_from_slice(&size.to_be_bytes());
    bytes
}

/// Size fields: one more, one less, 0xFFFF and (where it was not) 0 each leave bytes over or ask for too many.
fn size_games(bytes: &[u8], fields: &[(&str, usize)], refused: impl Fn(&[u8]) -> bool) {
    for (field, at) in fields {
        let size = u16::from_be_bytes([bytes[*at], bytes[*at + 1]]);
        for wrong in [
            size.wrapping_add(1),
            size.wrapping_sub(1),
            u16::MAX,
            0x8000,
            size ^ 0x0100,
            0,
        ] {
            if wrong != size {
                assert!(refused(&with_size(bytes, *at, wrong)), "{field}: {wrong}");
            }
        }
    }
}

#[test]
fn a46_sizes_of_a_public_area() {
    // type 2, nameAlg 2, attributes 4, policy 2+n, symmetric 2 (NULL) or 6, scheme 2 (NULL) or 4, ...
    let all = publics();
    let refused = |bytes: &[u8]| malformed(TpmtPublic::parse(bytes));
    size_games(&all[0], &[("authPolicy", 8), ("x", 20), ("y", 54)], refused);
    size_games(&all[1], &[("authPolicy", 8), ("x", 18), ("y", 68)], refused);
    size_games(&all[2], &[("authPolicy", 8), ("x", 54), ("y", 88)], refused);
    size_games(&all[4], &[("authPolicy", 8), ("modulus", 22)], refused);
    size_games(&all[5], &[("authPolicy", 8), ("modulus", 56)], refused);
    // The TPM2B around it.
    for public in all {
        let wrapped = crate::kit::sized(&public);
        assert!(TpmtPublic::parse_2b(&wrapped).is_ok());
        size_games(&wrapped, &[("TPM2B_PUBLIC", 0)], |bytes| {
            malformed(TpmtPublic::parse_2b(bytes))
        });
        assert!(malformed(TpmtPublic::parse_2b(&public)) && malformed(TpmtPublic::parse(&wrapped)));
    }
}

#[test]
fn a46_sizes_of_an_attestation_and_of_signatures() {
    let attest = &attests()[0];
    let fields = [
        ("qualifiedSigner", 6),
        ("extraData", 42),
        ("name", 101),
        ("qualifiedName", 137),
    ];
    size_games(attest, &fields, |bytes| malformed(TpmsAttest::parse(bytes)));
    let all = signatures();
    let refused = |bytes: &[u8]| malformed(TpmtSignature::parse(bytes));
    size_games(&all[0], &[("r", 4)], refused);
    size_games(&all[1], &[("sig", 4)], refused);
}

#[test]
fn a46_selectors_that_do_not_fit_their_unions() {
    let ecc = &publics()[0];
    let rsa = &publics()[4];
    // An RSA type over ECC parameters and the reverse; types that are no key; schemes of the other kind.
    assert!(malformed(TpmtPublic::parse(&with_size(ecc, 0, 0x0001))));
    assert!(malformed(TpmtPublic::parse(&with_size(rsa, 0, 0x0023))));
    for kind in [0x0008, 0x0025, 0x0000, 0x0010, 0xFFFF] {
        assert!(
            malformed(TpmtPublic::parse(&with_size(ecc, 0, kind))),
            "type {kind:#06x}"
        );
    }
    for scheme in [0x0014, 0x0015, 0x0016, 0x0017, 0x0005, 0xFFFF] {
        assert!(
            malformed(TpmtPublic::parse(&with_size(ecc, 12, scheme))),
            "ECC scheme {scheme:#06x}"
        );
    }
    for scheme in [0x0018, 0x001A, 0x0005, 0xFFFF] {
        assert!(
            malformed(TpmtPublic::parse(&with_size(rsa, 12, scheme))),
            "RSA scheme {scheme:#06x}"
        );
    }
    for alg in [0x0000, 0x0006, 0x000B, 0x0017, 0xFFFF] {
        assert!(
            malformed(TpmtSignature::parse(&with_size(&signatures()[0], 0, alg))),
            "sigAlg {alg:#06x}"
        );
    }
}

#[test]
fn reserved_attribute_bits_are_malformed() {
    for bit in 0..32 {
        let mut public = Public::ak(&ec(TpmEccCurve::NIST_P256), TpmAlgId::ECDSA, TpmAlgId::SHA256);
        public.attributes = 1 << bit;
        let defined = [1, 2, 4, 5, 6, 7, 10, 11, 16, 17, 18, 19].contains(&bit);
        assert_eq!(TpmtPublic::parse(&public.bytes()).is_ok(), defined, "bit {bit}");
    }
}

#[test]
fn safe_is_no_or_yes() {
    let attest = |safe| {
        Attest {
            safe,
            ..Attest::certify(&[0, 0x0B], &[])
        }
        .bytes()
    };
    let read = |bytes: &[u8]| TpmsAttest::parse(bytes).map(|attest| attest.clock_info.safe).ok();
    assert_eq!(read(&attest(0)), Some(false));
    assert_eq!(read(&attest(1)), Some(true));
    assert!(malformed(TpmsAttest::parse(&attest(2))));
}

/// A50: nothing is found by searching. A qualifiedSigner full of what looks like another field changes nothing.
#[test]
fn a50_fields_are_parsed_and_not_searched_for() {
    let mut attest = Attest::certify(&[&[0, 0x0B][..], &[3; 32]].concat(), &[4; 32]);
    attest.signer = [&[0, 0x22, 0, 0x0B][..], &[9; 30]].concat();
    let bytes = attest.bytes();
    assert_eq!(TpmsAttest::parse(&bytes).unwrap().attested.name, attest.name);
}

/// The same cases in every run.
pub(crate) fn run<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
        .run(strategy, test)
        .unwrap();
}

/// One of `seeds` after up to three changes: a byte, a u16 of interest, a cut, an insertion.
pub(crate) fn altered(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (
        any::<prop::sample::Index>(),
        0..4_u8,
        any::<u8>(),
        prop::sample::select(WORDS.to_vec()),
    );
    (prop::sample::select(seeds), prop::collection::vec(change, 0..4)).prop_map(|(mut bytes, changes)| {
        for (index, kind, byte, word) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => bytes.insert(at, byte),
                // Mostly where the selectors and sizes are.
                _ => {
                    let at = at % 64;
                    if let Some(place) = bytes.get_mut(at..at + 2) {
                        place.copy_from_slice(&word.to_be_bytes());
                    }
                }
            }
        }
        bytes
    })
}

/// Algorithms, curves, sizes: what a selector or a size could be.
const WORDS: [u16; 36] = [
    0x0000, 0x0001, 0x0003, 0x0004, 0x0005, 0x0006, 0x0008, 0x000A, 0x000B, 0x000C, 0x000D, 0x0010, 0x0012, 0x0013,
    0x0014, 0x0015, 0x0016, 0x0017, 0x0018, 0x0019, 0x001A, 0x001B, 0x001C, 0x001D, 0x0020, 0x0022, 0x0023, 0x0025,
    0x0026, 0x0027, 0x0040, 0x0042, 0x0043, 0x0080, 0x0100, 0xFFFF,
];

#[test]
fn no_bytes_make_the_parsers_panic() {
    let arbitrary = prop::collection::vec(any::<u8>(), 0..400);
    run(4000, &arbitrary, |bytes| {
        let _ = TpmtPublic::parse(&bytes);
        let _ = TpmtPublic::parse_2b(&bytes);
        let _ = TpmsAttest::parse(&bytes);
        let _ = TpmtSignature::parse(&bytes);
        let _ = EvidenceFields::parse(&bytes);
        Ok(())
    });
}

#[test]
fn altered_public_areas_neither_panic_nor_lie() {
    run(6000, &altered(publics()), |bytes| {
        if let Ok(public) = TpmtPublic::parse(&bytes) {
            prop_assert_eq!(public.raw(), &bytes[..]);
            prop_assert_eq!(public.name(), crate::kit::name(public.name_alg(), &bytes));
            let _ = public.spki();
            let _ = attest::tpm::AttestationKey::judge(public);
        }
        Ok(())
    });
}

#[test]
fn altered_attestations_and_signatures_neither_panic_nor_lie() {
    run(6000, &altered(attests()), |bytes| {
        if let Ok(attest) = TpmsAttest::parse(&bytes) {
            prop_assert_eq!(attest.raw, &bytes[..]);
        }
        Ok(())
    });
    run(6000, &altered(signatures()), |bytes| {
        let _ = TpmtSignature::parse(&bytes);
        Ok(())
    });
}
