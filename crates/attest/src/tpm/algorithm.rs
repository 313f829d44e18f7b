//! Algorithm and curve identifiers (TPM 2.0 Part 2, 6.3 and 6.4).

use openssl::hash::MessageDigest;
use openssl::nid::Nid;

/// `TPM_ALG_ID`: any value; the rules decide which are taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TpmAlgId(pub u16);

impl TpmAlgId {
    /// RSA.
    pub const RSA: Self = Self(0x0001);
    /// Triple DES.
    pub const TDES: Self = Self(0x0003);
    /// SHA-1.
    pub const SHA1: Self = Self(0x0004);
    /// HMAC.
    pub const HMAC: Self = Self(0x0005);
    /// AES.
    pub const AES: Self = Self(0x0006);
    /// MGF1.
    pub const MGF1: Self = Self(0x0007);
    /// KEYEDHASH object.
    pub const KEYEDHASH: Self = Self(0x0008);
    /// SHA-256.
    pub const SHA256: Self = Self(0x000B);
    /// SHA-384.
    pub const SHA384: Self = Self(0x000C);
    /// SHA-512.
    pub const SHA512: Self = Self(0x000D);
    /// No algorithm.
    pub const NULL: Self = Self(0x0010);
    /// SM4.
    pub const SM4: Self = Self(0x0013);
    /// RSASSA-PKCS1-v1_5.
    pub const RSASSA: Self = Self(0x0014);
    /// RSAES-PKCS1-v1_5.
    pub const RSAES: Self = Self(0x0015);
    /// RSASSA-PSS.
    pub const RSAPSS: Self = Self(0x0016);
    /// RSAES-OAEP.
    pub const OAEP: Self = Self(0x0017);
    /// ECDSA.
    pub const ECDSA: Self = Self(0x0018);
    /// ECDH.
    pub const ECDH: Self = Self(0x0019);
    /// ECDAA.
    pub const ECDAA: Self = Self(0x001A);
    /// SM2.
    pub const SM2: Self = Self(0x001B);
    /// EC-Schnorr.
    pub const ECSCHNORR: Self = Self(0x001C);
    /// ECMQV.
    pub const ECMQV: Self = Self(0x001D);
    /// KDF of SP 800-56A.
    pub const KDF1_SP800_56A: Self = Self(0x0020);
    /// KDF2 of IEEE 1363a.
    pub const KDF2: Self = Self(0x0021);
    /// KDF of SP 800-108.
    pub const KDF1_SP800_108: Self = Self(0x0022);
    /// Elliptic curves.
    pub const ECC: Self = Self(0x0023);
    /// SYMCIPHER object.
    pub const SYMCIPHER: Self = Self(0x0025);
    /// Camellia.
    pub const CAMELLIA: Self = Self(0x0026);
    /// Cipher feedback mode.
    pub const CFB: Self = Self(0x0043);

    /// Its TCG name, where the evidence of a device can reasonably carry it.
    fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::RSA => "RSA",
            Self::SHA1 => "SHA1",
            Self::HMAC => "HMAC",
            Self::AES => "AES",
            Self::KEYEDHASH => "KEYEDHASH",
            Self::SHA256 => "SHA256",
            Self::SHA384 => "SHA384",
            Self::SHA512 => "SHA512",
            Self::NULL => "NULL",
            Self::RSASSA => "RSASSA",
            Self::RSAES => "RSAES",
            Self::RSAPSS => "RSAPSS",
            Self::OAEP => "OAEP",
            Self::ECDSA => "ECDSA",
            Self::ECDH => "ECDH",
            Self::ECDAA => "ECDAA",
            Self::SM2 => "SM2",
            Self::ECC => "ECC",
            Self::SYMCIPHER => "SYMCIPHER",
            Self::CFB => "CFB",
            _ => return None,
        })
    }
}

impl core::fmt::Display for TpmAlgId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.word() {
            Some(word) => f.write_str(word),
            None => write!(f, "algorithm {:#06x}", self.0),
        }
    }
}

impl core::fmt::Debug for TpmAlgId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// A hash this crate computes with: the SHA-2 functions of the EK templates and of attestation signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// Of a TPM algorithm id; `None` for SHA-1, SM3, SHA-3 and everything that is no hash.
    #[must_use]
    pub fn from_id(id: TpmAlgId) -> Option<Self> {
        match id {
            TpmAlgId::SHA256 => Some(Self::Sha256),
            TpmAlgId::SHA384 => Some(Self::Sha384),
            TpmAlgId::SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Its TPM algorithm id.
    #[must_use]
    pub fn id(self) -> TpmAlgId {
        match self {
            Self::Sha256 => TpmAlgId::SHA256,
            Self::Sha384 => TpmAlgId::SHA384,
            Self::Sha512 => TpmAlgId::SHA512,
        }
    }

    /// Digest length in bytes.
    #[must_use]
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Digest length in bits.
    #[must_use]
    pub fn digest_bits(self) -> u16 {
        match self {
            Self::Sha256 => 256,
            Self::Sha384 => 384,
            Self::Sha512 => 512,
        }
    }

    pub(super) fn message_digest(self) -> MessageDigest {
        match self {
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }

    /// Digest of `data`.
    #[must_use]
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => crate::digest::sha256(data).to_vec(),
            Self::Sha384 => crate::digest::sha384(data).to_vec(),
            Self::Sha512 => crate::digest::sha512(data).to_vec(),
        }
    }
}

/// `TPM_ECC_CURVE`: any value; the rules decide which are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TpmEccCurve(pub u16);

impl TpmEccCurve {
    /// NIST P-256.
    pub const NIST_P256: Self = Self(0x0003);
    /// NIST P-384.
    pub const NIST_P384: Self = Self(0x0004);
    /// NIST P-521.
    pub const NIST_P521: Self = Self(0x0005);

    /// OpenSSL's number and the coordinate length in bytes; `None` for curves nothing here computes on.
    pub(crate) fn group(self) -> Option<(Nid, usize)> {
        match self {
            Self::NIST_P256 => Some((Nid::X9_62_PRIME256V1, 32)),
            Self::NIST_P384 => Some((Nid::SECP384R1, 48)),
            Self::NIST_P521 => Some((Nid::SECP521R1, 66)),
            _ => None,
        }
    }
}

impl core::fmt::Display for TpmEccCurve {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::NIST_P256 => f.write_str("P-256"),
            Self::NIST_P384 => f.write_str("P-384"),
            Self::NIST_P521 => f.write_str("P-521"),
            Self(id) => write!(f, "curve {id:#06x}"),
        }
    }
}
