//! CRLs: where they are published, the numbers they take, and what they are made of.
//!
//! [`entry`]: which certificates are listed, and under which URL. [`turn`]: taking a number and reading the revoked, so
//! that whoever has the greater number has seen no less. [`publish`]: what was written down takes the place of exactly
//! the CRL it was compared with.

mod entry;
mod publish;
mod turn;

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use issuance::crl::{CrlNumber, CrlScope};

use crate::link::{Fault, Link, on};
use crate::tables::{crl, crl_delta, crl_point, crl_sequence};
use crate::{Store, StoreError};

pub(crate) use entry::{complete_entries, enter};
pub use publish::DraftedCrl;
pub use turn::CrlTurn;

/// A place where a CRL is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlPoint {
    /// Row id.
    pub id: i64,
    /// Its URL.
    pub url: String,
    /// The CRL lists every certificate of the issuer; else those that carry this URL.
    pub complete: bool,
    /// What is published there.
    pub published: Option<PublishedCrl>,
    /// Where that says its delta CRLs are.
    pub delta_url: Option<String>,
    /// The delta CRL published beside it.
    pub delta: Option<PublishedDelta>,
}

/// What is on record of a published delta CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedDelta {
    /// BaseCRLNumber: a complete CRL of this place, by now perhaps not the published one.
    pub base: CrlNumber,
    /// The rest; its entries are what differs, its steps all of the scope.
    pub published: PublishedCrl,
}

/// What is on record of a published CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedCrl {
    /// CRLNumber.
    pub number: CrlNumber,
    /// thisUpdate, unix seconds.
    pub this_update: i64,
    /// nextUpdate, unix seconds.
    pub next_update: i64,
    /// How many certificates it lists.
    pub entries: i64,
    /// How many steps of revocations it stands on.
    pub steps: i64,
    /// When it was published, unix seconds.
    pub published_at: i64,
}

/// How many steps of revocations there are: a CRL that stands on fewer is behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrlSteps {
    by_url: BTreeMap<Option<String>, i64>,
}

/// A number that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenNumber {
    /// CRLNumber.
    pub number: CrlNumber,
    /// Where it was to be published.
    pub url: String,
    /// When it was taken, unix seconds.
    pub created_at: i64,
    /// What was about to be signed, if it came so far.
    pub tbs_sha256: Option<[u8; 32]>,
}

impl CrlPoint {
    /// Which certificates its CRL speaks for.
    #[must_use]
    pub fn scope(&self) -> CrlScope {
        if self.complete {
            CrlScope::Complete
        } else {
            CrlScope::Point(self.url.clone())
        }
    }
    /// How many steps what is published stands on, complete CRL or delta.
    #[must_use]
    pub fn steps(&self) -> i64 {
        let complete = self.published.map_or(0, |published| published.steps);
        complete.max(self.delta.map_or(0, |delta| delta.published.steps))
    }
}

impl CrlSteps {
    /// Those that a CRL at this place has to stand on.
    #[must_use]
    pub fn of(&self, point: &CrlPoint) -> i64 {
        if point.complete {
            self.by_url.values().sum()
        } else {
            self.by_url.get(&Some(point.url.clone())).copied().unwrap_or(0)
        }
    }
}

/// A row of `crl_point`, its DER left out.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = crl_point)]
struct StoredPoint {
    id: i64,
    url: String,
    complete: i64,
    number: Option<i64>,
    this_update: Option<i64>,
    next_update: Option<i64>,
    entries: Option<i64>,
    steps: Option<i64>,
    published_at: Option<i64>,
    delta_url: Option<String>,
}

