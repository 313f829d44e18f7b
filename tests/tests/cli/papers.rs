//! Completions, man pages, and certificates in words.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use device_kit::der::{generalized_time, name, tlv, utc_time};
use device_kit::keys::ec;
use device_kit::vendor::{Content, VendorCa, random_serial};
use openssl::nid::Nid;
use wire::enrollment::KeyRole;

use crate::kit::{Folder, alone, cli_alone, house, settled};

/// Whether a shell reads this script without complaint; `None` when it is not installed.
fn reads(shell: &str, script: &str) -> Option<bool> {
    let mut child = Command::new(shell).arg("-n").stdin(Stdio::piped()).spawn().ok()?;
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    Some(child.wait().unwrap().success())
}

#[test]
fn u8_completions_load() {
    for shell in ["bash", "zsh", "fish"] {
        let said = cli_alone(&["completion", shell]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        for verb in ["doctor", "allow", "--first-contact", "hardware-allowlisted"] {
            assert!(said.out.contains(verb.trim_start_matches("--")), "{shell}: {verb}");
        }
        match reads(shell, &said.out) {
            Some(good) => assert!(good, "{shell}"),
            None => eprintln!("skipped: {shell} is not installed; its script was not loaded"),
        }
    }
    assert_eq!(reads("bash", "if"), Some(false), "`bash -n` can refuse");
    assert_eq!(cli_alone(&["completion", "tcsh"]).code, 2);
}

#[test]
fn u8_man_pages_load() {
    let folder = Folder::new();
    let dir = folder.path("man1");
    let said = cli_alone(&["man", dir.to_str().unwrap(), "-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let value = said.json();
    let pages: Vec<&str> = value["pages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p.as_str().unwrap())
        .collect();
    for wanted in [
        "ca-cli.1",
        "ca-cli-verify.1",
        "ca-cli-device-allow.1",
        "ca-cli-hsm-probe.1",
        "ca-cli-audit-show.1",
    ] {
        assert!(pages.contains(&wanted), "{wanted}: {pages:?}");
    }
    for page in pages {
        let path = dir.join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\n.TH ca-cli") && text.contains("\n.SH NAME"), "{page}");
        let man = Command::new("man")
            .args(["--warnings", "-l"])
            .arg(&path)
            .env("LC_ALL", "C.UTF-8")
            .output();
        match man {
            Ok(output) => {
                assert!(output.status.success(), "{page}: {output:?}");
                assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}");
            }
            Err(_) => eprintln!("skipped: man is not installed; {page} was not loaded"),
        }
    }
}

#[test]
fn a_certificate_in_words() {
    let folder = Folder::new();
    let leaf = folder.pem("leaf.pem", &[house().certificate(KeyRole::Identity)]);
    let said = cli_alone(&["cert", "inspect", &leaf]);
    assert_eq!(said.code, 0, "{said:?}");
    let text = settled(&said.out);
    // The line of the hardware module name runs on without a space.
    let (text, module): (Vec<&str>, Vec<&str>) = text.lines().partition(|l| !l.contains("hardwareModuleName:"));
    assert_eq!(module.len(), 1);
    let identifier = text.iter().filter(|l| l.contains("permanentIdentifier:")).count();
    assert_eq!(identifier, 1);
    let text: Vec<&str> = text
        .into_iter()
        .filter(|l| !l.contains("permanentIdentifier:"))
        .collect();
    let x64 = "x".repeat(64);
    let groups = text.iter().position(|l| l.starts_with("sha256 ")).unwrap();
    let expected = format!(
        "\
subject     serialNumber=GW-7F3K-00412
issuer      O=Kit, CN=REHEARSAL Kit Issuing 1A
serial      {}
valid from  DDDD-DD-DD (some time ago)
expires     never
key         P-256
key sha256  {x64}
signed with ECDSA with SHA-256
key usage   digitalSignature
proven      tcg-cap-verifiedTPMResidency
proven      tcg-cap-verifiedTPMFixed
proven      hardware-verified
bound to    a root of trust of kind tpm
  basis     ek-activation
  EK sha256 {x64}
  AK Name   {x68}
  key Name  {x68}
  evidence  {x64}",
        "x".repeat(32),
        x68 = "x".repeat(68),
    );
    assert_eq!(text[..groups].join("\n"), expected);
    assert_eq!(text.len(), groups + 2);
    let said = cli_alone(&["cert", "inspect", &leaf, "--qr"]);
    assert!(said.out.contains('█'), "{}", said.out);
}

#[test]
fn standard_input_is_a_file_too() {
    let pem = std::fs::read(house().rig.path("ca/chain.pem")).unwrap();
    let mut command = alone(&["cert", "inspect", "-", "-o", "json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&pem).unwrap();
    let output = child.wait_with_output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let subjects: Vec<&str> = value["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["subject"].as_str().unwrap())
        .collect();
    assert_eq!(
        subjects,
        ["O=Kit, CN=REHEARSAL Kit Issuing 1A", "O=Kit, CN=REHEARSAL Kit Root R1"]
    );
}

/// Chips' certificates are odd in every way; all of them can be looked into.
#[test]
fn every_real_ek_certificate_can_be_looked_into() {
    let leaves = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/ek/leaves");
    let Ok(entries) = std::fs::read_dir(&leaves) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "the corpus of EK certificates is missing"
        );
        eprintln!("skipped: no corpus of EK certificates beside the checkout");
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let said = cli_alone(&["cert", "inspect", path.to_str().unwrap(), "-o", "json"]);
        assert_eq!(said.code, 0, "{}: {said:?}", path.display());
        let certificate = &said.json()["items"][0];
        assert_ne!(certificate["key"], "unknown", "{}", path.display());
        let spki = attest::ek::certificate_spki(&std::fs::read(&path).unwrap()).unwrap();
        let digest = hex::encode(openssl::sha::sha256(&spki));
        assert_eq!(certificate["spki_sha256"], *digest, "{}", path.display());
    }
}

#[test]
fn a_hostile_certificate_stays_text() {
    let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}\r\nsubject     O=Us";
    let dns = tlv(0x82, b"x\x1b[2J\ny");
    let ca = VendorCa::root("Root");
    let certificate = ca.certify(&Content {
        serial: random_serial(),
        subject: name(&[("2.5.4.3", hostile)]),
        not_before: utc_time("250101000000Z"),
        not_after: generalized_time("99991231235959Z"),
        spki: ec(Nid::X9_62_PRIME256V1).public_key_to_der().unwrap(),
        extensions: vec![device_kit::der::extension("2.5.29.17", false, &tlv(0x30, &dns))],
    });
    let folder = Folder::new();
    let file = folder.put("hostile.der", &certificate);
    let root = folder.put("root.der", &ca.certificate);
    for arguments in [
        &["cert", "inspect", &file][..],
        &["cert", "inspect", &file, "-o", "json"],
        &["verify", &file, "--trust", &root],
        &["verify", &file, "--trust", &root, "-o", "json"],
    ] {
        let said = cli_alone(arguments);
        let text = format!("{}{}", said.out, said.err);
        let raw = text
            .chars()
            .find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(raw, None, "{arguments:?}: {said:?}");
        let forged = text.lines().any(|l| l.starts_with("subject     O=Us"));
        assert!(!forged, "no line of its own making: {text}");
    }
}
