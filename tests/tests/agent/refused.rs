//! What is refused, by whom, and what is left of it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Output;

use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use openssl::x509::extension::SubjectAlternativeName;
use wire::admin::AuditEntry;

use crate::device::{AgentDevice, House, errors, report};

/// The record of the incident that an agent's report names.
fn recorded(house: &House, output: &Output, exit: i32, code: &str) -> AuditEntry {
    let report = report(output, exit);
    assert_eq!(report["code"], code, "{report:#}");
    let fix = report["fix"].to_string();
    let at = fix.find("inc_").unwrap_or_else(|| panic!("no incident in {fix}"));
    let incident = &fix[at..at + 36];
    let mut records = house.rig.audit_file(incident);
    assert_eq!(records.len(), 1, "{records:?}");
    records.remove(0)
}

#[test]
fn a_wrong_pin_leaves_nothing() {
    let house = House::shared();
    let device = AgentDevice::new(&house.vendor);
    let (url, pin) = (house.rig.url(), "00".repeat(32));
    let refused = device.agent(&["enroll", "--server", &url, "--root-sha256", &pin, "-o", "json"]);
    let report = report(&refused, 6);
    assert_eq!(report["code"], "E-SERVER-PIN");
    assert!(
        report["cause"].as_str().unwrap().contains(&house.root_sha256()),
        "{report}"
    );
    assert_eq!(device.names(), ["last-error.json"]);

    let no_pin = device.agent(&["enroll", "--server", &url]);
    assert_eq!(no_pin.status.code(), Some(2), "{}", errors(&no_pin));
    let not_hex = device.agent(&["enroll", "--server", &url, "--root-sha256", "12"]);
    assert_eq!(not_hex.status.code(), Some(2), "{}", errors(&not_hex));
    assert_eq!(device.names(), ["last-error.json"]);
}

/// Somebody in between: an own certificate for `localhost`, and the CA's public answer to `GET /v1/issuers`.
fn impostor(issuers: Vec<u8>) -> String {
    let key = PKey::from_ec_key(
        openssl::ec::EcKey::generate(
            &openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap(),
        )
        .unwrap(),
    )
    .unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_pubkey(&key).unwrap();
    let days = |n| openssl::asn1::Asn1Time::days_from_now(n).unwrap();
    builder.set_not_before(&days(0)).unwrap();
    builder.set_not_after(&days(1)).unwrap();
    let name = SubjectAlternativeName::new()
        .dns("localhost")
        .build(&builder.x509v3_context(None, None));
    builder.append_extension(name.unwrap()).unwrap();
    builder.sign(&key, openssl::hash::MessageDigest::sha256()).unwrap();
    let mut acceptor = SslAcceptor::mozilla_modern_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&builder.build()).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = acceptor.accept(stream.unwrap()) else {
                continue;
            };
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    issuers.len()
                );
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&issuers);
                let _ = stream.shutdown();
            }
        }
    });
    url
}

#[test]
fn somebody_in_between_is_refused_with_the_right_root_and_leaves_nothing() {
    let house = House::shared();
    let device = AgentDevice::new(&house.vendor);
    let url = impostor(house.rig.client().get("/v1/issuers", "").body);
    let root = house.rig.path("ca/root.pem").display().to_string();
    let pin = house.root_sha256();
    for believed in [["--root-sha256", &pin], ["--root", &root]] {
        let refused = device.agent(&[&["enroll", "--server", &url, "-o", "json"], &believed[..]].concat());
        assert_eq!(report(&refused, 6)["code"], "E-SERVER-UNTRUSTED", "{believed:?}");
        assert_eq!(device.names(), ["last-error.json"]);
    }
    // Once pinned, too: not even a wrong certificate is asked anything.
    house.allow("BETWEEN", &device, "auto");
    house.enrolled(&device, &["--device", "BETWEEN"]);
    let doctor = device.json(&["doctor", "--server", &url], 3);
    let checks = doctor["checks"].as_array().unwrap();
    let reached = checks.iter().find(|c| c["check"] == "ca.reached").unwrap();
    assert_eq!(reached["ok"], false, "{doctor:#}");
}

#[test]
fn an_unknown_device_learns_only_an_incident() {
    let house = House::shared();
    let device = AgentDevice::new(&house.vendor);
    let refused = house.enroll(&device, &["-o", "json"]);
    let record = recorded(house, &refused, 3, "attestation_rejected");
    assert_eq!(record.reason, "NOT_IN_INVENTORY");
    assert!(!errors(&refused).contains("INVENTORY"));
    // Keys and root stay; nothing is pending; once let in, the same keys are certified.
    assert_eq!(
        device.names(),
        ["ak.tss2.pem", "key.tss2.pem", "last-error.json", "root.pem"]
    );
    let key = device.read("key.tss2.pem");
    house.allow("LATE", &device, "auto");
    assert_eq!(house.enrolled(&device, &[])["device"], "LATE");
    assert_eq!(device.read("key.tss2.pem"), key);
    house.has_one_identity("LATE", &device);
}

#[test]
fn one_tpm_one_name_one_key() {
    let house = House::shared();
    let mut device = house.device("FIRST");
    house.enrolled(&device, &["--device", "FIRST"]);
    house.rig.expect_device("SECOND");

    device.reinstall();
    let refused = house.enroll(&device, &["--device", "SECOND", "-o", "json"]);
    let record = recorded(house, &refused, 3, "attestation_rejected");
    assert_eq!(record.reason, "ID_BOUND");
    assert_eq!(house.record("SECOND").state, "expected");

    device.reinstall();
    let refused = house.enroll(&device, &["--device", "FIRST", "-o", "json"]);
    let record = recorded(house, &refused, 5, "identity_conflict");
    assert_eq!(record.reason, "IDENTITY_CONFLICT");
    assert_eq!(house.record("FIRST").certificates.len(), 1);
}

#[test]
fn a_tpm_of_another_vendor_and_one_without_endorsement() {
    let house = House::shared();
    let folder = tempfile::tempdir().unwrap();
    let other = device_kit::swtpm::VendorCa::within(folder.path()).unwrap();
    let device = AgentDevice::new(&other);
    let refused = house.enroll(&device, &["-o", "json"]);
    let record = recorded(house, &refused, 3, "attestation_rejected");
    assert_eq!(record.action, "enrollment.begin.refused");
    assert!(record.reason.starts_with("EK_"), "{}", record.reason);
}

#[test]
fn an_unknown_profile_is_no() {
    let house = House::shared();
    let device = house.device("PROFILE");
    let refused = house.enroll(&device, &["--profile", "device-of-dreams", "-o", "json"]);
    assert_eq!(report(&refused, 3)["code"], "profile_violation");
    let refused = house.enroll(&device, &["--profile", "service", "-o", "json"]);
    assert_eq!(report(&refused, 3)["code"], "policy_denied");
    house.enrolled(&device, &[]);
}
