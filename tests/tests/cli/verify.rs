//! `ca-cli verify` on what the CA issued: everything is right but one thing, and exactly that check refuses.

use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::vendor::{EkContent, VendorCa};
use wire::enrollment::KeyRole;

use crate::kit::{DEVICE, Folder, Said, cli_alone, house};

/// Checks that refused.
pub(crate) fn refused(said: &Said) -> Vec<String> {
    let value = said.json();
    assert_eq!(value["schema"], "holdfast.verification.v1");
    let failed = value["checks"].as_array().unwrap().iter().filter(|c| c["ok"] == false);
    let failed: Vec<String> = failed.map(|c| c["id"].as_str().unwrap().to_owned()).collect();
    let (code, verdict) = if failed.is_empty() {
        (0, "valid")
    } else {
        (3, "refused")
    };
    assert_eq!(said.code, code, "{said:?}");
    assert_eq!(value["verdict"], verdict, "{said:?}");
    failed
}

/// What a check found.
pub(crate) fn found(said: &Said, check: &str) -> String {
    let value = said.json();
    let check = value["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["id"] == check)
        .cloned();
    check.unwrap()["found"].as_str().unwrap().to_owned()
}

/// Verify a certificate of the shared CA.
fn ours(leaf: &[u8], more: &[&str]) -> Said {
    let folder = Folder::new();
    let leaf = folder.put("leaf.der", leaf);
    let root = house().rig.path("ca/root.pem").display().to_string();
    let issuing = house().rig.path("ca/issuing.pem").display().to_string();
    let arguments = ["verify", &leaf, "--trust", &root, "--untrusted", &issuing, "-o", "json"];
    cli_alone(&[&arguments[..], more].concat())
}

#[test]
fn what_we_issue_is_valid_and_says_why() {
    let house = house();
    for (leaf, role) in [
        (house.certificate(KeyRole::Identity), "identity key"),
        (house.certificate(KeyRole::Attestation), "attestation key"),
        (&house.local.certificates[0].certificate.0, "identity key"),
    ] {
        let said = ours(leaf, &["--rehearsal"]);
        assert_eq!(refused(&said), [""; 0]);
        assert!(found(&said, "binding").starts_with(role), "{said:?}");
        let path = "REHEARSAL Kit Root R1 <- REHEARSAL Kit Issuing 1A <- ";
        assert!(found(&said, "chain").starts_with(path), "{said:?}");
        assert_eq!(said.json()["level"], "hardware-verified");
    }
    let folder = Folder::new();
    let ek = folder.put("ek.der", &house.tpm.ek_certificate);
    let said = ours(
        house.certificate(KeyRole::Identity),
        &["--rehearsal", "--ek-certificate", &ek],
    );
    assert_eq!(refused(&said), [""; 0]);
    assert!(
        found(&said, "ek").starts_with("is the EK certificate given"),
        "{said:?}"
    );
}

#[test]
fn chain_and_leaf_in_one_file_will_do_and_words_are_for_people() {
    let house = house();
    let folder = Folder::new();
    let chain = &house.initial.chain;
    let file = folder.pem("all.pem", &[house.certificate(KeyRole::Identity), &chain[0].0]);
    let root = folder.pem("root.pem", &[&house.rig.root]);
    let said = cli_alone(&["verify", &file, "--trust", &root, "--rehearsal", "--explain"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.ends_with("\nvalid\n") && said.out.contains("✔ chain"),
        "{}",
        said.out
    );
    assert!(said.out.contains("RFC 5280 §6.1"), "{}", said.out);
    let said = cli_alone(&["verify", &file, "--trust", &root]);
    assert_eq!(said.code, 3);
    assert!(said.out.ends_with("\nrefused: rehearsal\n"), "{}", said.out);
    assert!(said.out.contains("✖ rehearsal"), "{}", said.out);
}

#[test]
fn u24_a_rehearsal_passes_for_nothing_else() {
    let said = ours(house().certificate(KeyRole::Identity), &[]);
    assert_eq!(refused(&said), ["rehearsal"]);
}

#[test]
fn another_root_is_no_root() {
    let stranger = VendorCa::root("REHEARSAL Kit Root R1");
    let folder = Folder::new();
    let leaf = folder.put("leaf.der", house().certificate(KeyRole::Identity));
    let root = folder.put("root.der", &stranger.certificate);
    let issuing = house().rig.path("ca/issuing.pem").display().to_string();
    let verify = ["verify", &leaf, "--trust", &root, "-o", "json", "--rehearsal"];
    let said = cli_alone(&[&verify[..], &["--untrusted", &issuing]].concat());
    assert_eq!(refused(&said), ["chain"]);
    assert_eq!(refused(&cli_alone(&verify)), ["chain"]);
    // The true root among the path material is not trusted for being there.
    let root = house().rig.path("ca/root.pem").display().to_string();
    let said = cli_alone(&[&verify[..], &["--untrusted", &issuing, "--untrusted", &root]].concat());
    assert_eq!(refused(&said), ["chain"]);
}

#[test]
fn time_decides() {
    let local = &house().local.certificates[0].certificate.0;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let in_two_years = format!("{}-01-01", 1970 + now / 31_556_952 + 2);
    let said = ours(local, &["--rehearsal", "--at", &in_two_years]);
    assert_eq!(refused(&said), ["chain"]);
    assert!(found(&said, "chain").contains("expired"), "{said:?}");
    let said = ours(local, &["--rehearsal", "--at", "2020-01-01"]);
    assert_eq!(refused(&said), ["chain"]);
    assert!(found(&said, "chain").contains("not yet valid"), "{said:?}");
    let initial = house().certificate(KeyRole::Identity);
    let said = ours(initial, &["--rehearsal", "--at", &in_two_years]);
    assert_eq!(refused(&said), [""; 0], "an IDevID lives on");
}

#[test]
fn a_bit_of_the_signature_decides() {
    let mut leaf = house().certificate(KeyRole::Identity).to_vec();
    // The lowest bit of s: still a well-formed ECDSA-Sig-Value.
    *leaf.last_mut().unwrap() ^= 1;
    let said = ours(&leaf, &["--rehearsal"]);
    assert_eq!(refused(&said), ["chain"]);
    assert!(found(&said, "chain").contains("signature"), "{said:?}");
}

#[test]
fn a_ca_is_no_leaf() {
    let folder = Folder::new();
    let leaf = folder.pem("ca.pem", &[&house().initial.chain[0].0]);
    let root = folder.pem("root.pem", &[&house().rig.root]);
    let verify = ["verify", &leaf, "--trust", &root, "--rehearsal", "-o", "json"];
    let said = cli_alone(&[&verify[..], &["--level", "none"]].concat());
    assert_eq!(refused(&said), ["end-entity"]);
}

#[test]
fn a_server_certificate_has_no_binding() {
    let tls = std::fs::read(house().rig.path("server-tls.pem")).unwrap();
    let tls = openssl::x509::X509::from_pem(&tls).unwrap().to_der().unwrap();
    let said = ours(&tls, &["--rehearsal", "--level", "none"]);
    assert_eq!(refused(&said), [""; 0]);
    let said = ours(&tls, &["--rehearsal", "--level", "software"]);
    assert_eq!(refused(&said), ["level", "binding"]);
}

#[test]
fn the_ek_certificate_must_be_the_devices() {
    let house = house();
    let folder = Folder::new();
    let ek = &house.tpm.ek;
    // The same key, certified once more.
    let other = house.rig.vendor.ek_certificate(&ek.spki, &EkContent::honest(&ek.key));
    let file = folder.put("ek.der", &other);
    let said = ours(
        house.certificate(KeyRole::Identity),
        &["--rehearsal", "--ek-certificate", &file],
    );
    assert_eq!(refused(&said), ["ek"]);
    assert!(found(&said, "ek").starts_with("names EK certificate "), "{said:?}");
    let root = house.rig.path("ca/root.pem").display().to_string();
    let file = folder.put("junk", b"junk");
    let said = cli_alone(&["verify", &root, "--trust", &root, "--ek-certificate", &file]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
}

#[test]
fn a_software_tpm_is_no_hardware() {
    let rig = Rig::with(&Wanted {
        anchor: "software".into(),
        ..Wanted::default()
    });
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(DEVICE, &tpm);
    let request = tpm.request("device-ldevid", None, None);
    let enrolled = rig.client().enroll(&tpm, &request).unwrap();
    let folder = Folder::new();
    let leaf = &enrolled.certificates[0].certificate.0;
    let leaf = folder.pem("leaf.pem", &[leaf, &enrolled.chain[0].0]);
    let root = folder.pem("root.pem", &[&rig.root]);
    let verify = |level: &str| {
        let verify = ["verify", &leaf, "--trust", &root, "--rehearsal", "-o", "json"];
        cli_alone(&[&verify[..], &["--level", level]].concat())
    };
    assert_eq!(refused(&verify("software")), [""; 0]);
    for level in ["virtual", "hardware-allowlisted", "hardware-verified"] {
        assert_eq!(refused(&verify(level)), ["level"], "{level}");
    }
}
