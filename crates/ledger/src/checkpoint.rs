//! Checkpoints (C2SP tlog-checkpoint): which tree a ledger stands for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::hash::Hash;
use crate::note::{KeyName, Note, NoteError, NoteSignature, SigningKey, VerifierKey};
use crate::proof::{Head, MAX_SIZE};

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not origin, size and root, one line each.
    #[error("not a checkpoint: {0}")]
    Form(&'static str),
    /// Of another ledger.
    #[error("the checkpoint is of `{0}`")]
    Origin(String),
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// Origin, size and root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which ledger: by our own rule, also the name of its key.
    pub origin: KeyName,
    /// Which tree.
    pub head: Head,
    /// Further lines of other ledgers: opaque. Ours have none.
    pub extensions: Vec<String>,
}

/// A number without leading zeros that is the size of a tree.
pub(crate) fn size(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !plain {
        return None;
    }
    text.parse().ok().filter(|size| *size <= MAX_SIZE)
}

/// A hash in base64.
pub(crate) fn hash(text: &str) -> Option<Hash> {
    <Hash>::try_from(BASE64.decode(text).ok()?).ok()
}

impl Checkpoint {
    /// Of a ledger of ours.
    #[must_use]
    pub fn new(origin: KeyName, head: Head) -> Self {
        Self {
            origin,
            head,
            extensions: Vec::new(),
        }
    }

    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let root = BASE64.encode(self.head.root);
        let mut text = format!("{}\n{}\n{root}\n", self.origin, self.head.size);
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Parse the text.
    ///
    /// # Errors
    /// [`CheckpointError::Form`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let wrong = CheckpointError::Form;
        let lines = text.strip_suffix('\n').ok_or(wrong("the last line has no end"))?;
        let mut lines = lines.split('\n');
        let origin = lines.next().unwrap_or_default();
        let origin = KeyName::new(origin).map_err(|_| wrong("the first line is no origin"))?;
        let size = lines.next().and_then(size);
        let size = size.ok_or(wrong("the second line is no size"))?;
        let root = lines.next().and_then(hash);
        let root = root.ok_or(wrong("the third line is no root"))?;
        let extensions: Vec<String> = lines.map(ToOwned::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(wrong("a line is empty"));
        }
        let head = Head { size, root };
        Ok(Self {
            origin,
            head,
            extensions,
        })
    }

    /// Sign it with the ledger's key, whose name is the origin.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn sign(self, key: &SigningKey) -> Result<SignedCheckpoint, CheckpointError> {
        let mut note = Note::new(&self.text())?;
        note.add(key.sign(note.text())?);
        SignedCheckpoint::open(note, key.verifier())
    }
}

/// A checkpoint that its ledger's key has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Check the signature of the ledger's key; its name is the origin.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(note: Note, key: &VerifierKey) -> Result<Self, CheckpointError> {
        note.signed_by(key)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != *key.name() {
            return Err(CheckpointError::Origin(checkpoint.origin.to_string()));
        }
        Ok(Self { checkpoint, note })
    }

    /// Read and check.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(bytes: &[u8], key: &VerifierKey) -> Result<Self, CheckpointError> {
        Self::open(Note::parse(bytes)?, key)
    }

    /// Which tree.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.checkpoint.head
    }

    /// What was signed.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with all its signatures.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Put another one's signature beside the ledger's.
    pub fn add(&mut self, signature: NoteSignature) {
        self.note.add(signature);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use crate::note::SignatureKind;
    use crate::note::tests::key;

    /// The example of C2SP.
    const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    pub(crate) fn head(size: u64) -> Head {
        let root = leaf_hash(&size.to_be_bytes());
        Head { size, root }
    }

    #[test]
    fn the_example_of_c2sp() {
        let read = Checkpoint::parse(TEXT).unwrap();
        assert_eq!(read.head.size, 20_852_163);
        assert_eq!(read.text(), TEXT);
        let more = format!("{TEXT}x\ny z\n");
        let read = Checkpoint::parse(&more).unwrap();
        assert_eq!(read.extensions, ["x", "y z"]);
        assert_eq!(read.text(), more);
    }

    #[test]
    fn texts_that_are_none() {
        for text in [
            "",
            "\n",
            "a\n1\n",
            "\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            &TEXT[..TEXT.len() - 1],
            &TEXT.replace("20852163", "020852163"),
            &TEXT.replace("20852163", "+20852163"),
            &TEXT.replace("20852163", ""),
            &TEXT.replace("20852163", "9223372036854775808"),
            &TEXT.replace("20852163", "99999999999999999999999"),
            &TEXT.replace("2I=", "2J="),
            &TEXT.replace("2I=", "2I"),
            &TEXT.replace("CsUY", ""),
            &format!("{TEXT}\n"),
            &format!("{TEXT}x\n\ny\n"),
        ] {
            assert!(
                matches!(Checkpoint::parse(text), Err(CheckpointError::Form(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn signed_and_read_again() {
        let log = key("ledger.example", SignatureKind::Ed25519, 1);
        let signed = Checkpoint::new(log.verifier().name().clone(), head(9))
            .sign(&log)
            .unwrap();
        let bytes = signed.note().to_string();
        let read = SignedCheckpoint::parse(bytes.as_bytes(), log.verifier()).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.head(), &head(9));
        let other = key("ledger.example", SignatureKind::Ed25519, 2);
        let unknown = SignedCheckpoint::parse(bytes.as_bytes(), other.verifier());
        assert_eq!(unknown, Err(NoteError::Unknown.into()));
    }

    /// Signed by the right key, but of another ledger, and a signed text that is no checkpoint.
    #[test]
    fn what_a_key_signed_may_still_be_something_else() {
        let log = key("ledger.example", SignatureKind::Ed25519, 1);
        let elsewhere = Checkpoint::new(KeyName::new("other.example").unwrap(), head(9)).sign(&log);
        assert_eq!(elsewhere, Err(CheckpointError::Origin("other.example".to_owned())));
        let mut note = Note::new("ledger.example\nhello\n").unwrap();
        note.add(log.sign(note.text()).unwrap());
        let read = SignedCheckpoint::open(note, log.verifier());
        assert!(matches!(read, Err(CheckpointError::Form(_))));
    }

    #[test]
    fn every_changed_byte_of_a_checkpoint_is_found() {
        let log = key("ledger.example", SignatureKind::Ed25519, 1);
        let signed = Checkpoint::new(log.verifier().name().clone(), head(9))
            .sign(&log)
            .unwrap();
        let bytes = signed.note().to_string().into_bytes();
        for at in 0..bytes.len() {
            for bit in [0, 3, 5] {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert!(SignedCheckpoint::parse(&bad, log.verifier()).is_err(), "byte {at}");
            }
        }
    }
}
