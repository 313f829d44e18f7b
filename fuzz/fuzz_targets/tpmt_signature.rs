//! `TPMT_SIGNATURE`: no panic, neither in the parser nor in the verification; nothing verifies but by the key.
#![no_main]

use attest::tpm::{AttestationKey, TpmtPublic, TpmtSignature};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// Real public areas of the other seeds: P-256 and RSA-2048.
static KEYS: LazyLock<[AttestationKey; 2]> = LazyLock::new(|| {
    let ec = include_bytes!("../seeds/tpmt_public/ak-p256").to_vec();
    let rsa = openssl::rsa::Rsa::generate(2048).expect("RSA");
    let mut rsa_public = include_bytes!("../seeds/tpmt_public/ak-rsa2048").to_vec();
    let at = rsa_public.len() - 256;
    rsa_public.truncate(at);
    rsa_public.extend(rsa.n().to_vec());
    [ec, rsa_public].map(|public| {
        AttestationKey::judge(TpmtPublic::parse(&public).expect("a public area")).expect("an attestation key")
    })
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signature) = TpmtSignature::parse(bytes) {
        for key in KEYS.iter() {
            assert!(key.verify(b"a message nobody signed", &signature).is_err());
        }
    }
});
