//! The public area: a template's in everything but the key, and the key the certified one.

use super::*;
use crate::vendor::{bits, oid, seq, tlv};

#[test]
fn every_template_is_recognised() {
    for (template, kind) in [
        ("L-2", Kind::P256),
        ("H-2", Kind::P256),
        ("H-3", Kind::P384),
        ("H-4", Kind::P521),
        ("H-6", Kind::Rsa(3072)),
        ("H-7", Kind::Rsa(4096)),
    ] {
        let facts = verify_key(&ifx(), template, &Key::new(kind), |_| {}).unwrap();
        assert_eq!(facts.template.as_str(), template);
    }
    for template in ["L-1", "H-1"] {
        assert_eq!(
            verify_key(&ifx(), template, &RSA, |_| {}).unwrap().template.as_str(),
            template
        );
    }
}

#[track_caller]
fn departs(template: &str, key: &Key, field: &str, change: impl FnOnce(&mut EkFields)) {
    let mut fields = EkFields::of(template);
    change(&mut fields);
    let public = TpmtPublic::parse(&fields.encode(key)).unwrap();
    let certificate = VENDOR.root.ek(&key.spki(), |_| {});
    let refusal = verify(&certificate, &[], &public, &ifx(), NOW).unwrap_err();
    assert_eq!(refusal.reason, Reason::EkKey, "{refusal}");
    assert_eq!(
        refusal.detail,
        format!("the EK public area follows no TCG template: {field}")
    );
}

#[test]
fn a_departure_in_any_field_is_refused() {
    for (template, key) in [("L-2", &VENDOR.chip), ("H-1", &RSA)] {
        departs(template, key, "nameAlg", |fields| fields.name_alg = 0x0C);
        departs(template, key, "symmetric", |fields| fields.symmetric = vec![0, 0x10]);
        departs(template, key, "symmetric", |fields| fields.symmetric[3] = 0);
        departs(template, key, "symmetric", |fields| fields.symmetric[5] = 0x44);
        departs(template, key, "authPolicy", |fields| fields.auth_policy[31] ^= 1);
        departs(template, key, "authPolicy", |fields| fields.auth_policy.clear());
        // Every attribute bit counts.
        for bit in [1, 2, 4, 5, 6, 7, 10, 11, 16, 17, 18, 19] {
            let mut fields = EkFields::of(template);
            fields.attributes ^= 1 << bit;
            let public = TpmtPublic::parse(&fields.encode(key)).unwrap();
            let refusal = EkTemplate::of(&public).unwrap_err();
            assert_eq!(refusal.reason, Reason::EkKey, "bit {bit}");
            // userWithAuth is all that the ranges differ in; then it is the policy that does not fit.
            let field = if bit == 6 { "authPolicy" } else { "objectAttributes" };
            assert!(refusal.detail.ends_with(field), "bit {bit}: {refusal}");
        }
    }
    departs("L-2", &VENDOR.chip, "scheme", |fields| {
        fields.scheme = vec![0, 0x18, 0, 0x0B]
    });
    departs("L-2", &VENDOR.chip, "kdf", |fields| fields.kdf = vec![0, 0x20, 0, 0x0B]);
    departs("L-1", &RSA, "scheme", |fields| fields.scheme = vec![0, 0x17, 0, 0x0B]);
    departs("L-1", &RSA, "exponent", |fields| fields.exponent = 3);
    departs("L-1", &RSA, "key type, size or curve", |fields| fields.size = 1024);
}

#[test]
fn the_policies_of_low_and_high_range_do_not_mix() {
    departs("L-2", &VENDOR.chip, "authPolicy", |fields| {
        fields.attributes = 0x0003_00F2
    });
    departs("H-2", &VENDOR.chip, "authPolicy", |fields| {
        fields.attributes = 0x0003_00B2
    });
}

#[test]
fn a13_another_key_than_the_certified_one_is_refused() {
    const OTHER: &str = "the EK public area is not the certified key";
    for (template, certified, presented) in [
        ("L-2", &VENDOR.chip, &Key::new(Kind::P256)),
        ("L-1", &*RSA, &Key::new(Kind::Rsa(2048))),
        ("L-1", &VENDOR.chip, &*RSA),
    ] {
        let certificate = VENDOR.root.ek(&certified.spki(), |_| {});
        let public = TpmtPublic::parse(&EkFields::of(template).encode(presented)).unwrap();
        let refusal = verify(&certificate, &[], &public, &ifx(), NOW).unwrap_err();
        assert_eq!((refusal.reason, refusal.detail.as_str()), (Reason::EkKey, OTHER));
    }
}

