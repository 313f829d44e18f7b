//! What the house holds of the ledger beside the record: its key, the last tree this server signed, what it serves.

use std::cell::RefCell;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ledger::{
    Checkpoint, Head, MAX_NOTE_BYTES, Note, Promise, Resource, SignedCheckpoint, SigningKey, TileNodes, Tiles, root,
};
use schema::{Store, StoreError};

use super::folder::replace;
use super::witness::Witness;
use crate::config::LedgerTerms;

/// Why the ledger cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LedgerFault {
    /// The record does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tree on record is not the one that was said: a person must look, and nothing is issued meanwhile.
    #[error("{0}")]
    Broken(String),
    /// The file that remembers what was signed cannot be used: nothing is signed without it.
    #[error("{0}")]
    Memory(String),
    /// The clock stands before the newest record.
    #[error("the clock stands before the newest record")]
    Clock,
    /// It could not be signed.
    #[error("{0}")]
    Sign(String),
    /// Too few witnesses have signed it: it is not published, and the next turn asks again.
    #[error("{have} of {quorum} witnesses have signed: {why}")]
    Unwitnessed {
        /// How many did.
        have: usize,
        /// How many must.
        quorum: usize,
        /// What the others said.
        why: String,
    },
}

/// The ledger of this house.
pub struct Ledger {
    /// Signs checkpoints and promises; its name is the origin.
    pub key: SigningKey,
    /// Terms.
    pub terms: LedgerTerms,
    /// Who sees each checkpoint before it is published.
    pub witnesses: Vec<Witness>,
    published: RwLock<Option<Arc<SignedCheckpoint>>>,
}

/// Tiles on record.
pub struct Recorded<'a> {
    store: &'a Store,
    /// The record did not answer: that is no fault of the tiles.
    away: RefCell<Option<StoreError>>,
}

impl<'a> Recorded<'a> {
    /// Of this record.
    #[must_use]
    pub fn of(store: &'a Store) -> Self {
        let away = RefCell::default();
        Self { store, away }
    }

    /// Why tiles could not be used: the record did not answer, or they are broken.
    #[must_use]
    pub fn fault(&self, broken: String) -> LedgerFault {
        match self.away.take() {
            Some(away) => LedgerFault::Store(away),
            None => LedgerFault::Broken(broken),
        }
    }
}

impl Tiles for &Recorded<'_> {
    fn get(&self, tile: Resource) -> Result<Vec<u8>, String> {
        let Resource::Tile { level, index, width } = tile else {
            return Err("no tile".to_owned());
        };
        let row = self.store.ledger_tile(level, index).map_err(|e| {
            let why = e.to_string();
            self.away.replace(Some(e));
            why
        })?;
        let row = row.ok_or("it is not on record")?;
        let part = row.get(..usize::from(width)).ok_or("it is shorter on record")?;
        Ok(ledger::tile_bytes(part))
    }
}

impl Ledger {
    /// Take up the ledger: what is signed on record must be of this key, and the tree on record must continue what this
    /// server, and its folder, remember.
    ///
    /// # Errors
    /// [`LedgerFault`].
    pub fn open(key: SigningKey, terms: LedgerTerms, store: &Store) -> Result<Self, LedgerFault> {
        let witness = |one| Witness::new(one, terms.witness_timeout).map_err(LedgerFault::Memory);
        let witnesses = terms.witnesses.iter().map(witness).collect::<Result<_, _>>()?;
        let ledger = Self {
            key,
            terms,
            witnesses,
            published: RwLock::default(),
        };
        // Before the record: another server that shares the folder may go on meanwhile.
        let known: Vec<_> = ledger.memories().iter().map(|file| ledger.remembered(file)).collect();
        let state = store.ledger()?;
        if let Some((_, note)) = &state.signed {
            if let Some(signed) = ledger.read(note.as_bytes())? {
                continued(store, signed.head(), &state.head)?;
                ledger.publish(signed);
            } else {
                tracing::warn!("the tree on record was signed under another name: a new ledger begins with it");
            }
        }
        for remembered in known {
            if let Some(remembered) = remembered? {
                continued(store, remembered.head(), &state.head)?;
            }
        }
        Ok(ledger)
    }

    fn memories(&self) -> Vec<PathBuf> {
        let folder = self.terms.folder.as_ref().map(|folder| folder.join("checkpoint"));
        std::iter::once(self.terms.head.clone()).chain(folder).collect()
    }

    /// The checkpoint on record; none, if it is of a ledger of another name: after a restore one goes on under a new one.
    ///
    /// # Errors
    /// [`LedgerFault::Broken`].
    pub fn read(&self, note: &[u8]) -> Result<Option<SignedCheckpoint>, LedgerFault> {
        let wrong =
            |why: String| LedgerFault::Broken(format!("the checkpoint on record is not of this ledger's key: {why}"));
        let note = Note::parse(note).map_err(|e| wrong(e.to_string()))?;
        let said = Checkpoint::parse(note.text()).map_err(|e| wrong(e.to_string()))?;
        if said.origin != *self.key.verifier().name() {
            return Ok(None);
        }
        let signed = SignedCheckpoint::open(note, self.key.verifier());
        signed.map(Some).map_err(|e| wrong(e.to_string()))
    }

