//! The five states and the arrows between them.

mod draft;
mod recorded;
#[cfg(test)]
mod tests;

pub(crate) use draft::fits_issuer;
pub use draft::{Draft, DraftError, Linted};
pub use recorded::{Issued, Recorded, SignFailure, Signed, issue, record};
pub(crate) use recorded::{sign_bytes, twin};
