//! Bringing the tables up to date.

use std::collections::BTreeSet;

use diesel::RunQueryDsl as _;
use diesel::connection::SimpleConnection as _;
use diesel::migration::{Migration, MigrationSource};
use diesel::{PgConnection, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::StoreError;
use crate::link::{Link, on};
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

/// The versions that were run here; none on an empty database, which stays as it is.
pub(crate) fn applied(link: &mut Link) -> Result<Vec<String>, StoreError> {
    let there = match link {
        Link::Sqlite(_) => "SELECT count(*) AS value FROM sqlite_schema WHERE name = '__diesel_schema_migrations'",
        Link::Postgres(_) => {
            "SELECT count(*) AS value FROM pg_class WHERE relname = '__diesel_schema_migrations' \
             AND relnamespace = current_schema()::regnamespace"
        }
    };
    let there: Count = on!(link, c => diesel::sql_query(there).get_result(c)).map_err(unavailable)?;
    if there.value == 0 {
        return Ok(Vec::new());
    }
    // Not diesel's own way, which makes its table where there is none: a reader may not.
    let versions = "SELECT version AS value FROM __diesel_schema_migrations ORDER BY version";
    let versions: Vec<Version> = on!(link, c => diesel::sql_query(versions).load(c)).map_err(unavailable)?;
    Ok(versions.into_iter().map(|row| row.value).collect())
}

/// Refuse tables that are not exactly those of this Holdfast.
pub(crate) fn current(link: &mut Link) -> Result<(), StoreError> {
    let known = match link {
        Link::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(SQLITE)?,
        Link::Postgres(_) => versions::<diesel::pg::Pg>(POSTGRES)?,
    };
    let applied: BTreeSet<String> = applied(link)?.into_iter().collect();
    if applied == known {
        return Ok(());
    }
    Err(StoreError::Unusable(if applied.is_subset(&known) {
        "the tables are of an older Holdfast: start the server once, which brings them up to date".to_owned()
    } else {
        "the tables were made by a newer Holdfast".to_owned()
    }))
}

/// Run exactly these, in their order; each must be known here.
pub(crate) fn run_only(link: &mut Link, wanted: &[String]) -> Result<(), StoreError> {
    match link {
        Link::Sqlite(c) => only::<SqliteConnection, diesel::sqlite::Sqlite>(c, SQLITE, wanted),
        Link::Postgres(c) => only::<PgConnection, diesel::pg::Pg>(c, POSTGRES, wanted),
    }
}

/// Run what is missing, inside of a transaction that is open.
pub(crate) fn run_rest(link: &mut Link) -> Result<(), StoreError> {
    let all: Vec<String> = match link {
        Link::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(SQLITE)?,
        Link::Postgres(_) => versions::<diesel::pg::Pg>(POSTGRES)?,
    }
    .into_iter()
    .collect();
    run_only(link, &all)
}

#[derive(diesel::QueryableByName)]
struct Version {
    #[diesel(sql_type = diesel::sql_types::Text)]
    value: String,
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    value: i64,
}

fn versions<DB: diesel::backend::Backend>(source: EmbeddedMigrations) -> Result<BTreeSet<String>, StoreError>
where
    EmbeddedMigrations: MigrationSource<DB>,
{
    let known = MigrationSource::<DB>::migrations(&source).map_err(unusable)?;
    Ok(known.iter().map(|m| m.name().version().to_string()).collect())
}

fn only<C, DB>(connection: &mut C, source: EmbeddedMigrations, wanted: &[String]) -> Result<(), StoreError>
where
    C: MigrationHarness<DB>,
    DB: diesel::backend::Backend,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let known = MigrationSource::<DB>::migrations(&source).map_err(unusable)?;
    let applied: BTreeSet<String> = connection
        .applied_migrations()
        .map_err(unusable)?
        .iter()
        .map(ToString::to_string)
        .collect();
    for version in wanted {
        let one = known.iter().find(|m| m.name().version().to_string() == *version);
        let one = one.ok_or_else(|| StoreError::Unusable(format!("migration {version} is of a newer Holdfast")))?;
        if !applied.contains(version) {
            connection.run_migration(one.as_ref()).map_err(unusable)?;
        }
    }
    Ok(())
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
    // One by one, each in a transaction of its own: whoever dies between two goes on with the next.
    for pending in connection.pending_migrations(source).map_err(unusable)? {
        failpoint::reach(failpoint::Point::StartMigrate);
        connection.run_migration(&pending).map_err(unusable)?;
    }
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
