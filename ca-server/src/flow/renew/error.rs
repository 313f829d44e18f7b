//! Why nothing was renewed.

use attest::{Reason, Refusal};

use crate::flow::enroll::ActivateError;
use crate::flow::failure::{Fate, Reasoned, Trouble};

/// Why nothing was renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// No certificate was shown in TLS, or none that this CA has issued for a device's identity key.
    #[error("{0}")]
    NoCertificate(&'static str),
    /// The certificate has ended.
    #[error("the certificate has ended")]
    Ended,
    /// All that an activation can fail by; and [`ActivateError::Revoked`], [`ActivateError::Replaced`] about the
    /// certificate that is to be renewed.
    #[error(transparent)]
    Issue(#[from] ActivateError),
}

impl From<Trouble> for RenewError {
    fn from(trouble: Trouble) -> Self {
        Self::Issue(trouble.into())
    }
}

impl From<Refusal> for RenewError {
    fn from(refusal: Refusal) -> Self {
        match refusal.reason {
            // It was sound when it was recorded.
            Reason::Malformed => Trouble::Bug(format!("recorded evidence: {}", refusal.detail)).into(),
            _ => Self::Issue(refusal.into()),
        }
    }
}

impl From<attest::ChallengeError> for RenewError {
    fn from(error: attest::ChallengeError) -> Self {
        Trouble::from(error).into()
    }
}

impl From<schema::StoreError> for RenewError {
    fn from(error: schema::StoreError) -> Self {
        Trouble::from(error).into()
    }
}

impl Reasoned for RenewError {
    fn fate(&self) -> Fate {
        match self {
            Self::NoCertificate(_) | Self::Ended => Fate::Refuse,
            Self::Issue(error) => error.fate(),
        }
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::NoCertificate(_) => "NO_CERTIFICATE",
            Self::Ended => "ENDED",
            Self::Issue(error) => error.reason(),
        }
    }
}
