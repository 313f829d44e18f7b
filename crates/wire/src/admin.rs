//! What people say to the server over its administration socket.

use crate::replacement::{DeviceEk, DeviceIak};
use crate::revocation::RevocationStep;
use crate::third_party::IakProof;
use crate::{Bytes, EnrollmentId};
use serde::{Deserialize, Serialize};

/// Body of `POST /v1/devices`: put a device into the inventory.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowDevice {
    /// Name of the device, for example its product serial number.
    pub name: String,
    /// SHA-256 of the EK's SubjectPublicKeyInfo (DER), lower-case hex. Absent: the first genuine TPM that claims
    /// the name before [`AllowDevice::first_contact_until`] is bound to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek_spki_sha256: Option<String>,
    /// What kind of TPM the EK is in, by your word: then the device needs no EK certificate. Only with `ek_spki_sha256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek_kind: Option<EkKind>,
    /// SHA-256 of the SubjectPublicKeyInfo (DER) of the manufacturer's IAK, lower-case hex: the device proves itself by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak_spki_sha256: Option<String>,
    /// End of the first-contact window, seconds since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_contact_until: Option<i64>,
    /// DNS names a `service` certificate of this device carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// SPIFFE id a `service` certificate of this device carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// Lot the device belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What kind of TPM an administrator says an EK is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EkKind {
    /// A chip, or firmware: identities become `hardware-allowlisted`.
    Hardware,
    /// A hypervisor's: `virtual`.
    Virtual,
    /// A program's: `software`, which only a rehearsal issues for.
    Software,
}

/// Body of `POST /v1/devices/{name}/hold` and `/release`: nothing more is issued to a held device, nor renewed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldDevice {
    /// Why, for the record: 1 to 500 characters.
    pub reason: String,
}

/// Body of `POST /v1/devices/{name}/renewal`: what the device has now is to be renewed early.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewDevice {
    /// Why, for the record: 1 to 500 characters.
    pub reason: String,
    /// Within so many seconds from now on, each device at a moment of its own; absent: an hour. At most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<i64>,
}

/// One device of the inventory.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Name.
    pub name: String,
    /// `expected` (no TPM yet), `allowed` (a TPM is named, no identity yet), `active`, `on_hold` or `revoked` (no
    /// certificate is good), or `held`.
    pub state: String,
    /// SHA-256 of the EK's SubjectPublicKeyInfo, lower-case hex.
    pub ek_spki_sha256: Option<String>,
    /// SHA-256 of the SubjectPublicKeyInfo of the manufacturer's IAK, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak_spki_sha256: Option<String>,
    /// Lot.
    pub batch: Option<String>,
    /// DNS entitlements.
    pub dns_names: Vec<String>,
    /// SPIFFE entitlement.
    pub spiffe_id: Option<String>,
    /// What was proven about its TPM, once it enrolled.
    pub tpm: Option<DeviceTpm>,
    /// Its certificates, newest first.
    pub certificates: Vec<DeviceCertificate>,
    /// When it was put in the inventory.
    pub created_at: i64,
    /// Last successful enrollment.
    pub last_seen_at: Option<i64>,
    /// When it was last called to renew early; in the answer about one device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_called_at: Option<i64>,
    /// Every EK that is, or was, its own, oldest first; in the answer about one device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub eks: Vec<DeviceEk>,
    /// IAKs that went with its TPMs, oldest first; in the answer about one device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub iaks: Vec<DeviceIak>,
}

/// Facts about a device's TPM as proven at enrollment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceTpm {
    /// `id:` and 8 hex digits, from the EK certificate.
    pub manufacturer: String,
    /// From the EK certificate.
    pub model: String,
    /// `id:` and hex digits, from the EK certificate.
    pub version: String,
    /// Assurance level in words.
    pub assurance: String,
    /// Anchor that the EK certificate chains to.
    pub anchor: String,
    /// SHA-256 of the EK certificate, lower-case hex.
    pub ek_certificate_sha256: String,
}

/// One certificate of a device.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceCertificate {
    /// Serial number, lower-case hex.
    pub serial: String,
    /// Profile.
    pub profile: String,
    /// `intent`, `issued` or `orphan`.
    pub state: String,
    /// First second of validity.
    pub not_before: i64,
    /// Last second of validity.
    pub not_after: i64,
    /// The certificate, when there is one.
    pub certificate: Option<Bytes>,
    /// Whether it is revoked or on hold; its last step, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<RevocationStep>,
    /// The manufacturer's certificate it stands on; absent where it stands on an endorsement key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak_proof: Option<IakProof>,
}

/// A page of devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevicePage {
    /// The devices.
    pub items: Vec<Device>,
    /// Give this as `cursor` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One entry of the audit record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// When, seconds since 1970-01-01T00:00:00Z.
    pub at: i64,
    /// What, for example `enrollment.refused`.
    pub action: String,
    /// Who: a device, a uid, or the server.
    pub actor: String,
    /// Incident or enrollment id.
    pub subject: String,
    /// Reason code in capitals, or rule ids.
    pub reason: String,
    /// More, for people.
    #[serde(default)]
    pub detail: String,
    /// SHA-256 of what was changed, as it was: of its row as a backup writes it, or of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The same, as it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Answer to `GET /v1/devices/{name}/tree`: what is needed to draw, and to check again, how an identity hangs
/// between our chain and the vendor's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceTree {
    /// The device.
    pub device: Device,
    /// Our chain, DER: issuing CA first, root last.
    pub issuers: Vec<Bytes>,
    /// Evidence of its enrollments, newest first.
    pub evidence: Vec<EnrollmentEvidence>,
}

/// Stored evidence of one enrollment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentEvidence {
    /// Which enrollment.
    pub enrollment: EnrollmentId,
    /// Serials of the certificates that stand on it, lower-case hex.
    pub serials: Vec<String>,
    /// SHA-256 of `bytes`, lower-case hex; the value in the RoT-binding extension.
    pub sha256: String,
    /// The deterministic evidence encoding.
    pub bytes: Bytes,
}

/// Answer to `GET /v1/audit`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditPage {
    /// Newest first.
    pub items: Vec<AuditEntry>,
}

/// One serial whose signature may exist without a record; counts as issued.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orphan {
    /// Serial number, lower-case hex.
    pub serial: String,
    /// subjectKeyIdentifier of the issuer, lower-case hex.
    pub issuer_key_id: String,
    /// Enrollment it was for.
    pub enrollment: EnrollmentId,
    /// Device it was for.
    pub device: Option<String>,
    /// Profile.
    pub profile: String,
    /// When its intent was recorded, seconds since 1970-01-01T00:00:00Z.
    pub created_at: i64,
}

/// Answer to `GET /v1/orphans`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrphanPage {
    /// Oldest first.
    pub items: Vec<Orphan>,
}
