//! A TPM without an EK certificate, from refusal to an identity, by what the tools print.

use serde_json::Value;

use crate::device::{AgentDevice, House, errors, report};

/// A TPM whose maker left nothing in it.
fn bare(house: &House) -> (AgentDevice, String) {
    let device = AgentDevice::blank();
    let shown = device.agent(&["identify"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("without a certificate"), "{text}{}", errors(&shown));
    let line = text
        .lines()
        .find(|line| line.contains("ca-cli device allow NAME"))
        .unwrap();
    let hash = device.ek_sha256("auto");
    assert!(line.contains(&hash) && line.ends_with("--vouch hardware"), "{line}");
    let _ = house;
    (device, hash)
}

fn refused(house: &House, device: &AgentDevice, profile: &str, reason: &str) {
    let output = house.enroll(device, &["--profile", profile, "-o", "json"]);
    let report = report(&output, 3);
    let fix = report["fix"].to_string();
    let at = fix.find("inc_").unwrap_or_else(|| panic!("no incident in {fix}"));
    let [record] = house.rig.audit_file(&fix[at..at + 36]).try_into().unwrap();
    assert_eq!(record.reason, reason, "{record:?}");
}

#[test]
fn a_tpm_without_a_certificate_is_let_in_by_a_person_who_vouches_for_its_key() {
    let house = House::shared();
    let (device, hash) = bare(house);
    refused(house, &device, "device-ldevid", "EK_NO_CERTIFICATE");

    // In the inventory, and nobody vouched: the same.
    let _ = house.rig.cli_json(&["device", "allow", "BARE", "--ek", &hash]);
    refused(house, &device, "device-ldevid", "EK_NO_CERTIFICATE");

    let allowed: Value = house
        .rig
        .cli_json(&["device", "allow", "BARE", "--ek", &hash, "--vouch", "hardware"]);
    assert_eq!(allowed["ek_read_as"], "SHA-256 of the SubjectPublicKeyInfo");
    house.enrolled(&device, &["--profile", "device-ldevid"]);
    let tpm = house.record("BARE").tpm.unwrap();
    assert_eq!(
        (tpm.assurance.as_str(), tpm.anchor.as_str()),
        ("hardware-allowlisted", "allow-list")
    );
    assert_eq!(
        (tpm.manufacturer.as_str(), tpm.ek_certificate_sha256.as_str()),
        ("", "")
    );
    let text = device.certificate("cert.pem").to_text().unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(
        text.contains("1.3.6.1.4.1.32473.27071.2.2"),
        "the policy of that level: {text}"
    );
    house.openssl_verifies(&device, "cert.pem");

    // The word is final.
    let cli = ["device", "allow", "BARE", "--ek", &hash, "--vouch", "virtual"];
    let other = house.rig.cli(&cli);
    assert_eq!(other.status.code(), Some(5), "{}", errors(&other));
    // And a renewal stands on it, too.
    let renewed = device.agent(&["renew", "-o", "json"]);
    assert_eq!(renewed.status.code(), Some(0), "{}", errors(&renewed));
}

#[test]
fn a_virtual_tpm_without_a_certificate_has_the_level_of_virtual_ones_and_no_makers_identity() {
    let house = House::shared();
    let (device, hash) = bare(house);
    let _ = house
        .rig
        .cli_json(&["device", "allow", "BARE-VM", "--ek", &hash, "--vouch", "virtual"]);
    house.enrolled(&device, &["--profile", "device-ldevid"]);
    assert_eq!(house.record("BARE-VM").tpm.unwrap().assurance, "virtual");

    let (device, hash) = bare(house);
    let _ = house
        .rig
        .cli_json(&["device", "allow", "BARE-HW", "--ek", &hash, "--vouch", "hardware"]);
    let output = house.enroll(&device, &["--profile", "device-idevid", "-o", "json"]);
    assert_eq!(report(&output, 3)["code"], "policy_denied");
}
