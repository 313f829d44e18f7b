//! The decision made again: under the archived text of the policy that made it, over the facts found now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use attest::{UnixTime, sha256};
use policies::{ArchivedPolicy, InventoryEntry, PolicySet, Profiles, WouldGrant, reconsider};

use crate::Bundle;
use crate::judged::Judged;
use crate::named::Named;
use crate::transcript::{Decided, Inventory, Transcript};

/// How what was found begins where nothing was decided again, and nothing speaks against it either.
pub const NOT_AGAIN: &str = "not decided again: ";

/// Most policies that are kept loaded; a CA changes its policy a few times a year.
const MOST: usize = 16;

type Loaded = Arc<(PolicySet, Profiles)>;

/// Policies that were loaded already, by their SHA-256: of a thousand bundles most have the same. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Policies(Arc<Mutex<BTreeMap<[u8; 32], Loaded>>>);

impl Policies {
    /// Load the text, whose SHA-256 was compared.
    fn load(&self, digest: [u8; 32], archived: &ArchivedPolicy) -> Result<Loaded, String> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = kept().get(&digest) {
            return Ok(Arc::clone(loaded));
        }
        let loaded = Arc::new(archived.load().map_err(|e| e.to_string())?);
        let mut kept = kept();
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(digest, Arc::clone(&loaded));
        Ok(loaded)
    }
}

