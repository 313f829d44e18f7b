//! Writing a backup.

use std::io::Write;

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::Text;
use openssl::sha::Sha256;

use super::catalog::{Catalog, Column, Kind, Table, lines, number};
use super::{BackupManifest, CrlSummary, LedgerSummary, Progress, TableSummary, VaultError, io};
use crate::link::Link;
use crate::migrations;

/// The first line.
pub(super) const HEADING: &str = "holdfast-backup 1";
/// How many rows are fetched at once from a server.
const FETCH: usize = 1000;
/// Progress is told every so many rows.
const TOLD: u64 = 10_000;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    value: String,
}

/// What goes out, and its digest.
struct Out<'a> {
    to: &'a mut dyn Write,
    digest: Sha256,
}

impl Out<'_> {
    fn line(&mut self, text: &str) -> Result<(), VaultError> {
        self.digest.update(text.as_bytes());
        self.digest.update(b"\n");
        self.to.write_all(text.as_bytes()).map_err(io)?;
        self.to.write_all(b"\n").map_err(io)
    }
}

/// Write everything; the link stands in a transaction that shows one moment.
pub(super) fn dump(
    link: &mut Link,
    to: &mut dyn Write,
    now: i64,
    progress: Progress<'_>,
) -> Result<BackupManifest, VaultError> {
    let migrations = migrations::applied(link)?;
    if migrations.is_empty() {
        return Err(VaultError::Strange("it has no tables".to_owned()));
    }
    let catalog = Catalog::of(link)?;
    let mut out = Out {
        to,
        digest: Sha256::new(),
    };
    out.line(HEADING)?;
    out.line(&format!("migrations {}", migrations.join(" ")))?;
    let mut tables = Vec::new();
    for table in &catalog.tables {
        out.line(&table.heading())?;
        tables.push(rows(link, table, &mut out, progress)?);
        out.line("\\.")?;
    }
    let sha256 = hex::encode(out.digest.clone().finish());
    let mut manifest = summary(link)?;
    manifest.migrations = migrations;
    manifest.made_at = now;
    manifest.tables = tables;
    manifest.sha256 = sha256;
    let line = serde_json::to_string(&manifest).map_err(|e| VaultError::Broken(e.to_string()))?;
    out.line(&format!("manifest {line}"))?;
    out.to.flush().map_err(io)?;
    Ok(manifest)
}

/// The heads of what only grows.
pub(super) fn summary(link: &mut Link) -> Result<BackupManifest, VaultError> {
    let hex_of = |link: &Link, column: &str| match link {
        Link::Sqlite(_) => format!("lower(hex({column}))"),
        Link::Postgres(_) => format!("encode({column}, 'hex')"),
    };
    let root = hex_of(link, "root");
    let ledger = lines(
        link,
        &format!("SELECT size || ' ' || {root} || ' ' || coalesce(signed_size, -1) AS value FROM ledger"),
    )?;
    let words: Vec<&str> = ledger.first().map(|line| line.split(' ').collect()).unwrap_or_default();
    let [size, root, signed] = *words.as_slice() else {
        return Err(VaultError::Strange("the ledger has no row".to_owned()));
    };
    let count = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| VaultError::Strange(format!("a size of the ledger: {text}")))
    };
    let signed = count(signed)?;
    let entries = number(link, "SELECT count(*) AS value FROM ledger_entry")?;
    let issuer = hex_of(link, "issuer_key_id");
    let crls = lines(
        link,
        &format!("SELECT {issuer} || ' ' || number AS value FROM crl_sequence ORDER BY id"),
    )?;
    let crls = crls.iter().filter_map(|line| {
        let (issuer, number) = line.split_once(' ')?;
        Some(CrlSummary {
            issuer: issuer.to_owned(),
            number: number.parse().ok()?,
        })
    });
    Ok(BackupManifest {
        migrations: Vec::new(),
        made_at: 0,
        tables: Vec::new(),
        ledger: LedgerSummary {
            size: count(size)?,
            root: root.to_owned(),
            signed: (signed >= 0).then_some(signed),
            entries,
        },
        crls: crls.collect(),
        sha256: String::new(),
    })
}

