//! SQL past the store's back, to see that the tables themselves refuse.

use device_kit::postgres;
use diesel::SqliteConnection;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::kit::Bench;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

fn sqlite(bench: &Bench) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(bench.path()).unwrap();
    connection
        .batch_execute("PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON;")
        .unwrap();
    connection
}

/// Run a statement.
pub(crate) fn run(bench: &Bench, sql: &str) -> Result<(), String> {
    if bench.is_postgres() {
        let cluster = postgres::shared().unwrap();
        cluster.sql(bench.database(), sql).map(drop).map_err(|e| e.to_string())
    } else {
        sqlite(bench).batch_execute(sql).map_err(|e| e.to_string())
    }
}

/// The one text column, named `line`, of every row.
pub(crate) fn lines(bench: &Bench, sql: &str) -> Vec<String> {
    if bench.is_postgres() {
        let text = postgres::shared().unwrap().sql(bench.database(), sql).unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    } else {
        let rows: Vec<Line> = diesel::sql_query(sql).load(&mut sqlite(bench)).unwrap();
        rows.into_iter().map(|row| row.line).collect()
    }
}
