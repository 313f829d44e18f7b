//! `agent.toml`, environment, `-q`, `-v`, and what a device remembers of a failure.

use serde_json::Value;

use crate::device::{AgentDevice, House, errors, report};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `agent.toml` beside the state directory.
fn written(device: &AgentDevice, contents: &str) -> String {
    let path = device.state().with_file_name("agent.toml");
    std::fs::write(&path, contents).unwrap();
    path.display().to_string()
}

#[test]
fn a_device_enrolls_by_its_file_alone() {
    let house = House::shared();
    let device = house.device("BY-FILE");
    let (tcti, url, pin) = (device.tpm.tcti(), house.rig.url(), house.root_sha256());
    let file = written(
        &device,
        &format!(
            "tcti = \"{tcti}\"\nstate_dir = \"state\"\n[enroll]\nserver = \"{url}\"\nroot_sha256 = \"{pin}\"\n\
             device = \"BY-FILE\"\nkey_alg = \"p-384\"\n"
        ),
    );
    let bare = |arguments: &[&str]| {
        let mut command = std::process::Command::new(device_kit::rig::binary("ca-agent"));
        command
            .args(["--config", &file])
            .args(arguments)
            .env("TSS2_LOG", "all+none");
        command
    };
    let output = bare(&["enroll", "-q", "--no-input"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(
        (text(&output.stdout).as_str(), errors(&output).as_str()),
        ("BY-FILE\n", "")
    );
    assert_eq!(device.certificate("cert.pem").public_key().unwrap().bits(), 384);

    // The environment counts before the file, a flag before both.
    let asked = |name: &str, flag: &[&str]| -> Value {
        let mut command = bare(&[&["doctor", "-o", "json"], flag].concat());
        let output = command.env("CA_AGENT_SERVER", name).output().unwrap();
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = value["checks"].as_array().unwrap();
        checks.iter().find(|c| c["check"] == "ca.reached").unwrap().clone()
    };
    assert_eq!(asked(&url, &[])["ok"], true);
    let away = asked("https://localhost:1", &[]);
    assert!(
        away["ok"] == false && away["found"].to_string().contains("localhost:1"),
        "{away}"
    );
    assert_eq!(asked("https://localhost:1", &["--server", &url])["ok"], true);

    let wrong = written(&device, "[enroll]\nsevrer = \"x\"\n");
    let refused = device.agent(&["--config", &wrong, "status", "-o", "json"]);
    let report = report(&refused, 2);
    assert_eq!(report["code"], "E-CONFIG");
    let said = report["message"].as_str().unwrap();
    assert!(said.contains("agent.toml:2:1: unknown key `sevrer`\n"), "{said}");
    assert!(
        said.contains("| ^^^^^^\n") && said.contains("did you mean `server`?"),
        "{said}"
    );
}

#[test]
fn quiet_says_the_answer_and_verbose_says_how() {
    let house = House::shared();
    let device = house.device("MANNERS");
    let quiet = |arguments: &[&str], exit: i32| {
        let output = device.agent(&[arguments, &["-q"]].concat());
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", errors(&output));
        assert_eq!(errors(&output), "", "{arguments:?}");
        text(&output.stdout)
    };
    assert_eq!(quiet(&["identify"], 0).trim_end(), device.ek_sha256("auto"));
    assert_eq!(quiet(&["status"], 4), "not-enrolled\n");
    let loud = house.enroll(&device, &["-v"]);
    assert_eq!(loud.status.code(), Some(0), "{}", errors(&loud));
    let told = errors(&loud);
    assert!(told.contains("DEBUG") && told.contains("/v1/enrollments"), "{told}");
    assert!(
        text(&loud.stdout).starts_with("MANNERS is enrolled\n"),
        "data only on standard output"
    );
    assert_eq!(quiet(&["status"], 0), "enrolled\n");
    assert_eq!(quiet(&["doctor"], 0), "");
    let serial = device.certificate("cert.pem").serial_number().to_bn().unwrap().to_vec();
    assert_eq!(quiet(&["cert", "show"], 0).trim_end(), hex::encode(serial));

    // RUST_LOG counts before -v, and can make it silent.
    let at = |level: &str| {
        let output = device.command(&["doctor", "-vv"]).env("RUST_LOG", level).output();
        errors(&output.unwrap())
    };
    assert_eq!(at("off"), "");
    assert!(at("ca_agent=debug").contains("/v1/issuers"));
}

/// A technician who comes later sees what went wrong, without a TPM and without a network.
#[test]
fn a_failure_is_remembered_until_the_next_success() {
    let house = House::shared();
    let device = house.device("TROUBLE");
    let pin = house.root_sha256();
    let away = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("https://localhost:{}", away.port());
    let failed = device.agent(&["enroll", "--server", &url, "--root-sha256", &pin, "--wait", "0"]);
    assert_eq!(failed.status.code(), Some(7), "{}", errors(&failed));
    assert_eq!(device.names(), ["last-error.json"]);
    let status = device.json(&["status"], 4);
    assert_eq!(status["state"], "not-enrolled");
    assert_eq!(status["last_error"]["code"], "E-SERVER-UNREACHABLE");
    assert_eq!(status["last_error"]["exit"], 7);
    let words = text(&device.agent(&["status"]).stdout);
    assert!(
        words.starts_with("not-enrolled\nlast error  E-SERVER-UNREACHABLE ") && words.contains("no answer from"),
        "{words}"
    );
    let line = text(&device.agent(&["status", "--oneline"]).stdout);
    assert!(
        line.starts_with("not-enrolled, last error E-SERVER-UNREACHABLE ") && line.lines().count() == 1,
        "{line}"
    );

    house.enrolled(&device, &[]);
    assert!(!device.path("last-error.json").exists());
    // The server is gone, and the state is known all the same.
    let status = device.json(&["status"], 0);
    assert_eq!(
        (&status["state"], &status["last_error"]),
        (&"enrolled".into(), &Value::Null)
    );
}
