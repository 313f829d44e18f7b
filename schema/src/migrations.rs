//! Bringing the tables up to date.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection as _;
use diesel::migration::{Migration, MigrationSource};
use diesel::{PgConnection, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::StoreError;
use crate::link::Link;
use crate::postgres::SETTINGS;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// "holdfast" in ASCII: the advisory lock under which one of several starting servers migrates.
const LOCK: i64 = 0x686f_6c64_6661_7374;

/// Run what is missing; refuse tables made by a newer Holdfast.
pub(crate) fn run(link: &mut Link) -> Result<(), StoreError> {
    match link {
        Link::Sqlite(c) => step::<SqliteConnection, diesel::sqlite::Sqlite>(c, SQLITE),
        Link::Postgres(c) => {
            // A migration, or waiting for another server's, may take longer than a request ever should.
            let lock = format!("SET statement_timeout = 0; SET lock_timeout = 0; SELECT pg_advisory_lock({LOCK})");
            c.batch_execute(&lock).map_err(unavailable)?;
            let outcome = step::<PgConnection, diesel::pg::Pg>(c, POSTGRES);
            let unlock = format!("SELECT pg_advisory_unlock({LOCK}); {SETTINGS}");
            c.batch_execute(&unlock).map_err(unavailable)?;
            outcome
        }
    }
}

fn step<C, DB>(connection: &mut C, source: EmbeddedMigrations) -> Result<(), StoreError>
where
    C: MigrationHarness<DB>,
    DB: diesel::backend::Backend,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let known = MigrationSource::<DB>::migrations(&source).map_err(unusable)?;
    let known: BTreeSet<String> = known.iter().map(|m| m.name().version().to_string()).collect();
    let applied = connection.applied_migrations().map_err(unusable)?;
    if let Some(newer) = applied.iter().find(|v| !known.contains(&v.to_string())) {
        return Err(StoreError::Unusable(format!(
            "the tables were made by a newer Holdfast (migration {newer})"
        )));
    }
    connection.run_pending_migrations(source).map_err(unusable)?;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of map_err")]
fn unusable(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError::Unusable(format!("migration: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of map_err")]
fn unavailable(error: diesel::result::Error) -> StoreError {
    StoreError::Unavailable(format!("migration: {error}"))
}
