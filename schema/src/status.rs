//! What the record says of certificates now, for those who answer strangers: one read for many of them.

use std::collections::HashMap;

use diesel::prelude::*;
use wire::revocation::{RevocationReason, RevocationState};

use crate::link::{Fault, Link};
use crate::rows::{CertificateState, LastStep, StatusRow};
use crate::tables::{certificate, revocation};

/// Serial; state, notAfter, recorded; number, state, reason and since of a step.
type Loaded = (
    Vec<u8>,
    String,
    i64,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<i64>,
);

/// The question; which serials is added behind. Steps come with their certificate: one snapshot for both.
macro_rules! wanted {
    ($issuer:expr, $which:expr) => {
        certificate::table
            .left_join(revocation::table)
            .filter(certificate::issuer_key_id.eq($issuer))
            .filter($which)
            .select((
                certificate::serial,
                certificate::state,
                certificate::not_after,
                certificate::created_at,
                revocation::step.nullable(),
                revocation::state.nullable(),
                revocation::reason.nullable(),
                revocation::since.nullable(),
            ))
    };
}

/// What is on record of this issuer's certificates with these serials; those that are not there are left out.
pub(crate) fn of(
    link: &mut Link,
    issuer_key_id: &[u8],
    serials: &[[u8; 16]],
) -> Result<HashMap<[u8; 16], StatusRow>, Fault> {
    let mut loaded: Vec<Loaded> = Vec::with_capacity(serials.len());
    match link {
        // No round trips here, and a statement that is prepared once.
        Link::Sqlite(c) => {
            for serial in serials {
                loaded.extend(wanted!(issuer_key_id, certificate::serial.eq(serial.as_slice())).load::<Loaded>(c)?);
            }
        }
        Link::Postgres(c) => {
            let serials: Vec<&[u8]> = serials.iter().map(<[u8; 16]>::as_slice).collect();
            loaded = wanted!(issuer_key_id, certificate::serial.eq_any(serials)).load(c)?;
        }
    }
    let mut found: HashMap<[u8; 16], StatusRow> = HashMap::with_capacity(serials.len());
    for (serial, state, not_after, created_at, number, step, reason, since) in loaded {
        let last = last_step(number, step, reason, since)?;
        let row = StatusRow {
            state: CertificateState::from_text(&state).ok_or_else(|| Fault::Failed(format!("state `{state}`")))?,
            not_after,
            created_at,
            last,
        };
        let serial = crate::read::array(serial)?;
        let earlier = found.get(&serial).and_then(|known| known.last);
        if earlier.is_none_or(|earlier| last.is_some_and(|last| last.step > earlier.step)) {
            found.insert(serial, row);
        }
    }
    Ok(found)
}

fn last_step(
    number: Option<i64>,
    state: Option<String>,
    reason: Option<String>,
    since: Option<i64>,
) -> Result<Option<LastStep>, Fault> {
    let (Some(step), Some(state), Some(reason), Some(since)) = (number, state, reason, since) else {
        return Ok(None);
    };
    let unknown = |what: &str| Fault::Failed(format!("revocation `{what}`"));
    Ok(Some(LastStep {
        step,
        state: RevocationState::from_text(&state).ok_or_else(|| unknown(&state))?,
        reason: RevocationReason::from_text(&reason).ok_or_else(|| unknown(&reason))?,
        since,
    }))
}
