//! Which engine, where, and under which conditions it may hold the records of a CA.

use std::fs::{File, TryLockError};
use std::sync::Arc;

use crate::link::{Dated, Fault, Link};
use crate::vault::Mark;
use crate::vault::anchors::{epoch_of, mark};
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
            postgres::Place::parse(url, options).map(Arc::new).map(Self::Postgres)
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
            Self::Postgres(place) => place.connect()?.1,
        };
        if let Link::Sqlite(c) = &mut link {
            sqlite::quick_check(c)?;
        }
        // Before the tables are looked at: nobody takes away what this version needs from now on.
        migrations::tell(&mut link)?;
        migrations::run(&mut link)?;
        let (epoch, moved) =
            epoch_of(&mut link).map_err(|fault| StoreError::Unavailable(self.redact(&fault.text())))?;
        if moved {
            return Err(StoreError::Unusable(moved_away(epoch)));
        }
        crl::complete_entries(&mut link).map_err(|fault| StoreError::Unavailable(self.redact(&fault.text())))?;
        Ok(link)
    }

    /// A connection for the writer of a server.
    pub(crate) fn write_link(&self) -> Result<Dated, StoreError> {
        let link = self.bare_link(sqlite::Mode::Write).and_then(|link| self.beside(link));
        if let (Self::Postgres(place), Err(error)) = (self, &link)
            && postgres::is_crowd(&error.to_string())
        {
            place.guard.crowd();
        }
        link
    }

    /// Whether there were too few connections for one to write on, a moment ago.
    pub(crate) fn crowded(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(place) => place.guard.crowded(),
        }
    }

    /// A connection for a reader of a server.
    pub(crate) fn read_link(&self) -> Result<Dated, StoreError> {
        self.beside(self.bare_link(sqlite::Mode::Read)?)
    }

    /// A connection whose tables nobody looked at.
    pub(crate) fn bare_link(&self, mode: sqlite::Mode) -> Result<Dated, StoreError> {
        match self {
            Self::Sqlite(place) => Ok((0, place.connect(mode)?)),
            Self::Postgres(place) => place.connect(),
        }
    }

    /// Servers of other versions may be at work on the same PostgreSQL; on SQLite there is one.
    fn beside(&self, (since, mut link): Dated) -> Result<Dated, StoreError> {
        if let Self::Postgres(_) = self {
            migrations::beside(&mut link).map_err(|error| match error {
                StoreError::Unavailable(why) => StoreError::Unavailable(self.redact(&why)),
                other => other,
            })?;
        }
        Ok((since, link))
    }

    /// Connections of an earlier generation are not used any more.
    pub(crate) fn generation(&self) -> i64 {
        match self {
            Self::Sqlite(_) => 0,
            Self::Postgres(place) => place.guard.generation(),
        }
    }

    /// Why nothing may be written now.
    pub(crate) fn closed(&self) -> Option<String> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(place) => place.guard.lost().map(str::to_owned).or_else(|| place.guard.unfit()),
        }
    }

    /// Why nothing of the record is believed until a restart.
    pub(crate) fn lost(&self) -> Option<&str> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(place) => place.guard.lost(),
        }
    }

    /// Remember how far the record was seen.
    pub(crate) fn saw(&self, mark: Mark) {
        if let Self::Postgres(place) = self {
            place.guard.saw(mark);
        }
    }

    /// Look whether the record and its database are still what they were, on a connection that is in use.
    pub(crate) fn watch(&self, link: &mut Link) -> Result<(), Fault> {
        let (Self::Postgres(place), Link::Postgres(c)) = (self, &mut *link) else {
            return Ok(());
        };
        match place.still_fit(c) {
            Ok(()) => place.guard.set_unfit(None),
            Err(StoreError::Unusable(why)) => place.guard.set_unfit(Some(why)),
            Err(error) => return Err(Fault::Lost(error.to_string())),
        }
        match place.unchanged(link) {
            Ok(()) => {}
            // It is in the guard by now.
            Err(StoreError::Unusable(_)) => return Ok(()),
            Err(error) => return Err(Fault::Lost(error.to_string())),
        }
        place.guard.saw(mark(link)?);
        Ok(())
    }

    /// Take secrets out of a text.
    pub(crate) fn redact(&self, text: &str) -> String {
        match self {
            Self::Sqlite(_) => text.to_owned(),
            Self::Postgres(place) => place.redact(text),
        }
    }
}

/// What is said of a record that is elsewhere now.
pub(crate) fn moved_away(epoch: i64) -> String {
    format!(
        "the record was moved to another database (epoch {epoch}); to go on with this one all the same: ca-cli db accept"
    )
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
