//! The ledger: leaves as they are written, the tree as it grows, what was signed.

pub(crate) mod entry;
mod grow;

use diesel::prelude::*;
use ledger::{Hash, Head};

use crate::link::{Fault, Link, on};
use crate::read::{AUDIT, StoredAudit, array, audit_row};
use crate::tables::{audit, ledger as tree, ledger_entry};
use crate::{AuditRow, Store, StoreError};

pub use grow::Growth;

/// The tree, as far as it is built and as far as it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerState {
    /// As far as it is built.
    pub head: Head,
    /// As far as it is signed: its size and the note.
    pub signed: Option<(u64, String)>,
}

/// A leaf on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// What it says.
    pub bytes: Vec<u8>,
    /// Its place in the tree, once it has one.
    pub position: Option<u64>,
    /// When it was written, unix seconds.
    pub created_at: i64,
}

/// The audit records behind a leaf, and the salt that hides them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRecords {
    /// The salt.
    pub salt: [u8; 16],
    /// The records, in the order in which they were hashed.
    pub records: Vec<AuditRow>,
}

fn count(number: i64) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_| Fault::Failed("a negative size on record".to_owned()))
}

/// Read the one row.
fn state(link: &mut Link) -> Result<LedgerState, Fault> {
    type Row = (i64, Vec<u8>, Option<i64>, Option<String>);
    let (size, root, signed_size, checkpoint): Row = on!(link, c => tree::table
        .find(1)
        .select((tree::size, tree::root, tree::signed_size, tree::checkpoint))
        .first(c))?;
    let head = Head {
        size: count(size)?,
        root: array(root)?,
    };
    let signed = signed_size.map(count).transpose()?.zip(checkpoint);
    Ok(LedgerState { head, signed })
}

type Leaf = (Vec<u8>, Option<i64>, i64);

fn leaf((bytes, position, created_at): Leaf) -> Result<LedgerEntry, Fault> {
    Ok(LedgerEntry {
        bytes,
        position: position.map(count).transpose()?,
        created_at,
    })
}

impl Store {
    /// The tree, as far as it is built and as far as it is signed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ledger(&self) -> Result<LedgerState, StoreError> {
        self.read(state)
    }

    /// The leaf that handed out a certificate (row id); one of before the ledger has none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ledger_entry(&self, certificate: i64) -> Result<Option<LedgerEntry>, StoreError> {
        self.read(|link| {
            let found: Option<Leaf> = on!(link, c => ledger_entry::table
                .filter(ledger_entry::certificate_id.eq(certificate))
                .select((ledger_entry::bytes, ledger_entry::position, ledger_entry::created_at))
                .first(c)
                .optional())?;
            found.map(leaf).transpose()
        })
    }

    /// Leaves from a place on, in order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ledger_entries(&self, from: u64, limit: u16) -> Result<Vec<Vec<u8>>, StoreError> {
        let Ok(from) = i64::try_from(from) else {
            return Ok(Vec::new());
        };
        self.read(|link| {
            Ok(on!(link, c => ledger_entry::table
                .filter(ledger_entry::position.ge(from))
                .filter(ledger_entry::position.lt(from.saturating_add(i64::from(limit))))
                .order(ledger_entry::position)
                .select(ledger_entry::bytes)
                .load(c))?)
        })
    }

    /// When the oldest leaf without a place was written, unix seconds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ledger_waiting(&self) -> Result<Option<i64>, StoreError> {
        self.read(|link| {
            Ok(on!(link, c => ledger_entry::table
                .filter(ledger_entry::position.is_null())
                .order(ledger_entry::id)
                .select(ledger_entry::created_at)
                .first(c)
                .optional())?)
        })
    }

    /// The hashes of a tile, as many as there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ledger_tile(&self, level: u8, index: u64) -> Result<Option<Vec<Hash>>, StoreError> {
        let Ok(number) = i64::try_from(index) else {
            return Ok(None);
        };
        self.read(|link| grow::tile(link, level, number))
    }

    /// The audit records behind a leaf of the kind `audit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ledger_records(&self, position: u64) -> Result<Option<HeldRecords>, StoreError> {
        let Ok(position) = i64::try_from(position) else {
            return Ok(None);
        };
        self.read(|link| {
            let found: Option<(i64, Option<Vec<u8>>)> = on!(link, c => ledger_entry::table
                .filter(ledger_entry::position.eq(position))
                .select((ledger_entry::id, ledger_entry::salt))
                .first(c)
                .optional())?;
            let Some((id, Some(salt))) = found else {
                return Ok(None);
            };
            let rows: Vec<StoredAudit> = on!(link, c => audit::table
                .filter(audit::entry_id.eq(id))
                .order(audit::id)
                .select(AUDIT)
                .load(c))?;
            Ok(Some(HeldRecords {
                salt: array(salt)?,
                records: rows.into_iter().map(audit_row).collect::<Result<_, _>>()?,
            }))
        })
    }
}
