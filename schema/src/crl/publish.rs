//! Writing down what is about to be signed, and putting it in the place of what it was compared with.

use diesel::prelude::*;
use issuance::crl::PublishableCrl;

use crate::link::{Fault, Link, on};
use crate::tables::{crl, crl_point};
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
                ))
                .execute(c))?;
            if count != 1 {
                return Err(Fault::Failed("the number of a CRL is not on record".to_owned()));
            }
            Ok(link.run("COMMIT")?)
        })
    }

    /// Publish a CRL that was written down under a number (row id), in the place of exactly the one it was compared
    /// with. `false` when another one is published there by now: somebody was faster.
    ///
    /// # Errors
    /// [`StoreError`]: whether it was published is not known; what is published says it.
    pub fn publish_crl(&self, id: i64, publishable: &PublishableCrl, now: i64) -> Result<bool, StoreError> {
        let replaces = publishable.replaces().map(|number| number.get().cast_signed());
        let next = publishable.crl();
        type Drafted = (i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>);
        self.publisher(|link| {
            link.begin()?;
            if let Link::Postgres(_) = link {
                link.run("SET LOCAL statement_timeout = '10min'")?;
            }
            let (place, number, this_update, next_update, entries, steps): Drafted = on!(link, c => crl::table
                .find(id)
                .select((
                    crl::crl_point_id,
                    crl::number,
                    crl::this_update,
                    crl::next_update,
                    crl::entries,
                    crl::steps,
                ))
                .first(c))?;
            if number != next.number().get().cast_signed() {
                return Err(Fault::Failed(
                    "the number of a CRL is not the one written down".to_owned(),
                ));
            }
            let values = (
                crl_point::crl_id.eq(Some(id)),
                crl_point::number.eq(Some(number)),
                crl_point::this_update.eq(this_update),
                crl_point::next_update.eq(next_update),
                crl_point::entries.eq(entries),
                crl_point::steps.eq(steps),
                crl_point::published_at.eq(Some(now)),
                crl_point::der.eq(Some(next.der())),
            );
            let count = match replaces {
                Some(previous) => on!(link, c => diesel::update(
                    crl_point::table.filter(crl_point::id.eq(place).and(crl_point::number.eq(previous))),
                )
                .set(values)
                .execute(c))?,
                None => on!(link, c => diesel::update(
                    crl_point::table.filter(crl_point::id.eq(place).and(crl_point::number.is_null())),
                )
                .set(values)
                .execute(c))?,
            };
            link.run("COMMIT")?;
            Ok(count == 1)
        })
    }
}
