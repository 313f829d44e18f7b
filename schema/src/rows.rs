//! What comes out of the store.

use attest::AnchorKind;
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
    /// What kind of TPM the EK is in, by the word of who allows it: then it needs no certificate. Only together with
    /// `ek_spki_sha256`; said once.
    pub ek_kind: Option<AnchorKind>,
    /// SHA-256 of the SubjectPublicKeyInfo of its manufacturer's IAK; UNIQUE when present.
    pub iak_spki_sha256: Option<[u8; 32]>,
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
    /// The EK was this device's until its TPM was replaced, and is nobody's any more.
    #[error("this EK was device `{0}`'s until its TPM was replaced, and is nobody's any more")]
    EkReplaced(String),
    /// The IAK went with the TPM of this device, and is nobody's any more.
    #[error("this IAK was device `{0}`'s until its TPM was replaced, and is nobody's any more")]
    IakReplaced(String),
    /// Something else was said before about what kind of TPM the EK is in.
    #[error("this EK was allowed as `{0}` before, which is final")]
    EkKind(&'static str),
    /// The IAK belongs to another device.
    #[error("this IAK belongs to device `{0}`")]
    IakTaken(String),
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
    /// Manufacturer's IAK it is bound to.
    pub iak_spki_sha256: Option<[u8; 32]>,
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

/// How it was shown that an EK belongs to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EkShown {
    /// An administrator named it.
    Named,
    /// It came first, while the window was open.
    FirstContact,
    /// It activated the same AK as another EK of the device: two EKs of one TPM.
    SameAk,
}

impl EkShown {
    /// The word as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::FirstContact => "first_contact",
            Self::SameAk => "same_ak",
        }
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let all = [Self::Named, Self::FirstContact, Self::SameAk];
        all.into_iter().find(|shown| shown.as_str() == text)
    }
}

/// Whose an EK is, or was: one device's, for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EkOwner {
    /// SHA-256 of the EK's SubjectPublicKeyInfo.
    pub ek_spki_sha256: [u8; 32],
    /// Name of the device.
    pub device: String,
    /// Since when, unix seconds.
    pub since: i64,
    /// How it was shown.
    pub shown: EkShown,
    /// The replacement with which it went: it is nobody's any more.
    pub replacement: Option<i64>,
    /// Facts about the TPM that went; of the EK the device was bound to, when it ever enrolled.
    pub tpm: Option<DeviceTpm>,
}

/// A wish that a device gets another TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReplacement {
    /// Name of the device.
    pub device: String,
    /// The new TPM.
    pub new_tpm: NewTpm,
    /// Why the certificates of the old one are revoked; never a hold.
    pub revocation: RevocationReason,
    /// Why, in words: 1 to 500 characters.
    pub reason: String,
    /// Last second in which it can be approved, unix seconds.
    pub expires_at: i64,
}

/// What a TPM is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KnownBy {
    /// Its EK.
    Ek,
    /// Its manufacturer's IAK, when no EK of it is known.
    Iak,
}

impl KnownBy {
    /// The word as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ek => "ek",
            Self::Iak => "iak",
        }
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        [Self::Ek, Self::Iak].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An IAK that went with its TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IakGone {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub iak_spki_sha256: [u8; 32],
    /// Whose it was.
    pub device: String,
    /// The replacement with which it went.
    pub replacement: i64,
}

/// Which TPM comes in the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTpm {
    /// The one with this EK (SHA-256 of its SubjectPublicKeyInfo).
    Named([u8; 32]),
    /// The one with this manufacturer's IAK (SHA-256 of its SubjectPublicKeyInfo).
    Iak([u8; 32]),
    /// The first genuine one that claims the name in so many seconds from the approval on.
    FirstContact(i64),
}

/// Where a replacement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplacementState {
    /// Asked for.
    Pending,
    /// Another person agreed, and it was carried out.
    Approved,
    /// Somebody did not agree, or who asked took it back.
    Rejected,
    /// Nobody agreed in time.
    Expired,
}

impl ReplacementState {
    /// The word as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let all = [Self::Pending, Self::Approved, Self::Rejected, Self::Expired];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

/// A replacement on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacementRow {
    /// Row id, increasing: the cursor of lists.
    pub id: i64,
    /// Name of the device.
    pub device: String,
    /// EK of the old TPM.
    pub old_ek: [u8; 32],
    /// What that is a hash of.
    pub old_kind: KnownBy,
    /// The new TPM.
    pub new_tpm: NewTpm,
    /// Why the certificates of the old one are revoked.
    pub revocation: RevocationReason,
    /// Why, in words.
    pub reason: String,
    /// Who asked.
    pub requested_by: String,
    /// When, unix seconds.
    pub requested_at: i64,
    /// Last second in which it can be approved.
    pub expires_at: i64,
    /// Where it stands.
    pub state: ReplacementState,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<i64>,
    /// What the second person said.
    pub comment: Option<String>,
}

