//! What comes out of the store.

use issuance::KeyRole;
use wire::firmware::FirmwareRule;
use wire::revocation::{RevocationReason, RevocationState};

/// A device to put into the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowDevice {
    /// Name; UNIQUE, compared byte for byte.
    pub name: String,
    /// SHA-256 of its EK SubjectPublicKeyInfo; UNIQUE when present.
    pub ek_spki_sha256: Option<[u8; 32]>,
    /// End of the first-contact window, unix seconds.
    pub first_contact_until: Option<i64>,
    /// DNS entitlements.
    pub dns_names: Vec<String>,
    /// SPIFFE entitlement.
    pub spiffe_id: Option<String>,
    /// Lot.
    pub batch: Option<String>,
}

/// Why a device was not put into the inventory.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NewDeviceError {
    /// The name is taken, with other content.
    #[error("device `{0}` exists with other content")]
    NameTaken(String),
    /// The EK belongs to another device.
    #[error("this EK belongs to device `{0}`")]
    EkTaken(String),
    /// Storage.
    #[error(transparent)]
    Store(#[from] crate::StoreError),
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Row id, increasing: the cursor of lists.
    pub id: i64,
    /// Name.
    pub name: String,
    /// EK it is bound to.
    pub ek_spki_sha256: Option<[u8; 32]>,
    /// End of the first-contact window.
    pub first_contact_until: Option<i64>,
    /// Whether an administrator holds it.
    pub held: bool,
    /// Lot.
    pub batch: Option<String>,
    /// DNS entitlements.
    pub dns_names: Vec<String>,
    /// SPIFFE entitlement.
    pub spiffe_id: Option<String>,
    /// What was proven about its TPM.
    pub tpm: Option<DeviceTpm>,
    /// When it was put in.
    pub created_at: i64,
    /// Last successful enrollment.
    pub last_seen_at: Option<i64>,
}

/// Proven facts about a device's TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTpm {
    /// SHA-256 of the EK certificate.
    pub ek_certificate_sha256: [u8; 32],
    /// Manufacturer id.
    pub manufacturer: String,
    /// Model.
    pub model: String,
    /// Version.
    pub version: String,
    /// Assurance in words.
    pub assurance: String,
    /// Anchor name.
    pub anchor: String,
}

/// Where a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateState {
    /// About to be signed.
    Intent,
    /// Signed and recorded.
    Issued,
    /// The outcome of the signature is unknown: counts as issued.
    Orphan,
}

impl CertificateState {
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        match text {
            "intent" => Some(Self::Intent),
            "issued" => Some(Self::Issued),
            "orphan" => Some(Self::Orphan),
            _ => None,
        }
    }
}

/// What the record says of a certificate now. Two that are equal say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRow {
    /// State.
    pub state: CertificateState,
    /// Last second of validity, unix seconds.
    pub not_after: i64,
    /// When its intent was recorded, unix seconds.
    pub created_at: i64,
    /// Its last step, if it has any.
    pub last: Option<LastStep>,
}

/// The last step of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastStep {
    /// From 1, one more with each step.
    pub step: i64,
    /// Where it stands.
    pub state: RevocationState,
    /// Why; a release keeps the reason of its hold.
    pub reason: RevocationReason,
    /// When it stopped being good, unix seconds.
    pub since: i64,
}

/// A certificate, or the intent of one.
#[derive(Clone, Debug)]
pub struct CertificateRow {
    /// Row id, increasing.
    pub id: i64,
    /// Serial, DER content octets.
    pub serial: Vec<u8>,
    /// subjectKeyIdentifier of the issuer.
    pub issuer_key_id: Vec<u8>,
    /// Enrollment it belongs to.
    pub enrollment_id: [u8; 16],
    /// Device name, if any.
    pub device: Option<String>,
    /// Profile.
    pub profile: String,
    /// Which key.
    pub key_role: KeyRole,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// State.
    pub state: CertificateState,
    /// TBSCertificate as recorded.
    pub tbs: Vec<u8>,
    /// The certificate, when issued.
    pub certificate: Option<Vec<u8>>,
    /// Validity.
    pub not_before: i64,
    /// Validity.
    pub not_after: i64,
    /// When recorded.
    pub created_at: i64,
    /// Its last step, if it was ever revoked or put on hold.
    pub revocation: Option<Revocation>,
}

