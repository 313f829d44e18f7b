//! PKCS#10: no panic; what is proven is small, and its key is one that is issued for.
#![no_main]

use attest::csr::{MAX_CSR_BYTES, prove};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proven) = prove(bytes) {
        assert!(bytes.len() <= MAX_CSR_BYTES);
        assert!(proven.request.subject.len() < bytes.len());
        assert!(proven.spki.len() < 600);
    }
});
