//! The tree grows, one server after the other: whoever holds the row of `ledger` gives places to the leaves that have none,
//! writes the tiles, and says how far the tree is built; in one transaction. Signing comes after, with what was committed.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt};
use failpoint::Point;
use ledger::{Edge, Hash, Head, Tile, leaf_hash, tile_bytes};

use super::state;
use crate::link::{Fault, Link, on};
use crate::tables::{ledger as tree, ledger_entry, ledger_tile};
use crate::{Store, StoreError};

/// What came of letting the tree grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It is built so far; so many leaves were added now.
    Built {
        /// As far as it is built.
        head: Head,
        /// How many leaves are new.
        added: usize,
    },
    /// The tiles on record are not those of the tree on record: nothing was written, and a person must look.
    Broken(String),
}

impl Store {
    /// Give a place to the leaves that have none, oldest first, at most `limit`. Durable on return.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn grow_ledger(&self, limit: u32) -> Result<Growth, StoreError> {
        self.sequencer(|link| {
            link.begin()?;
            if let Link::Postgres(c) = link {
                let _held: i64 = tree::table.find(1).select(tree::id).for_no_key_update().first(c)?;
            }
            let before = state(link)?.head;
            let waiting: Vec<(i64, Vec<u8>)> = on!(link, c => ledger_entry::table
                .filter(ledger_entry::position.is_null())
                .order(ledger_entry::id)
                .limit(i64::from(limit))
                .select((ledger_entry::id, ledger_entry::bytes))
                .load(c))?;
            let mut edge = match edge(link, &before)? {
                Ok(edge) => edge,
                Err(why) => {
                    link.run("ROLLBACK")?;
                    return Ok(Growth::Broken(why));
                }
            };
            if waiting.is_empty() {
                link.run("ROLLBACK")?;
                return Ok(Growth::Built { head: before, added: 0 });
            }
            let leaves: Vec<Hash> = waiting.iter().map(|(_, bytes)| leaf_hash(bytes)).collect();
            let tiles = edge.grow(&leaves).map_err(|e| Fault::Failed(e.to_string()))?;
            let ids: Vec<i64> = waiting.iter().map(|(id, _)| *id).collect();
            place(link, &ids, before.size)?;
            for one in &tiles {
                put(link, one)?;
            }
            let head = edge.head();
            let moved = on!(link, c => diesel::update(tree::table.find(1))
                .filter(tree::size.eq(before.size.cast_signed()))
                .set((tree::size.eq(head.size.cast_signed()), tree::root.eq(head.root.as_slice())))
                .execute(c))?;
            if moved != 1 {
                return Err(Fault::Failed("the tree grew beside its lock".to_owned()));
            }
            failpoint::pass(Point::LedgerGrowCommit)?;
            link.run("COMMIT")?;
            failpoint::pass(Point::LedgerGrown)?;
            Ok(Growth::Built { head, added: ids.len() })
        })
    }

    /// Publish a checkpoint over the first `size` leaves in the place of exactly the one that was signed before (its size;
    /// none: the first). `false` when another one is there by now.
    ///
    /// # Errors
    /// [`StoreError`]: whether it was published is not known; what is published says it.
    pub fn sign_ledger(&self, before: Option<u64>, size: u64, checkpoint: &str, now: i64) -> Result<bool, StoreError> {
        self.sequencer(|link| {
            link.begin()?;
            let values = (
                tree::signed_size.eq(size.cast_signed()),
                tree::checkpoint.eq(checkpoint),
                tree::signed_at.eq(now),
            );
            let row = || tree::table.filter(tree::id.eq(1).and(tree::size.ge(size.cast_signed())));
            let count = match before {
                Some(before) => on!(link, c => diesel::update(row().filter(tree::signed_size.eq(before.cast_signed())))
                    .set(values)
                    .execute(c))?,
                None => on!(link, c => diesel::update(row().filter(tree::signed_size.is_null()))
                    .set(values)
                    .execute(c))?,
            };
            failpoint::pass(Point::CheckpointSwapCommit)?;
            link.run("COMMIT")?;
            failpoint::pass(Point::CheckpointSwapped)?;
            Ok(count == 1)
        })
    }
}

/// The hashes of a tile on record.
pub(super) fn tile(link: &mut Link, level: u8, number: i64) -> Result<Option<Vec<Hash>>, Fault> {
    let found: Option<Vec<u8>> = on!(link, c => ledger_tile::table
        .filter(ledger_tile::level.eq(i64::from(level)).and(ledger_tile::number.eq(number)))
        .select(ledger_tile::hashes)
        .first(c)
        .optional())?;
    Ok(found.map(|bytes| bytes.as_chunks::<32>().0.to_vec()))
}

/// The edge of the tree, out of its tiles, and whether it is that of the tree.
fn edge(link: &mut Link, head: &Head) -> Result<Result<Edge, String>, Fault> {
    let mut rows = Vec::new();
    for level in 0..8_u8 {
        let here = head.size >> (8 * level);
        let width = usize::try_from(here % 256).unwrap_or_default();
        let number = (here / 256).cast_signed();
        let row = match width {
            0 => Vec::new(),
            _ => tile(link, level, number)?.unwrap_or_default(),
        };
        // A wider one is of a tree beyond this one: then this row is older than its tiles.
        rows.push(row);
    }
    Ok(match Edge::of(head.size, rows) {
        Ok(edge) if edge.head() == *head => Ok(edge),
        Ok(_) => Err("the tiles of the ledger lead to another root than it has".to_owned()),
        Err(error) => Err(format!("the tiles of the ledger are not those of its tree: {error}")),
    })
}

/// Places for leaves, one after the other from `first` on.
fn place(link: &mut Link, ids: &[i64], first: u64) -> Result<(), Fault> {
    let first = first.cast_signed();
    let count = match link {
        Link::Sqlite(c) => {
            let mut count = 0;
            for (position, id) in (first..).zip(ids) {
                count += crate::fixed::PlaceEntry { id, position }.execute(c)?;
            }
            count
        }
        Link::Postgres(c) => diesel::sql_query(
            "UPDATE ledger_entry AS e SET position = v.position FROM unnest($1, $2) AS v (id, position) \
             WHERE e.id = v.id AND e.position IS NULL",
        )
        .bind::<Array<BigInt>, _>(ids)
        .bind::<Array<BigInt>, _>((first..).take(ids.len()).collect::<Vec<i64>>())
        .execute(c)?,
    };
    if count == ids.len() {
        Ok(())
    } else {
        Err(Fault::Failed("a leaf got a place beside the lock".to_owned()))
    }
}

fn put(link: &mut Link, new: &Tile) -> Result<(), Fault> {
    let number = i64::try_from(new.index).map_err(|_| Fault::Failed("too many tiles".to_owned()))?;
    let bytes = tile_bytes(&new.hashes);
    on!(link, c => diesel::insert_into(ledger_tile::table)
        .values((
            ledger_tile::level.eq(i64::from(new.level)),
            ledger_tile::number.eq(number),
            ledger_tile::hashes.eq(&bytes),
        ))
        .on_conflict((ledger_tile::level, ledger_tile::number))
        .do_update()
        .set(ledger_tile::hashes.eq(&bytes))
        .execute(c))?;
    Ok(())
}
