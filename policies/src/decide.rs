//! From proof to permission by Cedar rules.

use attest::{EvidenceRecord, UnixTime, VerifiedBinding};

use crate::{Grant, Profiles};

/// What the inventory says about the device this proof is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryEntry {
    /// Name of the device.
    pub name: String,
    /// SHA-256 of the EK SubjectPublicKeyInfo it is bound to; `None` before first contact.
    pub ek_spki_sha256: Option<[u8; 32]>,
    /// Whether the entry's first-contact window is open now.
    pub first_contact_open: bool,
    /// Whether an administrator holds the device.
    pub held: bool,
    /// Lot.
    pub batch: Option<String>,
    /// DNS names a service certificate carries.
    pub dns_names: Vec<String>,
    /// SPIFFE id a service certificate carries.
    pub spiffe_id: Option<String>,
}

/// The rules and their schema, parsed and validated once.
pub struct PolicySet {
    _todo: (),
}

/// Whether software roots of trust may be recognised at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Below a ceremony's root.
    Production,
    /// Below a rehearsal's root: demonstrations, whose certificates our verifier refuses elsewhere.
    Rehearsal,
}

/// Rules that do not load.
#[derive(Debug, Clone, thiserror::Error)]
#[error("policy: {0}")]
pub struct PolicyError(pub String);

/// What [`decide`] needs to know beside the proof.
#[derive(Debug)]
pub struct Permit {
    /// One grant per certificate of the conversation; the attestation key's first.
    pub grants: Vec<Grant>,
    /// The evidence they stand on, for the record.
    pub evidence: EvidenceRecord,
    /// The endorsement, for the record.
    pub ek: attest::EkFacts,
    /// Name of the device.
    pub device: String,
}

/// Class of a denial: decides what the caller may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenialCode {
    /// The profile does not exist or is not for devices (422 `profile_violation`).
    Profile,
    /// The CSR asks for more than the entry is entitled to (422 `csr_rejected`).
    Csr,
    /// The key is not acceptable in this role (422 `key_rejected`).
    Key,
    /// The name is not this EK's (coarse to outsiders, 403).
    IdBound,
    /// This EK has no inventory entry (coarse to outsiders, 403).
    NotInInventory,
    /// A rule refuses, or none permits (403 `policy_denied`).
    Policy,
}

/// A refusal with its reasons.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {detail}")]
pub struct Denial {
    /// Class.
    pub code: DenialCode,
    /// Ids of the rules that forbade; empty when none permitted.
    pub rules: Vec<String>,
    /// For the operator.
    pub detail: String,
}

impl PolicySet {
    /// The rules shipped in `policies/rules/`.
    ///
    /// # Errors
    /// [`PolicyError`]; a test shows there is none.
    pub fn builtin(_mode: Mode) -> Result<Self, PolicyError> {
        todo!()
    }
    /// From a schema and `(file name, Cedar text)` pairs. Strict validation: any error or warning refuses.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn from_sources(_mode: Mode, _schema: &str, _rules: &[(String, String)]) -> Result<Self, PolicyError> {
        todo!()
    }
    /// SHA-256 over schema and rules.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        todo!()
    }
}

/// Decide. Consumes the proof; every certificate of the conversation is granted, or none.
///
/// # Errors
/// [`Denial`].
pub fn decide(
    _policy: &PolicySet,
    _profiles: &Profiles,
    _binding: VerifiedBinding,
    _entry: Option<InventoryEntry>,
    _now: UnixTime,
) -> Result<Permit, Denial> {
    todo!()
}
