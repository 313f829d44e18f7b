//! Judging a line by what is known: duplicates within and across manifests, devices that are here.

use std::collections::HashMap;

use diesel::prelude::*;

use super::{ManifestPart, ManifestRow, NewExpected};
use crate::among::among;
use crate::link::{Fault, Link, on};
use crate::tables::{device, ek_owner, expected, expected_identity, manifest};

/// What the record knows of the serials and EKs of a part.
pub(super) struct Known {
    /// Whose an EK is, and whether it went with a replacement.
    owners: HashMap<Vec<u8>, (String, bool)>,
    /// Devices of these names, and their EK.
    devices: HashMap<String, Option<Vec<u8>>>,
    /// What manifests that stand say: manifest, lot, serial, whether the EK went; by EK.
    by_ek: HashMap<Vec<u8>, Vec<Word>>,
    /// The same by serial; with the EK.
    by_serial: HashMap<String, Vec<(Vec<u8>, Word)>>,
    /// The same by certificate.
    by_certificate: HashMap<Vec<u8>, Vec<Word>>,
}

#[derive(Clone)]
struct Word {
    manifest: i64,
    lot: String,
    serial: String,
    gone: bool,
}

impl Known {
    pub(super) fn of(link: &mut Link, part: &ManifestPart) -> Result<Self, Fault> {
        let devices = || part.lines.iter().filter_map(|line| line.as_ref().ok());
        let eks: Vec<&[u8]> = devices()
            .flat_map(|d| d.ek.iter().chain(&d.was))
            .map(<[u8; 32]>::as_slice)
            .collect();
        let serials: Vec<&str> = devices().map(|d| d.serial.as_str()).collect();
        let owners: Vec<(Vec<u8>, String, Option<i64>)> = on!(link, c => ek_owner::table
            .inner_join(device::table)
            .filter(among(ek_owner::ek_spki_sha256, eks.iter().copied()))
            .select((ek_owner::ek_spki_sha256, device::name, ek_owner::replacement_id))
            .load(c))?;
        let named: Vec<(String, Option<Vec<u8>>)> = on!(link, c => device::table
            .filter(among(device::name, serials.iter().copied()))
            .select((device::name, device::ek_spki_sha256))
            .load(c))?;
        type Said = (Vec<u8>, String, i64, i64, String);
        let columns = (
            expected::ek_spki_sha256,
            expected::serial,
            expected::gone,
            expected::manifest_id,
            manifest::lot,
        );
        let by_ek: Vec<Said> = on!(link, c => expected::table
            .inner_join(manifest::table)
            .filter(among(expected::ek_spki_sha256, eks.iter().copied()))
            .filter(manifest::state.eq_any(["open", "complete"]))
            .select(columns)
            .load(c))?;
        let by_serial: Vec<Said> = on!(link, c => expected::table
            .inner_join(manifest::table)
            .filter(among(expected::serial, serials.iter().copied()))
            .filter(manifest::state.eq_any(["open", "complete"]))
            .select(columns)
            .load(c))?;
        let word = |(ek, serial, gone, manifest, lot): Said| {
            let word = Word {
                manifest,
                lot,
                serial,
                gone: gone != 0,
            };
            (ek, word)
        };
        let mut known = Self {
            owners: owners
                .into_iter()
                .map(|(ek, name, r)| (ek, (name, r.is_some())))
                .collect(),
            devices: named.into_iter().collect(),
            by_ek: HashMap::new(),
            by_serial: HashMap::new(),
            by_certificate: HashMap::new(),
        };
        for (ek, said) in by_ek.into_iter().map(word) {
            known.by_ek.entry(ek).or_default().push(said);
        }
        for (ek, said) in by_serial.into_iter().map(word) {
            known.by_serial.entry(said.serial.clone()).or_default().push((ek, said));
        }
        let certificates: Vec<&[u8]> = devices()
            .flat_map(|d| d.iak.iter().chain(&d.idevid))
            .map(<[u8; 32]>::as_slice)
            .collect();
        if certificates.is_empty() {
            return Ok(known);
        }
        let named: Vec<(Vec<u8>, String, i64, String)> = on!(link, c => expected_identity::table
            .inner_join(manifest::table)
            .filter(among(expected_identity::certificate_sha256, certificates.iter().copied()))
            .filter(manifest::state.eq_any(["open", "complete"]))
            .select((
                expected_identity::certificate_sha256,
                expected_identity::serial,
                expected_identity::manifest_id,
                manifest::lot,
            ))
            .load(c))?;
        for (certificate, serial, manifest, lot) in named {
            let word = Word {
                manifest,
                lot,
                serial,
                gone: false,
            };
            known.by_certificate.entry(certificate).or_default().push(word);
        }
        Ok(known)
    }

