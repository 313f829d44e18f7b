//! From proof to permission by Cedar rules.

mod again;
mod build;
mod csr;
mod facts;
mod rules;

use std::sync::Arc;

use attest::tpm::TpmsClockInfo;
use attest::{EvidenceRecord, RenewalProof, Renewed, Root, UnixTime, VerifiedBinding};

use crate::{Advisory, ClockRule, Grant, GrantKind, KeyRole, Profile, ProfileKey, Profiles, Renewal, Verdict};
pub use again::{Shown, WouldGrant, reconsider};
use facts::Facts;
pub use rules::{Mode, PolicyError, PolicySet};

/// What the inventory says about the device this proof is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryEntry {
    /// Name of the device.
    pub name: String,
    /// SHA-256 of the EK SubjectPublicKeyInfo it is bound to; `None` before first contact.
    pub ek_spki_sha256: Option<[u8; 32]>,
    /// SHA-256 of the SubjectPublicKeyInfo of the manufacturer's IAK it is bound to, if it is bound to one.
    pub iak_spki_sha256: Option<[u8; 32]>,
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
    /// Advisories by which this TPM is quarantined, and in spite of which people let this EK in.
    pub accepted_advisories: Vec<String>,
}

/// What [`decide`] permits.
#[derive(Debug)]
pub struct Permit {
    /// One grant per certificate of the conversation; the attestation key's first.
    pub grants: Vec<Grant>,
    /// The evidence they stand on, for the record.
    pub evidence: EvidenceRecord,
    /// What the proof stands on, for the record.
    pub root: attest::Root,
    /// SHA-256 of the SubjectPublicKeyInfo of the attestation key that vouched, for the record.
    pub ak_spki_sha256: [u8; 32],
    /// The TPM's clock and counters, as that key signed them.
    pub clock: TpmsClockInfo,
    /// When the proof was asked for: it is not older.
    pub asked_at: UnixTime,
    /// What happens when that clock went back: the strictest of the profiles'.
    pub clock_rule: ClockRule,
    /// Name of the device.
    pub device: String,
    /// What the inventory said of it, for the record.
    pub inventory: InventoryEntry,
    /// The certificate that is replaced, when it is a renewal: then there is one grant.
    pub renews: Option<Renewed>,
    /// Of a renewal, whether it keeps the key.
    pub same_key: Option<bool>,
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
    /// This EK or IAK has no inventory entry (coarse to outsiders, 403).
    NotInInventory,
    /// An advisory denies this TPM (coarse to outsiders, 403).
    TpmDenied,
    /// An advisory leaves this TPM to a person (coarse to outsiders, 403).
    TpmQuarantined,
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
    /// For the operator. Names the profile it is about.
    pub detail: String,
}

impl Denial {
    fn new(code: DenialCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            rules: Vec::new(),
            detail: detail.into(),
        }
    }
}

/// Decide. Consumes the proof; every certificate of the conversation is granted, or none.
///
/// The order of the questions: are these profiles for devices; is this EK that device; are the keys acceptable in
/// their roles; does the CSR ask for nothing else; do the rules permit.
///
/// # Errors
/// [`Denial`] for the first answer that is no.
pub fn decide(
    policy: &PolicySet,
    profiles: &Profiles,
    binding: VerifiedBinding,
    entry: Option<InventoryEntry>,
    now: UnixTime,
) -> Result<Permit, Denial> {
    let facts = Facts::of(&binding);
    let (inventory, grants) = judge(policy, profiles, &facts, entry.as_ref(), now)?;
    Ok(Permit {
        evidence: binding.evidence().clone(),
        ak_spki_sha256: attest::sha256(&facts.ak.spki),
        clock: *binding.clock(),
        asked_at: binding.context().issued_at,
        clock_rule: strictest(&grants),
        grants,
        root: facts.root,
        device: inventory.name.clone(),
        inventory,
        renews: None,
        same_key: None,
    })
}

/// Decide over a renewal: every question of [`decide`] again, on what the profile, the inventory and the rules say now;
/// and does the profile renew, on this key. Consumes the proof.
///
/// # Errors
/// [`Denial`] for the first answer that is no.
pub fn decide_renewal(
    policy: &PolicySet,
    profiles: &Profiles,
    proof: RenewalProof,
    entry: Option<InventoryEntry>,
    now: UnixTime,
) -> Result<Permit, Denial> {
    let facts = Facts::of(proof.binding());
    let (inventory, grants) = judge(policy, profiles, &facts, entry.as_ref(), now)?;
    for grant in &grants {
        may_renew(grant.profile(), proof.same_key())?;
    }
    Ok(Permit {
        evidence: proof.binding().evidence().clone(),
        ak_spki_sha256: attest::sha256(&facts.ak.spki),
        clock: *proof.binding().clock(),
        asked_at: proof.binding().context().issued_at,
        clock_rule: strictest(&grants),
        grants,
        root: facts.root,
        device: inventory.name.clone(),
        inventory,
        renews: Some(proof.renewed().clone()),
        same_key: Some(proof.same_key()),
    })
}

