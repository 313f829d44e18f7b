//! Requests as an ordinary library makes them (rcgen, which our product does not use for requests): read by ours, with
//! everything they ask for on the table, so that nothing can be granted by oversight.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use attest::csr;
use device_kit::keys::{Shape, SoftKey};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, PublicKeyData, SigningKey};

/// The kit's key as rcgen wants it.
struct Key {
    key: SoftKey,
    /// Bare subjectPublicKey bits.
    bits: Vec<u8>,
}

impl Key {
    fn new() -> Self {
        let key = SoftKey::generate(Shape::identity(attest::KeyAlgorithm::P256));
        // SubjectPublicKeyInfo of P-256 ends in the 65 octets of the uncompressed point.
        let bits = key.spki[key.spki.len() - 65..].to_vec();
        Self { key, bits }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign_x509(message).1)
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params
}

#[test]
fn a_plain_request_asks_for_nothing() {
    let key = Key::new();
    let request = params(&[]).serialize_request(&key).expect("a request");
    let proven = csr::prove(request.der()).expect("an ordinary request");
    assert_eq!(proven.spki, key.key.spki);
    assert_eq!(proven.request.subject, [0x30, 0x00]);
    assert_eq!(proven.request.subject_alt_name, None);
    assert!(proven.request.other_extensions.is_empty());
}

#[test]
fn k02_what_a_library_lets_one_ask_for_is_listed() {
    let key = Key::new();
    let mut asking = params(&["evil.example"]);
    // basicConstraints cA TRUE, and our own RoT binding.
    for (oid, value) in [
        (&[2u64, 5, 29, 19][..], vec![0x30, 0x03, 0x01, 0x01, 0xff]),
        (&[1, 3, 6, 1, 4, 1, 32473, 27071, 1, 1], vec![0x05, 0x00]),
    ] {
        asking
            .custom_extensions
            .push(CustomExtension::from_oid_content(oid, value));
    }
    let request = asking.serialize_request(&key).expect("a request");
    let proven = csr::prove(request.der()).expect("a request that asks for much");
    assert!(proven.request.subject_alt_name.is_some());
    assert_eq!(
        proven.request.other_extensions,
        ["2.5.29.19", "1.3.6.1.4.1.32473.27071.1.1"]
    );
}

#[test]
fn a_request_changed_after_it_was_signed_is_refused() {
    let key = Key::new();
    let request = params(&["one.example"]).serialize_request(&key).expect("a request");
    let mut der = request.der().to_vec();
    let at = der.windows(3).position(|w| w == b"one").expect("the name");
    der[at] ^= 1;
    assert_eq!(
        csr::prove(&der).map(|p| p.spki).map_err(|r| r.reason),
        Err(attest::Reason::CsrSig)
    );
}
