//! The record as a whole: carried away under load, put back, moved to the other engine, checked from end to end; and what is
//! older than an anchor is refused, by each anchor alone.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod backup;
mod kit;
mod older;
mod sound;
