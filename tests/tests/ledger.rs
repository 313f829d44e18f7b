//! The ledger of a running CA: what a device is promised, what a stranger finds, what a restored database is told.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::time::{Duration, Instant};

use device_kit::rig::{Rig, Server, Wanted};
use device_kit::soft_tpm::SoftTpm;
use ledger::{
    Entry, Event, KeyName, Note, Promise, ProofFile, SignatureKind, SignedCheckpoint, SigningKey, VerifierKey,
    leaf_hash,
};
use wire::enrollment::IssuedCertificate;

/// The key a stranger was given.
fn key(rig: &Rig) -> VerifierKey {
    let pem = std::fs::read(rig.path("ledger.key")).unwrap();
    let name = KeyName::new("pki.example.net/ledger").unwrap();
    let key = SigningKey::from_pem(name, SignatureKind::Ed25519, &pem).unwrap();
    key.verifier().clone()
}

/// Ask until it is there.
fn fetch(server: &Server, path: &str) -> Vec<u8> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match server.fetch(path) {
            (200, body) => return body,
            (404, _) if Instant::now() < end => std::thread::yield_now(),
            (status, body) => panic!("{path}: {status} {}", String::from_utf8_lossy(&body)),
        }
    }
}

/// The receipt says of the certificate what is so, and its promise is kept. Returns the size of the tree it is in.
fn kept(server: &Server, key: &VerifierKey, certificate: &IssuedCertificate) -> u64 {
    let receipt = certificate.ledger.as_ref().unwrap();
    let entry = Entry::parse(&receipt.entry.0).unwrap();
    let Event::Issued(issuance) = entry.event else { panic!() };
    assert_eq!(hex::encode(&issuance.serial), certificate.serial);
    assert_eq!(issuance.certificate, openssl::sha::sha256(&certificate.certificate.0));
    assert_eq!(issuance.profile, certificate.profile);
    let promise = Promise::open(&Note::parse(receipt.promise.as_bytes()).unwrap(), key).unwrap();
    assert_eq!(
        (promise.leaf, promise.by),
        (leaf_hash(&receipt.entry.0), entry.at + 3600)
    );
    let proof = fetch(server, &format!("/ledger/proof/{}", certificate.serial));
    let signed = ProofFile::parse(&proof).unwrap().verify(&receipt.entry.0, key).unwrap();
    signed.head().size
}

fn enroll(rig: &Rig, server: &Server, name: &str, seed: usize) -> IssuedCertificate {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(name, &tpm);
    let result = server
        .client()
        .enroll(&tpm, &tpm.request("device-ldevid", None, Some(name)))
        .unwrap_or_else(|e| panic!("{seed}: {e:?}"));
    // The same, however often it is asked for.
    let again = server
        .client()
        .get(&format!("/v1/enrollments/{}", result.id), "application/json");
    let again: wire::enrollment::EnrollmentResult = serde_json::from_slice(&again.body).unwrap();
    assert_eq!(again.certificates[0].ledger, result.certificates[0].ledger);
    result.certificates.into_iter().next().unwrap()
}

#[test]
fn a_promise_is_kept_and_outlives_the_server() {
    let mut rig = Rig::with(&Wanted::default().with_crls(0));
    let key = key(&rig);
    let first = enroll(&rig, rig.server(), "GW-1", 1);
    // Killed at once: the leaf was durable before the answer.
    rig.kill();
    rig.start();
    let size = kept(rig.server(), &key, &first);
    let second = enroll(&rig, rig.server(), "GW-2", 2);
    assert!(kept(rig.server(), &key, &second) > size);
    assert!(kept(rig.server(), &key, &first) > size);
    // Of no certificate: nothing.
    assert_eq!(rig.server().fetch("/ledger/proof/00").0, 404);
    assert_eq!(rig.stop(), Some(0));
}

