//! The record as a whole: carried away, put back, moved to another engine, checked from end to end. Beside the server,
//! for people.
//!
//! A backup is text: a heading, each table with its rows as PostgreSQL's `COPY` writes them, and at the end a manifest
//! with counts and digests. One that ends early has no manifest and is refused.

pub(crate) mod anchors;
mod back;
mod catalog;
mod dump;
mod load;
mod verify;

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::connect::Place;
use crate::link::{Fault, Link};
use crate::{StoreError, StoreOptions, migrations};

pub(crate) use dump::RowText;

pub use anchors::{Cluster, Known, Mark, Shortfall};
pub use verify::{Finding, Findings};

/// Why a database could not be carried away, put back, or checked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// There is no such database.
    #[error("there is no database at `{0}`")]
    NotFound(String),
    /// A database of Holdfast has other tables.
    #[error("not a database of this Holdfast: {0}")]
    Strange(String),
    /// What was read is not a whole backup.
    #[error("not a whole backup: {0}")]
    Broken(String),
    /// The backup's tables are of a newer Holdfast, or of an older one than can be brought up to date.
    #[error("the backup's tables are not this Holdfast's: {0}")]
    Version(String),
    /// Only an empty database is filled.
    #[error("the database is not empty: table {0} has rows")]
    NotEmpty(String),
    /// It is older than what somebody holds of it.
    #[error("it is older than what was said: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Older(Vec<Shortfall>),
    /// It says what cannot be.
    #[error("it does not hold together: {}", .0.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unsound(Vec<Finding>),
    /// Migrations are not taken back where rows would go with them.
    #[error("rows would be lost: {}", .0.join(", "))]
    WouldLose(Vec<String>),
    /// Others are at work on it.
    #[error("{0} connections of others are open on this database: stop its servers first")]
    InUse(i64),
}

impl From<Fault> for VaultError {
    fn from(fault: Fault) -> Self {
        let text = fault.text();
        // Another try reads the same file.
        let damaged = crate::sqlite::is_damage(&text) || crate::postgres::is_damage(&text);
        Self::Store(if damaged {
            StoreError::Unusable(format!("the database is damaged: {text}"))
        } else {
            StoreError::Unavailable(text)
        })
    }
}

impl From<diesel::result::Error> for VaultError {
    fn from(error: diesel::result::Error) -> Self {
        Fault::from(error).into()
    }
}

/// A table of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSummary {
    /// Its name.
    pub name: String,
    /// How many rows.
    pub rows: u64,
    /// SHA-256 (hex) of its rows as they are written.
    pub sha256: String,
}

/// The last number of a CRL that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrlSummary {
    /// subjectKeyIdentifier of the issuer (hex).
    pub issuer: String,
    /// The number.
    pub number: i64,
}

/// The ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSummary {
    /// How many leaves are in the tree.
    pub size: i64,
    /// Its root (hex).
    pub root: String,
    /// How many leaves are signed.
    pub signed: Option<i64>,
    /// How many leaves are recorded, in the tree or not.
    pub entries: i64,
}

/// What a backup holds: its last line, and what everyone who keeps it should keep apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupManifest {
    /// The migrations that made its tables.
    pub migrations: Vec<String>,
    /// When it was made, unix seconds.
    pub made_at: i64,
    /// Its tables, in the order in which they stand.
    pub tables: Vec<TableSummary>,
    /// The ledger.
    pub ledger: LedgerSummary,
    /// Numbers of CRLs.
    pub crls: Vec<CrlSummary>,
    /// SHA-256 (hex) of everything before the manifest.
    pub sha256: String,
}

impl BackupManifest {
    /// Whether both have the same rows in all tables, whenever and from whatever engine they were made.
    #[must_use]
    pub fn same_rows(&self, other: &Self) -> bool {
        let sorted = |manifest: &Self| {
            let mut tables = manifest.tables.clone();
            tables.sort_by(|a, b| a.name.cmp(&b.name));
            (tables, manifest.migrations.clone())
        };
        sorted(self) == sorted(other)
    }
}

