//! A signing key that lives elsewhere.

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

/// Sign and verify a domain-separated probe text that can never be a certificate; for start-up and readiness.
///
/// # Errors
/// [`crate::SignFailure`].
pub fn probe(_key: &dyn CaKey) -> Result<(), crate::SignFailure> {
    todo!()
}
