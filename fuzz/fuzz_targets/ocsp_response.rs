//! OCSP answers: no panic, and none is believed but those of the seeds, which a responder of the issuer signed.
#![no_main]

use issuance::ocsp::RawOcspResponse;
use issuance::{Issuer, IssuerUrls, SignatureAlgorithm};
use libfuzzer_sys::fuzz_target;

const ISSUER: &[u8] = include_bytes!("../seeds/ocsp-issuer.der");
const SIGNED: [&[u8]; 2] = [
    include_bytes!("../seeds/ocsp_response/good"),
    include_bytes!("../seeds/ocsp_response/several"),
];

fuzz_target!(|bytes: &[u8]| {
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    let issuer = Issuer::from_chain(&[ISSUER.to_vec()], algorithm, IssuerUrls::default()).expect("the seed is sound");
    if RawOcspResponse::decode(bytes.to_vec()).and_then(|raw| raw.verify(&issuer)).is_ok() {
        assert!(SIGNED.contains(&bytes));
    }
});