fn rsa_spki(algorithm: &[u8], modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    seq(&[
        algorithm,
        &bits(&seq(&[&tlv(2, &[&[0], modulus].concat()), &tlv(2, exponent)])),
    ])
}

fn rsa_encryption() -> Vec<u8> {
    seq(&[&oid("1.2.840.113549.1.1.1"), &tlv(5, &[])])
}

#[test]
fn a13_the_exponent_0_of_the_tpm_is_65537_and_no_other() {
    let modulus = RSA.0.rsa().unwrap().n().to_vec();
    let public = |exponent| {
        let fields = EkFields {
            exponent,
            ..EkFields::of("L-1")
        };
        TpmtPublic::parse(&fields.encode(&RSA)).unwrap()
    };
    let certificate = |exponent: &[u8]| {
        VENDOR.root.ek(&RSA.spki(), |spec| {
            spec.spki = rsa_spki(&rsa_encryption(), &modulus, exponent)
        })
    };
    for written in [0, 65_537] {
        verify(&certificate(&[1, 0, 1]), &[], &public(written), &ifx(), NOW).unwrap();
        let refusal = verify(&certificate(&[1, 0, 3]), &[], &public(written), &ifx(), NOW).unwrap_err();
        assert_eq!(refusal.detail, "the EK public area is not the certified key");
        let refusal = verify(&certificate(&[3]), &[], &public(written), &ifx(), NOW).unwrap_err();
        assert_eq!(refusal.reason, Reason::EkKey);
        assert_eq!(
            refusal.detail,
            "the certified key: RSA exponent is even, too small or too large"
        );
    }
}

#[test]
fn a39_a_key_marked_oaep_is_the_same_hardware_key() {
    let modulus = RSA.0.rsa().unwrap().n().to_vec();
    let plain = verify_key(&ifx(), "L-1", &RSA, |_| {}).unwrap();
    let oaep = seq(&[&oid("1.2.840.113549.1.1.7"), &seq(&[])]);
    let marked = verify_key(&ifx(), "L-1", &RSA, |spec| {
        spec.spki = rsa_spki(&oaep, &modulus, &[1, 0, 1])
    })
    .unwrap();
    assert_eq!(marked.spki_sha256, plain.spki_sha256);
    assert_eq!(marked.spki_sha256, openssl::sha::sha256(&RSA.spki()));
}

/// Public area and certificate agree on an RSA modulus that is no good.
fn weak(modulus: &[u8]) -> Refusal {
    let public = TpmtPublic::parse(&EkFields::of("L-1").encode_rsa(modulus)).unwrap();
    let certificate = VENDOR.root.ek(&RSA.spki(), |spec| {
        spec.spki = rsa_spki(&rsa_encryption(), modulus, &[1, 0, 1])
    });
    verify(&certificate, &[], &public, &ifx(), NOW).unwrap_err()
}

#[test]
fn a30_weak_moduli_are_refused() {
    let sound = RSA.0.rsa().unwrap().n().to_vec();
    let mut even = sound.clone();
    even[255] &= 0xFE;
    let refusal = weak(&even);
    assert_eq!(
        (refusal.reason, refusal.detail.as_str()),
        (Reason::EkKey, "the certified key: RSA modulus is even")
    );
    // ROCA: a modulus that is 1 modulo every small prime is a power of 65537 there.
    let primorial = (2_u32..=167).filter(|n| (2..*n).all(|d| n % d != 0)).fold(
        openssl::bn::BigNum::from_u32(1).unwrap(),
        |mut product, prime| {
            product.mul_word(prime).unwrap();
            product
        },
    );
    let mut context = openssl::bn::BigNumContext::new().unwrap();
    let (mut rest, mut roca) = (openssl::bn::BigNum::new().unwrap(), openssl::bn::BigNum::new().unwrap());
    let n = openssl::bn::BigNum::from_slice(&sound).unwrap();
    rest.checked_rem(&n, &primorial, &mut context).unwrap();
    roca.checked_sub(&n, &rest).unwrap();
    roca.add_word(1).unwrap();
    let refusal = weak(&roca.to_vec());
    assert_eq!(refusal.reason, Reason::EkKey);
    assert!(refusal.detail.contains("ROCA"), "{refusal}");
}

