//! D02, P10, P15: what a body may be, and what it may not.

use device_kit::der::name;
use device_kit::rig::{Client, Raw};
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::{Verdict, evidence};
use device_kit::vendor::EkContent;
use serde_json::Value;
use wire::problem::ProblemCode;

use crate::{house, serves, sound};

const BEGIN: &str = "/v1/enrollments";
const ACTIVATE: &str = "/v1/enrollments/enr_000102030405060708090a0b0c0d0e0f/activation";

fn post(client: &Client, path: &str, body: &[u8]) -> Raw {
    client.post_raw(path, "application/json", body)
}

/// Games with an honest body: each differs in one thing from what is taken.
fn games(honest: &str, first: &str) -> Vec<(&'static str, Vec<u8>)> {
    let replaced = |from: &str, to: &str| {
        assert!(honest.contains(from), "{from} in {honest}");
        honest.replacen(from, to, 1).into_bytes()
    };
    let key = format!("\"{first}\":");
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(20_000), close.repeat(20_000));
    vec![
        ("duplicate", replaced(&key, &format!("{key}\"x\",{key}"))),
        ("unknown", replaced("{", "{\"x\":1,")),
        ("number for text", replaced(&key, &format!("\"{first}\":1,\"y\":"))),
        ("huge number", replaced("{", "{\"x\":1e400,")),
        ("huge integer", replaced("{", &format!("{{\"x\":{},", "9".repeat(1000)))),
        ("deep array", replaced("{", &format!("{{\"x\":{},", deep("[", "]")))),
        (
            "deep object",
            format!("{}1{}", "{\"a\":".repeat(9_000), "}".repeat(9_000)).into_bytes(),
        ),
        ("open array", "[".repeat(60_000).into_bytes()),
        ("many members", {
            let members: Vec<String> = (0..5_000).map(|n| format!("\"k{n}\":1")).collect();
            format!("{{{}}}", members.join(",")).into_bytes()
        }),
        ("trailing", format!("{honest}x").into_bytes()),
        ("two values", format!("{honest}{honest}").into_bytes()),
        ("cut", honest.as_bytes()[..honest.len() - 1].to_vec()),
        ("byte order mark", format!("\u{feff}{honest}").into_bytes()),
        ("not UTF-8", [honest.as_bytes(), &[0xff]].concat()),
        ("NUL", [honest.as_bytes(), &[0]].concat()),
        ("comment", format!("/**/{honest}").into_bytes()),
        ("NaN", replaced("{", "{\"x\":NaN,")),
        ("list", format!("[{honest}]").into_bytes()),
        ("null", b"null".to_vec()),
        ("empty", Vec::new()),
    ]
}

#[test]
fn p10_games_with_json() {
    let rig = house();
    let client = rig.client();
    let tpm = SoftTpm::p256(&rig.vendor);
    let request = tpm.request("device-ldevid", None, None);
    let challenge = client.begin(&request).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    let bodies = [
        (BEGIN, serde_json::to_string(&request).unwrap(), "profile"),
        (ACTIVATE, serde_json::to_string(&answer).unwrap(), "ticket"),
    ];
    let rows = rig.rows();
    for (path, honest, first) in bodies {
        for (game, body) in games(&honest, first) {
            let raw = post(&client, path, &body);
            let problem = raw.problem();
            assert_eq!(
                (raw.status, problem.code),
                (400, ProblemCode::Malformed),
                "{path}: {game}"
            );
            // The detail may quote names of the input, made harmless.
            let detail = problem.detail.unwrap_or_default();
            assert!(
                detail.len() <= 200 && detail.bytes().all(|b| (0x20..0x7f).contains(&b)),
                "{detail:?}"
            );
        }
        let many: Vec<String> = (0..1_000_000).map(|n| format!("\"k{n}\":1")).collect();
        let raw = post(&client, path, format!("{{{}}}", many.join(",")).as_bytes());
        assert_eq!((raw.status, raw.problem().code), (413, ProblemCode::PayloadTooLarge));
    }
    assert_eq!(rig.rows(), rows);
    client.begin(&request).unwrap();
    serves(&rig);
    sound(&rig);
}

/// Every field of base64, in every spelling that is not the one.
#[test]
fn p10_spellings_of_base64() {
    let rig = house();
    let client = rig.client();
    let tpm = SoftTpm::p256(&rig.vendor);
    let honest = serde_json::to_value(tpm.request("device-ldevid", None, None)).unwrap();
    for field in ["ek_certificate", "ek_public", "ak_public"] {
        let text = honest["rot"][field].as_str().unwrap();
        for spelling in [
            text.trim_end_matches('=').to_owned() + "=====",
            text.replacen('A', "-", 1),
            format!("{text}\n"),
            format!(" {text}"),
            format!("{}\n{}", &text[..4], &text[4..]),
            "!".to_owned(),
            "A".to_owned(),
        ] {
            let mut attack = honest.clone();
            attack["rot"][field] = Value::from(spelling);
            let raw = post(&client, BEGIN, &serde_json::to_vec(&attack).unwrap());
            assert_eq!(
                (raw.status, raw.problem().code),
                (400, ProblemCode::Malformed),
                "{field}"
            );
        }
    }
    assert_eq!(post(&client, BEGIN, &serde_json::to_vec(&honest).unwrap()).status, 201);
}

