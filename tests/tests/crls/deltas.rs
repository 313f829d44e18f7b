//! Delta CRLs on the wire, and what OpenSSL and `ca-cli` make of them.

use super::*;

fn with_deltas(shards: u16) -> Wanted {
    let mut terms = toml::Table::new();
    for (key, value) in [("every", "10m"), ("valid", "1h")] {
        let _ = terms.insert(key.to_owned(), value.into());
    }
    Wanted::default().with_crls(shards).set("crl", "delta", terms)
}

fn delta_path(path: &str) -> String {
    path.replace(".crl", "-delta.crl")
}

/// What `ca-cli crl fetch` says of what is served.
fn fetched(rig: &Rig, path: &str) -> Value {
    let chain = rig.path("ca/chain.pem").display().to_string();
    let url = format!("http://{}{path}", rig.server().status());
    rig.cli_json(&["crl", "fetch", &url, "--issuer", &chain])
}

/// What the delta of a device's shard says of it, once it stands on the CRL that is served.
fn said(rig: &Rig, device: &Device) -> Option<String> {
    let path = delta_path(&device.path);
    if rig.server().fetch(&path).0 != 200 {
        return None;
    }
    let (base, delta) = (fetched(rig, &device.path), fetched(rig, &path));
    if base["crl"]["number"] != delta["crl"]["base"] {
        return None;
    }
    let mut listed = delta["listed"].as_array().unwrap().iter();
    let entry = listed.find(|entry| entry["serial"] == device.serial.as_str());
    Some(
        entry
            .map_or("nothing", |entry| entry["reason"].as_str().unwrap())
            .to_owned(),
    )
}