/// How far it is: the table, and how many of its rows are done.
pub type Progress<'a> = &'a mut dyn FnMut(&str, u64);

/// A database, opened beside, or instead of, its servers.
pub struct Vault {
    place: Place,
    link: Link,
    /// Nobody else writes until it is closed, or dropped.
    held: bool,
    /// SQLite, when nobody else may have it.
    _claim: Option<std::fs::File>,
}

impl core::fmt::Debug for Vault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Vault")
    }
}

/// What a database is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be read, while servers are at work on it.
    Read,
    /// To be read and then left for good: nobody may write meanwhile.
    Move,
    /// To be written, while no server is at work on it.
    Write,
    /// To be filled. A SQLite file is made.
    Fill,
    /// For its tables to be changed, on PostgreSQL while servers are at work on it.
    Tables,
}

impl Vault {
    /// Open a database.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], [`VaultError::InUse`], [`VaultError::Store`].
    pub fn open(url: &str, purpose: Purpose) -> Result<Self, VaultError> {
        let place = Place::parse(url, &StoreOptions::default())?;
        if purpose != Purpose::Fill && !place.is_there() {
            return Err(VaultError::NotFound(place.redact(url)));
        }
        let claim = match purpose {
            Purpose::Read => None,
            Purpose::Move | Purpose::Write | Purpose::Fill | Purpose::Tables => place.claim()?,
        };
        let (_, mut link) = match purpose {
            Purpose::Read => place.bare_link(crate::sqlite::Mode::Read)?,
            Purpose::Move | Purpose::Write | Purpose::Fill | Purpose::Tables => {
                place.bare_link(crate::sqlite::Mode::Write)?
            }
        };
        if let Link::Postgres(_) = link {
            link.run("SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0")?;
            if !matches!(purpose, Purpose::Read | Purpose::Tables) {
                let others = catalog::number(
                    &mut link,
                    "SELECT count(*) AS value FROM pg_stat_activity WHERE datname = current_database() \
                     AND application_name = 'holdfast' AND pid <> pg_backend_pid()",
                )?;
                if others > 0 {
                    return Err(VaultError::InUse(others));
                }
            }
        }
        Ok(Self {
            place,
            link,
            held: false,
            _claim: claim,
        })
    }

