//! Why nothing was issued.

use attest::{Reason, Refusal};
use policies::{Denial, DenialCode};

use crate::flow::failure::{Fate, Reasoned, Trouble};

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// Bytes that are not what they must be.
    #[error("{0}")]
    Malformed(String),
    /// The proof does not hold, or is of a TPM that is not expected. One answer for all of them.
    #[error("{detail}")]
    Attestation {
        /// For the record.
        reason: &'static str,
        /// For the record.
        detail: String,
    },
    /// The challenge is too old.
    #[error("the challenge has expired")]
    Expired,
    /// This try was one too many.
    #[error("too many wrong answers")]
    OneTryTooMany,
    /// Tries are used up.
    #[error("too many wrong answers; the challenge is void")]
    Void,
    /// The challenge was used by another request.
    #[error("the challenge was used by another request")]
    Replayed,
    /// The challenge was used by this very request, and whether its signature exists is not known.
    #[error("the outcome of this enrollment is not known; its serials are burnt")]
    Orphaned,
    /// What this device was issued is revoked or on hold, or was revoked before it was answered.
    #[error("{0}")]
    Revoked(String),
    /// The certificate to be renewed was replaced meanwhile.
    #[error("the certificate was replaced by a newer one")]
    Replaced,
    /// The certificate to be renewed does not stand for the device any more.
    #[error("{0}")]
    NotRenewable(String),
    /// The TPM's clock or counters went back: it was copied, or put back to an earlier state.
    #[error("{0}")]
    Clock(String),
    /// Bound to another, or another key is live.
    #[error("{0}")]
    IdentityConflict(String),
    /// The key may not be certified.
    #[error("{0}")]
    KeyRejected(String),
    /// The CSR asks for too much.
    #[error("{0}")]
    CsrRejected(String),
    /// The request does not fit the profile.
    #[error("{0}")]
    Profile(String),
    /// A rule refuses.
    #[error("{} [{}]", .0.detail, .0.rules.join(", "))]
    Policy(Denial),
    /// Not the client's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<Refusal> for ActivateError {
    fn from(refusal: Refusal) -> Self {
        match refusal.reason {
            Reason::Malformed => Self::Malformed(refusal.detail),
            // Not a question of belief: the key has a role of its own.
            Reason::KeyReuse => Self::KeyRejected(refusal.detail),
            reason => Self::Attestation {
                reason: reason.as_str(),
                detail: refusal.detail,
            },
        }
    }
}

impl From<Denial> for ActivateError {
    fn from(denial: Denial) -> Self {
        match denial.code {
            DenialCode::Profile => Self::Profile(denial.detail),
            DenialCode::Csr => Self::CsrRejected(denial.detail),
            DenialCode::Key => Self::KeyRejected(denial.detail),
            DenialCode::IdBound => Self::Attestation {
                reason: "ID_BOUND",
                detail: denial.detail,
            },
            DenialCode::NotInInventory => Self::Attestation {
                reason: "NOT_IN_INVENTORY",
                detail: denial.detail,
            },
            DenialCode::TpmDenied => Self::Attestation {
                reason: "TPM_DENIED",
                detail: denial.detail,
            },
            DenialCode::TpmQuarantined => Self::Attestation {
                reason: "TPM_QUARANTINED",
                detail: denial.detail,
            },
            DenialCode::Policy => Self::Policy(denial),
        }
    }
}

impl Reasoned for ActivateError {
    fn fate(&self) -> Fate {
        match self {
            Self::Malformed(_)
            | Self::Attestation { .. }
            | Self::Expired
            | Self::OneTryTooMany
            | Self::Void
            | Self::Replayed
            | Self::Orphaned
            | Self::Revoked(_)
            | Self::Replaced
            | Self::NotRenewable(_)
            | Self::Clock(_)
            | Self::IdentityConflict(_)
            | Self::KeyRejected(_)
            | Self::CsrRejected(_)
            | Self::Profile(_)
            | Self::Policy(_) => Fate::Refuse,
            Self::Trouble(trouble) => trouble.fate(),
        }
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "MALFORMED",
            Self::Attestation { reason, .. } => reason,
            Self::Expired => "EXPIRED",
            Self::OneTryTooMany | Self::Void => "TRIES",
            Self::Replayed => "REPLAY",
            Self::Orphaned => "ORPHANED",
            Self::Revoked(_) => "REVOKED",
            Self::Replaced => "REPLACED",
            Self::NotRenewable(_) => "NOT_RENEWABLE",
            Self::Clock(_) => "TPM_CLOCK",
            Self::IdentityConflict(_) => "IDENTITY_CONFLICT",
            Self::KeyRejected(_) => "KEY_REJECTED",
            Self::CsrRejected(_) => "CSR_REJECTED",
            Self::Profile(_) => "PROFILE",
            Self::Policy(_) => "POLICY",
            Self::Trouble(_) => "TROUBLE",
        }
    }
}
