//! The audit file: refusals, one JSON object per line.
//!
//! What was issued is audited in the database, inside the transaction of the order.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use issuance::AuditRecord;
use serde::Serialize;

/// The file. Opened for every record, so that it may be moved away at any time.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    writer: Mutex<Unsealed>,
}

/// Lines that this server appended since it last said so in the ledger.
#[derive(Default)]
struct Unsealed {
    lines: u64,
    digest: openssl::sha::Sha256,
    /// What was taken to be said, and is not yet.
    said: Option<(u64, [u8; 32])>,
}

impl core::fmt::Debug for Unsealed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Unsealed")
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Line<'a> {
    at: i64,
    action: &'a str,
    actor: &'a str,
    subject: &'a str,
    reason: &'a str,
    detail: &'a str,
}

impl AuditFile {
    /// At `path`; made with mode 0600 when it is not there.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            writer: Mutex::default(),
        }
    }

    /// Can it be written? Writes nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn check(&self) -> io::Result<()> {
        self.open().map(drop)
    }

    /// Append one record. On return the system has it; when it cannot be written, whoever asked must be refused.
    ///
    /// # Errors
    /// What the system says.
    pub fn append(&self, record: &AuditRecord) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line {
            at: record.at.0,
            action: &record.action,
            actor: &record.actor,
            subject: &record.subject,
            reason: &record.reason,
            detail: &record.detail,
        })?;
        line.push(b'\n');
        let mut unsealed = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.open()?.write_all(&line)?;
        unsealed.lines += 1;
        unsealed.digest.update(&line);
        Ok(())
    }

    /// Say in the ledger how many lines were appended since it was said last, and their SHA-256: what `say` fails to write
    /// is tried again. Whether anything was said.
    ///
    /// # Errors
    /// Those of `say`.
    pub fn seal<E>(&self, say: impl FnOnce(&AuditRecord) -> Result<(), E>, at: attest::UnixTime) -> Result<bool, E> {
        let lock = || self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let next = {
            let mut unsealed = lock();
            if unsealed.said.is_none() && unsealed.lines > 0 {
                let digest = std::mem::take(&mut unsealed.digest).finish();
                unsealed.said = Some((std::mem::take(&mut unsealed.lines), digest));
            }
            unsealed.said
        };
        let Some((lines, digest)) = next else {
            return Ok(false);
        };
        // Not under the lock: a database that hangs must not keep a refusal from being written.
        say(&AuditRecord {
            at,
            action: "refusals.recorded".to_owned(),
            actor: "server".to_owned(),
            subject: self.path.display().to_string(),
            reason: "REFUSED".to_owned(),
            detail: format!("{lines} lines, sha256 {}", hex::encode(digest)),
        })?;
        lock().said = None;
        Ok(true)
    }

    fn open(&self) -> io::Result<std::fs::File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn record() -> AuditRecord {
        AuditRecord {
            at: attest::UnixTime(1),
            action: "enrollment.refused".to_owned(),
            actor: "10.0.0.1".to_owned(),
            subject: "inc_00".to_owned(),
            reason: "EK_CHAIN".to_owned(),
            detail: "a\nb\u{1b}".to_owned(),
        }
    }

    #[test]
    fn one_record_is_one_line_and_the_file_may_be_moved_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let file = AuditFile::new(path.clone());
        file.append(&record()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::rename(&path, directory.path().join("old")).unwrap();
        file.append(&record()).unwrap();
        file.append(&record()).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"at\":1,\"action\":\"enrollment.refused\",\"actor\":\"10.0.0.1\",\"subject\":\"inc_00\",\
             \"reason\":\"EK_CHAIN\",\"detail\":\"a\\nb\\u001b\"}\n"
                .repeat(2)
        );
    }

    #[test]
    fn what_was_appended_is_said_once_and_again_where_that_failed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let file = AuditFile::new(path.clone());
        let said = |fails: bool| {
            let mut details = Vec::new();
            let outcome = file.seal(
                |record| {
                    details.push(record.detail.clone());
                    if fails { Err("away") } else { Ok(()) }
                },
                attest::UnixTime(2),
            );
            (outcome, details.pop())
        };
        assert_eq!(said(false), (Ok(false), None));
        file.append(&record()).unwrap();
        file.append(&record()).unwrap();
        let sha256 = hex::encode(openssl::sha::sha256(&std::fs::read(&path).unwrap()));
        let text = Some(format!("2 lines, sha256 {sha256}"));
        assert_eq!(said(true), (Err("away"), text.clone()));
        file.append(&record()).unwrap();
        assert_eq!(said(false), (Ok(true), text));
        let (outcome, rest) = said(false);
        assert_eq!(outcome, Ok(true));
        assert!(rest.unwrap().starts_with("1 lines"));
        assert_eq!(said(false), (Ok(false), None));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error() {
        // /dev/full takes the open and refuses the write, as a full disk does.
        assert!(AuditFile::new("/dev/full".into()).append(&record()).is_err());
        let directory = tempfile::tempdir().unwrap();
        assert!(AuditFile::new(directory.path().to_owned()).append(&record()).is_err());
    }
}
