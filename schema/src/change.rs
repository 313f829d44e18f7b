//! What the writer is asked to do, prepared by the caller's thread: the writer only writes.

use issuance::{AuditRecord, ClockReading, ClockRule, Intent, IssuedRecord, KeyRole, Order, RecordError};

use serde::Serialize;

use wire::revocation::RevocationReason;

use crate::clock::Attested;
use crate::erase::Erasure;
use crate::manifest::{ManifestError, ManifestPart, ManifestRow, NewManifest};
use crate::review::{Asked, NewReview, ReviewDecision, ReviewError, ReviewRow};
use crate::rows::{
    AllowDevice, DeviceRow, EkLink, IakProofRow, NewDeviceError, NewReplacement, Orphan, ReplaceError, ReplacementRow,
    Revocation, RevokeError,
};
use crate::standing::Grounds;
use crate::tables::NewAudit;

/// One unit that is written whole or not at all.
#[derive(Debug)]
pub(crate) enum Change {
    /// [`issuance::Recorder::intend`].
    Intend(Box<NewOrder>),
    /// [`issuance::Recorder::issued`].
    Issued(Signatures),
    /// An attestation for which nothing is issued.
    Attested(Box<Attested>),
    /// One failed answer.
    Attempt { challenge: [u8; 16], audit: NewAudit },
    /// Drop counters of challenges that are long over.
    ForgetAttempts { before: i64 },
    /// A device into the inventory.
    Allow { device: AllowDevice, audit: NewAudit },
    /// Hold or release a device.
    Hold {
        device: String,
        held: bool,
        audit: NewAudit,
    },
    /// Erase what was shown and checked in an enrollment.
    Erase {
        challenge: [u8; 16],
        now: i64,
        audit: NewAudit,
    },
    /// Block a key.
    Block {
        spki_sha256: [u8; 32],
        reason: String,
        audit: NewAudit,
    },
    /// Revoke, hold or release a certificate.
    Revocation(NewStep),
    /// Ask for another TPM.
    Replace { wish: NewReplacement, audit: NewAudit },
    /// Decide over it.
    Decide(NewDecision),
    /// A second EK of a device's TPM.
    Link { link: EkLink, audit: NewAudit },
    /// Call a device to renew early.
    CallRenewal {
        device: String,
        within: i64,
        audit: NewAudit,
    },
    /// A manifest to be read.
    Manifest { new: Box<NewManifest>, audit: NewAudit },
    /// A part of it.
    Part { part: ManifestPart, audit: NewAudit },
    /// Take it back.
    Withdraw { manifest: i64, audit: NewAudit },
    /// A device that was expected.
    Arrive {
        ek: [u8; 32],
        iak: Option<[u8; 32]>,
        audit: NewAudit,
    },
    /// A TPM that people have to decide about.
    Ask { new: Box<NewReview>, audit: NewAudit },
    /// What they decided.
    Review { decision: ReviewDecision, audit: NewAudit },
    /// Open intents become orphans.
    Recover { older_than: i64, now: i64 },
    /// What is stood on.
    Stand(Box<Grounds>),
    /// An audit record on its own.
    Audit(NewAudit),
    /// A defect, for the test of what follows one.
    #[cfg(test)]
    Panic,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Recorded(Result<(), RecordError>),
    /// With the alarm that the TPM's clock raised.
    Attested(Result<(), RecordError>, Option<ClockRule>),
    Count(u32),
    Device(Result<Box<DeviceRow>, NewDeviceError>),
    Found(bool),
    Erased(Erasure),
    Orphans(Vec<Orphan>),
    Revocation(Result<Revocation, RevokeError>),
    Replacement(Result<Box<ReplacementRow>, ReplaceError>),
    Manifest(Result<Box<ManifestRow>, ManifestError>),
    Asked(Asked),
    Reviewed(Result<Box<ReviewRow>, ReviewError>),
    Stood(Vec<&'static str>),
    Arrived(Result<Option<Box<DeviceRow>>, NewDeviceError>),
    Done,
}

impl Change {
    /// Whether doing it again after an unknown commit gives the same records and the same answer.
    pub(crate) fn repeatable(&self) -> bool {
        match self {
            // The same reading follows itself.
            Self::Attested(_) => true,
            Self::Intend(_) | Self::Issued(_) | Self::Allow { .. } | Self::Hold { .. } => true,
            Self::Erase { .. } | Self::Block { .. } | Self::ForgetAttempts { .. } | Self::Revocation(_) => true,
            Self::Replace { .. } | Self::Decide(_) | Self::Link { .. } => true,
            // What was written is found again.
            Self::Ask { .. } | Self::Review { .. } => true,
            Self::Manifest { .. } | Self::Part { .. } | Self::Withdraw { .. } | Self::Arrive { .. } => true,
            // A second call says the same again.
            Self::CallRenewal { .. } => true,
            Self::Stand(_) => true,
            Self::Attempt { .. } | Self::Recover { .. } | Self::Audit(_) => false,
            #[cfg(test)]
            Self::Panic => false,
        }
    }
}

/// An order and its intents.
#[derive(Debug)]
pub(crate) struct NewOrder {
    pub(crate) challenge: [u8; 16],
    pub(crate) request_sha256: [u8; 32],
    pub(crate) device: Option<Binding>,
    pub(crate) evidence: Option<attest::EvidenceRecord>,
    pub(crate) transcript: Option<Box<issuance::TranscriptRecord>>,
    /// Issuer and serial of the certificate that is replaced.
    pub(crate) renews: Option<Box<(Vec<u8>, Vec<u8>)>>,
    pub(crate) audit: NewAudit,
    pub(crate) at: i64,
    pub(crate) intents: Vec<NewIntent>,
}

/// The device and what was proven about its TPM.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) name: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the attestation key that vouched.
    pub(crate) ak: [u8; 32],
    /// What that key said about the TPM's clock.
    pub(crate) clock: ClockReading,
    pub(crate) root: BoundRoot,
}

