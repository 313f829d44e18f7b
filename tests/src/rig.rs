//! The whole house as processes: `ca-cli init` on SoftHSM, `ca-server` on a free port, devices over TLS.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use wire::EnrollmentId;
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentRequest, EnrollmentResult};
use wire::problem::Problem;

use crate::soft_tpm::SoftTpm;
use crate::vendor::VendorCa;

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

/// An answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub problem: Problem,
}

/// Any answer.
#[derive(Clone, Debug)]
pub struct Raw {
    /// HTTP status.
    pub status: u16,
    /// Content-Type.
    pub content_type: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Raw {
    /// The body as a problem.
    ///
    /// # Panics
    /// When it is none: every error is a problem.
    #[must_use]
    pub fn problem(&self) -> Problem {
        assert_eq!(
            self.content_type,
            "application/problem+json",
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        serde_json::from_slice(&self.body).expect("a problem")
    }
}

/// A CA with its server, in a folder that goes away with it.
pub struct Rig {
    /// Where everything is.
    pub dir: TempDir,
    /// The vendor whose devices it believes.
    pub vendor: VendorCa,
    /// Root certificate, DER.
    pub root: Vec<u8>,
    server: Option<Child>,
    public: SocketAddr,
    metrics: SocketAddr,
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
    /// Values of server.toml to change: (section, key, TOML value).
    pub settings: Vec<(String, String, toml::Value)>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            database: "sqlite://ca.db".into(),
            issuing: "ecdsa-p256-sha256".into(),
            anchor: "hardware".into(),
            // Tests of limits set their own; all others come from one address and are many.
            settings: vec![("limits".into(), "rate_per_source".into(), "off".into())],
        }
    }
}

