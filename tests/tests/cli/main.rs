//! `ca-cli` as people and scripts meet it: what it prints, where, and with which exit code.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod device_allow;
mod doctor;
mod kit;
