//! `docs/reference/rot-binding.md` says the truth: its worked example and its OIDs are what the code writes and reads.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use attest::rot::{self, Basis, CertifiedBinding, RotBinding, RotKind, RotStatement};
use const_oid::ObjectIdentifier;
use der::asn1::OctetString;
use der::{Decode, Encode};
use x509_cert::ext::Extension;

const REFERENCE: &str = include_str!("../../docs/reference/rot-binding.md");

/// The hex digits of the fenced block after `heading`; what follows `--` in a line is commentary.
fn block(page: &str, heading: &str) -> Vec<u8> {
    let (_, rest) = page.split_once(heading).expect("the example has its heading");
    let block = rest.split("```").nth(1).expect("a fenced block");
    let digits: String = block
        .lines()
        .skip(1)
        .filter_map(|line| line.split("--").next())
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    hex::decode(digits).expect("hex digits")
}

fn example(heading: &str) -> Vec<u8> {
    block(REFERENCE, heading)
}

fn counting(from: u8, length: u8) -> Vec<u8> {
    (from..from + length).collect()
}

fn name(from: u8) -> OctetString {
    OctetString::new([&[0x00, 0x0b][..], &counting(from, 32)].concat()).expect("short")
}

fn octets(from: u8) -> OctetString {
    OctetString::new(counting(from, 32)).expect("short")
}

fn binding(rot_kind: RotKind, parent_rot: Option<OctetString>) -> RotBinding {
    RotBinding {
        version: 1,
        rot_kind,
        ek_spki_sha256: octets(0x20),
        ak_name: name(0x40),
        ik_name: name(0x60),
        evidence_sha256: octets(0x80),
        parent_rot,
    }
}

#[test]
fn the_worked_example_is_what_is_written() {
    let der = example("### Example: a TPM");
    let extension = Extension::from_der(&der).expect("an Extension");
    assert_eq!(extension.extn_id, rot::ID_ROT_BINDING);
    assert!(!extension.critical);
    let expected = binding(RotKind::Tpm, None);
    assert_eq!(extension.extn_value.as_bytes(), expected.to_der().expect("DER"));
    assert_eq!(
        RotBinding::from_der(extension.extn_value.as_bytes()).expect("a binding"),
        expected
    );
    assert_eq!(extension.to_der().expect("DER"), der);
}

#[test]
fn the_example_with_a_parent_is_what_is_written() {
    let der = example("### Example: a virtual TPM");
    assert_eq!(der, binding(RotKind::Vtpm, Some(octets(0xa0))).to_der().expect("DER"));
}

#[test]
fn the_example_on_a_manufacturers_word_is_what_is_written() {
    let der = example("### Example: on the manufacturer's word");
    let expected = CertifiedBinding {
        version: 2,
        rot_kind: RotKind::Tpm,
        basis: Basis::IakCertified,
        iak_certificate_sha256: octets(0x20),
        iak_spki_sha256: octets(0x40),
        iak_name: name(0x60),
        ik_name: name(0x80),
        evidence_sha256: octets(0xa0),
        ek_spki_sha256: Some(octets(0xc0)),
    };
    assert_eq!(hex::encode(&der), hex::encode(expected.to_der().expect("DER")));
    assert_eq!(
        RotStatement::from_der(&der).expect("a binding"),
        RotStatement::Certified(expected)
    );
}

#[test]
fn the_rehearsal_mark_is_what_is_written() {
    let der = example("## The rehearsal mark");
    let extension = Extension::from_der(&der).expect("an Extension");
    assert_eq!(extension.extn_id, rot::ID_REHEARSAL);
    assert!(!extension.critical);
    assert_eq!(extension.extn_value.as_bytes(), [5, 0]);
}

#[test]
fn the_names_of_a_device_are_what_is_written() {
    let profiles = include_str!("../../docs/reference/profiles.md");
    let module = policies::SanEntry::HardwareModuleName(rot::TCG_HW_TYPE_TPM20, b"49465800:a1b2:04d5".to_vec());
    let permanent = policies::SanEntry::PermanentIdentifier("00".repeat(32), rot::TCG_ON_EK_PERM_ID_SHA256);
    for (heading, entry) in [
        ("### HardwareModuleName", module),
        ("### permanentIdentifier", permanent),
    ] {
        let der = entry.to_general_name().expect("a name").to_der().expect("DER");
        assert_eq!(hex::encode(block(profiles, heading)), hex::encode(der), "{heading}");
    }
}

#[test]
fn every_oid_of_the_arc_is_in_the_reference() {
    for oid in [
        rot::ID_ROT_BINDING,
        rot::ID_REHEARSAL,
        rot::ID_HARDWARE_VERIFIED,
        rot::ID_HARDWARE_ALLOWLISTED,
        rot::ID_VIRTUAL,
        rot::ID_SOFTWARE,
        rot::ID_MANUFACTURER_VERIFIED,
    ] {
        let arc = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.27071");
        assert_eq!(oid.parent().and_then(|group| group.parent()), Some(arc));
        assert!(REFERENCE.contains(&format!("`{oid}`")), "{oid}");
    }
}
