//! Evidence bundles, and audits: what is read is what is written, and no bytes convince a verifier who trusts nobody, or panic.
#![no_main]

use bundle::audit::{self, Audit};
use bundle::{Bundle, Transcript, Trust, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(transcript) = Transcript::parse(bytes) {
        assert_eq!(transcript.to_bytes().as_deref(), Ok(bytes));
    }
    if let Ok(read) = Audit::read(bytes) {
        assert_eq!(read.write().as_deref(), Ok(bytes));
        assert!(!audit::verify(&read, &Trust::default(), &|_, _, _| Ok(())).is_good());
    }
    let Ok(bundle) = Bundle::read(bytes) else {
        return;
    };
    assert_eq!(bundle.write().as_deref(), Ok(bytes));
    let checks = verify(&bundle, &bundle.certificate, &Trust::default());
    assert!(checks.iter().any(|check| check.found.is_err()));
});
