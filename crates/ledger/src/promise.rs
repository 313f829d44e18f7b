//! A promise: what the answer to an enrollment carries while the next checkpoint is not signed yet.
//!
//! A note of the ledger's own key. Its second line begins with a word, so that it is never a checkpoint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::checkpoint::hash;
use crate::hash::Hash;
use crate::note::{KeyName, Note, NoteError, SigningKey, VerifierKey};

/// The first line.
const FIRST: &str = "holdfast-ledger-promise/v1";

/// Why a promise is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromiseError {
    /// Not the four lines.
    #[error("not a promise of a ledger: {0}")]
    Form(&'static str),
    /// Of another ledger.
    #[error("the promise is of the ledger `{0}`")]
    Origin(String),
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// "The entry with this hash is stored, and is in every tree of mine that is signed after this time."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Which ledger.
    pub origin: KeyName,
    /// Hash of the leaf.
    pub leaf: Hash,
    /// By when, unix seconds.
    pub by: i64,
}

impl Promise {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let leaf = BASE64.encode(self.leaf);
        format!("{FIRST}\nledger {}\nleaf {leaf}\nby {}\n", self.origin, self.by)
    }

    /// Sign it. The same promise is the same bytes, always: Ed25519 has no chance in it.
    ///
    /// # Errors
    /// [`PromiseError`].
    pub fn sign(&self, key: &SigningKey) -> Result<Note, PromiseError> {
        if self.origin != *key.verifier().name() {
            return Err(PromiseError::Origin(self.origin.to_string()));
        }
        let mut note = Note::new(&self.text())?;
        note.add(key.sign(note.text())?);
        Ok(note)
    }

    /// Check that the ledger of this key has made it.
    ///
    /// # Errors
    /// [`PromiseError`].
    pub fn open(note: &Note, key: &VerifierKey) -> Result<Self, PromiseError> {
        note.signed_by(key)?;
        let promise = Self::parse(note.text())?;
        if promise.origin != *key.name() {
            return Err(PromiseError::Origin(promise.origin.to_string()));
        }
        Ok(promise)
    }

    fn parse(text: &str) -> Result<Self, PromiseError> {
        let wrong = PromiseError::Form;
        let lines: Vec<&str> = text.split('\n').collect();
        let [FIRST, ledger, leaf, by, ""] = lines.as_slice() else {
            return Err(wrong("it has other lines"));
        };
        let origin = ledger.strip_prefix("ledger ").and_then(|name| KeyName::new(name).ok());
        let leaf = leaf.strip_prefix("leaf ").and_then(hash);
        let by = by
            .strip_prefix("by ")
            .filter(|by| *by == "0" || !by.starts_with(['0', '+', '-']));
        let by = by.and_then(|by| by.parse().ok());
        Ok(Self {
            origin: origin.ok_or(wrong("it names no ledger"))?,
            leaf: leaf.ok_or(wrong("it names no leaf"))?,
            by: by.ok_or(wrong("it names no time"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::hash::leaf_hash;
    use crate::note::SignatureKind;
    use crate::note::tests::key;

    fn promise() -> Promise {
        Promise {
            origin: KeyName::new("ledger.example").unwrap(),
            leaf: leaf_hash(b"a"),
            by: 1_800_000_000,
        }
    }

    #[test]
    fn signed_read_again_and_never_a_checkpoint() {
        let log = key("ledger.example", SignatureKind::Ed25519, 1);
        let note = promise().sign(&log).unwrap();
        assert_eq!(note, promise().sign(&log).unwrap());
        assert_eq!(Promise::open(&note, log.verifier()), Ok(promise()));
        assert!(Checkpoint::parse(note.text()).is_err());
        let other = key("ledger.example", SignatureKind::Ed25519, 2);
        assert_eq!(Promise::open(&note, other.verifier()), Err(NoteError::Unknown.into()));
        let elsewhere = key("other.example", SignatureKind::Ed25519, 1);
        assert_eq!(
            promise().sign(&elsewhere),
            Err(PromiseError::Origin("ledger.example".to_owned()))
        );
    }

    #[test]
    fn texts_that_are_none() {
        let text = promise().text();
        for bad in [
            text.replace("/v1", "/v2"),
            text.replace("ledger ledger", "ledger  ledger"),
            text.replace("leaf ", "leaf"),
            text.replace("by 1", "by 01"),
            text.replace("by 1", "by -1"),
            text.replace("by 1", "by +1"),
            text.replace("by 1", "by x"),
            format!("{text}x\n"),
            text.trim_end().to_owned(),
        ] {
            assert!(matches!(Promise::parse(&bad), Err(PromiseError::Form(_))), "{bad:?}");
        }
        assert_eq!(Promise::parse(&text), Ok(promise()));
    }
}
