//! Which characters and shapes names may have. One place for all of them.

/// A name that may not be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

/// A device name: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, first and last alphanumeric.
///
/// # Errors
/// [`NameError`] says what is wrong.
pub fn device(_text: &str) -> Result<(), NameError> {
    todo!()
}
/// A DNS name in a certificate: lower-case A-labels, LDH, 1..=253, no wildcard, no trailing dot, not all-numeric,
/// no IDN A-label that does not round-trip.
///
/// # Errors
/// [`NameError`].
pub fn dns(_text: &str) -> Result<(), NameError> {
    todo!()
}
/// A SPIFFE id with path (SPIFFE X.509-SVID §2).
///
/// # Errors
/// [`NameError`].
pub fn spiffe(_text: &str) -> Result<(), NameError> {
    todo!()
}
/// Organization or common name: 1..=64 characters, printable, no control, bidi or line separators.
///
/// # Errors
/// [`NameError`].
pub fn directory_string(_text: &str) -> Result<(), NameError> {
    todo!()
}