/// Taken out, checked where no server is, and erased when nothing stands on it any more.
#[test]
fn a_bundle_is_taken_out_verified_and_erased_by_command() {
    let rig = Rig::with(&Wanted::default().with_crls(0));
    let issued = enroll(&rig, rig.server(), "GW-1", 1);
    let serial = issued.serial.as_str();
    kept(rig.server(), &key(&rig), &issued);
    let path = |name: &str| rig.path(name).display().to_string();
    for (file, content) in [
        ("trust/ca/root.pem", std::fs::read(rig.path("ca/root.pem")).unwrap()),
        ("trust/tpm/vendor.der", rig.vendor.certificate.clone()),
        ("trust/ledger/key", format!("{}\n", key(&rig)).into_bytes()),
        ("gw-1.der", issued.certificate.0.clone()),
    ] {
        std::fs::create_dir_all(rig.path(file).parent().unwrap()).unwrap();
        std::fs::write(rig.path(file), content).unwrap();
    }
    let run = |arguments: &[&str]| {
        let output = rig
            .command("ca-cli")
            .args(["-o", "json"])
            .args(arguments)
            .output()
            .unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), said, String::from_utf8(output.stderr).unwrap())
    };
    let (out, leaf, trust) = (path("gw-1.tar"), path("gw-1.der"), path("trust"));
    let (code, said, why) = run(&["cert", "bundle", serial, "--out", &out]);
    assert_eq!(code, Some(0), "{why}");
    let sha256 = hex::encode(openssl::sha::sha256(&std::fs::read(&out).unwrap()));
    assert_eq!(
        (said["sha256"].as_str(), &said["ledger"]),
        (Some(sha256.as_str()), &true.into())
    );
    assert_eq!(
        run(&["cert", "bundle", serial, "--out", &out]).0,
        Some(5),
        "a file that is there stays"
    );
    assert_eq!(
        run(&["cert", "bundle", &"0".repeat(32), "--out", &path("none")]).0,
        Some(4)
    );
    let verify = [
        "verify", &leaf, "--bundle", &out, "--trust", &trust, "--level", "software",
    ];
    let (code, said, why) = run(&[&verify[..], &["--rehearsal"]].concat());
    assert_eq!(
        (code, said["verdict"].as_str()),
        (Some(0), Some("valid")),
        "{said} {why}"
    );
    assert_eq!(run(&verify).0, Some(3), "of a rehearsal");
    let erase = ["evidence", "erase", serial, "--reason", "a test"];
    assert_eq!(run(&erase).0, Some(5), "it is good");
    assert_eq!(run(&["revoke", serial, "--reason", "superseded"]).0, Some(0));
    let (code, said, why) = run(&erase);
    assert_eq!(
        (code, &said["serials"]),
        (Some(0), &serde_json::json!([serial])),
        "{why}"
    );
    assert_eq!(run(&["cert", "bundle", serial, "--out", &path("gone")]).0, Some(4));
}

/// L04, S03: yesterday's database, with the server's own memory.
#[test]
fn yesterday_s_database_is_refused() {
    let mut rig = Rig::with(&Wanted::default().with_crls(0));
    let key = key(&rig);
    kept(rig.server(), &key, &enroll(&rig, rig.server(), "GW-1", 1));
    assert_eq!(rig.stop(), Some(0));
    let yesterday = rig.path("yesterday.db");
    std::fs::copy(rig.path("ca.db"), &yesterday).unwrap();
    rig.start();
    kept(rig.server(), &key, &enroll(&rig, rig.server(), "GW-2", 2));
    assert_eq!(rig.stop(), Some(0));
    for behind in ["ca.db-wal", "ca.db-shm"] {
        let _ = std::fs::remove_file(rig.path(behind));
    }
    std::fs::copy(&yesterday, rig.path("ca.db")).unwrap();
    let output = rig.refuses_to_start();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("older than what was said"), "{said}");
}

#[test]
fn two_servers_sign_one_tree() {
    let mut rig = Rig::initialised(&Wanted::postgres().with_crls(0));
    rig.start();
    let other = rig.replica("other");
    let key = key(&rig);
    let mut last = 0;
    for turn in 0..4 {
        let servers = [rig.server(), &other];
        let here = servers[turn % 2];
        let there = servers[(turn + 1) % 2];
        let certificate = enroll(&rig, here, &format!("GW-{turn}"), turn);
        // Whoever is asked.
        let size = kept(here, &key, &certificate);
        let elsewhere = kept(there, &key, &certificate);
        assert!(size > last, "{size} after {last}");
        last = size.max(elsewhere);
        let note = fetch(there, "/ledger/checkpoint");
        let signed = SignedCheckpoint::parse(&note, &key).unwrap();
        assert!(signed.head().size >= elsewhere);
        // The ledger's key and the issuing CA's.
        assert_eq!(signed.note().signatures().len(), 2);
    }
    for server in [rig.server(), &other] {
        let (status, said) = server.monitor("/readyz");
        assert_eq!(status, 200, "{said}");
    }
}

