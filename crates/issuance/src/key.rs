//! A signing key that lives elsewhere.

use crate::SignFailure;
use crate::verify::Verifier;

/// Signature algorithms of CA keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA P-256 with SHA-256.
    EcdsaP256Sha256,
    /// ECDSA P-384 with SHA-384.
    EcdsaP384Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 3072 bits.
    Rsa3072Pkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 4096 bits.
    Rsa4096Pkcs1Sha256,
    /// RSASSA-PSS with SHA-256, MGF1-SHA-256, salt 32, 3072 bits.
    Rsa3072PssSha256,
    /// RSASSA-PSS with SHA-256, MGF1-SHA-256, salt 32, 4096 bits.
    Rsa4096PssSha256,
}

/// `{ ecdsa-with-SHA256 }`, parameters absent (RFC 5758 §3.2).
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
/// `{ ecdsa-with-SHA384 }`, parameters absent (RFC 5758 §3.2).
const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
/// `{ sha256WithRSAEncryption, NULL }` (RFC 4055 §5).
const RSA_PKCS1_SHA256: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";
/// `{ id-RSASSA-PSS, { sha256, mgf1 { sha256 }, 32 } }`, all three fields explicit (RFC 4055 §3.1).
const RSA_PSS_SHA256: &[u8] = b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
\xa2\x03\x02\x01\x20";

impl SignatureAlgorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::EcdsaP256Sha256,
        Self::EcdsaP384Sha384,
        Self::Rsa3072Pkcs1Sha256,
        Self::Rsa4096Pkcs1Sha256,
        Self::Rsa3072PssSha256,
        Self::Rsa4096PssSha256,
    ];

    /// Its name in files and on command lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::Rsa3072Pkcs1Sha256 => "rsa3072-pkcs1-sha256",
            Self::Rsa4096Pkcs1Sha256 => "rsa4096-pkcs1-sha256",
            Self::Rsa3072PssSha256 => "rsa3072-pss-sha256",
            Self::Rsa4096PssSha256 => "rsa4096-pss-sha256",
        }
    }

    /// The algorithm of this name, if there is one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }

    /// The algorithm with this `AlgorithmIdentifier` (DER) for the key of this SubjectPublicKeyInfo (DER).
    #[must_use]
    pub(crate) fn for_key(identifier: &[u8], spki: &[u8]) -> Option<Self> {
        let fitting = Self::ALL
            .into_iter()
            .filter(|algorithm| algorithm.identifier() == identifier);
        let mut fitting = fitting.filter(|algorithm| Verifier::new(*algorithm, spki).is_ok());
        fitting.next()
    }

    /// `AlgorithmIdentifier`, DER: the same bytes inside and outside the signed part (RFC 5280 §4.1.1.2).
    #[must_use]
    pub fn identifier(self) -> &'static [u8] {
        match self {
            Self::EcdsaP256Sha256 => ECDSA_SHA256,
            Self::EcdsaP384Sha384 => ECDSA_SHA384,
            Self::Rsa3072Pkcs1Sha256 | Self::Rsa4096Pkcs1Sha256 => RSA_PKCS1_SHA256,
            Self::Rsa3072PssSha256 | Self::Rsa4096PssSha256 => RSA_PSS_SHA256,
        }
    }
}

/// Bytes cleared for signature. Made only in this crate, so that holding a key is not enough to sign anything else.
#[derive(Debug)]
pub struct ToSign<'a>(pub(crate) &'a [u8]);

impl ToSign<'_> {
    /// The exact bytes to hash and sign.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0
    }
}

/// The key did not answer with a signature. The outcome is unknown, never "failed".
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyError {
    /// No session, no token, no login: nothing was asked of the key.
    #[error("the signer is not available: {0}")]
    Unavailable(String),
    /// The key was asked; what it did is not known.
    #[error("the outcome of the signature is unknown: {0}")]
    Unknown(String),
}

