//! The whole house as processes: `ca-cli init` on SoftHSM, `ca-server` on a free port, devices over TLS.

mod balancer;
mod certificates;
mod client;
mod clock;
mod compiled;
mod disk;
mod kept;
mod module;
mod records;
mod server;
mod shim;
mod spy;
mod three;
mod witness;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use tempfile::TempDir;

use crate::vendor::VendorCa;

pub use balancer::{Balancer, Hosts};
pub use certificates::Certificate;
pub use client::{Client, Raw, Refused};
pub use clock::{FakeClock, false_time};
pub use disk::{Broken, Disk, Done};
pub use kept::Kept;
pub use records::{Rows, expected};
pub use server::{Server, Surroundings};
pub use shim::{Order, Shim};
pub use spy::Spy;
pub use three::{Own, Three, Way};
pub use witness::{Witness, terms as witness_terms};

/// A built binary of the workspace.
///
/// # Panics
/// When it was not built: `cargo build --workspace` comes first (`make test` does it).
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let folder = own.ancestors().find(|p| p.join(name).is_file());
    folder
        .unwrap_or_else(|| panic!("`{name}` is not built: run `cargo build --workspace` first"))
        .join(name)
}

/// A CA with its server, in a folder that goes away with it, or with this process.
pub struct Rig {
    /// Where everything is.
    pub dir: TempDir,
    /// The vendor whose devices it believes.
    pub vendor: VendorCa,
    /// Root certificate, DER.
    pub root: Vec<u8>,
    /// What its servers get beside their configuration, from the next start on.
    pub around: Surroundings,
    database: String,
    server: Option<Server>,
    _janitor: Janitor,
}

/// What a test wants otherwise.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Database URL.
    pub database: String,
    /// Key algorithm of the issuing CA.
    pub issuing: String,
    /// What the vendor's root speaks for: `hardware`, `virtual` or `software`.
    pub anchor: String,
    /// URL in certificates under which CRLs are; empty: none, and no listener for relying parties.
    pub pki_url: String,
    /// Among how many CRLs certificates are spread; 0: one for all.
    pub crl_shards: u16,
    /// Values of server.toml to change: (section, key, TOML value).
    pub settings: Vec<(String, String, toml::Value)>,
    /// Sections of server.toml to leave out.
    pub left_out: Vec<String>,
    /// Folder of the programs of another build that makes the CA and runs it; without it: this one.
    pub programs: Option<PathBuf>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            database: "sqlite://ca.db".into(),
            issuing: "ecdsa-p256-sha256".into(),
            anchor: "hardware".into(),
            pki_url: String::new(),
            crl_shards: 0,
            // Tests of limits set their own; all others come from one address and are many.
            settings: vec![("limits".into(), "rate_per_source".into(), "off".into())],
            left_out: Vec::new(),
            programs: None,
        }
    }
}

impl Wanted {
    /// With a new database on this test binary's PostgreSQL.
    ///
    /// # Panics
    /// When PostgreSQL is not installed.
    #[must_use]
    pub fn postgres() -> Self {
        let cluster = crate::postgres::shared().expect("PostgreSQL");
        Self {
            database: cluster.database().expect("a database"),
            ..Self::default()
        }
    }

    /// With CRLs, in so many shards (0: one for all), and soon after a revocation.
    #[must_use]
    pub fn with_crls(mut self, shards: u16) -> Self {
        self.pki_url = "http://pki.example.net".into();
        self.crl_shards = shards;
        self.set("crl", "after_revocation", "1s")
    }

    /// Without a section of server.toml.
    #[must_use]
    pub fn without(mut self, section: &str) -> Self {
        self.left_out.push(section.into());
        self
    }

    /// Change one value of server.toml.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, value: impl Into<toml::Value>) -> Self {
        self.settings
            .retain(|(s, k, _)| (s.as_str(), k.as_str()) != (section, key));
        self.settings.push((section.into(), key.into(), value.into()));
        self
    }
}

/// Removes a folder when the other end of its input is closed, by whatever.
struct Janitor {
    child: Child,
    input: Option<ChildStdin>,
}

