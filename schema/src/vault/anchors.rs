//! What others hold of the record, which it may not fall behind; and going on all the same, by the word of a person.

use core::fmt;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary};
use ledger::{Hash, Head};

use super::catalog::number;
use super::{Despite, VaultError, verify};
use crate::change::{new_audit, storable};
use crate::keeping;
use crate::link::{Fault, Link, on};
use crate::tables::{crl_sequence, epoch, ledger_entry};

/// How far somebody saw the record: an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// In which epoch: 0, until a person ends it.
    pub epoch: i64,
    /// The newest leaf (row id); 0 for none.
    pub entry: i64,
    /// SHA-256 of what that leaf says; zeros for none.
    pub sha256: [u8; 32],
    /// Which PostgreSQL it was in; none on SQLite, and in anchors of before this was kept.
    pub cluster: Option<Cluster>,
}

/// A PostgreSQL and its standbys, and which of them writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `system_identifier`: the same on a primary and its standbys.
    pub system: u64,
    /// The timeline that is written: greater after each time that a standby took over.
    pub timeline: u32,
}

/// An anchor as it is kept.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    schema: String,
    epoch: i64,
    entry: i64,
    sha256: String,
    /// `system_identifier/timeline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
}

impl Cluster {
    fn parse(text: &str) -> Option<Self> {
        let (system, timeline) = text.split_once('/')?;
        let cluster = Self {
            system: system.parse().ok()?,
            timeline: timeline.parse().ok()?,
        };
        (cluster.to_string() == text).then_some(cluster)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.system, self.timeline)
    }
}

const SCHEMA: &str = "holdfast.anchor.v1";

impl Mark {
    /// Read one line of JSON, as [`Mark::to_line`] writes it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let kept: Kept = serde_json::from_slice(bytes).map_err(|e| format!("no anchor: {e}"))?;
        let mut sha256 = [0; 32];
        if kept.schema != SCHEMA {
            return Err(format!("no anchor: schema {}", kept.schema));
        }
        hex::decode_to_slice(&kept.sha256, &mut sha256).map_err(|e| format!("no anchor: sha256: {e}"))?;
        let cluster = match &kept.cluster {
            None => None,
            Some(text) => Some(Cluster::parse(text).ok_or_else(|| format!("no anchor: cluster: {text}"))?),
        };
        Ok(Self {
            epoch: kept.epoch,
            entry: kept.entry,
            sha256,
            cluster,
        })
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_line(&self) -> String {
        let kept = Kept {
            schema: SCHEMA.to_owned(),
            epoch: self.epoch,
            entry: self.entry,
            sha256: hex::encode(self.sha256),
            cluster: self.cluster.map(|cluster| cluster.to_string()),
        };
        // Text and numbers: JSON can say nothing else.
        serde_json::to_string(&kept).unwrap_or_default() + "\n"
    }

    /// Whether it was written later than the other.
    #[must_use]
    pub fn is_after(&self, other: &Self) -> bool {
        let timelines = match (self.cluster, other.cluster) {
            (Some(mine), Some(its)) if mine.system == its.system => (mine.timeline, its.timeline),
            // An anchor of before this was kept learns it.
            (mine, its) => (u32::from(mine.is_some()), u32::from(its.is_some())),
        };
        (self.epoch, timelines.0, self.entry) > (other.epoch, timelines.1, other.entry)
    }
}

/// All that is known from outside of the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// How far it was seen.
    pub marks: Vec<Mark>,
    /// Signed trees.
    pub ledger: Vec<Head>,
    /// Published CRLs: subjectKeyIdentifier of the issuer, and CRLNumber.
    pub crls: Vec<(Vec<u8>, u64)>,
}

