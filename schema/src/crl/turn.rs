//! Taking the next number and reading the revoked: one turn after the other, for each issuer.
//!
//! Whoever has the greater number must have seen no less, or a comparison would find entries gone. So the reading begins
//! while nobody else can take a number: on PostgreSQL under the lock of the sequence's row, in one statement, hence of
//! one moment, row by row; never page by page, because ids are not in the order of commits. SQLite has one process, which
//! makes one CRL at a time, and reads without holding up its writer.

use std::collections::HashMap;

use attest::UnixTime;
use diesel::connection::DefaultLoadingMode;
use diesel::pg::PgRowByRowLoadingMode;
use diesel::prelude::*;
use failpoint::Point;
use issuance::Serial;
use issuance::crl::{CrlNumber, Known, Revoked};
use wire::revocation::{RevocationReason, RevocationState};

use super::{CrlPoint, number_of, point};
use crate::link::{Fault, Link, on};
use crate::tables::{crl, crl_delta, crl_entry, crl_point, crl_sequence, revocation};
use crate::{Store, StoreError};

/// A number, and what a CRL with it says.
#[derive(Debug)]
pub struct CrlTurn {
    /// Row id of the number.
    pub id: i64,
    /// The number: burnt from now on, whatever becomes of it.
    pub number: CrlNumber,
    /// The place, and what is published there; read before the entries.
    pub point: CrlPoint,
    /// The published CRL, DER.
    pub previous: Option<Vec<u8>>,
    /// The delta CRL published beside it, DER.
    pub previous_delta: Option<Vec<u8>>,
    /// Every certificate of the scope that is revoked or on hold, and not shown expired by the published CRL.
    pub revoked: Vec<Revoked>,
    /// The others of the scope that ever were: what the record knows of entries that left.
    pub left: HashMap<Serial, Known>,
    /// How many steps were read.
    pub steps: i64,
    /// When the newest of them was taken, unix seconds.
    pub newest: Option<i64>,
}

/// Certificate, serial, last second of validity, state, reason, at, since.
type Row = (i64, Vec<u8>, i64, String, String, i64, i64);

impl Store {
    /// Take the next number of an issuer for a place, and read what its CRL says. `None` when somebody else took one for
    /// this place since `since` (unix seconds) and has not published yet.
    ///
    /// # Errors
    /// [`StoreError`]. A number may be burnt.
    pub fn take_crl_number(
        &self,
        issuer_key_id: &[u8],
        place: i64,
        now: i64,
        since: Option<i64>,
    ) -> Result<Option<CrlTurn>, StoreError> {
        self.publisher(|link| {
            link.begin()?;
            if let Link::Postgres(_) = link {
                // A million rows take longer than a request ever should.
                link.run("SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '10min'")?;
            }
            let number = next(link, issuer_key_id)?;
            if let Some(since) = since
                && in_hand(link, place, since)?
            {
                link.run("ROLLBACK")?;
                return Ok(None);
            }
            let id: i64 = on!(link, c => diesel::insert_into(crl::table)
                .values((
                    crl::issuer_key_id.eq(issuer_key_id),
                    crl::number.eq(number),
                    crl::crl_point_id.eq(place),
                    crl::created_at.eq(now),
                ))
                .returning(crl::id)
                .get_result(c))?;
            failpoint::pass(Point::CrlNumberCommit)?;
            if let Link::Sqlite(_) = link {
                link.run("COMMIT")?;
            }
            let point = point(link, place)?;
            let previous: Option<Vec<u8>> = match &point.published {
                None => None,
                Some(_) => on!(link, c => crl_point::table.find(place).select(crl_point::der).first(c))?,
            };
            let previous_delta: Option<Vec<u8>> = match &point.delta {
                None => None,
                Some(_) => on!(link, c => crl_delta::table.find(place).select(crl_delta::der).first(c).optional())?,
            };
            let gathered = gather(link, issuer_key_id, &point)?;
            if let Link::Postgres(_) = link {
                link.run("COMMIT")?;
            }
            Ok(Some(CrlTurn {
                id,
                number: number_of(number)?,
                point,
                previous,
                previous_delta,
                revoked: gathered.revoked,
                left: gathered.left,
                steps: gathered.steps,
                newest: gathered.newest,
            }))
        })
    }
}

