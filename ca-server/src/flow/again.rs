//! Stored evidence decided again under a policy that is not in force. It reads, and writes nothing: no row, no record, no
//! counter; and no [`attest::VerifiedBinding`] is made, so nothing could be issued on it.

use attest::{Root, UnixTime};
use bundle::Transcript;
use policies::{Advisories, InventoryEntry, PolicySet, Profiles, Shown, reconsider};
use wire::EnrollmentId;
use wire::policy::{Outcome, PolicyFile, PolicyReplay, ReplayPolicy, Replayed, WouldGrant};

use super::bundle::path;
use super::failure::Trouble;
use super::review;
use crate::house::House;

/// Most of one page.
const MOST: u32 = 200;

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The policy does not load, or the page is none.
    #[error("{0}")]
    Malformed(String),
    /// Not the caller's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<schema::StoreError> for ReplayError {
    fn from(error: schema::StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

/// A page of stored evidence, newest first.
///
/// # Errors
/// [`ReplayError`].
pub fn replay(house: &House, body: &ReplayPolicy) -> Result<PolicyReplay, ReplayError> {
    if !(1..=MOST).contains(&body.limit) {
        return Err(ReplayError::Malformed(format!("limit: 1 to {MOST}")));
    }
    let (policy, profiles) = tried(house, body)?;
    let rows = house.store.enrollments_issued(body.before, body.limit)?;
    let next = if rows.len() == body.limit as usize {
        rows.last().map(|(row, _)| *row)
    } else {
        None
    };
    let items = rows
        .iter()
        .map(|(_, id)| one(house, &policy, &profiles, id))
        .collect::<Result<_, _>>()?;
    Ok(PolicyReplay {
        policy_sha256: hex::encode(policy.sha256()),
        in_force_sha256: hex::encode(house.policy.sha256()),
        items,
        next,
    })
}

fn pairs(files: &[PolicyFile]) -> Vec<(String, String)> {
    files.iter().map(|one| (one.file.clone(), one.text.clone())).collect()
}

/// The policy that is tried: what is in force, but for what is named.
fn tried(house: &House, body: &ReplayPolicy) -> Result<(PolicySet, Profiles), ReplayError> {
    fn wrong(e: impl core::fmt::Display) -> ReplayError {
        ReplayError::Malformed(e.to_string())
    }
    let own = |texts: Vec<(&str, &str)>| -> Vec<(String, String)> {
        texts
            .iter()
            .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
            .collect()
    };
    let (schema, rules) = match &body.rules {
        Some(rules) => (rules.schema.as_str(), pairs(&rules.files)),
        None => (house.policy.schema_text(), own(house.policy.texts().collect())),
    };
    let advisories = match &body.advisories {
        Some(file) => Advisories::builtin()
            .and_then(|table| table.with(&file.file, &file.text))
            .map_err(wrong)?,
        None => house.policy.advisories().clone(),
    };
    let policy = PolicySet::from_sources(house.policy.mode(), schema, &rules).map_err(wrong)?;
    let profiles = match &body.profiles {
        Some(files) => pairs(files),
        None => own(house.profiles.texts().collect()),
    };
    let mut profiles = Profiles::from_sources(&profiles).map_err(wrong)?;
    if let Some(organization) = house.profiles.organization() {
        profiles = profiles.with_organization(organization).map_err(wrong)?;
    }
    Ok((policy.with_advisories(advisories), profiles))
}

fn one(house: &House, policy: &PolicySet, profiles: &Profiles, id: &[u8; 16]) -> Result<Replayed, ReplayError> {
    let mut replayed = Replayed {
        enrollment: EnrollmentId(*id).to_string(),
        device: String::new(),
        decided_at: 0,
        skipped: None,
        changes: false,
        in_force: None,
        tried: None,
    };
    let (Some(evidence), Some(transcript)) = (house.store.evidence(id)?, house.store.transcript(id)?) else {
        replayed.skipped = Some("its evidence was erased, or is of before there were transcripts".to_owned());
        return Ok(replayed);
    };
    let above = path(&transcript.path).ok_or_else(|| Trouble::Bug("a path that is none".to_owned()))?;
    let told = Transcript::parse(&transcript.bytes).map_err(|e| Trouble::Bug(e.to_string()))?;
    replayed.device.clone_from(&told.device);
    replayed.decided_at = told.decided_at;
    let shown = match bundle::shown(&evidence.bytes, &told, &above) {
        Ok(shown) => shown,
        Err(why) => {
            replayed.skipped = Some(why);
            return Ok(replayed);
        }
    };
    let entry = entry(house, &told.device, &shown)?;
    let at = UnixTime(told.decided_at);
    let ask =
        |policy: &PolicySet, profiles: &Profiles| outcome(reconsider(policy, profiles, &shown, entry.as_ref(), at));
    let (in_force, tried) = (ask(&house.policy, &house.profiles), ask(policy, profiles));
    replayed.changes = in_force != tried;
    replayed.in_force = Some(in_force);
    replayed.tried = Some(tried);
    Ok(replayed)
}

fn outcome(decided: Result<Vec<policies::WouldGrant>, policies::Denial>) -> Outcome {
    match decided {
        Ok(grants) => {
            let would = |grant: policies::WouldGrant| WouldGrant {
                profile: grant.profile,
                lifetime: grant.lifetime,
                rules: grant.rules,
                reasons: grant.reasons,
            };
            Outcome::Granted(grants.into_iter().map(would).collect())
        }
        Err(denial) => Outcome::Denied {
            reason: denial.to_string(),
            rules: denial.rules,
        },
    }
}

/// The inventory's word, as it is now; bound to the EK or IAK of then, so that what changes comes of the policy alone.
fn entry(house: &House, device: &str, shown: &Shown) -> Result<Option<InventoryEntry>, ReplayError> {
    let Some(row) = house.store.device_by_name(device)? else {
        return Ok(None);
    };
    Ok(Some(InventoryEntry {
        accepted_advisories: review::accepted(house, shown.root.ek()).map_err(Trouble::from)?,
        first_contact_open: false,
        name: row.name,
        ek_spki_sha256: shown.root.ek().map(|ek| ek.spki_sha256),
        iak_spki_sha256: match &shown.root {
            Root::Iak(iak) => Some(iak.spki_sha256),
            Root::Ek(_) => None,
        },
        held: row.held,
        batch: row.batch,
        dns_names: row.dns_names,
        spiffe_id: row.spiffe_id,
    }))
}
