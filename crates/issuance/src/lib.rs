//! The corridor: Grant -> [`Draft`] -> [`Linted`] -> [`Recorded`] -> [`Signed`] -> [`Issued`].
//!
//! Each arrow consumes its left side. What is linted is what is recorded is what is signed, byte for byte.
//!
//! CRLs have a corridor of their own: [`crl`]. So have OCSP answers: [`ocsp`].
//!
//! Pure: time, randomness, key and storage are arguments.

mod corridor;
pub mod crl;
mod encode;
#[cfg(test)]
mod fixture;
mod issuer;
mod key;
pub mod lint;
pub mod ocsp;
mod record;
mod request;
mod serial;
mod statement;
mod tbs;
#[cfg(test)]
mod testkey;
mod verify;
mod view;

pub use corridor::{Draft, DraftError, Issued, Linted, Recorded, SignFailure, Signed, issue, record};
pub use crl::{Crl, CrlDraft, CrlNumber, CrlScope, LintedCrl, PublishableCrl, RawCrl, RevocationReason};
pub use issuer::{CaClaims, Issuer, IssuerError, IssuerUrls};
pub use key::{CaKey, KeyError, Probe, SignatureAlgorithm, ToSign, probe, vouch, vouched};
pub use record::{
    AuditRecord, ClockReading, DeviceBinding, Intent, IssuedRecord, Order, RecordError, Recorder, TranscriptRecord,
};
pub use request::{IssuerRequest, MAX_REQUEST_BYTES, RequestError, RequestRefusal};
pub use serial::Serial;
pub use statement::Statement;

// The words below this room that every neighbour above it needs.
pub use policies::{ClockRule, Decision, GrantKind, KeyRole, Validity};
