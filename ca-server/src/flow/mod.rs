//! The house read aloud: what happens, in order. Synchronous; no HTTP in here.

mod activate;
pub mod again;
pub mod auditor;
mod begin;
pub mod bundle;
mod challenge;
pub mod delta;
pub mod device;
mod failure;
pub mod iak;
pub mod ledger;
mod lookup;
pub mod manifest;
pub mod ocsp;
pub mod page;
pub mod publish;
pub mod recover;
pub mod renew;
pub mod replace;
pub mod review;
pub mod revoke;
mod transcript;
mod witness;

/// Enrollment: [`begin`](enroll::begin), [`activate`](enroll::activate) and looking back.
pub mod enroll {
    pub use super::activate::{ActivateError, Activation, activate};
    pub use super::begin::{BeginError, begin};
    pub use super::lookup::{LookupError, certificate, enrollment};
}

pub use failure::{Failure, Fate, Incident, Trouble};
