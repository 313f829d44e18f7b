//! CRLs end to end: the real server, the real SoftHSM, both databases; what relying parties fetch, and what they make of it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

#[path = "crls/deltas.rs"]
mod deltas;
#[path = "crls/faults.rs"]
mod faults;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use device_kit::holder::Holder;
use device_kit::rig::{Rig, Server, Wanted};
use device_kit::soft_tpm::SoftTpm;
use openssl::x509::{X509, X509Crl};
use serde_json::Value;

/// Within what a revocation must be heard of: a second, a round, and a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A device with a certificate: DER, serial, path of its distribution point.
struct Device {
    certificate: Vec<u8>,
    serial: String,
    path: String,
}

fn enroll(rig: &Rig, name: &str) -> Device {
    enroll_as(rig, name, "device-ldevid", None)
}

fn enroll_as(rig: &Rig, name: &str, profile: &str, attestation: Option<&str>) -> Device {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(name, &tpm);
    let result = rig
        .client()
        .enroll(&tpm, &tpm.request(profile, attestation, None))
        .unwrap();
    let certificate = result.certificates[0].certificate.0.clone();
    let points = X509::from_der(&certificate).unwrap().crl_distribution_points().unwrap();
    let url = points[0].distpoint().unwrap().fullname().unwrap()[0]
        .uri()
        .unwrap()
        .to_owned();
    Device {
        certificate,
        serial: result.certificates[0].serial.clone(),
        path: url.strip_prefix("http://pki.example.net").unwrap().to_owned(),
    }
}

fn revoke(rig: &Rig, device: &Device, reason: &str) {
    let _ = rig.cli_json(&["revoke", &device.serial, "--reason", reason]);
}

fn crl(server: &Server, path: &str) -> Option<X509Crl> {
    let (status, body) = server.fetch(path);
    (status == 200).then(|| X509Crl::from_der(&body).unwrap())
}

/// Whether the CRL that is served lists the device.
fn listed(server: &Server, device: &Device) -> bool {
    let wanted = openssl::bn::BigNum::from_hex_str(&device.serial).unwrap();
    crl(server, &device.path).is_some_and(|crl| {
        crl.get_revoked().is_some_and(|all| {
            all.iter()
                .any(|entry| entry.serial_number().to_bn().unwrap() == *wanted)
        })
    })
}

fn openssl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// `openssl verify -crl_check` of a device with what its own distribution point serves.
fn relied_upon(rig: &Rig, device: &Device) -> (bool, String) {
    let (_, der) = rig.server().fetch(&device.path);
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = rig.dir.path().join(format!("{}-{name}", device.serial));
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let leaf = file(
        "leaf.pem",
        &X509::from_der(&device.certificate).unwrap().to_pem().unwrap(),
    );
    let crl = file("crl.pem", &X509Crl::from_der(&der).unwrap().to_pem().unwrap());
    let path = |path: PathBuf| path.display().to_string();
    openssl(&[
        "verify",
        "-x509_strict",
        "-crl_check",
        "-CAfile",
        &path(rig.path("ca/root.pem")),
        "-untrusted",
        &path(rig.path("ca/issuing.pem")),
        "-CRLfile",
        &path(crl),
        &path(leaf),
    ])
}

fn everywhere_without_alarm(servers: &[&Server]) {
    for server in servers {
        assert_eq!(server.metric("ca_crl_alarms_total"), 0.0, "{}", server.log());
        assert_eq!(server.metric("ca_crl_alarmed"), 0.0);
    }
}

