//! What the record holds behind an entry of the ledger: for whoever audits. It changes nothing; taking a bundle out is
//! recorded as it always is.

use ledger::{Entry, Event};
use wire::Bytes;
use wire::admin::AuditEntry;
use wire::audit::{Behind, ErasedAt, StepTaken};

use super::bundle::{self, BundleError};
use super::failure::Trouble;
use crate::house::House;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum BehindError {
    /// There is no such entry.
    #[error("the ledger has no entry at this place")]
    NotFound,
    /// Not now.
    #[error("{0}")]
    Conflict(&'static str),
    /// Not the caller's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<schema::StoreError> for BehindError {
    fn from(error: schema::StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

/// What is behind the entry at `place`.
///
/// # Errors
/// [`BehindError`].
pub fn behind(house: &House, actor: &str, place: u64) -> Result<Behind, BehindError> {
    let bytes = house
        .store
        .ledger_entries(place, 1)?
        .pop()
        .ok_or(BehindError::NotFound)?;
    let entry = Entry::parse(&bytes).map_err(|e| Trouble::Bug(e.to_string()))?;
    let mut behind = Behind {
        entry: Bytes(bytes),
        ..Behind::default()
    };
    match &entry.event {
        Event::Issued(said) => certificate(house, actor, &said.serial, &mut behind)?,
        Event::Status { serial, .. } => behind.steps = steps(house, serial)?,
        Event::Changed { after, .. } => behind.text = house.store.archived(after)?.map(Bytes),
        Event::Audit { .. } => {
            if let Some(held) = house.store.ledger_records(place)? {
                behind.salt = Some(Bytes(held.salt.to_vec()));
                behind.records = held.records.into_iter().map(shown).collect();
            }
        }
    }
    Ok(behind)
}

/// An audit record, as people see it.
#[must_use]
pub fn shown(row: schema::AuditRow) -> AuditEntry {
    AuditEntry {
        at: row.record.at.0,
        action: row.record.action,
        actor: row.record.actor,
        subject: row.record.subject,
        reason: row.record.reason,
        detail: row.record.detail,
        before: row.before.map(hex::encode),
        after: row.after.map(hex::encode),
    }
}

fn certificate(house: &House, actor: &str, serial: &[u8], behind: &mut Behind) -> Result<(), BehindError> {
    let Some(row) = house.store.certificate(serial)? else {
        return Ok(());
    };
    behind.steps = steps(house, serial)?;
    behind.issuers = house.issuer.chain().iter().cloned().map(Bytes).collect();
    behind.erased = house
        .store
        .erased(&row.enrollment_id)?
        .map(|(row, place)| ErasedAt { row, place });
    behind.bundle = match bundle::export(house, actor, serial) {
        Ok(bytes) => Some(Bytes(bytes)),
        // Nothing is there: whether that may be is for the auditor to say.
        Err(BundleError::NotFound | BundleError::Nothing(_) | BundleError::Reason) => None,
        Err(BundleError::Conflict(why)) => return Err(BehindError::Conflict(why)),
        Err(BundleError::Trouble(trouble)) => return Err(trouble.into()),
    };
    behind.certificate = row.certificate.map(Bytes);
    Ok(())
}

fn steps(house: &House, serial: &[u8]) -> Result<Vec<StepTaken>, BehindError> {
    let Some(row) = house.store.certificate(serial)? else {
        return Ok(Vec::new());
    };
    let steps = house.store.revocation_history(row.id)?;
    let told = |step: schema::Revocation| StepTaken {
        state: step.state.as_str().to_owned(),
        reason: step.reason.as_str().to_owned(),
        at: step.at,
    };
    Ok(steps.into_iter().map(told).collect())
}
