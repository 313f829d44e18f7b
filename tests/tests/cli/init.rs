//! `ca-cli init`: what it makes, what it refuses, and the wizard on a terminal.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::kit::{Folder, Said, alone, cli_alone};

fn init(dir: &Path, more: &[&str]) -> Said {
    let dir = dir.display().to_string();
    cli_alone(&[&["init", "--no-input", "--dir", &dir], more].concat())
}

/// `openssl verify`, strict, of the server's certificate below what was made.
fn openssl_agrees(dir: &Path) {
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-policy_check", "-auth_level", "2", "-CAfile"])
        .arg(dir.join("ca/root.pem"))
        .arg("-untrusted")
        .arg(dir.join("ca/issuing.pem"))
        .arg(dir.join("server-tls.pem"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn every_kind_of_ca_key_makes_a_chain_that_others_accept() {
    for (root, issuing, words) in [
        ("ecdsa-p384-sha384", "ecdsa-p384-sha384", "ECDSA with SHA-384"),
        ("rsa3072-pkcs1-sha256", "rsa3072-pss-sha256", "RSA PSS"),
    ] {
        let folder = Folder::new();
        let answers = format!("root_algorithm = \"{root}\"\nissuing_algorithm = \"{issuing}\"\n");
        let answers = folder.put("init.toml", answers.as_bytes());
        let dir = folder.path("ca");
        let said = init(&dir, &["--answers", &answers, "-o", "json"]);
        assert_eq!(said.code, 0, "{said:?}");
        let value = said.json();
        assert_eq!(value["certificates"][2]["signature_algorithm"], words);
        let attributes = value["key_attributes"].as_array().unwrap();
        for (name, wanted) in [("CKA_SENSITIVE", "true"), ("CKA_EXTRACTABLE", "false")] {
            let found: Vec<_> = attributes.iter().filter(|a| a["attribute"] == name).collect();
            assert_eq!(found.len(), 3, "root, issuing, ocsp: {value:#}");
            assert!(found.iter().all(|a| a["value"] == wanted), "{name}: {value:#}");
        }
        openssl_agrees(&dir);
    }
}

#[test]
fn what_is_made_belongs_to_its_owner_and_is_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let dir = folder.path("ca");
    assert_eq!(init(&dir, &[]).code, 0);
    let mode = |below: &str| dir.join(below).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    let expected = [
        "answers.toml",
        "ca",
        "ceremony",
        "ledger.key",
        "published",
        "secrets",
        "seal.key",
        "server-tls.key",
        "server-tls.pem",
        "server.toml",
        "softhsm2.conf",
        "tokens",
        "trust",
    ];
    let found: BTreeSet<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected.map(str::to_owned).into());
    for file in [
        "server-tls.key",
        "ledger.key",
        "seal.key",
        "secrets/root.pin",
        "secrets/issuing.so-pin",
    ] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    let count = |folder: &str| std::fs::read_dir(dir.join(folder)).unwrap().count();
    for folder in [
        "ceremony/root/intents",
        "ceremony/issuing/intents",
        "ceremony/server-tls",
    ] {
        assert_eq!(
            count(folder),
            2,
            "{folder}: an intent and an outcome for each certificate"
        );
    }
    for archive in ["ceremony/root.tar", "ceremony/issuing.tar"] {
        let archive = dir.join(archive).display().to_string();
        let said = cli_alone(&["ceremony", "verify", &archive, "--rehearsal"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(
            cli_alone(&["ceremony", "verify", &archive]).code,
            3,
            "a rehearsal is none"
        );
    }

    let before = std::fs::read(dir.join("ca/root.pem")).unwrap();
    let said = init(&dir, &[]);
    assert_eq!((said.code, said.out.as_str()), (5, ""), "{said:?}");
    assert!(said.err.contains("  do    choose another --dir"), "{said:?}");
    let conf = dir.join("softhsm2.conf");
    let arguments = ["init", "--no-input", "--dir", dir.to_str().unwrap()];
    let said = Said::of(alone(&arguments).env("SOFTHSM2_CONF", conf));
    assert_eq!(said.code, 5, "also beside its own tokens: {said:?}");
    assert_eq!(std::fs::read(dir.join("ca/root.pem")).unwrap(), before);
}

#[test]
fn an_interrupted_beginning_is_left_to_a_person() {
    for begun in ["secrets/root.pin", "ceremony/x", "softhsm2.conf", "answers.toml"] {
        let folder = Folder::new();
        let file = folder.path("ca").join(begun);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        let said = init(&folder.path("ca"), &[]);
        assert_eq!((said.code, said.out.as_str()), (5, ""), "{begun}: {said:?}");
        assert!(
            said.err.contains("or the beginning of one") && said.err.contains("  do    "),
            "{said:?}"
        );
    }
}

#[test]
fn bad_answers_are_refused_before_anything_is_made() {
    let folder = Folder::new();
    for (answers, words) in [
        (
            "organisation = \"x\"\n",
            &[
                "init.toml:1:1: unknown key `organisation`",
                "did you mean `organization`?",
            ][..],
        ),
        ("listen = 1\n", &["init.toml:1:10: "]),
        (
            "organization = \"a\"\nroot_algorithm = \"md5\"\n",
            &["md5", "ecdsa-p256-sha256"],
        ),
        ("listen = \"here\"\n", &["listen"]),
        ("server_names = [\"*.example\"]\n", &["server-tls"]),
        ("organization = \"\"\n", &["organization"]),
        ("database = \"mysql://x\"\n", &["database", "postgres://"]),
    ] {
        let file = folder.put("init.toml", answers.as_bytes());
        let said = init(&folder.path("ca"), &["--answers", &file]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{answers}: {said:?}");
        for word in words {
            assert!(said.err.contains(word), "{answers}: {said:?}");
        }
        assert!(!folder.path("ca").exists(), "{answers}");
    }
    let file = folder.put("init.toml", b"module = \"/nowhere/lib.so\"\n");
    assert_eq!(init(&folder.path("ca"), &["--answers", &file]).code, 4);
    assert!(!folder.path("ca").exists());
    let nowhere = folder.path("nowhere.toml").display().to_string();
    assert_eq!(init(&folder.path("ca"), &["--answers", &nowhere]).code, 4);
}

/// Run on a terminal of 80 columns: wait for each prompt, then type. What was shown, and the exit code.
fn on_a_terminal(arguments: &[&str], dialogue: &[(&str, &str)]) -> (String, i32) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = || {
        let open = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap());
        Stdio::from(open.unwrap())
    };
    // People have a controlling terminal: prompts read from there.
    let own = alone(arguments);
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "--wait"])
        .arg(own.get_program())
        .args(own.get_args());
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .env("TERM", "xterm")
        .stdin(terminal())
        .stdout(terminal())
        .stderr(terminal());
    let mut child = command.spawn().unwrap();
    // Ours of the terminal must go, or its end is never seen.
    drop(command);
    let mut master = std::fs::File::from(master);
    let mut shown = Vec::new();
    let mut dialogue = dialogue.iter();
    let mut next = dialogue.next();
    let mut seen = 0;
    let mut buffer = [0; 4096];
    // A terminal that nobody holds any more reads as an error.
    while let Ok(count) = master.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..count]);
        while let Some((prompt, typed)) = next {
            let text = String::from_utf8_lossy(&shown[seen..]).into_owned();
            if !text.contains(prompt) {
                break;
            }
            seen = shown.len();
            master.write_all(typed.as_bytes()).unwrap();
            next = dialogue.next();
        }
    }
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(next.is_none(), "never asked {next:?}: {shown}");
    (shown, child.wait().unwrap().code().unwrap())
}

