//! What the measurements of whole servers share: devices, the inventory that expects them, processor time, memory.
#![expect(
    clippy::expect_used,
    reason = "a program for people that measures: what fails must stop it"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use attest::{KeyAlgorithm, UnixTime};
use device_kit::endorsement::Template;
use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use issuance::AuditRecord;
use schema::{AllowDevice, Store, StoreOptions};

/// So many devices of one EK template, with P-256 keys.
pub(crate) fn manufacture(rig: &Rig, template: Template, count: usize) -> Arc<Vec<SoftTpm>> {
    let make = || SoftTpm::manufacture(&rig.vendor, template, KeyAlgorithm::P256, KeyAlgorithm::P256);
    let half = count / 2;
    let mut devices: Vec<SoftTpm> = Vec::with_capacity(count);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| (0..half).map(|_| make()).collect::<Vec<_>>());
        devices.extend((half..count).map(|_| make()));
        devices.extend(other.join().expect("keys"));
    });
    Arc::new(devices)
}

/// Put the devices into the inventory before the server starts.
pub(crate) fn expect_all(rig: &Rig, wanted: &Wanted, devices: &[SoftTpm]) {
    let url = match wanted.database.strip_prefix("sqlite://") {
        Some(file) => format!("sqlite://{}", rig.path(file).display()),
        None => wanted.database.clone(),
    };
    let store = Store::open(&url, &StoreOptions::default()).expect("the store");
    let at = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // Many at once share commits.
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let number = at.fetch_add(1, Ordering::Relaxed);
                    let Some(device) = devices.get(number) else { break };
                    let device = AllowDevice {
                        ek_kind: None,
                        iak_spki_sha256: None,
                        name: format!("bench-{number}"),
                        ek_spki_sha256: Some(device.ek.sha256()),
                        first_contact_until: None,
                        dns_names: Vec::new(),
                        spiffe_id: None,
                        batch: None,
                    };
                    store.allow_device(&device, &audit()).expect("a new device");
                }
            });
        }
    });
}

/// An audit record without meaning.
pub(crate) fn audit() -> AuditRecord {
    AuditRecord {
        at: UnixTime(1),
        action: "device.allowed".into(),
        actor: "bench".into(),
        subject: String::new(),
        reason: String::new(),
        detail: String::new(),
    }
}

/// User and system time of a process so far, seconds.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let after = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: f64 = [11, 12]
        .iter()
        .filter_map(|i| fields.get(*i)?.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

/// A line of `/proc/PID/status`, MB.
pub(crate) fn memory(pid: u32, key: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|v| v.parse::<f64>().ok())
        .unwrap_or_default()
        / 1024.0
}
