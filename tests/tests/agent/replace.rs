//! Another TPM under the same name: two people at the real socket, two real TPMs, and the page that says how.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use device_kit::rig::{Wanted, binary};
use openssl::x509::X509Crl;
use serde_json::Value;

use crate::device::{AgentDevice, House, errors, report};

const ALICE: u32 = 61_001;
const BOB: u32 = 61_002;

/// A CA with two operators, whose socket they reach; none when nobody here can become them.
fn house(wanted: &Wanted) -> Option<House> {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "run this as root");
        eprintln!("skipped: only root can become two other people");
        return None;
    }
    let mut house = House::with(wanted);
    let _ = house.rig.stop();
    let person = |name: &str, uid: u32| {
        (
            "operators".to_owned(),
            name.to_owned(),
            toml::Value::from(i64::from(uid)),
        )
    };
    let folders = toml::Value::from(vec!["trust/intermediates"]);
    house.rig.configure(&[
        person("alice", ALICE),
        person("bob", BOB),
        ("trust".into(), "intermediates".into(), folders),
    ]);
    house.rig.start();
    for folder in [house.rig.dir.path().to_owned(), house.rig.path("")] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
    }
    Some(house)
}

/// `ca-cli` by this uid, in the group of the socket.
fn by(house: &House, uid: u32, arguments: &[&str]) -> Output {
    let mut command = house.rig.command("ca-cli");
    command.args(arguments).args(["-o", "json"]);
    // In a folder that others may read.
    command.current_dir("/").uid(uid).gid(0).output().unwrap()
}

fn done(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", errors(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", errors(output));
}

