//! The factory's manifest: made, signed in a token, verified, imported into a real server; and every way to forge one.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod arrival;
mod import;
mod kit;
mod proof;
mod tampering;
