//! `ca-agent renew` and `ca-agent run`: the real agent, real TPMs (swtpm), the real server.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use wire::revocation::RevocationState;

use crate::again::hasty;
use crate::device::{AgentDevice, House, errors, report};
use crate::proxy::{Fault, Proxy};

/// The certificates of a device, newest first: serials.
fn serials(house: &House, name: &str) -> Vec<String> {
    let record = house.record(name);
    record.certificates.iter().map(|c| c.serial.clone()).collect()
}

/// The newest certificate of the record is the one the device holds, and it is below the root.
fn holds_the_newest(house: &House, name: &str, device: &AgentDevice) {
    let held = device.certificate("cert.pem").to_der().unwrap();
    let record = house.record(name);
    let newest = record.certificates.first().unwrap();
    assert_eq!(newest.certificate.as_ref().map(|c| c.0.clone()), Some(held));
    house.openssl_verifies(device, "cert.pem");
    for file in ["renewal.json", "renewed.json", "next.tss2.pem"] {
        assert!(!device.path(file).exists(), "{file}");
    }
}

#[test]
fn nothing_is_done_before_it_is_due() {
    let house = House::shared();
    let device = house.device("RENEW-EARLY");
    let none = device.agent(&["renew", "-o", "json"]);
    assert_eq!(report(&none, 4)["code"], "E-NOT-FOUND");
    house.enrolled(&device, &[]);
    let early = device.json(&["renew"], 0);
    assert_eq!(early["renewed"], false);
    let life = 365 * 86_400;
    let (due, expires) = (early["due"].as_i64().unwrap(), early["expires"].as_i64().unwrap());
    let begun = expires + 1 - life;
    assert!(
        due >= begun + life / 3 * 2 && due <= begun + life / 3 * 2 + life / 10 + 1,
        "{early:#}"
    );
    assert_eq!(serials(house, "RENEW-EARLY").len(), 1);
}

#[test]
fn on_the_same_key_and_then_on_a_new_one() {
    let house = House::shared();
    let device = house.device("RENEW");
    house.enrolled(&device, &[]);
    let (first, key) = (device.certificate("cert.pem"), device.read("key.tss2.pem"));
    let renewed = device.json(&["renew", "--force"], 0);
    assert_eq!(renewed["renewed"], true, "{renewed:#}");
    let second = device.certificate("cert.pem");
    assert_ne!(first.to_der().unwrap(), second.to_der().unwrap());
    assert!(first.public_key().unwrap().public_eq(&second.public_key().unwrap()));
    assert_eq!(device.read("key.tss2.pem"), key);
    holds_the_newest(house, "RENEW", &device);

    let renewed = device.json(&["renew", "--force", "--rekey", "--key-alg", "p-384"], 0);
    assert_eq!(renewed["renewed"], true);
    let third = device.certificate("cert.pem");
    assert!(!second.public_key().unwrap().public_eq(&third.public_key().unwrap()));
    assert_ne!(device.read("key.tss2.pem"), key);
    holds_the_newest(house, "RENEW", &device);
    // The new key is there, and works.
    let signature = device.openssl_signs(renewed["openssl_key"].as_str().unwrap(), "sha384", b"hello");
    let public = third.public_key().unwrap();
    let mut verifier = openssl::sign::Verifier::new(openssl::hash::MessageDigest::sha384(), &public).unwrap();
    assert!(verifier.verify_oneshot(&signature, b"hello").unwrap());
    // And renews the next one: P-384 in the handshake.
    assert_eq!(device.json(&["renew", "--force"], 0)["renewed"], true);
    assert_eq!(serials(house, "RENEW").len(), 4);
}