/// SQL, shells and format strings in every text there is.
#[test]
fn d02_injections_in_every_text() {
    let rig = house();
    let client = rig.client();
    let tpm = SoftTpm::p256(&rig.vendor);
    let rows = rig.rows();
    for text in [
        "' OR '1'='1",
        "'; DROP TABLE device; --",
        "\" OR \"\"=\"",
        "1; SELECT pg_sleep(10)",
        "%' UNION SELECT pin FROM secrets --",
        "$(id)",
        "`id`",
        "{{7*7}}",
        "%s%s%s%n",
        "\\'; --",
        "\u{0}",
        "a\u{0}b",
        "\u{ff07} OR 1=1",
    ] {
        let mut request = tpm.request(text, None, None);
        let raw = post(&client, BEGIN, &serde_json::to_vec(&request).unwrap());
        assert_eq!(
            (raw.status, raw.problem().code),
            (422, ProblemCode::ProfileViolation),
            "{text:?}"
        );
        request = tpm.request("device-idevid", Some(text), None);
        let raw = post(&client, BEGIN, &serde_json::to_vec(&request).unwrap());
        assert_eq!(
            (raw.status, raw.problem().code),
            (422, ProblemCode::ProfileViolation),
            "{text:?}"
        );
        request = tpm.request("device-ldevid", None, Some(text));
        rig.refuses_begin(&client, &request, Verdict::of(ProblemCode::Malformed, "MALFORMED"));
        // What software speaks is for no decision and no table.
        request = tpm.request("device-ldevid", None, None);
        request.agent = Some(wire::enrollment::AgentInfo { version: text.into() });
        assert_eq!(post(&client, BEGIN, &serde_json::to_vec(&request).unwrap()).status, 201);
        // Names in an endorsement: of the TPM they are refused, of the subject they are for nobody.
        let content = EkContent {
            model: text.into(),
            ..EkContent::honest(&tpm.ek.key)
        };
        let mut request = tpm.request("device-ldevid", None, None);
        *evidence(&mut request).ek_certificate = rig.vendor.ek_certificate(&tpm.ek.spki, &content).into();
        rig.refuses_begin(&client, &request, Verdict::attestation("EK_PROFILE"));
        let content = EkContent {
            subject: name(&[("2.5.4.3", text), ("2.5.4.5", text)]),
            ..EkContent::honest(&tpm.ek.key)
        };
        let mut request = tpm.request("device-ldevid", None, None);
        *evidence(&mut request).ek_certificate = rig.vendor.ek_certificate(&tpm.ek.spki, &content).into();
        client.begin(&request).unwrap();
        // People's words are checked alike.
        let device = device_kit::rig::expected(text);
        let (status, _) = rig.admin_call("POST", "/v1/devices", &serde_json::to_vec(&device).unwrap());
        assert_eq!(status, 400, "{text:?}");
        let path = "/v1/audit?subject=%27%20OR%20%271%27%3D%271";
        let (status, body) = rig.admin_call("GET", path, &[]);
        assert_eq!((status, body), (200, b"{\"items\":[]}".to_vec()));
    }
    assert_eq!(rig.rows(), rows);
    serves(&rig);
    sound(&rig);
}

#[test]
fn p15_media_types() {
    let rig = house();
    let client = rig.client();
    let tpm = SoftTpm::p256(&rig.vendor);
    let body = serde_json::to_vec(&tpm.request("device-ldevid", None, None)).unwrap();
    for kind in [
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/json+x",
        "application/problem+json",
        "application/*",
        "*/*",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/cbor",
        "application/json; charset=utf-16",
        "application/json; charset=iso-8859-1",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json;",
        "application/json, text/plain",
        "application/json; version=1",
        "",
    ] {
        for path in [BEGIN, ACTIVATE] {
            let raw = client.post_raw(path, kind, &body);
            assert_eq!(
                (raw.status, raw.problem().code),
                (415, ProblemCode::UnsupportedMedia),
                "{kind:?}"
            );
        }
    }
    for kind in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
    ] {
        assert_eq!(client.post_raw(BEGIN, kind, &body).status, 201, "{kind}");
    }
    let refused = client.get("/v1/certificates/00000000000000000000000000000000", "text/html");
    assert_eq!(refused.problem().code, ProblemCode::UnsupportedMedia);
    sound(&rig);
}

/// Headers no library sends: the type twice or not at all, a coding, trailers.
#[test]
fn p15_headers_of_a_body() {
    let rig = house();
    let client = rig.client();
    let tpm = SoftTpm::p256(&rig.vendor);
    let body = serde_json::to_vec(&tpm.request("device-ldevid", None, None)).unwrap();
    let length = format!("Content-Length: {}\r\n", body.len());
    let json = "Content-Type: application/json\r\n";
    let cases: [(String, u16); 6] = [
        (format!("{json}{length}"), 201),
        (length.clone(), 415),
        (format!("{json}{json}{length}"), 415),
        (format!("{json}Content-Type: text/plain\r\n{length}"), 415),
        (format!("{json}Content-Encoding: gzip\r\n{length}"), 415),
        (format!("{json}Content-Encoding: identity\r\n{length}"), 415),
    ];
    for (headers, status) in cases {
        let head = format!("POST {BEGIN} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        assert_eq!(
            crate::bombs::status_of(&client, &[head.as_bytes(), &body].concat()),
            Some(status),
            "{headers}"
        );
    }
    // A chunked body with trailers is a body; what the trailers say is nothing to us.
    let chunked = format!(
        "POST {BEGIN} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{json}Transfer-Encoding: chunked\r\nTrailer: Content-Type\r\n\r\n{:x}\r\n",
        body.len()
    );
    let request = [chunked.as_bytes(), &body, b"\r\n0\r\nContent-Type: text/plain\r\n\r\n"].concat();
    let status = crate::bombs::status_of(&client, &request);
    assert!(matches!(status, Some(201 | 400)), "{status:?}");
    serves(&rig);
    sound(&rig);
}
