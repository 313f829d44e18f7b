//! Bringing the tables up to date, and back, while servers that know less, or more, are at work on them (ADR 0027).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use diesel::RunQueryDsl as _;
use diesel::connection::{AnsiTransactionManager, TransactionManager as _};
use diesel::migration::{Migration, MigrationSource};
use diesel::{PgConnection, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, FileBasedMigrations, MigrationHarness, embed_migrations};

use crate::StoreError;
use crate::link::{Link, on};
use crate::postgres::SETTINGS;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// "holdfast" in ASCII: the advisory lock under which one of several starting servers migrates.
const LOCK: i64 = 0x686f_6c64_6661_7374;

/// "hold": below it, by the newest migration it knows, each session of a server has a lock, shared among its kind.
const SESSIONS: i32 = 0x686f_6c64;

/// How long a migration waits for tables that somebody reads, all in all.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long clients have them to themselves between two tries, each of which holds clients up for a second at most.
const PAUSE: Duration = Duration::from_secs(2);

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// Run what is missing; refuse tables on which this version may not work.
pub(crate) fn run(link: &mut Link) -> Result<Vec<String>, StoreError> {
    alone(link, |link| {
        let known = known(link)?;
        // Diesel's own table is made by this, where there is none.
        on!(link, c => c.applied_migrations()).map_err(unusable)?;
        let applied: BTreeSet<String> = applied(link)?.into_iter().collect();
        newer(link, &known, &applied)?;
        let missing: Vec<String> = known.difference(&applied).cloned().collect();
        // One by one, each in a transaction of its own: whoever dies between two goes on with the next.
        for version in &missing {
            failpoint::reach(failpoint::Point::StartMigrate);
            patiently(link, |link| {
                apply(link, version, Way::Up)?;
                let oldest = oldest(link, version)?.unwrap_or_else(|| number(version));
                nobody(link, known.iter().map(|v| number(v)).filter(|v| *v < oldest)).map_err(|who| {
                    StoreError::Unavailable(format!(
                        "migration {} is not for servers that know less than migration {oldest}, and {who}: stop those first",
                        number(version)
                    ))
                })
            })?;
            if missing.len() < known.len() {
                tracing::info!(migration = number(version), "the tables were brought up to date");
            }
        }
        Ok(missing)
    })
}

/// Take the newest migrations back until `to` is the newest one. `keeps` is asked in the transaction of each, before it is
/// done, with what does it on trial; and `after` follows it there.
pub(crate) fn back<E: From<StoreError> + core::fmt::Display>(
    link: &mut Link,
    to: i64,
    keeps: impl Fn(&mut Link, &mut dyn FnMut(&mut Link) -> Result<(), StoreError>) -> Result<(), E>,
    mut after: impl FnMut(&mut Link, i64) -> Result<(), E>,
) -> Result<Vec<String>, E> {
    alone(link, |link| {
        let known = known(link)?;
        let applied: BTreeSet<String> = applied(link)?.into_iter().collect();
        if let Some(newer) = applied.difference(&known).next() {
            return Err(StoreError::Unusable(format!(
                "migration {} is of a newer Holdfast: take it back with the ca-cli of that version",
                number(newer)
            ))
            .into());
        }
        let mut done = Vec::new();
        for version in applied.iter().rev().filter(|version| number(version) > to) {
            failpoint::reach(failpoint::Point::StartMigrate);
            patiently(link, |link| {
                let needed = number(version);
                nobody(link, known.iter().map(|v| number(v)).filter(|v| *v >= needed)).map_err(|who| {
                    StoreError::Unavailable(format!(
                        "{who}, and those need migration {needed}: start the version before in their place first"
                    ))
                })?;
                keeps(link, &mut |link| apply(link, version, Way::Down))?;
                apply(link, version, Way::Down)?;
                after(link, needed)
            })?;
            done.push(version.clone());
        }
        Ok(done)
    })
}

/// The versions that were run here; none on an empty database, which stays as it is.
pub(crate) fn applied(link: &mut Link) -> Result<Vec<String>, StoreError> {
    if !is_there(link, "__diesel_schema_migrations")? {
        return Ok(Vec::new());
    }
    // Not diesel's own way, which makes its table where there is none: a reader may not.
    let versions = "SELECT version AS value FROM __diesel_schema_migrations ORDER BY version";
    let versions: Vec<Version> = on!(link, c => diesel::sql_query(versions).load(c)).map_err(unavailable)?;
    Ok(versions.into_iter().map(|row| row.value).collect())
}

