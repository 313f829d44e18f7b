//! What is an attestation key, what is an identity key, and what is no sound key at all.

use crate::kit::device::Device;
use crate::kit::{Public, SoftKey, ec, rsa};
use attest::tpm::{AttestationKey, IdentityKey, TpmAlgId, TpmEccCurve, TpmtPublic};
use attest::{Reason, Refusal};
use openssl::bn::{BigNum, BigNumContext};

const P256: TpmEccCurve = TpmEccCurve::NIST_P256;

fn ak(public: &Public) -> Result<(), Refusal> {
    AttestationKey::judge(TpmtPublic::parse(&public.bytes())?).map(drop)
}

fn identity(public: &Public) -> Result<(), Refusal> {
    IdentityKey::judge(&TpmtPublic::parse(&public.bytes())?).map(drop)
}

fn reason(outcome: Result<(), Refusal>) -> Option<Reason> {
    outcome.err().map(|refusal| refusal.reason)
}

fn good_ak() -> Public {
    Public::ak(&ec(P256), TpmAlgId::ECDSA, TpmAlgId::SHA256)
}

fn good_rsa_ak() -> Public {
    Public::ak(&rsa(2048, 1), TpmAlgId::RSASSA, TpmAlgId::SHA256)
}

#[test]
fn each_attribute_alone_decides_about_an_ak() {
    assert_eq!(reason(ak(&good_ak())), None);
    // fixedTPM, fixedParent, sensitiveDataOrigin, restricted, sign must be set; decrypt, x509sign, stClear and
    // encryptedDuplication must be clear: flipping any one refuses.
    for bit in [0x2, 0x10, 0x20, 0x1_0000, 0x4_0000, 0x2_0000, 0x8_0000, 0x4, 0x800] {
        let mut public = good_ak();
        public.attributes ^= bit;
        assert_eq!(reason(ak(&public)), Some(Reason::AkAttr), "{bit:#x}");
    }
    // userWithAuth, adminWithPolicy and noDA say who may use the key, not what it is.
    for bit in [0x40, 0x80, 0x400] {
        let mut public = good_ak();
        public.attributes ^= bit;
        assert_eq!(reason(ak(&public)), None, "{bit:#x}");
    }
}

#[test]
fn each_attribute_alone_decides_about_an_identity_key() {
    let good = || Public::identity(&ec(P256));
    assert_eq!(reason(identity(&good())), None);
    for bit in [0x2, 0x10, 0x20, 0x1_0000, 0x4_0000, 0x2_0000, 0x8_0000, 0x4, 0x800] {
        let mut public = good();
        public.attributes ^= bit;
        assert_eq!(reason(identity(&public)), Some(Reason::KeyAttr), "{bit:#x}");
    }
    for bit in [0x40, 0x80, 0x400] {
        let mut public = good();
        public.attributes ^= bit;
        assert_eq!(reason(identity(&public)), None, "{bit:#x}");
    }
}

#[test]
fn a20_ak_schemes_outside_the_list_are_refused() {
    let refused: [(Public, &[u16]); 12] = [
        (good_ak(), &[0x0010]),             // NULL
        (good_ak(), &[0x001A, 0x000B, 0]),  // ECDAA: anonymous
        (good_ak(), &[0x001B, 0x000B]),     // SM2
        (good_ak(), &[0x001C, 0x000B]),     // ECSCHNORR
        (good_ak(), &[0x0018, 0x0004]),     // SHA-1
        (good_ak(), &[0x0018, 0x000C]),     // P-256 with SHA-384
        (good_ak(), &[0x0019, 0x000B]),     // ECDH
        (good_rsa_ak(), &[0x0010]),         // NULL
        (good_rsa_ak(), &[0x0014, 0x0004]), // SHA-1
        (good_rsa_ak(), &[0x0016, 0x000D]), // SHA-512
        (good_rsa_ak(), &[0x0015]),         // RSAES
        (good_rsa_ak(), &[0x0017, 0x000B]), // OAEP
    ];
    for (mut public, scheme) in refused {
        public.scheme = scheme.to_vec();
        assert_eq!(reason(ak(&public)), Some(Reason::AkAlg), "{scheme:x?}");
    }
    let p384 = Public::ak(&ec(TpmEccCurve::NIST_P384), TpmAlgId::ECDSA, TpmAlgId::SHA512);
    assert_eq!(reason(ak(&p384)), Some(Reason::AkAlg), "P-384 with SHA-512");
}

