//! What the CA stands on: a server that decides by something else than was said last says so first, in record and ledger.

use diesel::prelude::*;
use ledger::Event;

use crate::change::storable;
use crate::keeping;
use crate::ledger::entry;
use crate::link::{Fault, Link, on};
use crate::read::array;
use crate::tables::{NewAudit, archive, standing};

/// PostgreSQL: of two servers that start, one looks after the other has written.
const LOCK: i64 = 0x7374_616e_6469_6e67;

/// One thing that a server stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// `policy`, `trust` or `issuer`.
    pub what: &'static str,
    /// The text; archived by its SHA-256.
    pub bytes: Vec<u8>,
    /// In short, for the audit record.
    pub detail: String,
}

/// What a server stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grounds {
    /// All of it.
    pub all: Vec<Ground>,
    /// Name of the CA.
    pub ca: String,
    /// Who says so, for the audit record.
    pub actor: String,
    /// Now, unix seconds.
    pub at: i64,
}

/// SHA-256 of what is stood on now, of this kind.
pub(crate) fn last(link: &mut Link, what: &str) -> Result<Option<[u8; 32]>, Fault> {
    let found: Option<Vec<u8>> = on!(link, c => standing::table
        .inner_join(archive::table)
        .filter(standing::what.eq(what))
        .order(standing::id.desc())
        .select(archive::sha256)
        .first(c)
        .optional())?;
    found.map(array).transpose()
}

pub(crate) fn stand(link: &mut Link, new: &Grounds) -> Result<Vec<&'static str>, Fault> {
    if let Link::Postgres(_) = link {
        link.run(&format!("SELECT pg_advisory_xact_lock({LOCK})"))?;
    }
    let mut changed = Vec::new();
    for ground in &new.all {
        let after = openssl::sha::sha256(&ground.bytes);
        let before = last(link, ground.what)?;
        if before == Some(after) {
            continue;
        }
        let known = archive::table
            .filter(archive::sha256.eq(after.as_slice()))
            .select(archive::id);
        let known: Option<i64> = on!(link, c => known.first(c).optional())?;
        let archive_id: i64 = match known {
            Some(id) => id,
            None => on!(link, c => diesel::insert_into(archive::table)
                .values((archive::sha256.eq(after.as_slice()), archive::bytes.eq(&ground.bytes)))
                .returning(archive::id)
                .get_result(c))?,
        };
        let event = Event::Changed {
            what: ground.what.to_owned(),
            before,
            after,
        };
        let entry_id = entry::write(link, &entry::of_event(new.at, event, None)?)?;
        on!(link, c => diesel::insert_into(standing::table)
            .values((
                standing::what.eq(ground.what),
                standing::archive_id.eq(archive_id),
                standing::since.eq(new.at),
                standing::entry_id.eq(entry_id),
            ))
            .execute(c))?;
        let record = NewAudit {
            at: new.at,
            action: format!("{}.changed", ground.what),
            actor: storable(&new.actor),
            subject: storable(&new.ca).chars().take(255).collect(),
            reason: "CONFIGURATION".to_owned(),
            detail: storable(&ground.detail),
            before,
            after: Some(after),
        };
        keeping::audit(link, &[record])?;
        changed.push(ground.what);
    }
    Ok(changed)
}

/// An archived text.
pub(crate) fn archived(link: &mut Link, sha256: &[u8; 32]) -> Result<Option<Vec<u8>>, Fault> {
    Ok(on!(link, c => archive::table
        .filter(archive::sha256.eq(sha256.as_slice()))
        .select(archive::bytes)
        .first(c)
        .optional())?)
}
