//! The corridor from evidence to proof.

use crate::csr::CsrRequest;
use crate::trust::Anchors;
use crate::{EkFacts, Entropy, EntropyError, KeyFacts, Refusal, UnixTime};

/// Evidence as received. Nothing is believed.
#[derive(Clone, Debug)]
pub struct EvidenceBytes {
    /// EK certificate, DER.
    pub ek_certificate: Vec<u8>,
    /// Issuing CA certificates the device offers, DER.
    pub ek_chain: Vec<Vec<u8>>,
    /// EK `TPMT_PUBLIC`.
    pub ek_public: Vec<u8>,
    /// AK `TPMT_PUBLIC`.
    pub ak_public: Vec<u8>,
}

/// Decoded, structurally sound, worth nothing yet.
#[derive(Debug)]
pub struct Evidence {
    _todo: (),
}

/// The EK is endorsed and the AK has the right shape. Whether they live together is not yet known.
#[derive(Debug)]
pub struct Endorsed {
    _todo: (),
}

/// What one challenge is for. Sealed into the ticket, so it cannot be exchanged between question and answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeContext {
    /// Enrollment id.
    pub id: [u8; 16],
    /// Profile wanted for the identity key.
    pub profile: String,
    /// Profile wanted for the attestation key.
    pub attestation_profile: Option<String>,
    /// Name claimed by the device.
    pub device: Option<String>,
    /// When the challenge was made.
    pub issued_at: UnixTime,
    /// Last second at which an answer is taken.
    pub expires_at: UnixTime,
}

/// What the device is asked.
#[derive(Debug)]
pub struct Challenge {
    /// `TPM2B_ID_OBJECT`.
    pub credential_blob: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET`.
    pub encrypted_secret: Vec<u8>,
    /// Goes into [`crate::tpm::qualifying_data`].
    pub nonce: [u8; 32],
}

/// Making a challenge failed; not the device's fault.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeError {
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// OpenSSL refused; never expected for keys that passed [`Evidence::verify`].
    #[error("making the credential failed: {0}")]
    Crypto(String),
}

/// Evidence welded to the one answer that will prove it. Not `Clone`: one challenge, one try.
#[derive(Debug)]
pub struct Pending {
    _todo: (),
}

/// AES-256-GCM keys that seal a [`Pending`] into a ticket; the first seals, all open. Shared by all replicas.
pub struct SealKey {
    _todo: (),
}

/// A ticket that does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not a ticket, or not one of ours, or altered, or of another enrollment.
    #[error("the ticket was not made here for this enrollment")]
    Forged,
    /// Older than its last second.
    #[error("the challenge has expired")]
    Expired,
}

/// What the device answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Secret out of `TPM2_ActivateCredential`.
    pub secret: Vec<u8>,
    /// Identity key `TPMT_PUBLIC`.
    pub key_public: Vec<u8>,
    /// `TPMS_ATTEST` of `TPM2_Certify`.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE` over it.
    pub signature: Vec<u8>,
    /// CSR, DER.
    pub csr: Vec<u8>,
}

/// Everything that was checked, as bytes, so that it can be checked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRecord {
    /// SHA-256 of `bytes`: goes into the RoT-binding extension.
    pub digest: [u8; 32],
    /// Deterministic encoding: "holdfast-evidence-v1" || 00, then each field as u32 big-endian length || bytes, in the
    /// order enrollment id, EK certificate, EK public, AK public, IK public, nonce, TPMS_ATTEST, TPMT_SIGNATURE, CSR.
    pub bytes: Vec<u8>,
}

/// A key, proven to live in a root of trust we recognise. Made only by [`Pending::answer`].
#[derive(Debug)]
pub struct VerifiedBinding {
    _todo: (),
}

impl Evidence {
    /// Parse; never judge.
    ///
    /// # Errors
    /// [`crate::Reason::Malformed`].
    pub fn decode(_bytes: EvidenceBytes) -> Result<Self, Refusal> {
        todo!()
    }

    /// Judge the endorsement and the AK's shape.
    ///
    /// # Errors
    /// EK_* and AK_* reasons.
    pub fn verify(self, _anchors: &Anchors, _now: UnixTime) -> Result<Endorsed, Refusal> {
        todo!()
    }
}

impl Endorsed {
    /// The endorsement.
    pub fn ek(&self) -> &EkFacts {
        todo!()
    }

    /// Begin credential activation. The evidence moves into [`Pending`].
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn challenge(
        self,
        _context: ChallengeContext,
        _entropy: &mut dyn Entropy,
    ) -> Result<(Challenge, Pending), ChallengeError> {
        todo!()
    }
}

impl SealKey {
    /// The first key seals; all open (rotation).
    #[must_use]
    pub fn new(_current: [u8; 32], _previous: Vec<[u8; 32]>) -> Self {
        todo!()
    }
}

impl Pending {
    /// Seal into an opaque ticket. Holds only a hash of the activation secret.
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn seal(self, _key: &SealKey, _entropy: &mut dyn Entropy) -> Result<Vec<u8>, ChallengeError> {
        todo!()
    }

    /// Open a ticket made by [`Pending::seal`] for enrollment `id`.
    ///
    /// # Errors
    /// [`TicketError`].
    pub fn open(_key: &SealKey, _id: &[u8; 16], _ticket: &[u8], _now: UnixTime) -> Result<Self, TicketError> {
        todo!()
    }

    /// What the challenge was for.
    pub fn context(&self) -> &ChallengeContext {
        todo!()
    }

    /// The endorsement.
    pub fn ek(&self) -> &EkFacts {
        todo!()
    }

    /// Consume the pending proof; only a binding survives.
    ///
    /// # Errors
    /// ACT_SECRET, CERT_*, KEY_*, CSR_* or MALFORMED.
    pub fn answer(self, _answer: Answer) -> Result<VerifiedBinding, Refusal> {
        todo!()
    }
}

impl VerifiedBinding {
    /// What the challenge was for.
    pub fn context(&self) -> &ChallengeContext {
        todo!()
    }
    /// The endorsement.
    pub fn ek(&self) -> &EkFacts {
        todo!()
    }
    /// The activated attestation key.
    pub fn ak(&self) -> &KeyFacts {
        todo!()
    }
    /// The certified identity key.
    pub fn identity(&self) -> &KeyFacts {
        todo!()
    }
    /// What the CSR asks for.
    pub fn requested(&self) -> &CsrRequest {
        todo!()
    }
    /// The evidence.
    pub fn evidence(&self) -> &EvidenceRecord {
        todo!()
    }
}
