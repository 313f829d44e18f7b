//! One permission, one signature.
use issuance::{CaKey, Recorded};

fn twice(recorded: Recorded, key: &dyn CaKey) {
    let _ = recorded.sign(key);
    let _ = recorded.sign(key);
}

fn main() {}
