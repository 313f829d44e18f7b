//! A proof as a file (C2SP tlog-proof): that an entry is in a ledger, checked without asking anyone.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::checkpoint::{CheckpointError, SignedCheckpoint, hash, size};
use crate::hash::leaf_hash;
use crate::note::{Note, NoteError, VerifierKey};
use crate::proof::{Inclusion, ProofError};

/// The first line.
const FIRST: &str = "c2sp.org/tlog-proof@v1\n";

/// Why a file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// Not as C2SP has it.
    #[error("not a proof of a ledger: {0}")]
    Form(&'static str),
    /// The note in it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The checkpoint in it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path in it.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// A claim that an entry is in a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// Its place, and the way up.
    pub inclusion: Inclusion,
    /// The checkpoint, as it was published.
    pub checkpoint: Note,
}

impl ProofFile {
    /// Parse a file.
    ///
    /// # Errors
    /// [`ProofFileError::Form`], [`ProofFileError::Note`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        let wrong = ProofFileError::Form;
        let text = str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let rest = text.strip_prefix(FIRST).ok_or(wrong("its first line is another"))?;
        let (head, note) = rest.split_once("\n\n").ok_or(wrong("it has no blank line"))?;
        let mut lines = head.split('\n');
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index
            .and_then(size)
            .ok_or(wrong("it has no index, or something else before"))?;
        // Neither side of a tree that can exist is longer.
        let path: Option<Vec<_>> = lines.map(hash).take(65).collect();
        let path = path.filter(|path| path.len() <= 63);
        let path = path.ok_or(wrong("a line of the path is no hash, or one too many"))?;
        Ok(Self {
            inclusion: Inclusion { index, path },
            checkpoint: Note::parse(note.as_bytes())?,
        })
    }

    /// Check that the ledger of this key has this entry, at the place the file says.
    ///
    /// # Errors
    /// [`ProofFileError`].
    pub fn verify(&self, entry: &[u8], key: &VerifierKey) -> Result<SignedCheckpoint, ProofFileError> {
        let signed = SignedCheckpoint::open(self.checkpoint.clone(), key)?;
        self.inclusion.verify(&leaf_hash(entry), signed.head())?;
        Ok(signed)
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}index {}", self.inclusion.index)?;
        for node in &self.inclusion.path {
            writeln!(f, "{}", BASE64.encode(node))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::hash::node_hash;
    use crate::note::SignatureKind;
    use crate::note::tests::key;
    use crate::proof::Head;

    fn made() -> (ProofFile, VerifierKey) {
        let log = key("ledger.example", SignatureKind::Ed25519, 1);
        let (left, right) = (leaf_hash(b"a"), leaf_hash(b"b"));
        let head = Head {
            size: 2,
            root: node_hash(&left, &right),
        };
        let signed = Checkpoint::new(log.verifier().name().clone(), head).sign(&log).unwrap();
        let inclusion = Inclusion {
            index: 1,
            path: vec![left],
        };
        let file = ProofFile {
            inclusion,
            checkpoint: signed.note().clone(),
        };
        (file, log.verifier().clone())
    }

    #[test]
    fn there_and_back_and_checked() {
        let (file, key) = made();
        let text = file.to_string();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 1\n"), "{text}");
        let read = ProofFile::parse(text.as_bytes()).unwrap();
        assert_eq!(read, file);
        assert_eq!(read.verify(b"b", &key).unwrap().head().size, 2);
        assert_eq!(read.verify(b"a", &key), Err(ProofError::Root.into()));
        let other = key_of("ledger.example", 9);
        assert!(matches!(read.verify(b"b", &other), Err(ProofFileError::Checkpoint(_))));
    }

    fn key_of(name: &str, seed: u8) -> VerifierKey {
        key(name, SignatureKind::Ed25519, seed).verifier().clone()
    }

    #[test]
    fn every_changed_byte_is_found() {
        let (file, key) = made();
        let bytes = file.to_string().into_bytes();
        for at in 0..bytes.len() {
            for bit in [0, 2, 5] {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                let believed = ProofFile::parse(&bad).is_ok_and(|read| read.verify(b"b", &key).is_ok());
                assert!(!believed, "byte {at}");
            }
        }
        for length in 0..bytes.len() {
            assert!(ProofFile::parse(&bytes[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn files_that_are_none() {
        let (file, _) = made();
        let text = file.to_string();
        let sibling = text.lines().nth(2).unwrap();
        for bad in [
            text.replace("@v1", "@v2"),
            text.replace("index 1", "index 01"),
            text.replace("index 1", "index"),
            text.replace("index 1", "extra !\nindex 1"),
            text.replace("index 1", "extra AAAA\nindex 1"),
            text.replacen(sibling, &sibling[1..], 1),
            text.replacen(sibling, &format!("{sibling}\n").repeat(64), 1),
            text.replacen(sibling, &format!("{sibling}\n").repeat(100_000), 1),
        ] {
            assert!(ProofFile::parse(bad.as_bytes()).is_err());
        }
    }
}
