//! One `ca-server` process. Whatever ends the test, the kernel ends the server with it.

use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

use super::client::Client;

type Order = (Command, Sender<io::Result<Child>>);

/// Start a program that does not outlive this process, however it ends. The signal comes when the *thread* that
/// started the child ends, so one thread that never ends starts them all.
pub(super) fn spawn_for_us(program: &Path, with: impl FnOnce(&mut Command)) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, taken) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in taken {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    with(&mut command);
    let (answer, spawned) = channel();
    spawner
        .lock()
        .map_err(|_| io::Error::other("the spawner is poisoned"))?
        .send((command, answer))
        .map_err(io::Error::other)?;
    spawned.recv().map_err(io::Error::other)?
}

/// What a server process gets beside its configuration.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Shell commands that come before it, in its own process.
    pub before: Option<String>,
    /// Folder of the programs of another build; without it: of this one.
    pub programs: Option<PathBuf>,
}

impl Surroundings {
    /// A program of this build, or of the other one.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        let own = || super::binary(name);
        self.programs.as_ref().map_or_else(own, |folder| folder.join(name))
    }
}

/// A running server.
pub struct Server {
    child: Option<Child>,
    public: SocketAddr,
    metrics: SocketAddr,
    status: Option<SocketAddr>,
    admin: PathBuf,
    log: PathBuf,
    root: Vec<u8>,
}

impl Server {
    /// Start `ca-server` and wait until it says that it listens.
    ///
    /// # Panics
    /// When it does not start.
    pub(super) fn start(ca: &Path, name: &str, root: &[u8], around: &Surroundings) -> Self {
        Self::try_start(ca, name, root, around).unwrap_or_else(|log| {
            panic!(
                "ca-server did not start: {}",
                std::fs::read_to_string(log).unwrap_or_default()
            )
        })
    }

    /// The same of one that may end before it listens; then: its log.
    pub(super) fn try_start(ca: &Path, name: &str, root: &[u8], around: &Surroundings) -> Result<Self, PathBuf> {
        let log = ca.join(format!("{name}.log"));
        let errors = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log");
        let program = around.program("ca-server");
        let first = if around.before.is_some() {
            Path::new("sh")
        } else {
            &program
        };
        let mut child = spawn_for_us(first, |command| {
            if let Some(before) = &around.before {
                command
                    .arg("-c")
                    .arg(format!("{before}\nexec \"$0\" \"$@\""))
                    .arg(&program);
            }
            command
                .arg("--config")
                .arg(ca.join(format!("{name}.toml")))
                .env("SOFTHSM2_CONF", ca.join("softhsm2.conf"))
                // As in its unit.
                .env("RUST_BACKTRACE", "0")
                .envs(around.environment.iter().cloned())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(errors);
        })
        .expect("ca-server runs");
        let mut line = String::new();
        let output = child.stdout.take().expect("standard output");
        BufReader::new(output).read_line(&mut line).expect("standard output");
        let word = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key));
        let address = |key: &str| word(key).and_then(|text| text.parse().ok());
        let (Some(public), Some(metrics), Some(admin)) = (address("public="), address("metrics="), word("admin="))
        else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(log);
        };
        Ok(Self {
            public,
            metrics,
            status: address("status="),
            admin: ca.join(admin),
            child: Some(child),
            log,
            root: root.to_vec(),
        })
    }

    /// Process id.
    ///
    /// # Panics
    /// When it does not run any more.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// The process id as the system calls take it.
    ///
    /// # Panics
    /// When it does not run any more.
    #[must_use]
    pub fn process(&self) -> rustix::process::Pid {
        i32::try_from(self.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a pid")
    }

    /// SIGKILL, from whatever thread, in the middle of whatever it does; [`Server::kill`] buries it.
    pub fn strike(&self) {
        let _ = rustix::process::kill_process(self.process(), rustix::process::Signal::KILL);
    }

    /// Kill it without a word (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ask it to end (SIGTERM) and wait for it; its exit code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> Option<i32> {
        let pid = self.process();
        let mut child = self.child.take().expect("a running server");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
        child.wait().ok().and_then(|status| status.code())
    }

    /// Wait until it has ended by itself.
    pub fn wait(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Whether the process is still there.
    pub fn is_alive(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
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

    /// Its administration socket.
    #[must_use]
    pub fn admin(&self) -> &Path {
        &self.admin
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A client that trusts this CA's root and keeps its connection.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.root, self.url())
    }

    /// Address of the listener for relying parties.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn status(&self) -> SocketAddr {
        self.status.expect("a listener for relying parties")
    }

    /// Address of the listener for monitors.
    pub(super) fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// What a relying party finds under the path of a URL.
    ///
    /// # Panics
    /// When the listener does not answer.
    #[must_use]
    pub fn fetch(&self, path: &str) -> (u16, Vec<u8>) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent
            .get(format!("http://{}{path}", self.status()))
            .call()
            .expect("an answer");
        (
            answer.status().as_u16(),
            answer.body_mut().read_to_vec().expect("a body"),
        )
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

    /// How often a step of an enrollment was done: `record`, `sign`, `store` and the others of `phase`.
    #[must_use]
    pub fn phase(&self, name: &str) -> u64 {
        let (_, text) = self.monitor("/metrics");
        let line = format!("ca_enrollment_phase_seconds_count{{phase=\"{name}\"}} ");
        text.lines()
            .find_map(|l| l.strip_prefix(&line)?.parse().ok())
            .unwrap_or_default()
    }

    /// The value of a metric, all labels summed.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.monitor("/metrics");
        text.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
