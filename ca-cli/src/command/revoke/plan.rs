//! What a bulk change is about, and what is left to do of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Serialize;
use wire::admin::{Device, DeviceCertificate};
use wire::revocation::{CertificateStatus, RevocationReason, RevocationState, RevocationStep};

use crate::admin::Client;
use crate::command::device_find::tpm_of;
use crate::command::device_show::path;
use crate::exit::{Exit, Failure, read};
use crate::output::clean;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Revoked for this reason.
    Revoke(RevocationReason),
    Hold,
    Release,
}

/// What is left to do for one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing: it stands as is wanted.
    Nothing,
    /// A step.
    Step,
    /// It cannot be done: revoked for this reason, for good.
    Never(RevocationReason),
}

impl Wish {
    /// What is left of it where `now` stands.
    pub(super) fn left(self, now: Option<&RevocationStep>) -> Left {
        use RevocationReason::KeyCompromise;
        let stands = now.map(|step| (step.state, step.reason));
        match (self, stands) {
            // Only a compromised key is news about what is revoked.
            (Self::Revoke(KeyCompromise), Some((RevocationState::Revoked, before))) if before != KeyCompromise => {
                Left::Step
            }
            (Self::Revoke(_), Some((RevocationState::Revoked, _)))
            | (Self::Hold, Some((RevocationState::OnHold, _)))
            | (Self::Release, None | Some((RevocationState::Released, _))) => Left::Nothing,
            (Self::Hold | Self::Release, Some((RevocationState::Revoked, reason))) => Left::Never(reason),
            _ => Left::Step,
        }
    }
}

/// One certificate of the plan.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    pub(super) serial: String,
    pub(super) device: Option<String>,
    pub(super) batch: Option<String>,
    pub(super) profile: String,
    pub(super) tpm: Option<String>,
    pub(super) level: Option<String>,
    pub(super) not_after: i64,
    pub(super) last_seen_at: Option<i64>,
    pub(super) revocation: Option<RevocationStep>,
}

/// What the arguments name.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order they were named; each once.
    pub(super) items: Vec<Item>,
    /// Good certificates of the same devices that are not in the plan.
    pub(super) others: Vec<String>,
}

/// Serials and devices in a file.
pub(in crate::command) fn targets(file: &Path) -> Result<Vec<String>, Failure> {
    let wrong = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", file.display()));
    let text = String::from_utf8(read(file)?).map_err(|e| wrong(e.to_string()))?;
    let found: Vec<String> = if text.trim_start().starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let items = value.get("items").and_then(serde_json::Value::as_array);
        let items = items.ok_or_else(|| wrong("no list of devices (`items`) in this JSON".to_owned()))?;
        let named = |item: &serde_json::Value| {
            let name = item.get("serial").or_else(|| item.get("name"));
            name.and_then(serde_json::Value::as_str).map(ToOwned::to_owned)
        };
        let all: Option<Vec<String>> = items.iter().map(named).collect();
        if value.get("next").is_some_and(|next| !next.is_null()) {
            return Err(wrong("this is one page of a longer list".to_owned())
                .fix("list all of it: `--limit`, then `--cursor` for the next page"));
        }
        all.ok_or_else(|| wrong("an item without `name` or `serial`".to_owned()))?
    } else {
        let first = |line: &str| {
            line.split([',', ';', '\t'])
                .next()
                .unwrap_or_default()
                .trim()
                .trim_matches('"')
                .to_owned()
        };
        let lines = text.lines().map(first);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect()
    };
    if found.is_empty() {
        return Err(wrong("names nothing".to_owned()));
    }
    Ok(found)
}

/// A serial as the server spells it, when the text can be one: 32 hex digits, perhaps with colons.
pub(in crate::command) fn serial(text: &str) -> Option<String> {
    let digits: String = text
        .chars()
        .filter(|c| *c != ':')
        .collect::<String>()
        .to_ascii_lowercase();
    (digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
}

/// Ask the server what the targets are.
///
/// `lineage`: with a certificate, also those it was renewed from or by.
pub(super) fn plan(client: &Client, targets: &[String], lineage: bool, now: i64) -> Result<Plan, Failure> {
    let mut seen = BTreeSet::new();
    let mut devices: HashMap<String, Device> = HashMap::new();
    let mut items = Vec::new();
    for target in targets {
        let status = match serial(target) {
            Some(serial) => found(client.get::<CertificateStatus>(&status_path(&serial), &[]))?,
            None => None,
        };
        match status {
            Some(status) => {
                let device = match &status.device {
                    Some(name) => Some(device(client, &mut devices, name)?),
                    None => None,
                };
                let kin = if lineage { status.lineage.clone() } else { Vec::new() };
                if seen.insert(status.serial.clone()) {
                    items.push(of_status(status, device));
                }
                for serial in kin {
                    if seen.insert(serial.clone()) {
                        let status = client.get::<CertificateStatus>(&status_path(&serial), &[])?;
                        items.push(of_status(status, device));
                    }
                }
            }
            None => {
                let device = device(client, &mut devices, target)?;
                let live = device.certificates.iter().filter(|c| c.not_after >= now);
                let new = live.filter(|c| seen.insert(c.serial.clone()));
                items.extend(new.map(|c| of_device(device, c)).collect::<Vec<_>>());
            }
        }
    }
    let mut others: Vec<String> = devices
        .values()
        .flat_map(|device| &device.certificates)
        .filter(|c| c.not_after >= now && c.revocation.is_none() && !seen.contains(&c.serial))
        .map(|c| c.serial.clone())
        .collect();
    others.sort_unstable();
    Ok(Plan { items, others })
}

/// The path of what is known about a certificate.
pub(in crate::command) fn status_path(serial: &str) -> String {
    format!("/v1/certificates/{serial}/revocation")
}

/// `None` for what is not there.
fn found<T>(outcome: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn device<'a>(client: &Client, known: &'a mut HashMap<String, Device>, name: &str) -> Result<&'a Device, Failure> {
    use std::collections::hash_map::Entry;
    match known.entry(name.to_owned()) {
        Entry::Occupied(there) => Ok(there.into_mut()),
        Entry::Vacant(place) => {
            let nobody = || {
                Failure::new(
                    Exit::NotFound,
                    format!("`{}` is neither a serial nor a device", clean(name)),
                )
            };
            let device = found(client.get(&path(name, "")?, &[]))?.ok_or_else(nobody)?;
            Ok(place.insert(device))
        }
    }
}

