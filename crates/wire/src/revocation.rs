//! Revocation: what people say to the server about certificates that must not be believed any more.

use serde::{Deserialize, Serialize};

/// Why a certificate is revoked (RFC 5280 §5.3.1). `removeFromCRL` is not among them: nobody asks for it, a hold is
/// released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RevocationReason {
    /// No reason is told.
    #[serde(rename = "unspecified")]
    Unspecified,
    /// The key is, or may be, in other hands. Final; the key is blocked for ever.
    #[serde(rename = "keyCompromise")]
    KeyCompromise,
    /// The key of a CA is, or may be, in other hands.
    #[serde(rename = "cACompromise")]
    CaCompromise,
    /// The names in the certificate are no longer right; the key is.
    #[serde(rename = "affiliationChanged")]
    AffiliationChanged,
    /// Another certificate took its place.
    #[serde(rename = "superseded")]
    Superseded,
    /// It is no longer needed.
    #[serde(rename = "cessationOfOperation")]
    CessationOfOperation,
    /// Not believed until it is released or revoked.
    #[serde(rename = "certificateHold")]
    CertificateHold,
    /// What it entitles to was taken back.
    #[serde(rename = "privilegeWithdrawn")]
    PrivilegeWithdrawn,
    /// An attribute authority is compromised.
    #[serde(rename = "aACompromise")]
    AaCompromise,
}

impl RevocationReason {
    /// Every reason, in the order of the numbers.
    pub const ALL: [Self; 9] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// Its name in RFC 5280.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        }
    }

    /// The reason of this name, if there is one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// Its number in a CRL (`CRLReason`).
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }
}

impl core::fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a certificate stands after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationState {
    /// Revoked, for good.
    Revoked,
    /// Not believed until it is released or revoked.
    OnHold,
    /// Believed again after a hold.
    Released,
}

impl RevocationState {
    /// The state as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::OnHold => "on_hold",
            Self::Released => "released",
        }
    }

    /// The state of this name, if there is one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let all = [Self::Revoked, Self::OnHold, Self::Released];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

/// Body of `POST /v1/certificates/{serial}/revocation`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Why; `certificateHold` puts on hold.
    pub reason: RevocationReason,
    /// Why, in words, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Body of `POST /v1/certificates/{serial}/release`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Why, in words, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// One step in the history of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationStep {
    /// Where it stands since this step.
    pub state: RevocationState,
    /// Why; a release keeps the reason of its hold.
    pub reason: RevocationReason,
    /// When the step was recorded, seconds since 1970-01-01T00:00:00Z.
    pub at: i64,
    /// When the certificate stopped being good: a hold that became a revocation counts from the hold.
    pub since: i64,
    /// Who.
    pub actor: String,
    /// Why, in words.
    pub comment: String,
}

/// Where a certificate stands: answer to every question and every step about its revocation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateStatus {
    /// Serial number, lower-case hex.
    pub serial: String,
    /// Device, if it is one's.
    pub device: Option<String>,
    /// Profile.
    pub profile: String,
    /// `intent`, `issued` or `orphan`.
    pub state: String,
    /// First second of validity.
    pub not_before: i64,
    /// Last second of validity.
    pub not_after: i64,
    /// Whether it is revoked or on hold now; its last step, if so.
    pub revocation: Option<RevocationStep>,
    /// Every step, oldest first.
    pub history: Vec<RevocationStep>,
    /// Serials of other certificates of the device that have not ended and are neither revoked nor on hold.
    pub others: Vec<String>,
    /// Serials of the same descent by renewal, this one among them, oldest first; ended and lost ones, too.
    #[serde(default)]
    pub lineage: Vec<String>,
    /// The manufacturer's certificate it stands on; absent where it stands on an endorsement key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak_proof: Option<crate::third_party::IakProof>,
}

/// One line of the list of steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationEntry {
    /// Serial number, lower-case hex.
    pub serial: String,
    /// Device, if it is one's.
    pub device: Option<String>,
    /// Profile.
    pub profile: String,
    /// The step.
    pub step: RevocationStep,
}

/// Answer to `GET /v1/revocations`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationPage {
    /// Oldest first.
    pub items: Vec<RevocationEntry>,
    /// Give this as `cursor` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_standard_and_of_json() {
        let mut codes = Vec::new();
        for reason in RevocationReason::ALL {
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
            assert_eq!(RevocationReason::from_text(reason.as_str()), Some(reason));
            codes.push(reason.code());
        }
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 9, 10], "7 is unused, 8 is removeFromCRL");
        for other in ["removeFromCRL", "keycompromise", "KeyCompromise", "", "1"] {
            assert_eq!(RevocationReason::from_text(other), None);
            assert!(serde_json::from_str::<RevocationReason>(&format!("\"{other}\"")).is_err());
        }
        for state in [
            RevocationState::Revoked,
            RevocationState::OnHold,
            RevocationState::Released,
        ] {
            assert_eq!(
                serde_json::to_string(&state).unwrap(),
                format!("\"{}\"", state.as_str())
            );
            assert_eq!(RevocationState::from_text(state.as_str()), Some(state));
        }
    }
}
