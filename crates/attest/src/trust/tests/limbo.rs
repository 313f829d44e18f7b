//! D03, A11: x509-limbo, the chains on which other verifiers fell: each ends soon, and none is taken that must fail for
//! its path.

use super::*;
use openssl::asn1::Asn1Time;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Groups and cases that must fail for what is not the path's business: names, purposes and keys of a web server's leaf
/// (the EK profile judges an EK's), key identifiers (hints, which vendors leave out), CRLs, and a length the caller sets.
const NOT_OF_THE_PATH: [&str; 25] = [
    "crl::",
    "pathlen::max-chain-depth-",
    "rfc5280::aki::",
    "rfc5280::ca-as-leaf-wrong-san",
    "rfc5280::ee-critical-aia-invalid",
    "rfc5280::eku::",
    "rfc5280::leaf-ku-keycertsign",
    "rfc5280::nc::not-allowed-in-ee-",
    "rfc5280::san::",
    "rfc5280::serial::negative",
    "rfc5280::serial::too-long",
    "rfc5280::serial::zero",
    "rfc5280::ski::",
    "rfc5280::unknown-critical-extension-ee",
    "webpki::aki::",
    "webpki::ca-as-leaf",
    "webpki::cn::",
    "webpki::ee-basicconstraints-ca",
    "webpki::eku::",
    "webpki::forbidden-dsa-leaf",
    "webpki::forbidden-p192-leaf",
    "webpki::forbidden-rsa-",
    "webpki::forbidden-weak-rsa-in-leaf",
    "webpki::malformed-aia",
    "webpki::san::",
];

/// Why a chain that is right elsewhere is refused here: CAs for web servers, constraints nobody processes here, roots that
/// do not sign themselves, and more certificates than are looked at.
const STRICTER: [&str; 6] = [
    "extKeyUsage is not for EK certificates",
    "name or policy constraints, which are not processed",
    "critical extension that is not processed",
    "it is not self-issued",
    "its keyUsage lacks keyCertSign",
    "certificates are offered, 16 are allowed",
];

/// The cases; `None`, said in one line, when they are not beside the checkout.
fn cases() -> Option<Vec<Value>> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/limbo.json.gz");
    if !file.exists() {
        assert!(std::env::var_os("CI").is_none(), "x509-limbo is missing");
        eprintln!("skipped: no x509-limbo beside the checkout");
        return None;
    }
    let output = std::process::Command::new("gzip")
        .arg("-dc")
        .arg(file)
        .output()
        .unwrap();
    let mut limbo: Value = serde_json::from_slice(&output.stdout).unwrap();
    match limbo["testcases"].take() {
        Value::Array(cases) => Some(cases),
        other => panic!("{other}"),
    }
}

fn der(pem: &Value) -> Vec<u8> {
    let lines = pem.as_str().unwrap().lines();
    let text: String = lines.filter(|line| !line.starts_with("-----")).collect();
    openssl::base64::decode_block(&text).unwrap()
}

fn ders(pems: &Value) -> Vec<Vec<u8>> {
    pems.as_array().unwrap().iter().map(der).collect()
}

/// `2024-01-01T00:00:00…`, always in UTC.
fn seconds(text: &str) -> UnixTime {
    let digits = text[..19].replace(['-', ':', 'T'], "");
    let time = Asn1Time::from_str_x509(&format!("{digits}Z")).unwrap();
    let past = Asn1Time::from_unix(0).unwrap().diff(&time).unwrap();
    UnixTime(i64::from(past.days) * 86_400 + i64::from(past.secs))
}

fn judged(case: &Value) -> Result<(), String> {
    let roots = ders(&case["trusted_certs"]);
    let sources = roots
        .iter()
        .enumerate()
        .map(|(number, root)| source(&number.to_string(), root));
    let anchors = Anchors::new(sources.collect(), vec![]).map_err(|error| error.to_string())?;
    let leaf = der(&case["peer_certificate"]);
    let frame = Certificate::parse(&leaf, Leniencies::VENDOR).map_err(|error| error.0.to_owned())?;
    let now = case["validation_time"].as_str().map_or(NOW, seconds);
    let offered = ders(&case["untrusted_intermediates"]);
    let path = anchors.verify(&frame, &offered, now);
    path.map(drop).map_err(|refusal| refusal.detail)
}

#[test]
fn d03_limbo() {
    let Some(cases) = cases() else { return };
    assert!(cases.len() > 9_000);
    let (mut refused, mut taken) = (0, 0);
    for case in &cases {
        let id = case["id"].as_str().unwrap();
        let start = Instant::now();
        let outcome = judged(case);
        assert!(start.elapsed() < Duration::from_secs(1), "{id}: {:?}", start.elapsed());
        match (case["expected_result"] == "SUCCESS", outcome) {
            (false, Err(_)) => refused += 1,
            (false, Ok(())) if id.starts_with("bettertls::nameconstraints") => {
                // Constraints on names are not processed, so no path goes over a CA that has them; these have none.
                let constrained = |der: &Vec<u8>| der.windows(5).any(|w| w == [0x06, 0x03, 0x55, 0x1d, 0x1e]);
                assert!(!ders(&case["untrusted_intermediates"]).iter().any(constrained), "{id}");
            }
            (false, Ok(())) => assert!(
                NOT_OF_THE_PATH.iter().any(|known| id.starts_with(known)),
                "{id} is taken"
            ),
            (true, Ok(())) => taken += 1,
            (true, Err(detail)) => assert!(STRICTER.iter().any(|known| detail.contains(known)), "{id}: {detail}"),
        }
    }
    assert!(refused > 8_700 && taken > 60, "{refused} refused, {taken} taken");
}
