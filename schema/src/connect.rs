//! Which engine, where, and under which conditions it may hold the records of a CA.

use std::fs::{File, TryLockError};
use std::sync::Arc;

use crate::link::Link;
use crate::vault::anchors::epoch_of;
use crate::{StoreError, StoreOptions, crl, migrations, postgres, sqlite};

/// Where the records are.
#[derive(Clone)]
pub(crate) enum Place {
    /// A file.
    Sqlite(Arc<sqlite::Place>),
    /// A server.
    Postgres(Arc<postgres::Place>),
}

impl Place {
    /// Understand a URL.
    pub(crate) fn parse(url: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            sqlite::Place::parse(path).map(Arc::new).map(Self::Sqlite)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            postgres::Place::parse(url, options.connect_timeout)
                .map(Arc::new)
                .map(Self::Postgres)
        } else {
            Err(StoreError::Unusable(
                "the storage URL starts with neither sqlite:// nor postgres://".to_owned(),
            ))
        }
    }

    /// What must hold before the first connection: for SQLite one process, a local file system, a private file.
    pub(crate) fn claim(&self) -> Result<Option<File>, StoreError> {
        match self {
            Self::Sqlite(place) => place.claim().map(Some),
            Self::Postgres(_) => Ok(None),
        }
    }

    /// Whether there is one, as far as that can be said before connecting.
    pub(crate) fn is_there(&self) -> bool {
        match self {
            Self::Sqlite(place) => place.is_there(),
            Self::Postgres(_) => true,
        }
    }

    /// Connect, check the engine, bring the tables up to date.
    pub(crate) fn prepare(&self) -> Result<Link, StoreError> {
        let mut link = match self {
            Self::Sqlite(place) => place.connect(sqlite::Mode::Write)?,
            Self::Postgres(place) => place.connect()?,
        };
        if let Link::Sqlite(c) = &mut link {
            sqlite::quick_check(c)?;
        }
        migrations::run(&mut link)?;
        let (epoch, moved) =
            epoch_of(&mut link).map_err(|fault| StoreError::Unavailable(self.redact(&fault.text())))?;
        if moved {
            return Err(StoreError::Unusable(format!(
                "the record was moved to another database (epoch {epoch}); to go on with this one all the same: ca-cli db accept"
            )));
        }
        crl::complete_entries(&mut link).map_err(|fault| StoreError::Unavailable(self.redact(&fault.text())))?;
        Ok(link)
    }

    /// A connection for the writer.
    pub(crate) fn write_link(&self) -> Result<Link, StoreError> {
        match self {
            Self::Sqlite(place) => place.connect(sqlite::Mode::Write),
            Self::Postgres(place) => place.connect(),
        }
    }

    /// A connection for a reader.
    pub(crate) fn read_link(&self) -> Result<Link, StoreError> {
        match self {
            Self::Sqlite(place) => place.connect(sqlite::Mode::Read),
            Self::Postgres(place) => place.connect(),
        }
    }

    /// Take secrets out of a text.
    pub(crate) fn redact(&self, text: &str) -> String {
        match self {
            Self::Sqlite(_) => text.to_owned(),
            Self::Postgres(place) => place.redact(text),
        }
    }
}

/// Whose lock it is, when it is not ours.
pub(crate) fn lock_error(error: TryLockError, path: &str) -> StoreError {
    match error {
        TryLockError::WouldBlock => StoreError::Unusable(format!(
            "`{path}` is held by another process: SQLite is for one server; use PostgreSQL for several"
        )),
        TryLockError::Error(e) => StoreError::Unusable(format!("cannot lock `{path}`: {e}")),
    }
}
