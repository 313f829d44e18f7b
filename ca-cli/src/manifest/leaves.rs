//! The hashes of all lines, in a file: from them the paths of one device are made, in memory that does not grow.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use ledger::{Hash, Nodes, leaf_hash};
use manifest::Tree;

use super::nameless::nameless;
use crate::exit::{Exit, Failure};

/// Octets of a hash.
const HASH: u64 = 32;

fn failed(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("temporary file: {error}"))
        .fix("set TMPDIR to a folder with room: 32 octets for each device")
}

/// Hashes that are still being written.
pub(crate) struct Leaves(BufWriter<File>);

/// All of them.
pub(crate) struct Whole(File);

impl Leaves {
    pub(crate) fn new() -> Result<Self, Failure> {
        let file = nameless(&std::env::temp_dir()).map_err(|e| failed(&e))?;
        Ok(Self(BufWriter::new(file)))
    }

    /// One more line.
    pub(crate) fn push(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.0.write_all(&leaf_hash(line)).map_err(|e| failed(&e))
    }

    /// No more come.
    pub(crate) fn whole(self) -> Result<Whole, Failure> {
        self.0.into_inner().map(Whole).map_err(|e| failed(e.error()))
    }
}

impl Nodes for Whole {
    type Error = Failure;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Failure> {
        let read = || -> std::io::Result<Hash> {
            let count = 1_u64 << level;
            let mut file = &self.0;
            file.seek(SeekFrom::Start(index.saturating_mul(count).saturating_mul(HASH)))?;
            let mut file = BufReader::new(file);
            let mut tree = Tree::new();
            for _ in 0..count {
                let mut hash = [0; 32];
                file.read_exact(&mut hash)?;
                tree.push_hash(hash);
            }
            Ok(tree.root())
        };
        read().map_err(|e| failed(&e))
    }
}
