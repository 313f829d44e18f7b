//! One CRL number, one signature.
use issuance::{CaKey, LintedCrl};

fn twice(linted: LintedCrl, key: &dyn CaKey) {
    let _ = linted.sign(key);
    let _ = linted.sign(key);
}

fn main() {}
