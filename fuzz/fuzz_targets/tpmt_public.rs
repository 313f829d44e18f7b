//! `TPMT_PUBLIC`: no panic; what parses keeps its bytes and has a Name; what is judged a key has a sound one.
#![no_main]

use attest::tpm::{AttestationKey, IdentityKey, TpmtPublic};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = TpmtPublic::parse_2b(bytes);
    if let Ok(public) = TpmtPublic::parse(bytes) {
        assert_eq!(public.raw(), bytes);
        assert!(public.name().len() <= 66);
        let spki = public.spki();
        if let Ok(key) = IdentityKey::judge(&public) {
            assert_eq!(Some(&key.facts().spki), spki.as_ref().ok());
        }
        if let Ok(key) = AttestationKey::judge(public) {
            assert_eq!(Some(&key.facts().spki), spki.as_ref().ok());
        }
    }
});
