//! Certificates offered, shipped and anchored: no panic, and none makes a path to an anchor that did not sign it.
//!
//! The input is a list: two bytes of length (big-endian), then so many bytes of a certificate. The first is the leaf.
#![no_main]

use attest::trust::{AnchorSource, Anchors};
use attest::{AnchorKind, Evidence, EvidenceBytes, UnixTime};
use libfuzzer_sys::fuzz_target;

const ROOT: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/root.der");
const ISSUER: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/issuer.der");
const CERTIFICATE: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/ek-p384.der");
const PUBLIC: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/ek-p384.tpmt");
const AK: &[u8] = include_bytes!("../seeds/tpmt_public/ak-p256");

fn source(name: &str, certificate: &[u8]) -> AnchorSource {
    AnchorSource {
        name: name.to_owned(),
        certificate: certificate.to_vec(),
        kind: AnchorKind::Software,
        manufacturers: vec!["id:00001014".to_owned()],
        enforce_expiry: false,
    }
}

fn list(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((length, rest)) = bytes.split_at_checked(2) {
        let length = usize::from(u16::from_be_bytes([length[0], length[1]])).min(rest.len());
        let (certificate, rest) = rest.split_at(length);
        out.push(certificate.to_vec());
        bytes = rest;
    }
    out
}

fuzz_target!(|bytes: &[u8]| {
    let mut offered = list(bytes);
    for certificate in &offered {
        let _ = Anchors::new(vec![source("fuzzed", certificate)], vec![]);
    }
    // As what the operator ships, if all of it can be read; as what the device offers in any case.
    let shipped = Anchors::new(vec![source("swtpm-localca", ROOT)], offered.clone());
    let anchors = Anchors::new(vec![source("swtpm-localca", ROOT)], vec![]).expect("the anchor is sound");
    let leaf = if offered.is_empty() { Vec::new() } else { offered.remove(0) };
    for anchors in shipped.iter().chain([&anchors]) {
        let evidence = Evidence::decode(EvidenceBytes {
            ek_certificate: leaf.clone(),
            ek_chain: offered.clone(),
            ek_public: PUBLIC.to_vec(),
            ak_public: AK.to_vec(),
        })
        .expect("the public areas are sound");
        if evidence.verify(anchors, UnixTime(1_800_000_000)).is_ok() {
            assert_eq!(leaf, CERTIFICATE);
            assert!(offered.iter().any(|certificate| certificate == ISSUER));
        }
    }
});