/// One conversation, one TPM: the strictest of its profiles says what becomes of a clock that went back.
fn strictest(grants: &[Grant]) -> ClockRule {
    let rules = grants.iter().map(|grant| grant.profile().tpm_clock());
    rules.max().unwrap_or_default()
}

/// Whether the profile renews on this key.
fn may_renew(profile: &Profile, same_key: bool) -> Result<(), Denial> {
    let refuse = |what: &str| {
        let detail = format!("`{}`: {what}", profile.name);
        Err(Denial::new(DenialCode::Profile, detail))
    };
    match (profile.renewal, same_key) {
        (Renewal::None, _) => refuse("certificates of this profile are not renewed"),
        (Renewal::SameKey, false) => refuse("a renewal keeps its key here"),
        (Renewal::Rekey, true) => refuse("a renewal is on a new key here"),
        (Renewal::SameKey, true) | (Renewal::Rekey, false) | (Renewal::Either, _) => Ok(()),
    }
}

/// One certificate of the conversation.
struct Item<'a> {
    role: KeyRole,
    profile: &'a Arc<Profile>,
    key: &'a attest::KeyFacts,
}

/// [`decide`] on plain facts. Private: only a [`VerifiedBinding`] gets grants out of this crate.
fn judge(
    policy: &PolicySet,
    profiles: &Profiles,
    facts: &Facts,
    entry: Option<&InventoryEntry>,
    now: UnixTime,
) -> Result<(InventoryEntry, Vec<Grant>), Denial> {
    let items = items(profiles, facts)?;
    let entry = inventory(facts, entry)?;
    let notices = advisories(policy, facts, entry)?;
    for item in &items {
        basis(item, facts)?;
        key(item, facts)?;
    }
    let mut grants = Vec::with_capacity(items.len());
    for item in &items {
        let of_item = |mut denial: Denial| {
            denial.detail = format!("`{}`: {}", item.profile.name, denial.detail);
            denial
        };
        let subject = build::subject(item.profile, entry).map_err(of_item)?;
        let san = build::san(item.profile.kind, &facts.root, entry).map_err(of_item)?;
        if item.role == KeyRole::Identity {
            csr::check(&facts.requested, &subject, &san)
                .map_err(|detail| of_item(Denial::new(DenialCode::Csr, detail)))?;
        }
        let mut decision = policy.ask(&facts.question(item, &items, entry)).map_err(of_item)?;
        for word in facts.root.ek().map(|ek| ek.passed.as_slice()).unwrap_or_default() {
            decision.rules.push(format!("endorsement:{word}"));
            decision.reasons.push(match word.as_str() {
                "expired" => {
                    "a certificate above the EK, or its own, has expired, which the anchor lets pass".to_owned()
                }
                _ => "no current CRL of a CA above the EK is here, which the anchor lets pass".to_owned(),
            });
        }
        for notice in &notices {
            decision.rules.push(format!("advisory:{}", notice.id));
            decision.reasons.push(format!("{}: {}", notice.title(), notice.why));
            if notice.verdict == Verdict::Quarantine {
                decision.rules.push(format!("review:{}", notice.id));
                decision
                    .reasons
                    .push(format!("people let this TPM in, in spite of {}", notice.title()));
            }
        }
        if subject.0.is_empty() && san.is_empty() {
            // Behind the rules, which say it better; a subject or a name there must be (RFC 5280 §4.1.2.6).
            let detail = "the certificate would carry no name";
            return Err(of_item(Denial::new(DenialCode::Policy, detail)));
        }
        let validity = item.profile.validity(now).ok_or_else(|| {
            of_item(Denial::new(
                DenialCode::Profile,
                "its life would not lie between 1970 and 9999, which is all that a certificate can say: is the clock right?",
            ))
        })?;
        grants.push(Grant {
            profile: Arc::clone(item.profile),
            kind: GrantKind::EndEntity(item.role),
            subject,
            san,
            spki: item.key.spki.clone(),
            validity,
            policies: build::policies(item.role, facts.root.assurance()),
            rot: Some(build::rot(facts, item.key).map_err(of_item)?),
            rehearsal: false,
            decision,
        });
    }
    Ok((entry.clone(), grants))
}

/// The profiles asked for, each for the key it certifies; the attestation key's first.
fn items<'a>(profiles: &'a Profiles, facts: &'a Facts) -> Result<Vec<Item<'a>>, Denial> {
    let find = |name: &str, role: KeyRole| {
        let fits = |profile: &&Arc<Profile>| match role {
            KeyRole::Attestation => profile.kind.for_attestation_key(),
            KeyRole::Identity => profile.kind.for_identity_key(),
        };
        profiles.get(name).filter(fits).ok_or_else(|| {
            let key = match role {
                KeyRole::Attestation => "attestation",
                KeyRole::Identity => "identity",
            };
            // The name came over the wire: shown escaped.
            Denial::new(
                DenialCode::Profile,
                format!("`{}`: no such profile for an {key} key", name.escape_default()),
            )
        })
    };
    let mut items = Vec::with_capacity(2);
    if let Some(name) = &facts.attestation_profile {
        let profile = find(name, KeyRole::Attestation)?;
        items.push(Item {
            role: KeyRole::Attestation,
            profile,
            key: facts
                .attestation
                .as_ref()
                .ok_or_else(|| Denial::new(DenialCode::Key, format!("`{name}`: no attestation key was proven")))?,
        });
    }
    items.push(Item {
        role: KeyRole::Identity,
        profile: find(&facts.profile, KeyRole::Identity)?,
        key: &facts.identity,
    });
    Ok(items)
}

