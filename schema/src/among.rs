//! `column IN (…)` with one parameter, however long the list: a text that does not change is prepared once.
//!
//! Diesel's `eq_any` writes a parameter for each value on SQLite, and prepares every question anew.

use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, Bool, Text};
use diesel::sqlite::Sqlite;

/// A value of such a list.
pub(crate) trait Item {
    /// Its type in SQL.
    type Sql: diesel::sql_types::SingleValue + 'static;
    /// How SQLite makes it of a member of a JSON array.
    const FROM_JSON: &'static str;
    /// As a member of a JSON array.
    fn json(&self) -> String;
}

impl Item for i64 {
    type Sql = diesel::sql_types::BigInt;
    const FROM_JSON: &'static str = "value";
    fn json(&self) -> String {
        self.to_string()
    }
}

impl Item for &[u8] {
    type Sql = diesel::sql_types::Binary;
    const FROM_JSON: &'static str = "unhex(value)";
    fn json(&self) -> String {
        format!("\"{}\"", hex::encode(self))
    }
}

impl Item for &str {
    type Sql = Text;
    const FROM_JSON: &'static str = "value";
    fn json(&self) -> String {
        serde_json::Value::from(*self).to_string()
    }
}

/// Whether a column is one of the values.
pub(crate) struct Among<C, T> {
    column: C,
    values: Vec<T>,
    json: String,
}

/// Whether `column` is one of `values`.
pub(crate) fn among<C, T: Item>(column: C, values: impl IntoIterator<Item = T>) -> Among<C, T> {
    let values: Vec<T> = values.into_iter().collect();
    let members: Vec<String> = values.iter().map(Item::json).collect();
    let json = format!("[{}]", members.join(","));
    Among { column, values, json }
}

impl<C, T> Expression for Among<C, T> {
    type SqlType = Bool;
}
impl<C, T: Item> QueryFragment<Sqlite> for Among<C, T>
where
    C: QueryFragment<Sqlite>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.column.walk_ast(out.reborrow())?;
        out.push_sql(" IN (SELECT ");
        out.push_sql(T::FROM_JSON);
        out.push_sql(" FROM json_each(");
        out.push_bind_param::<Text, _>(&self.json)?;
        out.push_sql("))");
        Ok(())
    }
}
impl<C, T: Item> QueryFragment<Pg> for Among<C, T>
where
    C: QueryFragment<Pg>,
    Vec<T>: diesel::serialize::ToSql<Array<T::Sql>, Pg>,
    Pg: diesel::sql_types::HasSqlType<T::Sql>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.column.walk_ast(out.reborrow())?;
        out.push_sql(" = ANY (");
        out.push_bind_param::<Array<T::Sql>, _>(&self.values)?;
        out.push_sql(")");
        Ok(())
    }
}
impl<C: QueryId, T: Item> QueryId for Among<C, T> {
    type QueryId = Among<C::QueryId, T::Sql>;
    const HAS_STATIC_QUERY_ID: bool = C::HAS_STATIC_QUERY_ID;
}
impl<QS, C: AppearsOnTable<QS>, T> AppearsOnTable<QS> for Among<C, T> {}
impl<QS, C: SelectableExpression<QS>, T> SelectableExpression<QS> for Among<C, T> {}
impl<GB, C, T> ValidGrouping<GB> for Among<C, T> {
    type IsAggregate = is_aggregate::No;
}
