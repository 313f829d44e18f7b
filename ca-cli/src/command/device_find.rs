//! `ca-cli device find`: never serial numbers alone.

use wire::admin::{Device, DevicePage};

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
    add("manufacturer", arguments.tpm_vendor.as_deref().map(manufacturer_id));
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
    let live = || device.certificates.iter().filter(|c| c.state == "issued");
    let profiles: Vec<String> = live().map(|c| clean(&c.profile)).collect();
    let expires = live()
        .map(|c| c.not_after)
        .min()
        .map_or_else(|| "-".into(), |t| words::date(t, now));
    let tpm = device.tpm.as_ref();
    vec![
        clean(&device.name),
        clean(&device.state),
        if profiles.is_empty() {
            "-".into()
        } else {
            profiles.join(" + ")
        },
        tpm.map_or_else(
            || "-".into(),
            |t| format!("{} {}", vendor(&t.manufacturer), clean(&t.model)),
        ),
        tpm.map_or_else(|| "-".into(), |t| clean(&t.assurance)),
        expires,
        device.last_seen_at.map_or_else(|| "-".into(), |t| words::date(t, now)),
    ]
}

/// `IFX` as `id:49465800` (TCG Vendor ID Registry: four octets, padded with NUL; STM's fourth is a space).
fn manufacturer_id(text: &str) -> String {
    if text.to_ascii_lowercase().starts_with("id:") {
        return format!("id:{}", text.get(3..).unwrap_or_default().to_ascii_uppercase());
    }
    let mut octets = text.as_bytes().to_vec();
    octets.resize(
        4,
        if text.eq_ignore_ascii_case("STM") || text.eq_ignore_ascii_case("NSM") {
            b' '
        } else {
            0
        },
    );
    format!("id:{}", hex::encode_upper(octets))
}

/// `id:49465800` as `IFX`, when it is printable.
pub(super) fn vendor(id: &str) -> String {
    let octets = id
        .get(3..)
        .and_then(|digits| hex::decode(digits).ok())
        .unwrap_or_default();
    let text: String = octets.iter().filter(|b| **b != 0).map(|b| char::from(*b)).collect();
    let text = text.trim_end().to_owned();
    let printable = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if printable { text } else { clean(id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_have_names() {
        assert_eq!(manufacturer_id("IFX"), "id:49465800");
        assert_eq!(manufacturer_id("STM"), "id:53544D20");
        assert_eq!(manufacturer_id("id:4946580a"), "id:4946580A");
        assert_eq!(vendor("id:49465800"), "IFX");
        assert_eq!(vendor("id:53544D20"), "STM");
        assert_eq!(vendor("id:00001014"), "id:00001014");
        assert_eq!(vendor("no"), "no");
    }
}
