//! Reading a backup into an empty database: one transaction, checked from end to end before it counts.

use std::io::{BufRead, Read as _};

use diesel::connection::{AnsiTransactionManager, TransactionManager as _};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use openssl::sha::Sha256;

use super::catalog::{Catalog, Kind, Reference, Table, lines, number};
use super::dump::{HEADING, summary};
use super::{BackupManifest, Despite, Known, Progress, TableSummary, VaultError, anchors, io, verify};
use crate::link::{Fault, Link, on};
use crate::{StoreError, migrations};

/// No row is longer: a CRL of ten million entries in hex.
const MAX_LINE: u64 = 1 << 30;
/// Parameters in one statement: both engines take more.
const PARAMETERS: usize = 30_000;
/// Bytes in one statement.
const BYTES: usize = 4 << 20;
/// Progress is told every so many rows.
const TOLD: u64 = 10_000;

/// A value of a row.
enum Cell {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// What comes in, and its digest.
struct In<'a> {
    from: &'a mut dyn BufRead,
    digest: Sha256,
    line: Vec<u8>,
}

impl In<'_> {
    /// The next line, without its end.
    fn next(&mut self) -> Result<&str, VaultError> {
        self.line.clear();
        let mut bounded = (&mut *self.from).take(MAX_LINE);
        bounded.read_until(b'\n', &mut self.line).map_err(io)?;
        if self.line.pop() != Some(b'\n') {
            return Err(VaultError::Broken("it ends early".to_owned()));
        }
        core::str::from_utf8(&self.line).map_err(|_| VaultError::Broken("a line is not UTF-8".to_owned()))
    }

    /// Count the line that was read last.
    fn counted(&mut self) {
        self.digest.update(&self.line);
        self.digest.update(b"\n");
    }
}

pub(super) fn load(
    link: &mut Link,
    from: &mut dyn BufRead,
    known: &Known,
    despite: Option<&Despite<'_>>,
    now: i64,
    progress: Progress<'_>,
) -> Result<BackupManifest, VaultError> {
    alone(link, |link| inside(link, from, known, despite, now, progress))
}

/// One transaction that diesel knows of, so that the migrations inside do not end it.
pub(super) fn alone<T>(
    link: &mut Link,
    work: impl FnOnce(&mut Link) -> Result<T, VaultError>,
) -> Result<T, VaultError> {
    match link {
        Link::Sqlite(c) => AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE"),
        Link::Postgres(c) => AnsiTransactionManager::begin_transaction_sql(c, "BEGIN"),
    }?;
    match work(link) {
        Ok(done) => {
            on!(link, c => AnsiTransactionManager::commit_transaction(c))?;
            Ok(done)
        }
        Err(error) => {
            // What was wrong counts; a connection that is gone rolls back by itself.
            let _rolled_back = on!(link, c => AnsiTransactionManager::rollback_transaction(c));
            Err(error)
        }
    }
}

fn inside(
    link: &mut Link,
    from: &mut dyn BufRead,
    known: &Known,
    despite: Option<&Despite<'_>>,
    now: i64,
    progress: Progress<'_>,
) -> Result<BackupManifest, VaultError> {
    let mut input = In {
        from,
        digest: Sha256::new(),
        line: Vec::new(),
    };
    if input.next()? != HEADING {
        return Err(VaultError::Broken(format!("its first line is not `{HEADING}`")));
    }
    input.counted();
    let versions = input.next()?.strip_prefix("migrations ");
    let versions = versions.ok_or_else(|| VaultError::Broken("it names no migrations".to_owned()))?;
    let versions: Vec<String> = versions.split(' ').map(ToOwned::to_owned).collect();
    input.counted();
    prepare(link, &versions)?;
    let catalog = Catalog::of(link)?;
    empty(link, &catalog)?;
    let triggers = disarm(link, &catalog)?;
    let mut tables = Vec::new();
    for table in &catalog.tables {
        tables.push(rows(link, table, &mut input, progress)?);
    }
    arm(link, &catalog, &triggers)?;
    let sha256 = hex::encode(input.digest.clone().finish());
    let manifest = input.next()?.strip_prefix("manifest ");
    let manifest = manifest.ok_or_else(|| VaultError::Broken("no manifest where it should be".to_owned()))?;
    let manifest: BackupManifest =
        serde_json::from_str(manifest).map_err(|e| VaultError::Broken(format!("its manifest: {e}")))?;
    if manifest.sha256 != sha256 || manifest.tables != tables || manifest.migrations != versions {
        return Err(VaultError::Broken("its manifest is not of what it holds".to_owned()));
    }
    let mut rest = Vec::new();
    (&mut *input.from).take(1).read_to_end(&mut rest).map_err(io)?;
    if !rest.is_empty() {
        return Err(VaultError::Broken("something follows its manifest".to_owned()));
    }
    let there = summary(link)?;
    if there.ledger != manifest.ledger || there.crls != manifest.crls {
        return Err(VaultError::Broken(
            "its manifest says another ledger, or other CRLs, than its tables".to_owned(),
        ));
    }
    migrations::run_rest(link)?;
    let findings = verify::verify(link, progress)?;
    if !findings.wrong.is_empty() {
        return Err(VaultError::Unsound(findings.wrong));
    }
    let shortfalls = anchors::judge(link, known)?;
    if !shortfalls.is_empty() {
        let Some(despite) = despite else {
            return Err(VaultError::Older(shortfalls));
        };
        anchors::accept(link, known, &shortfalls, despite, now)?;
    }
    Ok(manifest)
}

