//! docker-compose.yml and the Dockerfile, run by `tests/topology/run.py` as processes in namespaces of mounts, processes and
//! network; cables are pulled. And what linters of others say of these files and of the units.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use device_kit::others::judge;
use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A profile of docker-compose.yml that runs; its end ends all of it.
struct Topology {
    runner: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Topology {
    /// All services of the profile are healthy. `None` where this user may not make namespaces, which under `CI` is an error.
    fn up(profile: &str) -> Option<Self> {
        let mayed = Command::new("unshare")
            .args(["--mount", "--net", "true"])
            .output()
            .unwrap();
        if !rustix::process::geteuid().is_root() || !mayed.status.success() {
            assert!(std::env::var_os("CI").is_none(), "no namespaces: {mayed:?}");
            println!("skipped: this user may not make namespaces");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("holdfast-topology-").tempdir().unwrap();
        // Others than root pass through it.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let binaries = Path::new(env!("CARGO_BIN_EXE_relying-party")).parent().unwrap();
        // Debian's Python, which has Debian's YAML.
        let mut runner = Command::new("/usr/bin/python3")
            .arg(format!("{ROOT}/tests/topology/run.py"))
            .args([
                profile.as_ref(),
                folder.path().join(profile).as_os_str(),
                binaries.as_os_str(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = runner.stdin.take();
        let answers = BufReader::new(runner.stdout.take().unwrap());
        let mut topology = Self {
            runner,
            orders,
            answers,
            _folder: folder,
        };
        assert_eq!(topology.answer(), json!({ "ready": true }));
        Some(topology)
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the runner ended; it said why above"))
    }

    fn order(&mut self, order: &Value) -> Value {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        self.answer()
    }

    /// `docker compose exec`: exit code, and what was said on either output.
    fn exec(&mut self, service: &str, argv: &[&str]) -> (i64, String) {
        let done = self.order(&json!(["exec", service, argv]));
        let said = |name: &str| done[name].as_str().unwrap().to_owned();
        (done["code"].as_i64().unwrap(), said("stdout") + &said("stderr"))
    }

    /// The same, and it succeeds.
    fn does(&mut self, service: &str, argv: &[&str]) -> String {
        let (code, said) = self.exec(service, argv);
        assert_eq!(code, 0, "{service}: {argv:?}: {said}");
        said
    }

    /// Ask until it is so.
    fn until(&mut self, what: &str, mut so: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        while !so(self) {
            assert!(begun.elapsed() < Duration::from_secs(90), "in vain: {what}");
        }
    }

    fn until_healthy(&mut self, service: &str) {
        self.until(&format!("{service} is healthy"), |t| {
            t.order(&json!(["healthy", service]))["healthy"] == json!(true)
        });
    }

    /// No service but those that need it has anything but its user, its folders and its network.
    fn is_confined(&mut self, service: &str) {
        let facts = self.order(&json!(["facts", service]));
        let fact = |name: &str| facts[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(fact("Uid"), "10001\t10001\t10001\t10001", "{service}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(fact(set), "0000000000000000", "{service}: {set}");
        }
        assert_eq!(fact("NoNewPrivs"), "1", "{service}");
        let (code, said) = self.exec(service, &["/usr/bin/touch", "/usr/local/bin/x"]);
        assert!(code != 0 && said.contains("Read-only file system"), "{service}: {said}");
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.runner.wait();
    }
}

/// A device enrolls as the head of docker-compose.yml says.
fn enrolls(topology: &mut Topology, server: &str, url: &str) {
    let allow = [
        "ca-cli",
        "device",
        "allow",
        "gateway-1",
        "--first-contact",
        "10min",
        "--reason",
        "demo",
    ];
    topology.does(server, &allow);
    let root = ["--root", "/public/root.pem", "--device", "gateway-1"];
    topology.does(
        "device",
        &[&["ca-agent", "enroll", "--server", url], &root[..]].concat(),
    );
    let tree = topology.does(server, &["ca-cli", "device", "tree", "gateway-1"]);
    assert!(tree.contains("activated: lives with this EK"), "{tree}");
}

fn renews(topology: &mut Topology) -> (i64, String) {
    topology.exec("device", &["ca-agent", "renew", "--force", "--wait", "5"])
}

#[test]
fn the_profile_demo_enrolls_a_device() {
    let Some(mut topology) = Topology::up("demo") else {
        return;
    };
    enrolls(&mut topology, "ca", "https://ca:8443");
    for service in ["ca", "device"] {
        topology.is_confined(service);
    }
    // What was made outlives the container.
    assert_eq!(topology.order(&json!(["stop", "ca"]))["code"], 0);
    topology.order(&json!(["start", "ca"]));
    topology.until_healthy("ca");
    topology.does("ca", &["ca-cli", "device", "tree", "gateway-1"]);
}

/// F10, and the profile as a whole: three servers, one killed, one without a cable, one that does not hear its database, a
/// standby that is gone.
#[test]
fn f10_the_profile_cluster_under_faults_of_the_network() {
    let Some(mut topology) = Topology::up("cluster") else {
        return;
    };
    enrolls(&mut topology, "ca1", "https://balancer:8443");
    for service in ["ca1", "primary", "standby", "balancer", "metrics"] {
        topology.is_confined(service);
    }
    // No password but in its file.
    let password = topology.does("ca1", &["/bin/cat", "/run/secrets/db-password"]);
    for service in ["ca1", "primary", "standby"] {
        let around = topology.does(
            service,
            &["/bin/bash", "-c", "cat /proc/1/environ /proc/1/cmdline | tr '\\0' ' '"],
        );
        assert!(!around.contains(password.trim()), "{service}");
    }
    topology.until("everybody is measured", |t| {
        let up = "exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET /api/v1/query?query=sum(up) HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
        t.does("metrics", &["/bin/bash", "-c", up]).contains(r#","4"]"#)
    });

    let renewed = |topology: &mut Topology, when: &str| {
        let mut last = String::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let (code, said) = renews(topology);
            if code == 0 {
                return;
            }
            last = said;
        }
        panic!("{when}: {last}");
    };
    topology.order(&json!(["kill", "ca1"]));
    renewed(&mut topology, "one server is killed");
    // Its peers and its database are out of its reach, and it out of theirs.
    topology.order(&json!(["cut", "ca2"]));
    renewed(&mut topology, "another one is cut off");
    topology.order(&json!(["heal", "ca2"]));
    // One way only: what the database says to this server is lost.
    topology.order(&json!(["part", "primary", "ca3"]));
    topology.until_healthy("ca2");
    renewed(&mut topology, "a third does not hear the database");
    topology.order(&json!(["join", "primary", "ca3"]));
    topology.until_healthy("ca3");

    // A commit that the standby does not have is none: nobody is told that he has a certificate.
    topology.order(&json!(["cut", "standby"]));
    let issued = |t: &mut Topology| {
        let list = t.does("ca3", &["ca-cli", "-o", "json", "device", "show", "gateway-1"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        list.to_string().matches("\"serial\"").count()
    };
    let before = issued(&mut topology);
    let (code, said) = renews(&mut topology);
    assert_ne!(code, 0, "without the standby: {said}");
    assert_eq!(issued(&mut topology), before);
    topology.order(&json!(["heal", "standby"]));
    renewed(&mut topology, "the standby is back");

    topology.order(&json!(["start", "ca1"]));
    for service in ["ca1", "ca2", "ca3", "balancer", "standby"] {
        topology.until_healthy(service);
    }
    let (code, said) = renews(&mut topology);
    assert_eq!(code, 0, "{said}");
}

/// A command of a linter, and it finds nothing.
fn finds_nothing(command: &mut Command) {
    let output = command
        .current_dir(ROOT)
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn the_files_for_containers_are_what_their_linters_want() {
    finds_nothing(Command::new(judge("check-jsonschema")).args([
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yml",
    ]));
    finds_nothing(Command::new(judge("hadolint")).arg("Dockerfile"));
    finds_nothing(Command::new("promtool").args(["check", "config", "packaging/cluster/prometheus.yml"]));
    finds_nothing(Command::new("promtool").args(["test", "rules", "packaging/cluster/alerts_test.yml"]));
    let mut haproxy = Command::new("/usr/sbin/haproxy");
    for (name, value) in [
        ("BALANCER_PUBLIC", ":8443"),
        ("BALANCER_STATUS", ":8080"),
        ("BALANCER_MONITOR", ":8405"),
        ("CA1_HOST", "localhost"),
        ("CA2_HOST", "localhost"),
        ("CA3_HOST", "localhost"),
        ("CA_PUBLIC_PORT", "8443"),
        ("CA_STATUS_PORT", "8080"),
        ("CA_METRICS_PORT", "9464"),
    ] {
        haproxy.env(name, value);
    }
    finds_nothing(haproxy.args(["-c", "-f", "packaging/cluster/haproxy.cfg"]));
}

/// Every metric that an alert asks for is one that the server tells.
#[test]
fn alerts_ask_for_metrics_that_exist() {
    let alerts = std::fs::read_to_string(format!("{ROOT}/packaging/cluster/alerts.yml")).unwrap();
    let rig = device_kit::rig::Rig::with(&device_kit::rig::Wanted::default().with_crls(0));
    let (_, told) = rig.monitor("/metrics");
    let mut asked = 0;
    for word in alerts.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        if word.starts_with("ca_") {
            let family = word.trim_end_matches("_total");
            assert!(told.contains(&format!("# TYPE {family} ")), "{word}: no such metric");
            asked += 1;
        }
    }
    assert!(asked >= 8, "{asked}");
}

#[test]
fn units_are_sound_and_closed() {
    let folder = tempfile::tempdir().unwrap();
    let units: Vec<PathBuf> = std::fs::read_dir(format!("{ROOT}/packaging"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "service"))
        .collect();
    assert!(units.len() >= 4);
    for unit in units {
        let text = std::fs::read_to_string(&unit).unwrap();
        for line in [
            "LimitCORE=0",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "UMask=0077",
        ] {
            assert!(text.lines().any(|l| l == line), "{}: {line}", unit.display());
        }
        // Nothing is installed here: another program stands for ours.
        let copy = folder.path().join(unit.file_name().unwrap());
        let program = text
            .lines()
            .find_map(|l| l.strip_prefix("ExecStart=")?.split(' ').next())
            .unwrap();
        std::fs::write(
            &copy,
            text.replace(&format!("ExecStart={program}"), "ExecStart=/bin/true"),
        )
        .unwrap();
        finds_nothing(Command::new("systemd-analyze").arg("verify").arg(&copy));
        // 0 is closed, 10 open.
        finds_nothing(
            Command::new("systemd-analyze")
                .args(["security", "--offline=true", "--threshold=20"])
                .arg(&copy),
        );
    }
}
