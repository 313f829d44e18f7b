//! Erasing what was shown and checked: the digests stay, and what the ledger says of them stays provable.

use diesel::prelude::*;

use crate::link::{Fault, Link, on};
use crate::revocation;
use crate::tables::{NewAudit, audit, certificate, enrollment, evidence, ledger_entry, transcript};

/// What came of erasing the evidence of an enrollment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// It is gone.
    Done,
    /// There is no such enrollment, or it has no evidence.
    Nothing,
    /// A certificate that is still good stands on it: whoever relies on it, and its renewal, need it.
    Needed,
}

/// Enrollments of which a certificate was handed out, newest first: row and challenge.
pub(crate) fn issued(link: &mut Link, before: Option<i64>, limit: u32) -> Result<Vec<(i64, [u8; 16])>, Fault> {
    let handed_out = certificate::table
        .filter(certificate::enrollment_id.eq(evidence::enrollment_id))
        .filter(certificate::state.eq("issued"));
    let rows: Vec<(i64, Vec<u8>)> = on!(link, c => evidence::table
        .inner_join(enrollment::table)
        .filter(evidence::enrollment_id.lt(before.unwrap_or(i64::MAX)))
        .filter(diesel::dsl::exists(handed_out.select(certificate::id)))
        .order(evidence::enrollment_id.desc())
        .limit(i64::from(limit))
        .select((evidence::enrollment_id, enrollment::challenge))
        .load(c))?;
    rows.into_iter()
        .map(|(row, challenge)| Ok((row, crate::read::array(challenge)?)))
        .collect()
}

/// Of an enrollment whose evidence was erased: the row, and the place of the entry that holds the record of it.
pub(crate) fn erased(link: &mut Link, challenge: &[u8; 16]) -> Result<Option<(i64, Option<u64>)>, Fault> {
    let found: Option<(i64, Vec<u8>)> = on!(link, c => evidence::table
        .inner_join(enrollment::table)
        .filter(enrollment::challenge.eq(challenge.as_slice()))
        .select((enrollment::id, evidence::bytes))
        .first(c)
        .optional())?;
    let Some((id, _)) = found.filter(|(_, bytes)| bytes.is_empty()) else {
        return Ok(None);
    };
    let became = crate::seal::row(link, "evidence", id)?.unwrap_or_default();
    let place: Option<Option<i64>> = on!(link, c => audit::table
        .inner_join(ledger_entry::table.on(ledger_entry::id.nullable().eq(audit::entry_id)))
        .filter(audit::action.eq("evidence.erased"))
        .filter(audit::after_sha256.eq(became.as_slice()))
        .order(audit::id)
        .select(ledger_entry::position)
        .first(c)
        .optional())?;
    let place = place.flatten().and_then(|place| u64::try_from(place).ok());
    Ok(Some((id, place)))
}

pub(crate) fn erase(link: &mut Link, challenge: &[u8; 16], now: i64, record: &NewAudit) -> Result<Erasure, Fault> {
    let found: Option<(i64, Vec<u8>)> = on!(link, c => evidence::table
        .inner_join(enrollment::table)
        .filter(enrollment::challenge.eq(challenge.as_slice()))
        .select((enrollment::id, evidence::bytes))
        .first(c)
        .optional())?;
    let Some((id, bytes)) = found else {
        return Ok(Erasure::Nothing);
    };
    if bytes.is_empty() {
        return Ok(Erasure::Done);
    }
    let certificates: Vec<(i64, String, i64)> = on!(link, c => certificate::table
        .filter(certificate::enrollment_id.eq(id))
        .order(certificate::id)
        .select((certificate::id, certificate::state, certificate::not_after))
        .load(c))?;
    let ids: Vec<i64> = certificates.iter().map(|row| row.0).collect();
    let steps = revocation::last(link, &ids)?;
    let needed = |(id, state, not_after): &(i64, String, i64)| {
        let revoked = steps
            .get(id)
            .is_some_and(|last| last.state == wire::revocation::RevocationState::Revoked);
        state != "orphan" && *not_after >= now && !revoked
    };
    if certificates.iter().any(needed) {
        return Ok(Erasure::Needed);
    }
    let before = crate::seal::row(link, "evidence", id)?;
    let nothing: &[u8] = &[];
    on!(link, c => diesel::update(evidence::table.filter(evidence::enrollment_id.eq(id)))
        .set(evidence::bytes.eq(nothing))
        .execute(c))?;
    on!(link, c => diesel::update(transcript::table.filter(transcript::enrollment_id.eq(id)))
        .set((transcript::bytes.eq(nothing), transcript::path.eq(nothing)))
        .execute(c))?;
    let after = crate::seal::row(link, "evidence", id)?;
    crate::keeping::audit(link, &[record.changed(before, after)])?;
    Ok(Erasure::Done)
}