#[test]
fn a34_name_algs_and_sizes_outside_the_list_are_refused() {
    for (alg, expected) in [
        (TpmAlgId::SHA1, Some(Reason::AkAlg)),
        (TpmAlgId::NULL, Some(Reason::AkAlg)),
        (TpmAlgId::SHA256, None),
        (TpmAlgId::SHA384, None),
        (TpmAlgId::SHA512, None),
    ] {
        let mut public = good_ak();
        public.name_alg = alg;
        assert_eq!(reason(ak(&public)), expected, "{alg}");
    }
    let rsa_1024 = Public::ak(&rsa(1024, 0), TpmAlgId::RSASSA, TpmAlgId::SHA256);
    assert_eq!(reason(ak(&rsa_1024)), Some(Reason::AkAlg));
    let rsa_4096 = Public::ak(&rsa(4096, 0), TpmAlgId::RSASSA, TpmAlgId::SHA256);
    assert_eq!(reason(ak(&rsa_4096)), Some(Reason::AkAlg));
    let p521 = Public::ak(&ec(TpmEccCurve::NIST_P521), TpmAlgId::ECDSA, TpmAlgId::SHA256);
    assert_eq!(reason(ak(&p521)), Some(Reason::AkAlg));
}

#[test]
fn a34_a_size_field_that_is_not_the_moduluss_is_refused() {
    let refused = |change: fn(&mut Public)| {
        let mut public = good_rsa_ak();
        change(&mut public);
        let refusal = ak(&public).unwrap_err();
        assert_eq!(refusal.reason, Reason::AkAlg);
        // Whether its factors are sound is not even asked.
        assert!(refusal.detail.contains("is not of the declared"), "{}", refusal.detail);
    };
    refused(|declared_larger| declared_larger.bits = 3072);
    refused(|one_byte_more| one_byte_more.unique[0].insert(0, 0));
    refused(|top_bit_clear| top_bit_clear.unique[0][0] = 0x7F);
    refused(|empty| empty.unique[0].clear());
}

/// Whoever asks for the key of a public area, in whichever role.
#[test]
fn a34_no_key_is_made_of_an_rsa_size_that_is_not_on_the_list() {
    let spki = |key: &SoftKey| {
        let public = Public::identity(key).bytes();
        TpmtPublic::parse(&public).unwrap().spki()
    };
    let refusal = spki(&rsa(1024, 0)).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.detail.as_str()),
        (Reason::KeyAlg, "RSA of 1024 bits")
    );
    for bits in [2048, 3072, 4096] {
        assert!(spki(&rsa(bits, 0)).is_ok(), "{bits}");
    }
}

#[test]
fn a_signing_key_has_no_symmetric_algorithm_and_no_kdf() {
    let mut symmetric = good_ak();
    symmetric.symmetric = Some([0x0006, 128, 0x0043]);
    assert_eq!(reason(ak(&symmetric)), Some(Reason::AkAlg));
    let mut kdf = good_ak();
    kdf.kdf = vec![0x0020, 0x000B];
    assert_eq!(reason(ak(&kdf)), Some(Reason::AkAlg));
    let mut symmetric = Public::identity(&ec(P256));
    symmetric.symmetric = Some([0x0006, 128, 0x0043]);
    assert_eq!(reason(identity(&symmetric)), Some(Reason::KeyAlg));
}

#[test]
fn identity_keys_may_fix_a_signature_scheme_and_no_other() {
    for (key, scheme, expected) in [
        (ec(P256), &[0x0018, 0x000B][..], None),
        (ec(P256), &[0x0018, 0x000D], None),
        (ec(P256), &[0x0018, 0x0004], Some(Reason::KeyAlg)),
        (ec(P256), &[0x001A, 0x000B, 0], Some(Reason::KeyAlg)),
        (rsa(2048, 1), &[0x0014, 0x000B], None),
        (rsa(2048, 1), &[0x0016, 0x000C], None),
        (rsa(2048, 1), &[0x0017, 0x000B], Some(Reason::KeyAlg)),
    ] {
        let mut public = Public::identity(&key);
        public.scheme = scheme.to_vec();
        assert_eq!(reason(identity(&public)), expected, "{scheme:x?}");
    }
}

