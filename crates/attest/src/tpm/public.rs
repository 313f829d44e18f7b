//! `TPMT_PUBLIC` (TPM 2.0 Part 2, 12.2.4).

use super::read::Reader;
use super::{TpmAlgId, TpmEccCurve};
use crate::Refusal;

/// Largest digest a `TPM2B_DIGEST` holds (SHA-512).
const MAX_DIGEST: usize = 64;

/// `TPMA_OBJECT` (TPM 2.0 Part 2, 8.3): the attribute bits of an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TpmaObject(pub u32);

impl TpmaObject {
    /// The hierarchy of the object cannot change.
    pub const FIXED_TPM: Self = Self(0x0000_0002);
    /// Saved contexts die with a Startup(CLEAR).
    pub const ST_CLEAR: Self = Self(0x0000_0004);
    /// The parent of the object cannot change.
    pub const FIXED_PARENT: Self = Self(0x0000_0010);
    /// The TPM generated the sensitive data.
    pub const SENSITIVE_DATA_ORIGIN: Self = Self(0x0000_0020);
    /// USER role with authValue or policy.
    pub const USER_WITH_AUTH: Self = Self(0x0000_0040);
    /// ADMIN role with policy only.
    pub const ADMIN_WITH_POLICY: Self = Self(0x0000_0080);
    /// Not subject to dictionary attack protections.
    pub const NO_DA: Self = Self(0x0000_0400);
    /// Duplication is encrypted.
    pub const ENCRYPTED_DUPLICATION: Self = Self(0x0000_0800);
    /// The key is restricted to structures of known format.
    pub const RESTRICTED: Self = Self(0x0001_0000);
    /// The private part may decrypt.
    pub const DECRYPT: Self = Self(0x0002_0000);
    /// The private part may sign.
    pub const SIGN: Self = Self(0x0004_0000);
    /// The key signs X.509 certificates only.
    pub const X509_SIGN: Self = Self(0x0008_0000);
    /// All bits that have a meaning; the others are reserved and shall be zero.
    pub const DEFINED: Self = Self(0x000F_0CF6);

    /// Whether every bit of `bits` is set.
    #[must_use]
    pub fn contains(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// Whether any bit of `bits` is set.
    #[must_use]
    pub fn intersects(self, bits: Self) -> bool {
        self.0 & bits.0 != 0
    }
}

impl core::fmt::Debug for TpmaObject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// `TPMT_SYM_DEF_OBJECT` (Part 2, 11.1.7) other than NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpmtSymDefObject {
    /// Block cipher.
    pub algorithm: TpmAlgId,
    /// Key size in bits.
    pub key_bits: u16,
    /// Mode of operation.
    pub mode: TpmAlgId,
}

/// `TPMT_RSA_SCHEME` or `TPMT_ECC_SCHEME` (Part 2, 11.2.4.2 and 11.2.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TpmtScheme {
    /// No scheme fixed.
    Null,
    /// A scheme with a hash: RSASSA, RSAPSS, OAEP, ECDSA, ECDH, ECMQV, SM2, ECSCHNORR.
    Hashed {
        /// Scheme.
        scheme: TpmAlgId,
        /// Its hash.
        hash: TpmAlgId,
    },
    /// RSAES, which has no parameters.
    Rsaes,
    /// ECDAA: anonymous.
    Ecdaa {
        /// Hash.
        hash: TpmAlgId,
        /// Commit counter.
        count: u16,
    },
}

/// `TPMS_RSA_PARMS` and the modulus (Part 2, 12.2.3.5 and 11.2.4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaParms {
    /// Symmetric algorithm of a restricted decryption key; `None` is NULL.
    pub symmetric: Option<TpmtSymDefObject>,
    /// Scheme.
    pub scheme: TpmtScheme,
    /// Size of the modulus in bits, as declared.
    pub key_bits: u16,
    /// Public exponent, as declared; 0 means 65537.
    pub exponent: u32,
    /// `unique`: the modulus, big-endian, as received.
    pub modulus: Vec<u8>,
}

/// `TPMS_ECC_PARMS` and the point (Part 2, 12.2.3.6 and 11.2.5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EccParms {
    /// Symmetric algorithm of a restricted decryption key; `None` is NULL.
    pub symmetric: Option<TpmtSymDefObject>,
    /// Scheme.
    pub scheme: TpmtScheme,
    /// Curve.
    pub curve: TpmEccCurve,
    /// `kdf`: scheme and hash; `None` is NULL.
    pub kdf: Option<(TpmAlgId, TpmAlgId)>,
    /// `unique.x`, big-endian, as received: leading zeros may be missing.
    pub x: Vec<u8>,
    /// `unique.y`, big-endian, as received: leading zeros may be missing.
    pub y: Vec<u8>,
}

