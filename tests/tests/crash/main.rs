//! S01, S09, H05: servers, databases, tokens and disks fail under load, and nothing is lost, doubled or half done.
//!
//! The real server, the real SoftHSM, both databases, devices in software. What fails, fails at a moment of *progress*,
//! drawn from a seed that is printed. `HOLDFAST_CRASH_SEEDS=7,8` plays other rounds, or one again.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on stops"
)]

mod away;
mod clock;
mod disk;
mod load;
mod power;
mod record;
mod rounds;