/// In what the record falls behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// It is of an epoch that was ended.
    Epoch {
        /// The anchor's.
        seen: i64,
        /// The record's.
        found: i64,
    },
    /// It is in a PostgreSQL whose standby has taken over since.
    Timeline {
        /// The one that was seen.
        seen: u32,
        /// The one that is written here.
        found: u32,
    },
    /// A leaf that was seen is not there, or says something else.
    Entry {
        /// Its row id.
        seen: i64,
        /// The newest there.
        newest: i64,
    },
    /// A tree that was signed is longer than the record's.
    Ledger {
        /// Its size.
        signed: u64,
        /// The record's.
        found: u64,
    },
    /// The first leaves are not those that were signed.
    Fork(u64),
    /// A CRL was published under a number that was never taken here.
    Crl {
        /// Its number.
        published: u64,
        /// The last one here.
        last: i64,
    },
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch { seen, found } => write!(f, "it is of epoch {found}, which ended: epoch {seen} was seen"),
            Self::Timeline { seen, found } => write!(
                f,
                "it is in an old primary, which writes timeline {found}: timeline {seen} has begun elsewhere"
            ),
            Self::Entry { seen, newest } => write!(
                f,
                "entry {seen}, which was seen, is not in it as it was; its newest is {newest}"
            ),
            Self::Ledger { signed, found } => write!(f, "a ledger of {signed} entries was signed; it has {found}"),
            Self::Fork(size) => write!(f, "its first {size} entries are not those that were signed"),
            Self::Crl { published, last } => {
                write!(f, "CRL number {published} is published; the last it knows is {last}")
            }
        }
    }
}

/// The epoch, and whether the record was moved away in it.
pub(crate) fn epoch_of(link: &mut Link) -> Result<(i64, bool), Fault> {
    let last: Option<(i64, i64)> = on!(link, c => epoch::table
        .order(epoch::number.desc())
        .select((epoch::number, epoch::moved))
        .first(c)
        .optional())?;
    Ok(last.map_or((0, false), |(number, moved)| (number, moved == 1)))
}

/// How far the record is.
pub(crate) fn mark(link: &mut Link) -> Result<Mark, Fault> {
    let (epoch, _) = epoch_of(link)?;
    let cluster = cluster(link)?;
    let newest: Option<(i64, Vec<u8>)> = on!(link, c => ledger_entry::table
        .order(ledger_entry::id.desc())
        .select((ledger_entry::id, ledger_entry::bytes))
        .first(c)
        .optional())?;
    Ok(match newest {
        Some((entry, bytes)) => Mark {
            epoch,
            entry,
            sha256: openssl::sha::sha256(&bytes),
            cluster,
        },
        None => Mark {
            epoch,
            entry: 0,
            sha256: [0; 32],
            cluster,
        },
    })
}

/// Which PostgreSQL this is, when it is one that writes.
fn cluster(link: &mut Link) -> Result<Option<Cluster>, Fault> {
    #[derive(QueryableByName)]
    struct Here {
        #[diesel(sql_type = BigInt)]
        system: i64,
        #[diesel(sql_type = BigInt)]
        timeline: i64,
    }
    let Link::Postgres(c) = link else { return Ok(None) };
    let here: Here = diesel::sql_query(
        "SELECT (SELECT system_identifier FROM pg_control_system()) AS system, CASE WHEN pg_is_in_recovery() THEN 0 \
         ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END AS timeline",
    )
    .get_result(c)?;
    Ok(u32::try_from(here.timeline)
        .ok()
        .filter(|timeline| *timeline > 0)
        .map(|timeline| Cluster {
            system: here.system.cast_unsigned(),
            timeline,
        }))
}

/// Whether the record holds what was seen of it.
pub(crate) fn behind(link: &mut Link, seen: &Mark) -> Result<Option<Shortfall>, Fault> {
    let here = mark(link)?;
    if here.epoch > seen.epoch {
        return Ok(None);
    }
    if here.epoch < seen.epoch {
        return Ok(Some(Shortfall::Epoch {
            seen: seen.epoch,
            found: here.epoch,
        }));
    }
    if let (Some(here), Some(seen)) = (here.cluster, seen.cluster)
        && here.system == seen.system
        && here.timeline < seen.timeline
    {
        return Ok(Some(Shortfall::Timeline {
            seen: seen.timeline,
            found: here.timeline,
        }));
    }
    if seen.entry == 0 {
        return Ok(None);
    }
    let there: Option<Vec<u8>> = on!(link, c => ledger_entry::table
        .find(seen.entry)
        .select(ledger_entry::bytes)
        .first(c)
        .optional())?;
    let same = there.is_some_and(|bytes| openssl::sha::sha256(&bytes) == seen.sha256);
    Ok((!same).then_some(Shortfall::Entry {
        seen: seen.entry,
        newest: here.entry,
    }))
}

