//! A CA that believes the vendor of the software TPMs, and devices with such a TPM and an agent.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use device_kit::rig::{Rig, Wanted, binary, expected};
use device_kit::swtpm::{Swtpm, VendorCa};
use serde_json::Value;
use tempfile::TempDir;
use wire::admin::{AllowDevice, Device};

/// A CA, and the vendor of the TPMs it believes.
pub(crate) struct House {
    pub(crate) rig: Rig,
    pub(crate) vendor: VendorCa,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(&Wanted::default())
    }

    pub(crate) fn with(wanted: &Wanted) -> Self {
        let mut rig = Rig::initialised(wanted);
        let folder = rig.dir.path().join("vendor");
        std::fs::create_dir(&folder).unwrap();
        let vendor = VendorCa::within(&folder).unwrap();
        // The vendor makes its CA together with its first TPM.
        drop(Swtpm::manufacture(&vendor).unwrap());
        let pem = std::fs::read_to_string(vendor.root_pem()).unwrap();
        let anchor = format!(
            "[[anchor]]\nname = \"swtpm\"\nkind = \"software\"\nmanufacturers = [\"id:00001014\"]\n\
             source = \"swtpm_localca\"\nadded = 2026-11-22\nwhy = \"tests\"\ncertificate = \"\"\"\n{pem}\"\"\"\n"
        );
        std::fs::write(rig.path("trust/swtpm.toml"), anchor).unwrap();
        std::fs::create_dir_all(rig.path("trust/intermediates")).unwrap();
        std::fs::copy(vendor.issuer_pem(), rig.path("trust/intermediates/swtpm.pem")).unwrap();
        let folders = toml::Value::from(vec!["trust/intermediates"]);
        rig.configure(&[("trust".into(), "intermediates".into(), folders)]);
        rig.start();
        Self { rig, vendor }
    }

    /// The one that most tests share: each has devices of its own.
    pub(crate) fn shared() -> &'static Self {
        static HOUSE: OnceLock<House> = OnceLock::new();
        HOUSE.get_or_init(Self::new)
    }

    pub(crate) fn root_sha256(&self) -> String {
        hex::encode(openssl::sha::sha256(&self.rig.root))
    }

    /// A new device that the inventory knows by its EK.
    pub(crate) fn device(&self, name: &str) -> AgentDevice {
        self.device_with(name, "auto")
    }

    /// The same, known by this one of its EKs.
    pub(crate) fn device_with(&self, name: &str, ek: &str) -> AgentDevice {
        let device = AgentDevice::new(&self.vendor);
        self.allow(name, &device, ek);
        device
    }

    pub(crate) fn allow(&self, name: &str, device: &AgentDevice, ek: &str) {
        self.rig.allow_with(&AllowDevice {
            iak_spki_sha256: None,
            ek_spki_sha256: Some(device.ek_sha256(ek)),
            ..expected(name)
        });
    }

    /// How this server is named on the command line, at `url`.
    pub(crate) fn at(&self, url: &str) -> Vec<String> {
        ["enroll", "--server", url, "--root-sha256", &self.root_sha256()]
            .map(ToOwned::to_owned)
            .to_vec()
    }

    /// `ca-agent enroll` at this server.
    pub(crate) fn enroll(&self, device: &AgentDevice, more: &[&str]) -> Output {
        let line = self.at(&self.rig.url());
        let line: Vec<&str> = line.iter().map(String::as_str).chain(more.iter().copied()).collect();
        device.agent(&line)
    }

    /// The same with `-o json`, which must succeed.
    pub(crate) fn enrolled(&self, device: &AgentDevice, more: &[&str]) -> Value {
        let output = self.enroll(device, &[more, &["-o", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{more:?}: {}", errors(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What the server knows of a device.
    pub(crate) fn record(&self, name: &str) -> Device {
        self.rig.device(name).unwrap_or_else(|| panic!("{name} is not there"))
    }

    /// The inventory has exactly one certificate for the device, issued, and the device holds it.
    pub(crate) fn has_one_identity(&self, name: &str, device: &AgentDevice) {
        let shown = self.rig.cli_json(&["device", "show", name]);
        let record = self.record(name);
        let live: Vec<_> = record.certificates.iter().filter(|c| c.state == "issued").collect();
        assert_eq!(live.len(), 1, "{shown:#}");
        let held = device.certificate("cert.pem").to_der().unwrap();
        assert_eq!(
            live[0].certificate.as_ref().map(|c| c.0.as_slice()),
            Some(held.as_slice())
        );
        assert!(shown.to_string().contains(&live[0].serial), "{shown:#}");
    }

    /// OpenSSL, with nothing of ours, verifies a stored certificate.
    pub(crate) fn openssl_verifies(&self, device: &AgentDevice, file: &str) {
        let output = Command::new("openssl")
            .args(["verify", "-x509_strict", "-CAfile"])
            .arg(self.rig.path("ca/root.pem"))
            .arg("-untrusted")
            .arg(device.path("chain.pem"))
            .arg(device.path(file))
            .output()
            .unwrap();
        assert!(output.status.success(), "{file}: {}", errors(&output));
    }
}

/// A device: a TPM, and the folder of its agent.
pub(crate) struct AgentDevice {
    pub(crate) tpm: Swtpm,
    folder: TempDir,
    state: PathBuf,
}

impl AgentDevice {
    pub(crate) fn new(vendor: &VendorCa) -> Self {
        let folder = tempfile::Builder::new().prefix("agent-").tempdir().unwrap();
        Self {
            tpm: Swtpm::manufacture(vendor).unwrap(),
            state: folder.path().join("state"),
            folder,
        }
    }

    /// The files of another device, beside this TPM.
    pub(crate) fn with_files_of(other: &Self, tpm: Swtpm) -> Self {
        let folder = tempfile::Builder::new().prefix("agent-").tempdir().unwrap();
        let state = folder.path().join("state");
        let copied = Command::new("cp")
            .arg("-a")
            .arg(&other.state)
            .arg(&state)
            .status()
            .unwrap();
        assert!(copied.success());
        Self { tpm, folder, state }
    }

    /// One in whose TPM nobody left a certificate.
    pub(crate) fn blank() -> Self {
        let folder = tempfile::Builder::new().prefix("agent-").tempdir().unwrap();
        Self {
            tpm: Swtpm::blank().unwrap(),
            state: folder.path().join("state"),
            folder,
        }
    }

    /// Forget the state directory, as a reinstalled machine does.
    pub(crate) fn reinstall(&mut self) {
        let number = std::fs::read_dir(self.folder.path()).unwrap().count();
        self.state = self.folder.path().join(format!("state-{number}"));
    }

    /// Where everything of it is, and its state directory's own place.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Files in the state directory and their modes, by name.
    pub(crate) fn files(&self) -> Vec<(String, u32)> {
        let Ok(entries) = std::fs::read_dir(&self.state) else {
            return Vec::new();
        };
        let mut files: Vec<(String, u32)> = entries
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                (entry.file_name().into_string().unwrap(), mode)
            })
            .collect();
        files.sort();
        files
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.files().into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn certificate(&self, file: &str) -> openssl::x509::X509 {
        openssl::x509::X509::from_pem(&self.read(file)).unwrap()
    }

    /// `ca-agent` of this device, ready to run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("ca-agent"));
        command
            .args(["--tcti", &self.tpm.tcti(), "--state-dir"])
            .arg(&self.state)
            .args(arguments)
            .stdin(std::process::Stdio::null());
        command
    }

    pub(crate) fn agent(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// `ca-agent … -o json`, which must end with `exit`.
    pub(crate) fn json(&self, arguments: &[&str], exit: i32) -> Value {
        let output = self.agent(&[arguments, &["-o", "json"]].concat());
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", errors(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn ek_sha256(&self, ek: &str) -> String {
        let found = self.json(&["identify", "--ek", ek], 0);
        found["ek_spki_sha256"].as_str().unwrap().to_owned()
    }

    /// OpenSSL signs `message` with a key as it names it: a file or `handle:…`.
    pub(crate) fn openssl_signs(&self, key: &str, digest: &str, message: &[u8]) -> Vec<u8> {
        let at = |name: &str| self.folder.path().join(name);
        std::fs::write(at("message"), message).unwrap();
        let output = self
            .tpm
            .command("openssl")
            .args(["pkeyutl", "-sign", "-rawin", "-digest", digest, "-inkey", key])
            .args(["-provider", "tpm2", "-provider", "default"])
            .args(["-propquery", "?provider=tpm2", "-in"])
            .arg(at("message"))
            .arg("-out")
            .arg(at("signature"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{key}: {}", errors(&output));
        std::fs::read(at("signature")).unwrap()
    }
}

/// What a command wrote to standard error.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The report of a command that failed with `exit` under `-o json`.
pub(crate) fn report(output: &Output, exit: i32) -> Value {
    let text = errors(output);
    assert_eq!(output.status.code(), Some(exit), "{text}");
    assert!(output.stdout.is_empty(), "data only when there is some");
    // Progress comes before the report.
    let start = text.find("{\n").unwrap_or_else(|| panic!("no report in {text}"));
    let value: Value = serde_json::from_str(&text[start..]).unwrap();
    assert_eq!(value["schema"], "holdfast.error.v1");
    assert_eq!(value["error"]["exit"], exit);
    value["error"].clone()
}