impl Wanted {
    /// Change one value of server.toml.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, value: impl Into<toml::Value>) -> Self {
        self.settings
            .retain(|(s, k, _)| (s.as_str(), k.as_str()) != (section, key));
        self.settings.push((section.into(), key.into(), value.into()));
        self
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
            "organization = \"Kit\"\nlisten = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\ndatabase = \"{}\"\nroot_algorithm = \"ecdsa-p256-sha256\"\nissuing_algorithm = \"{}\"\n",
            wanted.database, wanted.issuing
        );
        let answers_file = dir.path().join("init.toml");
        std::fs::write(&answers_file, answers).expect("answers");
        let vendor = VendorCa::root("Kit TPM Root");
        let ca = dir.path().join("ca");
        let output = Command::new(binary("ca-cli"))
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
        let trust = vendor.trust_toml("kit", &wanted.anchor, &["id:53494D30"]);
        std::fs::write(ca.join("trust/kit.toml"), trust).expect("trust");
        let root_pem = std::fs::read(ca.join("ca/root.pem")).expect("root");
        let root = openssl::x509::X509::from_pem(&root_pem)
            .and_then(|c| c.to_der())
            .expect("root");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let rig = Self {
            dir,
            vendor,
            root,
            server: None,
            public: nowhere,
            metrics: nowhere,
        };
        rig.configure(&wanted.settings);
        rig
    }

    /// Change values of server.toml.
    ///
    /// # Panics
    /// When it is not TOML.
    pub fn configure(&self, settings: &[(String, String, toml::Value)]) {
        let path = self.path("server.toml");
        let text = std::fs::read_to_string(&path).expect("server.toml");
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
        std::fs::write(path, table.to_string()).expect("server.toml");
    }

    /// A path in the CA's folder.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join("ca").join(below)
    }

    /// A command with the token store of this CA.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(binary(name));
        command
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .env("HOLDFAST_ADMIN_SOCKET", self.path("admin.sock"));
        command
    }

    /// Start the server and wait until it says that it listens.
    ///
    /// # Panics
    /// When it does not start; its log is in `server.log`.
    pub fn start(&mut self) {
        let log = std::fs::File::create(self.path("server.log")).expect("a log");
        let mut child = self
            .command("ca-server")
            .arg("--config")
            .arg(self.path("server.toml"))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("ca-server runs");
        let mut line = String::new();
        let output = child.stdout.take().expect("standard output");
        BufReader::new(output).read_line(&mut line).expect("standard output");
        let value = |key: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(key)?.parse().ok())
        };
        let (Some(public), Some(metrics)) = (value("public="), value("metrics=")) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("ca-server did not start: {}", self.log());
        };
        (self.public, self.metrics) = (public, metrics);
        self.server = Some(child);
    }

    /// Run the server to its end: for configurations it must refuse.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn refuses_to_start(&self) -> Output {
        self.command("ca-server")
            .arg("--config")
            .arg(self.path("server.toml"))
            .output()
            .expect("ca-server runs")
    }

    /// The server's log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// Process id of the server.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("a running server").id()
    }

    /// Kill the server without a word (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ask the server to end (SIGTERM) and wait for it; its exit code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> Option<i32> {
        let mut child = self.server.take().expect("a running server");
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
        child.wait().ok().and_then(|status| status.code())
    }

    /// Address of the public listener.
    #[must_use]
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// URL of the public listener.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.public.port())
    }

    /// A client that trusts this CA's root and keeps its connection.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.root, self.url())
    }

    /// `GET` on the metrics listener: status and body.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn monitor(&self, path: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent
            .get(format!("http://{}{path}", self.metrics))
            .call()
            .expect("an answer");
        (
            answer.status().as_u16(),
            answer.body_mut().read_to_string().expect("text"),
        )
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

    /// Put a device into the inventory by its EK.
    pub fn allow(&self, name: &str, tpm: &SoftTpm) {
        let _ = self.cli_json(&["device", "allow", name, "--ek", &hex::encode(tpm.ek.sha256())]);
    }

    /// Reasons in the database's audit record for an incident or enrollment.
    #[must_use]
    pub fn audit(&self, subject: &str) -> Vec<String> {
        let found = self.cli(&["audit", "show", subject, "-o", "json"]);
        let value: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap_or_default();
        let items = value
            .get("items")
            .and_then(|i| i.as_array())
            .cloned()
            .unwrap_or_default();
        items
            .iter()
            .filter_map(|i| i["reason"].as_str().map(str::to_owned))
            .collect()
    }

    /// Lines of the audit file that name this incident.
    #[must_use]
    pub fn audit_file(&self, incident: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.path("audit.jsonl")).unwrap_or_default();
        text.lines()
            .filter(|l| l.contains(incident))
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A device's view of the server.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    /// A client that trusts `root` (DER) and nothing else.
    #[must_use]
    pub fn new(root: &[u8], url: String) -> Self {
        let root = Certificate::from_der(root).to_owned();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(RootCerts::Specific(Arc::new(vec![root])))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self {
            agent: config.into(),
            url,
        }
    }

    /// `POST /v1/enrollments`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn begin(&self, request: &EnrollmentRequest) -> Result<EnrollmentChallenge, Refused> {
        self.post("/v1/enrollments", request)
    }

    /// `POST /v1/enrollments/{id}/activation`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn activate(&self, id: EnrollmentId, request: &ActivationRequest) -> Result<EnrollmentResult, Refused> {
        self.post(&format!("/v1/enrollments/{id}/activation"), request)
    }

    /// Both calls, honestly.
    ///
    /// # Errors
    /// [`Refused`].
    ///
    /// # Panics
    /// When the credential is not for this TPM.
    pub fn enroll(&self, tpm: &SoftTpm, request: &EnrollmentRequest) -> Result<EnrollmentResult, Refused> {
        let challenge = self.begin(request)?;
        let answer = tpm.answer(&challenge).expect("the credential is for this TPM");
        self.activate(challenge.id, &answer)
    }

    fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Refused> {
        let body = serde_json::to_vec(body).expect("JSON");
        let raw = self.post_raw(path, "application/json", &body);
        if (200..300).contains(&raw.status) {
            return Ok(serde_json::from_slice(&raw.body).expect("the body of a success"));
        }
        Err(Refused {
            status: raw.status,
            problem: raw.problem(),
        })
    }

    /// `POST` of any bytes under any content type.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn post_raw(&self, path: &str, content_type: &str, body: &[u8]) -> Raw {
        let request = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("content-type", content_type);
        raw(request.send(body))
    }

    /// `GET`, with an `Accept` header when it is not empty.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get(&self, path: &str, accept: &str) -> Raw {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if !accept.is_empty() {
            request = request.header("accept", accept);
        }
        raw(request.call())
    }
}

fn raw(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Raw {
    let mut answer = answer.expect("an answer");
    let content_type = answer
        .headers()
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let status = answer.status().as_u16();
    Raw {
        status,
        content_type,
        body: answer.body_mut().read_to_vec().expect("a body"),
    }
}
