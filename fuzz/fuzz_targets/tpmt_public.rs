//! `TPMT_PUBLIC`: no panic; what parses keeps its bytes, has a Name, and says whether its key is sound.
#![no_main]

use attest::tpm::TpmtPublic;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = TpmtPublic::parse_2b(bytes);
    if let Ok(public) = TpmtPublic::parse(bytes) {
        assert_eq!(public.raw(), bytes);
        assert!(public.name().len() <= 66);
        let _ = public.spki();
    }
});
