//! `ca-cli device renew`: devices are called to renew what they have. A second call says the same again.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wire::admin::{Device, RenewDevice};

use super::device_find::row;
use super::device_show::path;
use super::revoke::{agreed, targets};
use crate::admin::Client;
use crate::cli::device::DeviceRenew;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, table};
use crate::words;

pub(super) fn run(arguments: &DeviceRenew, no_input: bool) -> Result<Report, Failure> {
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
    if !arguments.dry_run {
        agreed(devices.len(), "devices", arguments.yes_count, no_input)?;
    }
    let body = RenewDevice {
        reason: arguments.reason.clone(),
        within: Some(arguments.within),
    };
    let mut outcomes = Vec::with_capacity(devices.len());
    let (mut failed, mut stopped) = (None, false);
    for device in &mut devices {
        outcomes.push(if arguments.dry_run {
            "would"
        } else if stopped {
            "left"
        } else {
            match client.post(&path(&device.name, "/renewal")?, &body) {
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
        Some(exit) if of("done") == 0 => exit,
        Some(_) => Exit::Partly,
    };
    let (done, would, lost) = (of("done"), of("would"), of("failed") + of("left"));
    let items: Vec<Value> = devices
        .iter()
        .zip(&outcomes)
        .map(|(device, outcome)| json!({ "name": device.name, "outcome": outcome, "device": device }))
        .collect();
    let json = json!({
        "schema": "holdfast.device-renew.v1",
        "dry_run": arguments.dry_run,
        "within": arguments.within,
        "counts": { "done": done, "would": would, "failed": of("failed"), "left": of("left") },
        "items": items,
    });
    let dry_run = arguments.dry_run;
    Ok(Report::new(json, move |_| {
        let now = words::now();
        let rows = devices.iter().map(|device| row(device, now)).collect();
        let mut text = table(&["DEVICE", "STATE", "PROFILE", "TPM", "LEVEL", "EXPIRES", "SEEN"], rows);
        if dry_run {
            text.push_str(&format!(
                "{would} would be called to renew.\nNothing was done: --dry-run.\n"
            ));
        } else {
            text.push_str(&format!(
                "{done} called to renew: each hears of it when it asks next.\n"
            ));
        }
        if lost > 0 {
            text.push_str(&format!("{lost} not called. The same command again goes on.\n"));
        }
        text
    })
    .exit(exit))
}