/// Why a TPM was not replaced.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReplaceError {
    /// No such device, or no such replacement.
    #[error("there is no such device or replacement")]
    NotFound,
    /// There is nothing to replace: no TPM is bound yet.
    #[error("device `{0}` has no TPM yet: nothing is to be replaced")]
    NotBound(String),
    /// One is open already.
    #[error("replacement {id} of this device, asked for by `{by}`, is open")]
    Open {
        /// Its row id.
        id: i64,
        /// Who asked.
        by: String,
    },
    /// The new EK is one that is known.
    #[error("the new EK is that of device `{0}`")]
    EkTaken(String),
    /// The new EK was replaced before.
    #[error("the new EK was device `{0}`'s until its TPM was replaced, and is nobody's any more")]
    EkReplaced(String),
    /// Meanwhile an EK of the old TPM became known, by which it goes: it is another wish now.
    #[error("an EK of the TPM became known since it was asked for: reject it, and ask anew")]
    Changed,
    /// The new IAK is one that is known.
    #[error("the new IAK is that of device `{0}`")]
    IakTaken(String),
    /// The new IAK was replaced before.
    #[error("the new IAK was device `{0}`'s until its TPM was replaced, and is nobody's any more")]
    IakReplaced(String),
    /// Nobody approves what he asked for.
    #[error("`{0}` asked for this: another person approves it")]
    SamePerson(String),
    /// It is decided.
    #[error("it is {0:?} already, by `{1}`")]
    Decided(ReplacementState, String),
    /// Too late to approve it.
    #[error("nobody approved it in time: ask anew")]
    Expired,
    /// Not a wish that can be recorded.
    #[error("{0}")]
    Unfit(&'static str),
    /// Storage.
    #[error(transparent)]
    Store(#[from] crate::StoreError),
}

/// The last call to a device to renew early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewalCall {
    /// Certificates up to this row id are meant.
    pub upto: i64,
    /// From when on, unix seconds.
    pub at: i64,
    /// Within so many seconds.
    pub within: i64,
}

/// What an attestation key of a device said last about its TPM's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpmClock {
    /// SHA-256 of the key's SubjectPublicKeyInfo.
    pub ak_spki_sha256: [u8; 32],
    /// Clock and counters.
    pub info: attest::tpm::TpmsClockInfo,
    /// When it was taken, unix seconds.
    pub seen_at: i64,
    /// When a later one went back, unix seconds.
    pub alarmed_at: Option<i64>,
}

/// A second EK of a device's TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EkLink {
    /// Name of the device.
    pub device: String,
    /// SHA-256 of the EK's SubjectPublicKeyInfo.
    pub ek_spki_sha256: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo of the AK that both EKs activated.
    pub ak_spki_sha256: [u8; 32],
    /// The evidence record of this activation.
    pub evidence: Vec<u8>,
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

/// The manufacturer's certificate on which the certificates of an enrollment stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IakProofRow {
    /// SHA-256 of the IAK's certificate.
    pub certificate_sha256: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// Name of its issuer, DER.
    pub issuer: Vec<u8>,
    /// Its serial, DER content octets.
    pub serial: Vec<u8>,
    /// SHA-256 of the IDevID certificate that was shown beside it.
    pub idevid_sha256: Option<[u8; 32]>,
    /// SHA-256 of the EK's SubjectPublicKeyInfo, by its issuer's word.
    pub ek_spki_sha256: Option<[u8; 32]>,
    /// Name of the anchor it chained to.
    pub anchor: String,
    /// Assurance in words.
    pub assurance: String,
    /// The line of a manifest that names what was shown: number of the manifest, position of the line.
    pub manifest: Option<(i64, u64)>,
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

/// An audit record as it stands, with what it is about. It reads as the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// The record.
    pub record: issuance::AuditRecord,
    /// SHA-256 of the row that was changed, as a backup writes it, or of the text; none where there was none.
    pub before: Option<[u8; 32]>,
    /// The same, as it became.
    pub after: Option<[u8; 32]>,
}

impl core::ops::Deref for AuditRow {
    type Target = issuance::AuditRecord;

    fn deref(&self) -> &issuance::AuditRecord {
        &self.record
    }
}

impl AuditRow {
    /// As the ledger hashes it.
    #[must_use]
    pub fn line(&self) -> ledger::AuditLine<'_> {
        ledger::AuditLine {
            at: self.record.at.0,
            action: &self.record.action,
            actor: &self.record.actor,
            subject: &self.record.subject,
            reason: &self.record.reason,
            detail: &self.record.detail,
            before: self.before,
            after: self.after,
        }
    }
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// Items.
    pub items: Vec<T>,
    /// Cursor of the next page.
    pub next: Option<i64>,
}
