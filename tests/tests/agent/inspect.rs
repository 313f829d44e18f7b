//! `status`, `cert`, `doctor`, `identify`: words, exit codes, schemas.

use crate::device::{AgentDevice, House, errors, report};
use crate::proxy::Proxy;

fn check(doctor: &serde_json::Value, name: &str) -> Option<bool> {
    let checks = doctor["checks"].as_array().unwrap();
    checks.iter().find(|c| c["check"] == name)?["ok"].as_bool()
}

#[test]
fn a_device_before_and_after() {
    let house = House::shared();
    let device = AgentDevice::new(&house.vendor);
    let identity = device.json(&["identify"], 0);
    assert_eq!(identity["schema"], "holdfast.identify.v1");
    assert_eq!(identity["tpm"]["manufacturer"], "id:49424D00");
    let hash = identity["ek_spki_sha256"].as_str().unwrap();
    let qr = String::from_utf8(device.agent(&["identify", "--qr"]).stdout).unwrap();
    assert!(
        qr.contains(&format!("ca-cli device allow NAME --ek {hash}")) && qr.contains('█'),
        "{qr}"
    );

    let status = device.json(&["status"], 4);
    assert_eq!(
        (&status["schema"], &status["state"]),
        (&"holdfast.status.v1".into(), &"not-enrolled".into())
    );
    for question in [["cert", "show"], ["cert", "path"]] {
        let none = device.agent(&[&question[..], &["-o", "json"]].concat());
        assert_eq!(report(&none, 4)["code"], "E-NOT-FOUND");
    }
    let doctor = device.json(&["doctor"], 3);
    assert_eq!(doctor["schema"], "holdfast.doctor.v1");
    for (name, ok) in [
        ("tpm.opens", true),
        ("tpm.lockout", true),
        ("ek.key", true),
        ("certificate", false),
    ] {
        assert_eq!(check(&doctor, name), Some(ok), "{name}: {doctor:#}");
    }
    assert_eq!(device.names(), [""; 0], "who only looks, makes nothing");

    house.allow("LOOK", &device, "auto");
    let proxy = Proxy::to(house.rig.public(), device.path("activation.json"));
    let line = house.at(&proxy.url());
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let enrolled = device.agent(
        &[
            &line[..],
            &["--attestation-profile", "device-iak", "--profile", "device-idevid"],
        ]
        .concat(),
    );
    assert_eq!(enrolled.status.code(), Some(0), "{}", errors(&enrolled));
    let text = String::from_utf8(enrolled.stdout).unwrap();
    assert!(
        text.starts_with("LOOK is enrolled\n") && text.contains("s_client -provider tpm2"),
        "{text}"
    );

    let status = device.json(&["status"], 0);
    assert_eq!(
        (&status["state"], &status["device"]),
        (&"enrolled".into(), &"LOOK".into())
    );
    assert_eq!(status["server"], proxy.url());
    let line = String::from_utf8(device.agent(&["status", "--oneline"]).stdout).unwrap();
    assert_eq!(line, "enrolled LOOK, expires never\n");
    let path = String::from_utf8(device.agent(&["cert", "path"]).stdout).unwrap();
    assert_eq!(path.trim_end(), device.path("cert.pem").display().to_string());
    let shown = device.json(&["cert", "show"], 0);
    assert_eq!(shown["schema"], "holdfast.certificates.v1");
    let items = shown["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    for (item, file) in items.iter().zip(["cert.pem", "ak-cert.pem"]) {
        let der = device.certificate(file).to_der().unwrap();
        assert_eq!(item["sha256"], hex::encode(openssl::sha::sha256(&der)));
        assert_eq!(item["ak_name"], items[1]["ik_name"], "an AK attests itself");
        assert_eq!(item["not_after"], 253_402_300_799_i64);
    }
    let doctor = device.json(&["doctor"], 0);
    for name in ["tpm.opens", "ca.root", "certificate", "key", "ca.reached", "clock"] {
        assert_eq!(check(&doctor, name), Some(true), "{name}: {doctor:#}");
    }
    let table = String::from_utf8(device.agent(&["doctor"]).stdout).unwrap();
    assert!(table.ends_with("All is well.\n") && !table.contains("FAIL"), "{table}");

    // The server is away, then the TPM's owner: each is one red line.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    proxy.retarget(closed);
    let doctor = device.json(&["doctor"], 3);
    assert_eq!(check(&doctor, "ca.reached"), Some(false), "{doctor:#}");
    assert_eq!(check(&doctor, "key"), Some(true), "{doctor:#}");
    proxy.retarget(house.rig.public());
    device.tpm.tool(&["clear", "-c", "p"]).unwrap();
    let doctor = device.json(&["doctor"], 3);
    assert_eq!(check(&doctor, "key"), Some(false), "{doctor:#}");
    assert_eq!(check(&doctor, "ca.reached"), Some(true), "{doctor:#}");
}

