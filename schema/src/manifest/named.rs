//! What stands in a manifest about a device: the line that counts, and the certificates it names.

use std::collections::HashMap;

use diesel::prelude::*;

use super::ManifestEntry;
use crate::among::among;
use crate::change::IakShown;
use crate::link::{Fault, Link, on};
use crate::read;
use crate::tables::{expected, expected_identity, manifest};

/// The device that manifests say has this certificate: by the newest of them.
pub(crate) fn named(link: &mut Link, certificate: &[u8; 32]) -> Result<Option<String>, Fault> {
    Ok(on!(link, c => expected_identity::table
        .inner_join(manifest::table)
        .filter(expected_identity::certificate_sha256.eq(certificate.as_slice()))
        .filter(manifest::state.eq("complete"))
        .order(expected_identity::manifest_id.desc())
        .select(expected_identity::serial)
        .first(c)
        .optional())?)
}

/// The line that stands for this device: of the newest manifest that names it.
pub(crate) fn standing(link: &mut Link, serial: &str) -> Result<Option<ManifestEntry>, Fault> {
    if serial.contains('\0') {
        return Ok(None);
    }
    Ok(of(link, &[serial])?.remove(serial))
}

/// The line on which each of these devices stands, by its name: number of the manifest, and position. One that says nothing
/// about what was shown is none.
pub(crate) fn lines<'a>(
    link: &mut Link,
    shown: &[(&'a str, IakShown<'a>)],
) -> Result<HashMap<&'a str, (i64, i64)>, Fault> {
    if shown.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<&str> = shown.iter().map(|(name, _)| *name).collect();
    let entries = of(link, &names)?;
    let mut lines = HashMap::new();
    for (name, iak) in shown {
        let Some(entry) = entries.get(*name) else { continue };
        let says = entry.iak.contains(iak.certificate)
            || iak.idevid.is_some_and(|one| entry.idevid.contains(one))
            || iak.ek.is_some_and(|one| entry.ek.contains(one));
        if says {
            lines.insert(*name, (entry.manifest, super::number(entry.position)?));
        }
    }
    Ok(lines)
}

/// The lines that stand for these devices.
fn of(link: &mut Link, serials: &[&str]) -> Result<HashMap<String, ManifestEntry>, Fault> {
    type Said = (String, i64, i64, String, Vec<u8>);
    let said: Vec<Said> = on!(link, c => expected::table
        .inner_join(manifest::table)
        .filter(among(expected::serial, serials.iter().copied()))
        .filter(expected::gone.eq(0))
        .filter(manifest::state.eq("complete"))
        .order((expected::manifest_id.desc(), expected::id))
        .select((expected::serial, expected::manifest_id, expected::position, manifest::lot, expected::ek_spki_sha256))
        .load(c))?;
    let mut entries: HashMap<String, ManifestEntry> = HashMap::new();
    for (serial, number, position, lot, ek) in said {
        let ek = read::array(ek)?;
        match entries.get_mut(&serial) {
            Some(entry) if entry.manifest == number => entry.ek.push(ek),
            // An older word.
            Some(_) => {}
            None => {
                let entry = ManifestEntry {
                    serial: serial.clone(),
                    manifest: number,
                    position: u64::try_from(position).map_err(|e| Fault::Failed(e.to_string()))?,
                    lot,
                    ek: vec![ek],
                    iak: Vec::new(),
                    idevid: Vec::new(),
                };
                entries.insert(serial, entry);
            }
        }
    }
    let named: Vec<(String, i64, String, Vec<u8>)> = on!(link, c => expected_identity::table
        .filter(among(expected_identity::serial, entries.keys().map(String::as_str)))
        .order(expected_identity::id)
        .select((
            expected_identity::serial,
            expected_identity::manifest_id,
            expected_identity::kind,
            expected_identity::certificate_sha256,
        ))
        .load(c))?;
    for (serial, number, kind, certificate) in named {
        let Some(entry) = entries.get_mut(&serial).filter(|entry| entry.manifest == number) else {
            continue;
        };
        let certificate = read::array(certificate)?;
        match kind.as_str() {
            "iak" => entry.iak.push(certificate),
            _ => entry.idevid.push(certificate),
        }
    }
    Ok(entries)
}
