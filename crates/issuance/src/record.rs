//! What is written down before and after the HSM is asked. Plain data; `schema` and the ceremony medium store it.

use attest::tpm::TpmsClockInfo;
use attest::{EvidenceRecord, Root, UnixTime};
use policies::{ClockRule, Decision, KeyRole};

use crate::Serial;

/// One conversation: why its certificates may exist. Stored in the same transaction as its intents.
#[derive(Clone, Debug)]
pub struct Order {
    /// Enrollment id: the challenge it uses up. UNIQUE.
    pub enrollment_id: [u8; 16],
    /// SHA-256 of the activation request: tells a retry from a replay.
    pub request_sha256: [u8; 32],
    /// The device and its root of trust; absent in a ceremony.
    pub device: Option<DeviceBinding>,
    /// The evidence; absent in a ceremony.
    pub evidence: Option<EvidenceRecord>,
    /// What was checked, and decided; absent in a ceremony.
    pub transcript: Option<TranscriptRecord>,
    /// The certificate it replaces, when it is a renewal. One order, one intent then.
    pub renews: Option<attest::Renewed>,
    /// The audit record, written in the same transaction.
    pub audit: AuditRecord,
    /// Clock of the server.
    pub at: UnixTime,
}

/// What was checked and decided, as it is kept beside the evidence: opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptRecord {
    /// SHA-256 of `bytes`: goes into the leaf of the ledger.
    pub digest: [u8; 32],
    /// The transcript.
    pub bytes: Vec<u8>,
    /// The CA certificates above the EK that it names by their digests: each as u32 big-endian length || DER.
    pub path: Vec<u8>,
}

/// One EK <-> one device; one IAK <-> one device.
#[derive(Clone, Debug)]
pub struct DeviceBinding {
    /// Name in the inventory.
    pub name: String,
    /// What its proof stands on.
    pub root: Root,
    /// SHA-256 of the SubjectPublicKeyInfo of the attestation key that vouched, the activated AK or the IAK: it lives in
    /// this TPM, and in no other.
    pub ak_spki_sha256: [u8; 32],
    /// What that key said about the TPM's clock.
    pub clock: ClockReading,
}

/// What an attestation said about the TPM's clock and counters: compared with the last one of the same key in the
/// transaction that records the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// Clock and counters.
    pub info: TpmsClockInfo,
    /// When the attestation was asked for: it is not older.
    pub asked_at: UnixTime,
    /// What happens when they went back.
    pub rule: ClockRule,
}

/// What is about to be signed, complete.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Serial. UNIQUE per issuer.
    pub serial: Serial,
    /// subjectKeyIdentifier of the issuer.
    pub issuer_key_id: Vec<u8>,
    /// TBSCertificate, DER: exactly the bytes that will be signed.
    pub tbs: Vec<u8>,
    /// Profile name.
    pub profile: String,
    /// SHA-256 of the profile as read.
    pub profile_sha256: [u8; 32],
    /// Which key it certifies.
    pub key_role: KeyRole,
    /// SHA-256 of the certified SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// Why it was granted.
    pub decision: Decision,
    /// First second of validity.
    pub not_before: UnixTime,
    /// Last second of validity.
    pub not_after: UnixTime,
}

/// A signature that exists.
#[derive(Clone, Debug)]
pub struct IssuedRecord {
    /// Serial.
    pub serial: Serial,
    /// subjectKeyIdentifier of the issuer.
    pub issuer_key_id: Vec<u8>,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
}

/// Who did what and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// When.
    pub at: UnixTime,
    /// What, for example `enrollment.issued`.
    pub action: String,
    /// Who.
    pub actor: String,
    /// Incident or enrollment id.
    pub subject: String,
    /// Reason code in capitals, or rule ids.
    pub reason: String,
    /// More, for people.
    pub detail: String,
}

/// What the record says no to, or cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The challenge was used before.
    #[error("the challenge was used before")]
    ChallengeUsed,
    /// The EK is bound to another device.
    #[error("the EK is bound to device `{0}`")]
    EkBoundElsewhere(String),
    /// The EK was this device's until its TPM was replaced; it is nobody's any more.
    #[error("the EK was device `{0}`'s until its TPM was replaced")]
    EkReplaced(String),
    /// The AK lives in the TPM of another device: this is a second EK of that TPM.
    #[error("the attestation key lives in the TPM of device `{0}`")]
    TpmOfAnother(String),
    /// The device is bound to another EK.
    #[error("device `{0}` is bound to another EK")]
    DeviceBoundElsewhere(String),
    /// The device is not in the inventory (any more), or held, or its first-contact window is closed.
    #[error("device `{0}` may not be bound")]
    DeviceNotOpen(String),
    /// The device has a live identity of this profile on another key.
    #[error("device `{device}` has a live `{profile}` identity")]
    IdentityExists {
        /// Device.
        device: String,
        /// Profile.
        profile: String,
    },
    /// The certificate to be renewed was replaced by another one.
    #[error("the certificate was replaced already")]
    Replaced,
    /// The certificate to be renewed does not stand for this device any more.
    #[error("the certificate cannot be renewed: {0}")]
    NotRenewable(String),
    /// The TPM's clock or counters went back: it was copied, or put back to an earlier state. The alarm is recorded, and
    /// with [`ClockRule::Hold`] the device is held.
    #[error("the TPM of device `{device}`: {what}")]
    ClockBack {
        /// Device.
        device: String,
        /// What went back, and from where.
        what: String,
        /// Whether the device is held now.
        held: bool,
    },
    /// The key is blocked (compromised, or a CA's own).
    #[error("the key is blocked")]
    KeyBlocked,
    /// The serial exists: draw another.
    #[error("the serial exists")]
    SerialTaken,
    /// The intent is not open any more (recovered as an orphan): the certificate must not be answered.
    #[error("the intent is no longer open")]
    IntentClosed,
    /// Recorded, but revoked or held meanwhile: the certificate must not be answered.
    #[error("the certificate was revoked before it was answered")]
    Revoked,
    /// Storage is away; nothing was written.
    #[error("storage is not available: {0}")]
    Unavailable(String),
    /// Whether it was written is not known.
    #[error("whether the record was written is not known: {0}")]
    Unknown(String),
}

/// Where intent and outcome are written down. Durable on return.
pub trait Recorder {
    /// Record an order and its intents, all or nothing: the challenge becomes used, the EK bound.
    ///
    /// # Errors
    /// [`RecordError`].
    fn intend(&self, order: &Order, intents: &[Intent]) -> Result<(), RecordError>;
    /// Record the signatures of an order, all or nothing, only where the intents are still open.
    ///
    /// # Errors
    /// [`RecordError`].
    fn issued(&self, enrollment_id: &[u8; 16], issued: &[IssuedRecord]) -> Result<(), RecordError>;
}
