//! OCSP requests: no panic, at most eight questions, and a nonce within its bounds.
#![no_main]

use issuance::ocsp::{MAX_CERT_IDS, MAX_NONCE, MAX_REQUEST_BYTES, OcspRequest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = OcspRequest::decode(bytes) {
        assert!(bytes.len() <= MAX_REQUEST_BYTES);
        assert!((1..=MAX_CERT_IDS).contains(&request.questions.len()));
        assert!(request.nonce.is_none_or(|nonce| (1..=MAX_NONCE).contains(&nonce.octets().len())));
    }
});
