//! A TPM vendor for tests: a CA that signs whatever certificate or request it is told to, sound or not.
//!
//! Every field is bytes that a test may replace before it is signed, so that one thing is wrong and all else is right.

mod certificate;
mod der;
mod key;
mod public_area;
mod request;

pub use certificate::*;
pub use der::*;
pub use key::*;
pub use public_area::*;
pub use request::*;