/// The tables as they were when the backup was made.
fn prepare(link: &mut Link, versions: &[String]) -> Result<(), VaultError> {
    let applied = migrations::applied(link)?;
    if applied.is_empty() {
        let catalog = Catalog::of(link)?;
        if let Some(other) = catalog.tables.first() {
            return Err(VaultError::Strange(format!("it has a table {}", other.name)));
        }
    } else if applied.iter().any(|version| !versions.contains(version)) {
        return Err(VaultError::Version(
            "this database has tables already, of a newer Holdfast than the backup's: take an empty one".to_owned(),
        ));
    }
    migrations::run_only(link, versions).map_err(|error| match error {
        StoreError::Unusable(why) => VaultError::Version(why),
        other => other.into(),
    })
}

fn empty(link: &mut Link, catalog: &Catalog) -> Result<(), VaultError> {
    for table in &catalog.tables {
        // The ledger is born with its one row.
        let of = if table.name == "ledger" { " WHERE size > 0" } else { "" };
        let sql = format!(
            "SELECT count(*) AS value FROM (SELECT 1 FROM \"{}\"{of} LIMIT 1) AS one",
            table.name
        );
        if number(link, &sql)? != 0 {
            return Err(VaultError::NotEmpty(table.name.clone()));
        }
    }
    Ok(())
}

/// Rules about how rows change say nothing about rows that are carried over: no trigger asks, and who names a row that
/// comes later is asked at the end. Returns what is to be made again.
fn disarm(link: &mut Link, catalog: &Catalog) -> Result<Vec<String>, VaultError> {
    let mut again = Vec::new();
    match link {
        Link::Sqlite(_) => {
            again = lines(
                link,
                "SELECT sql AS value FROM sqlite_schema WHERE type = 'trigger' ORDER BY name",
            )?;
            for name in lines(link, "SELECT name AS value FROM sqlite_schema WHERE type = 'trigger'")? {
                link.run(&format!("DROP TRIGGER \"{name}\""))?;
            }
            link.run("PRAGMA defer_foreign_keys = ON")?;
        }
        Link::Postgres(_) => {
            for table in &catalog.tables {
                link.run(&format!("ALTER TABLE \"{}\" DISABLE TRIGGER USER", table.name))?;
            }
            for Reference { from, name, .. } in catalog.forward() {
                link.run(&format!(
                    "ALTER TABLE \"{from}\" ALTER CONSTRAINT \"{name}\" DEFERRABLE INITIALLY DEFERRED"
                ))?;
            }
        }
    }
    link.run("DELETE FROM ledger")?;
    Ok(again)
}

fn arm(link: &mut Link, catalog: &Catalog, triggers: &[String]) -> Result<(), VaultError> {
    match link {
        Link::Sqlite(_) => {
            for sql in triggers {
                link.run(sql)?;
            }
        }
        Link::Postgres(_) => {
            link.run("SET CONSTRAINTS ALL IMMEDIATE")?;
            for Reference { from, name, .. } in catalog.forward() {
                link.run(&format!(
                    "ALTER TABLE \"{from}\" ALTER CONSTRAINT \"{name}\" NOT DEFERRABLE"
                ))?;
            }
            for table in &catalog.tables {
                let name = &table.name;
                link.run(&format!("ALTER TABLE \"{name}\" ENABLE TRIGGER USER"))?;
                if table.key == ["id"] {
                    // The next row that is born gets the next number; NULL where the column draws none.
                    let max = number(link, &format!("SELECT coalesce(max(id), 0) AS value FROM \"{name}\""))?;
                    link.run(&format!(
                        "SELECT setval(pg_get_serial_sequence('\"{name}\"', 'id'), {}, false)",
                        max.saturating_add(1)
                    ))?;
                }
            }
        }
    }
    Ok(())
}

