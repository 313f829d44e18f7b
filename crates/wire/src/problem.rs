//! RFC 9457 problems: the only shape of an error on the wire.

use serde::{Deserialize, Serialize};

/// A stable, documented code. The names are API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// Cannot be parsed strictly.
    Malformed,
    /// Some attestation check failed; which one is never said to an outsider.
    AttestationRejected,
    /// Bound to another EK, or this EK to another identity, or another key is live.
    IdentityConflict,
    /// The challenge was used, or the enrollment is already final.
    StateConflict,
    /// The challenge is too old, or was tried too often.
    ChallengeExpired,
    /// The body is larger than this route takes.
    PayloadTooLarge,
    /// Only `application/json` is taken here.
    UnsupportedMedia,
    /// Too many requests, or too many tries on one challenge.
    RateLimited,
    /// The key parsed, but is not acceptable.
    KeyRejected,
    /// The CSR parsed, but asks for more than it may.
    CsrRejected,
    /// The request does not fit the profile.
    ProfileViolation,
    /// A policy rule refuses.
    PolicyDenied,
    /// No such thing.
    NotFound,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The caller may not do this.
    Forbidden,
    /// The HSM is away. Nothing is half done.
    SignerUnavailable,
    /// The database is away. Nothing is half done.
    StorageUnavailable,
    /// Issuing stopped until a person looks.
    Halted,
    /// A defect of ours.
    Internal,
}

/// Whether trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The same request will never succeed.
    Never,
    /// Later, unchanged.
    Later,
    /// After a person changed something.
    AfterFix,
}

/// `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// URI reference of the documentation of the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words; the same for every occurrence.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: ProblemCode,
    /// What to try.
    pub retry: Retry,
    /// What happened this time, when the caller may know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Id under which an operator finds the reason, `inc_` and 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
}
