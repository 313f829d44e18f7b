//! `ca-cli device find`: never serial numbers alone.

use wire::admin::{Device, DevicePage, DeviceTpm};
use wire::firmware::Firmware;

use super::vendor;
use crate::admin::Client;
use crate::cli::device::Find;
use crate::exit::Failure;
use crate::output::{Report, clean, table};
use crate::words;

/// Devices of one request when all are wanted.
const PAGE: u32 = 1000;

pub(super) fn run(arguments: &Find) -> Result<Report, Failure> {
    let limit = if arguments.all { PAGE } else { arguments.limit };
    let mut query = vec![("limit", limit.to_string())];
    let mut add = |name, value: Option<String>| query.extend(value.map(|v| (name, v)));
    add("q", arguments.name.clone());
    add("batch", arguments.batch.clone());
    add("manufacturer", arguments.tpm_vendor.as_deref().map(vendor::id));
    add("model", arguments.tpm_model.clone());
    add("firmware", arguments.tpm_fw.map(|rule| rule.to_string()));
    add("expires_before", arguments.expires_before.map(|t| t.to_string()));
    add("cursor", arguments.cursor.clone());
    let client = Client::new(&arguments.admin);
    let mut page: DevicePage = client.get("/v1/devices", &query)?;
    while arguments.all
        && let Some(next) = page.next.take()
    {
        let mut query = query.clone();
        query.push(("cursor", next));
        let more: DevicePage = client.get("/v1/devices", &query)?;
        // Nothing more came, whatever the cursor says.
        if more.items.is_empty() {
            break;
        }
        page.items.extend(more.items);
        page.next = more.next;
    }
    let json = serde_json::json!({ "schema": "holdfast.devices.v1", "items": page.items, "next": page.next });
    Ok(Report::new(json, move |_| {
        let now = words::now();
        let rows = page.items.iter().map(|d| row(d, now)).collect();
        let mut text = table(&["DEVICE", "STATE", "PROFILE", "TPM", "LEVEL", "EXPIRES", "SEEN"], rows);
        text.push_str(&format!("{} shown.", page.items.len()));
        if let Some(next) = &page.next {
            text.push_str(&format!(" More: --cursor {}", clean(next)));
        }
        text
    }))
}

/// One line per device; several certificates are joined, the soonest to expire counts.
pub(super) fn row(device: &Device, now: i64) -> Vec<String> {
    let live = || {
        device
            .certificates
            .iter()
            .filter(|c| c.state == "issued" && c.revocation.is_none())
    };
    let profiles: Vec<String> = live().map(|c| clean(&c.profile)).collect();
    let expires = live()
        .map(|c| c.not_after)
        .min()
        .map_or_else(|| "-".into(), |t| words::date(t, now));
    let tpm = device.tpm.as_ref();
    vec![
        clean(&device.name),
        clean(&device.state.replace('_', " ")),
        if profiles.is_empty() {
            "-".into()
        } else {
            profiles.join(" + ")
        },
        tpm_of(device).unwrap_or_else(|| "-".into()),
        tpm.map_or_else(|| "-".into(), |t| clean(&t.assurance)),
        expires,
        device.last_seen_at.map_or_else(|| "-".into(), |t| words::date(t, now)),
    ]
}

/// Maker, model and firmware of a device's TPM, once it enrolled.
pub(in crate::command) fn tpm_of(device: &Device) -> Option<String> {
    let tpm = device.tpm.as_ref()?;
    Some(format!(
        "{} {} {}",
        vendor::word(&tpm.manufacturer),
        clean(&tpm.model),
        firmware(tpm)
    ))
}

/// `16.13`; what cannot be read as a firmware version stays as it is.
pub(in crate::command) fn firmware(tpm: &DeviceTpm) -> String {
    Firmware::from_certificate(&tpm.version).map_or_else(|| clean(&tpm.version), |version| version.to_string())
}
