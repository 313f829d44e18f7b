//! What a ledger says to a witness and the witness back (C2SP tlog-witness, `add-checkpoint`). Pure: the request, and the
//! decision over it; whoever calls stores what was decided before it answers.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::checkpoint::{CheckpointError, SignedCheckpoint, hash, size};
use crate::note::{Note, NoteError, NoteSignature, VerifierKey};
use crate::proof::{Consistency, Head, ProofError};

/// Why a witness does not sign; in the order in which C2SP asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// Not a request (400).
    #[error("not a request to a witness: {0}")]
    Form(&'static str),
    /// A ledger it does not know (404).
    #[error("the ledger is not known here")]
    Unknown,
    /// Not signed by the ledger's key (403).
    #[error(transparent)]
    Signature(CheckpointError),
    /// The older size is beyond the newer one (400).
    #[error("the older tree is the longer one")]
    Backwards,
    /// It stands elsewhere (409), at this size.
    #[error("the witness stands at a tree of {0}")]
    Stands(u64),
    /// The same size and another root (409): two trees.
    #[error("the witness has seen another tree of the same size {0}")]
    Fork(u64),
    /// The proof does not lead from one to the other (422).
    #[error("the new tree does not continue the old one: {0}")]
    Proof(ProofError),
}

impl WitnessError {
    /// The status that C2SP gives it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Form(_) | Self::Backwards => 400,
            Self::Signature(_) => 403,
            Self::Unknown => 404,
            Self::Stands(_) | Self::Fork(_) => 409,
            Self::Proof(_) => 422,
        }
    }
}

/// A request for a cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size at which the witness stands.
    pub old: u64,
    /// From there to the checkpoint.
    pub proof: Consistency,
    /// The checkpoint, as signed.
    pub checkpoint: Note,
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for node in &self.proof.path {
            writeln!(f, "{}", BASE64.encode(node))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl AddCheckpoint {
    /// Parse a request.
    ///
    /// # Errors
    /// [`WitnessError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WitnessError> {
        let wrong = WitnessError::Form;
        let text = str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or(wrong("it has no blank line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(size);
        let old = old.ok_or(wrong("its first line is no older size"))?;
        let path: Option<Vec<_>> = lines.map(hash).take(65).collect();
        let path = path.filter(|path| path.len() <= 63);
        let path = path.ok_or(wrong("a line of the proof is no hash, or one too many"))?;
        let checkpoint = Note::parse(note.as_bytes()).map_err(|_| wrong("it holds no signed note"))?;
        Ok(Self {
            old,
            proof: Consistency { path },
            checkpoint,
        })
    }

    /// Decide, standing at `seen` for the ledger of this key (the empty tree, if nothing was seen yet). What is returned
    /// is to be stored in the place of exactly `seen`, and then cosigned.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn judge(&self, key: &VerifierKey, seen: &Head) -> Result<SignedCheckpoint, WitnessError> {
        let signed = match SignedCheckpoint::open(self.checkpoint.clone(), key) {
            Err(CheckpointError::Origin(_)) => return Err(WitnessError::Unknown),
            Err(CheckpointError::Note(NoteError::Form(_)) | CheckpointError::Form(_)) => {
                return Err(WitnessError::Form("it holds no checkpoint"));
            }
            other => other.map_err(WitnessError::Signature)?,
        };
        let head = signed.head();
        if self.old > head.size {
            return Err(WitnessError::Backwards);
        }
        if self.old != seen.size {
            return Err(WitnessError::Stands(seen.size));
        }
        if seen.size == head.size && seen.root != head.root {
            return Err(WitnessError::Fork(seen.size));
        }
        self.proof.verify(seen, head).map_err(WitnessError::Proof)?;
        Ok(signed)
    }
}

/// What a witness answered, read and not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// Its cosignatures (200).
    Signed(Vec<NoteSignature>),
    /// It stands at a tree of this size (409).
    Stands(u64),
    /// The proof does not lead from what it saw to the checkpoint (422).
    NotContinued,
    /// Another status.
    Refused(u16),
}