#[test]
fn a30_a_huge_modulus_is_refused_before_any_arithmetic() {
    let huge = [&[0x80][..], &[0xFF; 2047]].concat();
    let certificate = VENDOR.root.ek(&RSA.spki(), |spec| {
        spec.spki = rsa_spki(&rsa_encryption(), &huge, &[1, 0, 1])
    });
    let public = TpmtPublic::parse(&EkFields::of("L-1").encode(&RSA)).unwrap();
    let refusal = verify(&certificate, &[], &public, &ifx(), NOW).unwrap_err();
    assert_eq!(refusal.detail, "the certified key: RSA modulus beyond 4096 bits");
}

#[test]
fn a32_a_certified_point_off_the_curve_is_refused() {
    let curve = seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]);
    let public = TpmtPublic::parse(&EkFields::of("L-2").encode(&VENDOR.chip)).unwrap();
    for point in [
        vec![0],
        [&[4][..], &[0; 64]].concat(),
        [&[4][..], &[0xFF; 64]].concat(),
        [&[4][..], &[1; 63]].concat(),
    ] {
        let certificate = VENDOR
            .root
            .ek(&VENDOR.chip.spki(), |spec| spec.spki = seq(&[&curve, &bits(&point)]));
        let refusal = verify(&certificate, &[], &public, &ifx(), NOW).unwrap_err();
        assert_eq!(refusal.reason, Reason::EkKey);
        assert!(refusal.detail.starts_with("the certified key: point is "), "{refusal}");
    }
}

#[test]
fn a32_leading_zeros_that_a_tpm_strips_are_the_same_point() {
    // A point whose x begins with a zero byte: one key in 256.
    let (key, x, y) = loop {
        let key = Key::new(Kind::P256);
        let public = EkFields::of("L-2").encode(&key);
        let (x, y) = (
            public[public.len() - 66..public.len() - 34].to_vec(),
            public[public.len() - 32..].to_vec(),
        );
        if x[0] == 0 && x[1] != 0 {
            break (key, x, y);
        }
    };
    let stripped = TpmtPublic::parse(&EkFields::of("L-2").encode_ecc(&x[1..], &y)).unwrap();
    let certificate = VENDOR.root.ek(&key.spki(), |_| {});
    verify(&certificate, &[], &stripped, &ifx(), NOW).unwrap();
}

#[test]
fn a32_a_compressed_certified_point_is_the_same_point() {
    let spki = VENDOR.chip.spki();
    let point = &spki[spki.len() - 65..];
    let compressed = [&[2 | point[64] & 1][..], &point[1..33]].concat();
    let curve = seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]);
    let facts = verify_changed(&ifx(), |spec| spec.spki = seq(&[&curve, &bits(&compressed)])).unwrap();
    assert_eq!(facts.spki_sha256, openssl::sha::sha256(&spki));
}

#[test]
fn one_key_has_one_canonical_form() {
    let spki = VENDOR.chip.spki();
    let certificate = VENDOR.root.ek(&spki, |_| {});
    assert_eq!(certificate_spki(&certificate).unwrap(), spki);
    assert_eq!(canonical_spki(&spki).unwrap(), spki);
    // The compressed point is the same key.
    let point = &spki[spki.len() - 65..];
    let parity = 2 + (point[64] & 1);
    let algorithm = seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]);
    let compressed = seq(&[&algorithm, &bits(&[&[parity], &point[1..33]].concat())]);
    assert_eq!(canonical_spki(&compressed).unwrap(), spki);

    let reason = |bytes: &[u8]| certificate_spki(bytes).unwrap_err().reason;
    assert_eq!(reason(&[&certificate[..], &[0]].concat()), Reason::Malformed);
    assert_eq!(reason(&certificate[..certificate.len() - 1]), Reason::Malformed);
    assert_eq!(reason(&spki), Reason::Malformed);
    let other = seq(&[&seq(&[&oid("1.3.101.112")]), &bits(&[7; 32])]);
    assert_eq!(reason(&VENDOR.root.ek(&other, |_| {})), Reason::EkKey);
    assert_eq!(canonical_spki(&other).unwrap_err().reason, Reason::EkKey);
}
