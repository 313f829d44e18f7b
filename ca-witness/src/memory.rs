//! What the witness saw last of each ledger: a file each, replaced as a whole and durable before anything is signed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use failpoint::{Point, reach};
use ledger::{
    AddCheckpoint, Head, MAX_NOTE_BYTES, NoteSignature, SignedCheckpoint, SigningKey, VerifierKey, WitnessError, cosign,
};
use rustix::fs::FlockOperation;

/// Why the witness cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoryError {
    /// The system.
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// Another witness writes there.
    #[error("{0}: another witness remembers there; two would go back behind each other")]
    Shared(String),
    /// What is there was not written by this witness.
    #[error("{0}: {1}; whoever goes on without it may sign what it must not")]
    Spoilt(String, String),
}

/// Why it does not sign.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSeen {
    /// The ledger's fault.
    #[error(transparent)]
    Request(#[from] WitnessError),
    /// Our own.
    #[error("{0}")]
    Own(String),
}

/// A ledger, and what was seen of it.
struct Known {
    key: VerifierKey,
    file: PathBuf,
    seen: Mutex<Head>,
}

/// All ledgers that this witness looks at.
pub(crate) struct Memory {
    folder: PathBuf,
    known: Vec<Known>,
    key: SigningKey,
    /// Locked as long as this lives.
    _alone: File,
}

impl Memory {
    /// Read what was seen of the ledgers with these keys.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub(crate) fn open(folder: &Path, key: SigningKey, ledgers: Vec<VerifierKey>) -> Result<Self, MemoryError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |e| MemoryError::Io(path, e)
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let alone = File::open(folder).map_err(failed(folder))?;
        rustix::fs::flock(&alone, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| MemoryError::Shared(folder.display().to_string()))?;
        let known = ledgers
            .into_iter()
            .map(|key| {
                // A name may hold what no file's name may.
                let name = hex::encode(openssl::sha::sha256(key.name().as_str().as_bytes()));
                let file = folder.join(format!("{name}.checkpoint"));
                let seen = Mutex::new(read(&file, &key)?);
                Ok(Known { key, file, seen })
            })
            .collect::<Result<_, MemoryError>>()?;
        Ok(Self {
            folder: folder.to_owned(),
            known,
            key,
            _alone: alone,
        })
    }

    /// The witness's own key.
    pub(crate) fn key(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// Judge a request at a time (unix seconds), remember, sign.
    ///
    /// # Errors
    /// [`NotSeen`].
    pub(crate) fn see(&self, request: &AddCheckpoint, now: u64) -> Result<NoteSignature, NotSeen> {
        let origin = request.checkpoint.text().split('\n').next().unwrap_or_default();
        let known = self.known.iter().find(|known| known.key.name().as_str() == origin);
        let known = known.ok_or(WitnessError::Unknown)?;
        // One at a time: what is signed is stored in the place of what it continues.
        let mut seen = known.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let signed = request.judge(&known.key, &seen)?;
        reach(Point::CosignJudged);
        self.keep(&known.file, &signed)
            .map_err(|e| NotSeen::Own(format!("{}: {e}", known.file.display())))?;
        reach(Point::CosignKept);
        *seen = *signed.head();
        let signature = cosign(&self.key, signed.note().text(), now).map_err(|e| NotSeen::Own(e.to_string()))?;
        reach(Point::CosignSigned);
        Ok(signature)
    }

    fn keep(&self, file: &Path, signed: &SignedCheckpoint) -> io::Result<()> {
        let mut next = tempfile::NamedTempFile::new_in(&self.folder)?;
        next.write_all(signed.note().to_string().as_bytes())?;
        next.as_file().sync_all()?;
        next.persist(file).map_err(|e| e.error)?;
        File::open(&self.folder)?.sync_all()
    }
}

/// What was seen last; of a ledger that is new here, nothing.
fn read(file: &Path, key: &VerifierKey) -> Result<Head, MemoryError> {
    let shown = file.display().to_string();
    let mut bytes = Vec::new();
    match File::open(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Head::empty()),
        Err(e) => return Err(MemoryError::Io(shown, e)),
        Ok(file) => {
            let read = file.take(MAX_NOTE_BYTES as u64 + 1).read_to_end(&mut bytes);
            read.map_err(|e| MemoryError::Io(shown.clone(), e))?;
        }
    }
    match SignedCheckpoint::parse(&bytes, key) {
        Ok(signed) => Ok(*signed.head()),
        Err(error) => Err(MemoryError::Spoilt(shown, error.to_string())),
    }
}