/// The entry, if it is of this EK or IAK. Names are compared byte for byte.
fn inventory<'a>(facts: &Facts, entry: Option<&'a InventoryEntry>) -> Result<&'a InventoryEntry, Denial> {
    let entry = entry.ok_or_else(|| {
        let detail = match facts.root {
            Root::Ek(_) => "this endorsement key has no inventory entry",
            Root::Iak(_) => "this IAK has no inventory entry",
        };
        Denial::new(DenialCode::NotInInventory, detail)
    })?;
    let bound = |detail: &str| {
        Err(Denial::new(
            DenialCode::IdBound,
            format!("device `{}`: {detail}", entry.name.escape_default()),
        ))
    };
    if facts.claimed.as_ref().is_some_and(|claimed| *claimed != entry.name) {
        return bound("the device claims another name than the entry of its endorsement key");
    }
    let first_contact = || match facts.claimed {
        _ if !entry.first_contact_open => bound("not bound yet, and its first-contact window is closed"),
        // Nothing but the claim connects this root of trust with this entry.
        None => bound("first contact needs the name the device claims"),
        Some(_) => Ok(entry),
    };
    match (&facts.root, entry.ek_spki_sha256, entry.iak_spki_sha256) {
        (Root::Ek(ek), Some(of), _) if of != ek.spki_sha256 => bound("bound to another endorsement key"),
        (Root::Ek(_), Some(_), _) => Ok(entry),
        // That they are of one TPM was not shown.
        (Root::Ek(_), None, Some(_)) => bound("bound to a manufacturer's IAK, and not to this endorsement key"),
        (Root::Iak(iak), _, Some(of)) if of != iak.spki_sha256 => bound("bound to another IAK"),
        (Root::Iak(iak), Some(of), _) if iak.ek_spki_sha256.is_some_and(|ek| ek != of) => {
            bound("bound to another endorsement key than the IAK's certificate names")
        }
        (Root::Iak(_), _, Some(_)) => Ok(entry),
        (Root::Iak(iak), Some(_), None) if iak.ek_spki_sha256.is_none() => {
            bound("bound to an endorsement key, and the IAK's certificate names none")
        }
        (Root::Iak(_), Some(_), None) => Ok(entry),
        (_, None, None) => first_contact(),
    }
}

/// What is known about this TPM: told with the identity where it is allowed, or where people let this TPM in.
fn advisories<'a>(policy: &'a PolicySet, facts: &Facts, entry: &InventoryEntry) -> Result<Vec<&'a Advisory>, Denial> {
    let known = facts
        .root
        .ek()
        .map(|ek| policy.advisories().about(ek))
        .unwrap_or_default();
    let refuse = |code, advisory: &Advisory| Denial {
        code,
        rules: vec![format!("advisory:{}", advisory.id)],
        detail: format!("{}: {}", advisory.title(), advisory.why),
    };
    // Nobody can accept what is denied.
    if let Some(denied) = known.iter().find(|advisory| advisory.verdict == Verdict::Deny) {
        return Err(refuse(DenialCode::TpmDenied, denied));
    }
    let open = known
        .iter()
        .find(|advisory| advisory.verdict == Verdict::Quarantine && !entry.accepted_advisories.contains(&advisory.id));
    match open {
        Some(advisory) => Err(refuse(DenialCode::TpmQuarantined, advisory)),
        None => Ok(known),
    }
}

/// Whether the profile is issued on what this proof stands on.
fn basis(item: &Item<'_>, facts: &Facts) -> Result<(), Denial> {
    let basis = facts.root.basis();
    if item.profile.basis.contains(&basis) {
        return Ok(());
    }
    let detail = format!("`{}`: not issued on `{}` proofs", item.profile.name, basis.as_str());
    Err(Denial::new(DenialCode::Profile, detail))
}

fn key(item: &Item<'_>, facts: &Facts) -> Result<(), Denial> {
    let refuse = |detail: String| {
        Err(Denial::new(
            DenialCode::Key,
            format!("`{}`: {detail}", item.profile.name),
        ))
    };
    if facts.root.ek_spki_sha256() == Some(attest::sha256(&item.key.spki)) {
        return refuse("the key is the endorsement key".to_owned());
    }
    if item.role == KeyRole::Identity && item.key.spki == facts.ak.spki {
        return refuse("the identity key is the attestation key".to_owned());
    }
    if !item
        .profile
        .key_algorithms
        .contains(&ProfileKey::from(item.key.algorithm))
    {
        return refuse(format!("a {} key is not allowed", item.key.algorithm.as_str()));
    }
    Ok(())
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;
