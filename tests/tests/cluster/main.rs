//! PostgreSQL beyond one machine: three real servers behind haproxy on one database and one token, a standby that takes
//! over under load, a primary that comes back, and tables that change while everybody works. The independent reader
//! (`tests/checker/check.py`) has the last word.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod device;
mod failover;
mod journal;
mod standby;
mod three;
mod together;

use std::time::{Duration, Instant};

/// Nothing here takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Ask until it is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