    /// Whether a device may be expected on the word of this manifest; else why not.
    pub(super) fn judge(&self, of: &ManifestRow, new: &NewExpected) -> Result<(), String> {
        for ek in &new.ek {
            match self.owners.get(ek.as_slice()) {
                Some((name, true)) => {
                    return Err(format!(
                        "EK {}: this TPM was device `{name}` until it was replaced",
                        hex::encode(ek)
                    ));
                }
                Some((name, false)) if *name != new.serial => {
                    return Err(format!("EK {}: it is device `{name}`'s", hex::encode(ek)));
                }
                _ => {}
            }
            let id = hex::encode(ek);
            let words = || self.by_ek.get(ek.as_slice()).into_iter().flatten();
            if let Some(said) = words().find(|said| said.gone && said.manifest != of.id) {
                return Err(format!(
                    "EK {id}: it went with a repair of `{}`, lot `{}`",
                    said.serial, said.lot
                ));
            }
            for said in words() {
                if said.manifest == of.id {
                    return Err(format!("EK {id}: another line of this manifest has it"));
                }
                if said.serial != new.serial {
                    return Err(format!("EK {id}: `{}` of lot `{}` has it", said.serial, said.lot));
                }
                if of.kind != "transfer" {
                    return Err(format!(
                        "it is in lot `{}` already; only a transfer names it again",
                        said.lot
                    ));
                }
            }
        }
        for ek in &new.was {
            let id = hex::encode(ek);
            if let Some((name, _)) = self.owners.get(ek.as_slice()).filter(|(name, _)| *name != new.serial) {
                return Err(format!("EK {id}, which went: it is device `{name}`'s"));
            }
            let said = self.by_ek.get(ek.as_slice()).into_iter().flatten();
            if let Some(said) = said.into_iter().find(|said| said.serial != new.serial) {
                return Err(format!(
                    "EK {id}, which went: `{}` of lot `{}` has it",
                    said.serial, said.lot
                ));
            }
        }
        for certificate in new.iak.iter().chain(&new.idevid) {
            for said in self.by_certificate.get(certificate.as_slice()).into_iter().flatten() {
                let id = hex::encode(certificate);
                if said.manifest == of.id {
                    return Err(format!("certificate {id}: another line of this manifest has it"));
                }
                if said.serial != new.serial {
                    return Err(format!(
                        "certificate {id}: `{}` of lot `{}` has it",
                        said.serial, said.lot
                    ));
                }
            }
        }
        match self.devices.get(&new.serial) {
            None => {}
            Some(Some(ek)) if new.ek.iter().any(|new| new.as_slice() == ek.as_slice()) => {}
            Some(Some(ek)) if new.was.iter().any(|old| old.as_slice() == ek.as_slice()) => {
                return Err(format!(
                    "`{}` is here with the TPM that went: two people replace it (ca-cli device replace-tpm)",
                    new.serial
                ));
            }
            // One EK of a TPM that has several, and all of them are this device's.
            Some(Some(_)) if new.ek.iter().any(|ek| self.owners.contains_key(ek.as_slice())) => {}
            Some(_) => {
                return Err(format!(
                    "`{}` is a device of the inventory, with another TPM or none",
                    new.serial
                ));
            }
        }
        // Whoever speaks of a serial again knows the TPM it had.
        for (ek, said) in self.by_serial.get(&new.serial).into_iter().flatten() {
            let named = |list: &[[u8; 32]]| list.iter().any(|one| one.as_slice() == ek.as_slice());
            let gone_since = self.by_serial.get(&new.serial).into_iter().flatten();
            let gone = said.gone || gone_since.into_iter().any(|(other, word)| word.gone && other == ek);
            if !gone && !named(&new.ek) && !named(&new.was) {
                return Err(format!("`{}` is in lot `{}` with another EK", new.serial, said.lot));
            }
        }
        Ok(())
    }
}
