//! The right edge of the tree: all that is needed to let it grow, a few kilobytes at any size.

use crate::hash::{Hash, complete, empty_root, join, peaks};
use crate::proof::{Head, MAX_SIZE};

/// The hashes of one tile, as far as they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Level: its hashes stand for `256^level` leaves each.
    pub level: u8,
    /// Place within the level.
    pub index: u64,
    /// 1 to 256 hashes.
    pub hashes: Vec<Hash>,
}

/// Why the tree cannot grow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// The rows do not fit the size.
    #[error("{found} hashes at level {level} where a tree of {size} has {expected}")]
    Width {
        /// Level.
        level: usize,
        /// Size of the tree.
        size: u64,
        /// How many hashes the size wants.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The tree is as great as it may be.
    #[error("the tree is full")]
    Full,
}

/// The incomplete tiles of a tree, lowest level first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    rows: Vec<Vec<Hash>>,
}

impl Edge {
    /// Of the tree without a leaf.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            size: 0,
            rows: Vec::new(),
        }
    }

    /// Of a tree: its incomplete tiles, lowest level first, an empty row where there is none.
    ///
    /// # Errors
    /// [`EdgeError::Width`].
    pub fn of(size: u64, mut rows: Vec<Vec<Hash>>) -> Result<Self, EdgeError> {
        while rows.last().is_some_and(Vec::is_empty) {
            rows.pop();
        }
        for level in 0..rows.len().max(8) {
            let expected = if level < 8 { (size >> (8 * level)) % 256 } else { 0 };
            let expected = usize::try_from(expected).unwrap_or_default();
            let found = rows.get(level).map_or(0, Vec::len);
            if found != expected {
                return Err(EdgeError::Width {
                    level,
                    size,
                    expected,
                    found,
                });
            }
        }
        Ok(Self { size, rows })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The tree.
    #[must_use]
    pub fn head(&self) -> Head {
        let mut root = None;
        for row in &self.rows {
            root = join(&peaks(row), root);
        }
        Head {
            size: self.size,
            root: root.unwrap_or_else(empty_root),
        }
    }

    /// Add leaves. Returns every tile that has changed, as it is now: the completed ones, and those at the new edge.
    ///
    /// # Errors
    /// [`EdgeError::Full`]: then nothing was added.
    pub fn grow(&mut self, leaves: &[Hash]) -> Result<Vec<Tile>, EdgeError> {
        let added = u64::try_from(leaves.len()).map_err(|_| EdgeError::Full)?;
        let size = self.size.checked_add(added).filter(|size| *size <= MAX_SIZE);
        let size = size.ok_or(EdgeError::Full)?;
        let mut tiles = Vec::new();
        let mut carried = leaves.to_vec();
        let mut before = self.size;
        let mut level = 0_u8;
        while !carried.is_empty() {
            let place = usize::from(level);
            if self.rows.len() <= place {
                self.rows.push(Vec::new());
            }
            let Some(row) = self.rows.get_mut(place) else { break };
            let mut index = before / 256;
            row.append(&mut carried);
            let mut rest = row.as_slice();
            while rest.len() >= 256 {
                let (full, behind) = rest.split_at(256);
                carried.extend(complete(full));
                tiles.push(Tile {
                    level,
                    index,
                    hashes: full.to_vec(),
                });
                index += 1;
                rest = behind;
            }
            if !rest.is_empty() {
                tiles.push(Tile {
                    level,
                    index,
                    hashes: rest.to_vec(),
                });
            }
            *row = rest.to_vec();
            before /= 256;
            level += 1;
        }
        while self.rows.last().is_some_and(Vec::is_empty) {
            self.rows.pop();
        }
        self.size = size;
        Ok(tiles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use crate::hash::tests::naive;
    use std::collections::BTreeMap;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    /// Whatever the steps it grows in, the tree, and the last state of each tile, are the same, and as computed anew.
    #[test]
    fn growth_in_any_steps_is_the_same_tree() {
        let all = leaves(70_000);
        let mut ends = Vec::new();
        for step in [1, 7, 255, 256, 257, 1000, 65_536, 70_000] {
            let mut edge = Edge::empty();
            let mut tiles = BTreeMap::new();
            for (turn, part) in all.chunks(step).enumerate() {
                for tile in edge.grow(part).unwrap() {
                    let place = (tile.level, tile.index);
                    // A tile only ever grows at its end.
                    if let Some(before) = tiles.insert(place, tile.hashes.clone()) {
                        let before: Vec<Hash> = before;
                        assert!(tile.hashes.starts_with(&before) && tile.hashes.len() >= before.len());
                    }
                }
                if step > 1000 || turn % 4999 == 0 {
                    let size = edge.size() as usize;
                    assert_eq!(edge.head().root, naive(&all[..size]), "{size} in steps of {step}");
                }
            }
            assert_eq!(edge.size(), 70_000);
            assert_eq!(edge.head().root, naive(&all));
            // As C2SP says of a tree of 70 000.
            assert_eq!(tiles[&(0, 273)].len(), 112);
            assert_eq!(tiles[&(1, 0)].len(), 256);
            assert_eq!(tiles[&(1, 1)].len(), 17);
            assert_eq!(tiles[&(2, 0)].len(), 1);
            assert_eq!(tiles.len(), 274 + 2 + 1);
            let again = Edge::of(edge.size(), edge.rows.clone()).unwrap();
            assert_eq!(again, edge);
            ends.push(tiles);
        }
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn the_edge_of_256() {
        let mut edge = Edge::empty();
        let tiles = edge.grow(&leaves(256)).unwrap();
        let shape: Vec<_> = tiles.iter().map(|t| (t.level, t.index, t.hashes.len())).collect();
        assert_eq!(shape, [(0, 0, 256), (1, 0, 1)]);
        assert_eq!(edge.head().root, naive(&leaves(256)));
        assert_eq!(Edge::of(256, vec![vec![], edge.rows[1].clone()]).unwrap(), edge);
    }

    #[test]
    fn rows_that_do_not_fit_the_size() {
        let row = leaves(3);
        assert!(Edge::of(3, vec![row.clone()]).is_ok());
        assert!(Edge::of(4, vec![row.clone()]).is_err());
        assert!(Edge::of(259, vec![row.clone()]).is_err());
        assert!(Edge::of(3, vec![row.clone(), row.clone()]).is_err());
        let mut ninth = vec![row.clone()];
        ninth.resize(9, Vec::new());
        ninth[8] = row;
        assert!(matches!(Edge::of(3, ninth), Err(EdgeError::Width { level: 8, .. })));
    }

    #[test]
    fn a_full_tree_does_not_grow() {
        let mut edge = Edge {
            size: MAX_SIZE,
            rows: Vec::new(),
        };
        assert_eq!(edge.grow(&leaves(1)), Err(EdgeError::Full));
    }
}