fn rows(link: &mut Link, table: &Table, out: &mut Out<'_>, progress: Progress<'_>) -> Result<TableSummary, VaultError> {
    let mut digest = Sha256::new();
    let mut count = 0_u64;
    let mut one = |value: &str| -> Result<(), VaultError> {
        digest.update(value.as_bytes());
        digest.update(b"\n");
        out.line(value)?;
        count += 1;
        if count.is_multiple_of(TOLD) {
            progress(&table.name, count);
        }
        Ok(())
    };
    let sql = select(link, table);
    match link {
        Link::Sqlite(c) => {
            for row in diesel::sql_query(sql).load_iter::<Row, DefaultLoadingMode>(c)? {
                one(&row?.value)?;
            }
        }
        Link::Postgres(c) => {
            use diesel::connection::SimpleConnection as _;
            c.batch_execute(&format!("DECLARE vault NO SCROLL CURSOR FOR {sql}"))?;
            loop {
                let rows: Vec<Row> = diesel::sql_query(format!("FETCH {FETCH} FROM vault")).load(c)?;
                for row in &rows {
                    one(&row.value)?;
                }
                if rows.len() < FETCH {
                    break;
                }
            }
            c.batch_execute("CLOSE vault")?;
        }
    }
    progress(&table.name, count);
    Ok(TableSummary {
        name: table.name.clone(),
        rows: count,
        sha256: hex::encode(digest.finish()),
    })
}

/// Rows in the order of their key, each as `COPY` writes it.
fn select(link: &Link, table: &Table) -> String {
    let cells: Vec<String> = table.columns.iter().map(|column| cell(link, column)).collect();
    let tab = match link {
        Link::Sqlite(_) => " || char(9) || ",
        Link::Postgres(_) => " || chr(9) || ",
    };
    let key: Vec<String> = table.key.iter().map(|column| format!("\"{column}\"")).collect();
    format!(
        "SELECT {} AS value FROM \"{}\" ORDER BY {}",
        cells.join(tab),
        table.name,
        key.join(", ")
    )
}

/// One row of each table, as a backup writes it.
#[derive(Debug)]
pub(crate) struct RowText(Vec<(String, String)>);

impl RowText {
    /// Ask the engine for its tables.
    pub(crate) fn of(link: &mut Link) -> Result<Self, VaultError> {
        let catalog = Catalog::of(link)?;
        let one = |table: &Table| {
            let all = select(link, table);
            let (cells, _) = all.split_once(" ORDER BY ")?;
            let key = table.key.first()?;
            Some((table.name.clone(), format!("{cells} WHERE \"{key}\" = ")))
        };
        Ok(Self(catalog.tables.iter().filter_map(one).collect()))
    }

    /// The row with this first column of the key.
    pub(crate) fn one(&self, link: &mut Link, table: &str, key: &str) -> Result<Option<String>, VaultError> {
        let known = self.0.iter().find(|(name, _)| name == table);
        let (_, sql) = known.ok_or_else(|| VaultError::Strange(format!("there is no table {table}")))?;
        Ok(lines(link, &format!("{sql}{key}"))?.into_iter().next())
    }
}

fn cell(link: &Link, column: &Column) -> String {
    let name = format!("\"{}\"", column.name);
    let text = match (link, column.kind) {
        (Link::Sqlite(_), Kind::Integer | Kind::Truth) => format!("CAST({name} AS TEXT)"),
        (Link::Postgres(_), Kind::Integer) => format!("{name}::text"),
        (Link::Postgres(_), Kind::Truth) => format!("{name}::int::text"),
        (Link::Sqlite(_), Kind::Bytes) => format!("'\\\\x' || lower(hex({name}))"),
        (Link::Postgres(_), Kind::Bytes) => format!("'\\\\x' || encode({name}, 'hex')"),
        (link, Kind::Text) => {
            let char = if matches!(link, Link::Sqlite(_)) { "char" } else { "chr" };
            format!(
                "replace(replace(replace(replace({name}, '\\', '\\\\'), {char}(9), '\\t'), {char}(10), '\\n'), {char}(13), '\\r')"
            )
        }
    };
    format!("CASE WHEN {name} IS NULL THEN '\\N' ELSE {text} END")
}
