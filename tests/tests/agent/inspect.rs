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
