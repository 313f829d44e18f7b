//! What clients sent and heard, a JSON object per line, for the checker.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::rig::Rig;

/// The journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    received: AtomicUsize,
    lost: AtomicUsize,
}

/// Now, seconds since 1970.
///
/// # Panics
/// Before that.
#[must_use]
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    since.as_secs_f64()
}

impl Journal {
    /// A new one in the folder of this CA.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn of(rig: &Rig) -> Self {
        let path = rig.path("journal.jsonl");
        Self {
            file: Mutex::new(File::create(&path).expect("a journal")),
            path,
            received: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Write one line.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn note(&self, line: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{line}\n").as_bytes()).expect("a journal");
    }

    /// How many certificates were received so far.
    #[must_use]
    pub fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }

    /// How many requests had no answer so far.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }

    /// A certificate was received.
    pub(super) fn one_received(&self) {
        self.received.fetch_add(1, Ordering::SeqCst);
    }

    /// A request had no answer.
    pub(super) fn one_lost(&self) {
        self.lost.fetch_add(1, Ordering::SeqCst);
    }
}
