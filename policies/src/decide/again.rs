//! What a decision would be: the same questions over what was proven once, without a proof. Nothing can be issued on it.

use attest::csr::CsrRequest;
use attest::{KeyFacts, Root, UnixTime};

use super::facts::Facts;
use super::{Denial, InventoryEntry, judge, may_renew};
use crate::{PolicySet, Profiles, SanEntry, Subject};

/// What was proven once, as the record has it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Profile that was asked for, for the identity key.
    pub profile: String,
    /// The same, for the attestation key.
    pub attestation_profile: Option<String>,
    /// Name that the device claimed.
    pub claimed: Option<String>,
    /// What the request asked for.
    pub requested: CsrRequest,
    /// What the proof stood on.
    pub root: Root,
    /// The attestation key that vouched.
    pub ak: KeyFacts,
    /// The attestation key that may be certified: that one, or the one that a manufacturer's IAK vouched for.
    pub attestation: Option<KeyFacts>,
    /// The identity key.
    pub identity: KeyFacts,
    /// SHA-256 of the evidence.
    pub evidence: [u8; 32],
    /// Of a renewal, whether it keeps the key; none: an enrollment.
    pub same_key: Option<bool>,
}

/// A certificate that would be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WouldGrant {
    /// Name of the profile.
    pub profile: String,
    /// The key, SubjectPublicKeyInfo DER.
    pub spki: Vec<u8>,
    /// Subject.
    pub subject: Subject,
    /// Subject alternative names.
    pub san: Vec<SanEntry>,
    /// Its lifetime, seconds; none: without end.
    pub lifetime: Option<i64>,
    /// Ids of the rules, sorted.
    pub rules: Vec<String>,
    /// Their reasons.
    pub reasons: Vec<String>,
}

/// What [`super::decide`], or [`super::decide_renewal`], would say.
///
/// # Errors
/// [`Denial`] for the first answer that is no.
pub fn reconsider(
    policy: &PolicySet,
    profiles: &Profiles,
    shown: &Shown,
    entry: Option<&InventoryEntry>,
    now: UnixTime,
) -> Result<Vec<WouldGrant>, Denial> {
    let facts = Facts {
        profile: shown.profile.clone(),
        attestation_profile: shown.attestation_profile.clone(),
        claimed: shown.claimed.clone(),
        requested: shown.requested.clone(),
        root: shown.root.clone(),
        ak: shown.ak.clone(),
        attestation: shown.attestation.clone(),
        identity: shown.identity.clone(),
        evidence: shown.evidence,
    };
    let (_, grants) = judge(policy, profiles, &facts, entry, now)?;
    if let Some(same_key) = shown.same_key {
        for grant in &grants {
            may_renew(grant.profile(), same_key)?;
        }
    }
    let would = |grant: crate::Grant| WouldGrant {
        profile: grant.profile().name().to_owned(),
        spki: grant.spki().to_vec(),
        subject: grant.subject().clone(),
        san: grant.san().to_vec(),
        lifetime: grant.profile().lifetime(),
        rules: grant.decision().rules.clone(),
        reasons: grant.decision().reasons.clone(),
    };
    Ok(grants.into_iter().map(would).collect())
}