fn of_status(status: CertificateStatus, device: Option<&Device>) -> Item {
    Item {
        batch: device.and_then(|d| d.batch.clone()),
        tpm: device.and_then(tpm_of),
        level: device.and_then(|d| d.tpm.as_ref()).map(|t| t.assurance.clone()),
        last_seen_at: device.and_then(|d| d.last_seen_at),
        serial: status.serial,
        device: status.device,
        profile: status.profile,
        not_after: status.not_after,
        revocation: status.revocation,
    }
}

fn of_device(device: &Device, certificate: &DeviceCertificate) -> Item {
    Item {
        serial: certificate.serial.clone(),
        device: Some(device.name.clone()),
        batch: device.batch.clone(),
        profile: certificate.profile.clone(),
        tpm: tpm_of(device),
        level: device.tpm.as_ref().map(|t| t.assurance.clone()),
        not_after: certificate.not_after,
        last_seen_at: device.last_seen_at,
        revocation: certificate.revocation.clone(),
    }
}

/// How many of each lot.
pub(super) fn by_batch<'a>(items: impl Iterator<Item = &'a Item>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        let lot = item.batch.clone().unwrap_or_else(|| "no lot".to_owned());
        let count: &mut usize = counts.entry(lot).or_default();
        *count = count.saturating_add(1);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use RevocationReason::{CertificateHold, KeyCompromise, Superseded, Unspecified};
    use RevocationState::{OnHold, Released, Revoked};

    #[test]
    fn what_is_left_depends_on_what_stands() {
        let step = |state, reason| RevocationStep {
            state,
            reason,
            at: 0,
            since: 0,
            actor: String::new(),
            comment: String::new(),
        };
        let revoke = Wish::Revoke;
        for (wish, stands, left) in [
            (revoke(Superseded), None, Left::Step),
            (revoke(Superseded), Some((OnHold, CertificateHold)), Left::Step),
            (revoke(Superseded), Some((Released, CertificateHold)), Left::Step),
            (revoke(Superseded), Some((Revoked, Superseded)), Left::Nothing),
            (revoke(Superseded), Some((Revoked, Unspecified)), Left::Nothing),
            (revoke(Superseded), Some((Revoked, KeyCompromise)), Left::Nothing),
            (revoke(KeyCompromise), Some((Revoked, Superseded)), Left::Step),
            (revoke(KeyCompromise), Some((Revoked, KeyCompromise)), Left::Nothing),
            (Wish::Hold, None, Left::Step),
            (Wish::Hold, Some((OnHold, CertificateHold)), Left::Nothing),
            (Wish::Hold, Some((Released, CertificateHold)), Left::Step),
            (Wish::Hold, Some((Revoked, Superseded)), Left::Never(Superseded)),
            (Wish::Release, None, Left::Nothing),
            (Wish::Release, Some((OnHold, CertificateHold)), Left::Step),
            (Wish::Release, Some((Released, CertificateHold)), Left::Nothing),
            (Wish::Release, Some((Revoked, Superseded)), Left::Never(Superseded)),
        ] {
            let now = stands.map(|(state, reason)| step(state, reason));
            assert_eq!(wish.left(now.as_ref()), left, "{wish:?} {stands:?}");
        }
    }

    #[test]
    fn serials_have_one_spelling() {
        let serial_ = "5a0102030405060708090a0b0c0d0e0f";
        assert_eq!(serial(serial_).as_deref(), Some(serial_));
        assert_eq!(serial(&serial_.to_uppercase()).as_deref(), Some(serial_));
        assert_eq!(
            serial("5A:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f").as_deref(),
            Some(serial_)
        );
        for other in [
            "",
            "GW-7F3K-00412",
            "5a",
            &format!("{serial_}0"),
            &serial_.replace('a', "g"),
        ] {
            assert_eq!(serial(other), None, "{other}");
        }
    }

    #[test]
    fn files_name_their_targets() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            targets(&file).map_err(|failure| failure.exit)
        };
        let two = Ok(vec!["gw-1".to_owned(), "gw-2".to_owned()]);
        assert_eq!(read("gw-1\n\n# found in the lake\n  gw-2  \n"), two);
        assert_eq!(read("\"gw-1\",active,IFX\ngw-2;x\n"), two);
        assert_eq!(
            read(r#"{"schema":"holdfast.devices.v1","items":[{"name":"gw-1"},{"serial":"gw-2"}],"next":null}"#),
            two
        );
        for bad in [
            "",
            "# nothing\n",
            "{",
            "{}",
            r#"{"items":[{}]}"#,
            r#"{"items":[{"name":"gw-1"}],"next":"7"}"#,
        ] {
            assert_eq!(read(bad), Err(Exit::Usage), "{bad}");
        }
        assert_eq!(
            targets(&directory.path().join("none")).unwrap_err().exit,
            Exit::NotFound
        );
    }
}
