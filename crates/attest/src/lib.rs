//! Evidence bytes in, [`VerifiedBinding`] out. Nothing else in the workspace can make one.
//!
//! ```text
//! EvidenceBytes -> Evidence -> Endorsed -> (Challenge, Pending) -> VerifiedBinding
//!    decode          verify      challenge            answer
//! ```
//!
//! Pure: time, randomness and anchors are arguments; no clock, socket, file, environment or global.

pub mod csr;
pub mod ek;
mod entropy;
mod facts;
mod pending;
mod refusal;
pub mod rot;
pub mod tpm;
pub mod trust;

pub use entropy::{Entropy, EntropyError};
pub use facts::{AnchorKind, Assurance, EkFacts, KeyAlgorithm, KeyFacts, UnixTime};
pub use pending::{
    Answer, Challenge, ChallengeContext, ChallengeError, Endorsed, Evidence, EvidenceBytes, EvidenceRecord, Pending,
    SealKey, TicketError, VerifiedBinding,
};
pub use refusal::{Reason, Refusal};
