//! A key the profile allows: RSA with exponent 65537, or an uncompressed point that is on P-256 or P-384; written in
//! its one form.

use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcGroupRef, EcPoint};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use policies::ProfileKey;

use super::{Case, Lint};
use crate::encode::{BIT_STRING, INTEGER, SEQUENCE};
use crate::view::{Malformed, Reader, only};

pub(super) const LINT: Lint = Lint {
    name: "public_key",
    citation: "RFC 5280 §4.1.2.7, RFC 3279 §2.3.1, RFC 5480 §2, SP 800-56A §5.6.2.3.3",
    judge,
};

/// `{ id-ecPublicKey, secp256r1 }`.
const P256: &[u8] = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// `{ id-ecPublicKey, secp384r1 }`.
const P384: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
/// `{ rsaEncryption, NULL }`.
const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

/// The curves a certified key may be on. Setting one up costs as much as a signature, so an issuer keeps them.
pub(crate) struct Curves {
    p256: EcGroup,
    p384: EcGroup,
}

impl Curves {
    pub(crate) fn new() -> Result<Self, ErrorStack> {
        Ok(Self {
            p256: EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?,
            p384: EcGroup::from_curve_name(Nid::SECP384R1)?,
        })
    }
}

impl std::fmt::Debug for Curves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Curves")
    }
}

fn judge(case: &Case<'_>) -> Result<(), String> {
    let key = read(case.tbs.spki, &case.issuer.curves)?;
    if case.promise.keys.contains(&key) {
        Ok(())
    } else {
        Err(format!("the profile does not allow {}", key.as_str()))
    }
}

fn read(spki: &[u8], curves: &Curves) -> Result<ProfileKey, String> {
    let malformed = |e: Malformed| e.to_string();
    let mut fields = Reader(only(spki, SEQUENCE, "SubjectPublicKeyInfo").map_err(malformed)?.value);
    let algorithm = fields.expect(SEQUENCE, "algorithm").map_err(malformed)?.raw;
    let bits = fields.expect(BIT_STRING, "subjectPublicKey").map_err(malformed)?.value;
    fields.end("SubjectPublicKeyInfo").map_err(malformed)?;
    let Some((0, key)) = bits.split_first() else {
        return Err("a key with unused bits".into());
    };
    match algorithm {
        P256 => point(key, 32, &curves.p256).map(|()| ProfileKey::P256),
        P384 => point(key, 48, &curves.p384).map(|()| ProfileKey::P384),
        RSA => rsa(key),
        other => Err(format!("algorithm {}", hex::encode(other))),
    }
}

fn point(key: &[u8], width: usize, curve: &EcGroupRef) -> Result<(), String> {
    if key.first() != Some(&4) || key.len() != 1 + 2 * width {
        return Err("not an uncompressed point".into());
    }
    // Decoding refuses what is not on the curve; the cofactor is 1, so what is on the curve is in the group.
    let decode = || EcPoint::from_bytes(curve, key, &mut *BigNumContext::new()?);
    decode().map(|_| ()).map_err(|_| "the point is not on its curve".into())
}

fn rsa(key: &[u8]) -> Result<ProfileKey, String> {
    let malformed = |e: Malformed| e.to_string();
    let mut fields = Reader(only(key, SEQUENCE, "RSAPublicKey").map_err(malformed)?.value);
    let modulus = fields.expect(INTEGER, "modulus").map_err(malformed)?.value;
    let exponent = fields.expect(INTEGER, "publicExponent").map_err(malformed)?.value;
    fields.end("RSAPublicKey").map_err(malformed)?;
    if exponent != [1, 0, 1] {
        return Err(format!("RSA exponent {}", hex::encode(exponent)));
    }
    // The top bit is set, so DER puts a zero octet before it.
    let Some((0, octets)) = modulus.split_first() else {
        return Err("RSA modulus of an odd length".into());
    };
    if octets.last().is_none_or(|last| last & 1 == 0) {
        return Err("RSA modulus is even".into());
    }
    match octets.len() {
        256 => Ok(ProfileKey::Rsa2048),
        384 => Ok(ProfileKey::Rsa3072),
        512 => Ok(ProfileKey::Rsa4096),
        other => Err(format!("RSA modulus of {other} octets")),
    }
}

