//! MakeCredential against a software ActivateCredential, for every kind of EK.

use crate::kit::activate::{Refused, activate};
use crate::kit::{Os, Public, SoftKey, ec, rsa};
use attest::tpm::{TpmAlgId, TpmEccCurve, TpmtPublic, make_credential};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcKey, EcPoint};

fn all() -> Vec<(SoftKey, TpmAlgId, u16)> {
    vec![
        (rsa(2048, 0), TpmAlgId::SHA256, 128),
        (rsa(3072, 0), TpmAlgId::SHA384, 256),
        (rsa(4096, 0), TpmAlgId::SHA384, 256),
        (ec(TpmEccCurve::NIST_P256), TpmAlgId::SHA256, 128),
        (ec(TpmEccCurve::NIST_P384), TpmAlgId::SHA384, 256),
        (ec(TpmEccCurve::NIST_P521), TpmAlgId::SHA512, 256),
    ]
}

fn ek(key: &SoftKey, alg: TpmAlgId, aes: u16) -> TpmtPublic {
    TpmtPublic::parse(&Public::ek(key, alg, aes, 0x0003_00F2, &[]).bytes()).unwrap()
}

#[test]
fn the_right_tpm_gives_the_secret_back() {
    for (key, alg, aes) in all() {
        let secret = [0x5A; 32];
        let made = make_credential(&ek(&key, alg, aes), b"the name", &secret, &mut Os).unwrap();
        let opened = activate(
            &key,
            alg,
            aes,
            b"the name",
            &made.credential_blob,
            &made.encrypted_secret,
        );
        assert_eq!(opened, Ok(secret.to_vec()), "{alg} {aes}");
    }
}

#[test]
fn another_name_or_another_ek_does_not() {
    for (key, alg, aes) in all() {
        let made = make_credential(&ek(&key, alg, aes), b"the name", &[0x5A; 32], &mut Os).unwrap();
        assert_eq!(
            activate(
                &key,
                alg,
                aes,
                b"another",
                &made.credential_blob,
                &made.encrypted_secret
            ),
            Err(Refused::Integrity)
        );
        let (other, wanted) = match &key {
            SoftKey::Rsa(key) => (rsa(key.size() * 8, 1), Refused::Seed),
            SoftKey::Ec(_, curve) => (ec(*curve), Refused::Integrity),
        };
        assert_eq!(
            activate(
                &other,
                alg,
                aes,
                b"the name",
                &made.credential_blob,
                &made.encrypted_secret
            ),
            Err(wanted)
        );
    }
}

#[test]
fn sizes_on_the_wire() {
    let secret = [1; 32];
    let (p256, p384) = (ec(TpmEccCurve::NIST_P256), ec(TpmEccCurve::NIST_P384));
    for (key, alg, aes, blob, encrypted) in [
        (rsa(2048, 0), TpmAlgId::SHA256, 128, 2 + 68, 2 + 256),
        (p256, TpmAlgId::SHA256, 128, 2 + 68, 2 + 68),
        (p384, TpmAlgId::SHA384, 256, 2 + 2 + 48 + 34, 2 + 4 + 96),
    ] {
        let made = make_credential(&ek(&key, alg, aes), b"n", &secret, &mut Os).unwrap();
        assert_eq!(
            (made.credential_blob.len(), made.encrypted_secret.len()),
            (blob, encrypted)
        );
    }
}

/// One P-256 activation in 128 has a coordinate that begins with a zero byte: none of them may break.
#[test]
fn leading_zeros_of_coordinates_survive() {
    let group = crate::kit::group(TpmEccCurve::NIST_P256);
    let mut short = 0;
    for scalar in 1..800 {
        let private = BigNum::from_u32(scalar).unwrap();
        let mut context = BigNumContext::new().unwrap();
        let mut point = EcPoint::new(&group).unwrap();
        point.mul_generator2(&group, &private, &mut context).unwrap();
        let key = SoftKey::Ec(
            EcKey::from_private_components(&group, &private, &point).unwrap(),
            TpmEccCurve::NIST_P256,
        );
        let public = Public::ek(&key, TpmAlgId::SHA256, 128, 0x0003_00F2, &[]);
        if public.unique.iter().all(|coordinate| coordinate.len() == 32) {
            continue;
        }
        short += 1;
        let made = make_credential(&TpmtPublic::parse(&public.bytes()).unwrap(), b"n", &[9; 32], &mut Os).unwrap();
        let opened = activate(
            &key,
            TpmAlgId::SHA256,
            128,
            b"n",
            &made.credential_blob,
            &made.encrypted_secret,
        );
        assert_eq!(opened, Ok(vec![9; 32]), "{scalar}");
    }
    assert_eq!(short, 7, "the same seven in every run");
}
