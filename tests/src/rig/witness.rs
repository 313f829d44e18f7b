//! A `ca-witness` process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use super::server::spawn_for_us;
use super::{Rig, binary};

/// A witness of a rig's ledger: its key and its memory lie in the CA's folder.
pub struct Witness {
    name: String,
    arguments: Vec<String>,
    log: PathBuf,
    running: Option<Child>,
    address: Option<SocketAddr>,
    key: String,
    environment: Vec<(String, String)>,
}

impl Witness {
    /// Make a key, and start one that knows the ledger with this verifier key.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(rig: &Rig, name: &str, ledger: &str) -> Self {
        let key = openssl::pkey::PKey::generate_ed25519()
            .and_then(|key| key.private_key_to_pem_pkcs8())
            .expect("a key");
        let file = rig.path(&format!("{name}.key"));
        std::fs::write(&file, key).expect("a key file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a secret");
        let state = rig.path(&format!("{name}.state"));
        let arguments = [
            "--listen",
            "127.0.0.1:0",
            "--key",
            &file.display().to_string(),
            "--name",
            name,
            "--state",
            &state.display().to_string(),
            "--ledger",
            ledger,
        ];
        let mut witness = Self {
            name: name.to_owned(),
            arguments: arguments.map(str::to_owned).into(),
            log: rig.path(&format!("{name}.log")),
            running: None,
            address: None,
            key: String::new(),
            environment: Vec::new(),
        };
        witness.go_on();
        witness
    }

    /// Start it again, at the address it had.
    ///
    /// # Panics
    /// When it does not start.
    pub fn go_on(&mut self) {
        let log = std::fs::File::create(&self.log).expect("a log");
        let mut child = spawn_for_us(&binary("ca-witness"), |command| {
            command
                .args(&self.arguments)
                .envs(self.environment.iter().cloned())
                .stdout(Stdio::piped())
                .stderr(log);
        })
        .expect("ca-witness runs");
        let mut line = String::new();
        let out = child.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let said = || format!("{line}{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        let value = |name: &str| {
            line.trim_end()
                .split(' ')
                .find_map(|word| word.strip_prefix(name))
                .unwrap_or_else(|| panic!("ca-witness: {}", said()))
        };
        let address: SocketAddr = value("listen=").parse().expect("an address");
        self.key = value("key=").to_owned();
        if let Some(listen) = self.arguments.get_mut(1) {
            *listen = address.to_string();
        }
        self.address = Some(address);
        self.running = Some(child);
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its verifier key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Where it is asked, also while it does not run.
    ///
    /// # Panics
    /// When it never ran.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address.expect("a witness that ran"))
    }

    /// What `server.toml` says of it.
    #[must_use]
    pub fn terms(&self) -> toml::Value {
        terms(&self.url(), &self.key)
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("a running witness").id()
    }

    /// What its environment says from the next start on.
    pub fn environment(&mut self, of: Vec<(String, String)>) {
        self.environment = of;
    }

    /// Whether its process is there.
    pub fn is_alive(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Run it to its end: for a memory that it must refuse.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn refuses_to_start(&self) -> Output {
        self.refuses_with(&[])
    }

    /// The same, with more arguments.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn refuses_with(&self, more: &[&str]) -> Output {
        Command::new(binary("ca-witness"))
            .args(&self.arguments)
            .args(more)
            .output()
            .expect("ca-witness runs")
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `server.toml` says of a witness somewhere.
#[must_use]
pub fn terms(url: &str, key: &str) -> toml::Value {
    let of = |text: &str| toml::Value::from(text);
    toml::Value::Table(
        [("url".to_owned(), of(url)), ("key".to_owned(), of(key))]
            .into_iter()
            .collect(),
    )
}
