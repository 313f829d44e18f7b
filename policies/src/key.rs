//! Which keys a certificate may carry, by their SubjectPublicKeyInfo.

use attest::KeyAlgorithm;
use openssl::bn::BigNum;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey};
use serde::Deserialize;

/// Algorithm and size of a key to certify, in the words of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum ProfileKey {
    /// RSA with a 2048-bit modulus; never a CA's.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA with a 3072-bit modulus.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA with a 4096-bit modulus; only a CA's.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
    /// NIST P-256.
    #[serde(rename = "p-256")]
    P256,
    /// NIST P-384.
    #[serde(rename = "p-384")]
    P384,
}

impl ProfileKey {
    /// The word used in profiles.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::P256 => "p-256",
            Self::P384 => "p-384",
        }
    }

    /// Read a SubjectPublicKeyInfo: strict DER, named curve or an RSA key with exponent 65537.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn of_spki(der: &[u8]) -> Result<Self, String> {
        let key = PKey::public_key_from_der(der).map_err(|_| "not a SubjectPublicKeyInfo".to_owned())?;
        // OpenSSL forgives trailing bytes and odd encodings; one key has one encoding here, so that keys compare.
        if key.public_key_to_der().ok().as_deref() != Some(der) {
            return Err("the SubjectPublicKeyInfo is not in its canonical DER form".to_owned());
        }
        match key.id() {
            Id::EC => {
                let ec = key.ec_key().map_err(|_| "not an EC key".to_owned())?;
                ec.check_key().map_err(|_| "the point is not on its curve".to_owned())?;
                match ec.group().curve_name() {
                    Some(Nid::X9_62_PRIME256V1) => Ok(Self::P256),
                    Some(Nid::SECP384R1) => Ok(Self::P384),
                    _ => Err("the curve is neither P-256 nor P-384".to_owned()),
                }
            }
            Id::RSA => {
                let rsa = key.rsa().map_err(|_| "not an RSA key".to_owned())?;
                let usual = BigNum::from_u32(65537).map_err(|_| "out of memory".to_owned())?;
                if rsa.e() != &*usual {
                    return Err("the RSA exponent is not 65537".to_owned());
                }
                match rsa.n().num_bits() {
                    2048 => Ok(Self::Rsa2048),
                    3072 => Ok(Self::Rsa3072),
                    4096 => Ok(Self::Rsa4096),
                    bits => Err(format!("RSA with {bits} bits")),
                }
            }
            _ => Err("neither RSA nor EC".to_owned()),
        }
    }
}

impl From<KeyAlgorithm> for ProfileKey {
    fn from(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::Rsa2048 => Self::Rsa2048,
            KeyAlgorithm::Rsa3072 => Self::Rsa3072,
            KeyAlgorithm::P256 => Self::P256,
            KeyAlgorithm::P384 => Self::P384,
        }
    }
}
