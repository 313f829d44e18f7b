//! One CA with its devices for all tests here, and ways to run the tool.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use device_kit::rig::{Rig, Wanted, binary};
use device_kit::soft_tpm::SoftTpm;
use openssl::x509::X509;
use serde_json::Value;
use tempfile::TempDir;
use wire::enrollment::{EnrollmentResult, KeyRole};

/// The CA and its devices.
pub(crate) struct House {
    pub(crate) rig: Rig,
    /// TPM of [`DEVICE`].
    pub(crate) tpm: SoftTpm,
    /// Its certificates: IAK and IDevID, without end.
    pub(crate) initial: EnrollmentResult,
    /// Certificate of [`LOCAL`]: an LDevID, for some months.
    pub(crate) local: EnrollmentResult,
}

/// A device with an IAK and an IDevID.
pub(crate) const DEVICE: &str = "GW-7F3K-00412";
/// A device with an LDevID.
pub(crate) const LOCAL: &str = "GW-7F3K-00413";

/// The shared one. Tests add devices of their own and take nothing away.
pub(crate) fn house() -> &'static House {
    static HOUSE: LazyLock<House> = LazyLock::new(|| {
        let rig = Rig::with(&Wanted::default().with_crls(0));
        let client = rig.client();
        let allow = |name: &str, tpm: &SoftTpm| {
            let ek = hex::encode(tpm.ek.sha256());
            let _ = rig.cli_json(&["device", "allow", name, "--ek", &ek, "--batch", "2026-47-B"]);
        };
        let (tpm, other) = (SoftTpm::p256(&rig.vendor), SoftTpm::p256(&rig.vendor));
        allow(DEVICE, &tpm);
        allow(LOCAL, &other);
        let request = tpm.request("device-idevid", Some("device-iak"), None);
        let initial = client.enroll(&tpm, &request).unwrap();
        let local = client
            .enroll(&other, &other.request("device-ldevid", None, None))
            .unwrap();
        House {
            rig,
            tpm,
            initial,
            local,
        }
    });
    &HOUSE
}

impl House {
    /// The IAK's or the IDevID's certificate, DER.
    pub(crate) fn certificate(&self, role: KeyRole) -> &[u8] {
        let found = self.initial.certificates.iter().find(|c| c.key == role).unwrap();
        &found.certificate.0
    }
}

/// Files that go away with this.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Write a file; its path as an argument.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Write certificates as PEM.
    pub(crate) fn pem(&self, name: &str, certificates: &[&[u8]]) -> String {
        let pem = certificates
            .iter()
            .map(|der| X509::from_der(der).unwrap().to_pem().unwrap());
        self.put(name, &pem.collect::<Vec<_>>().concat())
    }
}

/// What one run said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Run to the end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Standard output, which is one JSON value with a schema and nothing else.
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        assert!(
            value["schema"].as_str().is_some_and(|s| s.starts_with("holdfast.")),
            "{self:?}"
        );
        value
    }
}

/// A run without a terminal, in UTF-8, for a terminal of 80 columns.
pub(crate) fn quiet(mut command: Command, arguments: &[&str]) -> Command {
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env("LC_ALL", "C.UTF-8")
        .env("COLUMNS", "80")
        .env_remove("HOLDFAST_OUTPUT");
    command
}

/// Run the tool beside the shared CA.
pub(crate) fn cli(arguments: &[&str]) -> Said {
    cli_of(&house().rig, arguments)
}

/// Run the tool beside another CA.
pub(crate) fn cli_of(rig: &Rig, arguments: &[&str]) -> Said {
    Said::of(&mut quiet(rig.command("ca-cli"), arguments))
}

/// A run where there is no CA.
pub(crate) fn alone(arguments: &[&str]) -> Command {
    let mut command = quiet(Command::new(binary("ca-cli")), arguments);
    command.env_remove("HOLDFAST_ADMIN_SOCKET").env_remove("SOFTHSM2_CONF");
    command
}

/// Run the tool where there is no CA.
pub(crate) fn cli_alone(arguments: &[&str]) -> Said {
    Said::of(&mut alone(arguments))
}

/// A server that nobody should trust: whatever is asked, it gives this answer. Ends with the test binary.
pub(crate) fn liar(socket: &Path, answer: &Value) {
    let listener = UnixListener::bind(socket).unwrap();
    let body = answer.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let _ = (&mut reader).take(length).read_to_end(&mut Vec::new());
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = reader
                .get_mut()
                .write_all([head.as_bytes(), body.as_bytes()].concat().as_slice());
        }
    });
}

/// Text in which what differs from run to run is replaced by as many characters: hex digits, dates, ages.
pub(crate) fn settled(text: &str) -> String {
    let settle = |word: &str| -> String {
        let bare = |c: char| c.is_ascii_hexdigit() && !c.is_ascii_uppercase();
        if word.len() >= 8 && word.chars().all(|c| bare(c) || c == '.') {
            return word.chars().map(|c| if c == '.' { c } else { 'x' }).collect();
        }
        let date = word.split('-').map(str::len).collect::<Vec<_>>() == [4, 2, 2];
        if date && word.chars().all(|c| c.is_ascii_digit() || c == '-') {
            return "DDDD-DD-DD".into();
        }
        word.to_owned()
    };
    let mut out = String::new();
    for line in text.lines() {
        let mut words: Vec<String> = line.split(' ').map(settle).collect();
        for at in 2..words.len() {
            if words[at] == "ago)" {
                (words[at - 2], words[at - 1]) = ("(some".into(), "time".into());
            }
        }
        let line = words.join(" ");
        out.push_str(&line);
        out.push('\n');
    }
    out
}