impl WitnessAnswer {
    /// Read an answer to `add-checkpoint`.
    ///
    /// # Errors
    /// [`WitnessError::Form`].
    pub fn parse(status: u16, body: &[u8]) -> Result<Self, WitnessError> {
        let wrong = WitnessError::Form;
        let text = |body| str::from_utf8(body).map_err(|_| wrong("it is not UTF-8"));
        match status {
            200 => {
                let lines = text(body)?.strip_suffix('\n').ok_or(wrong("it has no last line"))?;
                let lines: Result<Vec<_>, _> = lines.split('\n').take(17).map(NoteSignature::parse).collect();
                let lines = lines.map_err(|_| wrong("a line is no signature"))?;
                if lines.len() > 16 {
                    return Err(wrong("it has too many lines"));
                }
                Ok(Self::Signed(lines))
            }
            409 => {
                let line = text(body)?.strip_suffix('\n').and_then(size);
                line.map(Self::Stands).ok_or(wrong("it names no size"))
            }
            422 => Ok(Self::NotContinued),
            other => Ok(Self::Refused(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::edge::Edge;
    use crate::hash::leaf_hash;
    use crate::note::tests::key;
    use crate::note::{KeyName, SignatureKind, SigningKey};

    fn tree(leaves: &[&[u8]]) -> Head {
        let mut edge = Edge::empty();
        let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        edge.grow(&hashes).unwrap();
        edge.head()
    }

    fn log() -> SigningKey {
        key("ledger.example", SignatureKind::Ed25519, 1)
    }

    fn request(old: u64, path: Vec<[u8; 32]>, head: Head) -> AddCheckpoint {
        let log = log();
        let signed = Checkpoint::new(log.verifier().name().clone(), head).sign(&log).unwrap();
        AddCheckpoint {
            old,
            proof: Consistency { path },
            checkpoint: signed.note().clone(),
        }
    }

    #[test]
    fn a_tree_that_grows_is_signed() {
        let log = log();
        let (one, two) = (tree(&[b"a"]), tree(&[b"a", b"b"]));
        let first = request(0, vec![], one);
        assert_eq!(first.judge(log.verifier(), &Head::empty()).unwrap().head(), &one);
        let next = request(1, vec![leaf_hash(b"b")], two);
        let read = AddCheckpoint::parse(next.to_string().as_bytes()).unwrap();
        assert_eq!(read, next);
        assert_eq!(read.judge(log.verifier(), &one).unwrap().head(), &two);
        // The same again.
        let same = request(2, vec![], two);
        assert!(same.judge(log.verifier(), &two).is_ok());
    }

    #[test]
    fn each_no_is_its_own() {
        let log = log();
        let (one, two) = (tree(&[b"a"]), tree(&[b"a", b"b"]));
        let next = request(1, vec![leaf_hash(b"b")], two);
        let told = |request: &AddCheckpoint, seen: &Head| {
            let no = request.judge(log.verifier(), seen).unwrap_err();
            (no.status(), no)
        };
        let stranger = key("ledger.example", SignatureKind::Ed25519, 2);
        let no = next.judge(stranger.verifier(), &one).unwrap_err();
        assert_eq!(
            (no.status(), no),
            (403, WitnessError::Signature(NoteError::Unknown.into()))
        );
        let mut other = Note::new(&Checkpoint::new(KeyName::new("other.example").unwrap(), two).text()).unwrap();
        other.add(log.sign(other.text()).unwrap());
        let elsewhere = AddCheckpoint {
            checkpoint: other,
            ..next.clone()
        };
        assert_eq!(told(&elsewhere, &one), (404, WitnessError::Unknown));
        assert_eq!(told(&request(3, vec![], two), &one), (400, WitnessError::Backwards));
        assert_eq!(told(&next, &Head::empty()), (409, WitnessError::Stands(0)));
        assert_eq!(told(&next, &two), (409, WitnessError::Stands(2)));
        let fork = request(2, vec![], tree(&[b"a", b"c"]));
        assert_eq!(told(&fork, &two), (409, WitnessError::Fork(2)));
        let lie = request(1, vec![leaf_hash(b"c")], two);
        assert_eq!(told(&lie, &one), (422, WitnessError::Proof(ProofError::Root)));
        let mut hello = Note::new("hello\n").unwrap();
        hello.add(log.sign(hello.text()).unwrap());
        let none = AddCheckpoint {
            checkpoint: hello,
            ..next
        };
        assert_eq!(told(&none, &one).0, 400);
    }

    #[test]
    fn requests_that_are_none() {
        let text = request(1, vec![leaf_hash(b"b")], tree(&[b"a", b"b"])).to_string();
        let line = text.lines().nth(1).unwrap();
        for bad in [
            text.replace("old 1", "old 01"),
            text.replace("old 1", "new 1"),
            text.replacen(line, "AAAA", 1),
            text.replacen(line, &format!("{line}\n").repeat(64), 1),
            text.replace("\n\n", "\n"),
            String::new(),
        ] {
            assert!(matches!(
                AddCheckpoint::parse(bad.as_bytes()),
                Err(WitnessError::Form(_))
            ));
        }
    }

    #[test]
    fn answers() {
        let witness = key("w.example", SignatureKind::Cosignature, 3);
        let line = crate::cosign::cosign(&witness, "x\n", 7).unwrap();
        let body = line.to_string();
        let read = |status, body: &str| WitnessAnswer::parse(status, body.as_bytes());
        assert_eq!(read(200, &body), Ok(WitnessAnswer::Signed(vec![line.clone()])));
        assert_eq!(read(200, &body.repeat(16)), Ok(WitnessAnswer::Signed(vec![line; 16])));
        assert_eq!(read(409, "17\n"), Ok(WitnessAnswer::Stands(17)));
        assert_eq!(read(409, "0\n"), Ok(WitnessAnswer::Stands(0)));
        assert_eq!(read(422, "whatever"), Ok(WitnessAnswer::NotContinued));
        assert_eq!(read(403, "whatever"), Ok(WitnessAnswer::Refused(403)));
        for (status, body) in [
            (200, String::new()),
            (200, "\n".to_owned()),
            (200, body.trim_end().to_owned()),
            (200, format!("\n{body}")),
            (200, format!("{body}x\n")),
            (200, body.repeat(17)),
            (409, String::new()),
            (409, "17".to_owned()),
            (409, "017\n".to_owned()),
            (409, "-1\n".to_owned()),
            (409, "17\n\n".to_owned()),
        ] {
            assert!(
                matches!(read(status, &body), Err(WitnessError::Form(_))),
                "{status} {body:?}"
            );
        }
        assert!(WitnessAnswer::parse(409, b"\xFF\n").is_err());
    }
}