/// `TPMU_PUBLIC_PARMS` and `TPMU_PUBLIC_ID` of the asymmetric types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicParms {
    /// `TPM_ALG_RSA`.
    Rsa(RsaParms),
    /// `TPM_ALG_ECC`.
    Ecc(EccParms),
}

impl PublicParms {
    /// Symmetric algorithm; `None` is NULL.
    #[must_use]
    pub fn symmetric(&self) -> Option<TpmtSymDefObject> {
        match self {
            Self::Rsa(rsa) => rsa.symmetric,
            Self::Ecc(ecc) => ecc.symmetric,
        }
    }

    /// Scheme.
    #[must_use]
    pub fn scheme(&self) -> TpmtScheme {
        match self {
            Self::Rsa(rsa) => rsa.scheme,
            Self::Ecc(ecc) => ecc.scheme,
        }
    }
}

/// `TPMT_PUBLIC` of an RSA or ECC key, with the bytes it was parsed from. Parsed, not judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmtPublic {
    raw: Vec<u8>,
    name_alg: TpmAlgId,
    attributes: TpmaObject,
    auth_policy: Vec<u8>,
    parms: PublicParms,
}

impl TpmtPublic {
    /// Parse a `TPMT_PUBLIC` (without the TPM2B size). Every byte must belong to it; reserved attribute bits must be
    /// zero. Sizes, schemes, hashes and curves are kept as they are: [`Self::spki`] and the key rules judge them.
    ///
    /// # Errors
    /// [`crate::Reason::Malformed`]; KEYEDHASH and SYMCIPHER objects too, for they hold no public key.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(bytes, "TPMT_PUBLIC");
        let kind = TpmAlgId(reader.u16("type")?);
        let name_alg = TpmAlgId(reader.u16("nameAlg")?);
        // Known values with a known Name, good or bad; SM3 and SHA-3 Names cannot be computed here.
        if !matches!(
            name_alg,
            TpmAlgId::SHA1 | TpmAlgId::SHA256 | TpmAlgId::SHA384 | TpmAlgId::SHA512 | TpmAlgId::NULL
        ) {
            return Err(reader.malformed(format_args!("nameAlg {name_alg} is not a hash that is known here")));
        }
        let attributes = TpmaObject(reader.u32("objectAttributes")?);
        if attributes.intersects(TpmaObject(!TpmaObject::DEFINED.0)) {
            return Err(reader.malformed(format_args!("objectAttributes {attributes:?} has reserved bits")));
        }
        let auth_policy = reader.sized(MAX_DIGEST, "authPolicy")?.to_vec();
        let parms = match kind {
            TpmAlgId::RSA => PublicParms::Rsa(rsa(&mut reader)?),
            TpmAlgId::ECC => PublicParms::Ecc(ecc(&mut reader)?),
            other => return Err(reader.malformed(format_args!("type {other} is not an asymmetric key"))),
        };
        reader.finish()?;
        Ok(Self {
            raw: bytes.to_vec(),
            name_alg,
            attributes,
            auth_policy,
            parms,
        })
    }

    /// Parse a `TPM2B_PUBLIC`: the size, then exactly one `TPMT_PUBLIC`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_2b(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(bytes, "TPM2B_PUBLIC");
        let inner = reader.sized(usize::from(u16::MAX), "publicArea")?;
        reader.finish()?;
        Self::parse(inner)
    }

    /// The bytes it was parsed from.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// `type`: RSA or ECC.
    #[must_use]
    pub fn algorithm(&self) -> TpmAlgId {
        match self.parms {
            PublicParms::Rsa(_) => TpmAlgId::RSA,
            PublicParms::Ecc(_) => TpmAlgId::ECC,
        }
    }

    /// `nameAlg`: SHA1, SHA256, SHA384, SHA512 or NULL.
    #[must_use]
    pub fn name_alg(&self) -> TpmAlgId {
        self.name_alg
    }

    /// `objectAttributes`.
    #[must_use]
    pub fn attributes(&self) -> TpmaObject {
        self.attributes
    }

    /// `authPolicy`; empty when there is none.
    #[must_use]
    pub fn auth_policy(&self) -> &[u8] {
        &self.auth_policy
    }

    /// `parameters` and `unique`.
    #[must_use]
    pub fn parms(&self) -> &PublicParms {
        &self.parms
    }

    /// The Name: nameAlg || digest of the received bytes (Part 1, 16). Empty when nameAlg is NULL.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        let mut name = self.name_alg.0.to_be_bytes().to_vec();
        match self.name_alg {
            TpmAlgId::SHA1 => name.extend(openssl::sha::sha1(&self.raw)),
            TpmAlgId::SHA256 => name.extend(crate::digest::sha256(&self.raw)),
            TpmAlgId::SHA384 => name.extend(crate::digest::sha384(&self.raw)),
            TpmAlgId::SHA512 => name.extend(crate::digest::sha512(&self.raw)),
            _ => name.clear(),
        }
        name
    }

    /// SubjectPublicKeyInfo, DER: rsaEncryption with NULL, or a named curve with the uncompressed point.
    ///
    /// # Errors
    /// [`crate::Reason::KeyAlg`] (the caller names its own with [`Refusal::because`]) for what is no sound key: RSA
    /// other than 2048, 3072 or 4096 bits, modulus of another size or even or known to be weak, exponent other than
    /// 0 or 65537; a curve other than P-256, P-384 or P-521, a point that is not on it.
    pub fn spki(&self) -> Result<Vec<u8>, Refusal> {
        super::spki::SoundKey::of(&self.parms).map(|sound| sound.spki)
    }
}

