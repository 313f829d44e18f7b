//! A53: a virtual TPM that was copied. Two real TPMs (swtpm) from one state, the real agent, the real server.

use device_kit::rig::Wanted;
use device_kit::swtpm::Swtpm;

use crate::device::{AgentDevice, House, errors, report};

/// `TPM2_ClockSet` by so many milliseconds: what an owner may do, and what time does.
fn forward(tpm: &Swtpm, by: u64) {
    let read = String::from_utf8(tpm.tool(&["readclock"]).unwrap()).unwrap();
    let now: u64 = read
        .lines()
        .find_map(|line| line.trim().strip_prefix("clock:"))
        .unwrap_or_else(|| panic!("{read}"))
        .trim()
        .parse()
        .unwrap();
    tpm.tool(&["setclock", &(now + by).to_string()]).unwrap();
}

const HOURS: u64 = 3_600_000;

fn found(wanted: &Wanted) {
    let house = House::with(wanted);
    let mut device = house.device("COPIED");
    house.enrolled(&device, &[]);
    // The state after enrollment, twice; the original goes on.
    let (first, second) = (device.tpm.snapshot().unwrap(), device.tpm.snapshot().unwrap());
    device.tpm.power_cycle().unwrap();
    forward(&device.tpm, 3 * HOURS);
    assert_eq!(device.json(&["renew", "--force"], 0)["renewed"], true);
    let certificates = house.record("COPIED").certificates.len();

    // The copy has the same seeds and keys, and all files of the original: it can do everything that it can.
    let copy = AgentDevice::with_files_of(&device, Swtpm::from_copy(first).unwrap());
    assert_eq!(copy.ek_sha256("auto"), device.ek_sha256("auto"));
    let told = report(&copy.agent(&["renew", "--force", "-o", "json"]), 5);
    assert_eq!(told["code"], "identity_conflict", "{told:#}");
    let record = house.record("COPIED");
    assert_eq!(
        (record.state.as_str(), record.certificates.len()),
        ("held", certificates)
    );
    let log = std::fs::read_to_string(house.rig.path("audit.jsonl")).unwrap();
    let last = log.lines().last().unwrap();
    assert!(
        last.contains("\"TPM_CLOCK\"") && last.contains("since the same start"),
        "{last}"
    );
    let alarms = house.rig.cli_json(&["audit", "show", "COPIED"]);
    let actions: Vec<&str> = alarms["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["reason"] == "TPM_CLOCK")
        .map(|item| item["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions.len(), 2, "{alarms:#}");
    assert!(actions.contains(&"device.clock.alarm") && actions.contains(&"device.held"));
    assert!(house.rig.server().metric("ca_tpm_clock_alarms_total{rule=\"hold\"}") >= 1.0);
    assert!(house.rig.log().contains("a TPM's clock went back"));

    // Nobody goes on until people have looked; then the original does.
    let waits = device.agent(&["renew", "--force", "-o", "json"]);
    assert_ne!(waits.status.code(), Some(0), "{}", errors(&waits));
    drop(copy);
    let _ = house
        .rig
        .cli_json(&["device", "release", "COPIED", "--reason", "the copy is gone"]);
    assert_eq!(device.json(&["renew", "--force"], 0)["renewed"], true);

    // Another copy, switched on once more than the original: more resets, and hours behind.
    let mut copy = AgentDevice::with_files_of(&device, Swtpm::from_copy(second).unwrap());
    copy.tpm.power_cycle().unwrap();
    report(&copy.agent(&["renew", "--force", "-o", "json"]), 5);
    let log = std::fs::read_to_string(house.rig.path("audit.jsonl")).unwrap();
    let last = log.lines().last().unwrap();
    assert!(
        last.contains("\"TPM_CLOCK\"") && last.contains("the counters went on, and the clock back"),
        "{last}"
    );
}

#[test]
fn a53_a_copied_tpm_is_found_by_its_clock_on_sqlite() {
    found(&Wanted::default());
}

#[test]
fn a53_a_copied_tpm_is_found_by_its_clock_on_postgres() {
    found(&Wanted::postgres());
}

/// What honest devices do: they are switched off without a word, reset and switched on, and renew.
#[test]
fn a_tpm_that_lost_power_renews() {
    let house = House::shared();
    let mut device = house.device("POWER");
    house.enrolled(&device, &[]);
    for _ in 0..3 {
        device.tpm.power_cycle().unwrap();
        assert_eq!(device.json(&["renew", "--force"], 0)["renewed"], true);
    }
    // An orderly end saves the clock.
    device.tpm.tool(&["shutdown", "-c"]).unwrap();
    device.tpm.power_cycle().unwrap();
    assert_eq!(device.json(&["renew", "--force"], 0)["renewed"], true);
    assert_eq!(house.record("POWER").state, "active");
}
