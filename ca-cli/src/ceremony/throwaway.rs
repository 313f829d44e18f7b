//! Keys of no worth: what a token is about to sign is signed by one of these first, and looked at.

use issuance::{CaKey, KeyError, SignatureAlgorithm, ToSign};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};

/// A key in memory, gone with the process.
pub(crate) struct Throwaway {
    key: PKey<Private>,
    spki: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl Throwaway {
    /// Draw one.
    pub(crate) fn draw(algorithm: SignatureAlgorithm) -> anyhow::Result<Self> {
        let ec = |curve| -> anyhow::Result<PKey<Private>> {
            let group = EcGroup::from_curve_name(curve)?;
            Ok(PKey::from_ec_key(EcKey::generate(&group)?)?)
        };
        let key = match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => ec(Nid::X9_62_PRIME256V1)?,
            SignatureAlgorithm::EcdsaP384Sha384 => ec(Nid::SECP384R1)?,
            SignatureAlgorithm::Rsa3072Pkcs1Sha256 | SignatureAlgorithm::Rsa3072PssSha256 => {
                PKey::from_rsa(Rsa::generate(3072)?)?
            }
            SignatureAlgorithm::Rsa4096Pkcs1Sha256 | SignatureAlgorithm::Rsa4096PssSha256 => {
                PKey::from_rsa(Rsa::generate(4096)?)?
            }
        };
        let spki = key.public_key_to_der()?;
        Ok(Self { key, spki, algorithm })
    }

    /// One from a file of a rehearsal, PKCS#8 PEM, ECDSA P-256.
    pub(crate) fn read(pem: &[u8]) -> anyhow::Result<Self> {
        let key = PKey::private_key_from_pem(pem)?;
        let spki = key.public_key_to_der()?;
        Ok(Self {
            key,
            spki,
            algorithm: SignatureAlgorithm::EcdsaP256Sha256,
        })
    }

    /// For the file of a rehearsal.
    pub(crate) fn pem(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.key.private_key_to_pem_pkcs8()?)
    }

    /// Sign these bytes.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
        let digest = match self.algorithm {
            SignatureAlgorithm::EcdsaP384Sha384 => MessageDigest::sha384(),
            _ => MessageDigest::sha256(),
        };
        let mut signer = Signer::new(digest, &self.key)?;
        if matches!(
            self.algorithm,
            SignatureAlgorithm::Rsa3072PssSha256 | SignatureAlgorithm::Rsa4096PssSha256
        ) {
            signer.set_rsa_padding(Padding::PKCS1_PSS)?;
            signer.set_rsa_mgf1_md(MessageDigest::sha256())?;
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        }
        Ok(signer.sign_oneshot_to_vec(bytes)?)
    }
}

impl CaKey for Throwaway {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
    fn spki(&self) -> &[u8] {
        &self.spki
    }
    fn sign(&self, what: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
        self.sign_bytes(what.bytes())
            .map_err(|e| KeyError::Unknown(e.to_string()))
    }
}
