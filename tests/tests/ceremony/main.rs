//! Ceremonies from the plan to the sealed record: rehearsed, interrupted at every step, tampered with, held by people.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on stops"
)]

mod archives;
mod canary;
mod crls;
mod cross;
mod custody;
mod held;
mod hierarchy;
mod interrupted;
mod kit;
mod paper;
mod plans;
mod pty;
mod second_reader;
mod terminal;
mod typed_shares;
mod unchanged;
