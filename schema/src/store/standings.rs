//! What the CA stands on.

use super::{Store, StoreError, strange};
use crate::change::{Change, Outcome};
use crate::standing::{self, Grounds};

impl Store {
    /// Write down what is stood on from now on, each with its leaf and its audit record, where it is not what was said
    /// last. Durable on return. Which were new.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn stand(&self, grounds: Grounds) -> Result<Vec<&'static str>, StoreError> {
        match self.inner.writer.write(Change::Stand(Box::new(grounds)))? {
            Outcome::Stood(changed) => Ok(changed),
            other => Err(strange(&other)),
        }
    }

    /// SHA-256 of what is stood on now, by kind.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn standing(&self, what: &str) -> Result<Option<[u8; 32]>, StoreError> {
        self.read(|link| standing::last(link, what))
    }

    /// An archived text.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn archived(&self, sha256: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|link| standing::archived(link, sha256))
    }
}
