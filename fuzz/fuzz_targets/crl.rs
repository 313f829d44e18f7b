//! CRLs: no panic, and none is believed but those of the seeds, which the issuer signed.
#![no_main]

use issuance::{Issuer, IssuerUrls, RawCrl, SignatureAlgorithm};
use libfuzzer_sys::fuzz_target;

const ISSUER: &[u8] = include_bytes!("../seeds/crl-issuer.der");
const SIGNED: [&[u8]; 3] = [
    include_bytes!("../seeds/crl/complete"),
    include_bytes!("../seeds/crl/shard"),
    include_bytes!("../seeds/crl/delta"),
];

fuzz_target!(|bytes: &[u8]| {
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    let issuer = Issuer::from_chain(&[ISSUER.to_vec()], algorithm, IssuerUrls::default()).expect("the seed is sound");
    if let Ok(crl) = RawCrl::decode(bytes.to_vec()).and_then(|raw| raw.verify(&issuer)) {
        assert!(SIGNED.contains(&bytes));
        assert!(crl.entries().is_sorted_by(|a, b| a.serial < b.serial));
    }
});
