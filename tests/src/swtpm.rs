//! A real TPM 2.0 in software: libtpms behind `swtpm`, manufactured with EK certificates by a vendor CA of the test.
//!
//! ```no_run
//! let vendor = device_kit::swtpm::VendorCa::new().unwrap();
//! let tpm = device_kit::swtpm::Swtpm::manufacture(&vendor).unwrap();
//! println!("ca-agent --tcti {} identify", tpm.tcti());
//! ```
//! Needs the programs `swtpm`, `swtpm_setup`, `swtpm_localca` and, for [`Swtpm::add_p256_endorsement`], `tpm2`.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

/// The CA of a TPM vendor: a root and an issuing CA, made by `swtpm_localca` when the first TPM is manufactured.
#[derive(Debug)]
pub struct VendorCa {
    directory: PathBuf,
    /// Removes the directory on drop, when it is ours.
    _temporary: Option<TempDir>,
}

impl VendorCa {
    /// A CA in a temporary directory of its own; removed on drop.
    ///
    /// # Errors
    /// The directory or its files cannot be written.
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("vendor-ca-").tempdir()?;
        let mut ca = Self::within(directory.path())?;
        ca._temporary = Some(directory);
        Ok(ca)
    }

    /// A new CA in this directory, which is there and stays.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn within(directory: &Path) -> Result<Self> {
        let ca = Self::at(directory);
        let state = ca.directory.display();
        std::fs::write(
            ca.localca_conf(),
            format!(
                "statedir = {state}\nsigningkey = {state}/signkey.pem\nissuercert = {state}/issuercert.pem\n\
                 certserial = {state}/certserial\n"
            ),
        )?;
        std::fs::write(
            ca.localca_options(),
            "--platform-manufacturer Holdfast\n--platform-version 1\n--platform-model kit\n",
        )?;
        std::fs::write(
            ca.setup_conf(),
            format!(
                "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n\
                 active_pcr_banks = sha256,sha384\n",
                ca.localca_conf().display(),
                ca.localca_options().display()
            ),
        )?;
        Ok(ca)
    }

    /// The CA whose files are in `directory`, as [`VendorCa::new`] lays them out; it stays there.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            _temporary: None,
        }
    }

    fn localca_conf(&self) -> PathBuf {
        self.directory.join("swtpm-localca.conf")
    }

    fn localca_options(&self) -> PathBuf {
        self.directory.join("swtpm-localca.options")
    }

    fn setup_conf(&self) -> PathBuf {
        self.directory.join("swtpm_setup.conf")
    }

    /// The vendor's root certificate, PEM; there once a TPM was manufactured.
    #[must_use]
    pub fn root_pem(&self) -> PathBuf {
        self.directory.join("swtpm-localca-rootca-cert.pem")
    }

    /// The vendor's issuing CA certificate, PEM; there once a TPM was manufactured.
    #[must_use]
    pub fn issuer_pem(&self) -> PathBuf {
        self.directory.join("issuercert.pem")
    }

    /// The vendor's root certificate, DER.
    ///
    /// # Errors
    /// No TPM was manufactured yet.
    pub fn root_der(&self) -> Result<Vec<u8>> {
        der_of(&self.root_pem())
    }

    /// The vendor's issuing CA certificate, DER.
    ///
    /// # Errors
    /// No TPM was manufactured yet.
    pub fn issuer_der(&self) -> Result<Vec<u8>> {
        der_of(&self.issuer_pem())
    }
}

fn der_of(pem: &Path) -> Result<Vec<u8>> {
    let text = std::fs::read(pem).with_context(|| pem.display().to_string())?;
    Ok(openssl::x509::X509::from_pem(&text)?.to_der()?)
}

/// A running TPM. Killed, and its state removed, on drop.
#[derive(Debug)]
pub struct Swtpm {
    state: TempDir,
    child: Child,
    port: u16,
}

impl Swtpm {
    /// A TPM that was never manufactured: seeds, but no EK certificate.
    ///
    /// # Errors
    /// `swtpm` cannot be run.
    pub fn blank() -> Result<Self> {
        Self::start(state_directory()?)
    }

    /// A TPM with EK certificates in NV: RSA 2048 (L-1, 01C00002) and P-384 (H-3, 01C00016), both EKs also persistent
    /// at 81010001 and 81010016, and a platform certificate.
    ///
    /// # Errors
    /// `swtpm_setup` or `swtpm` cannot be run or fail.
    pub fn manufacture(vendor: &VendorCa) -> Result<Self> {
        let state = state_directory()?;
        let mut setup = Command::new("swtpm_setup");
        setup
            .args(["--tpm2", "--create-ek-cert", "--create-platform-cert"])
            .args(["--lock-nvram", "--overwrite", "--tpmstate"])
            .arg(state.path())
            .arg("--config")
            .arg(vendor.setup_conf());
        run(&mut setup)?;
        Self::start(state)
    }

    /// A copy of its state as it stands, for [`Swtpm::from_copy`]: what a snapshot of a virtual machine takes.
    ///
    /// # Errors
    /// The state cannot be read, or the copy not written.
    pub fn snapshot(&self) -> Result<TempDir> {
        let copy = state_directory()?;
        for entry in std::fs::read_dir(self.state.path())? {
            let entry = entry?;
            // Not the lock, nor what is being written.
            if entry.path().extension().is_some_and(|end| end == "permall") {
                std::fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
            }
        }
        Ok(copy)
    }