const DOWN: &str = "\u{1b}[B";

#[test]
fn u10_the_wizard_and_its_answers_make_the_same() {
    let folder = Folder::new();
    let wizard = folder.path("wizard");
    let second = format!("{DOWN}\r");
    let dialogue = [
        ("Names of the server?", "ca.example, 192.0.2.7\r"),
        ("Organization?", "Wizard & Sons\r"),
        ("Listen for devices on?", "127.0.0.1:9443\r"),
        ("Serve metrics on?", "\r"),
        ("Serve CRLs on?", "\r"),
        ("URL of that in certificates?", "\r"),
        ("Database?", "\r"),
        ("Key of the root?", "\r"),
        // One below P-256.
        ("Key of the issuing CA?", second.as_str()),
    ];
    let (shown, code) = on_a_terminal(&["init", "--dir", wizard.to_str().unwrap()], &dialogue);
    assert_eq!(code, 0, "{shown}");
    assert!(
        shown.contains('█') || shown.contains('▀'),
        "the fingerprint as a picture: {shown}"
    );
    let answers = std::fs::read_to_string(wizard.join("answers.toml")).unwrap();
    let table: toml::Table = answers.parse().unwrap();
    assert_eq!(table["organization"].as_str(), Some("Wizard & Sons"));
    assert_eq!(table["listen"].as_str(), Some("127.0.0.1:9443"));
    assert_eq!(table["issuing_algorithm"].as_str(), Some("ecdsa-p384-sha384"));
    assert_eq!(
        table["server_names"],
        toml::Value::from(vec!["ca.example", "192.0.2.7"])
    );

    // The answers of the wizard, given as a file, are the wizard.
    let file = wizard.join("answers.toml").display().to_string();
    let again = folder.path("again");
    assert_eq!(init(&again, &["--answers", &file]).code, 0);
    for file in ["answers.toml", "server.toml"] {
        let read = |dir: &Path| std::fs::read_to_string(dir.join(file)).unwrap();
        assert_eq!(read(&wizard), read(&again), "{file}");
    }
    openssl_agrees(&wizard);
}

#[test]
fn escape_leaves_the_wizard_and_nothing_behind() {
    let folder = Folder::new();
    let dir = folder.path("ca");
    let arguments = ["init", "--dir", dir.to_str().unwrap()];
    let (shown, code) = on_a_terminal(
        &arguments,
        &[("Names of the server?", "\r"), ("Organization?", "\u{3}")],
    );
    assert_eq!(code, 9, "{shown}");
    assert!(!dir.exists());
}
