//! The real `ca-agent` with real TPMs (swtpm) against the real server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod again;
mod allowed;
mod chain;
mod copied;
mod device;
mod enroll;
mod inspect;
mod ledger;
mod manifest;
mod manners;
mod named;
mod proxy;
mod quarantine;
mod refused;
mod renew;
mod replace;
mod resume;
mod review;
mod third_party;
