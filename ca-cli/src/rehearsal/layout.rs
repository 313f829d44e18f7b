//! Where a rehearsal puts things.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

/// One folder, mode 0700.
pub(crate) struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Make the folder. One that holds a hierarchy is refused, or the beginning of one, by any of the files `begun`:
    /// nothing is ever overwritten.
    pub(crate) fn create(dir: &Path, begun: &[&str]) -> Result<Self, Failure> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| failed(dir, &e))?;
        let dir = dir.canonicalize().map_err(|e| failed(dir, &e))?;
        let layout = Self { dir };
        if begun.iter().any(|below| layout.path(below).exists()) {
            return Err(Failure::new(
                Exit::Conflict,
                format!("{} holds a hierarchy, or the beginning of one", layout.dir.display()),
            )
            .fix("choose another --dir, or remove this one; a hierarchy is never overwritten"));
        }
        for folder in ["secrets", "ca", "trust"] {
            let path = layout.path(folder);
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|e| failed(&path, &e))?;
        }
        Ok(layout)
    }

    /// A path below the folder.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.join(below)
    }

    /// Make a folder of mode 0700 that is not there yet.
    pub(crate) fn folder(&self, below: &str) -> Result<(), Failure> {
        let path = self.path(below);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|e| failed(&path, &e))
    }

    /// Write a new file of mode 0600.
    pub(crate) fn put(&self, below: &str, content: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.path(below);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written = file.and_then(|mut f| f.write_all(content).and_then(|()| f.sync_all()));
        written.map(|()| path.clone()).map_err(|e| failed(&path, &e))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        std::io::ErrorKind::PermissionDenied => Exit::NotAllowed,
        std::io::ErrorKind::AlreadyExists => Exit::Conflict,
        _ => Exit::Failed,
    };
    Failure::new(exit, format!("{}: {error}", path.display()))
}
