//! Writing down what is about to be signed, and putting it in the place of what it was compared with.

use diesel::prelude::*;
use failpoint::Point;
use issuance::crl::{CrlNumber, PublishableCrl, PublishableDelta};

use crate::link::{Fault, Link, on};
use crate::tables::{crl, crl_delta, crl_point};
use crate::{Store, StoreError};

/// What is about to be signed under a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DraftedCrl {
    /// thisUpdate, unix seconds.
    pub this_update: i64,
    /// nextUpdate, unix seconds.
    pub next_update: i64,
    /// How many certificates it lists.
    pub entries: i64,
    /// How many steps of revocations it stands on.
    pub steps: i64,
    /// SHA-256 of the TBSCertList.
    pub tbs_sha256: [u8; 32],
    /// BaseCRLNumber, for a delta.
    pub base: Option<CrlNumber>,
}

impl Store {
    /// Write down what is about to be signed under a number (row id), once. Durable on return.
    ///
    /// # Errors
    /// [`StoreError`]: then it may not be signed.
    pub fn draft_crl(&self, id: i64, drafted: &DraftedCrl) -> Result<(), StoreError> {
        self.publisher(|link| {
            link.begin()?;
            let count = on!(link, c => diesel::update(crl::table.find(id))
                .set((
                    crl::this_update.eq(drafted.this_update),
                    crl::next_update.eq(drafted.next_update),
                    crl::entries.eq(drafted.entries),
                    crl::steps.eq(drafted.steps),
                    crl::tbs_sha256.eq(drafted.tbs_sha256.as_slice()),
                    crl::base.eq(as_row(drafted.base)),
                ))
                .execute(c))?;
            if count != 1 {
                return Err(Fault::Failed("the number of a CRL is not on record".to_owned()));
            }
            failpoint::pass(Point::CrlDraftCommit)?;
            Ok(link.run("COMMIT")?)
        })
    }

    /// Publish a CRL that was written down under a number (row id), in the place of exactly the one it was compared
    /// with, and beside exactly that delta. `false` when another one is published there by now: somebody was faster.
    ///
    /// # Errors
    /// [`StoreError`]: whether it was published is not known; what is published says it.
    pub fn publish_crl(&self, id: i64, publishable: &PublishableCrl, now: i64) -> Result<bool, StoreError> {
        let next = publishable.crl();
        self.publisher(|link| {
            let row = begin(link, id, next.number())?;
            let there = lock(link, row.crl_point_id)?;
            if there != (as_row(publishable.replaces()), as_row(publishable.beside())) {
                link.run("ROLLBACK")?;
                return Ok(false);
            }
            on!(link, c => diesel::update(crl_point::table.find(row.crl_point_id))
                .set((
                    crl_point::crl_id.eq(Some(id)),
                    crl_point::number.eq(Some(row.number)),
                    crl_point::this_update.eq(row.this_update),
                    crl_point::next_update.eq(row.next_update),
                    crl_point::entries.eq(row.entries),
                    crl_point::steps.eq(row.steps),
                    crl_point::published_at.eq(Some(now)),
                    crl_point::der.eq(Some(next.der())),
                    crl_point::delta_url.eq(next.delta_url()),
                ))
                .execute(c))?;
            failpoint::pass(Point::CrlSwapCommit)?;
            link.run("COMMIT")?;
            failpoint::pass(Point::CrlSwapCommitted)?;
            Ok(true)
        })
    }

    /// Publish a delta CRL that was written down under a number (row id), beside exactly its base, in the place of exactly
    /// the delta it was compared with. `false` when something else is published there by now.
    ///
    /// # Errors
    /// [`StoreError`]: whether it was published is not known; what is published says it.
    pub fn publish_delta(&self, id: i64, publishable: &PublishableDelta, now: i64) -> Result<bool, StoreError> {
        let next = publishable.crl();
        self.publisher(|link| {
            let row = begin(link, id, next.number())?;
            let there = lock(link, row.crl_point_id)?;
            if there != (as_row(Some(publishable.base())), as_row(publishable.replaces())) {
                link.run("ROLLBACK")?;
                return Ok(false);
            }
            let (Some(base), Some(this_update), Some(next_update), Some(entries), Some(steps)) =
                (row.base, row.this_update, row.next_update, row.entries, row.steps)
            else {
                return Err(Fault::Failed("a delta CRL is not written down".to_owned()));
            };
            let values = (
                crl_delta::crl_id.eq(id),
                crl_delta::base.eq(base),
                crl_delta::number.eq(row.number),
                crl_delta::this_update.eq(this_update),
                crl_delta::next_update.eq(next_update),
                crl_delta::entries.eq(entries),
                crl_delta::steps.eq(steps),
                crl_delta::published_at.eq(now),
                crl_delta::der.eq(next.der()),
            );
            if there.1.is_some() {
                on!(link, c => diesel::update(crl_delta::table.find(row.crl_point_id)).set(values).execute(c))?;
            } else {
                on!(link, c => diesel::insert_into(crl_delta::table)
                    .values((crl_delta::crl_point_id.eq(row.crl_point_id), values))
                    .execute(c))?;
            }
            failpoint::pass(Point::DeltaSwapCommit)?;
            link.run("COMMIT")?;
            failpoint::pass(Point::DeltaSwapCommitted)?;
            Ok(true)
        })
    }
}

/// What was written down under a number.
#[derive(Queryable, Selectable)]
#[diesel(table_name = crl)]
struct Drafted {
    crl_point_id: i64,
    number: i64,
    this_update: Option<i64>,
    next_update: Option<i64>,
    entries: Option<i64>,
    steps: Option<i64>,
    base: Option<i64>,
}

fn as_row(number: Option<CrlNumber>) -> Option<i64> {
    number.map(|number| number.get().cast_signed())
}

/// Begin, and read what was written down.
fn begin(link: &mut Link, id: i64, number: CrlNumber) -> Result<Drafted, Fault> {
    link.begin()?;
    if let Link::Postgres(_) = link {
        link.run("SET LOCAL statement_timeout = '10min'")?;
    }
    let row: Drafted = on!(link, c => crl::table.find(id).select(Drafted::as_select()).first(c))?;
    if row.number != number.get().cast_signed() {
        return Err(Fault::Failed(
            "the number of a CRL is not the one written down".to_owned(),
        ));
    }
    Ok(row)
}

/// The numbers of the complete CRL and of the delta at a place; nobody else publishes there until the transaction ends.
fn lock(link: &mut Link, place: i64) -> Result<(Option<i64>, Option<i64>), Fault> {
    let complete: Option<i64> = match link {
        Link::Sqlite(c) => crl_point::table.find(place).select(crl_point::number).first(c)?,
        Link::Postgres(c) => crl_point::table
            .find(place)
            .select(crl_point::number)
            .for_update()
            .first(c)?,
    };
    let delta: Option<i64> =
        on!(link, c => crl_delta::table.find(place).select(crl_delta::number).first(c).optional())?;
    Ok((complete, delta))
}
