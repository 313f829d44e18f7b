//! `ca-cli device hold` and `release`: quarantine. What stands so already is a success, so the same command again goes
//! on where it stopped.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wire::admin::{Device, HoldDevice};

use super::device_find::row;
use super::device_show::path;
use super::revoke::{agreed, targets};
use crate::admin::Client;
use crate::cli::device::DeviceHold;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, table};
use crate::words;

pub(super) fn run(arguments: &DeviceHold, hold: bool, no_input: bool) -> Result<Report, Failure> {
    let client = Client::new(&arguments.admin);
    let named = match (&arguments.from, &arguments.name) {
        (Some(file), _) => targets(file)?,
        (None, name) => name.iter().cloned().collect(),
    };
    let mut seen = BTreeSet::new();
    let mut devices = Vec::new();
    for name in named.into_iter().filter(|name| seen.insert(name.clone())) {
        let device = client.get::<Device>(&path(&name, "")?, &[]).map_err(|failure| {
            if failure.exit == Exit::NotFound {
                Failure::new(Exit::NotFound, format!("`{}` is no device", clean(&name)))
            } else {
                failure
            }
        })?;
        devices.push(device);
    }
    let open = |device: &Device| (device.state == "held") != hold;
    let count = devices.iter().filter(|d| open(d)).count();
    if !arguments.dry_run {
        agreed(count, "devices", arguments.yes_count, no_input)?;
    }
    let verb = if hold { "hold" } else { "release" };
    let mut outcomes = Vec::with_capacity(devices.len());
    let (mut failed, mut stopped) = (None, false);
    for device in &mut devices {
        outcomes.push(if !open(device) {
            "already"
        } else if arguments.dry_run {
            "would"
        } else if stopped {
            "left"
        } else {
            let body = HoldDevice {
                reason: arguments.reason.clone(),
            };
            match client.post(&path(&device.name, &format!("/{verb}"))?, &body) {
                Ok(now) => {
                    *device = now;
                    "done"
                }
                Err(failure) => {
                    failure.print();
                    stopped = failure.exit == Exit::TryAgain;
                    failed = failed.or(Some(failure.exit));
                    "failed"
                }
            }
        });
    }
    let of = |word: &str| outcomes.iter().filter(|o| **o == word).count();
    let exit = match failed {
        None => Exit::Done,
        Some(_) if stopped => Exit::TryAgain,
        Some(exit) if of("done") + of("already") == 0 => exit,
        Some(_) => Exit::Partly,
    };
    let (done, already, would) = (of("done"), of("already"), of("would"));
    let lost = of("failed") + of("left");
    let items: Vec<Value> = devices
        .iter()
        .zip(&outcomes)
        .map(|(device, outcome)| json!({ "name": device.name, "outcome": outcome, "device": device }))
        .collect();
    let json = json!({
        "schema": "holdfast.device-hold.v1",
        "verb": verb,
        "dry_run": arguments.dry_run,
        "counts": { "done": done, "already": already, "would": would, "failed": of("failed"), "left": of("left") },
        "items": items,
    });
    let dry_run = arguments.dry_run;
    let text = move || {
        let now = words::now();
        let rows = devices.iter().map(|device| row(device, now)).collect();
        let mut text = table(&["DEVICE", "STATE", "PROFILE", "TPM", "LEVEL", "EXPIRES", "SEEN"], rows);
        let past = if hold { "held" } else { "released" };
        if dry_run {
            text.push_str(&format!(
                "{would} would be {past}, {already} stand so already.\nNothing was done: --dry-run.\n"
            ));
        } else {
            text.push_str(&format!("{done} {past}, {already} stood so already.\n"));
        }
        if lost > 0 {
            text.push_str(&format!("{lost} not {past}. The same command again goes on.\n"));
        }
        text
    };
    Ok(Report::new(json, move |_| text()).exit(exit))
}