/// An RSA public area with this modulus, all else as an identity key has it.
fn with_modulus(modulus: Vec<u8>) -> Public {
    Public {
        unique: vec![modulus],
        ..Public::identity(&rsa(2048, 1))
    }
}

fn number(bytes: &[u8]) -> BigNum {
    BigNum::from_slice(bytes).unwrap()
}

#[test]
fn a30_rsa_keys_that_anyone_can_factor_are_refused() {
    let sound = rsa(2048, 1);
    let SoftKey::Rsa(key) = &sound else { panic!("RSA") };
    let mut context = BigNumContext::new().unwrap();
    assert_eq!(reason(identity(&with_modulus(key.n().to_vec()))), None);

    let mut even = key.n().to_vec();
    *even.last_mut().unwrap() &= 0xFE;
    assert_eq!(reason(identity(&with_modulus(even))), Some(Reason::KeyAlg), "even");

    // Next multiple of 2 * 751 plus 751: odd, and 751 divides it.
    let mut rest = BigNum::new().unwrap();
    rest.nnmod(key.n(), &BigNum::from_u32(1502).unwrap(), &mut context)
        .unwrap();
    let mut small_factor = BigNum::new().unwrap();
    small_factor.checked_sub(key.n(), &rest).unwrap();
    small_factor.add_word(751).unwrap();
    let small_factor = identity(&with_modulus(small_factor.to_vec())).unwrap_err();
    assert_eq!(
        (small_factor.reason, small_factor.detail.as_str()),
        (Reason::KeyAlg, "RSA modulus has a small factor")
    );

    // Two primes that follow one another, from a fixed place near the root of 2^2048.
    let mut p = number(&[&[0xC0][..], &[0x5A; 127]].concat());
    p.set_bit(0).unwrap();
    let mut next = || {
        loop {
            p.add_word(2).unwrap();
            if p.is_prime(16, &mut BigNumContext::new().unwrap()).unwrap() {
                return p.to_owned().unwrap();
            }
        }
    };
    let (first, second) = (next(), next());
    let mut close = BigNum::new().unwrap();
    close.checked_mul(&first, &second, &mut context).unwrap();
    let close = identity(&with_modulus(close.to_vec())).unwrap_err();
    assert_eq!(
        (close.reason, close.detail.as_str()),
        (Reason::KeyAlg, "RSA modulus has primes too close together")
    );
}

#[test]
fn a30_sizes_and_exponents_outside_the_list_are_refused() {
    for bits in [0, 512, 1024, 2047, 2049, 4096, 8192, 16_384, u16::MAX] {
        let mut public = Public::identity(&rsa(2048, 1));
        public.bits = bits;
        public.unique = vec![vec![0xFF; usize::from(bits).div_ceil(8)]];
        assert_eq!(reason(identity(&public)), Some(Reason::KeyAlg), "{bits}");
    }
    for (exponent, expected) in [
        (0, None),
        (65_537, None),
        (3, Some(Reason::KeyAlg)),
        (1, Some(Reason::KeyAlg)),
    ] {
        let mut public = Public::identity(&rsa(2048, 1));
        public.exponent = exponent;
        assert_eq!(reason(identity(&public)), expected, "{exponent}");
    }
}

#[test]
fn a32_points_off_the_curve_are_refused() {
    let good = Public::identity(&ec(P256));
    assert_eq!(reason(identity(&good)), None);
    let field = hex::decode("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff").unwrap();
    let cases: [(&str, Vec<u8>, Vec<u8>); 8] = [
        ("y altered", good.unique[0].clone(), {
            let mut y = good.unique[1].clone();
            *y.last_mut().unwrap() ^= 1;
            y
        }),
        ("x and y swapped", good.unique[1].clone(), good.unique[0].clone()),
        ("zero", vec![0; 32], vec![0; 32]),
        ("empty", vec![], vec![]),
        ("y empty", good.unique[0].clone(), vec![]),
        ("x is the field prime", field.clone(), good.unique[1].clone()),
        ("x beyond the field", vec![0xFF; 32], good.unique[1].clone()),
        ("33 bytes", [&[0], &good.unique[0][..]].concat(), good.unique[1].clone()),
    ];
    for (what, x, y) in cases {
        let public = Public {
            unique: vec![x, y],
            ..good.clone()
        };
        assert_eq!(reason(identity(&public)), Some(Reason::KeyAlg), "{what}");
    }
    // A point of P-384 under the name of P-256, and curves that are not computed on.
    let mut other = Public::identity(&ec(TpmEccCurve::NIST_P384));
    other.curve = P256;
    assert_eq!(reason(identity(&other)), Some(Reason::KeyAlg));
    for curve in [0x0000, 0x0001, 0x0010, 0x0020, 0xFFFF] {
        let mut other = good.clone();
        other.curve = TpmEccCurve(curve);
        assert_eq!(reason(identity(&other)), Some(Reason::KeyAlg), "{curve:#06x}");
    }
}

