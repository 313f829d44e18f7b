//! Whose word counts, and what is refused with its place.

use clap::Parser as _;
use wire::Exit;

use super::*;

struct Site(tempfile::TempDir);

impl Site {
    fn with(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("agent.toml"), text).unwrap();
        Self(dir)
    }

    fn file(&self) -> String {
        self.0.path().join("agent.toml").display().to_string()
    }

    /// `ca-agent FLAGS enroll MORE` with this file.
    fn cli(&self, flags: &[&str], more: &[&str]) -> Cli {
        let file = self.file();
        let start = ["ca-agent", "--config", &file];
        Cli::try_parse_from(start.iter().chain(flags).chain(&["enroll"]).chain(more)).unwrap()
    }

    fn config(&self, flags: &[&str]) -> Result<Config, AgentError> {
        Config::of(&self.cli(flags, &[]))
    }

    fn wish(&self, more: &[&str]) -> Result<Wish, AgentError> {
        let cli = self.cli(&[], more);
        let cli::Command::Enroll(flags) = &cli.command else {
            panic!("enroll");
        };
        Config::of(&cli)?.wish(flags, None)
    }

    /// What is said about the file, its folder left out.
    fn refused(&self, more: &[&str]) -> String {
        let error = self.wish(more).unwrap_err();
        let report = error.report();
        assert_eq!(
            (report.code.as_str(), report.exit),
            ("E-CONFIG", Exit::Usage),
            "{report}"
        );
        report.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

const FULL: &str = r#"
tcti = "swtpm:host=127.0.0.1,port=4321"
state_dir = "state"
owner_auth_file = "/etc/owner"
[enroll]
server = "https://file.example"
root = "root.pem"
device = "of-the-file"
profile = "service"
attestation_profile = "device-lak"
ek = "rsa"
key_alg = "p-384"
ak_alg = "rsa-2048:rsassa"
persistent = 0x81000100
wait = "2m"
"#;

#[test]
fn the_file_counts_before_the_default() {
    let site = Site::with(FULL);
    let config = site.config(&[]).unwrap();
    assert_eq!(config.tcti.to_string(), "swtpm:host=127.0.0.1,port=4321");
    assert_eq!(config.state_dir, site.0.path().join("state"), "below the file's folder");
    assert_eq!(config.owner_auth_file, Some("/etc/owner".into()));
    assert_eq!(config.ek(None), EkChoice::Rsa);
    let wish = site.wish(&[]).unwrap();
    let expected = Wish {
        server: "https://file.example".into(),
        pin: Some(NamedPin::File(site.0.path().join("root.pem"))),
        device: Some("of-the-file".into()),
        identity: Identity::Owner {
            profile: "service".into(),
            attestation_profile: Some("device-lak".into()),
        },
        via: None,
        ek: EkChoice::Rsa,
        key_alg: "p-384".parse().unwrap(),
        ak_alg: "rsa-2048:rsassa".parse().unwrap(),
        persistent: Some(Handle(0x8100_0100)),
        ak_handle: None,
        wait: Duration::from_secs(120),
    };
    assert_eq!(wish, expected);
}

#[test]
fn a_flag_counts_before_the_file() {
    let site = Site::with(FULL);
    let config = site
        .config(&["--tcti", "device:/dev/tpm7", "--state-dir", "elsewhere"])
        .unwrap();
    assert_eq!(config.tcti.to_string(), "device:/dev/tpm7");
    assert_eq!(config.state_dir, Path::new("elsewhere"), "as given");
    assert_eq!(config.ek(Some(EkChoice::Ecc)), EkChoice::Ecc);
    let line = "--server https://flag.example --root-sha256 00 --device flag --profile p --ek ecc --key-alg p-256 \
                --ak-alg p-384 --persistent 0x81000200 --wait 3";
    let wish = site.wish(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
    let expected = Wish {
        server: "https://flag.example".into(),
        pin: Some(NamedPin::Sha256("00".into())),
        device: Some("flag".into()),
        // A profile on the command line is not mixed with the file's.
        identity: Identity::Owner {
            profile: "p".into(),
            attestation_profile: None,
        },
        via: None,
        ek: EkChoice::Ecc,
        key_alg: "p-256".parse().unwrap(),
        ak_alg: "p-384".parse().unwrap(),
        persistent: Some(Handle(0x8100_0200)),
        ak_handle: None,
        wait: Duration::from_secs(3),
    };
    assert_eq!(wish, expected);
    let made = site.wish(&["--manufacturer", "--ak-handle", "0x81000300"]).unwrap();
    assert_eq!(made.identity, Identity::Manufacturer);
    assert_eq!(made.ak_handle, Some(Handle(0x8100_0300)));
}

#[test]
fn without_a_word_there_are_defaults() {
    let site = Site::with("");
    let config = site.config(&[]).unwrap();
    assert_eq!(config.tcti.to_string(), "device:/dev/tpmrm0");
    assert_eq!(config.state_dir, Path::new("/var/lib/holdfast-agent"));
    assert!(
        matches!(site.wish(&[]), Err(AgentError::Usage { .. })),
        "no server is known"
    );
    let wish = site.wish(&["--server", "https://ca"]).unwrap();
    assert_eq!((wish.pin, wish.device, wish.persistent), (None, None, None));
    assert_eq!((wish.key_alg, wish.ak_alg, wish.wait), (KEY_ALG, KEY_ALG, WAIT));
    assert_eq!(KEY_ALG.to_string(), "p-256");
    let profile = PROFILE.to_owned();
    let identity = Identity::Owner {
        profile,
        attestation_profile: None,
    };
    assert_eq!(wish.identity, identity);
}

#[test]
fn what_is_wrong_has_a_place() {
    let refused = |text: &str| Site::with(text).refused(&["--server", "https://ca"]);
    assert_eq!(
        refused("[enroll]\nsevrer = \"x\"\n"),
        "error[E-CONFIG]: agent.toml:2:1: unknown key `sevrer`\n  |\n2 | sevrer = \"x\"\n  | ^^^^^^\n  = did you mean \
         `server`?\n  = keys here: server, root, root_sha256, device, profile, attestation_profile, manufacturer, via, \
         iak_dir, ek, key_alg, ak_alg, persistent, ak_handle, wait"
    );
    for (text, place, words) in [
        ("tcti = \"usb\"\n", ":1:8: ", "usb"),
        ("tcti = \n", ":1:", "agent.toml"),
        (
            "owner_auth = \"hunter2\"\n",
            ":1:1: unknown key `owner_auth`",
            "owner_auth_file",
        ),
        ("[enroll]\nkey_alg = \"p-521\"\n", ":2:11: ", "p-521"),
        ("[enroll]\nek = \"both\"\n", ":2:6: ", "auto"),
        ("[enroll]\npersistent = 0x80000000\n", ":2:14: ", "persistent handle"),
        ("[enroll]\npersistent = \"0x8100\"\n", ":2:14: ", "persistent handle"),
        ("[enroll]\npersistent = -1\n", ":2:14: ", "persistent handle"),
        ("[enroll]\nwait = \"soon\"\n", ":2:8: ", "10m"),
        ("[enroll]\nwait = true\n", ":2:8: ", "a time"),
        ("[enroll]\nserver = \"a\"\nserver = \"b\"\n", ":3:1: ", "duplicate"),
        (
            "[enroll]\nroot = \"r\"\nroot_sha256 = \"00\"\n",
            ":3:15: ",
            "one of `root` and `root_sha256`",
        ),
        (
            "[enroll]\nmanufacturer = true\nprofile = \"x\"\n",
            ":3:11: ",
            "device-idevid",
        ),
        ("[enroll]\nak_handle = 0x81020001\n", ":2:13: ", "manufacturer = true"),
    ] {
        let said = refused(text);
        assert!(said.contains(place) && said.contains(words), "{text}: {said}");
    }
    // The flag that settles it.
    let site = Site::with("[enroll]\nroot = \"r\"\nroot_sha256 = \"00\"\nmanufacturer = true\nprofile = \"x\"\n");
    let settled = site
        .wish(&["--server", "https://ca", "--root", "mine", "--profile", "y"])
        .unwrap();
    assert_eq!(settled.pin, Some(NamedPin::File("mine".into())));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let cli = Cli::parse_from(["ca-agent", "--config", "/nowhere/agent.toml", "status"]);
    let report = Config::of(&cli).unwrap_err().report();
    assert_eq!((report.code.as_str(), report.exit), ("E-CONFIG", Exit::Usage));
    assert!(
        report.message.starts_with("/nowhere/agent.toml: cannot be read"),
        "{report}"
    );
}

/// The example that is installed: sound as it is, and each key in it is one, with a value that is taken.
#[test]
fn the_example_has_every_key() {
    let example = include_str!("../../../packaging/agent.toml");
    Site::with(example).config(&[]).unwrap();
    let shown: Vec<&str> = example
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = "))
        .collect();
    let mut keys = Vec::new();
    for line in shown {
        let key = line.split(" = ").next().unwrap();
        if ["from", "key"].contains(&key) {
            // Both or none: `a_ledger_is_named_with_its_key`.
            keys.push(key);
            continue;
        }
        let at_top = ["tcti", "state_dir", "owner_auth_file", "endorsement_auth_file"].contains(&key);
        let with = if key == "ak_handle" {
            "manufacturer = true\n"
        } else {
            ""
        };
        let text = if at_top {
            line.to_owned()
        } else if ["rekey", "hooks"].contains(&key) {
            format!("[renew]\n{line}\n")
        } else {
            format!("[enroll]\n{with}{line}\n")
        };
        let wish = Site::with(&text).wish(&["--server", "https://ca"]);
        assert!(wish.is_ok(), "{line}: {:?}", wish.err().map(|e| e.to_string()));
        keys.push(key);
    }
    // A key that is unknown names all that are known.
    for section in ["", "[enroll]\n", "[renew]\n", "[ledger]\n"] {
        let said = Site::with(&format!("{section}x = 1\n")).refused(&["--server", "https://ca"]);
        let (_, known) = said.split_once("keys here: ").unwrap();
        for key in known.split(", ").filter(|k| !["enroll", "renew", "ledger"].contains(k)) {
            assert!(keys.contains(&key), "`{key}` is not in packaging/agent.toml");
        }
    }
}

#[test]
fn a_ledger_is_named_with_its_key() {
    let name = ledger::KeyName::new("ledger.example").unwrap();
    let text = |kind| {
        let key = ledger::SigningKey::from_seed(name.clone(), kind, &[7; 32]).unwrap();
        key.verifier().to_string()
    };
    let (key, witness) = (
        text(ledger::SignatureKind::Ed25519),
        text(ledger::SignatureKind::Cosignature),
    );
    assert_eq!(Site::with("").config(&[]).unwrap().ledger, None);
    let site = Site::with("[ledger]\nfrom = \"http://pki.example/ledger\"\nkey = \"l.vkey\"\n");
    std::fs::write(site.0.path().join("l.vkey"), format!("{key}\n")).unwrap();
    let named = site.config(&[]).unwrap().ledger.unwrap();
    assert_eq!(
        (named.from.as_str(), named.key.to_string()),
        ("http://pki.example/ledger", key.clone())
    );
    let named = Site::with(&format!("[ledger]\nfrom = \"tiles\"\nkey = \"{key}\"\n"));
    let of = named.config(&[]).unwrap().ledger.unwrap();
    assert_eq!(of.from, named.0.path().join("tiles").display().to_string());
    for (text, place, words) in [
        (
            format!("[ledger]\nfrom = \"ftp://x\"\nkey = \"{key}\"\n"),
            ":2:8: ",
            "http://",
        ),
        (
            "[ledger]\nfrom = \"x\"\nkey = \"no-such-file\"\n".to_owned(),
            ":3:7: ",
            "cannot be read",
        ),
        (format!("[ledger]\nfrom = \"x\"\nkey = \"{key}x\"\n"), ":3:7: ", ""),
        (
            format!("[ledger]\nfrom = \"x\"\nkey = \"{witness}\"\n"),
            ":3:7: ",
            "witness",
        ),
        ("[ledger]\nfrom = \"x\"\n".to_owned(), ":1:1: ", "key"),
    ] {
        let said = Site::with(&text).refused(&[]);
        assert!(said.contains(place) && said.contains(words), "{text}{said}");
    }
}