#[cfg(test)]
mod tests {
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use policies::{ProfileKey, ProfileKind};

    use crate::encode::{BIT_STRING, INTEGER, SEQUENCE, tlv};
    use crate::lint::example::Example;
    use crate::testkey::{ec, rsa};

    fn refused(spki: Vec<u8>) -> Vec<&'static str> {
        let mut example = Example::new(ProfileKind::Service);
        example.spki = spki;
        example.refused_by()
    }

    fn made_up_rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let key = tlv(SEQUENCE, &[&tlv(INTEGER, &[modulus]), &tlv(INTEGER, &[exponent])]);
        tlv(SEQUENCE, &[super::RSA, &tlv(BIT_STRING, &[&[0], &key])])
    }

    fn modulus(octets: usize) -> Vec<u8> {
        [vec![0, 0x80], vec![0; octets - 2], vec![1]].concat()
    }

    #[test]
    fn good() {
        for key in [ec(Nid::X9_62_PRIME256V1), ec(Nid::SECP384R1), rsa(2048)] {
            assert!(refused(key.public_key_to_der().unwrap()).is_empty());
        }
        assert!(refused(made_up_rsa(&modulus(384), &[1, 0, 1])).is_empty());
    }

    #[test]
    fn bad() {
        let p256 = ec(Nid::X9_62_PRIME256V1).public_key_to_der().unwrap();
        let spoilt = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut spki = p256.clone();
            change(&mut spki);
            spki
        };
        let ed25519 = PKey::generate_ed25519().unwrap().public_key_to_der().unwrap();
        let without_null = tlv(
            SEQUENCE,
            &[
                &tlv(SEQUENCE, &[&super::RSA[2..13]]),
                &tlv(
                    BIT_STRING,
                    &[
                        &[0],
                        &tlv(
                            SEQUENCE,
                            &[&tlv(INTEGER, &[&modulus(256)]), &tlv(INTEGER, &[&[1, 0, 1]])],
                        ),
                    ],
                ),
            ],
        );
        let compressed = {
            let mut point = p256[26..59].to_vec();
            point[0] = 2;
            tlv(SEQUENCE, &[super::P256, &tlv(BIT_STRING, &[&[0], &point])])
        };
        let mut even = modulus(256);
        *even.last_mut().unwrap() = 2;
        let cases = [
            ("not on the curve", spoilt(&|k| *k.last_mut().unwrap() ^= 1)),
            (
                "the point at infinity",
                tlv(SEQUENCE, &[super::P256, &tlv(BIT_STRING, &[&[0, 0]])]),
            ),
            ("hybrid form", spoilt(&|k| k[26] = 6)),
            ("compressed", compressed),
            ("P-521", ec(Nid::SECP521R1).public_key_to_der().unwrap()),
            ("secp256k1", ec(Nid::SECP256K1).public_key_to_der().unwrap()),
            ("Ed25519", ed25519),
            ("RSA-1024", made_up_rsa(&modulus(128), &[1, 0, 1])),
            ("RSA-2040", made_up_rsa(&modulus(255), &[1, 0, 1])),
            ("RSA-4096 for a leaf", made_up_rsa(&modulus(512), &[1, 0, 1])),
            ("exponent 3", made_up_rsa(&modulus(256), &[3])),
            ("exponent 1", made_up_rsa(&modulus(256), &[1])),
            ("even modulus", made_up_rsa(&even, &[1, 0, 1])),
            ("no NULL", without_null),
        ];
        for (what, spki) in cases {
            assert_eq!(refused(spki), ["public_key"], "{what}");
        }
    }

    #[test]
    fn bad_for_this_profile() {
        let mut example = Example::new(ProfileKind::Service);
        example.promise.keys = vec![ProfileKey::P384];
        assert_eq!(example.refused_by(), ["public_key"]);
    }
}
