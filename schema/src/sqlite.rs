//! SQLite: the embedded engine, for one server.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::StoreError;
use crate::connect::lock_error;
use crate::link::Link;

/// Before it, a checkpoint could lose committed transactions (the WAL-reset bug of 3.7.0 to 3.51.2).
const OLDEST: [u32; 3] = [3, 51, 3];

/// How long a new connection waits for one that is being closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// File systems on which locks or shared memory do not work between machines (statfs `f_type`, and its name).
const NETWORK: [(u64, &str); 11] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
];

/// A database file.
pub(crate) struct Place {
    path: PathBuf,
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The one writer.
    Write,
    /// A reader; the engine refuses its writes.
    Read,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

impl Place {
    pub(crate) fn parse(path: &str) -> Result<Self, StoreError> {
        if path.is_empty() || path.contains(":memory:") || path.contains('\0') {
            return Err(StoreError::Unusable(
                "sqlite:// wants the path of a file, as in sqlite:///var/lib/holdfast/ca.db".to_owned(),
            ));
        }
        // Absolute: diesel reads some relative names as URIs.
        let path = std::path::absolute(path).map_err(|e| StoreError::Unusable(format!("`{path}`: {e}")))?;
        Ok(Self { path })
    }

    /// Make the file ours: local, private, held by this process alone.
    ///
    /// The lock is on a file beside it, because closing any descriptor of the database itself would drop the POSIX
    /// locks SQLite holds on it in this process.
    pub(crate) fn claim(&self) -> Result<File, StoreError> {
        let shown = self.path.display().to_string();
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        refuse_network(directory)?;
        let mut lock_path = self.path.clone().into_os_string();
        lock_path.push(".lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|e| StoreError::Unusable(format!("cannot open `{}`: {e}", lock_path.display())))?;
        lock.try_lock().map_err(|e| lock_error(e, &shown))?;
        // The write-ahead log and the shared-memory file take their mode from this one.
        match OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&self.path)
        {
            Ok(file) => {
                // The new name must survive a power loss as surely as what will be written under it.
                file.sync_all()
                    .and_then(|()| File::open(directory)?.sync_all())
                    .map_err(|e| StoreError::Unusable(format!("cannot sync `{shown}`: {e}")))?;
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let mode = std::fs::metadata(&self.path)
                    .map_err(|e| StoreError::Unusable(format!("`{shown}`: {e}")))?
                    .permissions()
                    .mode();
                if mode & 0o077 != 0 {
                    tracing::warn!(path = %shown, mode = format!("{:o}", mode & 0o777), "the database is readable by others");
                }
            }
            Err(e) => return Err(StoreError::Unusable(format!("cannot create `{shown}`: {e}"))),
        }
        Ok(lock)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.path.is_file()
    }