    /// The last tree that this server signed, or wrote into its folder.
    fn remembered(&self, file: &Path) -> Result<Option<SignedCheckpoint>, LedgerFault> {
        let shown = file.display();
        let bytes = match std::fs::File::open(file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(LedgerFault::Memory(format!("{shown}: {e}"))),
            Ok(file) => {
                let mut bytes = Vec::new();
                file.take(MAX_NOTE_BYTES as u64 + 1)
                    .read_to_end(&mut bytes)
                    .map_err(|e| LedgerFault::Memory(format!("{shown}: {e}")))?;
                bytes
            }
        };
        let signed = SignedCheckpoint::parse(&bytes, self.key.verifier());
        let signed =
            signed.map_err(|e| LedgerFault::Broken(format!("{shown} is no checkpoint of this ledger: {e}")))?;
        Ok(Some(signed))
    }

    /// All trees that this server has signed, or serves: to be read before the record is, which may go on meanwhile.
    ///
    /// # Errors
    /// [`LedgerFault`].
    pub fn known(&self) -> Result<Vec<Head>, LedgerFault> {
        let remembered = self.remembered(&self.terms.head)?;
        let served = self.published();
        let heads = [remembered.as_ref(), served.as_deref()];
        Ok(heads.into_iter().flatten().map(|known| *known.head()).collect())
    }

    /// Remember a tree before it is published, unless a longer one is: durable on return.
    ///
    /// # Errors
    /// [`LedgerFault`].
    pub fn remember(&self, signed: &SignedCheckpoint) -> Result<(), LedgerFault> {
        let file = &self.terms.head;
        let failed = |e: io::Error| LedgerFault::Memory(format!("{}: {e}", file.display()));
        let _alone = alone(file.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
        if let Some(before) = self.remembered(file)?
            && before.head().size > signed.head().size
        {
            return Ok(());
        }
        replace(file, signed.note().to_string().as_bytes()).map_err(failed)
    }

    /// What is served now.
    #[must_use]
    pub fn published(&self) -> Option<Arc<SignedCheckpoint>> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serve a checkpoint, unless a longer tree is served.
    pub fn publish(&self, signed: SignedCheckpoint) {
        let mut served = self.published.write().unwrap_or_else(PoisonError::into_inner);
        if served.as_ref().is_none_or(|old| old.head().size < signed.head().size) {
            *served = Some(Arc::new(signed));
        }
    }

    /// The promise that a leaf, recorded at `at` (unix seconds), will be in the tree. The same leaf, the same promise.
    ///
    /// # Errors
    /// [`LedgerFault::Sign`].
    pub fn promise(&self, leaf: &[u8], at: i64) -> Result<String, LedgerFault> {
        let within = i64::try_from(self.terms.promise.as_secs()).unwrap_or(i64::MAX);
        let promise = Promise {
            origin: self.key.verifier().name().clone(),
            leaf: ledger::leaf_hash(leaf),
            by: at.saturating_add(within),
        };
        let note = promise.sign(&self.key).map_err(|e| LedgerFault::Sign(e.to_string()))?;
        Ok(note.to_string())
    }
}

/// Nobody else of us writes in the folder, until the file is dropped: servers may share one.
pub(super) fn alone(folder: &Path) -> io::Result<std::fs::File> {
    std::fs::create_dir_all(folder)?;
    let folder = std::fs::File::open(folder)?;
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(folder)
}

/// The tree on record must continue one that is known.
///
/// # Errors
/// [`LedgerFault::Broken`]; [`LedgerFault::Store`] when the record does not answer, which says nothing of the tree.
pub fn continued(store: &Store, known: &Head, head: &Head) -> Result<(), LedgerFault> {
    if known == head {
        return Ok(());
    }
    if known.size > head.size {
        return Err(LedgerFault::Broken(format!(
            "the ledger had {} entries when it was signed last; the record has {}: it is older than what was said. Take a newer \
             one; or go on with it, and with a ledger of a new name: ca-cli db accept (docs/how-to/backup.md)",
            known.size, head.size
        )));
    }
    let tiles = Recorded::of(store);
    match root(&TileNodes::new(&tiles, head.size), known.size) {
        Ok(again) if again == known.root => Ok(()),
        Ok(_) => Err(LedgerFault::Broken(format!(
            "the first {} entries of the ledger are not those that were signed: it forked",
            known.size
        ))),
        Err(error) => Err(tiles.fault(error.to_string())),
    }
}
