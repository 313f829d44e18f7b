//! The agent looks after what the ledger of the real server promised it; and after a ledger that is shorter than it was.

use std::path::Path;
use std::time::{Duration, Instant};

use device_kit::rig::Wanted;
use serde_json::Value;

use crate::device::{AgentDevice, House, errors};

/// `agent.toml` with this ledger.
fn configured(device: &AgentDevice, name: &str, from: &str, key: &Path) -> String {
    let file = device.folder().join(name);
    let text = format!("[ledger]\nfrom = \"{from}\"\nkey = \"{}\"\n", key.display());
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn status(device: &AgentDevice, config: &str, exit: i32) -> Value {
    let output = device.agent(&["--config", config, "status", "-o", "json"]);
    assert_eq!(output.status.code(), Some(exit), "{}", errors(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_promise_is_kept_and_a_ledger_that_shrank_is_told_of() {
    let house = House::with(&Wanted::default().with_crls(0));
    let server = house.rig.server();
    let device = house.device("LEDGER");
    let key = device.folder().join("ledger.vkey");
    let told = |path: &str| {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match server.fetch(path) {
                (200, body) => return body,
                _ if Instant::now() < end => std::thread::yield_now(),
                (status, _) => panic!("{path}: {status}"),
            }
        }
    };
    std::fs::write(&key, told("/trust/ledger.vkey")).unwrap();
    let before = told("/ledger/checkpoint");
    let from = format!("http://{}/ledger", server.status());
    let config = configured(&device, "agent.toml", &from, &key);
    house.enrolled(&device, &[]);
    let unwatched = device.agent(&["status"]);
    assert!(String::from_utf8_lossy(&unwatched.stdout).contains("nobody looks"));
    assert_eq!(status(&device, &config, 0)["ledger"]["state"], "open");
    // Each `renew` looks, also when nothing is due.
    let end = Instant::now() + Duration::from_secs(60);
    while status(&device, &config, 0)["ledger"]["state"] != "kept" {
        assert!(Instant::now() < end, "{}", status(&device, &config, 0));
        let output = device.agent(&["--config", &config, "renew"]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    }
    let kept: Value = serde_json::from_slice(&device.read("ledger.json")).unwrap();
    assert!(kept["promises"][0]["standing"]["index"].is_u64(), "{kept:#}");

    // A file server that shows the tree of before the enrollment, signed by the ledger's own key.
    let cut = device.folder().join("cut");
    std::fs::create_dir(&cut).unwrap();
    std::fs::write(cut.join("checkpoint"), before).unwrap();
    let hostile = configured(&device, "hostile.toml", &cut.display().to_string(), &key);
    let output = device.agent(&["--config", &hostile, "renew"]);
    assert_eq!(output.status.code(), Some(0), "the identity does not depend on it");
    assert!(errors(&output).contains("E-LEDGER-CUT"), "{}", errors(&output));
    let said = status(&device, &hostile, 3);
    assert_eq!(
        (&said["state"], &said["ledger"]["state"]),
        (&"enrolled".into(), &"cut".into())
    );
    // The true ledger does not make it unseen.
    let output = device.agent(&["--config", &config, "renew"]);
    assert!(errors(&output).contains("E-LEDGER-CUT"), "{}", errors(&output));
    let _ = status(&device, &config, 3);
}