    pub(crate) fn connect(&self, mode: Mode) -> Result<Link, StoreError> {
        let shown = self.path.display();
        let name = self
            .path
            .to_str()
            .ok_or_else(|| StoreError::Unusable(format!("`{shown}` is not UTF-8")))?;
        let mut c = SqliteConnection::establish(name)
            .map_err(|e| StoreError::Unavailable(format!("cannot open `{shown}`: {e}")))?;
        let begun = Instant::now();
        loop {
            match settle(&mut c, mode) {
                // Whoever closes the file last cleans up, and the engine does not wait for that in all it does here.
                Err(StoreError::Unavailable(why)) if why.contains("locked") && begun.elapsed() < PATIENCE => {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                settled => {
                    settled?;
                    return Ok(Link::Sqlite(c));
                }
            }
        }
    }
}

fn refuse_network(directory: &Path) -> Result<(), StoreError> {
    let shown = directory.display();
    let facts =
        rustix::fs::statfs(directory).map_err(|e| StoreError::Unusable(format!("cannot look at `{shown}`: {e}")))?;
    // Some platforms sign-extend the 32-bit magic.
    let magic = u64::from_ne_bytes(facts.f_type.to_ne_bytes()) & 0xffff_ffff;
    match network(magic) {
        Some(kind) => Err(StoreError::Unusable(format!(
            "`{shown}` is on {kind}: SQLite needs a local file system; use PostgreSQL"
        ))),
        None => Ok(()),
    }
}

fn network(magic: u64) -> Option<&'static str> {
    NETWORK.iter().find(|(m, _)| *m == magic).map(|(_, name)| *name)
}

/// Settings of a connection, and the proof that they hold.
fn settle(c: &mut SqliteConnection, mode: Mode) -> Result<(), StoreError> {
    let version = line(c, "SELECT sqlite_version() AS value")?;
    if !new_enough(&version) {
        return Err(StoreError::Unusable(format!(
            "SQLite {version} may lose committed data: 3.51.3 or newer is needed"
        )));
    }
    c.batch_execute("PRAGMA busy_timeout = 10000;").map_err(unavailable)?;
    if mode == Mode::Write {
        c.batch_execute("PRAGMA journal_mode = WAL;").map_err(unavailable)?;
    }
    c.batch_execute(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; \
         PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA journal_size_limit = 67108864;",
    )
    .map_err(unavailable)?;
    if mode == Mode::Write {
        // A checkpoint writes a page once, however often it changed since the last one.
        c.batch_execute("PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4000;")
            .map_err(unavailable)?;
    } else {
        c.batch_execute("PRAGMA query_only = ON;").map_err(unavailable)?;
    }
    let journal = line(c, "SELECT journal_mode AS value FROM pragma_journal_mode")?;
    let synchronous = number(c, "SELECT synchronous AS value FROM pragma_synchronous")?;
    let keys = number(c, "SELECT foreign_keys AS value FROM pragma_foreign_keys")?;
    if journal != "wal" || synchronous != 2 || keys != 1 {
        return Err(StoreError::Unusable(format!(
            "SQLite does not take its settings: journal_mode {journal}, synchronous {synchronous}, foreign_keys {keys}"
        )));
    }
    Ok(())
}

/// Is the file whole?
pub(crate) fn quick_check(c: &mut SqliteConnection) -> Result<(), StoreError> {
    let found = line(c, "SELECT quick_check AS value FROM pragma_quick_check LIMIT 1").map_err(|e| match e {
        StoreError::Unavailable(text) => StoreError::Unusable(format!("the database is damaged: {text}")),
        other => other,
    })?;
    if found == "ok" {
        Ok(())
    } else {
        Err(StoreError::Unusable(format!("the database is damaged: {found}")))
    }
}

fn new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    let mut next = || parts.next().and_then(Result::ok);
    matches!((next(), next(), next()), (Some(a), Some(b), Some(c)) if [a, b, c] >= OLDEST)
}

fn line(c: &mut SqliteConnection, sql: &str) -> Result<String, StoreError> {
    let found: Line = diesel::sql_query(sql).get_result(c).map_err(unavailable)?;
    Ok(found.value)
}

fn number(c: &mut SqliteConnection, sql: &str) -> Result<i64, StoreError> {
    let found: Number = diesel::sql_query(sql).get_result(c).map_err(unavailable)?;
    Ok(found.value)
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of map_err")]
fn unavailable(error: diesel::result::Error) -> StoreError {
    let text = error.to_string();
    if is_damage(&text) {
        StoreError::Unusable(format!("the database is damaged: {text}"))
    } else {
        StoreError::Unavailable(text)
    }
}

/// Whether SQLite says that the file is no whole database.
pub(crate) fn is_damage(text: &str) -> bool {
    text.contains("malformed") || text.contains("not a database")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_lose_data_are_refused() {
        for old in ["3.51.2", "3.40.1", "3.9.99", "2.99.99", "3.51", "", "3.51.x"] {
            assert!(!new_enough(old), "{old}");
        }
        for new in ["3.51.3", "3.52.0", "3.100.0", "4.0.0"] {
            assert!(new_enough(new), "{new}");
        }
    }

    #[test]
    fn network_file_systems_are_known() {
        assert_eq!(network(0x6969), Some("NFS"));
        assert_eq!(network(0xff53_4d42), Some("CIFS"));
        assert_eq!(network(0xef53), None, "ext4");
        assert!(refuse_network(&std::env::temp_dir()).is_ok());
    }

    #[test]
    fn readers_cannot_write() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::parse(directory.path().join("ca.db").to_str().unwrap()).unwrap();
        let _claim = place.claim().unwrap();
        let mut writer = place.connect(Mode::Write).unwrap();
        writer.run("CREATE TABLE t (a INTEGER)").unwrap();
        let mut reader = place.connect(Mode::Read).unwrap();
        assert!(reader.run("INSERT INTO t VALUES (1)").is_err());
        writer.run("INSERT INTO t VALUES (1)").unwrap();
    }
}
