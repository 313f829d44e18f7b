//! What tiles and bundles of entries say, and nodes out of them.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::hash::{Hash, complete};
use crate::nodes::Nodes;
use crate::path::{Resource, width_at};

/// Why a tile or a bundle cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not as many hashes as its path says.
    #[error("a tile of {width} hashes has {found} bytes")]
    Length {
        /// How many hashes there should be.
        width: u16,
        /// How many bytes there are.
        found: usize,
    },
    /// Not as many entries as its path says, or cut off, or something behind them.
    #[error("a bundle does not hold exactly {width} entries")]
    Bundle {
        /// How many entries there should be.
        width: u16,
    },
    /// An entry longer than a bundle can hold, 65 535 bytes.
    #[error("an entry of {found} bytes is too long")]
    Entry {
        /// Its length.
        found: usize,
    },
    /// Beyond the tree.
    #[error("the tree has no such node")]
    Absent,
    /// It could not be had.
    #[error("{path}: {why}")]
    Fetch {
        /// Where.
        path: String,
        /// Why.
        why: String,
    },
}

/// The hashes of a tile as it is served.
///
/// # Errors
/// [`TileError::Length`].
pub fn hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    let found = bytes.len();
    if found != usize::from(width) * 32 {
        return Err(TileError::Length { width, found });
    }
    Ok(bytes.as_chunks::<32>().0.to_vec())
}

/// A tile as it is served.
#[must_use]
pub fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The entries of a bundle as it is served: each behind its length, two octets, big-endian.
///
/// # Errors
/// [`TileError::Bundle`].
pub fn entries(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let wrong = TileError::Bundle { width };
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, behind) = behind.split_at_checked(length).ok_or_else(|| wrong.clone())?;
        found.push(entry);
        rest = behind;
    }
    if rest.is_empty() && found.len() == usize::from(width) {
        Ok(found)
    } else {
        Err(wrong)
    }
}

