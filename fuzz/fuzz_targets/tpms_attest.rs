//! `TPMS_ATTEST`: no panic; every field lies inside the input, in order, and together with the fixed parts they are it.
#![no_main]

use attest::tpm::TpmsAttest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(attest) = TpmsAttest::parse(bytes) {
        assert_eq!(attest.raw, bytes);
        let fields = [
            attest.qualified_signer,
            attest.extra_data,
            attest.attested.name,
            attest.attested.qualified_name,
        ];
        let sized: usize = fields.iter().map(|field| 2 + field.len()).sum();
        // magic, type, clock info, firmware version
        assert_eq!(bytes.len(), 4 + 2 + 17 + 8 + sized);
    }
});
