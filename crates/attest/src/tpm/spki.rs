//! From public areas to SubjectPublicKeyInfo and to OpenSSL keys; only sound keys pass.

use super::{EccParms, PublicParms, RsaParms, weak};
use crate::{Reason, Refusal, curve};
use der::asn1::{AnyRef, BitStringRef, UintRef};
use der::{Encode, Sequence};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::pkey::Public;
use openssl::rsa::Rsa;
use spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// The only public exponent; TPMs write it as 0.
const EXPONENT: u32 = 65_537;

/// `RSAPublicKey` (RFC 8017, A.1.1).
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

/// A public key that passed the checks of [`SoundKey::of`], for OpenSSL and in DER.
pub(super) struct SoundKey {
    /// SubjectPublicKeyInfo.
    pub(super) spki: Vec<u8>,
    pub(super) key: Key,
}

pub(super) enum Key {
    Rsa(Rsa<Public>),
    Ec(EcKey<Public>),
}

impl SoundKey {
    /// Check once, and make both forms.
    pub(super) fn of(parms: &PublicParms) -> Result<Self, Refusal> {
        match parms {
            PublicParms::Rsa(rsa) => {
                check_rsa(rsa)?;
                Ok(Self {
                    spki: rsa_spki(&rsa.modulus)
                        .map_err(|error| unsound(format_args!("RSA modulus does not encode: {error}")))?,
                    key: Key::Rsa(rsa_key(&rsa.modulus).map_err(|error| unsound(format_args!("RSA key: {error}")))?),
                })
            }
            PublicParms::Ecc(ecc) => {
                let (octets, key) = ec_key(ecc)?;
                Ok(Self {
                    spki: ec_spki(ecc, &octets)?,
                    key: Key::Ec(key),
                })
            }
        }
    }
}

fn unsound(detail: impl core::fmt::Display) -> Refusal {
    Refusal::new(Reason::KeyAlg, detail.to_string())
}

fn check_rsa(rsa: &RsaParms) -> Result<(), Refusal> {
    // Cheapest first: an oversized modulus costs a comparison, not arithmetic.
    if !matches!(rsa.key_bits, 2048 | 3072 | 4096) {
        return Err(unsound(format_args!("RSA of {} bits", rsa.key_bits)));
    }
    if rsa.modulus.len() * 8 != usize::from(rsa.key_bits) || rsa.modulus.first().is_none_or(|byte| byte & 0x80 == 0) {
        return Err(unsound(format_args!(
            "RSA modulus is not of the declared {} bits",
            rsa.key_bits
        )));
    }
    if rsa.exponent != 0 && rsa.exponent != EXPONENT {
        return Err(unsound(format_args!("RSA exponent {}", rsa.exponent)));
    }
    if let Some(weakness) = weak::rsa_weakness(&rsa.modulus) {
        return Err(unsound(weakness));
    }
    Ok(())
}

fn rsa_spki(modulus: &[u8]) -> der::Result<Vec<u8>> {
    let exponent = EXPONENT.to_be_bytes();
    let key = RsaPublicKey {
        modulus: UintRef::new(modulus)?,
        public_exponent: UintRef::new(&exponent)?,
    }
    .to_der()?;
    SubjectPublicKeyInfo {
        algorithm: AlgorithmIdentifier {
            oid: const_oid::db::rfc5912::RSA_ENCRYPTION,
            parameters: Some(AnyRef::NULL),
        },
        subject_public_key: BitStringRef::from_bytes(&key)?,
    }
    .to_der()
}

fn ec_spki(ecc: &EccParms, point: &[u8]) -> Result<Vec<u8>, Refusal> {
    let curve = match ecc.curve {
        super::TpmEccCurve::NIST_P256 => const_oid::db::rfc5912::SECP_256_R_1,
        super::TpmEccCurve::NIST_P384 => const_oid::db::rfc5912::SECP_384_R_1,
        super::TpmEccCurve::NIST_P521 => const_oid::db::rfc5912::SECP_521_R_1,
        other => return Err(unsound(other)),
    };
    BitStringRef::from_bytes(point)
        .and_then(|subject_public_key| {
            SubjectPublicKeyInfo {
                algorithm: AlgorithmIdentifier {
                    oid: const_oid::db::rfc5912::ID_EC_PUBLIC_KEY,
                    parameters: Some(curve),
                },
                subject_public_key,
            }
            .to_der()
        })
        .map_err(|error| unsound(format_args!("point does not encode: {error}")))
}

fn rsa_key(modulus: &[u8]) -> Result<Rsa<Public>, ErrorStack> {
    Rsa::from_public_components(BigNum::from_slice(modulus)?, BigNum::from_u32(EXPONENT)?)
}

/// The uncompressed point (SEC 1, 2.3.3) and its key, checked to be on the curve. TPMs may strip leading zeros.
fn ec_key(ecc: &EccParms) -> Result<(Vec<u8>, EcKey<Public>), Refusal> {
    let (nid, len) = ecc.curve.group().ok_or_else(|| unsound(ecc.curve))?;
    let mut octets = Vec::with_capacity(1 + 2 * len);
    octets.push(4);
    for coordinate in [&ecc.x, &ecc.y] {
        let missing = len
            .checked_sub(coordinate.len())
            .filter(|_| !coordinate.is_empty())
            .ok_or_else(|| {
                unsound(format_args!(
                    "coordinate of {} bytes on {}",
                    coordinate.len(),
                    ecc.curve
                ))
            })?;
        octets.resize(octets.len() + missing, 0);
        octets.extend_from_slice(coordinate);
    }
    // Decoding refuses x or y beyond the field and points off the curve; the cofactor is 1, and infinity has another form.
    curve::group(nid)
        .and_then(|group| {
            let point = EcPoint::from_bytes(group, &octets, &mut *BigNumContext::new()?)?;
            EcKey::from_public_key(group, &point)
        })
        .map(|key| (octets, key))
        .map_err(|_| unsound(format_args!("point is not on {}", ecc.curve)))
}
