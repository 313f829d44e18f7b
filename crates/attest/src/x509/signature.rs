//! Signature algorithms that are believed, and the check over the bytes received.

use super::asn1::{self, BadDer, INTEGER, NULL, OID, Reader, SEQUENCE, constructed};
use super::{Leniencies, Leniency, PublicKey, oid};
use crate::digest::{sha256, sha384, sha512};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKeyRef, Public};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};

/// Hash of the SHA-2 family; SHA-1 only where an anchor signs itself, which proves nothing that is relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// A signature algorithm of the allow-list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
    /// RSASSA-PSS, MGF1 with the same hash, salt as long as the hash.
    RsaPss(Hash),
    /// ECDSA.
    Ecdsa(Hash),
}

impl Hash {
    /// Of a message, without asking OpenSSL which provider has the algorithm.
    fn of(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => openssl::sha::sha1(message).to_vec(),
            Self::Sha256 => sha256(message).to_vec(),
            Self::Sha384 => sha384(message).to_vec(),
            Self::Sha512 => sha512(message).to_vec(),
        }
    }

    fn digest(self) -> MessageDigest {
        match self {
            Self::Sha1 => MessageDigest::sha1(),
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }

    fn from_oid(oid: &[u8]) -> Option<Self> {
        match oid {
            oid::SHA256 => Some(Self::Sha256),
            oid::SHA384 => Some(Self::Sha384),
            oid::SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    fn len(self) -> u8 {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl SignatureAlgorithm {
    /// Parse a whole AlgorithmIdentifier; anything that is not on the allow-list is refused.
    pub(crate) fn parse(identifier: &[u8], leniencies: Leniencies) -> Result<Self, BadDer> {
        match Self::parse_with_sha1(identifier, leniencies)? {
            Self::RsaPkcs1(Hash::Sha1) => Err(BadDer("signature algorithm is not on the allow-list")),
            algorithm => Ok(algorithm),
        }
    }

    /// As [`Self::parse`], and sha1WithRSAEncryption: for the signature of an anchor over itself only.
    pub(crate) fn parse_with_sha1(identifier: &[u8], leniencies: Leniencies) -> Result<Self, BadDer> {
        let mut fields =
            Reader::new(asn1::only(identifier, SEQUENCE, "signature algorithm is not a SEQUENCE")?.content);
        let algorithm = match fields.content(OID, "signature algorithm has no OID")? {
            oid::SHA1_WITH_RSA => Self::RsaPkcs1(Hash::Sha1),
            oid::SHA256_WITH_RSA => Self::RsaPkcs1(Hash::Sha256),
            oid::SHA384_WITH_RSA => Self::RsaPkcs1(Hash::Sha384),
            oid::SHA512_WITH_RSA => Self::RsaPkcs1(Hash::Sha512),
            oid::ECDSA_WITH_SHA256 => Self::Ecdsa(Hash::Sha256),
            oid::ECDSA_WITH_SHA384 => Self::Ecdsa(Hash::Sha384),
            oid::ECDSA_WITH_SHA512 => Self::Ecdsa(Hash::Sha512),
            oid::RSASSA_PSS => {
                let hash = pss(fields.nested(SEQUENCE, "RSASSA-PSS without parameters")?)?;
                fields.finish("bytes follow the signature parameters")?;
                return Ok(Self::RsaPss(hash));
            }
            _ => return Err(BadDer("signature algorithm is not on the allow-list")),
        };
        let null = fields.optional(NULL)?;
        fields.finish("bytes follow the signature parameters")?;
        if null.is_some_and(|null| !null.content.is_empty()) {
            return Err(BadDer("NULL is not empty"));
        }
        match algorithm {
            // RFC 5758 §3.2: no parameters.
            Self::Ecdsa(_) if null.is_some() && !leniencies.allow(Leniency::EcdsaNullParameters) => {
                Err(BadDer("ECDSA with parameters"))
            }
            // RFC 4055 §5: both forms are to be accepted.
            _ => Ok(algorithm),
        }
    }

    /// Whether `signature` is one of `key` over `message`. A key of another kind never is.
    pub(crate) fn verify(
        self,
        kind: &PublicKey,
        key: &PKeyRef<Public>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, ErrorStack> {
        let (hash, wants_rsa) = match self {
            Self::RsaPkcs1(hash) | Self::RsaPss(hash) => (hash, true),
            Self::Ecdsa(hash) => (hash, false),
        };
        if matches!(kind, PublicKey::Rsa { .. }) != wants_rsa {
            return Ok(false);
        }
        let mut verifier = match self {
            Self::Ecdsa(_) => return verify_ecdsa(hash, key, message, signature),
            Self::RsaPkcs1(_) | Self::RsaPss(_) => Verifier::new(hash.digest(), key)?,
        };
        match self {
            Self::RsaPkcs1(_) => verifier.set_rsa_padding(Padding::PKCS1)?,
            Self::RsaPss(_) => {
                verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                verifier.set_rsa_mgf1_md(hash.digest())?;
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(i32::from(hash.len())))?;
            }
            Self::Ecdsa(_) => {}
        }
        // A signature that OpenSSL cannot read is an error there and a wrong signature here.
        Ok(verifier.verify_oneshot(signature, message).unwrap_or(false))
    }
}

/// ECDSA without the EVP layer, which would carry every fresh key to a provider: a third of the time of a check.
fn verify_ecdsa(hash: Hash, key: &PKeyRef<Public>, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
    let digest = hash.of(message);
    let key = key.ec_key()?;
    // One signature has one encoding: bytes behind it and padded numbers are refused (RFC 3279 §2.2.3, DER).
    let Ok(values) = EcdsaSig::from_der(signature) else {
        return Ok(false);
    };
    if values.to_der()? != signature {
        return Ok(false);
    }
    Ok(values.verify(&digest, &key).unwrap_or(false))
}

/// `RSASSA-PSS-params` (RFC 4055 §3.1): hash and MGF1 hash equal, salt as long as the hash, default trailer.
fn pss(mut fields: Reader<'_>) -> Result<Hash, BadDer> {
    const OTHER: BadDer = BadDer("RSASSA-PSS parameters are not on the allow-list");
    let mut explicit = fields.nested(constructed(0), "RSASSA-PSS with SHA-1")?;
    let hash = hash_identifier(&mut explicit)?;
    explicit.finish("bytes follow the hash")?;
    let mut explicit = fields.nested(constructed(1), "RSASSA-PSS with SHA-1")?;
    let mut mgf = explicit.nested(SEQUENCE, "mask generation is not a SEQUENCE")?;
    explicit.finish("bytes follow the mask generation")?;
    if mgf.content(OID, "mask generation has no OID")? != oid::MGF1 || hash_identifier(&mut mgf)? != hash {
        return Err(OTHER);
    }
    mgf.finish("bytes follow the mask generation")?;
    let mut explicit = fields.nested(constructed(2), "RSASSA-PSS with a salt of 20 bytes")?;
    let salt = asn1::small(explicit.content(INTEGER, "salt length is not an INTEGER")?)?;
    explicit.finish("bytes follow the salt length")?;
    if salt != u32::from(hash.len()) {
        return Err(OTHER);
    }
    fields.finish("bytes follow the RSASSA-PSS parameters")?;
    Ok(hash)
}

fn hash_identifier(reader: &mut Reader<'_>) -> Result<Hash, BadDer> {
    let mut fields = reader.nested(SEQUENCE, "hash algorithm is not a SEQUENCE")?;
    let hash = Hash::from_oid(fields.content(OID, "hash algorithm has no OID")?).ok_or(BadDer("hash is not SHA-2"))?;
    if fields.optional(NULL)?.is_some_and(|null| !null.content.is_empty()) {
        return Err(BadDer("NULL is not empty"));
    }
    fields.finish("bytes follow the hash algorithm")?;
    Ok(hash)
}