/// What the device is known by.
#[derive(Debug, Clone)]
pub(crate) enum BoundRoot {
    /// Its EK, and the facts of the certificate.
    Ek { spki_sha256: [u8; 32], facts: TpmFacts },
    /// Its manufacturer's IAK; in it, perhaps, the EK.
    Iak(Box<IakProofRow>),
}

/// What an enrollment on the manufacturer's word showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IakShown<'a> {
    /// SHA-256 of the IAK's certificate.
    pub(crate) certificate: &'a [u8; 32],
    /// SHA-256 of the IDevID certificate beside it.
    pub(crate) idevid: Option<&'a [u8; 32]>,
    /// EK that the IAK's certificate names.
    pub(crate) ek: Option<&'a [u8; 32]>,
}

impl Binding {
    /// The EK: proven, or by the word of the IAK's issuer.
    pub(crate) fn ek(&self) -> Option<&[u8; 32]> {
        match &self.root {
            BoundRoot::Ek { spki_sha256, .. } => Some(spki_sha256),
            BoundRoot::Iak(proof) => proof.ek_spki_sha256.as_ref(),
        }
    }

    /// What was shown of the manufacturer's word.
    pub(crate) fn shown(&self) -> Option<IakShown<'_>> {
        self.iak().map(|proof| IakShown {
            certificate: &proof.certificate_sha256,
            idevid: proof.idevid_sha256.as_ref(),
            ek: proof.ek_spki_sha256.as_ref(),
        })
    }

    /// The IAK.
    pub(crate) fn iak(&self) -> Option<&IakProofRow> {
        match &self.root {
            BoundRoot::Ek { .. } => None,
            BoundRoot::Iak(proof) => Some(proof),
        }
    }
}

/// The columns of a device's TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TpmFacts {
    pub(crate) ek_certificate_sha256: Vec<u8>,
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    pub(crate) version: String,
    pub(crate) assurance: String,
    pub(crate) anchor: String,
}

/// An intent.
#[derive(Debug)]
pub(crate) struct NewIntent {
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer_key_id: Vec<u8>,
    pub(crate) tbs: Vec<u8>,
    pub(crate) profile: String,
    pub(crate) profile_sha256: Vec<u8>,
    pub(crate) key_role: &'static str,
    pub(crate) spki_sha256: [u8; 32],
    pub(crate) decision: String,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

/// A step to be taken with a certificate.
#[derive(Debug)]
pub(crate) struct NewStep {
    pub(crate) certificate: i64,
    /// Why it is revoked or held; none: it is released.
    pub(crate) reason: Option<RevocationReason>,
    pub(crate) comment: String,
    pub(crate) audit: NewAudit,
}

/// A decision over a replacement.
#[derive(Debug)]
pub(crate) struct NewDecision {
    pub(crate) replacement: i64,
    pub(crate) approve: bool,
    pub(crate) comment: String,
    /// Who decides is its actor.
    pub(crate) audit: NewAudit,
}

/// The signatures of an order.
#[derive(Debug)]
pub(crate) struct Signatures {
    pub(crate) challenge: [u8; 16],
    pub(crate) issued: Vec<IssuedRecord>,
}

/// The decision as it is stored.
#[derive(Serialize)]
struct StoredDecision<'a> {
    rules: &'a [String],
    reasons: &'a [String],
    policy_sha256: String,
}

