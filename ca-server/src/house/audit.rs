//! The audit file: refusals, one JSON object per line.
//!
//! What was issued is audited in the database, inside the transaction of the order.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
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
    /// Where the last of them ends.
    end: Option<End>,
    /// What was taken to be said, and is not yet.
    said: Option<(u64, [u8; 32], Option<End>)>,
}

/// A place in a file, which may have been moved away since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    device: u64,
    inode: u64,
    at: u64,
}

impl End {
    fn of(file: &std::fs::File) -> io::Result<Self> {
        let data = file.metadata()?;
        Ok(Self {
            device: data.dev(),
            inode: data.ino(),
            at: data.len(),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_suffix('\n')?.split(' ').map(|number| number.parse().ok());
        let (device, inode, at) = (numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(Self { device, inode, at })
    }
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
        let mut file = self.open()?;
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(&line) {
            // Half a record would swallow the next one.
            let _ = file.set_len(before);
            return Err(error);
        }
        unsealed.lines += 1;
        unsealed.digest.update(&line);
        unsealed.end = End::of(&file).ok();
        Ok(())
    }

    /// Take over what a server of before appended and did not say in the ledger, because it was killed: once, before anything
    /// is appended. How many lines. A last line that was cut off is ended here.
    ///
    /// What stands beside the file (`.sealed`) says how far it was said; where that is of a file that was moved away, or is not
    /// there, all of this one is taken: it may be said twice, and nothing is passed over.
    ///
    /// # Errors
    /// What the system says.
    pub fn adopt(&self) -> io::Result<u64> {
        let mut unsealed = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = match std::fs::File::open(&self.path) {
            Ok(file) if file.metadata()?.is_file() => file,
            Ok(_) => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let end = End::of(&file)?;
        let told = std::fs::read_to_string(self.sealed())
            .ok()
            .and_then(|text| End::parse(&text));
        let from = told
            .filter(|told| (told.device, told.inode) == (end.device, end.inode) && told.at <= end.at)
            .map_or(0, |told| told.at);
        if from == end.at {
            return Ok(0);
        }
        file.seek(SeekFrom::Start(from))?;
        let mut rest = BufReader::new(file.take(end.at - from));
        let mut last = b'\n';
        loop {
            let bytes = rest.fill_buf()?;
            let Some(of) = bytes.last() else { break };
            last = *of;
            unsealed.digest.update(bytes);
            unsealed.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            let length = bytes.len();
            rest.consume(length);
        }
        unsealed.end = Some(end);
        if last != b'\n' {
            let mut file = self.open()?;
            file.write_all(b"\n")?;
            unsealed.lines += 1;
            unsealed.digest.update(b"\n");
            unsealed.end = Some(End::of(&file)?);
        }
        Ok(unsealed.lines)
    }

    fn sealed(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".sealed");
        name.into()
    }

    /// Beside the file: how far it is said in the ledger.
    fn remember(&self, end: End) -> io::Result<()> {
        let (sealed, mut new) = (self.sealed(), self.sealed().into_os_string());
        new.push(".new");
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(Path::new(&new))?;
        file.write_all(format!("{} {} {}\n", end.device, end.inode, end.at).as_bytes())?;
        std::fs::rename(Path::new(&new), sealed)
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
                unsealed.said = Some((std::mem::take(&mut unsealed.lines), digest, unsealed.end.take()));
            }
            unsealed.said
        };
        let Some((lines, digest, end)) = next else {
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
        // What cannot be remembered is said again by the next server: twice is no harm.
        if let Some(Err(error)) = end.map(|end| self.remember(end)) {
            tracing::warn!(%error, "how far the audit file is in the ledger cannot be written beside it");
        }
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

    /// What `file` says in the ledger now.
    fn told(file: &AuditFile) -> Option<String> {
        let mut detail = None;
        let outcome: Result<bool, ()> = file.seal(
            |record| {
                detail = Some(record.detail.clone());
                Ok(())
            },
            attest::UnixTime(2),
        );
        assert_eq!(outcome, Ok(detail.is_some()));
        detail
    }

    fn lines(count: u64, bytes: &[u8]) -> String {
        format!("{count} lines, sha256 {}", hex::encode(openssl::sha::sha256(bytes)))
    }

    #[test]
    fn what_a_killed_server_left_unsaid_is_said_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let first = AuditFile::new(path.clone());
        assert_eq!(first.adopt().unwrap(), 0, "no file yet");
        first.append(&record()).unwrap();
        assert!(told(&first).is_some());
        let said = std::fs::read(&path).unwrap().len();
        first.append(&record()).unwrap();
        first.append(&record()).unwrap();
        drop(first);
        // The last line is cut off in the middle.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 9);
        std::fs::write(&path, &bytes).unwrap();
        let second = AuditFile::new(path.clone());
        assert_eq!(second.adopt().unwrap(), 2);
        second.append(&record()).unwrap();
        let all = std::fs::read(&path).unwrap();
        assert_eq!(all.split(|byte| *byte == b'\n').count(), 5, "no line runs into another");
        assert_eq!(told(&second), Some(lines(3, &all[said..])));
        // Nothing is left, for it or for the next.
        assert_eq!(told(&second), None);
        let third = AuditFile::new(path);
        assert_eq!((third.adopt().unwrap(), told(&third)), (0, None));
    }

    #[test]
    fn what_is_not_known_to_be_said_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let beside = directory.path().join("audit.jsonl.sealed");
        let first = AuditFile::new(path.clone());
        first.append(&record()).unwrap();
        assert!(told(&first).is_some());
        let next = |why: &str| {
            let next = AuditFile::new(path.clone());
            assert_eq!(next.adopt().unwrap(), 1, "{why}");
            assert_eq!(told(&next), Some(lines(1, &std::fs::read(&path).unwrap())), "{why}");
        };
        for (why, text) in [
            ("not there", None),
            ("nonsense", Some("1 2".to_owned())),
            (
                "beyond the end",
                std::fs::read_to_string(&beside)
                    .ok()
                    .map(|text| text.replace('\n', "9\n")),
            ),
        ] {
            let _ = std::fs::remove_file(&beside);
            if let Some(text) = text {
                std::fs::write(&beside, text).unwrap();
            }
            next(why);
        }
        // Moved away, and another one begun.
        std::fs::rename(&path, directory.path().join("old")).unwrap();
        std::fs::write(&path, "one\n").unwrap();
        next("another file");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error() {
        // /dev/full takes the open and refuses the write, as a full disk does.
        assert!(AuditFile::new("/dev/full".into()).append(&record()).is_err());
        let directory = tempfile::tempdir().unwrap();
        assert!(AuditFile::new(directory.path().to_owned()).append(&record()).is_err());
    }
}
