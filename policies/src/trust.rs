//! `policies/trust/*.toml` and an operator's own: anchors with source and date.

use attest::trust::AnchorSource;

/// A trust file that does not load.
#[derive(Debug, Clone, thiserror::Error)]
#[error("trust `{file}`: {message}")]
pub struct TrustFileError {
    /// File name.
    pub file: String,
    /// Message with line and caret.
    pub message: String,
}

/// Parse one trust file: `[[anchor]]` tables with `name`, `kind`, `manufacturers`, `certificate` (PEM), `source`,
/// `added`, `why`, optional `enforce_expiry`.
///
/// # Errors
/// [`TrustFileError`].
pub fn parse(_file: &str, _toml: &str) -> Result<Vec<AnchorSource>, TrustFileError> {
    todo!()
}
