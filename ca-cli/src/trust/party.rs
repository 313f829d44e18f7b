//! Whom a relying party believes, as a folder or a zip archive of one: `ca/` roots of the CA, `tpm/` roots of TPM
//! manufacturers, `iak/` roots of device manufacturers, `ledger/` keys of ledgers. What lies elsewhere in it is not looked at.

use std::path::Path;

use ledger::VerifierKey;

use super::archive::{self, ArchiveError};
use crate::certificate;
use crate::exit::{Exit, Failure};
use crate::output::clean;

/// Most files of a folder, and most bytes of one.
const MAX_FILES: usize = 1000;
const MAX_BYTES: u64 = 1 << 20;

/// Whom a relying party believes.
#[derive(Debug, Default)]
pub(crate) struct Party {
    /// Roots of the CA, DER.
    pub(crate) ca: Vec<Vec<u8>>,
    /// Roots of TPM manufacturers, DER.
    pub(crate) tpm: Vec<Vec<u8>>,
    /// Roots of device manufacturers, who vouch for IAKs, DER.
    pub(crate) iak: Vec<Vec<u8>>,
    /// Keys of ledgers.
    pub(crate) ledgers: Vec<VerifierKey>,
}

impl Party {
    /// Add what this file, folder or archive says. A file that is no archive holds roots of the CA.
    pub(crate) fn add(&mut self, path: &Path) -> Result<(), Failure> {
        if path.is_dir() {
            return self.folder(path);
        }
        let bytes = crate::exit::read(path)?;
        if !bytes.starts_with(b"PK\x03\x04") {
            return self.file("ca", &path.display().to_string(), &bytes);
        }
        let outcome = archive::zip(&bytes, MAX_FILES, &mut |name, content| {
            let mut bytes = Vec::new();
            let read = std::io::Read::read_to_end(&mut std::io::Read::take(content, MAX_BYTES), &mut bytes);
            read.map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", clean(name))))?;
            match name.split_once('/') {
                Some((folder, file)) if !file.contains('/') => self.file(folder, name, &bytes),
                _ => Ok(()),
            }
        });
        outcome.map_err(|error| match error {
            ArchiveError::Broken(why) => Failure::new(Exit::Usage, format!("{}: {why}", path.display())),
            ArchiveError::Stop(failure) => failure,
        })
    }

    fn folder(&mut self, path: &Path) -> Result<(), Failure> {
        for folder in ["ca", "tpm", "iak", "ledger"] {
            let inside = path.join(folder);
            if !inside.is_dir() {
                continue;
            }
            let files = std::fs::read_dir(&inside).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let files = files.map_err(|e| Failure::new(Exit::Failed, format!("{}: {e}", inside.display())))?;
            let mut files: Vec<_> = files.into_iter().map(|file| file.path()).collect();
            files.sort();
            for file in files.into_iter().take(MAX_FILES) {
                let bytes = crate::exit::read(&file)?;
                self.file(folder, &file.display().to_string(), &bytes)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, folder: &str, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let wrong = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", clean(name)));
        match folder {
            "ca" => self.ca.extend(certificate::split(bytes).map_err(wrong)?),
            "tpm" => self.tpm.extend(certificate::split(bytes).map_err(wrong)?),
            "iak" => self.iak.extend(certificate::split(bytes).map_err(wrong)?),
            "ledger" => {
                let text = str::from_utf8(bytes).map_err(|e| wrong(e.to_string()))?;
                let key = VerifierKey::parse(text.trim_end()).map_err(|e| wrong(e.to_string()))?;
                self.ledgers.push(key);
            }
            _ => {}
        }
        Ok(())
    }
}
