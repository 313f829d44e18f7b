//! D02–D06, D14, H01, L01, P10, P13–P15: attacks on the service itself. No 500, no panic, nothing stored, and the next
//! honest device is served.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod aia;
mod bombs;
mod floods;
mod json;
mod memory;
mod paths;
mod secrets;
mod token;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use device_kit::rig::Rig;
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::fresh_name;

fn house() -> MutexGuard<'static, Rig> {
    static HOUSE: OnceLock<Mutex<Rig>> = OnceLock::new();
    HOUSE
        .get_or_init(|| Mutex::new(Rig::running()))
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// An honest device is served.
fn serves(rig: &Rig) {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(&fresh_name(), &tpm);
    rig.client()
        .enroll(&tpm, &tpm.request("device-ldevid", None, None))
        .expect("an honest device is served");
}

/// An honest device is served, as soon as the token is back.
fn serves_again(rig: &Rig) {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(&fresh_name(), &tpm);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while let Err(refused) = rig.client().enroll(&tpm, &tpm.request("device-ldevid", None, None)) {
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(
            std::time::Instant::now() < deadline,
            "the token is back, and is not used"
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// No request of this server ended in a panic or in an answer of 500.
fn sound(rig: &Rig) {
    let log = rig.log();
    assert!(!log.contains("panic"), "{log}");
    assert!(!log.contains("defect"), "{log}");
}

/// Processor time the server has used so far.
fn cpu(rig: &Rig) -> std::time::Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", rig.pid())).unwrap();
    // Behind the name, which may hold anything: state is field 3, utime and stime are 14 and 15, in ticks of 10 ms.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    std::time::Duration::from_millis(ticks * 10)
}

/// Resident memory of the server in KiB.
fn resident(rig: &Rig) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.pid())).unwrap();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
        .expect("VmRSS")
}
