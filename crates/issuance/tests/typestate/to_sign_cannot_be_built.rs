//! Holding a key is not enough to sign with it.
use issuance::{CaKey, ToSign};

fn anything(key: &dyn CaKey) {
    let _ = key.sign(ToSign(b"anything"));
}

fn main() {}