/// A32, the good half: TPMs may leave out leading zeros, and the number stays the same.
#[test]
fn a32_stripped_leading_zeros_are_accepted() {
    for curve in [P256, TpmEccCurve::NIST_P384, TpmEccCurve::NIST_P521] {
        let group = crate::kit::group(curve);
        let mut context = BigNumContext::new().unwrap();
        // The first multiple of the generator whose x begins with a zero byte (for P-521: with two).
        let (key, public) = (1..5000)
            .map(|scalar| {
                let private = BigNum::from_u32(scalar).unwrap();
                let mut point = openssl::ec::EcPoint::new(&group).unwrap();
                point.mul_generator2(&group, &private, &mut context).unwrap();
                let key = openssl::ec::EcKey::from_private_components(&group, &private, &point).unwrap();
                let key = SoftKey::Ec(key, curve);
                let public = Public::of(&key);
                (key, public)
            })
            .find(|(_, public)| public.unique[0].len() < usize::try_from(group.degree()).unwrap() / 8)
            .unwrap();
        let stripped = TpmtPublic::parse(&public.bytes()).unwrap();
        assert_eq!(stripped.spki().unwrap(), key.spki(), "{curve}");
        // The same key with the zero written out.
        let len = usize::try_from(group.degree()).unwrap().div_ceil(8);
        let mut padded = public.clone();
        for coordinate in &mut padded.unique {
            let zeros = vec![0; len - coordinate.len()];
            coordinate.splice(0..0, zeros);
        }
        assert_eq!(
            TpmtPublic::parse(&padded.bytes()).unwrap().spki().unwrap(),
            key.spki(),
            "{curve}"
        );
    }
}

/// Leading zeros up to the field are a TPM's right; beyond it the same numbers in another spelling are refused.
#[test]
fn a46_signatures_are_as_long_as_their_key() {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let padded = |number: &[u8], to: usize| [vec![0; to - number.len()], number.to_vec()].concat();
    let device = Device::p256();
    for (r_len, s_len, good) in [(32, 32, true), (33, 32, false), (32, 33, false), (66, 66, false)] {
        let (challenge, pending) = device.begin([7; 16]);
        let mut answer = device.reply(&challenge, [7; 16]).answer();
        let (head, rest) = answer.signature.split_at(4);
        let (r, s) = rest[2..].split_at(usize::from(rest[1]));
        let r = sized(&padded(r, r_len));
        let s = sized(&padded(&s[2..], s_len));
        answer.signature = [head, &r[..], &s[..]].concat();
        match pending.answer(answer) {
            Ok(_) => assert!(good, "r of {r_len}, s of {s_len} bytes"),
            Err(refusal) => assert_eq!((refusal.reason, good), (Reason::CertSig, false), "{}", refusal.detail),
        }
    }
    let device = Device::rsa2048();
    for (cut, add, good) in [(0, 0, true), (0, 1, false), (1, 0, false), (256, 0, false)] {
        let (challenge, pending) = device.begin([7; 16]);
        let mut answer = device.reply(&challenge, [7; 16]).answer();
        let (head, sig) = answer.signature.split_at(6);
        let sig = sized(&[&vec![0; add], &sig[cut..]].concat());
        answer.signature = [&head[..4], &sig[..]].concat();
        match pending.answer(answer) {
            Ok(_) => assert!(good, "{cut} bytes cut, {add} added"),
            Err(refusal) => assert_eq!((refusal.reason, good), (Reason::CertSig, false), "{}", refusal.detail),
        }
    }
}
