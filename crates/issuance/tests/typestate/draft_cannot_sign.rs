//! A draft is judged and recorded before anything is signed.
use issuance::{CaKey, Draft};

fn shortcut(draft: Draft, key: &dyn CaKey) {
    let _ = draft.sign(key);
}

fn main() {}
