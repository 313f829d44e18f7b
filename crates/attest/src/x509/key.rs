//! SubjectPublicKeyInfo: keys as numbers and points, and their one canonical encoding.

use super::asn1::{self, BIT_STRING, BadDer, INTEGER, NULL, OID, Reader, SEQUENCE};
use super::{Leniencies, Leniency, oid};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroupRef, EcKey, EcPoint, PointConversionForm};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;

/// Largest modulus that is looked at: larger ones cost time before they are refused.
const MAX_RSA_BITS: usize = 4096;

/// Named curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

/// A public key, compared as numbers or as a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// A point on the curve, uncompressed (SEC 1, 2.3.3).
    Ec { curve: Curve, point: Vec<u8> },
}

impl Curve {
    fn from_oid(oid: &[u8]) -> Option<Self> {
        match oid {
            oid::P256 => Some(Self::P256),
            oid::P384 => Some(Self::P384),
            oid::P521 => Some(Self::P521),
            _ => None,
        }
    }

    fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => oid::P256,
            Self::P384 => oid::P384,
            Self::P521 => oid::P521,
        }
    }

    fn group(self) -> Result<&'static EcGroupRef, ErrorStack> {
        crate::curve::group(match self {
            Self::P256 => Nid::X9_62_PRIME256V1,
            Self::P384 => Nid::SECP384R1,
            Self::P521 => Nid::SECP521R1,
        })
    }
}

impl PublicKey {
    /// Parse a whole SubjectPublicKeyInfo: RSA up to 4096 bits, or a point on P-256, P-384 or P-521 in uncompressed or
    /// compressed form.
    pub(crate) fn parse(spki: &[u8], leniencies: Leniencies) -> Result<Self, BadDer> {
        let mut fields = Reader::new(asn1::only(spki, SEQUENCE, "SubjectPublicKeyInfo is not a SEQUENCE")?.content);
        let mut algorithm = fields.nested(SEQUENCE, "key algorithm is not a SEQUENCE")?;
        let bits = asn1::octets(fields.content(BIT_STRING, "subjectPublicKey is not a BIT STRING")?)?;
        fields.finish("bytes follow the key")?;
        match algorithm.content(OID, "key algorithm has no OID")? {
            oid::RSA_ENCRYPTION => {
                if !algorithm
                    .content(NULL, "rsaEncryption without NULL parameters")?
                    .is_empty()
                {
                    return Err(BadDer("NULL is not empty"));
                }
                algorithm.finish("bytes follow the key parameters")?;
                rsa(bits)
            }
            oid::RSAES_OAEP if leniencies.allow(Leniency::OaepKey) => {
                // The parameters speak of OAEP hashes; the TPM has its own say there.
                algorithm.element(SEQUENCE, "RSAES-OAEP without parameters")?;
                algorithm.finish("bytes follow the key parameters")?;
                rsa(bits)
            }
            oid::EC_PUBLIC_KEY => {
                let named = algorithm.content(OID, "curve is not named")?;
                algorithm.finish("bytes follow the key parameters")?;
                let curve = Curve::from_oid(named).ok_or(BadDer("curve is not P-256, P-384 or P-521"))?;
                ec(curve, bits)
            }
            _ => Err(BadDer("key algorithm is neither RSA nor EC")),
        }
    }

    /// Bits of the modulus, or of the field.
    pub(crate) fn bits(&self) -> usize {
        match self {
            Self::Rsa { modulus, .. } => rsa_bits(modulus),
            Self::Ec { curve: Curve::P256, .. } => 256,
            Self::Ec { curve: Curve::P384, .. } => 384,
            Self::Ec { curve: Curve::P521, .. } => 521,
        }
    }

