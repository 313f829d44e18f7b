//! From public areas to SubjectPublicKeyInfo and to OpenSSL keys; only sound keys pass.

use super::{EccParms, PublicParms, RsaParms, weak};
use crate::{Reason, Refusal};
use der::asn1::{AnyRef, BitStringRef, UintRef};
use der::{Encode, Sequence};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
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

/// DER of a sound key.
pub(super) fn spki(parms: &PublicParms) -> Result<Vec<u8>, Refusal> {
    match parms {
        PublicParms::Rsa(rsa) => {
            check_rsa(rsa)?;
            rsa_spki(&rsa.modulus).map_err(|error| unsound(format_args!("RSA modulus does not encode: {error}")))
        }
        PublicParms::Ecc(ecc) => {
            let (_, point) = ec_point(ecc)?;
            ec_spki(ecc, &point)
        }
    }
}

/// OpenSSL key of an RSA public area that passes the same checks.
pub(super) fn rsa_key(rsa: &RsaParms) -> Result<Rsa<Public>, Refusal> {
    check_rsa(rsa)?;
    BigNum::from_slice(&rsa.modulus)
        .and_then(|n| Rsa::from_public_components(n, BigNum::from_u32(EXPONENT)?))
        .map_err(|error| unsound(format_args!("RSA key: {error}")))
}

/// OpenSSL key of an ECC public area that passes the same checks.
pub(super) fn ec_key(ecc: &EccParms) -> Result<EcKey<Public>, Refusal> {
    let (group, octets) = ec_point(ecc)?;
    decode_point(&group, &octets)
        .and_then(|point| EcKey::from_public_key(&group, &point))
        .map_err(|error| unsound(format_args!("ECC key: {error}")))
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

/// The curve and the uncompressed point (SEC 1, 2.3.3), checked to be on it. TPMs may strip leading zeros.
fn ec_point(ecc: &EccParms) -> Result<(EcGroup, Vec<u8>), Refusal> {
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
    let group = EcGroup::from_curve_name(nid).map_err(|error| unsound(format_args!("{}: {error}", ecc.curve)))?;
    // Decoding refuses x or y beyond the field and points off the curve; the cofactor is 1, and infinity has another form.
    decode_point(&group, &octets).map_err(|_| unsound(format_args!("point is not on {}", ecc.curve)))?;
    Ok((group, octets))
}

fn decode_point(group: &EcGroup, octets: &[u8]) -> Result<EcPoint, ErrorStack> {
    let mut context = BigNumContext::new()?;
    EcPoint::from_bytes(group, octets, &mut context)
}
