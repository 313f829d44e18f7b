//! Another TPM for a device: what one person asks for, and another decides.

use serde::{Deserialize, Serialize};

use crate::admin::DeviceTpm;
use crate::revocation::RevocationReason;

/// Body of `POST /v1/devices/{name}/replacement`. Exactly one of [`ReplaceTpm::ek_spki_sha256`],
/// [`ReplaceTpm::iak_spki_sha256`] and [`ReplaceTpm::first_contact_for`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceTpm {
    /// SHA-256 of the new EK's SubjectPublicKeyInfo (DER), lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek_spki_sha256: Option<String>,
    /// SHA-256 of the SubjectPublicKeyInfo (DER) of the new TPM's IAK, lower-case hex: where the manufacturer vouches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak_spki_sha256: Option<String>,
    /// The first genuine TPM that claims the name in so many seconds from the approval on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_contact_for: Option<i64>,
    /// Why the certificates of the old TPM are revoked.
    #[serde(default = "superseded")]
    pub revocation: RevocationReason,
    /// Why, for the record: 1 to 500 characters.
    pub reason: String,
    /// It can be approved for so many seconds; absent: three days. At most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<i64>,
}

fn superseded() -> RevocationReason {
    RevocationReason::Superseded
}

/// Body of `POST /v1/replacements/{id}/approval` and `/rejection`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// For the record: at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Where a replacement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplacementState {
    /// Another person has to decide.
    Pending,
    /// Approved, and carried out.
    Approved,
    /// Somebody did not agree, or who asked took it back.
    Rejected,
    /// Nobody agreed in time.
    Expired,
}

/// A replacement on record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// Number of this replacement.
    pub id: i64,
    /// Name of the device.
    pub device: String,
    /// Where it stands.
    pub state: ReplacementState,
    /// SHA-256 of the old EK's SubjectPublicKeyInfo, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_ek_spki_sha256: Option<String>,
    /// The same of the old TPM's IAK, when no EK of it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_iak_spki_sha256: Option<String>,
    /// The same of the new EK, when it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek_spki_sha256: Option<String>,
    /// The same of the new TPM's IAK, when it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak_spki_sha256: Option<String>,
    /// Else any genuine TPM may come for so many seconds from the approval on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_contact_for: Option<i64>,
    /// Why the certificates of the old TPM are revoked.
    pub revocation: RevocationReason,
    /// Why, in words.
    pub reason: String,
    /// Who asked.
    pub requested_by: String,
    /// When, seconds since 1970-01-01T00:00:00Z.
    pub requested_at: i64,
    /// Last second in which it can be approved.
    pub expires_at: i64,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<i64>,
    /// What was said to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Answer to `GET /v1/replacements`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplacementPage {
    /// Newest first.
    pub items: Vec<Replacement>,
    /// Give this as `cursor` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An EK that is, or was, a device's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceEk {
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hex.
    pub ek_spki_sha256: String,
    /// Since when, seconds since 1970-01-01T00:00:00Z.
    pub since: i64,
    /// How it was shown: `named` by an administrator, `first_contact`, or `same_ak`: it activated the same attestation
    /// key as another EK of this device, so both are of one TPM.
    pub shown: String,
    /// The replacement with which it went: it is nobody's any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<i64>,
    /// What was proven about the TPM that went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm: Option<DeviceTpm>,
}

/// An IAK that was a device's, and went with its TPM: it is nobody's any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceIak {
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hex.
    pub iak_spki_sha256: String,
    /// The replacement with which it went.
    pub replacement: i64,
}
