//! The ledger as files, for a web server or a content network: tiles and entries first, the checkpoint last.

use std::io;
use std::path::Path;

use ledger::{Resource, SignedCheckpoint, Tiles as _, VerifierKey, bundle};
use schema::Store;

use super::folder::replace;
use super::ledger::{Recorded, alone};

/// Make the folder hold the tree of a checkpoint; never one that is shorter than it holds.
///
/// # Errors
/// In words.
pub fn keep(folder: &Path, store: &Store, signed: &SignedCheckpoint, key: &VerifierKey) -> io::Result<()> {
    let _alone = alone(folder)?;
    let file = folder.join("checkpoint");
    let there = match std::fs::read(&file) {
        Ok(bytes) => SignedCheckpoint::parse(&bytes, key).ok(),
        Err(_) => None,
    };
    let before = there.map_or(0, |there| there.head().size);
    let size = signed.head().size;
    if before >= size && size > 0 {
        return Ok(());
    }
    for resource in new_tiles(before, size) {
        let bytes = match resource {
            Resource::Entries { index, width } => {
                let entries = store.ledger_entries(index * 256, width).map_err(io::Error::other)?;
                if entries.len() != usize::from(width) {
                    return Err(io::Error::other(format!("{resource}: entries are missing on record")));
                }
                bundle(&entries).map_err(io::Error::other)?
            }
            tile => (&Recorded::of(store)).get(tile).map_err(io::Error::other)?,
        };
        replace(&folder.join(resource.to_string()), &bytes)?;
    }
    failpoint::reach(failpoint::Point::CheckpointTiled);
    replace(&file, signed.note().to_string().as_bytes())
}

/// The files that a tree of `size` has and one of `before` had not, narrower than now.
fn new_tiles(before: u64, size: u64) -> Vec<Resource> {
    let mut all = Vec::new();
    for level in 0..8_u8 {
        let (old, new) = (before >> (8 * level), size >> (8 * level));
        if old == new {
            break;
        }
        for index in old / 256..new.div_ceil(256) {
            all.extend(Resource::tile_at(size, level, index));
            if level == 0 {
                all.extend(Resource::entries_at(size, index));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_what_is_new() {
        let names = |before, size| {
            let all = new_tiles(before, size);
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(0, 0), [""; 0]);
        assert_eq!(names(5, 5), [""; 0]);
        assert_eq!(names(0, 1), ["tile/0/000.p/1", "tile/entries/000.p/1"]);
        assert_eq!(names(250, 255), ["tile/0/000.p/255", "tile/entries/000.p/255"]);
        assert_eq!(
            names(255, 257),
            [
                "tile/0/000",
                "tile/entries/000",
                "tile/0/001.p/1",
                "tile/entries/001.p/1",
                "tile/1/000.p/1"
            ]
        );
        assert_eq!(names(256, 300), ["tile/0/001.p/44", "tile/entries/001.p/44"]);
        assert_eq!(names(0, 65_536).last().map(String::as_str), Some("tile/2/000.p/1"));
    }
}