/// The next number; whoever has it holds the row until the transaction ends.
fn next(link: &mut Link, issuer_key_id: &[u8]) -> Result<i64, Fault> {
    Ok(on!(link, c => diesel::insert_into(crl_sequence::table)
        .values((crl_sequence::issuer_key_id.eq(issuer_key_id), crl_sequence::number.eq(1)))
        .on_conflict(crl_sequence::issuer_key_id)
        .do_update()
        .set(crl_sequence::number.eq(crl_sequence::number + 1))
        .returning(crl_sequence::number)
        .get_result(c))?)
}

/// Whether a number greater than the published ones was taken for a place since then, be it for a complete CRL or a delta:
/// one of the two would be overtaken by the other.
fn in_hand(link: &mut Link, place: i64, since: i64) -> Result<bool, Fault> {
    let complete: Option<i64> = on!(link, c => crl_point::table.find(place).select(crl_point::number).first(c))?;
    let delta: Option<i64> =
        on!(link, c => crl_delta::table.find(place).select(crl_delta::number).first(c).optional())?;
    Ok(on!(link, c => diesel::select(diesel::dsl::exists(crl::table
        .filter(crl::crl_point_id.eq(place))
        .filter(crl::number.gt(complete.max(delta).unwrap_or(0)))
        .filter(crl::created_at.gt(since))))
        .get_result(c))?)
}

/// What the steps say, certificate by certificate.
struct Gathered {
    revoked: Vec<Revoked>,
    left: HashMap<Serial, Known>,
    steps: i64,
    newest: Option<i64>,
    /// Entries of certificates that ended before this were shown expired by the published CRL.
    shown: Option<i64>,
}

fn gather(link: &mut Link, issuer_key_id: &[u8], point: &CrlPoint) -> Result<Gathered, Fault> {
    macro_rules! wanted {
        () => {{
            let mut query = crl_entry::table
                .inner_join(revocation::table.on(revocation::certificate_id.eq(crl_entry::certificate_id)))
                .filter(crl_entry::issuer_key_id.eq(issuer_key_id))
                .order((crl_entry::certificate_id, revocation::step))
                .select((
                    crl_entry::certificate_id,
                    crl_entry::serial,
                    crl_entry::not_after,
                    revocation::state,
                    revocation::reason,
                    revocation::at,
                    revocation::since,
                ))
                .into_boxed();
            if !point.complete {
                query = query.filter(crl_entry::crl_url.eq(&point.url));
            }
            query
        }};
    }
    let mut gathered = Gathered {
        revoked: Vec::new(),
        left: HashMap::new(),
        steps: 0,
        newest: None,
        shown: point.published.map(|published| published.this_update),
    };
    let mut last: Option<Row> = None;
    let mut take = |row: Row| -> Result<(), Fault> {
        gathered.steps += 1;
        gathered.newest = gathered.newest.max(Some(row.5));
        if let Some(before) = last.replace(row)
            && last.as_ref().is_some_and(|now| now.0 != before.0)
        {
            gathered.put(before)?;
        }
        Ok(())
    };
    match link {
        Link::Sqlite(c) => {
            for row in wanted!().load_iter::<Row, DefaultLoadingMode>(c)? {
                take(row?)?;
            }
        }
        Link::Postgres(c) => {
            for row in wanted!().load_iter::<Row, PgRowByRowLoadingMode>(c)? {
                take(row?)?;
            }
        }
    }
    if let Some(row) = last {
        gathered.put(row)?;
    }
    Ok(gathered)
}

impl Gathered {
    /// The last step of a certificate counts.
    fn put(&mut self, (_, serial, not_after, state, reason, at, since): Row) -> Result<(), Fault> {
        let unknown = |what: &str| Fault::Failed(format!("revocation `{what}`"));
        let serial = <[u8; 16]>::try_from(serial.as_slice())
            .ok()
            .and_then(Serial::from_octets)
            .ok_or_else(|| Fault::Failed(format!("serial {} is none of ours", hex::encode(&serial))))?;
        let state = RevocationState::from_text(&state).ok_or_else(|| unknown(&state))?;
        let reason = RevocationReason::from_text(&reason).ok_or_else(|| unknown(&reason))?;
        let released = (state == RevocationState::Released).then_some(UnixTime(at));
        let shown = self.shown.is_some_and(|shown| not_after < shown);
        if released.is_some() || shown {
            let known = Known {
                not_after: UnixTime(not_after),
                released,
            };
            self.left.insert(serial, known);
        } else {
            self.revoked.push(Revoked {
                serial,
                at: UnixTime(since),
                reason,
            });
        }
        Ok(())
    }
}
