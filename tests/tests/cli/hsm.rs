//! `ca-cli hsm probe`: what a module can do, and what it says of a wrong PIN.

use device_kit::rig::{Rig, Wanted};

use crate::kit::{Said, cli_of};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const URI: &str = "pkcs11:token=holdfast-issuing;id=%01";

/// A rehearsal of its own: wrong PINs leave their mark on a token.
struct Tokens(Rig);

impl Tokens {
    fn new() -> Self {
        Self(Rig::initialised(&Wanted::default()))
    }

    fn path(&self, below: &str) -> String {
        self.0.path(below).display().to_string()
    }

    fn probe(&self, more: &[&str]) -> Said {
        cli_of(&self.0, &[&["hsm", "probe", "--module", MODULE], more].concat())
    }

    /// Sign a probe with the issuing CA's key.
    fn sign(&self, uri: &str, certificate: &str, pin: &str) -> Said {
        let (certificate, pin) = (self.path(certificate), self.path(pin));
        self.probe(&["--uri", uri, "--certificate", &certificate, "--pin-file", &pin])
    }

    /// A PIN file with this in it.
    fn pin(&self, content: &str) -> &'static str {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.0.path("secrets/other.pin");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        "secrets/other.pin"
    }
}

#[test]
fn a_probe_shows_tokens_and_what_they_can_do() {
    let tokens = Tokens::new();
    let said = tokens.probe(&["-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let value = said.json();
    let slots = value["slots"].as_array().unwrap();
    let token = |label: &str| slots.iter().map(|s| &s["token"]).find(|t| t["label"] == label).cloned();
    for label in ["holdfast-root", "holdfast-issuing"] {
        let token = token(label).unwrap();
        assert!(token["pin_warning"].is_null());
        let verdicts = token["verdicts"].as_array().unwrap();
        assert_eq!(verdicts.len(), 6);
        assert!(verdicts.iter().all(|v| v["usable"] == true), "{token:#}");
    }
    assert!(value["probe_signature"].is_null());
    let said = tokens.probe(&[]);
    assert!(
        said.out.contains("token holdfast-issuing") && said.out.contains("✔"),
        "{}",
        said.out
    );
}

#[test]
fn a_key_signs_when_certificate_and_pin_are_its_own() {
    let tokens = Tokens::new();
    let pin = "secrets/issuing.pin";
    let said = tokens.sign(URI, "ca/issuing.pem", pin);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("signed and verified a probe"), "{}", said.out);

    let said = tokens.sign(URI, "ca/root.pem", pin);
    assert_eq!(
        (said.code, said.out.as_str()),
        (3, ""),
        "another CA's certificate: {said:?}"
    );
    let said = tokens.sign("pkcs11:token=holdfast-issuing;id=%02", "ca/issuing.pem", pin);
    assert_eq!(said.code, 3, "no such key: {said:?}");
    let said = tokens.sign("pkcs11:token=holdfast-issuing", "ca/issuing.pem", pin);
    assert_eq!(said.code, 2, "no key named: {said:?}");
    let said = tokens.sign(&format!("{URI}?pin-value=1234"), "ca/issuing.pem", pin);
    assert_eq!(said.code, 2, "a PIN in the URI: {said:?}");
    assert!(!said.err.contains("1234"), "{said:?}");
    let said = tokens.sign(URI, "ca/issuing.pem", "secrets/nowhere.pin");
    assert_eq!(said.code, 4, "{said:?}");
    let said = tokens.sign(URI, "ca/issuing.pem", "ca/root.pem");
    assert_eq!(said.code, 2, "not one line: {said:?}");
    // Nothing of this tried a PIN.
    assert_eq!(tokens.sign(URI, "ca/issuing.pem", pin).code, 0);
}

#[test]
fn a_wrong_pin_is_tried_once_and_the_token_warns() {
    let tokens = Tokens::new();
    let wrong = tokens.pin("not-the-pin-7391");
    let said = tokens.sign(URI, "ca/issuing.pem", wrong);
    assert_eq!((said.code, said.out.as_str()), (6, ""), "{said:?}");
    assert!(said.err.contains("refused the PIN"), "{said:?}");
    assert!(!said.err.contains("7391"), "{said:?}");
    // The next one does not dare, even with the right one.
    let said = tokens.sign(URI, "ca/issuing.pem", "secrets/issuing.pin");
    assert_eq!(said.code, 6, "{said:?}");
    assert!(
        said.err.contains("a wrong PIN was tried") && said.err.contains("no PIN was tried"),
        "{said:?}"
    );
    let said = tokens.probe(&[]);
    assert!(
        said.out
            .contains("! PIN: a wrong PIN was tried since the last good one"),
        "{}",
        said.out
    );
}

/// A person who is sure of the PIN overrules the warning, and takes it away with that.
#[test]
fn a_warning_about_the_pin_is_overruled_by_name() {
    let tokens = Tokens::new();
    let (certificate, pin) = (tokens.path("ca/issuing.pem"), tokens.path("secrets/issuing.pin"));
    let right = ["--uri", URI, "--certificate", &certificate, "--pin-file", &pin];
    assert_eq!(
        tokens.sign(URI, "ca/issuing.pem", tokens.pin("not-the-pin-7391")).code,
        6
    );
    let said = tokens.probe(&right);
    assert_eq!(said.code, 6, "{said:?}");
    assert!(said.err.contains("--despite-warning count-low"), "{said:?}");
    let said = tokens.probe(&[&right[..], &["--despite-warning", "count-low"]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(tokens.probe(&right).code, 0, "the warning is gone");
}

#[test]
fn a_pin_is_not_asked_for_under_no_input() {
    let tokens = Tokens::new();
    let certificate = tokens.path("ca/issuing.pem");
    let said = tokens.probe(&["--uri", URI, "--certificate", &certificate, "--no-input"]);
    assert_eq!((said.code, said.out.as_str()), (9, ""), "{said:?}");
    assert!(said.err.contains("--pin-file"), "{said:?}");
}

/// A key that another program made with the token's defaults: refused, and each attribute that is wrong is marked.
#[test]
fn a_key_that_is_refused_is_shown_attribute_by_attribute() {
    let tokens = Tokens::new();
    let made = std::process::Command::new("pkcs11-tool")
        .env("SOFTHSM2_CONF", tokens.path("softhsm2.conf"))
        .args([
            "--module",
            MODULE,
            "--token-label",
            "holdfast-issuing",
            "--login",
            "--pin",
        ])
        .arg("env:ISSUING_PIN")
        .env(
            "ISSUING_PIN",
            std::fs::read_to_string(tokens.path("secrets/issuing.pin"))
                .unwrap()
                .trim(),
        )
        .args([
            "--keypairgen",
            "--key-type",
            "EC:prime256v1",
            "--id",
            "09",
            "--usage-derive",
        ])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (certificate, pin) = (tokens.path("ca/issuing.pem"), tokens.path("secrets/issuing.pin"));
    let uri = "pkcs11:token=holdfast-issuing;id=%09";
    let line = ["--uri", uri, "--certificate", &certificate, "--pin-file", &pin];
    let said = tokens.probe(&line);
    assert_eq!(said.code, 3, "{said:?}");
    let row = |name: &str| {
        let line = said.out.lines().find(|l| l.split_whitespace().nth(1) == Some(name));
        line.unwrap_or_else(|| panic!("{name}: {}", said.out)).to_owned()
    };
    assert!(
        row("CKA_DERIVE").starts_with('✖') && row("CKA_TOKEN").starts_with('✔'),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("may not be a CA's") && !said.out.contains("signed and verified"),
        "{}",
        said.out
    );
    let json = tokens.probe(&[&line[..], &["-o", "json"]].concat()).json();
    assert!(json["probe_signature"].is_null());
    let attributes = json["key_attributes"].as_array().unwrap();
    let derive = attributes.iter().find(|a| a["attribute"] == "CKA_DERIVE").unwrap();
    assert_eq!((&derive["found"], &derive["wanted"]), (&"true".into(), &"false".into()));
}

/// Which scheme an RSA key signs with is said, chosen, and taken from a self-signed certificate.
#[test]
fn an_rsa_key_signs_with_the_scheme_of_its_ca() {
    let rig = Rig::initialised(&Wanted {
        issuing: "rsa3072-pkcs1-sha256".into(),
        ..Wanted::default()
    });
    let answers = rig.path("pss.toml");
    std::fs::write(
        &answers,
        "root_algorithm = \"rsa3072-pss-sha256\"\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    let dir = rig.path("pss").display().to_string();
    let answers = answers.display().to_string();
    let made = crate::kit::cli_alone(&["init", "--dir", &dir, "--answers", &answers]);
    assert_eq!(made.code, 0, "{made:?}");
    let tokens = Tokens(rig);
    let probe = |uri: &str, folder: &str, ca: &str, more: &[&str]| {
        let (certificate, pin) = (
            tokens.path(&format!("{folder}ca/{ca}.pem")),
            tokens.path(&format!("{folder}secrets/{ca}.pin")),
        );
        let mut command = tokens.0.command("ca-cli");
        if !folder.is_empty() {
            command.env("SOFTHSM2_CONF", tokens.path(&format!("{folder}softhsm2.conf")));
        }
        let output = command
            .args(["hsm", "probe", "--module", MODULE, "-o", "json", "--uri", uri])
            .args(["--certificate", &certificate, "--pin-file", &pin])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        value["probe_algorithm"].as_str().unwrap().to_owned()
    };
    assert_eq!(probe(URI, "", "issuing", &[]), "rsa3072-pkcs1-sha256");
    let pss = "rsa3072-pss-sha256";
    assert_eq!(probe(URI, "", "issuing", &["--algorithm", pss]), pss);
    let root = "pkcs11:token=holdfast-root;id=%01";
    assert_eq!(probe(root, "pss/", "root", &[]), pss, "as it signed itself");
}

/// U33: the PINs of a rehearsal in whatever is said.
#[test]
fn u33_no_pin_is_ever_said() {
    let tokens = Tokens::new();
    let pins: Vec<String> = ["root.pin", "root.so-pin", "issuing.pin", "issuing.so-pin"]
        .map(|name| std::fs::read_to_string(tokens.0.path("secrets").join(name)).unwrap())
        .map(|pin| pin.trim().to_owned())
        .into();
    assert!(pins.iter().all(|pin| pin.len() >= 16));
    let (certificate, pin) = (tokens.path("ca/issuing.pem"), tokens.path("secrets/issuing.pin"));
    let sign = ["--uri", URI, "--certificate", &certificate, "--pin-file", &pin];
    let dir = tokens.path("");
    for said in [
        tokens.probe(&[]),
        tokens.probe(&sign),
        tokens.probe(&[&sign[..], &["-o", "json"]].concat()),
        cli_of(&tokens.0, &["init", "--no-input", "--dir", &dir]),
        cli_of(&tokens.0, &["cert", "inspect", &pin]),
        cli_of(&tokens.0, &["verify", &pin, "--trust", &pin]),
        cli_of(&tokens.0, &["device", "allow", "a", "--ek", &pin]),
    ] {
        let text = format!("{}{}", said.out, said.err);
        assert!(pins.iter().all(|pin| !text.contains(pin.as_str())), "{said:?}");
    }
    for file in ["server.toml", "answers.toml", "softhsm2.conf"] {
        let text = std::fs::read_to_string(tokens.0.path(file)).unwrap();
        assert!(pins.iter().all(|pin| !text.contains(pin.as_str())), "{file}");
    }
}
