//! PostgreSQL beyond one machine: three real servers behind haproxy on one database and one token, a standby that takes
//! over under load, a primary that comes back, and tables that change while everybody works. The independent reader
//! (`tests/checker/check.py`) has the last word.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

mod device;
mod failover;
mod faults;
mod journal;
mod next;
mod standby;
mod three;
mod together;
mod two_builds;
mod upgrade;

pub(crate) use device_kit::clients::until;
