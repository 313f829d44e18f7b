//! Third-party issuance, end to end: the manufacturer's CA makes IAK and IDevID in a real TPM (swtpm); another CA, of another
//! hierarchy and another database, which never saw the EK, issues LDevID and LAK on his word, and renews them.

use std::time::{Duration, Instant};

use device_kit::rig::{Rig, Wanted};
use wire::admin::AllowDevice;

use crate::device::{AgentDevice, House, errors, report};

/// The manufacturer's papers on a device: his enrollment, in a directory of its own.
pub(crate) fn made(maker: &House, name: &str) -> (AgentDevice, std::path::PathBuf) {
    let mut device = maker.device(name);
    maker.enrolled(&device, &["--manufacturer"]);
    let papers = device.state().to_owned();
    device.reinstall();
    (device, papers)
}

/// A CA that believes this manufacturer, by the commands of the how-to; `lifetime` of its LDevIDs and LAKs.
pub(crate) fn third_party(maker: &House, lifetime: Option<&str>) -> Rig {
    let mut rig = Rig::initialised(&Wanted::default());
    let store = rig.path("manufacturers.toml");
    let store = store.to_str().unwrap();
    let root = maker.rig.path("ca/root.pem");
    let cli = |arguments: &[&str]| {
        let output = rig.cli(&[&["trust", "iak"], arguments, &["--store", store]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
    };
    cli(&["import", root.to_str().unwrap(), "--source", "the maker's letter"]);
    cli(&[
        "add",
        root.to_str().unwrap(),
        "--kind",
        "software",
        "--why",
        "tests",
        "--by",
        "A. Person",
        "--sha256",
        &maker.root_sha256(),
    ]);
    let bundle = rig.path("manufacturers-2.toml");
    cli(&["export", bundle.to_str().unwrap()]);
    let files = toml::Value::from(vec!["manufacturers-2.toml"]);
    let mut settings = vec![("trust".to_owned(), "manufacturers".to_owned(), files)];
    if let Some(lifetime) = lifetime {
        let folder = rig.path("profiles");
        std::fs::create_dir(&folder).unwrap();
        let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/profiles");
        for entry in std::fs::read_dir(ours).unwrap() {
            let path = entry.unwrap().path();
            let mut text = std::fs::read_to_string(&path).unwrap();
            if path.ends_with("device-ldevid.toml") || path.ends_with("device-lak.toml") {
                let short = format!("lifetime = \"{lifetime}\"\nbackdate = \"1s\"");
                text = text.replace("lifetime = \"365d\"", &short);
                assert!(text.contains(lifetime));
            }
            std::fs::write(folder.join(path.file_name().unwrap()), text).unwrap();
        }
        settings.push(("policy".into(), "profiles".into(), "profiles".into()));
    }
    rig.configure(&settings);
    rig.start();
    rig
}

pub(crate) fn line<'a>(url: &'a str, root: &'a str, papers: &'a std::path::Path, more: &[&'a str]) -> Vec<&'a str> {
    let dir = papers.to_str().unwrap();
    let mut line = vec![
        "enroll",
        "--server",
        url,
        "--root",
        root,
        "--via",
        "iak",
        "--iak-dir",
        dir,
    ];
    line.extend(more);
    line
}

#[test]
fn another_ca_issues_on_the_makers_word_and_renews_on_it() {
    let maker = House::shared();
    let (device, papers) = made(maker, "ACME-1");
    let rig = third_party(maker, None);
    let (url, root) = (rig.url(), rig.path("ca/root.pem"));
    let root = root.to_str().unwrap();
    let iak = papers.join("ak-cert.pem");
    let allowed = rig.cli_json(&["device", "allow", "GW-1", "--iak", iak.to_str().unwrap()]);
    assert_eq!(allowed["device"]["state"], "allowed", "{allowed:#}");

    let done = device.json(&line(&url, root, &papers, &["--attestation-profile", "device-lak"]), 0);
    assert_eq!(
        (&done["device"], &done["already"]),
        (&"GW-1".into(), &false.into()),
        "{done:#}"
    );
    let again = device.json(&["enroll", "--attestation-profile", "device-lak"], 0);
    assert_eq!(again["already"], true, "server, pin and papers are remembered");

    // Both certificates are below the other root, for keys of the owner's, and say what they stand on.
    for file in ["cert.pem", "ak-cert.pem"] {
        let output = std::process::Command::new("openssl")
            .args(["verify", "-x509_strict", "-CAfile", root, "-untrusted"])
            .arg(device.path("chain.pem"))
            .arg(device.path(file))
            .output()
            .unwrap();
        assert!(output.status.success(), "{file}: {}", errors(&output));
        let verdict = rig.cli_json(&[
            "verify",
            device.path(file).to_str().unwrap(),
            "--trust",
            root,
            "--untrusted",
            device.path("chain.pem").to_str().unwrap(),
            "--level",
            "software",
            "--rehearsal",
        ]);
        assert!(verdict.to_string().contains("no EK was seen"), "{verdict:#}");
    }
    let shown = device.json(&["cert", "show"], 0);
    assert_eq!(shown["items"][0]["basis"], "iak-certified", "{shown:#}");
    let maker_iak = openssl::x509::X509::from_pem(&std::fs::read(&iak).unwrap()).unwrap();
    let ldevid = device.certificate("cert.pem");
    assert!(
        !maker_iak
            .public_key()
            .unwrap()
            .public_eq(&device.certificate("ak-cert.pem").public_key().unwrap())
    );

    // The record links to the proof, wherever a person looks.
    let sha256 = hex::encode(openssl::sha::sha256(&maker_iak.to_der().unwrap()));
    for arguments in [
        vec!["device", "show", "GW-1"],
        vec!["device", "tree", "GW-1"],
        vec!["cert", "status", shown["items"][0]["serial"].as_str().unwrap()],
    ] {
        assert!(rig.cli_json(&arguments).to_string().contains(&sha256), "{arguments:?}");
        let output = rig.cli(&[&arguments[..], &["-o", "table"]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("IAK"), "{arguments:?}: {text}");
    }

    // Renewed by the IAK's word over a new nonce; on a new key as well.
    assert_eq!(device.json(&["renew", "--force"], 0)["renewed"], true);
    let renewed = device.certificate("cert.pem");
    assert!(renewed.public_key().unwrap().public_eq(&ldevid.public_key().unwrap()));
    assert_eq!(device.json(&["renew", "--force", "--rekey"], 0)["renewed"], true);
    assert!(
        !device
            .certificate("cert.pem")
            .public_key()
            .unwrap()
            .public_eq(&ldevid.public_key().unwrap())
    );
    assert_eq!(device.json(&["cert", "show"], 0)["items"][0]["basis"], "iak-certified");

    // All files of it, and the maker's papers, in another TPM: nothing.
    let (thief, _) = made(maker, "ACME-2");
    for name in device.names() {
        std::fs::create_dir_all(thief.state()).unwrap();
        std::fs::copy(device.path(&name), thief.path(&name)).unwrap();
    }
    let refused = thief.agent(&["renew", "--force", "-o", "json"]);
    assert_eq!(report(&refused, 1)["code"], "E-TPM-KEY-GONE");
    let fresh = AgentDevice::new(&maker.vendor);
    let refused = fresh.agent(&[&line(&url, root, &papers, &[])[..], &["-o", "json"]].concat());
    assert_eq!(report(&refused, 1)["code"], "E-TPM-KEY-GONE");
}

#[test]
fn who_is_not_believed_or_not_expected_gets_nothing() {
    let maker = House::shared();
    let (device, papers) = made(maker, "ACME-3");
    let rig = third_party(maker, None);
    let (url, root) = (rig.url(), rig.path("ca/root.pem"));
    let root = root.to_str().unwrap();
    let refused = |more: &[&str]| {
        let output = device.agent(&[&line(&url, root, &papers, more)[..], &["-o", "json"]].concat());
        report(&output, 3)["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused(&[]), "attestation_rejected", "no entry");
    // Its EK is not believed here at all.
    let output = device.agent(&["enroll", "--server", &url, "--root", root, "-o", "json"]);
    assert_eq!(report(&output, 3)["code"], "attestation_rejected");
    // The IDevID where the IAK belongs.
    let wrong = papers.parent().unwrap().join("wrong");
    std::fs::create_dir(&wrong).unwrap();
    for (from, to) in [
        ("cert.pem", "ak-cert.pem"),
        ("chain.pem", "chain.pem"),
        ("key.json", "ak.json"),
    ] {
        std::fs::copy(papers.join(from), wrong.join(to)).unwrap();
    }
    rig.allow_with(&AllowDevice {
        first_contact_until: Some(i64::MAX >> 20),
        ..device_kit::rig::expected("GW-3")
    });
    let output = device.agent(&[&line(&url, root, &wrong, &["--device", "GW-3"])[..], &["-o", "json"]].concat());
    assert_eq!(report(&output, 3)["code"], "attestation_rejected");
    let done = device.json(&line(&url, root, &papers, &["--device", "GW-3"]), 0);
    assert_eq!(done["device"], "GW-3", "the right papers: at first contact");
}

/// An LDevID that ran out is replaced through the IAK, and nobody was asked.
#[test]
fn the_daemon_enrolls_again_by_the_iak() {
    let maker = House::shared();
    let (device, papers) = made(maker, "ACME-4");
    let rig = third_party(maker, Some("12s"));
    let iak = papers.join("ak-cert.pem");
    let _ = rig.cli_json(&["device", "allow", "GW-4", "--iak", iak.to_str().unwrap()]);
    let config = papers.parent().unwrap().join("agent.toml");
    std::fs::write(
        &config,
        format!(
            "[enroll]\nserver = \"{}\"\nroot = \"{}\"\nvia = \"iak\"\niak_dir = \"{}\"\n\
             attestation_profile = \"device-lak\"\nwait = \"1s\"\n",
            rig.url(),
            rig.path("ca/root.pem").display(),
            papers.display()
        ),
    )
    .unwrap();
    let at = ["--config", config.to_str().unwrap()];
    device.json(&[&at[..], &["enroll"]].concat(), 0);
    let begin = Instant::now();
    while device.agent(&["status"]).status.code() != Some(3) {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never ends");
        std::thread::sleep(Duration::from_millis(200));
    }
    let before = rig.device("GW-4").unwrap().certificates.len();
    let mut daemon = device.command(&[&at[..], &["run"]].concat());
    let mut daemon = daemon
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let certificates = || rig.device("GW-4").unwrap().certificates;
    let begin = Instant::now();
    while certificates().len() < before + 2 {
        assert!(begin.elapsed() < Duration::from_secs(60), "the daemon does nothing");
        std::thread::sleep(Duration::from_millis(100));
    }
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    let newest: Vec<_> = certificates().into_iter().take(2).collect();
    assert!(
        newest.iter().all(|c| c.iak_proof.is_some() && c.state == "issued"),
        "both stand on the IAK"
    );
}
