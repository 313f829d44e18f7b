//! One connection to either engine.
//!
//! Not `diesel::MultiConnection`: it would try PostgreSQL first and, when that is down, open a SQLite file named
//! `postgres://…`; and it knows neither multi-row inserts nor RETURNING nor ON CONFLICT. Here the URL alone decides.

use diesel::connection::SimpleConnection as _;
use diesel::result::{DatabaseErrorKind, Error, QueryResult};
use diesel::{PgConnection, SqliteConnection};

/// A connection.
pub(crate) enum Link {
    /// SQLite.
    Sqlite(SqliteConnection),
    /// PostgreSQL.
    Postgres(PgConnection),
}

/// A connection, and the generation it is of: the timeline that a PostgreSQL writes.
pub(crate) type Dated = (i64, Link);

/// The same words of diesel for both engines: `on!(link, c => query.execute(c))`.
macro_rules! on {
    ($link:expr, $c:ident => $body:expr) => {
        match $link {
            $crate::link::Link::Sqlite($c) => $body,
            $crate::link::Link::Postgres($c) => $body,
        }
    };
}

/// Insert rows: one statement per thousand on PostgreSQL (round trips cost), one prepared statement per row on SQLite
/// (round trips do not cost, and diesel would open a transaction of its own for a batch).
macro_rules! insert {
    ($link:expr, $table:path, $rows:expr) => {{
        let rows = $rows;
        match $link {
            $crate::link::Link::Sqlite(c) => {
                for row in rows {
                    diesel::insert_into($table).values(row).execute(c)?;
                }
            }
            $crate::link::Link::Postgres(c) => {
                for part in rows.chunks(1000) {
                    diesel::insert_into($table).values(part).execute(c)?;
                }
            }
        }
    }};
}

pub(crate) use {insert, on};

impl Link {
    /// Run statements without parameters.
    pub(crate) fn run(&mut self, sql: &str) -> QueryResult<()> {
        on!(self, c => c.batch_execute(sql))
    }

    /// Open a transaction that may write.
    pub(crate) fn begin(&mut self) -> QueryResult<()> {
        match self {
            // Takes the write lock now: a deferred transaction can fail half way when it wants to write.
            Self::Sqlite(c) => c.batch_execute("BEGIN IMMEDIATE"),
            Self::Postgres(c) => c.batch_execute("BEGIN"),
        }
    }
}

/// What went wrong with a statement.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No connection can be had.
    Away(String),
    /// The connection is gone.
    Lost(String),
    /// A UNIQUE index said no: its name (PostgreSQL) or its columns (SQLite).
    Unique(String),
    /// Another writer was quicker: look again.
    Raced(String),
    /// The disk failed. Nothing on this file can be believed until it is opened again.
    Disk(String),
    /// Anything else.
    Failed(String),
}

impl Fault {
    /// In words.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Away(t) | Self::Lost(t) | Self::Unique(t) | Self::Raced(t) | Self::Disk(t) | Self::Failed(t) => t,
        }
    }
}

impl From<failpoint::Injected> for Fault {
    fn from(error: failpoint::Injected) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::DatabaseError(kind, information) => {
                let message = information.message().to_owned();
                match kind {
                    DatabaseErrorKind::UniqueViolation => {
                        Self::Unique(information.constraint_name().map_or(message, ToOwned::to_owned))
                    }
                    DatabaseErrorKind::ClosedConnection => Self::Lost(message),
                    DatabaseErrorKind::SerializationFailure => Self::Raced(message),
                    // SQLSTATE 40P01, which diesel does not tell apart.
                    _ if message == "deadlock detected" => Self::Raced(message),
                    // SQLSTATE 57P01 and its kin: the server goes down.
                    _ if message.starts_with("terminating connection")
                        || message.contains("server closed the connection")
                        || message.contains("connection to server")
                        || message.contains("no connection to the server") =>
                    {
                        Self::Lost(message)
                    }
                    _ if message.contains("disk I/O error") => Self::Disk(message),
                    _ => Self::Failed(message),
                }
            }
            Error::BrokenTransactionManager => Self::Lost(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}