#[test]
fn the_command_line_refuses_what_it_cannot_do() {
    let house = House::shared();
    let device = AgentDevice::new(&house.vendor);
    let pin = house.root_sha256();
    for wrong in [
        &["enroll", "--server", "http://localhost:1", "--root-sha256", &pin][..],
        &["enroll", "--server", "https://localhost/x", "--root-sha256", &pin],
        &[
            "enroll",
            "--server",
            "https://localhost",
            "--manufacturer",
            "--profile",
            "service",
        ],
        &["enroll", "--server", "https://localhost", "--key-alg", "p-521"],
        &["enroll", "--server", "https://localhost", "--persistent", "0x80000000"],
        &["enroll"],
    ] {
        let refused = device.agent(wrong);
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}: {}", errors(&refused));
    }
    assert_eq!(
        device.names(),
        [""; 0],
        "a slip of whoever typed is no state of the device"
    );
    let away = device.agent(&[
        "enroll",
        "--server",
        "https://localhost:1",
        "--root-sha256",
        &pin,
        "--wait",
        "0",
        "-o",
        "json",
    ]);
    assert_eq!(report(&away, 7)["code"], "E-SERVER-UNREACHABLE");
    // That nobody reads what it says does not change the answer.
    let mut command = device.command(&["cert", "show"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(command.stderr(writer).status().unwrap().code(), Some(4));
    let script = device.agent(&["completion", "bash"]);
    assert!(script.status.success() && String::from_utf8(script.stdout).unwrap().contains("_ca__agent()"));
    assert_eq!(device.names(), ["last-error.json"]);
}

/// A certificate that names this key (SubjectPublicKeyInfo), of an issuer who says where he is.
fn certificate_of(spki: &[u8]) -> Vec<u8> {
    use openssl::pkey::PKey;
    let signer = PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
    let mut builder = openssl::x509::X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_pubkey(&PKey::public_key_from_der(spki).unwrap()).unwrap();
    let mut name = openssl::x509::X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "Issuing CA").unwrap();
    builder.set_issuer_name(&name.build()).unwrap();
    let days = |n| openssl::asn1::Asn1Time::days_from_now(n).unwrap();
    builder.set_not_before(&days(0)).unwrap();
    builder.set_not_after(&days(9)).unwrap();
    let serial = openssl::bn::BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    let place = device_kit::der::tlv(0x86, b"http://pki.vendor.example/ca.crt");
    let method = device_kit::der::oid("1.3.6.1.5.5.7.48.2");
    let value = device_kit::der::sequence(&[&device_kit::der::sequence(&[&method, &place])]);
    let value = openssl::asn1::Asn1OctetString::new_from_bytes(&value).unwrap();
    let aia = openssl::asn1::Asn1Object::from_str("1.3.6.1.5.5.7.1.1").unwrap();
    let aia = openssl::x509::X509Extension::new_from_der(&aia, false, &value).unwrap();
    builder.append_extension(aia).unwrap();
    builder.sign(&signer, openssl::hash::MessageDigest::sha256()).unwrap();
    builder.build().to_der().unwrap()
}

