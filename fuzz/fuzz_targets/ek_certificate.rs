//! The EK certificate before swtpm's local CA: no panic, and no certificate but the two that it signed passes.
#![no_main]

use attest::trust::{AnchorSource, Anchors};
use attest::{AnchorKind, Evidence, EvidenceBytes, UnixTime};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const ROOT: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/root.der");
const ISSUER: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/issuer.der");
const CERTIFICATE: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/ek-p384.der");
const PUBLIC: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/ek-p384.tpmt");
const AK: &[u8] = include_bytes!("../seeds/tpmt_public/ak-p256");

static ANCHORS: LazyLock<Anchors> = LazyLock::new(|| {
    let source = AnchorSource {
        name: "swtpm-localca".to_owned(),
        certificate: ROOT.to_vec(),
        kind: AnchorKind::Software,
        manufacturers: vec!["id:00001014".to_owned()],
        enforce_expiry: true,
    };
    Anchors::new(vec![source], vec![ISSUER.to_vec()]).expect("the anchor is sound")
});

fuzz_target!(|bytes: &[u8]| {
    let evidence = Evidence::decode(EvidenceBytes {
        ek_certificate: bytes.to_vec(),
        ek_chain: vec![],
        ek_public: PUBLIC.to_vec(),
        ak_public: AK.to_vec(),
    })
    .expect("the public areas are sound");
    if evidence.verify(&ANCHORS, UnixTime(1_800_000_000)).is_ok() {
        assert_eq!(bytes, CERTIFICATE);
    }
});
