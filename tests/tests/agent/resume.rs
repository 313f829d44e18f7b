//! Whatever is cut off, and wherever: in the end there is one identity.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::device::{AgentDevice, House, errors, report};
use crate::proxy::{Fault, Proxy};

/// A stream of small numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Kill the agent (SIGKILL) a moment after its `step`th word. Says whether it was still there.
fn killed(house: &House, device: &AgentDevice, step: u64, moment: Duration) -> bool {
    let line = house.at(&house.rig.url());
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let mut child = device
        .command(&line)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said: Vec<String> = words
        .by_ref()
        .take(usize::try_from(step).unwrap())
        .map(Result::unwrap)
        .collect();
    std::thread::sleep(moment);
    let _ = child.kill();
    let ended = child.wait().unwrap();
    // What a killed program left in the TPM, the kernel's resource manager frees; here is none.
    for what in ["-t", "-l", "-s"] {
        device.tpm.tool(&["flushcontext", what]).unwrap();
    }
    said.extend(words.map(Result::unwrap));
    assert!(ended.code().is_none_or(|code| code == 0), "{ended} after {said:#?}");
    ended.code().is_none()
}

#[test]
fn killed_anywhere_and_run_again() {
    let house = House::shared();
    let mut dice = Dice(0x0601_dfa5);
    let mut alive = 0;
    // An enrollment has eight words; a run that goes on has fewer.
    for round in 0..8 {
        let name = format!("KILL-{round}");
        let device = house.device(&name);
        for step in [round, dice.below(8)] {
            let moment = Duration::from_millis(dice.below(60));
            alive += u32::from(killed(house, &device, step, moment));
        }
        house.enrolled(&device, &["--wait", "60"]);
        house.has_one_identity(&name, &device);
        assert!(!device.path("activation.json").exists());
        let certificate = device.read("cert.pem");
        assert_eq!(house.enrolled(&device, &[])["already"], true);
        assert_eq!(device.read("cert.pem"), certificate);
        let hidden: Vec<String> = device.names().into_iter().filter(|n| n.starts_with("cert.")).collect();
        assert_eq!(hidden, ["cert.pem"]);
    }
    assert!(alive >= 8, "only {alive} of 16 were killed in time");
}

#[test]
fn a_lost_answer_is_given_again() {
    let house = House::shared();
    for (name, wait, first) in [("LOST-1", "60", 0), ("LOST-2", "0", 7)] {
        let device = house.device(name);
        let proxy = Proxy::to(house.rig.public(), device.path("activation.json"));
        let line = house.at(&proxy.url());
        let line: Vec<&str> = line
            .iter()
            .map(String::as_str)
            .chain(["--wait", wait, "-o", "json"])
            .collect();
        proxy.arm(Fault::Answer);
        let output = device.agent(&line);
        assert!(proxy.wait() == Fault::Answer);
        if first == 0 {
            assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        } else {
            assert_eq!(report(&output, first)["code"], "E-SERVER-UNREACHABLE");
            // The server has issued; the device does not know it yet, and says so.
            let record = house.record(name);
            assert_eq!(record.certificates.len(), 1);
            assert_eq!(device.json(&["status"], 7)["state"], "unfinished");
            let journal: serde_json::Value = serde_json::from_slice(&device.read("activation.json")).unwrap();
            let another = device.agent(&[&line[..], &["--profile", "service"]].concat());
            assert_eq!(report(&another, 2)["code"], "E-USAGE");
            let again = device.agent(&line);
            assert_eq!(again.status.code(), Some(0), "{}", errors(&again));
            // Another answer to the same challenge would have been refused: the bytes were the same.
            let id = journal["id"].as_str().unwrap();
            let (status, kept) = {
                let raw = house.rig.client().get(&format!("/v1/enrollments/{id}"), "");
                (raw.status, raw.body)
            };
            assert_eq!(status, 200);
            let kept: wire::enrollment::EnrollmentResult = serde_json::from_slice(&kept).unwrap();
            let held = device.certificate("cert.pem").to_der().unwrap();
            assert_eq!(kept.certificates[0].certificate.0, held);
            let challenges = errors(&again).matches("challenge").count();
            assert_eq!(challenges, 0, "{}", errors(&again));
        }
        house.has_one_identity(name, &device);
        assert_eq!(house.record(name).certificates.len(), 1);
        assert!(!device.path("activation.json").exists());
    }
}

#[test]
fn the_server_is_killed_between_challenge_and_activation() {
    let mut house = House::new();
    for (name, wait, first) in [("DOWN-1", "120", 0), ("DOWN-2", "0", 7)] {
        let device = house.device(name);
        let proxy = Proxy::to(house.rig.public(), device.path("activation.json"));
        let line = house.at(&proxy.url());
        let line: Vec<&str> = line
            .iter()
            .map(String::as_str)
            .chain(["--wait", wait, "-o", "json"])
            .collect();
        proxy.arm(Fault::Request);
        let child = device
            .command(&line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(proxy.wait() == Fault::Request);
        house.rig.kill();
        let output = if first == 0 {
            house.rig.start();
            proxy.retarget(house.rig.public());
            child.wait_with_output().unwrap()
        } else {
            let output = child.wait_with_output().unwrap();
            assert_eq!(report(&output, first)["code"], "E-SERVER-UNREACHABLE");
            let down = device.agent(&line);
            assert_eq!(report(&down, first)["code"], "E-SERVER-UNREACHABLE");
            house.rig.start();
            proxy.retarget(house.rig.public());
            device.agent(&line)
        };
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        house.has_one_identity(name, &device);
    }
}
