//! Nothing lost: a real server on SoftHSM, SQLite and PostgreSQL, is killed, lied to by its token and cut off from its
//! database while devices enroll, renew and are revoked; a reader who shares no code with it says what held.
//!
//! ```text
//! make storm SEED=7 TRIALS=1000
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod checker;
mod fault;
mod house;
mod kill;
mod limits;
mod network;
mod play;
mod points;
mod publication;
mod report;
mod single;
mod soak;

use device_kit::rig::Wanted;
use device_kit::trial::played;

use play::{Storm, number, seed, trials, trials_of_three};

/// F01, F02, F11, F12, S01, H03 on SQLite.
#[test]
fn f01_a_storm_on_sqlite() {
    let mut storm = Storm::new(Wanted::default(), "SQLite");
    storm.run(trials());
    storm.verdict();
    played("f01_a_storm_on_sqlite", trials());
}

/// F01, F02, F03, F08, F11, F12, S01, H03 on PostgreSQL, whose connections end on either side of a COMMIT.
#[test]
fn f03_a_storm_on_postgres() {
    let mut storm = Storm::new(Wanted::postgres(), "PostgreSQL");
    storm.run(trials());
    storm.verdict();
    played("f03_a_storm_on_postgres", trials());
}

/// F01, F02, F03, F08, F11, F12, S01 over three servers behind haproxy, on one PostgreSQL and one token. What goes wrong goes
/// wrong with one of them, or all die at once; who is gone comes back when everybody has what he came for.
#[test]
fn f01_a_storm_over_three_servers() {
    let mut storm = Storm::over_three(Wanted::postgres(), "PostgreSQL, three servers");
    storm.run(trials_of_three());
    storm.verdict();
    played("f01_a_storm_over_three_servers", trials_of_three());
}

/// F01: SIGKILL at every fail-point by its name, on SQLite.
#[test]
fn f01_killed_at_every_point_on_sqlite() {
    kill::every_point(Wanted::default(), "SQLite");
    played("f01_killed_at_every_point_on_sqlite", kill::again().len() + 2);
}

/// F01: the same on PostgreSQL.
#[test]
fn f01_killed_at_every_point_on_postgres() {
    kill::every_point(Wanted::postgres(), "PostgreSQL");
    played("f01_killed_at_every_point_on_postgres", kill::again().len() + 2);
}

/// Kills when nobody asks for others: a moment.
fn kills() -> usize {
    number("HOLDFAST_STORM_KILLS").map_or(12, |count| usize::try_from(count).unwrap())
}

/// F01, F02: SIGKILL at drawn points, inside of the token and anywhere, again and again, on SQLite.
#[test]
fn f01_killed_again_and_again_on_sqlite() {
    kill::kills(Wanted::default, "SQLite", seed(), kills());
    played("f01_killed_again_and_again_on_sqlite", kills());
}

/// F01, F02: the same on PostgreSQL.
#[test]
fn f01_killed_again_and_again_on_postgres() {
    kill::kills(Wanted::postgres, "PostgreSQL", seed(), kills());
    played("f01_killed_again_and_again_on_postgres", kills());
}
