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
    writer: Mutex<()>,
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
            writer: Mutex::new(()),
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
        let _one_at_a_time = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.open()?.write_all(&line)
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
    fn a_file_that_cannot_be_written_is_an_error() {
        // /dev/full takes the open and refuses the write, as a full disk does.
        assert!(AuditFile::new("/dev/full".into()).append(&record()).is_err());
        let directory = tempfile::tempdir().unwrap();
        assert!(AuditFile::new(directory.path().to_owned()).append(&record()).is_err());
    }
}
