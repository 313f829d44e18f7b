//! The store, on both engines: one suite, run on SQLite and on a private PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod inventory;
mod kit;
mod orders;
mod races;
