//! Every kind of key and endorsement; what is stored is what OpenSSL uses.

use openssl::hash::MessageDigest;
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};
use openssl::x509::X509;
use wire::admin::AllowDevice;

use crate::device::{AgentDevice, House, errors};

/// The certificate verifies what OpenSSL signs with the key.
fn signs(device: &AgentDevice, certificate: &X509, key: &str) {
    let public = certificate.public_key().unwrap();
    let (name, digest) = match public.bits() {
        384 | 3072 => ("sha384", MessageDigest::sha384()),
        _ => ("sha256", MessageDigest::sha256()),
    };
    let signature = device.openssl_signs(key, name, b"hello");
    let verify = |pss: bool, message: &[u8]| {
        let mut verifier = Verifier::new(digest, &public).unwrap();
        if pss {
            verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
        }
        verifier.verify_oneshot(&signature, message).unwrap_or(false)
    };
    let rsa = public.rsa().is_ok();
    assert!(verify(false, b"hello") || rsa && verify(true, b"hello"), "{key}");
    assert!(!(verify(false, b"hallo") || rsa && verify(true, b"hallo")), "{key}");
}

/// Both EKs of a TPM are shown, and are one device from then on.
#[test]
fn the_other_ek_is_the_same_device() {
    let house = House::shared();
    let device = house.device("BOTH-EKS");
    house.enrolled(&device, &[]);
    let record = house.record("BOTH-EKS");
    let eks: Vec<(&str, &str)> = record
        .eks
        .iter()
        .map(|ek| (ek.ek_spki_sha256.as_str(), ek.shown.as_str()))
        .collect();
    let (ecc, rsa) = (device.ek_sha256("ecc"), device.ek_sha256("rsa"));
    assert_eq!(eks, [(ecc.as_str(), "named"), (rsa.as_str(), "same_ak")]);
    house.has_one_identity("BOTH-EKS", &device);
    let taken = house.rig.cli(&["device", "allow", "BOTH-EKS-2", "--ek", &rsa]);
    assert_eq!(taken.status.code(), Some(5));
    assert!(errors(&taken).contains("BOTH-EKS"), "{}", errors(&taken));
}

#[test]
fn every_key_and_endorsement() {
    let house = House::shared();
    let cases = [
        ("p-256", "p-256", "auto"),
        ("p-384", "p-384", "ecc"),
        ("rsa-2048", "rsa-2048", "rsa"),
        ("rsa-2048:rsassa", "rsa-2048:rsassa", "ecc"),
        ("rsa-3072", "rsa-3072", "rsa"),
        ("rsa-3072:rsassa", "p-384", "auto"),
        ("p-384", "rsa-3072:rsassa", "rsa"),
        ("p-256", "rsa-2048:rsapss", "p256"),
    ];
    for (number, (key, ak, ek)) in cases.into_iter().enumerate() {
        let name = format!("ALG-{number}");
        let device = AgentDevice::new(&house.vendor);
        let ek = if ek == "p256" {
            device.tpm.add_p256_endorsement(&house.vendor).unwrap();
            let seen = device.json(&["identify", "--ek", "ecc"], 0);
            let used = seen["endorsements"]
                .as_array()
                .unwrap()
                .iter()
                .find(|e| e["spki_sha256"] == seen["ek_spki_sha256"]);
            assert_eq!(used.unwrap()["template"], "L-2", "{seen:#}");
            "ecc"
        } else {
            ek
        };
        house.allow(&name, &device, ek);
        let said = house.enrolled(
            &device,
            &["--key-alg", key, "--ak-alg", ak, "--ek", ek, "--device", &name],
        );
        assert_eq!(said["device"], name.as_str());
        house.openssl_verifies(&device, "cert.pem");
        house.has_one_identity(&name, &device);
        let certificate = device.certificate("cert.pem");
        signs(
            &device,
            &certificate,
            &device.path("key.tss2.pem").display().to_string(),
        );
    }
}

#[test]
fn what_is_stored_is_private_and_a_second_run_changes_nothing() {
    let house = House::shared();
    let device = house.device("FILES");
    let first = house.enrolled(&device, &["--persistent", "0x81000100"]);
    assert_eq!(first["schema"], "holdfast.enrolled.v1");
    assert_eq!((&first["device"], &first["already"]), (&"FILES".into(), &false.into()));
    let held = device.certificate("cert.pem");
    let serial = hex::encode(held.serial_number().to_bn().unwrap().to_vec());
    assert_eq!(
        first["certificates"],
        serde_json::json!([{ "profile": "device-ldevid", "key": "identity", "serial": serial,
            "file": device.path("cert.pem") }])
    );
    let files = device.files();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "ak.tss2.pem",
        "cert.pem",
        "chain.pem",
        "enrolled.json",
        "key.tss2.pem",
        "ledger.json",
        "root.pem",
    ];
    assert_eq!(names, expected);
    assert!(files.iter().all(|(_, mode)| *mode == 0o600), "{files:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(device.state()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(
        X509::from_pem(&device.read("root.pem")).unwrap().to_der().unwrap(),
        house.rig.root
    );

    // The key works by its handle too.
    signs(&device, &held, "handle:0x81000100");

    let before: Vec<Vec<u8>> = names.iter().map(|name| device.read(name)).collect();
    let again = house.enrolled(&device, &["--persistent", "0x81000100"]);
    assert_eq!(again["already"], true);
    assert_eq!(again["certificates"], first["certificates"]);
    let after: Vec<Vec<u8>> = names.iter().map(|name| device.read(name)).collect();
    assert_eq!(before, after);
    let words = house.enroll(&device, &[]);
    assert_eq!(words.status.code(), Some(0));
    let text = String::from_utf8(words.stdout).unwrap();
    assert!(text.starts_with("FILES is enrolled already\n"), "{text}");
    // Another wish for the same directory is not granted, and not overlooked.
    let other = house.enroll(&device, &["--profile", "service"]);
    assert_eq!(other.status.code(), Some(2), "{}", errors(&other));
    assert!(
        errors(&other).contains("--profile device-ldevid as before"),
        "{}",
        errors(&other)
    );
    house.has_one_identity("FILES", &device);
}

