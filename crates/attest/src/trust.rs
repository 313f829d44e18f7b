//! Anchors for others' claims, and the path to them.

use crate::{AnchorKind, Refusal, UnixTime};

/// One root we trust for claims about TPMs.
#[derive(Clone, Debug)]
pub struct AnchorSource {
    /// Name for records and screens, for example `infineon-optiga-ecc-root-2`.
    pub name: String,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// What kind of TPM it speaks for.
    pub kind: AnchorKind,
    /// Manufacturer ids (`id:` and 8 upper-case hex digits) it may speak for; never empty.
    pub manufacturers: Vec<String>,
    /// Whether expiry of EK certificates and intermediates below it refuses (`true`) or is only recorded.
    pub enforce_expiry: bool,
}

/// The anchors, parsed once, with intermediates the operator ships.
pub struct Anchors {
    _todo: (),
}

/// An anchor or intermediate that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("anchor `{name}`: {detail}")]
pub struct AnchorError {
    /// Which one.
    pub name: String,
    /// What is wrong with it.
    pub detail: String,
}

/// A path that was built and verified.
#[derive(Debug, Clone)]
pub(crate) struct VerifiedPath {
    pub(crate) anchor: String,
    pub(crate) anchor_sha256: [u8; 32],
    pub(crate) kind: AnchorKind,
    pub(crate) manufacturers: Vec<String>,
}

impl Anchors {
    /// Parse anchors and operator-shipped intermediates.
    ///
    /// # Errors
    /// [`AnchorError`] names the first that cannot be parsed, is not a CA, or is not self-issued and self-signed.
    pub fn new(_roots: Vec<AnchorSource>, _intermediates: Vec<Vec<u8>>) -> Result<Self, AnchorError> {
        todo!()
    }

    /// Names of anchors of kind [`AnchorKind::Software`]: a production server refuses to start with any.
    pub fn software_anchors(&self) -> Vec<&str> {
        todo!()
    }

    /// Build and verify a path from `leaf` over `offered` and the shipped intermediates to an anchor.
    pub(crate) fn verify(&self, _leaf: &[u8], _offered: &[Vec<u8>], _now: UnixTime) -> Result<VerifiedPath, Refusal> {
        todo!()
    }
}
