//! The store, on both engines: one suite, run on SQLite and on a private PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod clocks;
mod crash;
mod crls;
mod deltas;
mod engine;
mod inventory;
mod kit;
mod ledger;
mod manifests;
mod model;
mod orders;
mod outage;
mod proxy;
mod races;
mod raw;
mod recall;
mod renewals;
mod replacements;
mod reviews;
mod revocations;
mod statuses;
mod tables;
mod third_party;
