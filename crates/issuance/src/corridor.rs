//! The five states and the arrows between them.

use policies::Grant;

use crate::lint::Finding;
use crate::{CaKey, Issuer, KeyError, Order, RecordError, Recorder, Serial};

/// A certificate not yet judged.
#[derive(Debug)]
pub struct Draft {
    _todo: (),
}
/// A certificate that passed every lint, byte for byte as it will be signed.
#[derive(Debug)]
pub struct Linted {
    _todo: (),
}
/// A certificate whose intent is durable.
#[derive(Debug)]
pub struct Recorded {
    _todo: (),
}
/// Signed and verified, not yet recorded as issued.
#[derive(Debug)]
pub struct Signed {
    _todo: (),
}
/// Signed and recorded: the only state a client may see.
#[derive(Debug)]
pub struct Issued {
    _todo: (),
}

/// A grant that does not become a draft.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DraftError {
    /// The validity does not fit inside the issuer's.
    #[error("the certificate would outlive its issuer")]
    OutlivesIssuer,
    /// DER encoding failed.
    #[error("encoding: {0}")]
    Encoding(String),
    /// Lints that refused.
    #[error("lints refused: {0:?}")]
    Lints(Vec<Finding>),
    /// The certified key is the issuer's own.
    #[error("the key to certify is the issuer's own")]
    IssuerKey,
}

/// Why a recorded certificate was not signed. The serial is burnt in every case.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SignFailure {
    /// The key did not answer.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key answered with a signature that does not verify. Halt.
    #[error("the signer returned a signature that does not verify")]
    Corrupt,
    /// Bytes to sign and bytes signed differ. Halt.
    #[error("the certificate does not carry the recorded bytes")]
    BytesDiffer,
}

impl Draft {
    /// An end-entity or issuing-CA certificate below `issuer`.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn new(_grant: Grant, _issuer: &Issuer, _serial: Serial) -> Result<Self, DraftError> {
        todo!()
    }
    /// A root certificate, signed by `key` itself.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn self_signed(_grant: Grant, _key: &dyn CaKey, _serial: Serial) -> Result<Self, DraftError> {
        todo!()
    }
    /// Judge the draft by every lint.
    ///
    /// # Errors
    /// [`DraftError::Lints`].
    pub fn lint(self) -> Result<Linted, DraftError> {
        todo!()
    }
}

/// Record an order and what is about to be signed. Durable on return.
///
/// # Errors
/// [`RecordError`].
pub fn record(_linted: Vec<Linted>, _order: &Order, _recorder: &dyn Recorder) -> Result<Vec<Recorded>, RecordError> {
    todo!()
}

impl Recorded {
    /// Sign, once; verify the signature in software; compare the bytes.
    ///
    /// # Errors
    /// [`SignFailure`].
    pub fn sign(self, _key: &dyn CaKey) -> Result<Signed, SignFailure> {
        todo!()
    }
}

/// Record the signatures. Only now may anything be answered.
///
/// # Errors
/// [`RecordError`].
pub fn issue(
    _signed: Vec<Signed>,
    _enrollment_id: &[u8; 16],
    _recorder: &dyn Recorder,
) -> Result<Vec<Issued>, RecordError> {
    todo!()
}

impl Issued {
    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        todo!()
    }
    /// Serial.
    #[must_use]
    pub fn serial(&self) -> Serial {
        todo!()
    }
    /// Profile name.
    #[must_use]
    pub fn profile(&self) -> &str {
        todo!()
    }
    /// Which key it certifies.
    #[must_use]
    pub fn key_role(&self) -> policies::KeyRole {
        todo!()
    }
}
