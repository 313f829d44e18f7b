//! haproxy before the servers of one CA, by the configuration that is shipped: `packaging/cluster/haproxy.cfg`.
//!
//! Every server has an address of its own below 127/8, so that all have the same ports, before and after a restart.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::server::spawn_for_us;
use super::{Client, Own, Rig, Server};

/// Ports of every server, at its own address.
const PUBLIC: u16 = 8443;
const STATUS: u16 = 8080;
const METRICS: u16 = 9464;
/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running haproxy.
pub struct Balancer {
    child: Child,
    root: Vec<u8>,
    public: SocketAddr,
    status: SocketAddr,
    monitor: SocketAddr,
}

/// The addresses of three servers that are one CA.
#[derive(Clone, Debug)]
pub struct Hosts([String; 3]);

impl Hosts {
    /// Three that no other rig of this machine has: by process and count.
    #[must_use]
    pub fn ours() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let [.., high, low] = std::process::id().to_be_bytes();
        // 127.0 is everybody's.
        let high = high % 254 + 1;
        let base = COUNT.fetch_add(1, Ordering::Relaxed) * 4;
        Self([1, 2, 3].map(|n| format!("127.{high}.{low}.{}", base + n)))
    }

    /// The address of one: 0, 1 or 2.
    ///
    /// # Panics
    /// There are three.
    #[must_use]
    pub fn of(&self, number: usize) -> &str {
        self.0.get(number).expect("one of three")
    }
}

impl Rig {
    /// Start one of three servers at its own address; its name is `ca1`, `ca2` or `ca3`. It may be one that was before.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn one_of_three(&self, hosts: &Hosts, number: usize) -> Server {
        self.try_one_of_three(hosts, number, &Own::default())
            .unwrap_or_else(|log| {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                panic!("ca-server did not start: {log}")
            })
    }

    /// The same with what is this server's own, of one that may end before it listens; then: its log.
    pub(super) fn try_one_of_three(&self, hosts: &Hosts, number: usize, own: &Own) -> Result<Server, PathBuf> {
        self.configure_one_of_three(hosts, number, &own.settings);
        let mut around = self.around.clone();
        around.environment.extend(own.environment.iter().cloned());
        around.programs = own.programs.clone().or(around.programs);
        let name = format!("ca{}", number + 1);
        Server::try_start(&self.path(""), &name, &self.root, &around)
    }

    /// Write its configuration, and start nothing.
    fn configure_one_of_three(&self, hosts: &Hosts, number: usize, more: &[(String, String, toml::Value)]) {
        let name = format!("ca{}", number + 1);
        let host = hosts.of(number);
        let at = |port: u16| toml::Value::from(format!("{host}:{port}"));
        let own = |what: &str| toml::Value::from(format!("{name}.{what}"));
        let settings: Vec<(String, String, toml::Value)> = [
            ("server", "public", at(PUBLIC)),
            ("server", "status", at(STATUS)),
            ("server", "metrics", at(METRICS)),
            ("server", "admin", own("sock")),
            ("audit", "file", own("audit")),
            ("ledger", "head", own("head")),
        ]
        .into_iter()
        .map(|(section, key, value)| (section.to_owned(), key.to_owned(), value))
        .chain(more.iter().cloned())
        .collect();
        self.configure_as(&name, &settings);
    }

    /// haproxy before them; it answers on return, and shows nobody to a server that is not ready.
    ///
    /// # Panics
    /// When haproxy is not installed (`make test` installs it), or does not start.
    #[must_use]
    pub fn balancer(&self, hosts: &Hosts) -> Balancer {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/cluster/haproxy.cfg");
        let begun = Instant::now();
        loop {
            // Free now; whoever else takes one of them meanwhile makes us try again.
            let free = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
            let [public, status, monitor] = [free(), free(), free()].map(|at| at.expect("a free port"));
            let log = std::fs::File::options()
                .create(true)
                .append(true)
                .open(self.path("haproxy.log"))
                .expect("a log");
            let program = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"]
                .into_iter()
                .map(Path::new)
                .find(|path| path.is_file())
                .expect("haproxy is not installed: run `make test`, which installs it");
            let mut child = spawn_for_us(program, |command| {
                command.arg("-db").arg("-f").arg(&config);
                for (name, value) in [
                    ("BALANCER_PUBLIC", public.to_string()),
                    ("BALANCER_STATUS", status.to_string()),
                    ("BALANCER_MONITOR", monitor.to_string()),
                    ("CA1_HOST", hosts.of(0).to_owned()),
                    ("CA2_HOST", hosts.of(1).to_owned()),
                    ("CA3_HOST", hosts.of(2).to_owned()),
                    ("CA_PUBLIC_PORT", PUBLIC.to_string()),
                    ("CA_STATUS_PORT", STATUS.to_string()),
                    ("CA_METRICS_PORT", METRICS.to_string()),
                ] {
                    command.env(name, value);
                }
                command
                    .stdin(Stdio::null())
                    .stdout(log.try_clone().expect("a log"))
                    .stderr(log);
            })
            .expect("haproxy runs");
            while matches!(child.try_wait(), Ok(None)) {
                if get(monitor, "/livez").is_some_and(|(status, _)| status == 200) {
                    return Balancer {
                        child,
                        root: self.root.clone(),
                        public,
                        status,
                        monitor,
                    };
                }
                assert!(begun.elapsed() < PATIENCE, "haproxy does not answer");
                std::thread::sleep(Duration::from_millis(5));
            }
            let log = std::fs::read_to_string(self.path("haproxy.log")).unwrap_or_default();
            assert!(
                log.contains("Address already in use") && begun.elapsed() < PATIENCE,
                "haproxy: {log}"
            );
        }
    }
}

impl Balancer {
    /// A client that comes through it: each one has a connection of its own, and with it a server.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.root, format!("https://localhost:{}", self.public.port()))
    }

    /// Where relying parties ask.
    #[must_use]
    pub fn status(&self) -> SocketAddr {
        self.status
    }

    /// What a relying party finds under the path of a URL; nothing, when nobody answers.
    #[must_use]
    pub fn fetch(&self, path: &str) -> Option<(u16, Vec<u8>)> {
        get(self.status, path)
    }

    /// Whether it sends devices to this server (0, 1 or 2) now.
    ///
    /// # Panics
    /// When haproxy says nothing of it.
    #[must_use]
    pub fn sends_to(&self, number: usize) -> bool {
        let (_, text) = get(self.monitor, "/metrics").expect("haproxy's metrics");
        let text = String::from_utf8_lossy(&text).into_owned();
        let begin = format!(
            "haproxy_server_status{{proxy=\"public\",server=\"ca{}\",state=\"UP\"}} ",
            number + 1
        );
        let value = text.lines().find_map(|line| line.strip_prefix(&begin));
        value.expect("a server").starts_with('1')
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn get(at: SocketAddr, path: &str) -> Option<(u16, Vec<u8>)> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    let mut answer = agent.get(format!("http://{at}{path}")).call().ok()?;
    Some((answer.status().as_u16(), answer.body_mut().read_to_vec().ok()?))
}
