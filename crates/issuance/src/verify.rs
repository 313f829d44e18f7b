//! Signatures checked in software, whatever made them.

use attest::{sha256, sha384};
use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use openssl::sign::RsaPssSaltlen;

use crate::SignatureAlgorithm;

/// A public key that goes with a signature algorithm, parsed once and kept.
#[derive(Clone)]
pub(crate) struct Verifier {
    algorithm: SignatureAlgorithm,
    key: PKey<Public>,
    /// The same key for ECDSA, which needs nothing of the EVP layer.
    ec: Option<EcKey<Public>>,
}

/// A public key that does not go with the algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VerifierError {
    #[error("the public key does not parse: {0}")]
    Spki(String),
    #[error("the public key is not one for {0:?}")]
    Mismatch(SignatureAlgorithm),
}

/// The signature does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadSignature;

impl Verifier {
    /// `spki` is DER, exactly one SubjectPublicKeyInfo.
    pub(crate) fn new(algorithm: SignatureAlgorithm, spki: &[u8]) -> Result<Self, VerifierError> {
        let key = PKey::public_key_from_der(spki).map_err(|e| VerifierError::Spki(e.to_string()))?;
        let again = key
            .public_key_to_der()
            .map_err(|e| VerifierError::Spki(e.to_string()))?;
        if again != spki {
            return Err(VerifierError::Spki("not the canonical DER of the key".into()));
        }
        let fits = match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => curve(&key) == Some(Nid::X9_62_PRIME256V1),
            SignatureAlgorithm::EcdsaP384Sha384 => curve(&key) == Some(Nid::SECP384R1),
            SignatureAlgorithm::Rsa3072Pkcs1Sha256 | SignatureAlgorithm::Rsa3072PssSha256 => {
                key.id() == Id::RSA && key.bits() == 3072
            }
            SignatureAlgorithm::Rsa4096Pkcs1Sha256 | SignatureAlgorithm::Rsa4096PssSha256 => {
                key.id() == Id::RSA && key.bits() == 4096
            }
        };
        if fits {
            let ec = key.ec_key().ok();
            Ok(Self { algorithm, key, ec })
        } else {
            Err(VerifierError::Mismatch(algorithm))
        }
    }

    /// Check `signature` over `bytes`. ECDSA signatures are DER `ECDSA-Sig-Value`.
    pub(crate) fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match self.check(bytes, signature) {
            Ok(true) => Ok(()),
            // OpenSSL reports a malformed signature as an error and a wrong one as `false`: both are no.
            Ok(false) | Err(_) => Err(BadSignature),
        }
    }

    fn check(&self, bytes: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        let pss = match self.algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => return self.ecdsa(&sha256(bytes), signature),
            SignatureAlgorithm::EcdsaP384Sha384 => return self.ecdsa(&sha384(bytes), signature),
            SignatureAlgorithm::Rsa3072Pkcs1Sha256 | SignatureAlgorithm::Rsa4096Pkcs1Sha256 => false,
            SignatureAlgorithm::Rsa3072PssSha256 | SignatureAlgorithm::Rsa4096PssSha256 => true,
        };
        let mut context = PkeyCtx::new(&self.key)?;
        context.verify_init()?;
        context.set_rsa_padding(if pss { Padding::PKCS1_PSS } else { Padding::PKCS1 })?;
        context.set_signature_md(Md::sha256())?;
        if pss {
            context.set_rsa_mgf1_md(Md::sha256())?;
            context.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        }
        context.verify(&sha256(bytes), signature)
    }

    /// One signature has one encoding: bytes behind it and padded numbers are refused (RFC 3279 §2.2.3, DER).
    fn ecdsa(&self, digest: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        let Some(key) = &self.ec else {
            return Ok(false);
        };
        let values = EcdsaSig::from_der(signature)?;
        Ok(values.to_der()? == signature && values.verify(digest, key)?)
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn curve(key: &PKey<Public>) -> Option<Nid> {
    let ec = key.ec_key().ok()?;
    ec.group().curve_name()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkey::SoftKey;

    #[test]
    fn only_the_algorithms_of_the_key() {
        for made in SignatureAlgorithm::ALL {
            let key = SoftKey::new(made);
            for asked in SignatureAlgorithm::ALL {
                assert_eq!(
                    Verifier::new(asked, &key.spki).is_ok(),
                    kind(made) == kind(asked),
                    "{made:?} as {asked:?}"
                );
            }
        }
    }

    fn kind(algorithm: SignatureAlgorithm) -> &'static str {
        match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => "P-256",
            SignatureAlgorithm::EcdsaP384Sha384 => "P-384",
            SignatureAlgorithm::Rsa3072Pkcs1Sha256 | SignatureAlgorithm::Rsa3072PssSha256 => "RSA-3072",
            SignatureAlgorithm::Rsa4096Pkcs1Sha256 | SignatureAlgorithm::Rsa4096PssSha256 => "RSA-4096",
        }
    }

    #[test]
    fn trailing_bytes_after_the_key() {
        let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
        let mut spki = SoftKey::new(algorithm).spki;
        spki.push(0);
        assert!(matches!(Verifier::new(algorithm, &spki), Err(VerifierError::Spki(_))));
    }

    #[test]
    fn other_padding_of_the_same_key() {
        let pkcs1 = SoftKey::new(SignatureAlgorithm::Rsa3072Pkcs1Sha256);
        let pss = Verifier::new(SignatureAlgorithm::Rsa3072PssSha256, &pkcs1.spki).unwrap();
        assert_eq!(pss.verify(b"x", &pkcs1.raw_sign(b"x")), Err(BadSignature));
    }

    #[test]
    fn pss_with_another_salt_length() {
        let pss = SoftKey::new(SignatureAlgorithm::Rsa3072PssSha256);
        let verifier = Verifier::new(pss.algorithm, &pss.spki).unwrap();
        let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &pss.key).unwrap();
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(20)).unwrap();
        let salt20 = signer.sign_oneshot_to_vec(b"x").unwrap();
        assert_eq!(verifier.verify(b"x", &salt20), Err(BadSignature));
        assert_eq!(verifier.verify(b"x", &pss.raw_sign(b"x")), Ok(()));
    }
}