impl CertificateRow {
    /// Its last step, if it is revoked or on hold now.
    #[must_use]
    pub fn not_good(&self) -> Option<&Revocation> {
        self.revocation.as_ref().filter(|last| last.not_good())
    }
}

/// One step in the history of a certificate; the last one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Where it stands since this step.
    pub state: RevocationState,
    /// Why (RFC 5280 §5.3.1); a release keeps the reason of its hold.
    pub reason: RevocationReason,
    /// When the step was recorded, unix seconds.
    pub at: i64,
    /// When the certificate stopped being good, unix seconds: the revocation date of CRLs.
    pub since: i64,
    /// Who.
    pub actor: String,
    /// Why, in words.
    pub comment: String,
}

impl Revocation {
    /// Whether the certificate is revoked or on hold after this step.
    #[must_use]
    pub fn not_good(&self) -> bool {
        self.state != RevocationState::Released
    }
}

/// A step and the certificate it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRow {
    /// Row id, increasing: the cursor of lists.
    pub id: i64,
    /// Serial, DER content octets.
    pub serial: Vec<u8>,
    /// subjectKeyIdentifier of the issuer.
    pub issuer_key_id: Vec<u8>,
    /// Device name, if any.
    pub device: Option<String>,
    /// Profile.
    pub profile: String,
    /// The step.
    pub step: Revocation,
}

/// Why a certificate was not revoked, held or released.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RevokeError {
    /// There is no such certificate on record.
    #[error("there is no such certificate")]
    NotFound,
    /// It is revoked for another reason, and only keyCompromise may take its place.
    #[error("it is revoked already ({0}); that is final")]
    Final(RevocationReason),
    /// Only what is on hold can be released.
    #[error("it is not on hold")]
    NotOnHold,
    /// Storage.
    #[error(transparent)]
    Store(#[from] crate::StoreError),
}

/// What the record knows of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChallengeRow {
    /// It was answered rightly; there is an enrollment.
    pub used: bool,
    /// How often it was answered wrongly.
    pub failures: u32,
}

/// An enrollment whose challenge was used.
#[derive(Clone, Debug)]
pub struct EnrollmentRow {
    /// Id.
    pub id: [u8; 16],
    /// SHA-256 of the activation request.
    pub request_sha256: [u8; 32],
    /// Device.
    pub device: Option<String>,
    /// Its certificates in the order of their intents.
    pub certificates: Vec<CertificateRow>,
    /// When.
    pub created_at: i64,
}

/// Stored evidence.
#[derive(Clone, Debug)]
pub struct EvidenceRow {
    /// SHA-256 of `bytes`.
    pub digest: [u8; 32],
    /// See `attest::EvidenceRecord`.
    pub bytes: Vec<u8>,
}

/// A serial whose signature may exist without a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Serial.
    pub serial: Vec<u8>,
    /// Enrollment.
    pub enrollment_id: [u8; 16],
    /// Device.
    pub device: Option<String>,
    /// Profile.
    pub profile: String,
}

/// Which devices to list.
#[derive(Clone, Debug, Default)]
pub struct DeviceFilter {
    /// Name contains.
    pub name_contains: Option<String>,
    /// Lot.
    pub batch: Option<String>,
    /// Manufacturer id.
    pub manufacturer: Option<String>,
    /// Model, as its EK certificate writes it.
    pub model: Option<String>,
    /// Firmware of its TPM, as its EK certificate has it.
    pub firmware: Option<FirmwareRule>,
    /// A certificate of it ends before (unix seconds).
    pub expires_before: Option<i64>,
}

/// Which audit entries to list.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Incident or enrollment id.
    pub subject: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// Items.
    pub items: Vec<T>,
    /// Cursor of the next page.
    pub next: Option<i64>,
}