    /// The canonical SubjectPublicKeyInfo: rsaEncryption with NULL, or the named curve with the uncompressed point.
    pub(crate) fn to_spki(&self) -> Vec<u8> {
        let (algorithm, bits) = match self {
            Self::Rsa { modulus, exponent } => (
                [asn1::encode(OID, &[oid::RSA_ENCRYPTION]), asn1::encode(NULL, &[])],
                asn1::encode(SEQUENCE, &[&integer(modulus), &integer(exponent)]),
            ),
            Self::Ec { curve, point } => (
                [
                    asn1::encode(OID, &[oid::EC_PUBLIC_KEY]),
                    asn1::encode(OID, &[curve.oid()]),
                ],
                point.clone(),
            ),
        };
        let algorithm = asn1::encode(SEQUENCE, &[&algorithm.concat()]);
        asn1::encode(SEQUENCE, &[&algorithm, &asn1::encode(BIT_STRING, &[&[0], &bits])])
    }

    /// Key for OpenSSL to verify with.
    pub(crate) fn to_pkey(&self) -> Result<PKey<Public>, ErrorStack> {
        match self {
            Self::Rsa { modulus, exponent } => PKey::from_rsa(Rsa::from_public_components(
                BigNum::from_slice(modulus)?,
                BigNum::from_slice(exponent)?,
            )?),
            Self::Ec { curve, point } => {
                let group = curve.group()?;
                let mut context = BigNumContext::new()?;
                let point = EcPoint::from_bytes(group, point, &mut context)?;
                PKey::from_ec_key(EcKey::from_public_key(group, &point)?)
            }
        }
    }
}

fn rsa_bits(modulus: &[u8]) -> usize {
    let leading = modulus.first().map_or(0, |first| first.leading_zeros());
    (modulus.len() * 8).saturating_sub(usize::try_from(leading).unwrap_or(8))
}

fn rsa(bits: &[u8]) -> Result<PublicKey, BadDer> {
    let mut fields = Reader::new(asn1::only(bits, SEQUENCE, "RSAPublicKey is not a SEQUENCE")?.content);
    let modulus = asn1::unsigned(fields.content(INTEGER, "modulus is not an INTEGER")?)?;
    let exponent = asn1::unsigned(fields.content(INTEGER, "exponent is not an INTEGER")?)?;
    fields.finish("bytes follow RSAPublicKey")?;
    if rsa_bits(modulus) > MAX_RSA_BITS {
        return Err(BadDer("RSA modulus beyond 4096 bits"));
    }
    if modulus.last().is_none_or(|last| last & 1 == 0) {
        return Err(BadDer("RSA modulus is even"));
    }
    // 2^16 < e < 2^32, odd: smaller ones invite forgeries, larger ones are slow to verify with.
    if !(3..=4).contains(&exponent.len()) || exponent.last().is_none_or(|last| last & 1 == 0) {
        return Err(BadDer("RSA exponent is even, too small or too large"));
    }
    Ok(PublicKey::Rsa {
        modulus: modulus.to_vec(),
        exponent: exponent.to_vec(),
    })
}

fn ec(curve: Curve, octets: &[u8]) -> Result<PublicKey, BadDer> {
    const OFF: BadDer = BadDer("point is not on the curve");
    // The hybrid form (06, 07) is of no standard for certificates; 00 is infinity.
    if !matches!(octets.first(), Some(2..=4)) {
        return Err(BadDer("point is neither uncompressed nor compressed"));
    }
    let group = curve.group().map_err(|_| OFF)?;
    let mut context = BigNumContext::new().map_err(|_| OFF)?;
    // Refuses other lengths, coordinates beyond the field and points off the curve; the cofactor is 1.
    let point = EcPoint::from_bytes(group, octets, &mut context)
        .and_then(|point| point.to_bytes(group, PointConversionForm::UNCOMPRESSED, &mut context))
        .map_err(|_| OFF)?;
    Ok(PublicKey::Ec { curve, point })
}

fn integer(magnitude: &[u8]) -> Vec<u8> {
    let sign: &[u8] = match magnitude.first() {
        Some(first) if first & 0x80 == 0 => &[],
        _ => &[0],
    };
    asn1::encode(INTEGER, &[sign, magnitude])
}
