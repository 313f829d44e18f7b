//! The pages for strangers, from a running server, in a browser that runs no scripts: what they show, at every width, in
//! light and dark; that nobody is shut out (axe); that their commands do what they say; that nothing else is told.
//!
//! `HOLDFAST_SHOTS=FOLDER` keeps pictures of them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on stops"
)]

mod answers;
mod browser;
mod commands;
mod kit;
mod looks;