fn swapped(wanted: &Wanted) {
    let Some(mut house) = house(wanted) else { return };
    let mut old = house.device("SWAP");
    house.enrolled(&old, &[]);
    let first = house.record("SWAP");
    let new = AgentDevice::new(&house.vendor);
    let ek = new.ek_sha256("auto");
    let ask = ["device", "replace-tpm", "SWAP", "--ek", &ek, "--reason", "board swap"];

    // Who has no name asks for nothing; nor does a stranger get in.
    exit(&by(&house, 0, &ask), 6);
    exit(&by(&house, 65_534, &ask), 6);
    let asked = done(&by(&house, ALICE, &ask))["replacement"].clone();
    assert_eq!(
        (&asked["state"], &asked["requested_by"]),
        (&"pending".into(), &"alice".into())
    );
    let id = asked["id"].to_string();
    exit(&by(&house, ALICE, &["replacement", "approve", &id]), 6);
    exit(&by(&house, 0, &["replacement", "approve", &id]), 6);
    exit(&by(&house, BOB, &["replacement", "approve", "4711"]), 4);
    // Until then nothing has changed.
    exit(&new_enrolls(&house, &new), 5);
    assert_eq!(old.json(&["renew", "--force"], 0)["renewed"], true);

    // The server dies as it may, somewhere around the approval; the same command again finds it done or does it.
    let again = std::thread::scope(|scope| {
        let house = &house;
        let id = id.as_str();
        let sent = scope.spawn(move || by(house, BOB, &["replacement", "approve", id, "--comment", "seen"]));
        std::thread::sleep(std::time::Duration::from_millis(20));
        house.rig.server().strike();
        sent.join().unwrap()
    });
    assert!(matches!(again.status.code(), Some(0 | 7)), "{}", errors(&again));
    // At the same place again: the devices know no other.
    let public = house.rig.public().to_string();
    house.rig.kill();
    house
        .rig
        .configure(&[("server".into(), "public".into(), public.into())]);
    house.rig.start();
    let halfway = house.record("SWAP");
    let good = halfway.certificates.iter().filter(|c| c.revocation.is_none()).count();
    let is_new = halfway.ek_spki_sha256.as_deref() == Some(ek.as_str());
    assert_eq!(good == 0, is_new, "all or nothing: {halfway:#?}");
    let approved = done(&by(&house, BOB, &["replacement", "approve", &id, "--comment", "seen"]));
    assert_eq!(approved["replacement"]["state"], "approved");
    assert_eq!(approved["replacement"]["decided_by"], "bob");
    exit(&by(&house, ALICE, &["replacement", "reject", &id]), 5);

    // The old identity is revoked, all of it, and the old TPM is out.
    let record = house.record("SWAP");
    assert!(record.certificates.len() > first.certificates.len());
    assert!(
        record.certificates.iter().all(|c| c.revocation.is_some()),
        "{record:#?}"
    );
    let refused = old.agent(&["renew", "--force", "-o", "json"]);
    assert_eq!(report(&refused, 5)["code"], "certificate_revoked");
    let refused = house.enroll(&old, &["--again", "-o", "json"]);
    assert_eq!(report(&refused, 3)["code"], "attestation_rejected");
    old.reinstall();
    for more in [&[][..], &["--device", "SWAP"], &["--ek", "rsa"]] {
        let refused = house.enroll(&old, &[more, &["-o", "json"]].concat());
        let told = report(&refused, 3);
        assert_eq!(told["code"], "attestation_rejected", "{more:?}");
    }
    let log = std::fs::read_to_string(house.rig.path("audit.jsonl")).unwrap();
    assert!(
        log.contains("\"EK_REPLACED\"") && log.contains("was device `SWAP` until it was replaced"),
        "{log}"
    );

    // The new one is the device now, and both are in its history.
    let enrolled = new_enrolls(&house, &new);
    exit(&enrolled, 0);
    let record = house.record("SWAP");
    assert_eq!(record.state, "active");
    let went: Vec<bool> = record.eks.iter().map(|ek| ek.replacement.is_some()).collect();
    assert_eq!(record.eks.first().unwrap().tpm.as_ref().unwrap().assurance, "software");
    assert!(went.contains(&true) && went.contains(&false), "{record:#?}");
    assert_eq!(new.json(&["renew", "--force"], 0)["renewed"], true);
    let shown = done(&by(&house, ALICE, &["audit", "show", "SWAP"]));
    let actions: Vec<(&str, &str)> = shown["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["action"].as_str().unwrap(), item["actor"].as_str().unwrap()))
        .collect();
    for wanted in [
        ("device.replacement.requested", "alice"),
        ("device.replacement.approved", "bob"),
        ("certificate.revoked", "bob"),
    ] {
        assert!(actions.contains(&wanted), "{wanted:?} {actions:?}");
    }
    // Relying parties see it.
    let serial = first.certificates[0].serial.clone();
    let status = done(&by(&house, BOB, &["cert", "status", &serial]));
    assert_eq!(status["status"]["revocation"]["reason"], "superseded", "{status:#}");
    relied_upon(&house, &first.certificates[0].serial);
}

/// What relying parties fetch and ask: the old certificate is in the CRL, and revoked says the responder.
fn relied_upon(house: &House, serial: &str) {
    let server = house.rig.server();
    let wanted = openssl::bn::BigNum::from_hex_str(serial).unwrap();
    let listed = || {
        let (status, der) = server.fetch("/crl/all.crl");
        status == 200
            && X509Crl::from_der(&der)
                .unwrap()
                .get_revoked()
                .is_some_and(|all| all.iter().any(|entry| entry.serial_number().to_bn().unwrap() == wanted))
    };
    let begun = Instant::now();
    while !listed() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never in the CRL");
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = Command::new("openssl")
        .args(["ocsp", "-no_nonce", "-issuer"])
        .arg(house.rig.path("ca/issuing.pem"))
        .args(["-serial", &format!("0x{serial}"), "-url"])
        .arg(format!("http://{}/ocsp", server.status()))
        .arg("-CAfile")
        .arg(house.rig.path("ca/root.pem"))
        .arg("-verify_other")
        .arg(house.rig.path("ca/issuing.pem"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(
        said.contains("Response verify OK") && said.contains(": revoked"),
        "{said}"
    );
}

fn new_enrolls(house: &House, new: &AgentDevice) -> Output {
    house.enroll(new, &["--device", "SWAP", "-o", "json"])
}

#[test]
fn a_board_is_swapped_on_sqlite() {
    swapped(&Wanted::default().with_crls(0));
}

#[test]
fn a_board_is_swapped_on_postgres() {
    swapped(&Wanted::postgres().with_crls(0));
}

/// Bodies and numbers that are none are refused before anything is looked at, and change nothing.
#[test]
fn hostile_wishes_and_decisions() {
    let Some(house) = house(&Wanted::default()) else { return };
    let device = house.device("HOSTILE");
    house.enrolled(&device, &[]);
    let send = |uid: u32, path: &str, body: &str| {
        let socket = house.rig.path("admin.sock");
        let output = Command::new("curl")
            .args(["--silent", "--write-out", "\n%{http_code}", "--unix-socket"])
            .arg(socket)
            .args(["-H", "Content-Type: application/json", "--data-binary", body])
            .arg(format!("http://admin{path}"))
            .current_dir("/")
            .uid(uid)
            .gid(0)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.rsplit('\n').next().unwrap().parse::<u16>().unwrap()
    };
    let wish = "/v1/devices/HOSTILE/replacement";
    let good = r#"{"first_contact_for":60,"reason":"r"}"#;
    let ek = "ab".repeat(32);
    let before = house.rig.rows();
    for (body, status) in [
        (String::new(), 400),
        ("{}".to_owned(), 400),
        (good.replace(':', "::"), 400),
        (good.replace('}', r#","reason":"s"}"#), 400),
        (good.replace('}', r#","requested_by":"bob"}"#), 400),
        (good.replace("60", "0"), 400),
        (good.replace("60", "-1"), 400),
        (good.replace("60", "9223372036854775807"), 400),
        (good.replace("60", "1e99"), 400),
        (good.replace("\"r\"", "\"\""), 400),
        (good.replace("\"r\"", "\"\\u0000\""), 400),
        (good.replace('}', &format!(r#","ek_spki_sha256":"{ek}"}}"#)), 400),
        (good.replace('}', r#","revocation":"certificateHold"}"#), 400),
        (good.replace('}', r#","revocation":"removeFromCRL"}"#), 400),
        (good.replace('}', r#","valid_for":0}"#), 400),
        (good.replace('}', r#","valid_for":2592001}"#), 400),
        (r#"{"reason":"r"}"#.to_owned(), 400),
        (
            format!(r#"{{"reason":"r","ek_spki_sha256":"{}"}}"#, ek.to_uppercase()),
            400,
        ),
        (
            format!(r#"{{"reason":"r","ek_spki_sha256":"{}"}}"#, device.ek_sha256("auto")),
            409,
        ),
    ] {
        assert_eq!(send(ALICE, wish, &body), status, "{body}");
    }
    assert_eq!(send(ALICE, "/v1/devices/NOBODY/replacement", good), 404);
    assert_eq!(send(ALICE, "/v1/devices/%00/replacement", good), 404);
    assert_eq!(house.rig.rows(), before, "nothing of it is written");
    assert_eq!(send(ALICE, wish, good), 201);
    for path in [
        "/v1/replacements/x",
        "/v1/replacements/-1",
        "/v1/replacements/99999999999999999999",
        "/v1/replacements/%31%00",
    ] {
        assert_eq!(send(BOB, &format!("{path}/approval"), "{}"), 404, "{path}");
    }
    assert_eq!(send(BOB, "/v1/replacements/1/approval", r#"{"as":"carol"}"#), 400);
    assert_eq!(
        send(
            BOB,
            "/v1/replacements/1/approval",
            &format!(r#"{{"comment":"{}"}}"#, "c".repeat(501))
        ),
        400
    );
    assert_eq!(send(65_534, "/v1/replacements/1/approval", "{}"), 403);
    let record = house.record("HOSTILE");
    assert_eq!((record.state.as_str(), record.eks.len()), ("active", record.eks.len()));
    assert_eq!(send(BOB, "/v1/replacements/1/rejection", "{}"), 200);
    assert_eq!(send(BOB, "/v1/replacements/1/approval", "{}"), 409);
}

/// The commands of docs/how-to/board-swap.md, by whom it says.
#[test]
fn the_page_works_as_written() {
    let Some(house) = house(&Wanted::default()) else { return };
    let page = include_str!("../../../docs/how-to/board-swap.md");
    for line in ["alice = 61001", "bob = 61002"] {
        assert!(page.contains(line));
    }
    let name = "GW-7F3K-00412";
    let mut old = house.device(name);
    house.enrolled(&old, &[]);
    let new = AgentDevice::new(&house.vendor);
    // The device's disk stays, its TPM does not.
    old.tpm = new.tpm;
    let bench = old.folder();
    std::fs::set_permissions(bench, std::fs::Permissions::from_mode(0o755)).unwrap();
    let tools = binary("ca-cli");
    let path = format!(
        "{}:{}",
        tools.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut said = String::new();
    let blocks: Vec<(&str, &str)> = page
        .split("```sh run ")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().split_once('\n').unwrap())
        .collect();
    assert_eq!(blocks.len(), 5);
    for (who, block) in blocks {
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", block])
            .current_dir(bench)
            .env("PATH", &path)
            .env("LC_ALL", "C.UTF-8")
            .env("HOLDFAST_ADMIN_SOCKET", house.rig.path("admin.sock"))
            .env("CA_AGENT_TCTI", old.tpm.tcti())
            .env("CA_AGENT_STATE_DIR", old.state())
            .env("SERVER", house.rig.url())
            .env("ROOT_SHA256", house.root_sha256())
            .stdin(std::process::Stdio::null());
        match who {
            "alice" => shell.uid(ALICE).gid(0),
            "bob" => shell.uid(BOB).gid(0),
            "device" => &mut shell,
            other => panic!("who is {other}?"),
        };
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{who}: {block}\n{}", errors(&output));
        said.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    for words in [
        "pending",
        "approved",
        "went with replacement 1",
        "device.replacement.approved",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(house.record(name).state, "active");
}
