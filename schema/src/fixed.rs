//! Words and statements with a fixed text.
//!
//! The states of a certificate stand in the text of a question, never as a parameter: with a parameter neither engine
//! can use the partial indexes on them, and SQLite prepares the statement anew at every call to see whether it could.
//! Diesel prepares UPDATE and ON CONFLICT DO UPDATE anew each time, which costs SQLite more than running them: those
//! of every enrollment are written out here, and prepared once.

use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Bool, Text};
use diesel::sqlite::Sqlite;

macro_rules! word {
    ($name:ident, $sql:literal) => {
        #[doc = concat!("The text ", $sql, ".")]
        #[derive(Debug, Clone, Copy, QueryId)]
        pub(crate) struct $name;

        impl Expression for $name {
            type SqlType = Text;
        }
        impl<DB: Backend> QueryFragment<DB> for $name {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
                out.push_sql($sql);
                Ok(())
            }
        }
        impl<QS> AppearsOnTable<QS> for $name {}
        impl<QS> SelectableExpression<QS> for $name {}
        impl<GB> ValidGrouping<GB> for $name {
            type IsAggregate = is_aggregate::Never;
        }
    };
}

word!(Intent, "'intent'");
word!(Issued, "'issued'");
word!(Orphaned, "'orphan'");

/// A statement whose text is one and the same for all values.
macro_rules! fixed {
    ($name:ident) => {
        impl QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }
        impl RunQueryDsl<SqliteConnection> for $name<'_> {}
    };
}

/// An intent becomes a certificate; changes no row that is not an intent.
pub(crate) struct CloseIntent<'a> {
    pub(crate) id: i64,
    pub(crate) der: &'a [u8],
}

impl QueryFragment<Sqlite> for CloseIntent<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE certificate SET state = 'issued', certificate = ");
        out.push_bind_param::<Binary, _>(self.der)?;
        out.push_sql(" WHERE id = ");
        out.push_bind_param::<BigInt, _>(&self.id)?;
        out.push_sql(" AND state = 'intent'");
        Ok(())
    }
}

fixed!(CloseIntent);

/// A leaf gets its place; changes none that has one.
pub(crate) struct PlaceEntry<'a> {
    pub(crate) id: &'a i64,
    pub(crate) position: i64,
}

impl QueryFragment<Sqlite> for PlaceEntry<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE ledger_entry SET position = ");
        out.push_bind_param::<BigInt, _>(&self.position)?;
        out.push_sql(" WHERE id = ");
        out.push_bind_param::<BigInt, _>(self.id)?;
        out.push_sql(" AND position IS NULL");
        Ok(())
    }
}

fixed!(PlaceEntry);

/// A certificate stands for a device under a profile from now on.
pub(crate) struct PutIdentity<'a> {
    pub(crate) device: i64,
    pub(crate) profile: &'a str,
    pub(crate) certificate: i64,
    /// Its last second.
    pub(crate) not_after: i64,
}

impl QueryFragment<Sqlite> for PutIdentity<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT INTO identity (device_id, profile, certificate_id, not_after) VALUES (");
        out.push_bind_param::<BigInt, _>(&self.device)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.profile)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.certificate)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.not_after)?;
        out.push_sql(
            ") ON CONFLICT (device_id, profile) DO UPDATE \
             SET certificate_id = excluded.certificate_id, not_after = excluded.not_after",
        );
        Ok(())
    }
}

fixed!(PutIdentity);

/// What an attestation key said last about its TPM's clock.
pub(crate) struct PutClock<'a> {
    pub(crate) device: i64,
    pub(crate) ak: &'a [u8],
    pub(crate) clock: i64,
    pub(crate) reset_count: i64,
    pub(crate) restart_count: i64,
    pub(crate) safe: bool,
    pub(crate) seen_at: i64,
}

impl QueryFragment<Sqlite> for PutClock<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO tpm_clock \
             (device_id, ak_spki_sha256, clock, reset_count, restart_count, safe, seen_at) VALUES (",
        );
        out.push_bind_param::<BigInt, _>(&self.device)?;
        out.push_sql(", ");
        out.push_bind_param::<Binary, _>(self.ak)?;
        for value in [&self.clock, &self.reset_count, &self.restart_count] {
            out.push_sql(", ");
            out.push_bind_param::<BigInt, _>(value)?;
        }
        out.push_sql(", ");
        out.push_bind_param::<Bool, _>(&self.safe)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.seen_at)?;
        out.push_sql(
            ") ON CONFLICT (device_id, ak_spki_sha256) DO UPDATE SET clock = excluded.clock, \
             reset_count = excluded.reset_count, restart_count = excluded.restart_count, safe = excluded.safe, \
             seen_at = excluded.seen_at",
        );
        Ok(())
    }
}

fixed!(PutClock);

/// The EK of a device and the facts about its TPM.
pub(crate) struct BindDevice<'a> {
    pub(crate) id: i64,
    pub(crate) ek: &'a [u8],
    pub(crate) certificate: &'a [u8],
    /// Manufacturer, model, version, assurance, anchor.
    pub(crate) facts: [&'a str; 5],
}

impl QueryFragment<Sqlite> for BindDevice<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE device SET ek_spki_sha256 = ");
        out.push_bind_param::<Binary, _>(self.ek)?;
        out.push_sql(", ek_certificate_sha256 = ");
        out.push_bind_param::<Binary, _>(self.certificate)?;
        let columns = ["manufacturer", "model", "version", "assurance", "anchor"];
        for (column, fact) in columns.into_iter().zip(&self.facts) {
            out.push_sql(", ");
            out.push_sql(column);
            out.push_sql(" = ");
            out.push_bind_param::<Text, _>(*fact)?;
        }
        out.push_sql(" WHERE id = ");
        out.push_bind_param::<BigInt, _>(&self.id)?;
        Ok(())
    }
}

fixed!(BindDevice);
