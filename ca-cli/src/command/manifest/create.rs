//! `ca-cli manifest create`.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use manifest::{Closing, Entry, Hash, Header, Read, Writer};
use wire::admin::{Device, DevicePage};

use super::{NewFile, next, open, table};
use crate::admin::Client;
use crate::cli::manifest::Create;
use crate::exit::{Exit, Failure};
use crate::fingerprint::groups;
use crate::manifest::bad::Bad;
use crate::manifest::distinct::Distinct;
use crate::manifest::progress::Progress;
use crate::manifest::sorted::Unsorted;
use crate::output::{Report, clean};
use crate::words;

/// Devices of one request.
const PAGE: &str = "1000";
/// EKs and certificates of two devices that are told one by one.
const MOST_TWICE: usize = 1000;

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
    let (target, sink) = NewFile::create(&arguments.out)?;
    let mut unsorted = Unsorted::new(target.folder());
    let mut bad = Bad::default();
    let mut count = 0_u64;
    let mut put = |entry: &Entry| {
        count = count.saturating_add(1);
        unsorted.push(entry)
    };
    match &arguments.from {
        Some(path) => {
            table::devices(path, kind, arguments.model.as_deref(), &mut bad, &mut put)?;
            if let Some(told) = bad.told() {
                let what = format!("{}: {} bad lines; nothing is written", path.display(), bad.count());
                return Err(Failure::new(Exit::Usage, format!("{what}\n{told}")));
            }
        }
        None => inventory(arguments, kind, &mut put)?,
    }
    if count == 0 {
        let what = format!("lot `{}` has no device", arguments.lot);
        return Err(Failure::new(Exit::NotFound, what));
    }
    let (sink, closing) = write(unsorted, count, &header, &target, sink)?;
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

/// Write the lot in order; a serial, an EK or a certificate that comes twice refuses it.
fn write(
    unsorted: Unsorted,
    count: u64,
    header: &Header,
    target: &NewFile<'_>,
    sink: BufWriter<File>,
) -> Result<(BufWriter<File>, Closing), Failure> {
    let failed = |e: manifest::WriteError| match e {
        manifest::WriteError::Io(e) => Failure::new(Exit::Failed, format!("{}: {e}", target.draft.display())),
        manifest::WriteError::Entry(why) => Failure::new(Exit::Conflict, why.to_string()),
    };
    let mut bad = Bad::default();
    let mut distinct = Distinct::new()?;
    let mut writer = Writer::open(sink, header).map_err(failed)?;
    let mut progress = Progress::new("devices written", 0, Some(count));
    let mut sorted = unsorted.sorted()?;
    let mut last = String::new();
    let mut written = 0_u64;
    while let Some(line) = sorted.advance()? {
        let entry = Entry::parse(header.kind, &line).map_err(|e| failed(e.into()))?;
        if entry.serial() == last {
            bad.push(0, format!("serial {last} is named twice"));
            continue;
        }
        writer.push(&entry).map_err(failed)?;
        // The header is line 1.
        distinct.push_all(&entry, written.saturating_add(2))?;
        entry.serial().clone_into(&mut last);
        written = written.saturating_add(1);
        progress.at(written);
    }
    drop(progress);
    let (mut sink, closing) = writer.close().map_err(failed)?;
    let mut twice = Vec::new();
    let mut more = 0_u64;
    distinct.finish(|what, first, again| {
        if twice.len() < MOST_TWICE {
            twice.push((what.to_owned(), first, again));
        } else {
            more = more.saturating_add(1);
        }
    })?;
    if !twice.is_empty() {
        sink.flush().map_err(|e| failed(e.into()))?;
        let serials = serials(&target.draft, &twice)?;
        let of = |line: &u64| serials.get(line).map_or("another", String::as_str);
        for (what, first, again) in &twice {
            bad.push(0, format!("{what} is of {} and {}", of(first), of(again)));
        }
        if more > 0 {
            bad.push(0, format!("and {more} EKs or certificates more are of two devices"));
        }
    }
    match bad.told() {
        None => Ok((sink, closing)),
        Some(told) => Err(Failure::new(Exit::Conflict, told)),
    }
}

/// Whose lines these are, in a manifest that has no signature yet.
fn serials(draft: &Path, twice: &[(String, u64, u64)]) -> Result<HashMap<u64, String>, Failure> {
    let wanted: HashSet<u64> = twice.iter().flat_map(|(_, first, again)| [*first, *again]).collect();
    let mut serials = HashMap::new();
    let mut reader = open(draft)?;
    let kind = reader.header().kind;
    while let Read::Device { position, line } = next(&mut reader, draft)? {
        let number = position.saturating_add(2);
        if wanted.contains(&number)
            && let Ok(entry) = Entry::parse(kind, &line)
        {
            serials.insert(number, entry.serial().to_owned());
        }
    }
    Ok(serials)
}

/// The lot as the server's inventory has it: devices with a TPM, and their certificates that are good.
fn inventory(
    arguments: &Create,
    kind: manifest::Kind,
    put: &mut impl FnMut(&Entry) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let client = Client::new(&arguments.admin);
    let mut progress = Progress::new("devices read", 0, None);
    let (mut count, mut cursor) = (0_u64, None);
    loop {
        let mut query = vec![("batch", arguments.lot.clone()), ("limit", PAGE.to_owned())];
        query.extend(cursor.take().map(|c| ("cursor", c)));
        let page: DevicePage = client.get("/v1/devices", &query)?;
        for found in &page.items {
            let device: Device = client.get(&format!("/v1/devices/{}", found.name), &[])?;
            put(&entry(&device, kind, arguments.model.as_deref().unwrap_or_default())?)?;
            count = count.saturating_add(1);
            progress.at(count);
        }
        match page.next {
            Some(next) if !page.items.is_empty() => cursor = Some(next),
            _ => return Ok(()),
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
