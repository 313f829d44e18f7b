//! P13, P14: what is in the path, and what is not on the public side at all.

use device_kit::rig::{Client, Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use wire::problem::ProblemCode;

use crate::{house, serves, sound};

/// Spellings of an id that no id has.
fn ids() -> Vec<String> {
    let digits = "000102030405060708090a0b0c0d0e0f";
    vec![
        String::new(),
        "..".into(),
        ".".into(),
        "%2e%2e".into(),
        "..%2f..%2fetc%2fpasswd".into(),
        "%2F".into(),
        "%5c".into(),
        "%00".into(),
        "%0a".into(),
        "%ff%fe".into(),
        "%".into(),
        "%zz".into(),
        "enr_".into(),
        digits.into(),
        format!("enr_{}", digits.to_uppercase()),
        format!("ENR_{digits}"),
        format!("enr_{digits}0"),
        format!("enr_{}", &digits[1..]),
        format!("enr_{digits}%00"),
        format!("enr_{digits}%20"),
        format!("%20enr_{digits}"),
        format!("enr_{digits}%2f"),
        format!("enr_{digits};x=1"),
        format!("%65nr_{digits}x"),
        format!("enr_{}", digits.replace('0', "%EF%BC%90")),
        "enr_%E2%80%AE".into(),
        "-1".into(),
        "null".into(),
        "'%20OR%20'1'='1".into(),
        "x".repeat(6_000),
    ]
}

fn get(client: &Client, path: &str) -> Option<u16> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    crate::bombs::status_of(client, head.as_bytes())
}

#[test]
fn p14_ids_that_no_id_is_spelt_like() {
    let rig = house();
    let client = rig.client();
    let rows = rig.rows();
    for id in ids() {
        for path in [
            format!("/v1/enrollments/{id}"),
            format!("/v1/certificates/{id}"),
            format!("/problems/{id}"),
            format!("/v1/enrollments/../enrollments/{id}"),
            format!("//v1//enrollments//{id}"),
        ] {
            let status = get(&client, &path);
            assert!(matches!(status, Some(400 | 404 | 405)), "{path}: {status:?}");
        }
        let head = format!(
            "POST /v1/enrollments/{id}/activation HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let status = crate::bombs::status_of(&client, head.as_bytes());
        assert!(matches!(status, Some(400 | 404 | 405)), "{id}: {status:?}");
    }
    for path in [
        "",
        "*",
        "http://other/v1/issuers",
        "/v1/issuers%00",
        "/V1/issuers",
        "/v1/issuers/",
        "/v1/issuers/../issuers",
    ] {
        let status = get(&client, path);
        assert!(
            matches!(status, None | Some(200 | 400 | 404 | 405)),
            "{path}: {status:?}"
        );
    }
    assert_eq!(
        get(&client, "/v1/enrollments/enr_000102030405060708090a0b0c0d0e0f"),
        Some(404)
    );
    assert_eq!(rig.rows(), rows);
    serves(&rig);
    sound(&rig);
}

/// Names are equal byte for byte, on both engines alike.
fn names_are_bytes(rig: &Rig) {
    let names = ["Gw-1", "gw-1", "GW-1", "gw-01", "gw.1", "gw-1-"];
    let mut kept = Vec::new();
    for name in names {
        let tpm = SoftTpm::p256(&rig.vendor);
        let device = wire::admin::AllowDevice {
            iak_spki_sha256: None,
            ek_spki_sha256: Some(hex::encode(tpm.ek.sha256())),
            ..device_kit::rig::expected(name)
        };
        let (status, _) = rig.admin_call("POST", "/v1/devices", &serde_json::to_vec(&device).unwrap());
        let good = !name.ends_with('-');
        assert_eq!(status, if good { 201 } else { 400 }, "{name}");
        if good {
            kept.push((name, tpm));
        }
    }
    for (name, tpm) in &kept {
        let found = rig.device(name).unwrap();
        assert_eq!(
            (found.name.as_str(), found.ek_spki_sha256),
            (*name, Some(hex::encode(tpm.ek.sha256())))
        );
        let result = rig
            .client()
            .enroll(tpm, &tpm.request("device-ldevid", None, Some(name)))
            .unwrap();
        assert_eq!(result.device, *name);
    }
    for name in ["gW-1", "gw-1%20", "%67w-1x", "..", "gw-1%00", "gw-1%2f"] {
        let (status, _) = rig.admin_call("GET", &format!("/v1/devices/{name}"), &[]);
        assert!(matches!(status, 400 | 404), "{name}: {status}");
    }
}

#[test]
fn p14_both_engines_agree_on_equal_names() {
    names_are_bytes(&Rig::running());
    names_are_bytes(&Rig::with(&Wanted::postgres()));
}

/// No device revokes another, or itself: there is no route of people on the side of the devices.
#[test]
fn p13_the_public_side_has_no_route_of_people() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = house();
    let client = rig.client();
    let rows = rig.rows();
    for path in [
        "/v1/devices",
        "/v1/devices/ATK-0",
        "/v1/devices/ATK-0/tree",
        "/v1/audit",
        "/v1/orphans",
        "/v1/revocations",
        "/v1/certificates/00000000000000000000000000000000/revoke",
        "/v1/certificates/00000000000000000000000000000000/revocation",
        "/v1/certificates/00000000000000000000000000000000/release",
        "/metrics",
        "/readyz",
        "/admin",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
            );
            let status = crate::bombs::status_of(&client, head.as_bytes());
            assert_eq!(status, Some(404), "{method} {path}");
        }
    }
    let raw = client.get("/v1/devices", "");
    assert_eq!(raw.problem().code, ProblemCode::NotFound);
    for method in ["DELETE", "PUT", "PATCH", "POST"] {
        let head = format!(
            "{method} /v1/certificates/00000000000000000000000000000000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(crate::bombs::status_of(&client, head.as_bytes()), Some(405), "{method}");
    }
    assert_eq!(rig.rows(), rows);
    let mode = std::fs::symlink_metadata(rig.server().admin())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "the socket of people is its owner's alone");
}