/// Refuse tables that are not exactly those of this Holdfast.
pub(crate) fn current(link: &mut Link) -> Result<(), StoreError> {
    let known = known(link)?;
    let applied: BTreeSet<String> = applied(link)?.into_iter().collect();
    if applied == known {
        return Ok(());
    }
    Err(StoreError::Unusable(if applied.is_subset(&known) {
        "the tables are of an older Holdfast: ca-cli db migrate brings them up to date".to_owned()
    } else {
        "the tables were made by a newer Holdfast: take the ca-cli of that version".to_owned()
    }))
}

/// On a new connection of a server at work: tell others which version it is of, and see whether it may still work here.
pub(crate) fn beside(link: &mut Link) -> Result<(), StoreError> {
    tell(link)?;
    let known = known(link)?;
    let applied: BTreeSet<String> = applied(link)?.into_iter().collect();
    let away = |error: StoreError| StoreError::Unavailable(error.to_string());
    if let Some(missing) = known.difference(&applied).next() {
        return Err(StoreError::Unavailable(format!(
            "migration {} was taken back: start this server again, which brings the tables up to date, or the version before",
            number(missing)
        )));
    }
    newer(link, &known, &applied).map_err(away)
}

/// Tell others which version this session is of: before the tables are looked at, so that they do not change in between.
pub(crate) fn tell(link: &mut Link) -> Result<(), StoreError> {
    let known = known(link)?;
    let Link::Postgres(_) = link else { return Ok(()) };
    let newest = known.last().map(|version| number(version)).unwrap_or_default();
    link.run(&format!("SELECT pg_advisory_lock_shared({SESSIONS}, {newest})"))
        .map_err(unavailable)
}

/// Run exactly these, in their order; each must be known here.
pub(crate) fn run_only(link: &mut Link, wanted: &[String]) -> Result<(), StoreError> {
    on!(link, c => c.applied_migrations()).map_err(unusable)?;
    let known = known(link)?;
    let applied: BTreeSet<String> = applied(link)?.into_iter().collect();
    for version in wanted {
        if !known.contains(version) {
            let why = format!("migration {version} is of a newer Holdfast");
            return Err(StoreError::Unusable(why));
        }
        if !applied.contains(version) {
            apply(link, version, Way::Up)?;
        }
    }
    Ok(())
}

