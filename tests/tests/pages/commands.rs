//! What the pages tell people to type does what they say: taken from the page, and run.

use std::path::Path;
use std::process::Command;

use device_kit::others::{go_program, prints, there};

use crate::kit::{Stand, code, until};

/// Run lines of a shell in a folder; names of the CA's hosts lead to the server, by a proxy that it does not notice.
fn shell(stand: &Stand, folder: &Path, lines: &str) -> (bool, String) {
    let out = Command::new("bash")
        .args(["-euo", "pipefail", "-c", lines])
        .current_dir(folder)
        .env("http_proxy", format!("http://{}", stand.server().status()))
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    (out.status.success(), said)
}

fn pem(der: &[u8]) -> Vec<u8> {
    openssl::x509::X509::from_der(der).unwrap().to_pem().unwrap()
}

#[test]
fn a_certificate_is_verified_as_the_trust_page_says() {
    let stand = Stand::new();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let page = stand.page("/trust");
    let device = |at: usize| std::fs::write(folder.join("device.pem"), pem(&stand.devices[at].certificate.0)).unwrap();
    device(0);
    let (good, said) = shell(&stand, folder, &code(&page, "do-fetch"));
    let root = stand.rig.path("ca/root.pem");
    let root = openssl::x509::X509::from_pem(&std::fs::read(root).unwrap()).unwrap();
    let print = root.digest(openssl::hash::MessageDigest::sha256()).unwrap();
    let shown = said.replace(':', "").to_lowercase();
    assert!(good && shown.contains(&hex::encode(print)), "{said}");
    let openssl = code(&page, "do-openssl");
    let (good, said) = shell(&stand, folder, &openssl);
    assert!(good && said.contains("device.pem: OK"), "{said}");
    assert!(said.contains("1.3.6.1.4.1.32473.27071.2.1"), "its level: {said}");
    let go = there("go").then(|| go_program(&code(&page, "do-go"), folder));
    let run = || {
        go.as_ref()
            .map(|program| prints(Command::new(program).current_dir(folder)))
    };
    assert!(
        run().is_none_or(|said| said.contains("accepted: a hardware TPM")),
        "{:?}",
        run()
    );
    // Not of this CA.
    let vendor = stand.rig.vendor.certificate.clone();
    std::fs::write(folder.join("device.pem"), pem(&vendor)).unwrap();
    let (good, said) = shell(&stand, folder, &openssl);
    assert!(!good, "{said}");
    assert!(run().is_none_or(|said| said.starts_with("refused: ")), "{:?}", run());
    // Revoked: both look at what they fetched.
    let serial = &stand.devices[1].serial;
    for arguments in [
        &["revoke", serial, "--reason", "keyCompromise"][..],
        &["crl", "publish"],
    ] {
        let out = stand.rig.command("ca-cli").args(arguments).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    let (good, said) = shell(&stand, folder, &code(&page, "do-fetch"));
    assert!(good, "{said}");
    device(1);
    let (good, said) = shell(&stand, folder, &openssl);
    assert!(!good && said.contains("revoked"), "{said}");
    assert!(
        run().is_none_or(|said| said.starts_with("refused: revoked")),
        "{:?}",
        run()
    );
}

#[test]
fn a_proof_is_checked_as_its_page_says() {
    let stand = Stand::new();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let page = stand.page(&format!("/verify/{}", stand.devices[0].serial));
    let program = code(&page, "do-path");
    let python = |text: &str| {
        let out = Command::new("python3").args(["-I", "-c", text]).output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (good, said) = python(&program);
    let serial = format!("\"serial\":\"{}\"", stand.devices[0].serial);
    assert!(good && said.contains(&serial), "{said}");
    let root = said.lines().last().unwrap();
    assert!(page.contains(root));
    // One digit of the path.
    let (before, rest) = program
        .split_once("(\"left\", \"")
        .or_else(|| program.split_once("(\"right\", \""))
        .unwrap();
    let digit = if rest.starts_with('0') { "1" } else { "0" };
    let side = &program[before.len()..program.len() - rest.len()];
    assert!(!python(&format!("{before}{side}{digit}{}", &rest[1..])).0);
    let commands = code(&page, "do-signature");
    let (good, said) = shell(&stand, folder, &commands);
    assert!(good && said.contains("Signature Verified Successfully"), "{said}");
    let (good, _) = shell(
        &stand,
        folder,
        &commands.replacen("printf '%s\\n' ", "printf '%s\\n' x", 1),
    );
    assert!(!good, "of another origin");
}

/// The reader of docs/verify, on a real ledger: what it finds, and each thing that it must name.
#[test]
fn python_reads_the_ledger_and_names_what_is_wrong() {
    let stand = Stand::new();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("key"), until(stand.server(), "/trust/ledger.vkey")).unwrap();
    let read = |place: &str, more: &[&str]| {
        let out = Command::new("python3")
            .args([
                "-B",
                concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verify/ledger.py"),
                place,
                "--key",
                "key",
            ])
            .args(more)
            .current_dir(folder)
            .output()
            .unwrap();
        (
            out.status.code(),
            format!(
                "{}{}",
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            ),
        )
    };
    let url = stand.url("/ledger");
    assert_eq!(read(&url, &["--keep", "then"]).0, Some(0));
    let size = || {
        let text = String::from_utf8(until(stand.server(), "/ledger/checkpoint")).unwrap();
        text.lines().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = size();
    stand.rig.expect_device("GW-9");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while size() == before {
        assert!(std::time::Instant::now() < end);
        std::thread::yield_now();
    }
    let (code, said) = read(&url, &["--seen", "then/checkpoint", "--keep", "now"]);
    assert!(
        code == Some(0) && said.contains(&format!("continue the {before} that you saw")),
        "{said}"
    );
    let edit = |name: &str, path: &str, edit: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let copied = Command::new("cp")
            .args(["-r", "now", name])
            .current_dir(folder)
            .status()
            .unwrap();
        assert!(copied.success());
        let file = folder.join(name).join(path);
        std::fs::write(&file, edit(std::fs::read(&file).unwrap())).unwrap();
    };
    let now = std::fs::read_to_string(folder.join("now/checkpoint")).unwrap();
    let count: usize = now.lines().nth(1).unwrap().parse().unwrap();
    let entries = format!("tile/entries/000.p/{count}");
    edit("forged", "checkpoint", &|bytes| {
        String::from_utf8(bytes)
            .unwrap()
            .replacen(&format!("\n{count}\n"), &format!("\n{}\n", count - 1), 1)
            .into_bytes()
    });
    edit("short", &entries, &|mut bytes| {
        bytes.truncate(bytes.len() - 1);
        bytes
    });
    edit("changed", &entries, &|mut bytes| {
        bytes[10] ^= 1;
        bytes
    });
    edit("gone", &entries, &|bytes| bytes);
    std::fs::remove_file(folder.join("gone").join(&entries)).unwrap();
    for (place, more, wanted) in [
        ("then", &["--seen", "now/checkpoint"][..], "NO  CUT: it had "),
        ("short", &[], "NO  CUT: a bundle of entries ends in the middle"),
        ("gone", &[], "NO  CUT: entries are missing"),
        ("forged", &[], "NO  FORGED: the checkpoint is not what"),
        ("changed", &[], "NO  CHANGED: the entries are not those"),
        ("now", &["--seen", "forged/checkpoint"], "NO  FORGED: what you saw last"),
    ] {
        let (code, said) = read(place, more);
        assert!(code == Some(3) && said.starts_with(wanted), "{place}: {said}");
    }
    assert_eq!(read("nowhere", &[]).0, Some(2));
}
