//! `ca-cli` as people and scripts meet it: what it prints, where, and with which exit code.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on stops"
)]

mod device_allow;
mod device_find;
mod doctor;
mod forged;
mod hsm;
mod init;
mod kit;
mod output;
mod page;
mod papers;
mod recall;
mod revoke;
mod trust;
mod verify;
