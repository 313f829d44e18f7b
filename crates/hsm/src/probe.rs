//! What a module can do, for `ca-cli hsm probe`.

use std::path::Path;

use crate::HsmError;

/// Everything a module shows without login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// Library description and version.
    pub library: String,
    /// Slots with a token.
    pub slots: Vec<SlotReport>,
}

/// One slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotReport {
    /// Slot id; changes between starts, never store it.
    pub id: u64,
    /// Description.
    pub description: String,
    /// The token in it.
    pub token: Option<TokenReport>,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenReport {
    /// Label.
    pub label: String,
    /// Serial number.
    pub serial: String,
    /// Manufacturer and model.
    pub model: String,
    /// Warnings of the token about its PIN: count low, final try, locked.
    pub pin_warning: Option<String>,
    /// One verdict per CA algorithm we could use.
    pub verdicts: Vec<MechanismVerdict>,
}

/// Whether a CA algorithm can be used with this token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MechanismVerdict {
    /// Algorithm in words, for example `ECDSA P-256 SHA-256`.
    pub algorithm: String,
    /// Whether key generation and signing mechanisms are there.
    pub usable: bool,
    /// Mechanisms found or missing.
    pub detail: String,
}

/// Look at a module.
///
/// # Errors
/// [`HsmError`].
pub fn probe(_module: &Path) -> Result<ProbeReport, HsmError> {
    todo!()
}