/// One table of the backup into one of the database.
fn rows(
    link: &mut Link,
    table: &Table,
    input: &mut In<'_>,
    progress: Progress<'_>,
) -> Result<TableSummary, VaultError> {
    if input.next()? != table.heading() {
        return Err(VaultError::Broken(format!(
            "table {} with its columns is not where it should be",
            table.name
        )));
    }
    input.counted();
    let mut digest = Sha256::new();
    let mut count = 0_u64;
    let most = PARAMETERS / table.columns.len().max(1);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    loop {
        let line = input.next()?;
        let ended = line == "\\.";
        if !ended {
            bytes += line.len();
            batch.push(row(table, line)?);
            digest.update(line.as_bytes());
            digest.update(b"\n");
            count += 1;
        }
        input.counted();
        if ended || batch.len() >= most || bytes >= BYTES {
            insert(link, table, core::mem::take(&mut batch))?;
            bytes = 0;
        }
        if ended {
            break;
        }
        if count.is_multiple_of(TOLD) {
            progress(&table.name, count);
        }
    }
    progress(&table.name, count);
    Ok(TableSummary {
        name: table.name.clone(),
        rows: count,
        sha256: hex::encode(digest.finish()),
    })
}

fn row(table: &Table, line: &str) -> Result<Vec<Cell>, VaultError> {
    let wrong = || VaultError::Broken(format!("a row of table {} is not one", table.name));
    let texts: Vec<&str> = line.split('\t').collect();
    if texts.len() != table.columns.len() {
        return Err(wrong());
    }
    let cells = texts.iter().zip(&table.columns).map(|(text, column)| {
        let some = *text != "\\N";
        Some(match column.kind {
            Kind::Integer | Kind::Truth if some => Cell::Integer(Some(text.parse().ok()?)),
            Kind::Integer | Kind::Truth => Cell::Integer(None),
            Kind::Bytes if some => Cell::Bytes(Some(hex::decode(text.strip_prefix("\\\\x")?).ok()?)),
            Kind::Bytes => Cell::Bytes(None),
            Kind::Text if some => Cell::Text(Some(unescaped(text)?)),
            Kind::Text => Cell::Text(None),
        })
    });
    cells.collect::<Option<_>>().ok_or_else(wrong)
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match rest.next()? {
            '\\' => '\\',
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            _ => return None,
        });
    }
    Some(out)
}

fn insert(link: &mut Link, table: &Table, rows: Vec<Vec<Cell>>) -> Result<(), VaultError> {
    if rows.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = table
        .columns
        .iter()
        .map(|column| format!("\"{}\"", column.name))
        .collect();
    let postgres = matches!(link, Link::Postgres(_));
    let mut place = 0;
    let mut values = String::new();
    for row in &rows {
        values.push_str(if values.is_empty() { "(" } else { ", (" });
        for (index, column) in (0..row.len()).zip(&table.columns) {
            if index > 0 {
                values.push_str(", ");
            }
            place += 1;
            match (postgres, column.kind) {
                (false, _) => values.push('?'),
                (true, Kind::Truth) => values.push_str(&format!("${place} <> 0")),
                (true, _) => values.push_str(&format!("${place}")),
            }
        }
        values.push(')');
    }
    let overriding = if postgres { " OVERRIDING SYSTEM VALUE" } else { "" };
    let sql = format!(
        "INSERT INTO \"{}\" ({}){overriding} VALUES {values}",
        table.name,
        names.join(", ")
    );
    macro_rules! run {
        ($c:expr, $backend:ty) => {{
            let mut query = diesel::sql_query(sql).into_boxed::<$backend>();
            for cell in rows.into_iter().flatten() {
                query = match cell {
                    Cell::Integer(value) => query.bind::<Nullable<BigInt>, _>(value),
                    Cell::Text(value) => query.bind::<Nullable<Text>, _>(value),
                    Cell::Bytes(value) => query.bind::<Nullable<Binary>, _>(value),
                };
            }
            query.execute($c).map_err(|e| refused(table, e))
        }};
    }
    match link {
        Link::Sqlite(c) => run!(c, diesel::sqlite::Sqlite)?,
        Link::Postgres(c) => run!(c, diesel::pg::Pg)?,
    };
    Ok(())
}

/// A row that the table's own rules refuse is the backup's fault; a server that went away is not.
fn refused(table: &Table, error: diesel::result::Error) -> VaultError {
    match Fault::from(error) {
        Fault::Unique(why) | Fault::Failed(why) => {
            VaultError::Broken(format!("table {} refuses it: {why}", table.name))
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were_written() {
        assert_eq!(unescaped(r"a\\b\tc\nd\re").as_deref(), Some("a\\b\tc\nd\re"));
        assert_eq!(unescaped(r"\\N").as_deref(), Some(r"\N"));
        for wrong in [r"\", r"\x", r"a\0"] {
            assert_eq!(unescaped(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_that_never_ends_is_no_line() {
        let mut from: &[u8] = b"holdfast";
        let mut input = In {
            from: &mut from,
            digest: Sha256::new(),
            line: Vec::new(),
        };
        assert!(matches!(input.next(), Err(VaultError::Broken(_))));
    }
}