fn rsa(reader: &mut Reader<'_>) -> Result<RsaParms, Refusal> {
    Ok(RsaParms {
        symmetric: symmetric(reader)?,
        scheme: rsa_scheme(reader)?,
        key_bits: reader.u16("keyBits")?,
        exponent: reader.u32("exponent")?,
        modulus: reader.sized(usize::from(u16::MAX), "unique.rsa")?.to_vec(),
    })
}

fn ecc(reader: &mut Reader<'_>) -> Result<EccParms, Refusal> {
    Ok(EccParms {
        symmetric: symmetric(reader)?,
        scheme: ecc_scheme(reader)?,
        curve: TpmEccCurve(reader.u16("curveID")?),
        kdf: kdf_scheme(reader)?,
        x: reader.sized(usize::from(u16::MAX), "unique.x")?.to_vec(),
        y: reader.sized(usize::from(u16::MAX), "unique.y")?.to_vec(),
    })
}

fn symmetric(reader: &mut Reader<'_>) -> Result<Option<TpmtSymDefObject>, Refusal> {
    match TpmAlgId(reader.u16("symmetric")?) {
        TpmAlgId::NULL => Ok(None),
        algorithm @ (TpmAlgId::AES | TpmAlgId::SM4 | TpmAlgId::CAMELLIA | TpmAlgId::TDES) => {
            Ok(Some(TpmtSymDefObject {
                algorithm,
                key_bits: reader.u16("symmetric.keyBits")?,
                mode: TpmAlgId(reader.u16("symmetric.mode")?),
            }))
        }
        other => Err(reader.malformed(format_args!("symmetric {other} is not a block cipher"))),
    }
}

fn rsa_scheme(reader: &mut Reader<'_>) -> Result<TpmtScheme, Refusal> {
    match TpmAlgId(reader.u16("scheme")?) {
        TpmAlgId::NULL => Ok(TpmtScheme::Null),
        TpmAlgId::RSAES => Ok(TpmtScheme::Rsaes),
        scheme @ (TpmAlgId::RSASSA | TpmAlgId::RSAPSS | TpmAlgId::OAEP) => Ok(TpmtScheme::Hashed {
            scheme,
            hash: TpmAlgId(reader.u16("scheme.hash")?),
        }),
        other => Err(reader.malformed(format_args!("scheme {other} is not one of RSA"))),
    }
}

fn ecc_scheme(reader: &mut Reader<'_>) -> Result<TpmtScheme, Refusal> {
    match TpmAlgId(reader.u16("scheme")?) {
        TpmAlgId::NULL => Ok(TpmtScheme::Null),
        scheme @ (TpmAlgId::ECDSA | TpmAlgId::ECDH | TpmAlgId::ECMQV | TpmAlgId::SM2 | TpmAlgId::ECSCHNORR) => {
            Ok(TpmtScheme::Hashed {
                scheme,
                hash: TpmAlgId(reader.u16("scheme.hash")?),
            })
        }
        TpmAlgId::ECDAA => Ok(TpmtScheme::Ecdaa {
            hash: TpmAlgId(reader.u16("scheme.hash")?),
            count: reader.u16("scheme.count")?,
        }),
        other => Err(reader.malformed(format_args!("scheme {other} is not one of ECC"))),
    }
}

fn kdf_scheme(reader: &mut Reader<'_>) -> Result<Option<(TpmAlgId, TpmAlgId)>, Refusal> {
    match TpmAlgId(reader.u16("kdf")?) {
        TpmAlgId::NULL => Ok(None),
        kdf @ (TpmAlgId::MGF1 | TpmAlgId::KDF1_SP800_56A | TpmAlgId::KDF2 | TpmAlgId::KDF1_SP800_108) => {
            Ok(Some((kdf, TpmAlgId(reader.u16("kdf.hash")?))))
        }
        other => Err(reader.malformed(format_args!("kdf {other} is not a key derivation function"))),
    }
}
