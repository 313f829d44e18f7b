//! Taking migrations back, without losing a row.

use diesel::connection::{AnsiTransactionManager, TransactionManager as _};

use super::catalog::{Catalog, Table, lines, number};
use super::{Despite, VaultError};
use crate::change::{new_audit, storable};
use crate::link::{Link, on};
use crate::{StoreError, keeping, migrations};

pub(super) fn roll_back(link: &mut Link, to: i64, despite: &Despite<'_>, now: i64) -> Result<Vec<i64>, VaultError> {
    let keeps = |link: &mut Link, trial: &mut dyn FnMut(&mut Link) -> Result<(), StoreError>| {
        let before = Catalog::of(link)?;
        on!(link, c => AnsiTransactionManager::begin_transaction(c))?;
        let after = trial(link).map_err(VaultError::from).and_then(|()| Catalog::of(link));
        on!(link, c => AnsiTransactionManager::rollback_transaction(c))?;
        let lost = lost(link, &before, &after?)?;
        if lost.is_empty() {
            Ok(())
        } else {
            Err(VaultError::WouldLose(lost))
        }
    };
    let after = |link: &mut Link, version: i64| {
        let record = issuance::AuditRecord {
            at: attest::UnixTime(now),
            action: "database.rolled_back".to_owned(),
            actor: despite.actor.to_owned(),
            subject: format!("migration {version}"),
            reason: "OPERATOR".to_owned(),
            detail: storable(despite.reason),
        };
        Ok(keeping::audit(link, &[new_audit(&record)])?)
    };
    let done = migrations::back(link, to, keeps, after)?;
    Ok(done.iter().map(|version| migrations::number(version)).collect())
}

/// What has rows, or values that nobody could know again, before and is not there after. Tables of which something goes are
/// held until the end of the transaction, so that none comes in between.
fn lost(link: &mut Link, before: &Catalog, after: &Catalog) -> Result<Vec<String>, VaultError> {
    let mut lost = Vec::new();
    for table in &before.tables {
        let left = after.tables.iter().find(|other| other.name == table.name);
        let gone: Vec<&str> = table
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !left.is_some_and(|left| left.columns.iter().any(|column| column.name == **name)))
            .collect();
        if gone.is_empty() {
            continue;
        }
        if let Link::Postgres(_) = link {
            link.run(&format!("LOCK TABLE \"{}\" IN ACCESS EXCLUSIVE MODE", table.name))?;
        }
        if left.is_none() {
            if any(link, table, "true")? {
                lost.push(format!("table {}", table.name));
            }
            continue;
        }
        for column in gone {
            let usual = usual(link, table, column)?;
            let said = match link {
                Link::Sqlite(_) => format!("\"{column}\" IS NOT {usual}"),
                Link::Postgres(_) => format!("\"{column}\" IS DISTINCT FROM {usual}"),
            };
            if any(link, table, &said)? {
                lost.push(format!("column {}.{column}", table.name));
            }
        }
    }
    Ok(lost)
}

fn any(link: &mut Link, table: &Table, which: &str) -> Result<bool, VaultError> {
    let sql = format!(
        "SELECT count(*) AS value FROM (SELECT 1 FROM \"{}\" WHERE {which} LIMIT 1) AS one",
        table.name
    );
    Ok(number(link, &sql)? > 0)
}

/// The value of a column in rows that do not say any.
fn usual(link: &mut Link, table: &Table, column: &str) -> Result<String, VaultError> {
    let name = &table.name;
    let sql = match link {
        Link::Sqlite(_) => format!(
            "SELECT coalesce(dflt_value, 'NULL') AS value FROM pragma_table_info('{name}') WHERE name = '{column}'"
        ),
        Link::Postgres(_) => format!(
            "SELECT coalesce(pg_get_expr(d.adbin, d.adrelid), 'NULL') AS value FROM pg_attribute AS a \
             LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             WHERE a.attrelid = '\"{name}\"'::regclass AND a.attname = '{column}'"
        ),
    };
    let found = lines(link, &sql)?.into_iter().next();
    found.ok_or_else(|| VaultError::Strange(format!("no column {name}.{column}")))
}
