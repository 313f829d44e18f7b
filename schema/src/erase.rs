//! Erasing what was shown and checked: the digests stay, and what the ledger says of them stays provable.

use diesel::prelude::*;

use crate::link::{Fault, Link, on};
use crate::revocation;
use crate::tables::{NewAudit, certificate, enrollment, evidence, transcript};

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
    let nothing: &[u8] = &[];
    on!(link, c => diesel::update(evidence::table.filter(evidence::enrollment_id.eq(id)))
        .set(evidence::bytes.eq(nothing))
        .execute(c))?;
    on!(link, c => diesel::update(transcript::table.filter(transcript::enrollment_id.eq(id)))
        .set((transcript::bytes.eq(nothing), transcript::path.eq(nothing)))
        .execute(c))?;
    crate::keeping::audit(link, std::slice::from_ref(record))?;
    Ok(Erasure::Done)
}
