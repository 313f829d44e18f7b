//! A copy would be a second signature.
use issuance::{CaKey, Recorded};

fn twice(recorded: Recorded, key: &dyn CaKey) {
    let _ = recorded.clone().sign(key);
    let _ = recorded.sign(key);
}

fn main() {}
