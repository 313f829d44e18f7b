//! `ca-cli manifest create`.

use anyhow::Context as _;
use manifest::{Entry, Hash, Header, Writer};
use wire::admin::{Device, DevicePage};

use super::{NewFile, table};
use crate::admin::Client;
use crate::cli::manifest::Create;
use crate::exit::{Exit, Failure};
use crate::fingerprint::groups;
use crate::manifest::distinct::Distinct;
use crate::output::{Report, clean};
use crate::words;

/// Devices of one request.
const PAGE: &str = "1000";

pub(super) fn run(arguments: &Create) -> Result<Report, Failure> {
    let kind = arguments.kind.into();
    let usage = |e: manifest::BadLine| Failure::new(Exit::Usage, e.to_string());
    let header = Header::new(
        kind,
        &arguments.lot,
        &arguments.maker,
        arguments.to.as_deref(),
        words::now(),
    )
    .map_err(usage)?;
    let mut entries = match &arguments.from {
        Some(path) => table::devices(path, kind, arguments.model.as_deref())?,
        None => inventory(arguments, kind)?,
    };
    if entries.is_empty() {
        return Err(Failure::new(
            Exit::NotFound,
            format!("lot `{}` has no device", arguments.lot),
        ));
    }
    entries.sort_by(|a, b| a.serial().cmp(b.serial()));
    let mut distinct = Distinct::new()?;
    for (entry, number) in entries.iter().zip(2..) {
        for ek in entry.ek().iter().chain(entry.was()) {
            distinct.push(ek, number)?;
        }
    }
    let mut twice = Vec::new();
    distinct.finish(|ek, _, again| twice.push((*ek, again)))?;
    if let Some((ek, _)) = twice.first() {
        let owners: Vec<&str> = entries
            .iter()
            .filter(|e| e.ek().contains(ek) || e.was().contains(ek))
            .map(Entry::serial)
            .collect();
        return Err(Failure::new(
            Exit::Conflict,
            format!("EK {} is of {}", hex::encode(ek), owners.join(" and ")),
        ));
    }
    let (target, sink) = NewFile::create(&arguments.out)?;
    let failed = |e: manifest::WriteError| match e {
        manifest::WriteError::Io(e) => Failure::new(Exit::Failed, format!("{}: {e}", arguments.out.display())),
        manifest::WriteError::Entry(why) => Failure::new(Exit::Conflict, why.to_string()),
    };
    let mut writer = Writer::open(sink, &header).map_err(failed)?;
    entries
        .iter()
        .try_for_each(|entry| writer.push(entry))
        .map_err(failed)?;
    let (sink, closing) = writer.close().map_err(failed)?;
    target.finish(sink)?;
    let json = serde_json::json!({
        "schema": "holdfast.manifest.v1", "file": arguments.out, "lot": header.lot, "kind": kind,
        "entries": closing.entries, "root": closing.root(), "signer_sha256": null,
    });
    let out = arguments.out.display().to_string();
    Ok(Report::new(json, move |style| {
        format!(
            "{} {out}: {} devices of lot {}, not signed yet\nroot sha256\n{}\nnext\n  ca-cli manifest sign {out} --out SIGNED …\n",
            style.tick(true),
            closing.entries,
            clean(&header.lot),
            groups(&hex::decode(closing.root()).unwrap_or_default()),
        )
    }))
}

/// The lot as the server's inventory has it: devices with a TPM, and their certificates that are good.
fn inventory(arguments: &Create, kind: manifest::Kind) -> Result<Vec<Entry>, Failure> {
    let client = Client::new(&arguments.admin);
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        let mut query = vec![("batch", arguments.lot.clone()), ("limit", PAGE.to_owned())];
        query.extend(cursor.take().map(|c| ("cursor", c)));
        let page: DevicePage = client.get("/v1/devices", &query)?;
        for found in &page.items {
            let device: Device = client.get(&format!("/v1/devices/{}", found.name), &[])?;
            entries.push(entry(&device, kind, arguments.model.as_deref().unwrap_or_default())?);
        }
        match page.next {
            Some(next) if !page.items.is_empty() => cursor = Some(next),
            _ => return Ok(entries),
        }
    }
}

fn entry(device: &Device, kind: manifest::Kind, model: &str) -> Result<Entry, Failure> {
    let (stand, gone): (Vec<_>, Vec<_>) = device.eks.iter().partition(|ek| ek.replacement.is_none());
    let hashes = |eks: &[&wire::replacement::DeviceEk]| -> anyhow::Result<Vec<Hash>> {
        let one = |text: &str| {
            let mut out = [0; 32];
            hex::decode_to_slice(text, &mut out).map(|()| out)
        };
        eks.iter().map(|ek| one(&ek.ek_spki_sha256).context("EK")).collect()
    };
    let was = if kind == manifest::Kind::Repair {
        gone
    } else {
        Vec::new()
    };
    let good = device
        .certificates
        .iter()
        .filter(|c| c.state == "issued" && c.revocation.is_none() && c.not_after >= words::now());
    let identities = good
        .filter_map(|c| {
            c.certificate
                .as_ref()
                .map(|der| table::of_certificate(&c.profile, &der.0))
        })
        .collect::<anyhow::Result<_>>()?;
    Entry::new(kind, &device.name, model, &hashes(&stand)?, &hashes(&was)?, identities)
        .map_err(|why| Failure::new(Exit::Conflict, format!("{}: {why}", clean(&device.name))))
}
