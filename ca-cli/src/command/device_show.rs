//! `ca-cli device show NAME`.

use wire::admin::{Device, DeviceCertificate};
use wire::replacement::DeviceEk;
use wire::third_party::IakProof;

use super::device_find::firmware;
use super::vendor;
use crate::admin::Client;
use crate::certificate;
use crate::cli::Admin;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, fields, table};
use crate::words;

/// The path of a device; names that would not be one path segment are refused here already.
pub(super) fn path(name: &str, below: &str) -> Result<String, Failure> {
    policies::name::device(name).map_err(|e| Failure::new(Exit::Usage, format!("`{}`: {e}", clean(name))))?;
    Ok(format!("/v1/devices/{name}{below}"))
}

/// The manufacturer's certificate that a certificate stands on.
pub(super) fn iak_lines(proof: &IakProof) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("stands on", format!("the IAK of manufacturer {}", clean(&proof.anchor))),
        ("  certificate", clean(&proof.certificate_sha256)),
        ("  issuer", certificate::name_text(&proof.issuer.0)),
        ("  serial", clean(&proof.serial)),
        ("  level", clean(&proof.assurance)),
    ];
    lines.extend(proof.idevid_sha256.iter().map(|idevid| ("  IDevID", clean(idevid))));
    if let (Some(manifest), Some(line)) = (proof.manifest, proof.manifest_line) {
        lines.push(("  manifest", format!("{manifest}, line {line}")));
    }
    lines.extend(proof.ek_spki_sha256.iter().map(|ek| ("  EK, told", clean(ek))));
    lines
}

pub(super) fn run(name: &str, admin: &Admin) -> Result<Report, Failure> {
    let device: Device = Client::new(admin).get(&path(name, "")?, &[])?;
    let json = serde_json::json!({ "schema": "holdfast.device.v1", "device": device });
    Ok(Report::new(json, move |_| {
        let now = words::now();
        let mut lines = vec![
            ("device", clean(&device.name)),
            ("state", clean(&device.state.replace('_', " "))),
        ];
        lines.extend(device.batch.iter().map(|b| ("batch", clean(b))));
        lines.push(("known since", words::date(device.created_at, now)));
        lines.push((
            "last seen",
            device
                .last_seen_at
                .map_or_else(|| "never".into(), |t| words::date(t, now)),
        ));
        lines.push((
            "EK sha256",
            device
                .ek_spki_sha256
                .as_deref()
                .map_or_else(|| "none yet".into(), clean),
        ));
        lines.extend(device.iak_spki_sha256.iter().map(|iak| ("IAK sha256", clean(iak))));
        if let Some(proof) = device.certificates.iter().find_map(|c| c.iak_proof.as_ref()) {
            lines.extend(iak_lines(proof));
        }
        lines.extend(device.dns_names.iter().map(|n| ("DNS", clean(n))));
        lines.extend(device.spiffe_id.iter().map(|n| ("SPIFFE", clean(n))));
        if let Some(tpm) = &device.tpm {
            lines.push((
                "TPM",
                format!(
                    "{} {} firmware {}",
                    vendor::word(&tpm.manufacturer),
                    clean(&tpm.model),
                    firmware(tpm)
                ),
            ));
            lines.push(("level", clean(&tpm.assurance)));
            lines.push(("anchor", clean(&tpm.anchor)));
        }
        let mut text = fields(&lines);
        if let Some(at) = device.renewal_called_at {
            text.push_str(&fields(&[("called to renew", words::date(at, now))]));
        }
        for iak in &device.iaks {
            let went = format!(
                "{}, went with replacement {}",
                clean(&iak.iak_spki_sha256),
                iak.replacement
            );
            text.push_str(&fields(&[("IAK before", went)]));
        }
        // The one that stands alone is shown above.
        if device.eks.len() > 1 {
            let row = |ek: &DeviceEk| {
                vec![
                    ek.shown.replace('_', " "),
                    words::date(ek.since, now),
                    ek.replacement
                        .map_or_else(|| "stands".to_owned(), |id| format!("went with replacement {id}")),
                    clean(&ek.ek_spki_sha256),
                ]
            };
            let rows = device.eks.iter().map(row).collect();
            text.push_str(&format!("\n{}", table(&["EK SHOWN", "SINCE", "STATE", "SHA256"], rows)));
        }
        let row = |c: &DeviceCertificate| {
            vec![
                clean(&c.profile),
                words::standing(&c.state, c.revocation.as_ref()),
                words::date(c.not_after, now),
                clean(&c.serial),
            ]
        };
        if !device.certificates.is_empty() {
            let rows = device.certificates.iter().map(row).collect();
            text.push_str(&format!(
                "\n{}",
                table(&["PROFILE", "STATE", "EXPIRES", "SERIAL"], rows)
            ));
        }
        text
    }))
}
