//! The words both ends of the Holdfast wire speak: REST bodies, problem codes, exit codes.
//!
//! Nothing here judges anything. Bytes travel as standard base64 with padding ([`Bytes`]); every body refuses
//! unknown and duplicate fields, so that the two ends never disagree about what was said.

pub mod admin;
pub mod audit;
mod bytes;
pub mod crl;
pub mod enrollment;
pub mod evidence;
mod exit;
pub mod firmware;
pub mod manifest;
mod parse;
pub mod policy;
pub mod problem;
pub mod renewal;
pub mod replacement;
pub mod review;
pub mod revocation;
pub mod tar;
pub mod third_party;

pub use bytes::Bytes;
pub use enrollment::EnrollmentId;
pub use exit::Exit;
pub use parse::{Malformed, parse};