#[test]
fn relying_parties_hear_of_revocations() {
    let rig = Rig::with(&Wanted::default().with_crls(3));
    let (good, lost, held) = (enroll(&rig, "good"), enroll(&rig, "lost"), enroll(&rig, "held"));
    until("three CRLs", || {
        (0..3).all(|n| crl(rig.server(), &format!("/crl/{n}.crl")).is_some())
    });
    for device in [&good, &lost, &held] {
        let (ok, said) = relied_upon(&rig, device);
        assert!(ok, "{said}");
    }
    revoke(&rig, &lost, "keyCompromise");
    let _ = rig.cli_json(&["hold", &held.serial]);
    until("both are listed", || {
        listed(rig.server(), &lost) && listed(rig.server(), &held)
    });
    let (ok, said) = relied_upon(&rig, &lost);
    assert!(!ok && said.contains("certificate revoked"), "{said}");
    assert!(relied_upon(&rig, &good).0);
    let _ = rig.cli_json(&["release", &held.serial]);
    until("the hold is gone", || !listed(rig.server(), &held));
    assert!(relied_upon(&rig, &held).0);
    assert!(listed(rig.server(), &lost));

    // The shard of another is no answer (its issuingDistributionPoint is critical).
    let other = (0..3)
        .map(|n| format!("/crl/{n}.crl"))
        .find(|path| *path != good.path)
        .unwrap();
    let stray = Device {
        path: other,
        certificate: good.certificate.clone(),
        serial: good.serial.clone(),
    };
    let (ok, said) = relied_upon(&rig, &stray);
    assert!(!ok && said.to_lowercase().contains("crl"), "{said}");

    // The whole as OpenSSL reads it.
    let file = rig.dir.path().join("lost.crl").display().to_string();
    std::fs::write(&file, rig.server().fetch(&lost.path).1).unwrap();
    let issuing = rig.path("ca/issuing.pem").display().to_string();
    let (ok, said) = openssl(&[
        "crl", "-inform", "der", "-in", &file, "-noout", "-text", "-CAfile", &issuing,
    ]);
    assert!(ok && said.contains("verify OK"), "{said}");
    for words in [
        "Key Compromise",
        "X509v3 CRL Number",
        "X509v3 Issuing Distribution Point: critical",
        "X509v3 Authority Key Identifier",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (status, body) = rig.server().fetch("/ca/issuing.cer");
    assert_eq!(status, 200);
    assert_eq!(
        X509::from_der(&body).unwrap().to_pem().unwrap(),
        std::fs::read(rig.path("ca/issuing.pem")).unwrap()
    );
    everywhere_without_alarm(&[rig.server()]);
}

/// HEAD and conditional requests, octet by octet.
#[test]
fn caches_are_told_what_they_need() {
    let rig = Rig::with(&Wanted::default().with_crls(0));
    until("a CRL", || crl(rig.server(), "/crl/all.crl").is_some());
    let ask = |method: &str, more: &str| {
        let mut stream = std::net::TcpStream::connect(rig.server().status()).unwrap();
        let text =
            format!("{method} /crl/all.crl HTTP/1.1\r\nHost: pki.example.net\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        (head, answer[end..].to_vec())
    };
    let header = |head: &str, name: &str| {
        let found = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.unwrap_or_default().to_owned()
    };
    let (head, body) = ask("GET", "");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(header(&head, "content-type"), "application/pkix-crl");
    assert_eq!(header(&head, "content-length"), body.len().to_string());
    let tag = header(&head, "etag");
    let (head, none) = ask("HEAD", "");
    assert!(head.starts_with("http/1.1 200") && none.is_empty(), "{head}");
    assert_eq!(header(&head, "content-length"), body.len().to_string());
    assert_eq!(header(&head, "etag"), tag);
    let (head, none) = ask("GET", &format!("If-None-Match: {tag}\r\n"));
    assert!(head.starts_with("http/1.1 304") && none.is_empty(), "{head}");
    assert_eq!(header(&head, "etag"), tag);
    assert!(header(&head, "cache-control").starts_with("public, max-age="), "{head}");
}

/// Two servers publish the same CRLs at once, again and again, while certificates are revoked: no number twice, none
/// smaller, no alarm, and at the end both serve all of it.
#[test]
fn r02_two_replicas_publish_at_once() {
    const ROUNDS: usize = 12;
    let rig = Rig::with(&Wanted::postgres().with_crls(2));
    let second = rig.replica("second");
    let devices: Vec<Device> = (0..6).map(|n| enroll(&rig, &format!("gw-{n}"))).collect();
    let publish = |server: &Server| {
        let admin = server.admin().display().to_string();
        let done = rig.cli_json(&["crl", "publish", "--admin", &admin]);
        for item in done["items"].as_array().unwrap() {
            let outcome = item["outcome"].as_str().unwrap();
            assert!(["published", "overtaken"].contains(&outcome), "{item}");
        }
    };
    std::thread::scope(|scope| {
        for server in [rig.server(), &second] {
            scope.spawn(move || (0..ROUNDS).for_each(|_| publish(server)));
        }
        let mut seen = [[0_i64; 2]; 2];
        for device in &devices {
            revoke(&rig, device, "superseded");
            // What each server serves never goes back.
            for (server, seen) in [rig.server(), &second].into_iter().zip(&mut seen) {
                for (shard, last) in seen.iter_mut().enumerate() {
                    let Some(crl) = crl(server, &format!("/crl/{shard}.crl")) else {
                        continue;
                    };
                    let now = number(&crl);
                    assert!(now >= *last, "{now} after {last}");
                    *last = now;
                }
            }
        }
    });
    let servers = [rig.server(), &second];
    until("both serve all of it", || {
        servers
            .iter()
            .all(|server| devices.iter().all(|device| listed(server, device)))
    });
    everywhere_without_alarm(&servers);
    let numbers: Vec<i64> = rig
        .sql("SELECT number FROM crl ORDER BY id")
        .lines()
        .map(|n| n.parse().unwrap())
        .collect();
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
    assert!(numbers.len() >= 2 * 2 * ROUNDS, "{}", numbers.len());
}

/// CRLNumber, as OpenSSL reads it.
fn number(crl: &X509Crl) -> i64 {
    let mut child = Command::new("openssl")
        .args(["crl", "-inform", "der", "-noout", "-crlnumber"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&crl.to_der().unwrap()).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    i64::from_str_radix(said.trim().strip_prefix("crlNumber=0x").unwrap(), 16).unwrap()
}

/// What holds every place of a CRL: a publication waits between signature and swap. Taking a number locks the key of the
/// place; this leaves that open.
const EVERY_PLACE: &str = "SELECT FROM crl_point FOR NO KEY UPDATE";

/// R02: killed between signature and publication. The number is burnt, the next is greater, nothing is lost.
#[test]
fn r02_killed_between_signature_and_publication() {
    let wanted = Wanted::postgres().with_crls(0);
    let mut rig = Rig::with(&wanted);
    let device = enroll(&rig, "gw-1");
    until("a CRL", || crl(rig.server(), "/crl/all.crl").is_some());
    let holder = Holder::of(&wanted.database, EVERY_PLACE);
    revoke(&rig, &device, "superseded");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock' AND query LIKE 'SELECT \"crl_point\"% FOR UPDATE%'";
    until("it is signed and waits", || rig.sql(waiting) == "1");
    let signed: i64 = rig
        .sql("SELECT max(number) FROM crl WHERE tbs_sha256 IS NOT NULL")
        .parse()
        .unwrap();
    rig.kill();
    drop(holder);
    rig.start();
    until("it is listed", || listed(rig.server(), &device));
    let out = number(&crl(rig.server(), "/crl/all.crl").unwrap());
    assert!(out > signed, "{out} after {signed}");
    everywhere_without_alarm(&[rig.server()]);
}

/// R09: the token goes away. The old CRL stays and is served, the alarm comes; the token's return is enough.
#[test]
fn r09_the_token_goes_away_and_comes_back() {
    let wanted = Wanted::default()
        .with_crls(0)
        .set("crl", "every", "2s")
        .set("crl", "valid", "8s")
        .set("hsm", "probe_interval", "1s")
        .set("hsm", "login_backoff", "1s");
    let rig = Rig::with(&wanted);
    until("a CRL", || crl(rig.server(), "/crl/all.crl").is_some());
    let tokens = rig.path("tokens");
    let hidden = rig.path("tokens.away");
    std::fs::rename(&tokens, &hidden).unwrap();
    until("the alarm", || {
        let (_, said) = rig.monitor("/readyz?verbose");
        said.contains("[!] crl CRL_LATE") || said.contains("[!] crl CRL_ENDED")
    });
    let old = number(&crl(rig.server(), "/crl/all.crl").unwrap());
    std::fs::rename(&hidden, &tokens).unwrap();
    until("a newer one", || {
        number(&crl(rig.server(), "/crl/all.crl").unwrap()) > old
    });
    until("no alarm", || rig.server().metric("ca_crl_alarmed") == 0.0);
    let audit = rig.cli_json(&["audit", "show", "http://pki.example.net/crl/all.crl"]);
    let reasons: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|r| r["reason"].as_str())
        .collect();
    assert!(
        reasons.contains(&"CRL_ALARM_OVER") && reasons.contains(&"CRL_LATE"),
        "{reasons:?}"
    );
}

/// What a person does about CRLs.
#[test]
fn people_look_and_publish() {
    let rig = Rig::with(&Wanted::default().with_crls(2));
    let device = enroll(&rig, "gw-1");
    until("CRLs", || {
        (0..2).all(|n| crl(rig.server(), &format!("/crl/{n}.crl")).is_some())
    });
    let page = rig.cli_json(&["crl", "list"]);
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert_eq!(page["items"][0]["alarms"], Value::Array(Vec::new()));
    let url = format!("http://pki.example.net{}", device.path);
    let before = rig.cli_json(&["crl", "show", &url]);
    revoke(&rig, &device, "superseded");
    let done = rig.cli_json(&["crl", "publish", &url]);
    assert_eq!(done["items"][0]["outcome"], "published");
    let after = rig.cli_json(&["crl", "show", &url, "--serial", &device.serial]);
    assert!(after["crl"]["number"].as_u64() > before["crl"]["number"].as_u64());
    assert_eq!(after["listed"][0]["reason"], "superseded");

    let file = rig.dir.path().join("fetched.crl").display().to_string();
    let chain = rig.path("ca/chain.pem").display().to_string();
    let there = format!("http://{}{}", rig.server().status(), device.path);
    until("it is served", || listed(rig.server(), &device));
    let _ = rig.cli_json(&["crl", "fetch", &there, "--out", &file, "--issuer", &chain]);
    let shown = rig.cli_json(&["crl", "show", &file, "--issuer", &chain]);
    assert_eq!(shown["listed"][0]["serial"], device.serial.as_str());
    let root = rig.path("ca/root.pem").display().to_string();
    for (arguments, code) in [
        (vec!["crl", "fetch", "https://localhost/x"], 2),
        (
            vec!["crl", "fetch", &format!("http://{}/none.crl", rig.server().status())],
            4,
        ),
        (vec!["crl", "show", &file, "--issuer", &root], 3),
        (vec!["crl", "show", "http://pki.example.net/none.crl"], 4),
        (vec!["crl", "publish", "http://pki.example.net/none.crl"], 4),
        (vec!["crl", "show", &file, "--issuer", &chain, "--serial", "12"], 2),
    ] {
        let output = rig.cli(&arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    // `verify --crl`: the revoked one is refused, for that alone; without a CRL that speaks for it, too.
    let leaf = rig.dir.path().join("leaf.pem").display().to_string();
    std::fs::write(&leaf, X509::from_der(&device.certificate).unwrap().to_pem().unwrap()).unwrap();
    let issuing = rig.path("ca/issuing.pem").display().to_string();
    let other = rig.dir.path().join("other.crl").display().to_string();
    let path = ["/crl/0.crl", "/crl/1.crl"]
        .into_iter()
        .find(|path| **path != device.path)
        .unwrap();
    std::fs::write(&other, rig.server().fetch(path).1).unwrap();
    let verify = |crl: &str| {
        let arguments = [
            "verify",
            &leaf,
            "--trust",
            &root,
            "--untrusted",
            &issuing,
            "--rehearsal",
            "-o",
            "json",
            "--crl",
            crl,
        ];
        let output = rig.cli(&arguments);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let bad: Vec<String> = said["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["ok"] == false)
            .map(|check| {
                format!(
                    "{}: {}",
                    check["id"].as_str().unwrap(),
                    check["found"].as_str().unwrap()
                )
            })
            .collect();
        (output.status.code(), bad)
    };
    let (code, bad) = verify(&file);
    assert_eq!((code, bad.len()), (Some(3), 1), "{bad:?}");
    assert!(bad[0].starts_with("revocation: revoked since"), "{bad:?}");
    let (code, bad) = verify(&other);
    assert!(
        code == Some(3) && bad[0].starts_with("revocation: it is for"),
        "{bad:?}"
    );
    let good = enroll(&rig, "gw-2");
    let fresh = rig.dir.path().join("fresh.crl").display().to_string();
    std::fs::write(&fresh, rig.server().fetch(&good.path).1).unwrap();
    std::fs::write(&leaf, X509::from_der(&good.certificate).unwrap().to_pem().unwrap()).unwrap();
    assert_eq!(verify(&fresh), (Some(0), Vec::new()));
}

/// F14: a leap day and the end of a year, under a clock of one's own.
#[test]
fn f14_the_calendar() {
    let mut rig = Rig::initialised(&Wanted::default().with_crls(0));
    let clock = rig.fake_clock();
    rig.start();
    // One without an end.
    let device = enroll_as(&rig, "gw-1", "device-idevid", Some("device-iak"));
    revoke(&rig, &device, "superseded");
    until("it is listed", || listed(rig.server(), &device));
    let now = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            .cast_signed()
    };
    // Ten seconds before midnight, seconds since 1970; the first CRL of the new day says so.
    for (midnight, day, next) in [
        (1_830_297_600, "Jan  1 00:00", "Jan  2"),
        (1_835_395_200, "Feb 29 00:00", "Mar  1"),
        (1_835_481_600, "Mar  1 00:00", "Mar  2"),
    ] {
        clock.moved(&format!("+{}s", midnight - 10 - now()));
        until(day, || {
            let _ = rig.cli(&["crl", "publish"]);
            let crl = crl(rig.server(), "/crl/all.crl").unwrap();
            crl.last_update().to_string().starts_with(day) && crl.next_update().unwrap().to_string().starts_with(next)
        });
        assert!(listed(rig.server(), &device), "{day}");
    }
    // A jump of months is late for a moment; nothing else was wrong, and it is over.
    until("no alarm", || rig.server().metric("ca_crl_alarmed") == 0.0);
    let (_, text) = rig.monitor("/metrics");
    let other = |line: &&str| {
        line.starts_with("ca_crl_alarms_total") && !line.contains("CRL_LATE") && !line.contains("CRL_ENDED")
    };
    assert_eq!(text.lines().find(other), None);
}
