//! Leaves, written in the transaction of what they tell of.

use diesel::prelude::*;
use ledger::{AuditLine, Entry, Event, audit_digest};

use crate::link::{Fault, Link, on};
use crate::tables::{NewAudit, NewEntry, ledger_entry};

/// A leaf to be written.
pub(crate) fn of_event(at: i64, event: Event, certificate_id: Option<i64>) -> Result<NewEntry, Fault> {
    let entry = Entry::new(at, event).to_bytes();
    Ok(NewEntry {
        bytes: entry.map_err(|e| Fault::Failed(e.to_string()))?,
        certificate_id,
        salt: None,
        created_at: at,
    })
}

/// Write one; its row id.
pub(crate) fn write(link: &mut Link, entry: &NewEntry) -> Result<i64, Fault> {
    Ok(on!(link, c => diesel::insert_into(ledger_entry::table)
        .values(entry)
        .returning(ledger_entry::id)
        .get_result(c))?)
}

/// Write the one that holds audit records to what they say; none for none.
pub(crate) fn of_records(link: &mut Link, records: &[NewAudit]) -> Result<Option<i64>, Fault> {
    let Some(at) = records.iter().map(|record| record.at).max() else {
        return Ok(None);
    };
    let mut salt = [0; 16];
    openssl::rand::rand_bytes(&mut salt).map_err(|e| Fault::Failed(e.to_string()))?;
    let lines = records.iter().map(|record| AuditLine {
        at: record.at,
        action: &record.action,
        actor: &record.actor,
        subject: &record.subject,
        reason: &record.reason,
        detail: &record.detail,
        before: record.before,
        after: record.after,
    });
    let event = Event::Audit {
        records: u32::try_from(records.len()).unwrap_or(u32::MAX),
        digest: audit_digest(&salt, lines),
    };
    let mut entry = of_event(at, event, None)?;
    entry.salt = Some(salt.to_vec());
    write(link, &entry).map(Some)
}
