//! What is kept beside the evidence, and what the ledger's leaf commits to: what was checked and decided.

use attest::iak::IakEvidenceFields;
use attest::tpm::TpmtPublic;
use attest::{AllowedEk, AnchorKind, Assurance, ChallengeContext, EkFacts, EvidenceFields, UnixTime};
use bundle::{
    Activation, Asked, Ca, Decided, EkWord, IakTerms, IakWord, Inventory, Root, TRANSCRIPT_V1, Transcript, Word,
    path_bytes,
};
use issuance::TranscriptRecord;
use policies::{InventoryEntry, Permit};

use super::failure::sha256;
use crate::house::House;

/// The transcript of what was permitted.
///
/// # Errors
/// A record that is not one of ours, in words: never for a permit.
pub(super) fn of(
    house: &House,
    context: &ChallengeContext,
    permit: &Permit,
    now: UnixTime,
) -> Result<TranscriptRecord, String> {
    let record = &permit.evidence.bytes;
    let (nonce, root, path) = match &permit.root {
        attest::Root::Ek(ek) => {
            let fields = EvidenceFields::parse(record).ok_or("evidence that is not of an EK")?;
            let ak = TpmtPublic::parse(fields.ak_public).map_err(|refusal| refusal.to_string())?;
            let word = Root::EkActivation(word(house, ek, &ak));
            (hex::encode(fields.nonce), word, path_bytes(&ek.path))
        }
        attest::Root::Iak(iak) => {
            let fields = IakEvidenceFields::parse(record).ok_or("evidence that is not of an IAK")?;
            let (kind, enforce_expiry) = house
                .manufacturers
                .terms(&iak.anchor_sha256)
                .unwrap_or_else(|| (kind_of(iak.assurance), false));
            let word = IakWord {
                iak_certificate_sha256: hex::encode(iak.certificate_sha256),
                anchor: iak.anchor.clone(),
                anchor_sha256: hex::encode(iak.anchor_sha256),
                assurance: iak.assurance.as_str().to_owned(),
                terms: Some(IakTerms {
                    kind: word_of(kind).to_owned(),
                    enforce_expiry,
                    path: iak.path.iter().map(|der| hex::encode(sha256(der))).collect(),
                }),
            };
            (
                hex::encode(fields.nonce),
                Root::IakCertified(word),
                path_bytes(&iak.path),
            )
        }
    };
    let decided = |grant: &policies::Grant| Decided {
        profile: grant.profile().name().to_owned(),
        profile_sha256: hex::encode(grant.profile().sha256()),
        policy_sha256: hex::encode(grant.decision().policy_sha256),
        rules: grant.decision().rules.clone(),
        reasons: grant.decision().reasons.clone(),
    };
    let transcript = Transcript {
        v: TRANSCRIPT_V1.to_owned(),
        enrollment: hex::encode(context.id),
        nonce,
        evidence: hex::encode(permit.evidence.digest),
        ca: Ca {
            name: house.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        policy: Some(hex::encode(house.policy_archive)),
        asked: Asked {
            profile: context.profile.clone(),
            attestation_profile: context.attestation_profile.clone(),
            device: context.device.clone(),
        },
        challenged_at: context.issued_at.0,
        expires_at: context.expires_at.0,
        decided_at: now.0,
        root,
        device: permit.device.clone(),
        inventory: Some(inventory(&permit.inventory)),
        decisions: permit.grants.iter().map(decided).collect(),
        renewed: permit.renews.as_ref().map(|old| hex::encode(old.certificate_sha256)),
        same_key: permit.same_key,
    };
    let bytes = transcript.to_bytes().map_err(|e| e.to_string())?;
    Ok(TranscriptRecord {
        digest: sha256(&bytes),
        bytes,
        path,
    })
}

fn word(house: &House, ek: &EkFacts, ak: &TpmtPublic) -> EkWord {
    let by = match ek.anchor.as_str() {
        AllowedEk::ANCHOR if ek.path.is_empty() => Word::AllowList,
        _ if ek.path.is_empty() => Word::Review,
        _ => Word::Chain,
    };
    // An anchor that went since the challenge has no terms any more; then its kind is the level's.
    let (kind, manufacturers, enforce_expiry) = match house.anchors.terms(&ek.anchor_sha256) {
        Some((kind, manufacturers, enforce)) => (kind, manufacturers.to_vec(), enforce),
        None => (kind_of(ek.assurance), vec![ek.manufacturer.clone()], false),
    };
    EkWord {
        ek_spki_sha256: hex::encode(ek.spki_sha256),
        word: by,
        anchor: ek.anchor.clone(),
        kind: word_of(kind).to_owned(),
        manufacturers: if by == Word::Chain { manufacturers } else { Vec::new() },
        enforce_expiry,
        path: ek.path.iter().map(|der| hex::encode(sha256(der))).collect(),
        passed: ek.passed.clone(),
        template: ek.template.as_str().to_owned(),
        assurance: ek.assurance.as_str().to_owned(),
        activation: Activation {
            method: "TPM2_MakeCredential".to_owned(),
            ak_name: hex::encode(ak.name()),
            answer: "secret-returned".to_owned(),
        },
    }
}

fn inventory(entry: &InventoryEntry) -> Inventory {
    Inventory {
        bound: entry.ek_spki_sha256.is_some() || entry.iak_spki_sha256.is_some(),
        held: entry.held,
        batch: entry.batch.clone(),
        dns_names: entry.dns_names.clone(),
        spiffe_id: entry.spiffe_id.clone(),
        accepted_advisories: entry.accepted_advisories.clone(),
    }
}

fn word_of(kind: AnchorKind) -> &'static str {
    match kind {
        AnchorKind::Hardware => "hardware",
        AnchorKind::Virtual => "virtual",
        AnchorKind::Software => "software",
    }
}

fn kind_of(assurance: Assurance) -> AnchorKind {
    match assurance {
        Assurance::HardwareVerified | Assurance::HardwareAllowlisted | Assurance::ManufacturerVerified => {
            AnchorKind::Hardware
        }
        Assurance::Virtual => AnchorKind::Virtual,
        Assurance::Software => AnchorKind::Software,
    }
}
