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

/// Longest that one case may take before it counts as a hang.
const HANG: Duration = Duration::from_secs(20);

/// Judge all cases on another thread: one that never ends is a failure of its own, and is named.
fn judge_all(cases: &[Value], mut each: impl FnMut(&Value, Result<(), String>)) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let worker_cases = cases.to_vec();
    let worker = std::thread::spawn(move || {
        for case in &worker_cases {
            let start = Instant::now();
            let outcome = judged(case);
            sender.send((start.elapsed(), outcome)).unwrap();
        }
    });
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let (took, outcome) = receiver
            .recv_timeout(HANG)
            .unwrap_or_else(|_| panic!("{id} hangs, or made the verifier panic"));
        assert!(took < Duration::from_secs(1), "{id}: {took:?}");
        each(case, outcome);
    }
    worker.join().unwrap();
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/limbo.md");

const HEAD: &str = "\
# x509-limbo: our verdicts beside theirs

Made by the test `d03_the_page_of_limbo_is_true` (`HOLDFAST_WRITE_PAGES=1` writes it anew); do not edit. [x509-limbo](https://x509-limbo.com) is a suite
for certificate verifiers of the web. Its chains run here against the path alone: whether a leaf is one of an EK is the business of the EK profile, which
refuses every leaf of this suite. Only groups in which something differs are listed.

- **agrees**: the same verdict.
- **stricter**: right for the web, refused here, for the reason below.
- **not of the path**: wrong for the web because of something that is not looked at in a path; where it is looked at here stands beside it.
- **laxer**: taken although the path must be refused. There is none, and one more fails the test. No case hangs: each has a second.
";

/// Who looks at what is not of the path.
fn elsewhere(id: &str) -> &'static str {
    let of = |prefixes: &[&str]| prefixes.iter().any(|prefix| id.starts_with(prefix));
    if of(&["bettertls::nameconstraints"]) {
        "no constraint is in the chain that is taken; a CA that has one is never used"
    } else if of(&["crl::"]) {
        "no CRL is in the request: a refused CA is in the trust store"
    } else if of(&["pathlen::max-chain-depth"]) {
        "a length that the caller sets; here it is 8 always"
    } else if of(&["rfc5280::aki", "rfc5280::ski", "webpki::aki"]) {
        "key identifiers decide nothing (A41); vendors leave them out"
    } else if of(&["rfc5280::serial"]) {
        "a named leniency for vendors' serials (A39)"
    } else if of(&[
        "webpki::forbidden",
        "rfc5280::leaf-ku",
        "rfc5280::unknown-critical-extension-ee",
        "webpki::ee-basic",
    ]) {
        "of the leaf: the EK profile (EK_KEY, EK_PROFILE)"
    } else {
        "names, purposes and extensions of a web server's leaf: the EK profile asks for others (EK_PROFILE)"
    }
}

/// `rfc5280::aki` of `rfc5280::aki::critical-aki`; the long groups without the number of the case.
fn group(id: &str) -> String {
    let mut parts = id.split("::");
    let (one, two) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if parts.next().is_some() || one == "bettertls" {
        format!("{one}::{two}")
    } else {
        one.to_owned()
    }
}

#[test]
fn d03_the_page_of_limbo_is_true() {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
    let Some(cases) = cases() else { return };
    let mut agree = 0;
    let mut stricter: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut other: BTreeMap<(String, &str), usize> = BTreeMap::new();
    judge_all(&cases, |case, outcome| {
        let id = case["id"].as_str().unwrap();
        match (case["expected_result"] == "SUCCESS", outcome) {
            (true, Err(detail)) => {
                let why = STRICTER.iter().find(|known| detail.contains(**known));
                *stricter.entry((group(id), why.unwrap_or(&"?"))).or_default() += 1;
            }
            (false, Ok(())) => *other.entry((group(id), elsewhere(id))).or_default() += 1,
            _ => agree += 1,
        }
    });
    let mut page = HEAD.to_owned();
    let sum = |all: &BTreeMap<(String, &str), usize>| all.values().sum::<usize>();
    write!(
        page,
        "\n| verdict | cases |\n|---|---|\n| agrees | {agree} |\n| stricter | {} |\n| not of the path | {} |\n| laxer | 0 |\n",
        sum(&stricter),
        sum(&other)
    )
    .unwrap();
    for (title, head, all) in [("Stricter", "why", &stricter), ("Not of the path", "where", &other)] {
        write!(page, "\n## {title}\n\n| group | cases | {head} |\n|---|---|---|\n").unwrap();
        for ((group, why), count) in all {
            writeln!(page, "| `{group}` | {count} | {why} |").unwrap();
        }
    }
    if std::env::var_os("HOLDFAST_WRITE_PAGES").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    assert_eq!(page, std::fs::read_to_string(PAGE).unwrap());
}

#[test]
fn d03_limbo() {
    let Some(cases) = cases() else { return };
    assert!(cases.len() > 9_000);
    let (mut refused, mut taken) = (0, 0);
    judge_all(&cases, |case, outcome| {
        let id = case["id"].as_str().unwrap();
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
    });
    assert!(refused > 8_700 && taken > 60, "{refused} refused, {taken} taken");
}