impl Janitor {
    fn of(directory: &Path) -> Self {
        let script = "cat >/dev/null; rm -rf \"$1\" 2>/dev/null || { sleep 1; rm -rf \"$1\"; }";
        let mut child = Command::new("sh")
            .args(["-c", script, "janitor"])
            .arg(directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let input = child.stdin.take();
        Self { child, input }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

impl Rig {
    /// A running CA with the usual settings.
    #[must_use]
    pub fn running() -> Self {
        Self::with(&Wanted::default())
    }

    /// A running CA.
    #[must_use]
    pub fn with(wanted: &Wanted) -> Self {
        let mut rig = Self::initialised(wanted);
        rig.start();
        rig
    }

    /// A CA whose server does not run yet.
    ///
    /// # Panics
    /// When `ca-cli init` fails.
    #[must_use]
    pub fn initialised(wanted: &Wanted) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("holdfast-rig-")
            .tempdir()
            .expect("a folder");
        let answers = format!(
            "organization = \"Kit\"\nlisten = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nstatus = \"127.0.0.1:0\"\npki_url = \"{}\"\ncrl_shards = {}\ndatabase = \"{}\"\nroot_algorithm = \"ecdsa-p256-sha256\"\nissuing_algorithm = \"{}\"\n",
            wanted.pki_url, wanted.crl_shards, wanted.database, wanted.issuing
        );
        let answers_file = dir.path().join("init.toml");
        std::fs::write(&answers_file, answers).expect("answers");
        let vendor = VendorCa::root("Kit TPM Root");
        let ca = dir.path().join("ca");
        let around = Surroundings {
            programs: wanted.programs.clone(),
            ..Surroundings::default()
        };
        let output = Command::new(around.program("ca-cli"))
            .args(["init", "--no-input", "-o", "json", "--dir"])
            .arg(&ca)
            .arg("--answers")
            .arg(&answers_file)
            .env_remove("SOFTHSM2_CONF")
            .output()
            .expect("ca-cli runs");
        assert!(
            output.status.success(),
            "ca-cli init: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let trust = vendor.trust_toml("kit", &wanted.anchor, &["id:49465800"]);
        std::fs::write(ca.join("trust/kit.toml"), trust).expect("trust");
        let root_pem = std::fs::read(ca.join("ca/root.pem")).expect("root");
        let root = openssl::x509::X509::from_pem(&root_pem)
            .and_then(|c| c.to_der())
            .expect("root");
        let rig = Self {
            _janitor: Janitor::of(dir.path()),
            dir,
            vendor,
            root,
            around,
            database: wanted.database.clone(),
            server: None,
        };
        rig.leave_out(&wanted.left_out);
        rig.configure(&wanted.settings);
        rig
    }

    fn leave_out(&self, sections: &[String]) {
        let text = std::fs::read_to_string(self.path("server.toml")).expect("server.toml");
        let mut table: toml::Table = text.parse().expect("TOML");
        for section in sections {
            assert!(table.remove(section).is_some(), "no section {section}");
        }
        std::fs::write(self.path("server.toml"), table.to_string()).expect("a configuration");
    }

    /// Change values of server.toml.
    ///
    /// # Panics
    /// When it is not TOML.
    pub fn configure(&self, settings: &[(String, String, toml::Value)]) {
        self.configure_as("server", settings);
    }

    /// Write `{name}.toml`: server.toml with these values changed.
    fn configure_as(&self, name: &str, settings: &[(String, String, toml::Value)]) {
        let text = std::fs::read_to_string(self.path("server.toml")).expect("server.toml");
        let mut table: toml::Table = text.parse().expect("TOML");
        for (section, key, value) in settings {
            let section = table
                .entry(section.clone())
                .or_insert_with(|| toml::Table::new().into());
            section
                .as_table_mut()
                .expect("a section")
                .insert(key.clone(), value.clone());
        }
        std::fs::write(self.path(&format!("{name}.toml")), table.to_string()).expect("a configuration");
    }

    /// The record was moved: from the next start on it is there.
    pub fn moved(&mut self, database: &str) {
        self.configure(&[("database".into(), "url".into(), database.into())]);
        database.clone_into(&mut self.database);
    }

    /// A path in the CA's folder.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join("ca").join(below)
    }

    /// A command with the token store of this CA.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        self.command_of(&Surroundings::default(), name)
    }

    /// The same of another build, or in other surroundings.
    #[must_use]
    pub fn command_of(&self, around: &Surroundings, name: &str) -> Command {
        let mut command = Command::new(around.program(name));
        command
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .env("HOLDFAST_ADMIN_SOCKET", self.path("admin.sock"))
            .envs(around.environment.iter().cloned());
        command
    }

    /// Start the server and wait until it says that it listens.
    ///
    /// # Panics
    /// When it does not start; its log is in `server.log`.
    pub fn start(&mut self) {
        self.server = Some(Server::start(&self.path(""), "server", &self.root, &self.around));
    }

    /// Start the server, which may end before it listens; whether it listens.
    pub fn try_start(&mut self) -> bool {
        self.server = Server::try_start(&self.path(""), "server", &self.root, &self.around).ok();
        self.server.is_some()
    }

    /// Start one more server on the same token, the same seal key and the same database, which must be PostgreSQL.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn replica(&self, name: &str) -> Server {
        let admin = toml::Value::from(format!("{name}.sock"));
        self.configure_as(name, &[("server".into(), "admin".into(), admin)]);
        Server::start(&self.path(""), name, &self.root, &self.around)
    }

    /// Run the server to its end: for configurations it must refuse.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn refuses_to_start(&self) -> Output {
        self.command_of(&self.around, "ca-server")
            .arg("--config")
            .arg(self.path("server.toml"))
            .output()
            .expect("ca-server runs")
    }

    /// The server.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("a running server")
    }

    /// The server's log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// Process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server().pid()
    }

    /// Kill the server without a word (SIGKILL).
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Ask the server to end (SIGTERM) and wait for it; its exit code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> Option<i32> {
        self.server.take().expect("a running server").stop()
    }

    /// Wait until the server has ended by itself.
    pub fn stop_waiting(&mut self) {
        if let Some(server) = self.server.as_mut() {
            server.wait();
        }
        self.server = None;
    }

    /// Whether the server process is there.
    pub fn is_alive(&mut self) -> bool {
        self.server.as_mut().is_some_and(Server::is_alive)
    }

    /// Address of the public listener.
    #[must_use]
    pub fn public(&self) -> SocketAddr {
        self.server().public()
    }

    /// URL of the public listener.
    #[must_use]
    pub fn url(&self) -> String {
        self.server().url()
    }

    /// A client that trusts this CA's root and keeps its connection.
    #[must_use]
    pub fn client(&self) -> Client {
        self.server().client()
    }

    /// `GET` on the metrics listener: status and body.
    #[must_use]
    pub fn monitor(&self, path: &str) -> (u16, String) {
        self.server().monitor(path)
    }

    /// Run `ca-cli` with these arguments.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.command("ca-cli").args(arguments).output().expect("ca-cli runs")
    }

    /// Run `ca-cli … -o json`, which must succeed.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn cli_json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self
            .command("ca-cli")
            .args(arguments)
            .args(["-o", "json"])
            .output()
            .expect("ca-cli runs");
        assert!(
            output.status.success(),
            "ca-cli {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}