/// A bundle as it is served.
///
/// # Errors
/// [`TileError::Entry`].
pub fn bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, TileError> {
    let mut bytes = Vec::new();
    for entry in entries {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| TileError::Entry { found: entry.len() })?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// Where tiles come from: a database, a folder, a web server. They need not be believed: a proof made of wrong ones
/// does not lead to the root.
pub trait Tiles {
    /// The bytes of a tile.
    ///
    /// # Errors
    /// Why it cannot be had, for people.
    fn get(&self, tile: Resource) -> Result<Vec<u8>, String>;
}

/// The nodes of a tree of a size, out of its tiles; each tile is fetched once.
pub struct TileNodes<T> {
    tiles: T,
    size: u64,
    seen: RefCell<HashMap<Resource, Vec<Hash>>>,
}

impl<T: Tiles> TileNodes<T> {
    /// Of a tree of this size.
    pub fn new(tiles: T, size: u64) -> Self {
        let seen = RefCell::default();
        Self { tiles, size, seen }
    }

    /// Hashes of a tile, as wide as the tree makes it.
    ///
    /// # Errors
    /// [`TileError`].
    pub fn hashes(&self, level: u8, index: u64) -> Result<Vec<Hash>, TileError> {
        let width = width_at(self.size, level, index).ok_or(TileError::Absent)?;
        let tile = Resource::Tile { level, index, width };
        if let Some(known) = self.seen.borrow().get(&tile) {
            return Ok(known.clone());
        }
        let bytes = self.tiles.get(tile).map_err(|why| TileError::Fetch {
            path: tile.to_string(),
            why,
        })?;
        let row = hashes(&bytes, width)?;
        self.seen.borrow_mut().insert(tile, row.clone());
        Ok(row)
    }
}

impl<T: Tiles> Nodes for TileNodes<T> {
    type Error = TileError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, TileError> {
        let tile_level = u8::try_from(level / 8).map_err(|_| TileError::Absent)?;
        let inside = level % 8;
        let first = index.checked_mul(1 << inside).ok_or(TileError::Absent)?;
        let row = self.hashes(tile_level, first / 256)?;
        let start = usize::try_from(first % 256).map_err(|_| TileError::Absent)?;
        let part = row.get(start..start + (1 << inside)).ok_or(TileError::Absent)?;
        complete(part).ok_or(TileError::Absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Edge;
    use crate::hash::leaf_hash;
    use crate::hash::tests::naive;
    use crate::{Head, consistency, inclusion, root};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Tiles as a store keeps them: the last state of each, a prefix of which is every earlier one.
    struct Kept(BTreeMap<(u8, u64), Vec<Hash>>);

    impl Tiles for &Kept {
        fn get(&self, tile: Resource) -> Result<Vec<u8>, String> {
            let Resource::Tile { level, index, width } = tile else {
                return Err("no tile".to_owned());
            };
            let row = self.0.get(&(level, index)).ok_or("no such tile")?;
            let part = row.get(..usize::from(width)).ok_or("not so wide")?;
            Ok(tile_bytes(part))
        }
    }

    fn grown(leaves: &[Hash], step: usize) -> Kept {
        let mut edge = Edge::empty();
        let mut kept = Kept(BTreeMap::new());
        for part in leaves.chunks(step) {
            for tile in edge.grow(part).unwrap() {
                kept.0.insert((tile.level, tile.index), tile.hashes);
            }
        }
        kept
    }

    #[test]
    fn proofs_out_of_tiles_at_every_kind_of_edge() {
        let leaves: Vec<Hash> = (0..66_000_u32).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let kept = grown(&leaves, 333);
        let sizes = [1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_793, 66_000];
        for size in sizes {
            let nodes = TileNodes::new(&kept, size);
            let head = Head {
                size,
                root: naive(&leaves[..size as usize]),
            };
            assert_eq!(root(&nodes, size), Ok(head.root), "{size}");
            for index in [0, size / 3, size / 2, size - 1] {
                let proof = inclusion(&nodes, index, size).unwrap().unwrap();
                proof.verify(&leaves[index as usize], &head).unwrap();
                assert!(proof.path.len() <= 17);
            }
            for old in sizes.into_iter().filter(|old| *old <= size) {
                let older = Head {
                    size: old,
                    root: naive(&leaves[..old as usize]),
                };
                let proof = consistency(&nodes, old, size).unwrap().unwrap();
                proof.verify(&older, &head).unwrap();
            }
        }
    }

    #[test]
    fn a_wrong_tile_makes_a_wrong_proof_and_a_missing_one_none() {
        let leaves: Vec<Hash> = (0..600_u32).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let head = Head {
            size: 600,
            root: naive(&leaves),
        };
        let mut kept = grown(&leaves, 600);
        kept.0.get_mut(&(0, 1)).unwrap()[7][0] ^= 1;
        let proof = inclusion(&TileNodes::new(&kept, 600), 256, 600).unwrap().unwrap();
        assert_eq!(proof.verify(&leaves[256], &head), Err(crate::ProofError::Root));
        kept.0.remove(&(0, 1));
        let none = inclusion(&TileNodes::new(&kept, 600), 256, 600);
        assert!(matches!(none, Err(TileError::Fetch { path, .. }) if path == "tile/0/001"));
    }

    #[test]
    fn lengths_of_tiles() {
        let bytes = [7; 96];
        assert_eq!(hashes(&bytes, 3).unwrap().len(), 3);
        for (bytes, width) in [(&bytes[..95], 3), (&bytes[..], 2), (&bytes[..], 4), (&[], 1)] {
            let found = bytes.len();
            assert_eq!(hashes(bytes, width), Err(TileError::Length { width, found }));
        }
    }

    #[test]
    fn bundles() {
        let made = bundle(&[b"".as_slice(), b"ab", &[9; 65_535]]).unwrap();
        assert_eq!(entries(&made, 3).unwrap(), [b"".as_slice(), b"ab", &[9; 65_535]]);
        assert_eq!(entries(&made, 2), Err(TileError::Bundle { width: 2 }));
        assert_eq!(entries(&made[..made.len() - 1], 3), Err(TileError::Bundle { width: 3 }));
        let long = [made, vec![0]].concat();
        assert_eq!(entries(&long, 3), Err(TileError::Bundle { width: 3 }));
        assert_eq!(bundle(&[&[0; 65_536]]), Err(TileError::Entry { found: 65_536 }));
    }

    proptest! {
        #[test]
        fn a_bundle_is_read_in_one_way(bytes in proptest::collection::vec(any::<u8>(), 0..200), width in 0_u16..20) {
            if let Ok(found) = entries(&bytes, width) {
                prop_assert_eq!(bundle(&found).unwrap(), bytes);
            }
        }
    }
}