impl StoredPoint {
    fn into_point(self, delta: Option<StoredDelta>) -> Result<CrlPoint, Fault> {
        let facts = (
            self.number,
            self.this_update,
            self.next_update,
            self.entries,
            self.steps,
            self.published_at,
        );
        let published = match facts {
            (Some(number), Some(this_update), Some(next_update), Some(entries), Some(steps), Some(published_at)) => {
                Some(PublishedCrl {
                    number: number_of(number)?,
                    this_update,
                    next_update,
                    entries,
                    steps,
                    published_at,
                })
            }
            // The tables hold that it is all or nothing.
            _ => None,
        };
        Ok(CrlPoint {
            id: self.id,
            url: self.url,
            complete: self.complete != 0,
            published,
            delta_url: self.delta_url,
            delta: delta.map(StoredDelta::into_delta).transpose()?,
        })
    }
}

/// A row of `crl_delta`, its DER left out.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = crl_delta)]
struct StoredDelta {
    base: i64,
    number: i64,
    this_update: i64,
    next_update: i64,
    entries: i64,
    steps: i64,
    published_at: i64,
}

impl StoredDelta {
    fn into_delta(self) -> Result<PublishedDelta, Fault> {
        Ok(PublishedDelta {
            base: number_of(self.base)?,
            published: PublishedCrl {
                number: number_of(self.number)?,
                this_update: self.this_update,
                next_update: self.next_update,
                entries: self.entries,
                steps: self.steps,
                published_at: self.published_at,
            },
        })
    }
}

fn number_of(number: i64) -> Result<CrlNumber, Fault> {
    u64::try_from(number)
        .ok()
        .and_then(CrlNumber::new)
        .ok_or_else(|| Fault::Failed(format!("CRL number {number}")))
}

fn point(link: &mut Link, id: i64) -> Result<CrlPoint, Fault> {
    let (found, delta): (StoredPoint, Option<StoredDelta>) = on!(link, c => crl_point::table
        .left_join(crl_delta::table.on(crl_delta::crl_point_id.eq(crl_point::id)))
        .filter(crl_point::id.eq(id))
        .select((StoredPoint::as_select(), Option::<StoredDelta>::as_select()))
        .first(c))?;
    found.into_point(delta)
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = Nullable<Text>)]
    crl_url: Option<String>,
    #[diesel(sql_type = BigInt)]
    steps: i64,
}

impl Store {
    /// Make places for CRLs of an issuer; those that are there stay. Also those that revoked certificates carry and
    /// nobody made.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when a URL is there for another kind of CRL: certificates carry it.
    pub fn add_crl_points(&self, issuer_key_id: &[u8], places: &[(String, CrlScope)]) -> Result<(), StoreError> {
        let carried = self.read(|link| entry::urls(link, issuer_key_id))?;
        self.publisher(|link| {
            link.begin()?;
            let new = places
                .iter()
                .map(|(url, scope)| (url.as_str(), i64::from(*scope == CrlScope::Complete)))
                .chain(carried.iter().map(|url| (url.as_str(), 0)));
            for (url, complete) in new {
                on!(link, c => diesel::insert_into(crl_point::table)
                    .values((
                        crl_point::issuer_key_id.eq(issuer_key_id),
                        crl_point::url.eq(url),
                        crl_point::complete.eq(complete),
                    ))
                    .on_conflict((crl_point::issuer_key_id, crl_point::url))
                    .do_nothing()
                    .execute(c))?;
            }
            Ok(link.run("COMMIT")?)
        })?;
        let points = self.crl_points(issuer_key_id)?;
        for (url, scope) in places {
            if points.iter().any(|point| point.url == *url && point.scope() != *scope) {
                return Err(StoreError::Unusable(format!(
                    "{url} was the URL of another kind of CRL, and certificates carry it: take another one"
                )));
            }
        }
        Ok(())
    }