    /// Switch on a copy: the same seeds, keys and counters, in another process.
    ///
    /// # Errors
    /// `swtpm` cannot be run.
    pub fn from_copy(state: TempDir) -> Result<Self> {
        Self::start(state)
    }

    fn start(state: TempDir) -> Result<Self> {
        // Another process may take the ports between the look and the start: then look again.
        let mut last = None;
        for _ in 0..20 {
            let port = two_free_ports()?;
            let mut child = Self::spawn(state.path(), port)?;
            match wait_until_answering(&mut child, port) {
                Ok(()) => return Ok(Self { state, child, port }),
                Err(error) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("swtpm did not start")))
    }

    fn spawn(state: &Path, port: u16) -> Result<Child> {
        Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", state.display()))
            .arg("--server")
            .arg(format!("type=tcp,port={port},bindaddr=127.0.0.1"))
            .arg("--ctrl")
            .arg(format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("swtpm")
    }

    /// How TSS programs reach it: `swtpm:host=127.0.0.1,port=…`.
    #[must_use]
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// Power off and on: what is not persistent in the TPM is gone.
    ///
    /// # Errors
    /// `swtpm` cannot be run again.
    pub fn power_cycle(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        let mut last = None;
        for _ in 0..20 {
            let port = two_free_ports()?;
            self.child = Self::spawn(self.state.path(), port)?;
            self.port = port;
            match wait_until_answering(&mut self.child, port) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("swtpm did not start")))
    }

    /// Run a program of tpm2-tools against it, and free transient objects afterwards, since there is no resource
    /// manager. Gives what it wrote to stdout.
    ///
    /// # Errors
    /// The program cannot be run or fails.
    pub fn tool(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let output = run(self.command("tpm2").args(arguments))?;
        run(self.command("tpm2").args(["flushcontext", "-t"]))?;
        Ok(output.stdout)
    }

    /// A command whose environment points TSS programs, OpenSSL's tpm2 provider included, at this TPM.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("TPM2TOOLS_TCTI", self.tcti())
            .env("TPM2OPENSSL_TCTI", self.tcti())
            .env("TSS2_LOG", "all+none");
        command
    }

    /// Give it the P-256 EK that most vendors ship (L-2), certified by `vendor`, certificate at 01C0000A.
    ///
    /// # Errors
    /// tpm2-tools or `swtpm_localca` cannot be run or fail.
    pub fn add_p256_endorsement(&self, vendor: &VendorCa) -> Result<()> {
        let directory = tempfile::tempdir()?;
        let at = |name: &str| directory.path().join(name).display().to_string();
        self.tool(&[
            "createek",
            "-G",
            "ecc",
            "-c",
            &at("ek.ctx"),
            "-u",
            &at("ek.pub"),
            "-f",
            "pem",
        ])?;
        let public = openssl::pkey::PKey::public_key_from_pem(&std::fs::read(at("ek.pub"))?)?.ec_key()?;
        let mut bn = openssl::bn::BigNumContext::new()?;
        let (mut x, mut y) = (openssl::bn::BigNum::new()?, openssl::bn::BigNum::new()?);
        public
            .public_key()
            .affine_coordinates(public.group(), &mut x, &mut y, &mut bn)?;
        let ek = format!(
            "x={},y={},id=secp256r1",
            hex::encode(x.to_vec_padded(32)?),
            hex::encode(y.to_vec_padded(32)?)
        );
        let mut localca = Command::new("swtpm_localca");
        localca
            .args(["--type", "ek", "--ek", &ek, "--dir"])
            .arg(directory.path())
            .args(["--tpm2", "--tpm-spec-family", "2.0", "--tpm-spec-level", "0"])
            .args(["--tpm-spec-revision", "164", "--tpm-manufacturer", "id:00001014"])
            .args(["--tpm-model", "swtpm", "--tpm-version", "id:20191023"])
            .arg("--configfile")
            .arg(vendor.localca_conf())
            .arg("--optsfile")
            .arg(vendor.localca_options());
        run(&mut localca)?;
        let certificate = std::fs::read(at("ek.cert"))?;
        self.write_nv(0x01C0_000A, &certificate)
    }

    /// Define a platform NV index that anyone may read, and write `data` to it.
    ///
    /// # Errors
    /// tpm2-tools cannot be run or fail.
    pub fn write_nv(&self, index: u32, data: &[u8]) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), data)?;
        let index = format!("{index:#010x}");
        let size = data.len().to_string();
        let attributes = "ppwrite|ppread|ownerread|authread|no_da|platformcreate|writedefine";
        self.tool(&["nvdefine", &index, "-C", "p", "-s", &size, "-a", attributes])?;
        let path = file.path().display().to_string();
        self.tool(&["nvwrite", &index, "-C", "p", "-i", &path])?;
        Ok(())
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn state_directory() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("swtpm-").tempdir()
}

/// Run to the end; its stderr becomes the error when it fails.
fn run(command: &mut Command) -> Result<Output> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} is needed", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{:?} failed: {}{}",
        command,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

/// The TCTI speaks to the control channel at the port behind the command port, so two in a row are needed.
fn two_free_ports() -> Result<u16> {
    for _ in 0..200 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no two free ports in a row")
}

fn wait_until_answering(child: &mut Child, port: u16) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("swtpm ended at once: {status}");
        }
        // The control port is opened last; it takes any number of connections.
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "swtpm does not listen on port {}", port + 1);
        std::thread::sleep(Duration::from_millis(5));
    }
}
