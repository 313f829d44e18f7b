//! Evidence bytes in, [`VerifiedBinding`] out. Nothing else in the workspace can make one.
//!
//! ```text
//! EvidenceBytes -> Evidence -> Endorsed -> (Challenge, Pending) -> VerifiedBinding
//!    decode          verify      challenge            answer
//! ```
//!
//! A renewal takes the same way: `(Challenge, RenewalPending) -> RenewalProof`.
//!
//! Pure: time, randomness and anchors are arguments; no clock, socket, file, environment or global.

mod binding;
pub mod csr;
mod curve;
mod digest;
pub mod ek;
mod entropy;
mod evidence;
mod facts;
pub mod iak;
mod pending;
mod refusal;
mod renewal;
mod replay;
pub mod rot;
mod ticket;
pub mod tpm;
pub mod trust;
mod x509;

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
#[expect(
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "the test vendor is written to be used from anywhere"
)]
mod vendor;

pub use binding::{EvidenceFields, EvidenceRecord, VerifiedBinding};
pub use digest::{sha256, sha384, sha512};
pub use ek::AllowedEk;
pub use entropy::{Entropy, EntropyError, Watched};
pub use evidence::{
    Challenge, ChallengeContext, ChallengeError, Endorsed, Evidence, EvidenceBytes, Unbelieved, UnknownVendor,
};
pub use facts::{AnchorKind, Assurance, EkFacts, IakFacts, KeyAlgorithm, KeyFacts, Root, UnixTime};
pub use pending::{Answer, Pending};
pub use refusal::{Reason, Refusal};
pub use renewal::{RenewalPending, RenewalProof, Renewed};
pub use replay::{Endorsement, Replay, Replayed};
pub use ticket::{SealKey, TicketError};