/// The text of the policy: none, where a bundle or a transcript of before has none.
pub(crate) enum Text {
    None(&'static str),
    Here { archived: ArchivedPolicy, digest: [u8; 32] },
}

/// The text is the one that the transcript names.
pub(crate) fn text(bundle: &Bundle, told: &Transcript) -> Result<Text, String> {
    let Some(said) = &told.policy else {
        return Ok(Text::None("it is of before policies were archived"));
    };
    let Some(bytes) = &bundle.policy else {
        // Whoever writes such transcripts exports the text with them.
        return match told.inventory {
            None => Ok(Text::None("the policy is not in this file")),
            Some(_) => Err("the policy is not in this file, and was when it was exported".to_owned()),
        };
    };
    let digest = sha256(bytes);
    if hex::encode(digest) != *said {
        return Err(format!("sha256 {}, the transcript names {said}", hex::encode(digest)));
    }
    let archived = ArchivedPolicy::parse(bytes).map_err(|e| e.to_string())?;
    Ok(Text::Here { archived, digest })
}

/// The policy has what the decisions name: rules by their digest, profiles by theirs, and each rule by its id.
pub(crate) fn named(text: &Text, told: &Transcript, policies: &Policies) -> Result<String, String> {
    let (archived, digest) = match text {
        Text::None(why) => return Ok(format!("{NOT_AGAIN}{why}")),
        Text::Here { archived, digest } => (archived, *digest),
    };
    // One that does not load decides nothing, which is for the decision to say.
    let Ok(loaded) = policies.load(digest, archived) else {
        return Ok(format!("sha256 {}", hex::encode(digest)));
    };
    let (policy, profiles) = loaded.as_ref();
    for decided in &told.decisions {
        if decided.policy_sha256 != hex::encode(policy.sha256()) {
            return Err("a decision is of other rules".to_owned());
        }
        let profile = profiles
            .get(&decided.profile)
            .map(|profile| hex::encode(profile.sha256()));
        if profile.as_ref() != Some(&decided.profile_sha256) {
            return Err(format!("it has no such profile `{}`", decided.profile));
        }
        let known = |id: &String| match id.split_once(':') {
            None => policy.rules().any(|(of, _)| of == id),
            Some(("advisory" | "review", of)) => policy.advisories().rows().iter().any(|row| row.id == of),
            Some(("endorsement", what)) => ["expired", "unchecked"].contains(&what),
            Some(_) => false,
        };
        if let Some(id) = decided.rules.iter().find(|id| !known(id)) {
            return Err(format!("it has no rule `{id}`"));
        }
    }
    Ok(format!("sha256 {}, as the transcript says", hex::encode(digest)))
}

/// What came of deciding again.
pub(crate) enum Again {
    /// It was not, and nothing speaks against it either.
    Not(&'static str),
    /// The same was granted.
    Granted(Vec<WouldGrant>),
}

/// The certificate is one that was granted, of the names that were granted for its key.
pub(crate) fn told(again: Again, certificate: &Named) -> Result<String, String> {
    let granted = match again {
        Again::Not(why) => return Ok(format!("{NOT_AGAIN}{why}")),
        Again::Granted(granted) => granted,
    };
    let own = granted.iter().find(|one| one.spki == certificate.spki);
    certificate.is(own.ok_or("decided again, no certificate is granted for its key")?)?;
    let profiles: Vec<&str> = granted.iter().map(|one| one.profile.as_str()).collect();
    let rules: Vec<&str> = granted
        .iter()
        .flat_map(|one| one.rules.iter().map(String::as_str))
        .collect();
    Ok(format!(
        "decided again, the same: {} by {}, and its names",
        profiles.join(", "),
        rules.join(", ")
    ))
}

/// The same decision, by the same rules.
pub(crate) fn again(
    bundle: &Bundle,
    text: &Result<Text, String>,
    told: &Transcript,
    judged: &Result<Judged, String>,
    policies: &Policies,
) -> Result<Again, String> {
    let (archived, digest) = match text {
        Ok(Text::None(why)) => return Ok(Again::Not(why)),
        Ok(Text::Here { archived, digest }) => (archived, *digest),
        Err(_) => return Err("the policy is not the one that decided, so this cannot be said".to_owned()),
    };
    let Some(inventory) = &told.inventory else {
        return Ok(Again::Not("the transcript is of before it had what the inventory said"));
    };
    let shown = judged.as_ref().map_err(Clone::clone)?.shown(&bundle.evidence, told);
    let shown = shown.map_err(|why| format!("a key or its endorsement is refused, so this cannot be said: {why}"))?;
    let loaded = policies.load(digest, archived)?;
    let (policy, profiles) = loaded.as_ref();
    let entry = entry(told, inventory, &shown.root);
    let found = reconsider(policy, profiles, &shown, Some(&entry), UnixTime(told.decided_at));
    let found = found.map_err(|denial| format!("decided again, it is refused: {denial}"))?;
    if shown.same_key.is_none() && told.renewed.is_some() {
        return Err("the transcript does not say whether the renewal kept its key".to_owned());
    }
    same(&found, &told.decisions)?;
    Ok(Again::Granted(found))
}

fn same(found: &[WouldGrant], said: &[Decided]) -> Result<(), String> {
    let names = |all: Vec<&str>| all.join(", ");
    let (would, did) = (
        names(found.iter().map(|one| one.profile.as_str()).collect()),
        names(said.iter().map(|one| one.profile.as_str()).collect()),
    );
    if would != did {
        return Err(format!(
            "decided again, it is granted {would}; the transcript says {did}"
        ));
    }
    for (found, said) in found.iter().zip(said) {
        if found.rules != said.rules {
            return Err(format!(
                "`{}`: decided again by {}; the transcript says {}",
                said.profile,
                found.rules.join(", "),
                said.rules.join(", ")
            ));
        }
        if found.reasons != said.reasons {
            return Err(format!("`{}`: the transcript gives other reasons", said.profile));
        }
    }
    Ok(())
}

/// The inventory's word of then.
fn entry(told: &Transcript, said: &Inventory, root: &attest::Root) -> InventoryEntry {
    let (ek, iak) = match root {
        attest::Root::Ek(ek) => (said.bound.then_some(ek.spki_sha256), None),
        attest::Root::Iak(iak) => (None, said.bound.then_some(iak.spki_sha256)),
    };
    InventoryEntry {
        name: told.device.clone(),
        ek_spki_sha256: ek,
        iak_spki_sha256: iak,
        first_contact_open: !said.bound,
        held: said.held,
        batch: said.batch.clone(),
        dns_names: said.dns_names.clone(),
        spiffe_id: said.spiffe_id.clone(),
        accepted_advisories: said.accepted_advisories.clone(),
    }
}
