//! What clients sent and heard, a JSON object per line, for the checker.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// The journal.
pub(crate) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

/// Now, seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

impl Journal {
    pub(crate) fn at(path: PathBuf) -> Self {
        let file = Mutex::new(File::create(&path).unwrap());
        Self { path, file }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Write one line.
    pub(crate) fn note(&self, line: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}