#[test]
fn rsa_keys_renew_too() {
    let house = House::shared();
    let device = house.device("RENEW-RSA");
    house.enrolled(&device, &["--key-alg", "rsa-2048"]);
    assert_eq!(device.json(&["renew", "--force"], 0)["renewed"], true);
    holds_the_newest(house, "RENEW-RSA", &device);
    // One that cannot sign TLS 1.3 says so.
    let device = house.device("RENEW-PKCS1");
    house.enrolled(&device, &["--key-alg", "rsa-2048:rsassa"]);
    let refused = device.agent(&["renew", "--force", "-o", "json"]);
    assert_eq!(report(&refused, 1)["code"], "E-TPM-UNSUPPORTED");
}

#[test]
fn what_is_revoked_or_on_hold_is_not_renewed() {
    let house = House::shared();
    let device = house.device("RENEW-HELD");
    house.enrolled(&device, &[]);
    let serial = serials(house, "RENEW-HELD").remove(0);
    let cli = |verb: &str, more: &[&str]| house.rig.cli_json(&[&[verb, serial.as_str()], more].concat());
    cli("hold", &[]);
    let held = device.agent(&["renew", "--force", "-o", "json"]);
    assert_eq!(report(&held, 5)["code"], "certificate_revoked");
    cli("release", &[]);
    assert_eq!(device.json(&["renew", "--force"], 0)["renewed"], true);
    let serial = serials(house, "RENEW-HELD").remove(0);
    let _ = house.rig.cli_json(&["revoke", &serial, "--reason", "superseded"]);
    let revoked = device.agent(&["renew", "--force", "-o", "json"]);
    assert_eq!(report(&revoked, 5)["code"], "certificate_revoked");
    let states: Vec<_> = house
        .record("RENEW-HELD")
        .certificates
        .iter()
        .map(|c| c.revocation.as_ref().map(|r| r.state))
        .collect();
    assert_eq!(states, [Some(RevocationState::Revoked), None]);
}