    /// Every place of an issuer, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn crl_points(&self, issuer_key_id: &[u8]) -> Result<Vec<CrlPoint>, StoreError> {
        self.read(|link| {
            let rows: Vec<(StoredPoint, Option<StoredDelta>)> = on!(link, c => crl_point::table
                .left_join(crl_delta::table.on(crl_delta::crl_point_id.eq(crl_point::id)))
                .filter(crl_point::issuer_key_id.eq(issuer_key_id))
                .order(crl_point::id)
                .select((StoredPoint::as_select(), Option::<StoredDelta>::as_select()))
                .load(c))?;
            rows.into_iter().map(|(point, delta)| point.into_point(delta)).collect()
        })
    }

    /// The CRL published at a place, with its number: DER.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn published_crl(&self, point: i64) -> Result<Option<(CrlNumber, Vec<u8>)>, StoreError> {
        self.read(|link| {
            let found: Option<(Option<i64>, Option<Vec<u8>>)> = on!(link, c => crl_point::table
                .find(point)
                .select((crl_point::number, crl_point::der))
                .first(c)
                .optional())?;
            match found {
                Some((Some(number), Some(der))) => Ok(Some((number_of(number)?, der))),
                _ => Ok(None),
            }
        })
    }

    /// The delta CRL published at a place, with its number: DER.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn published_delta(&self, point: i64) -> Result<Option<(CrlNumber, Vec<u8>)>, StoreError> {
        self.read(|link| {
            let found: Option<(i64, Vec<u8>)> = on!(link, c => crl_delta::table
                .find(point)
                .select((crl_delta::number, crl_delta::der))
                .first(c)
                .optional())?;
            found.map(|(number, der)| Ok((number_of(number)?, der))).transpose()
        })
    }

    /// The last number taken for an issuer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn last_crl_number(&self, issuer_key_id: &[u8]) -> Result<Option<CrlNumber>, StoreError> {
        self.read(|link| {
            let last: Option<i64> = on!(link, c => crl_sequence::table
                .filter(crl_sequence::issuer_key_id.eq(issuer_key_id))
                .select(crl_sequence::number)
                .first(c)
                .optional())?;
            last.map(number_of).transpose()
        })
    }

    /// Numbers that were taken for an issuer, the last first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn crl_numbers(&self, issuer_key_id: &[u8], limit: u32) -> Result<Vec<TakenNumber>, StoreError> {
        type Loaded = (i64, String, i64, Option<Vec<u8>>);
        self.read(|link| {
            let rows: Vec<Loaded> = on!(link, c => crl::table
                .inner_join(crl_point::table.on(crl_point::id.eq(crl::crl_point_id)))
                .filter(crl::issuer_key_id.eq(issuer_key_id))
                .order(crl::number.desc())
                .limit(i64::from(limit))
                .select((crl::number, crl_point::url, crl::created_at, crl::tbs_sha256))
                .load(c))?;
            rows.into_iter()
                .map(|(number, url, created_at, tbs)| {
                    Ok(TakenNumber {
                        number: number_of(number)?,
                        url,
                        created_at,
                        tbs_sha256: tbs.map(crate::read::array).transpose()?,
                    })
                })
                .collect()
        })
    }

    /// The newest row of any step. On PostgreSQL an older row may still come after it: within the longest transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn newest_step(&self) -> Result<Option<i64>, StoreError> {
        use crate::tables::revocation;
        self.read(|link| Ok(on!(link, c => revocation::table.select(diesel::dsl::max(revocation::id)).first(c))?))
    }

    /// Count the steps of an issuer's certificates, by the URL they carry.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn crl_steps(&self, issuer_key_id: &[u8]) -> Result<CrlSteps, StoreError> {
        let ask = |mark: &str| {
            format!(
                "SELECT e.crl_url, count(*) AS steps FROM crl_entry AS e \
                 JOIN revocation AS r ON r.certificate_id = e.certificate_id \
                 WHERE e.issuer_key_id = {mark} GROUP BY e.crl_url"
            )
        };
        self.read(|link| {
            let rows: Vec<Counted> = match link {
                Link::Sqlite(c) => diesel::sql_query(ask("?")).bind::<Binary, _>(issuer_key_id).load(c)?,
                Link::Postgres(c) => diesel::sql_query(ask("$1")).bind::<Binary, _>(issuer_key_id).load(c)?,
            };
            Ok(CrlSteps {
                by_url: rows.into_iter().map(|row| (row.crl_url, row.steps)).collect(),
            })
        })
    }
}