/// Run what is missing, inside of a transaction that is open.
pub(crate) fn run_rest(link: &mut Link) -> Result<(), StoreError> {
    let all: Vec<String> = known(link)?.into_iter().collect();
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

/// A version as a number: they are written with zeros before them.
pub(crate) fn number(version: &str) -> i64 {
    version.parse().unwrap_or(i64::MAX)
}

fn is_there(link: &mut Link, table: &str) -> Result<bool, StoreError> {
    let there = match link {
        Link::Sqlite(_) => format!("SELECT count(*) AS value FROM sqlite_schema WHERE name = '{table}'"),
        Link::Postgres(_) => format!(
            "SELECT count(*) AS value FROM pg_class WHERE relname = '{table}' \
             AND relnamespace = current_schema()::regnamespace"
        ),
    };
    let there: Count = on!(link, c => diesel::sql_query(there).get_result(c)).map_err(unavailable)?;
    Ok(there.value > 0)
}

/// What a migration says of the oldest version that may work on tables with it; none, if it says nothing.
fn oldest(link: &mut Link, version: &str) -> Result<Option<i64>, StoreError> {
    if !is_there(link, "__holdfast_oldest")? {
        return Ok(None);
    }
    let sql = format!(
        "SELECT oldest AS value FROM __holdfast_oldest WHERE version = {}",
        number(version)
    );
    let rows: Vec<Count> = on!(link, c => diesel::sql_query(sql).load(c)).map_err(unavailable)?;
    Ok(rows.first().map(|row| row.value))
}

/// Refuse migrations of a newer Holdfast that are not for this one.
fn newer(link: &mut Link, known: &BTreeSet<String>, applied: &BTreeSet<String>) -> Result<(), StoreError> {
    let ours = known.last().map(|version| number(version)).unwrap_or_default();
    for version in applied.difference(known) {
        let oldest = oldest(link, version)?;
        if oldest.is_none_or(|oldest| oldest > ours) {
            let wants = oldest.map_or(String::new(), |oldest| {
                format!(", which wants servers that know migration {oldest}")
            });
            return Err(StoreError::Unusable(format!(
                "the tables were made by a newer Holdfast (migration {}{wants}), and this one knows up to {ours}: install \
                 that version (docs/how-to/upgrade.md)",
                number(version)
            )));
        }
    }
    Ok(())
}

/// Until the end of this transaction no session of a server is there, or comes, that is of one of these versions; who is,
/// if so. SQLite's file is one process's.
fn nobody(link: &mut Link, versions: impl Iterator<Item = i64>) -> Result<(), String> {
    let Link::Postgres(_) = link else { return Ok(()) };
    let versions: Vec<String> = versions.map(|version| version.to_string()).collect();
    let versions = versions.join(", ");
    let locked = format!(
        "SELECT count(*) AS value FROM unnest(ARRAY[{versions}]::int[]) AS v WHERE NOT pg_try_advisory_xact_lock({SESSIONS}, v)"
    );
    let locked: Count = on!(link, c => diesel::sql_query(locked).get_result(c)).map_err(|e| e.to_string())?;
    if locked.value == 0 {
        return Ok(());
    }
    let who = format!(
        "SELECT DISTINCT coalesce(host(a.client_addr), 'this host') || ' (migration ' || l.objid || ')' AS value \
         FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.objsubid = 2 \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND l.classid::bigint = {SESSIONS} AND l.objid::bigint = ANY (ARRAY[{versions}]::bigint[]) \
         AND l.pid <> pg_backend_pid() ORDER BY 1"
    );
    let who: Vec<Version> = on!(link, c => diesel::sql_query(who).load(c)).map_err(|e| e.to_string())?;
    let who: Vec<String> = who.into_iter().map(|row| row.value).collect();
    Err(format!("servers are connected from {}", who.join(", ")))
}

/// Under the lock that one process has at a time.
fn alone<T, E: From<StoreError>>(link: &mut Link, work: impl FnOnce(&mut Link) -> Result<T, E>) -> Result<T, E> {
    let Link::Postgres(_) = link else { return work(link) };
    // Waiting for another server's migrations may take longer than a request ever should. A migration whose process died
    // is noticed while it runs; one that waits for a table keeps nobody waiting behind it for long.
    let lock = format!(
        "SET statement_timeout = 0; SET lock_timeout = 0; SET client_connection_check_interval = '1s'; \
         SELECT pg_advisory_lock({LOCK}); SET lock_timeout = '1s'"
    );
    link.run(&lock).map_err(unavailable)?;
    let outcome = work(link);
    let unlock = format!("SELECT pg_advisory_unlock({LOCK}); RESET client_connection_check_interval; {SETTINGS}");
    let unlocked = link.run(&unlock).map_err(unavailable);
    // What was wrong first counts.
    let done = outcome?;
    unlocked?;
    Ok(done)
}

/// In one transaction; again and again while others have the tables.
fn patiently<E: From<StoreError> + core::fmt::Display>(
    link: &mut Link,
    mut work: impl FnMut(&mut Link) -> Result<(), E>,
) -> Result<(), E> {
    let begun = Instant::now();
    loop {
        on!(link, c => AnsiTransactionManager::begin_transaction(c)).map_err(unavailable)?;
        match work(link) {
            Ok(()) => {
                return Ok(on!(link, c => AnsiTransactionManager::commit_transaction(c)).map_err(unavailable)?);
            }
            Err(error) => {
                on!(link, c => AnsiTransactionManager::rollback_transaction(c)).map_err(unavailable)?;
                let text = error.to_string();
                let held = text.contains("lock timeout") || text.contains("deadlock detected");
                if !held || begun.elapsed() > PATIENCE {
                    return Err(error);
                }
                tracing::warn!(why = text, "a migration waits for a table that somebody holds");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Versions that are known here.
fn known(link: &Link) -> Result<BTreeSet<String>, StoreError> {
    fn versions<DB: diesel::backend::Backend>(all: &[Box<dyn Migration<DB>>]) -> BTreeSet<String> {
        all.iter().map(|one| one.name().version().to_string()).collect()
    }
    Ok(match link {
        Link::Sqlite(_) => versions(&all::<diesel::sqlite::Sqlite>(SQLITE, "sqlite")?),
        Link::Postgres(_) => versions(&all::<diesel::pg::Pg>(POSTGRES, "postgres")?),
    })
}

/// All of them; in a development build with those of a version that does not exist yet, where a test says so.
fn all<DB>(source: EmbeddedMigrations, engine: &str) -> Result<Vec<Box<dyn Migration<DB>>>, StoreError>
where
    DB: diesel::backend::Backend,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let mut all = MigrationSource::<DB>::migrations(&source).map_err(unusable)?;
    if let Some(folder) = failpoint::next_migrations() {
        let next = FileBasedMigrations::from_path(folder.join(engine)).map_err(|e| unusable(e.into()))?;
        all.extend(MigrationSource::<DB>::migrations(&next).map_err(unusable)?);
    }
    Ok(all)
}

/// One migration, in the transaction that is open, or in one of its own.
fn apply(link: &mut Link, version: &str, way: Way) -> Result<(), StoreError> {
    match link {
        Link::Sqlite(c) => one::<SqliteConnection, diesel::sqlite::Sqlite>(c, SQLITE, "sqlite", version, way),
        Link::Postgres(c) => one::<PgConnection, diesel::pg::Pg>(c, POSTGRES, "postgres", version, way),
    }
}

fn one<C, DB>(c: &mut C, source: EmbeddedMigrations, engine: &str, version: &str, way: Way) -> Result<(), StoreError>
where
    C: MigrationHarness<DB>,
    DB: diesel::backend::Backend,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let all = all::<DB>(source, engine)?;
    let one = all.iter().find(|one| one.name().version().to_string() == version);
    let one = one.ok_or_else(|| StoreError::Unusable(format!("migration {version} is of a newer Holdfast")))?;
    match way {
        Way::Up => c.run_migration(one.as_ref()),
        Way::Down => c.revert_migration(one.as_ref()),
    }
    .map_err(|error| {
        if error
            .downcast_ref::<diesel_migrations::MigrationError>()
            .is_some_and(|e| matches!(e, diesel_migrations::MigrationError::NoMigrationRevertFile))
        {
            return StoreError::Unusable(format!(
                "migration {} has no way back: restore a backup that was made before it (docs/how-to/upgrade.md)",
                number(version)
            ));
        }
        unusable(error)
    })?;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of map_err")]
fn unusable(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    let text = format!("migration: {error}");
    // Another try may find them free, or the server there.
    if text.contains("lock timeout") || text.contains("deadlock detected") || text.contains("connection") {
        return StoreError::Unavailable(text);
    }
    StoreError::Unusable(text)
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of map_err")]
fn unavailable(error: diesel::result::Error) -> StoreError {
    StoreError::Unavailable(format!("migration: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::Connection as _;

    /// Those before had no release in between, and go no way back.
    const FIRST_WITH_A_WAY_BACK: i64 = 23;

    fn texts(link: &mut Link) -> Vec<String> {
        let sql = "SELECT coalesce(sql, name) AS value FROM sqlite_schema ORDER BY name";
        let rows: Vec<Version> = on!(link, c => diesel::sql_query(sql).load(c)).unwrap();
        rows.into_iter().map(|row| row.value).collect()
    }

    #[test]
    fn each_says_who_may_work_beside_it_and_goes_back_to_what_was() {
        let mut link = Link::Sqlite(SqliteConnection::establish(":memory:").unwrap());
        let all: Vec<String> = known(&link).unwrap().into_iter().collect();
        on!(&mut link, c => c.applied_migrations()).unwrap();
        let mut before: Vec<Vec<String>> = Vec::new();
        for version in &all {
            before.push(texts(&mut link));
            apply(&mut link, version, Way::Up).unwrap();
            let oldest = oldest(&mut link, version).unwrap();
            assert_eq!(oldest.is_some(), number(version) >= FIRST_WITH_A_WAY_BACK, "{version}");
        }
        for (version, before) in all.iter().zip(before).rev() {
            let taken = back::<StoreError>(&mut link, number(version) - 1, |_, _| Ok(()), |_, _| Ok(()));
            if number(version) < FIRST_WITH_A_WAY_BACK {
                assert!(taken.unwrap_err().to_string().contains("no way back"), "{version}");
                break;
            }
            assert_eq!(taken.unwrap(), std::slice::from_ref(version));
            assert_eq!(texts(&mut link), before, "{version}");
        }
    }
}
