//! `ca-cli device find`: never serial numbers alone.

use wire::admin::{Device, DevicePage};

use super::vendor;
use crate::admin::Client;
use crate::cli::Find;
use crate::exit::Failure;
use crate::output::{Report, clean, table};
use crate::words;

pub(super) fn run(arguments: &Find) -> Result<Report, Failure> {
    let mut query = vec![("limit", arguments.limit.to_string())];
    let mut add = |name, value: Option<String>| query.extend(value.map(|v| (name, v)));
    add("q", arguments.name.clone());
    add("batch", arguments.batch.clone());
    add("manufacturer", arguments.tpm_vendor.as_deref().map(vendor::id));
    add("expires_before", arguments.expires_before.map(|t| t.to_string()));
    add("cursor", arguments.cursor.clone());
    let page: DevicePage = Client::new(&arguments.admin).get("/v1/devices", &query)?;
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
fn row(device: &Device, now: i64) -> Vec<String> {
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

/// Maker and model of a device's TPM, once it enrolled.
pub(in crate::command) fn tpm_of(device: &Device) -> Option<String> {
    let tpm = device.tpm.as_ref()?;
    Some(format!("{} {}", vendor::word(&tpm.manufacturer), clean(&tpm.model)))
}