/// `openssl verify -crl_check` of a device with these CRLs, deltas used where they fit.
fn judged(rig: &Rig, device: &Device, paths: &[&str]) -> (bool, String) {
    let mut pem = Vec::new();
    for path in paths {
        let (_, der) = rig.server().fetch(path);
        pem.extend(X509Crl::from_der(&der).unwrap().to_pem().unwrap());
    }
    let file = |name: &str, bytes: &[u8]| {
        let path = rig.dir.path().join(format!("{}-{name}", device.serial));
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let leaf = X509::from_der(&device.certificate).unwrap().to_pem().unwrap();
    openssl(&[
        "verify",
        "-x509_strict",
        "-crl_check",
        "-extended_crl",
        "-use_deltas",
        "-CAfile",
        &rig.path("ca/root.pem").display().to_string(),
        "-untrusted",
        &rig.path("ca/issuing.pem").display().to_string(),
        "-CRLfile",
        &file("crls.pem", &pem),
        &file("leaf.pem", &leaf),
    ])
}

#[test]
fn openssl_hears_of_a_revocation_by_the_delta() {
    let rig = Rig::with(&with_deltas(2));
    let (good, lost, held) = (enroll(&rig, "good"), enroll(&rig, "lost"), enroll(&rig, "held"));
    for device in [&good, &lost, &held] {
        until("a delta on each CRL", || {
            said(&rig, device).as_deref() == Some("nothing")
        });
    }
    // Revoked in the delta only: accepted by whoever has the base alone, refused by whoever has both.
    revoke(&rig, &lost, "keyCompromise");
    until("it is in the delta", || {
        said(&rig, &lost).as_deref() == Some("keyCompromise")
    });
    let delta = delta_path(&lost.path);
    assert!(!listed(rig.server(), &lost), "the complete CRL comes when it is due");
    let (ok, words) = judged(&rig, &lost, &[&lost.path]);
    assert!(ok, "{words}");
    let (ok, words) = judged(&rig, &lost, &[&lost.path, &delta]);
    assert!(!ok && words.contains("certificate revoked"), "{words}");
    let (ok, words) = judged(&rig, &good, &[&good.path, &delta_path(&good.path)]);
    assert!(ok, "{words}");
    // The delta of another shard is not put upon it, and a delta alone is no CRL.
    let other = ["/crl/0.crl", "/crl/1.crl"]
        .into_iter()
        .find(|path| *path != lost.path)
        .unwrap();
    let (ok, words) = judged(&rig, &lost, &[&lost.path, &delta_path(other)]);
    assert!(ok, "{words}");
    let (ok, words) = judged(&rig, &lost, &[&delta]);
    assert!(!ok && words.contains("unable to get certificate CRL"), "{words}");

    // On hold in the base, released in the delta.
    let _ = rig.cli_json(&["hold", &held.serial]);
    let _ = rig.cli_json(&["crl", "publish"]);
    until("the base lists both", || {
        listed(rig.server(), &held) && listed(rig.server(), &lost)
    });
    until("a delta on it", || said(&rig, &held).as_deref() == Some("nothing"));
    let both = [held.path.as_str(), &delta_path(&held.path)];
    assert!(!judged(&rig, &held, &both).0);
    let _ = rig.cli_json(&["release", &held.serial]);
    until("it is taken back", || {
        said(&rig, &held).as_deref() == Some("removeFromCRL")
    });
    let (ok, words) = judged(&rig, &held, &both[..1]);
    assert!(!ok && words.contains("certificate revoked"), "{words}");
    let (ok, words) = judged(&rig, &held, &both);
    assert!(ok, "{words}");
    // The revocation is carried on by the base.
    assert!(!judged(&rig, &lost, &[&lost.path, &delta]).0);

    // As OpenSSL prints them.
    let issuing = rig.path("ca/issuing.pem").display().to_string();
    for (path, words) in [
        (lost.path.as_str(), "X509v3 Freshest CRL: \n"),
        (delta.as_str(), "X509v3 Delta CRL Indicator: critical"),
    ] {
        let file = rig.dir.path().join("printed.crl").display().to_string();
        std::fs::write(&file, rig.server().fetch(path).1).unwrap();
        let (ok, said) = openssl(&[
            "crl", "-inform", "der", "-in", &file, "-noout", "-text", "-CAfile", &issuing,
        ]);
        assert!(ok && said.contains("verify OK") && said.contains(words), "{said}");
    }
    let base = fetched(&rig, &lost.path);
    assert_eq!(
        base["crl"]["delta_url"],
        format!("http://pki.example.net{delta}").as_str()
    );
    everywhere_without_alarm(&[rig.server()]);
}

/// `verify --crl`, and what people see.
#[test]
fn people_see_and_judge_deltas() {
    let rig = Rig::with(&with_deltas(0));
    let (lost, held) = (enroll(&rig, "lost"), enroll(&rig, "held"));
    let _ = rig.cli_json(&["hold", &held.serial]);
    let _ = rig.cli_json(&["crl", "publish"]);
    until("a delta", || {
        said(&rig, &held).as_deref() == Some("nothing") && listed(rig.server(), &held)
    });
    revoke(&rig, &lost, "superseded");
    let _ = rig.cli_json(&["release", &held.serial]);
    until("both are said", || {
        said(&rig, &lost).as_deref() == Some("superseded") && said(&rig, &held).as_deref() == Some("removeFromCRL")
    });
    let file = |name: &str, bytes: &[u8]| {
        let path = rig.dir.path().join(name).display().to_string();
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let base = file("base.crl", &rig.server().fetch("/crl/all.crl").1);
    let delta = file("delta.crl", &rig.server().fetch("/crl/all-delta.crl").1);
    let verify = |device: &Device, crls: &[&String]| {
        let leaf = file(
            "leaf.pem",
            &X509::from_der(&device.certificate).unwrap().to_pem().unwrap(),
        );
        let root = rig.path("ca/root.pem").display().to_string();
        let issuing = rig.path("ca/issuing.pem").display().to_string();
        let mut arguments = vec![
            "verify",
            &leaf,
            "--trust",
            &root,
            "--untrusted",
            &issuing,
            "--rehearsal",
            "-o",
            "json",
        ];
        for crl in crls {
            arguments.extend(["--crl", crl]);
        }
        let output = rig.cli(&arguments);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = said["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["id"] == "revocation").unwrap();
        (output.status.code(), check["found"].as_str().unwrap().to_owned())
    };
    assert_eq!(verify(&lost, &[&base]).0, Some(0), "the base does not know it yet");
    let (code, why) = verify(&lost, &[&base, &delta]);
    assert!(code == Some(3) && why.starts_with("revoked since"), "{why}");
    assert_eq!(verify(&held, &[&base]).0, Some(3));
    assert_eq!(verify(&held, &[&delta, &base]).0, Some(0), "the delta takes it back");
    // A delta alone does not speak for who is not in it.
    let good = enroll(&rig, "good");
    let (code, why) = verify(&good, &[&delta]);
    assert!(code == Some(3) && why.contains("its base must be given"), "{why}");
    assert_eq!(verify(&good, &[&base, &delta]).0, Some(0));

    let page = rig.cli_json(&["crl", "list"]);
    let place = &page["items"][0];
    assert_eq!(place["delta"]["url"], "http://pki.example.net/crl/all-delta.crl");
    assert_eq!(place["delta"]["base"], place["published"]["number"]);
    let shown = rig.cli_json(&["crl", "show", "http://pki.example.net/crl/all-delta.crl"]);
    assert_eq!(shown["crl"]["base"], place["delta"]["base"]);
    let output = rig.cli(&["crl", "show", &delta]);
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        words.contains("a delta: what differs from number") && words.contains("removeFromCRL"),
        "{words}"
    );
    // Served as CRLs are.
    let (head, _) = head_of(rig.server(), "/crl/all-delta.crl");
    for words in [
        "content-type: application/pkix-crl",
        "cache-control: public, max-age=",
        "etag: \"",
    ] {
        assert!(head.contains(words), "{head}");
    }
}

fn head_of(server: &Server, path: &str) -> (String, Vec<u8>) {
    let mut stream = std::net::TcpStream::connect(server.status()).unwrap();
    let text = format!("GET {path} HTTP/1.1\r\nHost: pki.example.net\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    (head, answer[end..].to_vec())
}

/// Two servers publish CRLs and deltas at once, again and again, while certificates are revoked: no number twice, no alarm,
/// and at the end both serve all of it.
#[test]
fn r02_two_replicas_publish_deltas_at_once() {
    let mut wanted = Wanted::postgres().with_crls(2);
    wanted
        .settings
        .extend(with_deltas(2).settings.into_iter().filter(|(_, key, _)| key == "delta"));
    let rig = Rig::with(&wanted);
    let second = rig.replica("second");
    let devices: Vec<Device> = (0..6).map(|n| enroll(&rig, &format!("gw-{n}"))).collect();
    until("deltas", || devices.iter().all(|device| said(&rig, device).is_some()));
    std::thread::scope(|scope| {
        for server in [rig.server(), &second] {
            let (rig, admin) = (&rig, server.admin().display().to_string());
            scope.spawn(move || {
                for _ in 0..6 {
                    let done = rig.cli_json(&["crl", "publish", "--admin", &admin]);
                    for item in done["items"].as_array().unwrap() {
                        assert!(
                            ["published", "overtaken"].contains(&item["outcome"].as_str().unwrap()),
                            "{item}"
                        );
                    }
                    // Deltas are of later seconds.
                    std::thread::sleep(Duration::from_millis(700));
                }
            });
        }
        for device in &devices {
            revoke(&rig, device, "superseded");
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    until("all are said", || {
        devices
            .iter()
            .all(|device| listed(rig.server(), device) || said(&rig, device).as_deref() == Some("superseded"))
    });
    let both = [rig.server(), &second];
    until("both serve the same deltas", || {
        (0..2).all(|shard| {
            let path = format!("/crl/{shard}-delta.crl");
            both[0].fetch(&path) == both[1].fetch(&path)
        })
    });
    everywhere_without_alarm(&both);
    let deltas = rig.sql("SELECT count(*) FROM crl WHERE base IS NOT NULL AND tbs_sha256 IS NOT NULL");
    assert!(deltas.trim().parse::<i64>().unwrap() >= 4, "{deltas}");
}