impl NewOrder {
    pub(crate) fn new(order: &Order, intents: &[Intent]) -> Result<Self, RecordError> {
        Ok(Self {
            challenge: order.enrollment_id,
            request_sha256: order.request_sha256,
            device: order.device.as_ref().map(|d| Binding {
                name: d.name.clone(),
                ak: d.ak_spki_sha256,
                clock: d.clock,
                root: BoundRoot::of(&d.root),
            }),
            evidence: order.evidence.clone(),
            transcript: order.transcript.clone().map(Box::new),
            renews: order
                .renews
                .as_ref()
                .map(|r| Box::new((r.issuer_key_id.clone(), r.serial.clone()))),
            audit: new_audit(&order.audit),
            at: order.at.0,
            intents: intents.iter().map(NewIntent::new).collect::<Result<_, _>>()?,
        })
    }
}

impl NewOrder {
    /// The attestation it stands on.
    pub(crate) fn attested(&self) -> Option<Attested> {
        self.device.as_ref().map(|binding| Attested {
            device: binding.name.clone(),
            ak: binding.ak,
            reading: binding.clock,
            challenge: self.challenge,
            at: self.at,
        })
    }
}

impl BoundRoot {
    fn of(root: &attest::Root) -> Self {
        match root {
            attest::Root::Ek(ek) => Self::Ek {
                spki_sha256: ek.spki_sha256,
                facts: TpmFacts {
                    ek_certificate_sha256: ek.certificate_sha256.to_vec(),
                    manufacturer: storable(&ek.manufacturer),
                    model: storable(&ek.model),
                    version: storable(&ek.version),
                    assurance: ek.assurance.as_str().to_owned(),
                    anchor: storable(&ek.anchor),
                },
            },
            attest::Root::Iak(iak) => Self::Iak(Box::new(IakProofRow {
                certificate_sha256: iak.certificate_sha256,
                spki_sha256: iak.spki_sha256,
                issuer: iak.issuer.clone(),
                serial: iak.serial.clone(),
                idevid_sha256: iak.idevid_sha256,
                ek_spki_sha256: iak.ek_spki_sha256,
                anchor: storable(&iak.anchor),
                assurance: iak.assurance.as_str().to_owned(),
                // Looked up as it is written.
                manifest: None,
            })),
        }
    }
}

impl NewIntent {
    fn new(intent: &Intent) -> Result<Self, RecordError> {
        let decision = StoredDecision {
            rules: &intent.decision.rules,
            reasons: &intent.decision.reasons,
            policy_sha256: hex::encode(intent.decision.policy_sha256),
        };
        Ok(Self {
            serial: intent.serial.octets().to_vec(),
            issuer_key_id: intent.issuer_key_id.clone(),
            tbs: intent.tbs.clone(),
            profile: intent.profile.clone(),
            profile_sha256: intent.profile_sha256.to_vec(),
            key_role: role_word(intent.key_role),
            spki_sha256: intent.spki_sha256,
            // JSON escapes U+0000, so this text can always be stored.
            decision: serde_json::to_string(&decision).map_err(|e| RecordError::Unavailable(e.to_string()))?,
            not_before: intent.not_before.0,
            not_after: intent.not_after.0,
        })
    }
}

/// A key role as stored.
pub(crate) fn role_word(role: KeyRole) -> &'static str {
    match role {
        KeyRole::Attestation => "attestation",
        KeyRole::Identity => "identity",
    }
}

/// An audit record as stored.
pub(crate) fn new_audit(record: &AuditRecord) -> NewAudit {
    NewAudit {
        at: record.at.0,
        action: storable(&record.action),
        actor: storable(&record.actor),
        // Indexed; ids are far shorter.
        subject: storable(&record.subject).chars().take(255).collect(),
        reason: storable(&record.reason),
        detail: storable(&record.detail),
        before: None,
        after: None,
    }
}

/// Free text that both engines take: PostgreSQL has no U+0000.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