    /// Write a backup of one moment. `now`: unix seconds.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn backup(
        &mut self,
        out: &mut dyn Write,
        now: i64,
        progress: Progress<'_>,
    ) -> Result<BackupManifest, VaultError> {
        self.shown(|link| dump::dump(link, out, now, progress))
    }

    /// Fill this database, which must be empty, from a backup: all of it, or nothing. It is checked from end to end before
    /// it counts, and must not be older than what is `known` of it, unless `despite` says why that is right; then that is on
    /// record. Tables of an older Holdfast are brought up to date. `now`: unix seconds.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn restore(
        &mut self,
        input: &mut dyn BufRead,
        known: &Known,
        despite: Option<&Despite<'_>>,
        now: i64,
        progress: Progress<'_>,
    ) -> Result<BackupManifest, VaultError> {
        load::load(&mut self.link, input, known, despite, now, progress)
    }

    /// Check a database from end to end, as of one moment.
    ///
    /// # Errors
    /// [`VaultError`]; what is wrong with the content is among the findings.
    pub fn verify(&mut self, known: &Known, progress: Progress<'_>) -> Result<Findings, VaultError> {
        self.shown(|link| {
            migrations::current(link)?;
            let mut findings = verify::verify(link, progress)?;
            for shortfall in anchors::judge(link, known)? {
                findings.wrong("anchor", shortfall.to_string());
            }
            Ok(findings)
        })
    }

    /// Go on from the state this database is in, although it is older than what is `known` of it: a new epoch begins, and
    /// numbers of CRLs go on after those that are published; both are on record with the reason. The tables are brought up
    /// to date. `now`: unix seconds.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn accept(&mut self, known: &Known, despite: &Despite<'_>, now: i64) -> Result<Accepted, VaultError> {
        migrations::run(&mut self.link)?;
        load::alone(&mut self.link, |link| {
            let shortfalls = anchors::judge(link, known)?;
            let epoch = anchors::accept(link, known, &shortfalls, despite, now)?;
            Ok(Accepted { epoch, shortfalls })
        })
    }

    /// From now on nobody else writes here, until [`Vault::close`], or until this is dropped.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn hold(&mut self) -> Result<(), VaultError> {
        migrations::run(&mut self.link)?;
        self.link.begin()?;
        if let Link::Postgres(_) = self.link {
            let names: Vec<String> = catalog::Catalog::of(&mut self.link)?
                .tables
                .iter()
                .map(|table| format!("\"{}\"", table.name))
                .collect();
            self.link
                .run(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", names.join(", ")))?;
        }
        self.held = true;
        Ok(())
    }

    /// No server opens this database any more: the record was moved elsewhere. After [`Vault::hold`], in one transaction
    /// with it. `now`: unix seconds.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn close(mut self, despite: &Despite<'_>, now: i64) -> Result<(), VaultError> {
        if !self.held {
            self.hold()?;
        }
        let detail = "no server opens it any more";
        anchors::begin(&mut self.link, 0, true, "database.moved", despite, detail, now)?;
        Ok(self.link.run("COMMIT")?)
    }

    /// Bring the tables up to date; numbers of the migrations that were run. On PostgreSQL servers of the version before may
    /// be at work.
    ///
    /// # Errors
    /// [`VaultError::Store`], also when servers are at work that are too old for a migration, or somebody holds a table.
    pub fn migrate(&mut self) -> Result<Vec<i64>, VaultError> {
        let done = migrations::run(&mut self.link)?;
        Ok(done.iter().map(|version| migrations::number(version)).collect())
    }

    /// Take migrations back until `to` is the newest; numbers of those that were. Nothing on record is thrown away, and it goes
    /// on record who did it, and why. `now`: unix seconds.
    ///
    /// # Errors
    /// [`VaultError::WouldLose`]; [`VaultError::Store`], also when servers are at work that need one of them, or one has no way
    /// back.
    pub fn roll_back(&mut self, to: i64, despite: &Despite<'_>, now: i64) -> Result<Vec<i64>, VaultError> {
        back::roll_back(&mut self.link, to, despite, now)
    }

    /// How far the record is.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn mark(&mut self) -> Result<Mark, VaultError> {
        Ok(anchors::mark(&mut self.link)?)
    }

    /// One moment of the database.
    fn shown<T>(&mut self, read: impl FnOnce(&mut Link) -> Result<T, VaultError>) -> Result<T, VaultError> {
        if self.held {
            return read(&mut self.link);
        }
        let begin = match &self.link {
            Link::Sqlite(_) => "BEGIN",
            Link::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        self.link.run(begin)?;
        let outcome = read(&mut self.link);
        let ended = self.link.run("ROLLBACK");
        let outcome = outcome?;
        ended?;
        Ok(outcome)
    }

    /// Take secrets out of a text.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.place.redact(text)
    }
}

/// What came of going on all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The number of the new epoch.
    pub epoch: i64,
    /// In what the record was behind.
    pub shortfalls: Vec<Shortfall>,
}

/// Why a state that is older than what was said is taken all the same, and by whose word.
#[derive(Clone, Copy, Debug)]
pub struct Despite<'a> {
    /// Why.
    pub reason: &'a str,
    /// Whose word.
    pub actor: &'a str,
}

fn io(error: std::io::Error) -> VaultError {
    VaultError::Io(error)
}