/// The RSA key that `tpm2_createprimary` makes there, of the low range's or the high range's template.
fn primary(device: &AgentDevice, hierarchy: &str, high: bool) -> Vec<u8> {
    let at = |name: &str| device.folder().join(name).display().to_string();
    let policy = if high {
        "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0"
    } else {
        "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
    };
    std::fs::write(at("policy"), hex::decode(policy).unwrap()).unwrap();
    std::fs::write(at("unique"), [&[0, 1][..], &[0; 256]].concat()).unwrap();
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|adminwithpolicy|restricted|decrypt";
    let attributes = if high {
        format!("{attributes}|userwithauth")
    } else {
        attributes.to_owned()
    };
    let mut arguments: Vec<String> = [
        "tpm2_createprimary",
        "-Q",
        "-C",
        hierarchy,
        "-g",
        "sha256",
        "-G",
        "rsa2048:null:aes128cfb",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend([
        "-a".into(),
        attributes,
        "-L".into(),
        at("policy"),
        "-c".into(),
        at("primary"),
    ]);
    if !high {
        arguments.extend(["-u".into(), at("unique")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    device.tpm.tool(&arguments).unwrap();
    device
        .tpm
        .tool(&[
            "tpm2_readpublic",
            "-Q",
            "-c",
            &at("primary"),
            "-f",
            "der",
            "-o",
            &at("public"),
        ])
        .unwrap();
    device.tpm.tool(&["tpm2_flushcontext", "-t"]).unwrap();
    std::fs::read(at("public")).unwrap()
}

/// What the doctor says of `name` in this device.
fn told(device: &AgentDevice, name: &str) -> String {
    let doctor = device.json(&["doctor"], 3);
    let checks = doctor["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["check"] == name);
    found.unwrap_or_else(|| panic!("{doctor:#}"))["found"]
        .as_str()
        .unwrap()
        .to_owned()
}

const RSA_CERTIFICATE: u32 = 0x01C0_0002;

#[test]
fn doctor_says_wrong_hierarchy() {
    let device = AgentDevice::blank();
    let certificate = certificate_of(&primary(&device, "o", false));
    device.tpm.write_nv(RSA_CERTIFICATE, &certificate).unwrap();
    let said = told(&device, "ek.key");
    assert!(said.starts_with("wrong hierarchy:") && said.contains("owner"), "{said}");
}

#[test]
fn doctor_says_wrong_template() {
    let device = AgentDevice::blank();
    let certificate = certificate_of(&primary(&device, "e", true));
    device.tpm.write_nv(RSA_CERTIFICATE, &certificate).unwrap();
    let said = told(&device, "ek.key");
    assert!(said.starts_with("wrong template:") && said.contains("H-1"), "{said}");
}

#[test]
fn doctor_says_nonce_mismatch_and_certificate_of_another_key() {
    let device = AgentDevice::blank();
    let stranger = openssl::rsa::Rsa::generate(2048).unwrap().public_key_to_der().unwrap();
    device
        .tpm
        .write_nv(RSA_CERTIFICATE, &certificate_of(&stranger))
        .unwrap();
    let said = told(&device, "ek.key");
    assert!(said.starts_with("certificate of another key:"), "{said}");
    device.tpm.write_nv(0x01C0_0003, &[0x42; 32]).unwrap();
    let said = told(&device, "ek.key");
    assert!(said.starts_with("nonce mismatch:"), "{said}");
}

#[test]
fn doctor_says_where_a_missing_issuer_is_and_where_der_breaks() {
    let device = AgentDevice::blank();
    let certificate = certificate_of(&primary(&device, "e", false));
    device.tpm.write_nv(RSA_CERTIFICATE, &certificate).unwrap();
    let said = told(&device, "ek.issuer");
    assert!(said.contains("http://pki.vendor.example/ca.crt"), "{said}");
    assert_eq!(told(&device, "ek.key"), "the certificate is this TPM's");
    // An ECC certificate beside it, cut off.
    device.tpm.write_nv(0x01C0_000A, &certificate[..100]).unwrap();
    let said = told(&device, "ek.nv");
    assert!(
        said.contains("01C0000A") && said.contains("at byte 0: content is cut off"),
        "{said}"
    );
}
