//! A vendor's CRL, and where DER breaks: no panic, and nothing is taken for a CRL that swtpm's local CA signed.
#![no_main]

use attest::trust::{CrlFacts, ca_issuers, first_break};
use libfuzzer_sys::fuzz_target;

const ISSUER: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/issuer.der");

fuzz_target!(|bytes: &[u8]| {
    let _ = CrlFacts::read(bytes);
    assert!(CrlFacts::signed_by(bytes, ISSUER).is_err());
    if let Some((at, _)) = first_break(bytes) {
        assert!(at <= bytes.len());
    }
    let _ = ca_issuers(bytes);
});
