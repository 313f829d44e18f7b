//! Writes beside issuance: audit, attempts, blocked keys, recovery.

use diesel::prelude::*;
use wire::EnrollmentId;

use crate::fixed::{Intent, Orphaned};
use crate::ledger::entry;
use crate::link::{Fault, Link, insert, on};
use crate::rows::Orphan;
use crate::tables::{NewAudit, audit, blocked_key, certificate, challenge_attempt, device, enrollment, identity};
use crate::{renewal, seal};

/// Append audit records, and the leaf of the ledger that holds them to what they say.
pub(crate) fn audit(link: &mut Link, records: &[NewAudit]) -> Result<(), Fault> {
    let Some(entry_id) = entry::of_records(link, records)? else {
        return Ok(());
    };
    let held: Vec<_> = records
        .iter()
        .map(|record| {
            (
                audit::at.eq(record.at),
                audit::action.eq(&record.action),
                audit::actor.eq(&record.actor),
                audit::subject.eq(&record.subject),
                audit::reason.eq(&record.reason),
                audit::detail.eq(&record.detail),
                audit::entry_id.eq(entry_id),
                audit::before_sha256.eq(record.before.map(|hash| hash.to_vec())),
                audit::after_sha256.eq(record.after.map(|hash| hash.to_vec())),
            )
        })
        .collect();
    insert!(link, audit::table, &held);
    Ok(())
}

/// Count one failure of a challenge; the new count.
pub(crate) fn attempt(link: &mut Link, challenge: &[u8; 16], record: &NewAudit) -> Result<u32, Fault> {
    let failures: i64 = on!(link, c => diesel::insert_into(challenge_attempt::table)
        .values((
            challenge_attempt::challenge.eq(challenge.as_slice()),
            challenge_attempt::failures.eq(1),
            challenge_attempt::last_at.eq(record.at),
        ))
        .on_conflict(challenge_attempt::challenge)
        .do_update()
        .set((
            challenge_attempt::failures.eq(challenge_attempt::failures + 1),
            challenge_attempt::last_at.eq(record.at),
        ))
        .returning(challenge_attempt::failures)
        .get_result(c))?;
    audit(link, std::slice::from_ref(record))?;
    Ok(u32::try_from(failures).unwrap_or(u32::MAX))
}

/// Drop counters whose last failure lies before `before`; how many.
pub(crate) fn forget_attempts(link: &mut Link, before: i64) -> Result<u32, Fault> {
    let count = on!(link, c => diesel::delete(challenge_attempt::table.filter(challenge_attempt::last_at.lt(before)))
        .execute(c))?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Block a key; again is a success, and the first reason stays.
pub(crate) fn block(link: &mut Link, spki_sha256: &[u8; 32], reason: &str, record: &NewAudit) -> Result<(), Fault> {
    let new: Option<i64> = on!(link, c => diesel::insert_into(blocked_key::table)
        .values((
            blocked_key::spki_sha256.eq(spki_sha256.as_slice()),
            blocked_key::reason.eq(reason),
            blocked_key::created_at.eq(record.at),
        ))
        .on_conflict(blocked_key::spki_sha256)
        .do_nothing()
        .returning(blocked_key::id)
        .get_result(c)
        .optional())?;
    if let Some(id) = new {
        let after = seal::row(link, "blocked_key", id)?;
        audit(link, &[record.changed(None, after)])?;
    }
    Ok(())
}

/// Open intents recorded at or before `older_than` become orphans and free their identities.
pub(crate) fn recover(link: &mut Link, older_than: i64, now: i64) -> Result<Vec<Orphan>, Fault> {
    let open = certificate::table
        .filter(
            certificate::state
                .eq("intent")
                .and(certificate::created_at.le(older_than)),
        )
        .order(certificate::id)
        .select(certificate::id);
    // In the order of ids, as everyone locks.
    let ids: Vec<i64> = match link {
        Link::Sqlite(c) => open.load(c)?,
        Link::Postgres(c) => open.for_no_key_update().load(c)?,
    };
    let mut orphans = Vec::new();
    let mut audits = Vec::new();
    for part in ids.chunks(1000) {
        let count = on!(link, c => diesel::update(certificate::table
                .filter(certificate::id.eq_any(part).and(certificate::state.eq(Intent))))
            .set(certificate::state.eq(Orphaned))
            .execute(c))?;
        if count != part.len() {
            return Err(Fault::Raced("an intent was closed meanwhile".to_owned()));
        }
        // The certificate that was to be replaced stands again.
        for (lost, old) in renewal::replaces(link, part)? {
            on!(link, c => diesel::update(identity::table.filter(identity::certificate_id.eq(lost)))
                .set((
                    identity::certificate_id.eq(old),
                    identity::not_after.eq(certificate::table.find(old).select(certificate::not_after).single_value()),
                ))
                .execute(c))?;
        }
        on!(link, c => diesel::delete(identity::table.filter(identity::certificate_id.eq_any(part))).execute(c))?;
        type Found = (Vec<u8>, Vec<u8>, Option<String>, String);
        let found: Vec<Found> = on!(link, c => certificate::table
            .inner_join(enrollment::table)
            .left_join(device::table.on(device::id.nullable().eq(certificate::device_id)))
            .filter(certificate::id.eq_any(part))
            .order(certificate::id)
            .select((certificate::serial, enrollment::challenge, device::name.nullable(), certificate::profile))
            .load(c))?;
        for (serial, challenge, name, profile) in found {
            let enrollment_id = crate::read::array(challenge)?;
            audits.push(NewAudit {
                at: now,
                action: "certificate.orphaned".to_owned(),
                actor: "server".to_owned(),
                subject: EnrollmentId(enrollment_id).to_string(),
                reason: "ORPHANED".to_owned(),
                detail: format!("{profile} {}", hex::encode(&serial)),
                before: None,
                after: None,
            });
            orphans.push(Orphan {
                serial,
                enrollment_id,
                device: name,
                profile,
            });
        }
    }
    audit(link, &audits)?;
    Ok(orphans)
}
