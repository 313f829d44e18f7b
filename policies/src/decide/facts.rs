//! What decides, as plain data: drawn from a proof, or written down in a case of the decision table.

use attest::csr::CsrRequest;
use attest::{Assurance, KeyFacts, Root, VerifiedBinding};

use super::{InventoryEntry, Item};
use crate::decide::rules::Question;

/// Everything about one proof that a decision looks at.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) profile: String,
    pub(super) attestation_profile: Option<String>,
    pub(super) claimed: Option<String>,
    pub(super) requested: CsrRequest,
    pub(super) root: Root,
    /// The attestation key that vouched.
    pub(super) ak: KeyFacts,
    /// The attestation key that may be certified.
    pub(super) attestation: Option<KeyFacts>,
    pub(super) identity: KeyFacts,
    pub(super) evidence: [u8; 32],
}

impl Facts {
    pub(super) fn of(binding: &VerifiedBinding) -> Self {
        let context = binding.context();
        Self {
            profile: context.profile.clone(),
            attestation_profile: context.attestation_profile.clone(),
            claimed: context.device.clone(),
            requested: binding.requested().clone(),
            root: binding.root().clone(),
            ak: binding.ak().clone(),
            attestation: binding.attestation_key().cloned(),
            identity: binding.identity().clone(),
            evidence: binding.evidence().digest,
        }
    }

    /// What the rules are asked about one certificate of the conversation.
    pub(super) fn question<'a>(&'a self, item: &Item<'a>, all: &[Item<'a>], entry: &'a InventoryEntry) -> Question<'a> {
        Question {
            device: &entry.name,
            profile: &item.profile.name,
            kind: item.profile.kind,
            with: all
                .iter()
                .find(|other| other.role != item.role)
                .map(|other| other.profile.kind),
            rot: rot_kind(self.root.assurance()),
            level: self.root.assurance(),
            root: &self.root,
            ak: self.ak.algorithm,
            key: item.key.algorithm,
            entry,
        }
    }
}

/// The word of the rules for the root of trust behind a level: a software TPM speaks and is recorded as a TPM; its
/// level says what that is worth.
pub(super) fn rot_kind(level: Assurance) -> attest::rot::RotKind {
    match level {
        Assurance::Virtual => attest::rot::RotKind::Vtpm,
        Assurance::HardwareVerified
        | Assurance::HardwareAllowlisted
        | Assurance::Software
        | Assurance::ManufacturerVerified => attest::rot::RotKind::Tpm,
    }
}
