//! A digest of a ceremony as people compare it: see [`display`](::display).

pub use ::display::{qr_svg, qr_text};

use crate::Sha256;

/// Sixteen groups of four hex digits, eight on a line.
#[must_use]
pub fn groups(digest: &Sha256) -> String {
    ::display::groups(&digest.0)
}

/// Twenty-four words for reading aloud.
#[must_use]
pub fn words(digest: &Sha256) -> Vec<&'static str> {
    ::display::words(&digest.0)
}

/// The digest that these words say; `None` when a word is on no list or they do not belong together.
#[must_use]
pub fn from_words(words: &[&str]) -> Option<Sha256> {
    ::display::from_words(words).map(Sha256)
}