#[test]
fn a_request_made_by_openssl_with_the_key() {
    let house = House::shared();
    let device = house.device("REQ");
    let said = house.enrolled(&device, &["--profile", "device-ldevid"]);
    let key = said["openssl_key"].as_str().unwrap();
    assert_eq!(key, device.path("key.tss2.pem").display().to_string());
    let output = device
        .tpm
        .command("openssl")
        .args(["req", "-new", "-subj", "/CN=later", "-sha256", "-key", key])
        .args([
            "-provider",
            "tpm2",
            "-provider",
            "default",
            "-propquery",
            "?provider=tpm2",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    let request = openssl::x509::X509Req::from_pem(&output.stdout).unwrap();
    let certified = device.certificate("cert.pem").public_key().unwrap();
    assert!(request.verify(&certified).unwrap());
}

#[test]
fn the_makers_keys_outlive_power_and_the_state_directory() {
    let house = House::shared();
    let mut device = house.device("MADE");
    let said = house.enrolled(&device, &["--manufacturer", "--device", "MADE"]);
    assert_eq!(said["openssl_key"], "handle:0x81020000");
    let profiles: Vec<&str> = said["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["profile"].as_str().unwrap())
        .collect();
    assert_eq!(profiles, ["device-idevid", "device-iak"]);
    let files = ["cert.pem", "ak-cert.pem"];
    for file in files {
        house.openssl_verifies(&device, file);
    }
    let certificates = files.map(|file| device.read(file));
    device.tpm.power_cycle().unwrap();
    let idevid = device.certificate("cert.pem");
    signs(&device, &idevid, "handle:0x81020000");

    // The machine is installed anew: the keys are found where they are, and the CA gives their certificates again.
    device.reinstall();
    let again = house.enrolled(&device, &["--manufacturer"]);
    assert_eq!(again["already"], false);
    assert_eq!(files.map(|file| device.read(file)), certificates);
    let live = house
        .record("MADE")
        .certificates
        .iter()
        .filter(|c| c.state == "issued")
        .count();
    assert_eq!(live, 2);

    // Other keys are not put in their place.
    device.reinstall();
    let taken = house.enroll(&device, &["--manufacturer", "--key-alg", "p-384", "-o", "json"]);
    assert_eq!(crate::device::report(&taken, 5)["code"], "E-TPM-HANDLE-TAKEN");
    // Elsewhere there is room for a key, but the device has its identity.
    device.reinstall();
    let line = [
        "--manufacturer",
        "--key-alg",
        "p-384",
        "--persistent",
        "0x81020002",
        "-o",
        "json",
    ];
    let second = house.enroll(&device, &line);
    assert_eq!(crate::device::report(&second, 5)["code"], "identity_conflict");
}

/// The maker's keys of the stronger templates (TCG H-3, H-6), in the TPM at their handles.
#[test]
fn the_makers_keys_of_the_stronger_algorithms() {
    let house = House::shared();
    for (number, (key, ak)) in [("p-384", "p-384"), ("rsa-3072", "rsa-3072")].into_iter().enumerate() {
        let name = format!("STRONG-{number}");
        let device = house.device(&name);
        let line = ["--manufacturer", "--device", &name, "--key-alg", key, "--ak-alg", ak];
        let said = house.enrolled(&device, &line);
        assert_eq!(said["openssl_key"], "handle:0x81020000");
        for file in ["cert.pem", "ak-cert.pem"] {
            house.openssl_verifies(&device, file);
        }
        let bits = if key == "p-384" { 384 } else { 3072 };
        let idevid = device.certificate("cert.pem");
        assert_eq!(idevid.public_key().unwrap().bits(), bits);
        assert_eq!(device.certificate("ak-cert.pem").public_key().unwrap().bits(), bits);
        signs(&device, &idevid, "handle:0x81020000");
    }
}

#[test]
fn a_service_gets_the_names_of_the_inventory() {
    let house = House::shared();
    let device = AgentDevice::new(&house.vendor);
    house.rig.allow_with(&AllowDevice {
        iak_spki_sha256: None,
        ek_spki_sha256: Some(device.ek_sha256("auto")),
        dns_names: vec!["api.example.org".into(), "db.example.org".into()],
        ..device_kit::rig::expected("SRV")
    });
    house.enrolled(&device, &["--profile", "service", "--key-alg", "p-384"]);
    house.openssl_verifies(&device, "cert.pem");
    let certificate = device.certificate("cert.pem");
    let names = certificate.subject_alt_names().unwrap();
    let dns: Vec<&str> = names.iter().filter_map(|n| n.dnsname()).collect();
    assert_eq!(dns, ["api.example.org", "db.example.org"]);
    assert!(!device.path("ak-cert.pem").exists());
}
