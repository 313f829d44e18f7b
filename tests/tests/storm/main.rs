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
mod device;
mod dice;
mod fault;
mod journal;
mod play;

use device_kit::rig::Wanted;

use play::{Storm, trials};

/// F01, F02, F11, F12, S01, H03 on SQLite.
#[test]
fn f01_a_storm_on_sqlite() {
    let mut storm = Storm::new(Wanted::default(), "SQLite");
    storm.run(trials());
    storm.verdict();
}

/// F01, F02, F03, F08, F11, F12, S01, H03 on PostgreSQL, whose connections end on either side of a COMMIT.
#[test]
fn f03_a_storm_on_postgres() {
    let mut storm = Storm::new(Wanted::postgres(), "PostgreSQL");
    storm.run(trials());
    storm.verdict();
}