/// What `ca-cli ledger` says, and its exit code.
fn said(rig: &Rig, arguments: &[&str]) -> (Option<i32>, String) {
    let output = rig.command("ca-cli").arg("ledger").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Every verb gives one JSON value, with its schema.
fn one_json_value_each(rig: &Rig, web: &str, vkey: &str, certificate: &str, witness: &[&str]) {
    let file = |name: &str| rig.path(name).display().to_string();
    let place = ["--from", web, "--key", vkey];
    let (head, seen, witnessed) = (file("head0"), file("seen"), file("witnessed"));
    let verbs: [(&str, &[&str]); 5] = [
        ("head", &[]),
        ("proof", &[certificate]),
        ("consistency", &["--since", &head]),
        ("watch", &["--state", &seen]),
        ("witness", &[&["--state", &witnessed], witness].concat()),
    ];
    let key = file("ledger.key");
    let mut all = vec![vec!["key", &key, "--origin", "pki.example.net/ledger"]];
    all.extend(verbs.map(|(verb, arguments)| [&[verb], arguments, &place].concat()));
    for arguments in all {
        let output = rig
            .command("ca-cli")
            .arg("ledger")
            .args(&arguments)
            .args(["-o", "json"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let schema = format!("holdfast.ledger-{}.v1", arguments[0]);
        assert_eq!(value["schema"], schema.as_str(), "{arguments:?}");
    }
}

/// A stranger with the key and nothing else, over HTTP and from the folder; then a CA that cheats.
#[test]
fn a_stranger_follows_the_ledger_and_finds_every_cheat() {
    let mut rig = Rig::initialised(&Wanted::default().with_crls(0).set("ledger", "folder", "public"));
    rig.start();
    let key = key(&rig).to_string();
    let base = rig.path("");
    let file = |name: &str| base.join(name).display().to_string();
    let folder = file("public");
    let web = format!("http://{}/ledger", rig.server().status());
    let (code, text) = said(
        &rig,
        &["key", &file("ledger.key"), "--origin", "pki.example.net/ledger"],
    );
    assert_eq!((code, text.trim_end()), (Some(0), key.as_str()));
    std::fs::write(rig.path("ledger.vkey"), &text).unwrap();
    let mut witness = std::fs::File::create(rig.path("w.key")).unwrap();
    let pem = openssl::pkey::PKey::generate_ed25519()
        .unwrap()
        .private_key_to_pem_pkcs8()
        .unwrap();
    std::io::Write::write_all(&mut witness, &pem).unwrap();
    let vkey = file("ledger.vkey");
    let certificates: Vec<_> = (0..2)
        .map(|turn| {
            let certificate = enroll(&rig, rig.server(), &format!("GW-{turn}"), turn);
            kept(rig.server(), &self::key(&rig), &certificate);
            let head = file(&format!("head{turn}"));
            let (code, text) = said(&rig, &["head", "--from", &web, "--key", &vkey, "--out", &head]);
            assert_eq!(code, Some(0), "{text}");
            for from in [&web, &folder] {
                let (code, text) = said(
                    &rig,
                    &["watch", "--from", from, "--key", &key, "--state", &file("seen")],
                );
                assert_eq!(code, Some(0), "{from}: {text}");
            }
            let der = rig.path(&format!("{turn}.der"));
            std::fs::write(&der, &certificate.certificate.0).unwrap();
            (certificate, der.display().to_string())
        })
        .collect();
    let witness = [
        "--witness-key",
        &file("w.key"),
        "--name",
        "w1.example.org",
        "--out",
        &file("cosigned"),
    ];
    let at = ["witness", "--from", &web, "--key", &vkey, "--state", &file("witnessed")];
    let (code, text) = said(&rig, &[&at[..], &witness].concat());
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = said(
        &rig,
        &["key", &file("w.key"), "--origin", "w1.example.org", "--witness"],
    );
    assert_eq!(code, Some(0));
    let note = Note::parse(&std::fs::read(rig.path("cosigned")).unwrap()).unwrap();
    let seen = ledger::Cosignature::of(&note, &VerifierKey::parse(text.trim_end()).unwrap()).unwrap();
    assert!(seen.time > 1_700_000_000);
    let (code, text) = said(
        &rig,
        &["consistency", "--from", &web, "--key", &vkey, "--since", &file("head0")],
    );
    assert_eq!(code, Some(0), "{text}");
    for (certificate, der) in &certificates {
        for from in [&web, &folder] {
            let out = file("proof");
            let (code, text) = said(&rig, &["proof", der, "--from", from, "--key", &vkey, "--out", &out]);
            assert_eq!(code, Some(0), "{text}");
            let proof = ProofFile::parse(&std::fs::read(&out).unwrap()).unwrap();
            let leaf = &certificate.ledger.as_ref().unwrap().entry.0;
            proof.verify(leaf, &self::key(&rig)).unwrap();
        }
    }
    one_json_value_each(&rig, &web, &vkey, &certificates[0].1, &witness);
    // Not in there: another certificate, of the same CA.
    let issuing = file("ca/issuing.pem");
    for from in [&web, &folder] {
        let (code, text) = said(&rig, &["proof", &issuing, "--from", from, "--key", &vkey]);
        assert_eq!(code, Some(4), "{text}");
    }
    // Another key; a forged checkpoint.
    let other = SigningKey::from_seed(
        KeyName::new("pki.example.net/ledger").unwrap(),
        SignatureKind::Ed25519,
        &[9; 32],
    );
    let other = other.unwrap();
    let (code, text) = said(&rig, &["head", "--from", &web, "--key", &other.verifier().to_string()]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("no key that is known has signed it"), "{text}");
    assert_eq!(rig.stop(), Some(0));
    // What this server signed last.
    let (code, text) = said(
        &rig,
        &["watch", "--from", &folder, "--key", &key, "--state", &file("seen")],
    );
    assert_eq!(code, Some(0), "{text}");
    let checkpoint = rig.path("public/checkpoint");
    let last = std::fs::read(&checkpoint).unwrap();
    let forged = String::from_utf8(last.clone())
        .unwrap()
        .replacen("ledger\n", "ledger\n1", 1);
    std::fs::write(&checkpoint, forged).unwrap();
    let (code, text) = said(&rig, &["head", "--from", &folder, "--key", &vkey]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("is wrong"), "{text}");
    // A checkpoint of before: the ledger was cut.
    std::fs::copy(rig.path("head0"), &checkpoint).unwrap();
    let (code, text) = said(
        &rig,
        &["watch", "--from", &folder, "--key", &vkey, "--state", &file("seen")],
    );
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("was cut"), "{text}");
    assert!(rig.path("seen.wrong").exists());
    // The CA itself signs another tree of the same size.
    let signer = SigningKey::from_pem(
        KeyName::new("pki.example.net/ledger").unwrap(),
        SignatureKind::Ed25519,
        &std::fs::read(rig.path("ledger.key")).unwrap(),
    )
    .unwrap();
    let honest = SignedCheckpoint::parse(&last, signer.verifier()).unwrap();
    let mut head = *honest.head();
    head.root[0] ^= 1;
    let lie = ledger::Checkpoint::new(honest.checkpoint().origin.clone(), head)
        .sign(&signer)
        .unwrap();
    std::fs::write(&checkpoint, lie.note().to_string()).unwrap();
    let (code, text) = said(
        &rig,
        &["watch", "--from", &folder, "--key", &vkey, "--state", &file("seen")],
    );
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("forked"), "{text}");
    // An entry is changed under an honest checkpoint: whoever reads all of it for the first time finds it.
    std::fs::write(&checkpoint, &last).unwrap();
    let bundle = ledger::Resource::entries_at(honest.head().size, 0).unwrap().to_string();
    let bundle = rig.path("public").join(bundle);
    let mut bytes = std::fs::read(&bundle).unwrap();
    let place = bytes.windows(6).position(|w| w == b"issued").unwrap() + 40;
    bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
    std::fs::write(&bundle, bytes).unwrap();
    let (code, text) = said(
        &rig,
        &["watch", "--from", &folder, "--key", &vkey, "--state", &file("fresh")],
    );
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("not those of its tree"), "{text}");
}
