//! What is linted is recorded before it is signed.
use issuance::{CaKey, Linted};

fn shortcut(linted: Linted, key: &dyn CaKey) {
    let _ = linted.sign(key);
}

fn main() {}
