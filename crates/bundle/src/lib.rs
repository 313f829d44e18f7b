//! The evidence bundle: what an identity stands on, as one archive, and every check of it made again by whoever holds it.
//!
//! ```text
//! certificate --evidenceSha256--> evidence record (EK certificate, EK, AK, IK, nonce, TPM2_Certify, request)
//! leaf        --certificate, evidence, profile_sha256, transcript--> all three, and the transcript
//! transcript  --policy--> rules, advisories and profiles that decided
//! checkpoint  --root--> leaf; signed by the ledger's key, and by the CA's key in its HSM
//! ```
//!
//! Pure: time and trust are arguments; no clock, socket, file or environment.

mod archive;
pub mod audit;
mod check;
mod decision;
mod judged;
mod named;
mod transcript;

pub use archive::{Bundle, BundleError, LedgerProof, MAX_BUNDLE_BYTES};
pub use check::{CHECKS, Check, Trust, verify};
pub use decision::{NOT_AGAIN, Policies};
pub use judged::shown;
pub use transcript::{
    Activation, Asked, Ca, Decided, EkWord, IakTerms, IakWord, Inventory, Root, TRANSCRIPT_V1, Transcript,
    TranscriptError, Word, path_bytes,
};