/// RFC 9773: people call, the device hears of it when it asks, and renews what it had then, once.
#[test]
fn devices_that_are_called_renew_before_their_time() {
    let house = House::new();
    let (one, other) = (house.device("CALLED"), house.device("NOT-CALLED"));
    for device in [&one, &other] {
        house.enrolled(device, &[]);
        assert_eq!(device.json(&["renew"], 0)["renewed"], false);
    }
    let list = house.rig.dir.path().join("list.csv");
    std::fs::write(&list, "CALLED,IFX\n").unwrap();
    let list = list.display().to_string();
    let call = [
        "device",
        "renew",
        "--from",
        &list,
        "--reason",
        "new terms",
        "--within",
        "1s",
    ];
    let dry = house.rig.cli_json(&[&call[..], &["--dry-run"]].concat());
    assert_eq!(dry["counts"]["would"], 1);
    assert_eq!(one.json(&["renew"], 0)["renewed"], false, "a dry run calls nobody");
    assert_eq!(house.rig.cli_json(&call)["counts"]["done"], 1);
    std::thread::sleep(Duration::from_secs(2));
    let renewed = one.json(&["renew"], 0);
    assert_eq!(renewed["renewed"], true, "{renewed:#}");
    holds_the_newest(&house, "CALLED", &one);
    assert_eq!(
        one.json(&["renew"], 0)["renewed"],
        false,
        "what came after the call is not meant"
    );
    assert_eq!(other.json(&["renew"], 0)["renewed"], false);
    let shown = house.rig.cli_json(&["audit", "show", "CALLED"]);
    assert_eq!(shown["items"][0]["action"], "device.renewal.called");
    // On hold it is not called to try; a server that is away calls for nothing.
    let _ = house.rig.cli_json(&call);
    let serial = serials(&house, "CALLED").remove(0);
    let _ = house.rig.cli_json(&["hold", &serial]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(one.json(&["renew"], 0)["renewed"], false);
    let _ = house.rig.cli_json(&["release", &serial]);
    assert_eq!(one.json(&["renew"], 0)["renewed"], true);
}

/// The daemon asks as often as the CA says.
#[test]
fn the_daemon_hears_of_a_call() {
    let mut house = House::new();
    let _ = house.rig.stop();
    house
        .rig
        .configure(&[("enrollment".into(), "renewal_info".into(), "1s".into())]);
    house.rig.start();
    let device = house.device("DAEMON-CALLED");
    house.enrolled(&device, &[]);
    let mut child = device.command(&["run"]).stderr(Stdio::null()).spawn().unwrap();
    let _ = house
        .rig
        .cli_json(&["device", "renew", "DAEMON-CALLED", "--reason", "r", "--within", "1s"]);
    let begin = Instant::now();
    while serials(&house, "DAEMON-CALLED").len() < 2 {
        assert!(begin.elapsed() < Duration::from_secs(60), "it does not hear");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(serials(&house, "DAEMON-CALLED").len(), 2, "once");
    child.kill().unwrap();
    let _ = child.wait();
}

/// All files of one device in the hands of another TPM: certificate, key file, journal.
#[test]
fn a_copied_state_directory_renews_nothing() {
    let house = House::shared();
    let victim = house.device("RENEW-VICTIM");
    house.enrolled(&victim, &[]);
    let thief = house.device("RENEW-THIEF");
    house.enrolled(&thief, &[]);
    for name in victim.names() {
        std::fs::copy(victim.path(&name), thief.path(&name)).unwrap();
    }
    let refused = thief.agent(&["renew", "--force", "-o", "json"]);
    assert_eq!(report(&refused, 1)["code"], "E-TPM-KEY-GONE");
    assert_eq!(serials(house, "RENEW-VICTIM").len(), 1);
    assert_eq!(victim.json(&["renew", "--force"], 0)["renewed"], true);
}

/// Lost on the way there or on the way back, and run again: one new certificate.
#[test]
fn a_broken_connection_leaves_one_new_certificate() {
    let house = House::shared();
    for (name, fault, rekey) in [
        ("RENEW-LOST-1", Fault::Request, false),
        ("RENEW-LOST-2", Fault::Answer, false),
        ("RENEW-LOST-3", Fault::Answer, true),
    ] {
        let device = house.device(name);
        let proxy = Proxy::to(house.rig.public(), device.path("renewal.json"));
        let line = house.at(&proxy.url());
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let enrolled = device.agent(&line);
        assert_eq!(enrolled.status.code(), Some(0), "{}", errors(&enrolled));
        let more: &[&str] = if rekey { &["--rekey"] } else { &[] };
        let arguments = [&["renew", "--force", "--wait", "0"], more].concat();
        proxy.arm(fault);
        let lost = device.agent(&arguments);
        assert!(proxy.wait() == fault);
        assert_eq!(lost.status.code(), Some(7), "{}", errors(&lost));
        assert!(device.path("renewal.json").exists());
        let before = serials(house, name).len();
        assert_eq!(before, if fault == Fault::Answer { 2 } else { 1 });
        // Begun is begun: it is finished without being forced again.
        let again = device.agent(&[&["renew"], more].concat());
        assert_eq!(again.status.code(), Some(0), "{}", errors(&again));
        assert_eq!(serials(house, name).len(), 2);
        holds_the_newest(house, name, &device);
    }
}

/// Killed between answer and store: what came is put in its place by the next run, whoever that is.
#[test]
fn what_came_is_put_in_its_place_whole() {
    let house = House::shared();
    let device = house.device("RENEW-CUT");
    house.enrolled(&device, &[]);
    let before = device.read("cert.pem");
    assert_eq!(device.json(&["renew", "--force", "--rekey"], 0)["renewed"], true);
    let (after, chain, key) = (
        device.read("cert.pem"),
        device.read("chain.pem"),
        device.read("key.tss2.pem"),
    );
    // As it stood after the first step: the new key is in its place, the certificate is not.
    std::fs::write(device.path("cert.pem"), before).unwrap();
    std::fs::write(device.path("next.tss2.pem"), &key).unwrap();
    let log = serde_json::json!({
        "identity": String::from_utf8(after.clone()).unwrap(),
        "chain": String::from_utf8(chain).unwrap(),
        "rekey": true,
    });
    std::fs::write(device.path("renewed.json"), log.to_string()).unwrap();
    assert_eq!(device.json(&["renew"], 0)["renewed"], true);
    assert_eq!((device.read("cert.pem"), device.read("key.tss2.pem")), (after, key));
    holds_the_newest(house, "RENEW-CUT", &device);
    assert_eq!(serials(house, "RENEW-CUT").len(), 2);
}

/// Kill the agent a moment after each of its words, and run it again.
#[test]
fn killed_anywhere_there_is_one_identity() {
    use std::io::{BufRead as _, BufReader};
    let house = House::shared();
    let mut killed = 0;
    for step in 0..6_usize {
        let name = format!("RENEW-KILL-{step}");
        let device = house.device(&name);
        house.enrolled(&device, &[]);
        let mut child = device
            .command(&["renew", "--force"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let words = BufReader::new(child.stderr.take().unwrap()).lines();
        let said: Vec<_> = words.take(step).map(Result::unwrap).collect();
        let _ = child.kill();
        killed += usize::from(child.wait().unwrap().code().is_none());
        for what in ["-t", "-l", "-s"] {
            device.tpm.tool(&["flushcontext", what]).unwrap();
        }
        let again = device.agent(&["renew", "--force"]);
        assert_eq!(again.status.code(), Some(0), "after {said:?}: {}", errors(&again));
        let count = serials(house, &name).len();
        // Killed after all was stored, the second run renews once more.
        assert!(count == 2 || count == 3, "{count}");
        holds_the_newest(house, &name, &device);
        let record = house.record(&name);
        assert!(record.certificates.iter().all(|c| c.state == "issued"));
    }
    assert!(killed >= 4, "only {killed} were killed");
}

/// A hook that writes down what it is told.
fn hook(device: &AgentDevice) -> (std::path::PathBuf, std::path::PathBuf) {
    let folder = device.state().parent().unwrap().join("renew.d");
    let log = folder.join("log");
    std::fs::create_dir(&folder).unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    put(
        "10-log",
        &format!(
            "#!/bin/sh\necho noise\nserial=$(openssl x509 -in \"$CA_CERT\" -noout -serial | tr A-Z a-z)\n\
             echo \"$1 $CA_EVENT $CA_DEVICE $CA_PROFILE $CA_SERIAL $serial\" >> {}\n",
            log.display()
        ),
    );
    put("20-fails", "#!/bin/sh\nexit 3\n");
    (folder, log)
}

#[test]
fn hooks_run_once_for_each_certificate() {
    let house = House::shared();
    let device = house.device("RENEW-HOOK");
    house.enrolled(&device, &[]);
    let (folder, log) = hook(&device);
    let folder = folder.to_str().unwrap();
    let lines = || -> Vec<String> {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    };
    // The enrollment has not been told of yet.
    let early = device.json(&["renew", "--hooks", folder], 0);
    assert_eq!(early["hooks"].as_array().unwrap().len(), 2, "{early:#}");
    assert_eq!(early["hooks"][1]["exit"], 3, "a hook that fails changes nothing");
    device.json(&["renew", "--hooks", folder], 0);
    assert_eq!(lines().len(), 1);
    let renewed = device.json(&["renew", "--force", "--hooks", folder], 0);
    let serial = renewed["serial"].as_str().unwrap();
    assert_eq!(
        lines()[1],
        format!("renewed renewed RENEW-HOOK device-ldevid {serial} serial={serial}")
    );
    assert!(lines()[0].starts_with("enrolled enrolled RENEW-HOOK "), "{:?}", lines());
}

/// A supervisor's socket, and what was said to it.
struct Supervisor {
    socket: std::os::unix::net::UnixDatagram,
    path: std::path::PathBuf,
}

impl Supervisor {
    fn of(device: &AgentDevice) -> Self {
        let path = device.state().parent().unwrap().join("notify");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, path }
    }

    /// Wait until something with this word was said.
    fn hears(&self, word: &str) -> String {
        let begin = Instant::now();
        let mut buffer = [0; 4096];
        let mut heard = Vec::new();
        loop {
            let length = self
                .socket
                .recv(&mut buffer)
                .unwrap_or_else(|e| panic!("{word}: {e}: {heard:?}"));
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.contains(word) {
                return said;
            }
            heard.push(said);
            assert!(begin.elapsed() < Duration::from_secs(90), "{word}: {heard:?}");
        }
    }
}

/// A running daemon, ended with the test.
struct Daemon(Child);

impl Daemon {
    fn of(device: &AgentDevice, supervisor: &Supervisor, arguments: &[&str]) -> Self {
        let mut command = device.command(arguments);
        command
            .env("NOTIFY_SOCKET", &supervisor.path)
            .env("WATCHDOG_USEC", "2000000")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn ends(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// From nothing: it enrolls, renews at two thirds, and after a sleep that was too long enrolls again, all by itself.
#[test]
fn the_daemon_keeps_a_device_in_certificates() {
    let house = hasty("12s");
    let device = house.device("DAEMON");
    let folder = device.state().parent().unwrap().to_owned();
    let (hooks, log) = hook(&device);
    let config = folder.join("agent.toml");
    std::fs::write(
        &config,
        format!(
            "[enroll]\nserver = \"{}\"\nroot_sha256 = \"{}\"\nwait = \"1s\"\n[renew]\nhooks = \"{}\"\n",
            house.rig.url(),
            house.root_sha256(),
            hooks.display()
        ),
    )
    .unwrap();
    let supervisor = Supervisor::of(&device);
    let line = ["--config", config.to_str().unwrap(), "run"];
    let daemon = Daemon::of(&device, &supervisor, &line);
    supervisor.hears("READY=1");
    supervisor.hears("DAEMON is enrolled until");
    supervisor.hears("WATCHDOG=1");
    let first = serials(&house, "DAEMON");
    assert_eq!(first.len(), 1);
    supervisor.hears("asking the CA for a challenge");
    supervisor.hears("DAEMON is enrolled until");
    let both = serials(&house, "DAEMON");
    assert!(both.len() >= 2, "{both:?}");
    // Nobody ended in between: the renewal came before the end.
    let record = house.record("DAEMON");
    let [newer, older] = [&record.certificates[0], &record.certificates[1]];
    assert!(newer.not_before <= older.not_after, "overlap");
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.starts_with("enrolled ") && told.contains("\nrenewed "), "{told}");
    assert_eq!(daemon.ends(), Some(0), "SIGTERM ends it well");
    supervisor.hears("STOPPING=1");

    // Asleep until long after its end.
    let begin = Instant::now();
    while device.agent(&["status"]).status.code() != Some(3) {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(200));
    }
    let before = serials(&house, "DAEMON").len();
    let daemon = Daemon::of(&device, &supervisor, &line);
    supervisor.hears("READY=1");
    supervisor.hears("DAEMON is enrolled until");
    assert!(serials(&house, "DAEMON").len() > before);
    house.openssl_verifies(&device, "cert.pem");
    assert_eq!(daemon.ends(), Some(0));
}

/// The certificate was renewed, and the device came back from a backup of before: it gets the newest one back.
#[test]
fn a_device_from_a_backup_gets_its_newest_certificate_back() {
    let house = House::shared();
    let device = house.device("BACKUP");
    house.enrolled(&device, &[]);
    let old = device.read("cert.pem");
    device.json(&["renew", "--force"], 0);
    let newest = device.read("cert.pem");
    std::fs::write(device.path("cert.pem"), old).unwrap();
    let refused = device.agent(&["renew", "--force", "-o", "json"]);
    assert_eq!(report(&refused, 5)["code"], "certificate_replaced");
    let again = device.json(&["enroll", "--again"], 0);
    assert_eq!(again["already"], false, "{again:#}");
    assert_eq!(device.read("cert.pem"), newest);
    assert_eq!(serials(house, "BACKUP").len(), 2);
}
