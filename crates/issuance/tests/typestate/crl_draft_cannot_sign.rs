//! A CRL is judged before it is signed.
use issuance::{CaKey, CrlDraft};

fn shortcut(draft: CrlDraft, key: &dyn CaKey) {
    let _ = draft.sign(key);
}

fn main() {}
