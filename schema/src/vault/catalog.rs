//! Which tables there are, what is in their columns, and which stands on which: as the engine itself says it, so that
//! no table can be forgotten.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::VaultError;
use crate::link::{Link, on};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    /// As an integer in a backup; PostgreSQL keeps a BOOLEAN.
    Truth,
    Text,
    Bytes,
}

impl Kind {
    /// In a backup.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Integer | Self::Truth => 'i',
            Self::Text => 't',
            Self::Bytes => 'b',
        }
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The columns of its primary key, in their order.
    pub(super) key: Vec<String>,
}

impl Table {
    /// The line that begins it in a backup.
    pub(super) fn heading(&self) -> String {
        let mut line = format!("table {}", self.name);
        for column in &self.columns {
            line.push_str(&format!(" {}:{}", column.name, column.kind.letter()));
        }
        line
    }
}

/// A column that names a row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) from: String,
    pub(super) column: String,
    pub(super) to: String,
    pub(super) target: String,
    /// Its name; SQLite has none.
    pub(super) name: String,
}

/// The tables of a database, each after those it names, as far as that is possible.
pub(super) struct Catalog {
    pub(super) tables: Vec<Table>,
    pub(super) references: Vec<Reference>,
}

const SQLITE_COLUMNS: &str = "SELECT m.name || ' ' || c.name || ' ' || c.type || ' ' || c.pk AS value \
    FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table' \
    AND m.name NOT LIKE '#_#_%' ESCAPE '#' AND m.name NOT LIKE 'sqlite#_%' ESCAPE '#' ORDER BY m.name, c.cid";

const POSTGRES_COLUMNS: &str = "SELECT t.relname || ' ' || a.attname || ' ' || a.atttypid::regtype::text || ' ' || \
    coalesce((SELECT k.place FROM pg_index AS x CROSS JOIN unnest(x.indkey) WITH ORDINALITY AS k (att, place) \
    WHERE x.indrelid = t.oid AND x.indisprimary AND k.att = a.attnum), 0) \
    AS value FROM pg_class AS t JOIN pg_attribute AS a ON a.attrelid = t.oid \
    WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind IN ('r', 'p') AND a.attnum > 0 \
    AND NOT a.attisdropped AND t.relname NOT LIKE '#_#_%' ESCAPE '#' ORDER BY t.relname COLLATE \"C\", a.attnum";

const SQLITE_KEYS: &str = "SELECT m.name || ' ' || k.\"from\" || ' ' || k.\"table\" || ' ' || k.\"to\" || ' -' AS value \
    FROM sqlite_schema AS m JOIN pragma_foreign_key_list(m.name) AS k WHERE m.type = 'table' ORDER BY value";

const POSTGRES_KEYS: &str = "SELECT t.relname || ' ' || a.attname || ' ' || r.relname || ' ' || b.attname || ' ' || \
    c.conname AS value FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid \
    JOIN pg_class AS r ON r.oid = c.confrelid JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = c.conkey[1] \
    JOIN pg_attribute AS b ON b.attrelid = r.oid AND b.attnum = c.confkey[1] \
    WHERE c.contype = 'f' AND t.relnamespace = current_schema()::regnamespace ORDER BY 1";

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

/// The one text column, named `value`, of every row.
pub(super) fn lines(link: &mut Link, sql: &str) -> Result<Vec<String>, VaultError> {
    let rows: Vec<Line> = on!(link, c => diesel::sql_query(sql).load(c))?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// The one number, named `value`.
pub(super) fn number(link: &mut Link, sql: &str) -> Result<i64, VaultError> {
    let row: Number = on!(link, c => diesel::sql_query(sql).get_result(c))?;
    Ok(row.value)
}

impl Catalog {
    /// Read it.
    pub(super) fn of(link: &mut Link) -> Result<Self, VaultError> {
        let (columns, keys) = match link {
            Link::Sqlite(_) => (SQLITE_COLUMNS, SQLITE_KEYS),
            Link::Postgres(_) => (POSTGRES_COLUMNS, POSTGRES_KEYS),
        };
        let mut tables: BTreeMap<String, Table> = BTreeMap::new();
        let mut keys_of: BTreeMap<String, BTreeMap<u32, String>> = BTreeMap::new();
        for line in lines(link, columns)? {
            let words: Vec<&str> = line.split(' ').collect();
            let [table, column, kind, key] = *words.as_slice() else {
                return Err(VaultError::Strange(format!("a column: {line}")));
            };
            let kind = match kind {
                "INTEGER" | "bigint" => Kind::Integer,
                "boolean" => Kind::Truth,
                "TEXT" | "text" => Kind::Text,
                "BLOB" | "bytea" => Kind::Bytes,
                _ => return Err(VaultError::Strange(format!("a column: {line}"))),
            };
            let entry = tables.entry(table.to_owned()).or_insert_with(|| Table {
                name: table.to_owned(),
                columns: Vec::new(),
                key: Vec::new(),
            });
            entry.columns.push(Column {
                name: column.to_owned(),
                kind,
            });
            match key.parse() {
                Ok(0) => {}
                Ok(place) => {
                    let of = keys_of.entry(table.to_owned()).or_default();
                    of.insert(place, column.to_owned());
                }
                Err(_) => return Err(VaultError::Strange(format!("a column: {line}"))),
            }
        }
        for (table, key) in keys_of {
            if let Some(table) = tables.get_mut(&table) {
                table.key = key.into_values().collect();
            }
        }
        if let Some(table) = tables.values().find(|table| table.key.is_empty()) {
            return Err(VaultError::Strange(format!("table {} without a key", table.name)));
        }
        let mut references = Vec::new();
        for line in lines(link, keys)? {
            let words: Vec<&str> = line.split(' ').collect();
            let [from, column, to, target, name] = *words.as_slice() else {
                return Err(VaultError::Strange(format!("a foreign key: {line}")));
            };
            references.push(Reference {
                from: from.to_owned(),
                column: column.to_owned(),
                to: to.to_owned(),
                target: target.to_owned(),
                name: name.to_owned(),
            });
        }
        Ok(Self {
            tables: in_order(tables, &references),
            references,
        })
    }

    /// Those that name a row which may come later than they do.
    pub(super) fn forward(&self) -> Vec<&Reference> {
        let place = |name: &str| self.tables.iter().position(|table| table.name == name);
        self.references
            .iter()
            .filter(|reference| place(&reference.to) >= place(&reference.from))
            .collect()
    }
}

fn in_order(mut open: BTreeMap<String, Table>, references: &[Reference]) -> Vec<Table> {
    let mut done: Vec<Table> = Vec::new();
    let mut names: BTreeSet<String> = BTreeSet::new();
    while !open.is_empty() {
        let waits = |name: &str| {
            references
                .iter()
                .filter(|r| r.from == name && r.to != name && !names.contains(&r.to))
                .count()
        };
        // The first that waits for nothing; in a circle, the one that waits for least.
        let Some(next) = open.keys().min_by_key(|name| waits(name)).cloned() else {
            break;
        };
        if let Some(table) = open.remove(&next) {
            names.insert(next);
            done.push(table);
        }
    }
    done
}
