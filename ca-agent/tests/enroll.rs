//! The agent as a process against a real server and a real software TPM, over a line that breaks at every byte, and with
//! a TPM whose owner set a password.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use device_kit::rig::{Rig, Wanted};
use device_kit::swtpm::{Swtpm, VendorCa};
use serde_json::Value;

struct Site {
    rig: Rig,
    tpm: Swtpm,
    dir: tempfile::TempDir,
}

impl Site {
    /// A CA that believes the vendor of one software TPM.
    fn new() -> Self {
        let vendor = VendorCa::new().unwrap();
        let tpm = Swtpm::manufacture(&vendor).unwrap();
        tpm.add_p256_endorsement(&vendor).unwrap();
        let mut rig = Rig::initialised(&Wanted {
            anchor: "software".into(),
            ..Wanted::default()
        });
        let root = std::fs::read_to_string(vendor.root_pem()).unwrap();
        let trust = format!(
            "[[anchor]]\nname = \"swtpm\"\nkind = \"software\"\nmanufacturers = [\"id:00001014\"]\n\
             source = \"a test\"\nadded = 2026-11-22\nwhy = \"a test\"\ncertificate = \"\"\"\n{root}\n\"\"\"\n"
        );
        std::fs::write(rig.path("trust/swtpm.toml"), trust).unwrap();
        std::fs::create_dir_all(rig.path("trust/intermediates")).unwrap();
        std::fs::copy(vendor.issuer_pem(), rig.path("trust/intermediates/issuer.pem")).unwrap();
        let intermediates = toml_array("trust/intermediates");
        rig.configure(&[("trust".into(), "intermediates".into(), intermediates)]);
        rig.start();
        Self {
            rig,
            tpm,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn agent(&self, state: &str, arguments: &[&str]) -> Command {
        let mut command = self.tpm.command(env!("CARGO_BIN_EXE_ca-agent"));
        command
            .env_remove("TSS2_LOG")
            .args(["--tcti", &self.tpm.tcti(), "--state-dir"])
            .arg(self.state(state))
            .args(arguments);
        command
    }

    fn run(&self, state: &str, arguments: &[&str]) -> Output {
        self.agent(state, arguments).output().unwrap()
    }

    /// Must succeed; its JSON.
    fn json(&self, state: &str, arguments: &[&str]) -> Value {
        let output = self.run(state, &[arguments, &["-o", "json"]].concat());
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn pin(&self) -> String {
        hex::encode(openssl::sha::sha256(&self.rig.root))
    }

    /// `enroll` at this address with these wishes.
    fn wishes<'a>(&'a self, url: &'a str, pin: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["enroll", "--server", url, "--root-sha256", pin, "--wait", "0"], more].concat()
    }

    fn ek(&self) -> String {
        let found = self.json("none", &["identify"]);
        found["ek_spki_sha256"].as_str().unwrap().to_owned()
    }

    fn allow(&self, name: &str) {
        let ek = self.ek();
        let _ = self.rig.cli_json(&["device", "allow", name, "--ek", &ek]);
    }

    /// Certificates the CA knows for a device.
    fn certificates(&self, name: &str) -> usize {
        let device = self.rig.cli_json(&["device", "show", name]);
        device["device"]["certificates"].as_array().unwrap().len()
    }
}

fn toml_array(path: &str) -> toml::Value {
    vec![path].into()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A TCP line to the server that breaks when it has carried so many bytes of the server's.
struct Line {
    address: SocketAddr,
    left: Arc<AtomicUsize>,
}

impl Line {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(AtomicUsize::new(0));
        let budget = Arc::clone(&left);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(upstream) = TcpStream::connect(server) else {
                    continue;
                };
                let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
                let budget = Arc::clone(&budget);
                std::thread::spawn(move || carry(upstream, client, &budget));
            }
        });
        Self { address, left }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, budget: &AtomicUsize) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let allowed = budget
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(left.saturating_sub(count))
            })
            .unwrap_or(0)
            .min(count);
        if to.write_all(&buffer[..allowed]).is_err() || allowed < count {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[test]
fn a_line_that_breaks_anywhere_gives_one_identity() {
    let site = Site::new();
    site.allow("gw-1");
    let line = Line::to(site.rig.public());
    let (url, pin) = (line.url(), site.pin());
    let wishes = site.wishes(&url, &pin, &["--manufacturer", "--device", "gw-1"]);
    let mut runs = 0;
    // Every run begins with the very bytes the last one was cut at, and gets a little further.
    for budget in (0..).step_by(350) {
        line.left.store(budget, Ordering::SeqCst);
        runs += 1;
        let output = site.run("a", &wishes);
        match output.status.code() {
            Some(0) => break,
            Some(7) => {}
            other => panic!("{other:?}: {}", text(&output.stderr)),
        }
        assert!(runs < 200, "no end");
    }
    assert!(runs > 5, "the line never broke");
    assert_eq!(site.certificates("gw-1"), 2);
    assert!(!site.state("a").join("activation.json").exists());
}

#[test]
fn a_password_of_the_owner_is_asked_for_in_words_and_taken_from_a_file() {
    let site = Site::new();
    site.allow("gw-1");
    let (url, pin) = (site.rig.url(), site.pin());
    site.tpm.tool(&["changeauth", "-c", "owner", "x"]).unwrap();
    let wishes = site.wishes(&url, &pin, &["--device", "gw-1"]);
    let locked = site.run("a", &wishes);
    assert_eq!(locked.status.code(), Some(6), "{}", text(&locked.stderr));
    let said = text(&locked.stderr);
    assert!(
        said.contains("E-TPM-AUTH-SET") && said.contains("--owner-auth-file"),
        "{said}"
    );
    // The TSS library's own words never appear.
    assert!(!said.contains("esys") && !said.contains("WARNING:"), "{said}");
    std::fs::write(site.state("owner"), "x\n").unwrap();
    let file = site.state("owner").display().to_string();
    let opened = site.json("a", &[&wishes[..], &["--owner-auth-file", &file]].concat());
    assert_eq!(opened["device"], "gw-1");
}
