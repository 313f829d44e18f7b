//! Review: TPMs whose vendor nobody decided about, or that an advisory quarantines, as people see them.

use serde::{Deserialize, Serialize};

/// What kind of TPM an approver says an EK is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TpmKind {
    /// A chip, or firmware: identities become `hardware-allowlisted`.
    #[default]
    Hardware,
    /// A hypervisor's: `virtual`.
    Virtual,
    /// A program's: `software`, which only a rehearsal issues for.
    Software,
}

impl TpmKind {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Virtual => "virtual",
            Self::Software => "software",
        }
    }
}

/// Body of `POST /v1/reviews/{id}/approval`: vouch for this EK, and no other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveReview {
    /// Why: 1 to 500 characters.
    pub reason: String,
    /// What kind of TPM it is in; of a quarantined TPM its anchor says that, and this is not looked at.
    #[serde(default)]
    pub kind: TpmKind,
}

/// Body of `POST /v1/reviews/{id}/rejection`: say no, or take an approval back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectReview {
    /// Why: 1 to 500 characters.
    pub reason: String,
}

/// A TPM that people have to decide, or decided, about.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Its number.
    pub id: i64,
    /// `pending`, `approved`, `rejected` or `expired`.
    pub state: String,
    /// Device that was named with this EK.
    pub device: String,
    /// Who named it: in the inventory, or by importing a manifest.
    pub named_by: String,
    /// Code of the refusal: `EK_CHAIN`, `EK_CA_UNTRUSTED`, `TPM_QUARANTINED`.
    pub reason: String,
    /// The advisory that quarantines it; none: its vendor is asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisory: Option<String>,
    /// What that advisory says, as it stands now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Name of the CA that the EK certificate says it is from, which nobody verified; of a quarantined TPM of a vendor that is
    /// trusted, the anchor.
    pub issuer: String,
    /// Manufacturer it claims, `id:` and 8 hex digits.
    pub manufacturer: String,
    /// Model and version it claims.
    pub tpm: String,
    /// SHA-256 of the EK's SubjectPublicKeyInfo, lower-case hex.
    pub ek_spki_sha256: String,
    /// SHA-256 of its certificate, lower-case hex.
    pub ek_certificate_sha256: String,
    /// When it came, seconds since 1970-01-01T00:00:00Z.
    pub asked_at: i64,
    /// Last second in which it can be approved.
    pub expires_at: i64,
    /// What kind of TPM it is in, by the word of who approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<i64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Devices of the inventory with a TPM of this manufacturer: trusting its root would speak for them, too.
    pub devices_of_manufacturer: u64,
    /// Devices of the inventory of whose TPM the advisory speaks: to allow it would speak for them, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices_of_advisory: Option<u64>,
    /// Devices that manifests say will come: of what make their TPMs are, no manifest says, so any of them may be meant.
    pub devices_expected: u64,
}

/// Answer to `GET /v1/reviews`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewPage {
    /// Oldest first.
    pub items: Vec<Review>,
    /// Give this as `cursor` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
