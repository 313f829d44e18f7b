//! The TPM side of the corridor, from bytes to binding: what is taken, and what each check refuses.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot be set up has failed"
)]

mod attacks;
mod corridor;
mod credential;
mod keys;
mod kit;
mod oracle;
mod parse;
mod randomness;
mod ticket;
mod vectors;
mod wycheproof;