/// Everything in which the record falls behind.
pub(super) fn judge(link: &mut Link, known: &Known) -> Result<Vec<Shortfall>, VaultError> {
    let mut found = Vec::new();
    for seen in &known.marks {
        found.extend(behind(link, seen)?);
    }
    for head in &known.ledger {
        found.extend(tree(link, head)?);
    }
    for (issuer, published) in &known.crls {
        let last: Option<i64> = on!(link, c => crl_sequence::table
            .filter(crl_sequence::issuer_key_id.eq(issuer))
            .select(crl_sequence::number)
            .first(c)
            .optional())?;
        let last = last.unwrap_or(0);
        if i64::try_from(*published).unwrap_or(i64::MAX) > last {
            found.push(Shortfall::Crl {
                published: *published,
                last,
            });
        }
    }
    Ok(found)
}

fn tree(link: &mut Link, head: &Head) -> Result<Option<Shortfall>, VaultError> {
    let size = number(link, "SELECT size AS value FROM ledger")?;
    let found = u64::try_from(size).unwrap_or_default();
    if head.size > found {
        return Ok(Some(Shortfall::Ledger {
            signed: head.size,
            found,
        }));
    }
    let root: Option<Hash> = verify::root_at(link, head.size)?;
    Ok((root != Some(head.root)).then_some(Shortfall::Fork(head.size)))
}

/// A new epoch, in which all that was seen before is void; and numbers of CRLs go on after those that are published.
pub(super) fn accept(
    link: &mut Link,
    known: &Known,
    shortfalls: &[Shortfall],
    despite: &Despite<'_>,
    now: i64,
) -> Result<i64, VaultError> {
    let mut said: Vec<String> = shortfalls.iter().map(ToString::to_string).collect();
    for (issuer, published) in &known.crls {
        let published = i64::try_from(*published).map_err(|_| VaultError::Strange("a number of a CRL".to_owned()))?;
        let sql = match link {
            Link::Sqlite(_) => "UPDATE crl_sequence SET number = ? WHERE issuer_key_id = ? AND number < ?",
            Link::Postgres(_) => "UPDATE crl_sequence SET number = $1 WHERE issuer_key_id = $2 AND number < $3",
        };
        let moved = on!(link, c => diesel::sql_query(sql)
            .bind::<BigInt, _>(published)
            .bind::<Binary, _>(issuer)
            .bind::<BigInt, _>(published)
            .execute(c))?;
        let there = on!(link, c => crl_sequence::table
            .filter(crl_sequence::issuer_key_id.eq(issuer))
            .count()
            .get_result::<i64>(c))?;
        if there == 0 {
            on!(link, c => diesel::insert_into(crl_sequence::table)
                .values((crl_sequence::issuer_key_id.eq(issuer), crl_sequence::number.eq(published)))
                .execute(c))?;
        }
        if moved > 0 || there == 0 {
            said.push(format!("CRL numbers go on after {published}"));
        }
    }
    let seen = known.marks.iter().map(|mark| mark.epoch).max().unwrap_or_default();
    begin(link, seen, false, "database.accepted", despite, &said.join("; "), now)
}

/// Begin an epoch, with its audit record; its number, which no epoch had that anyone `seen`.
pub(super) fn begin(
    link: &mut Link,
    seen: i64,
    moved: bool,
    action: &str,
    despite: &Despite<'_>,
    detail: &str,
    now: i64,
) -> Result<i64, VaultError> {
    let (before, _) = epoch_of(link)?;
    // The time of day in it: an epoch that was begun in a state that is lost has another number.
    let number = before.max(seen).saturating_add(1).max(now);
    let reason = storable(despite.reason);
    let row: i64 = on!(link, c => diesel::insert_into(epoch::table)
        .values((
            epoch::number.eq(number),
            epoch::since.eq(now),
            epoch::moved.eq(i64::from(moved)),
            epoch::actor.eq(storable(despite.actor)),
            epoch::reason.eq(&reason),
        ))
        .returning(epoch::id)
        .get_result(c))?;
    let record = issuance::AuditRecord {
        at: attest::UnixTime(now),
        action: action.to_owned(),
        actor: despite.actor.to_owned(),
        subject: format!("epoch {number}"),
        reason: "OPERATOR".to_owned(),
        detail: format!("{reason}: {detail}"),
    };
    let after = crate::seal::row(link, "epoch", row).map_err(VaultError::from)?;
    keeping::audit(link, &[new_audit(&record).changed(None, after)])?;
    Ok(number)
}
