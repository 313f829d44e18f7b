//! One token: module loaded once, logged in once, a bounded pool of sessions that heals itself.

use std::time::Duration;

use issuance::SignatureAlgorithm;
use secrecy::SecretString;

use crate::{GeneratedKey, HsmKey, KeySpec, Pkcs11Uri};

/// How to reach a token.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// Which module and token.
    pub uri: Pkcs11Uri,
    /// Sessions kept open for signing.
    pub sessions: usize,
    /// How long a signature may wait for a free session.
    pub queue_deadline: Duration,
    /// Shortest time between two login attempts.
    pub login_backoff: Duration,
}

/// Why the HSM does not serve. Names what failed and in which call.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HsmError {
    /// The module does not load.
    #[error("PKCS#11 module `{path}`: {detail}")]
    Module {
        /// Path.
        path: String,
        /// Loader's words.
        detail: String,
    },
    /// No token, or more than one, fits the URI.
    #[error("{0}")]
    Token(String),
    /// The PIN was refused, or the token warns that few tries are left.
    #[error("{0}")]
    Pin(String),
    /// No key, or more than one, fits; or it is not the certificate's.
    #[error("{0}")]
    Key(String),
    /// An attribute of the key is not as it must be.
    #[error("key attribute {attribute} is {found}, must be {wanted}")]
    Attribute {
        /// CKA_ name.
        attribute: &'static str,
        /// What the token says.
        found: String,
        /// What is needed.
        wanted: &'static str,
    },
    /// A PKCS#11 call failed.
    #[error("{function}: {detail}")]
    Call {
        /// C_ function.
        function: String,
        /// CKR_ name.
        detail: String,
    },
}

/// A token, logged in.
#[derive(Clone)]
pub struct Token {
    _todo: (),
}

impl Token {
    /// Load the module, find the token, log in, open the pool.
    ///
    /// # Errors
    /// [`HsmError`].
    pub fn open(_config: TokenConfig, _pin: SecretString) -> Result<Self, HsmError> {
        todo!()
    }

    /// The private key with this CKA_ID, proven to be the one of `spki`, sign-only, never extractable and made here.
    ///
    /// # Errors
    /// [`HsmError::Key`] or [`HsmError::Attribute`].
    pub fn ca_key(&self, _id: &[u8], _spki: &[u8], _algorithm: SignatureAlgorithm) -> Result<HsmKey, HsmError> {
        todo!()
    }

    /// Generate a CA key pair with a sign-only template and read its attributes back.
    ///
    /// # Errors
    /// [`HsmError`]; a key with this CKA_ID or label exists already.
    pub fn generate(&self, _spec: &KeySpec) -> Result<GeneratedKey, HsmError> {
        todo!()
    }
}
