//! Making tokens and keys: rehearsals and ceremonies.

use std::path::Path;

use issuance::SignatureAlgorithm;
use secrecy::SecretString;

use crate::HsmError;

/// A CA key to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// CKA_LABEL of both halves.
    pub label: String,
    /// CKA_ID of both halves.
    pub id: Vec<u8>,
    /// Algorithm.
    pub algorithm: SignatureAlgorithm,
}

/// A key that was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedKey {
    /// CKA_ID.
    pub id: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// Attributes as read back, for the transcript: (CKA_ name, value).
    pub attributes: Vec<(String, String)>,
}

/// Initialise a free slot of a software module (rehearsal): label, SO PIN, user PIN. Refuses when a token of this label
/// exists. Returns the token's serial number.
///
/// # Errors
/// [`HsmError`].
pub fn init_token(
    _module: &Path,
    _label: &str,
    _so_pin: &SecretString,
    _pin: &SecretString,
) -> Result<String, HsmError> {
    todo!()
}