/// A CA key behind some wall.
pub trait CaKey: Send + Sync {
    /// Algorithm it signs with.
    fn algorithm(&self) -> SignatureAlgorithm;
    /// SubjectPublicKeyInfo, DER.
    fn spki(&self) -> &[u8];
    /// Sign. ECDSA signatures come back as DER `ECDSA-Sig-Value`.
    ///
    /// # Errors
    /// [`KeyError`].
    fn sign(&self, what: ToSign<'_>) -> Result<Vec<u8>, KeyError>;
}

/// What [`probe`] signs. It does not start with a SEQUENCE tag, so no certificate, CRL or OCSP response has these bytes.
const PROBE: &[u8] = b"holdfast signer probe v1: these bytes are not a certificate\n";

/// Sign and verify a domain-separated probe text that can never be a certificate; for start-up and readiness.
///
/// # Errors
/// [`SignFailure`]; [`SignFailure::WrongKey`] when the key's SPKI does not parse or does not fit its algorithm.
pub fn probe(key: &dyn CaKey) -> Result<(), SignFailure> {
    Probe::of(key)?.sign(key)
}

/// [`probe`] prepared, for many of them.
pub struct Probe(Verifier);

impl Probe {
    /// Parse the key's SPKI.
    ///
    /// # Errors
    /// [`SignFailure::WrongKey`] when it does not parse or does not fit its algorithm.
    pub fn of(key: &dyn CaKey) -> Result<Self, SignFailure> {
        let verifier = Verifier::new(key.algorithm(), key.spki());
        verifier.map(Self).map_err(|e| SignFailure::WrongKey(e.to_string()))
    }

    /// Sign and verify.
    ///
    /// # Errors
    /// [`SignFailure`].
    pub fn sign(&self, key: &dyn CaKey) -> Result<(), SignFailure> {
        let signature = key.sign(ToSign(PROBE))?;
        self.0.verify(PROBE, &signature).map_err(|_| SignFailure::Corrupt)
    }
}

/// Sign the text of a checkpoint of the ledger: `domain` and the text, as `ledger::CA_KEY` and `ledger::ca_key_line` say,
/// verified in software.
///
/// # Errors
/// [`SignFailure`]; [`SignFailure::WrongKey`] also for a domain that a SEQUENCE could begin with, asked before the key is.
pub fn vouch(key: &dyn CaKey, domain: &str, text: &str) -> Result<Vec<u8>, SignFailure> {
    if !domain.starts_with("holdfast-") || !domain.ends_with('\n') {
        return Err(SignFailure::WrongKey("these bytes could be a certificate's".to_owned()));
    }
    let wrong = |e: crate::verify::VerifierError| SignFailure::WrongKey(e.to_string());
    let verifier = Verifier::new(key.algorithm(), key.spki()).map_err(wrong)?;
    let message = [domain, text].concat().into_bytes();
    let signature = key.sign(ToSign(&message))?;
    match verifier.verify(&message, &signature) {
        Ok(()) => Ok(signature),
        Err(_) => Err(SignFailure::Corrupt),
    }
}

/// Whether the key of a CA certificate signed a text under a domain, as [`vouch`] does.
#[must_use]
pub fn vouched(issuer: &crate::Issuer, domain: &str, text: &str, signature: &[u8]) -> bool {
    let message = [domain, text].concat().into_bytes();
    Verifier::new(issuer.algorithm(), issuer.spki()).is_ok_and(|v| v.verify(&message, signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkey::SoftKey;

    #[test]
    fn a_ca_key_vouches_under_a_domain_only() {
        for algorithm in SignatureAlgorithm::ALL {
            let key = SoftKey::new(algorithm);
            let signature = vouch(&key, "holdfast-test/v1\n", "text\n").unwrap();
            let verifier = Verifier::new(algorithm, &key.spki).unwrap();
            assert!(verifier.verify(b"holdfast-test/v1\ntext\n", &signature).is_ok());
            assert!(verifier.verify(b"text\n", &signature).is_err());
            for domain in ["", "0\n", "holdfast-test/v1"] {
                let refused = vouch(&key, domain, "text\n");
                assert!(matches!(refused, Err(SignFailure::WrongKey(_))), "{domain:?}");
            }
        }
    }
}
