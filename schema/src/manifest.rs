//! Manifests: which devices are said to come. Read in parts, each written with how far it got; nothing is expected before the
//! last line was read.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;

use crate::StoreError;
use crate::among::among;
use crate::link::{Fault, Link, insert, on};
use crate::read;
use crate::rows::{AllowDevice, DeviceRow, NewDeviceError, Page};
use crate::tables::{NewAudit, device, ek_owner, expected, manifest, refused_line};
use crate::{inventory, keeping, replacement};

/// Longest reason of a refused line, in characters; the table holds the same.
const LONGEST: usize = 500;

/// PostgreSQL: two servers that read two manifests judge one part after the other.
const LOCK: i64 = 0x6d61_6e69_6665_7374;

/// Where a manifest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestState {
    /// It is being read; nothing is expected yet.
    Open,
    /// It was read to its end; its good lines are expected.
    Complete,
    /// A bad line where none may be, or lines that are not the signed ones: nothing of it is expected.
    Refused,
    /// Taken back: what has not come is not expected any more.
    Withdrawn,
}

impl ManifestState {
    /// As it is stored and told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Complete => "complete",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        [Self::Open, Self::Complete, Self::Refused, Self::Withdrawn]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A signed manifest that is to be read.
#[derive(Clone, Debug)]
pub struct NewManifest {
    /// Root over header and devices.
    pub root: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo of the key whose signature was verified.
    pub signer_sha256: [u8; 32],
    /// `lot`, `transfer` or `repair`.
    pub kind: &'static str,
    /// Name of the lot.
    pub lot: String,
    /// First line.
    pub header: String,
    /// Last line: the signature.
    pub seal: String,
    /// Devices it has.
    pub entries: u64,
    /// One bad line, and none of them is expected.
    pub all_or_nothing: bool,
    /// The tree over the header.
    pub tree: Vec<u8>,
}

/// A manifest on record.
#[derive(Clone, Debug)]
pub struct ManifestRow {
    /// Its number.
    pub id: i64,
    /// Root over header and devices.
    pub root: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo of the key that signed it.
    pub signer_sha256: [u8; 32],
    /// `lot`, `transfer` or `repair`.
    pub kind: String,
    /// First line.
    pub header: String,
    /// Devices it has.
    pub entries: u64,
    /// One bad line, and none of them is expected.
    pub all_or_nothing: bool,
    /// Who imported it.
    pub imported_by: String,
    /// When it was begun, unix seconds.
    pub imported_at: i64,
    /// Where it stands.
    pub state: ManifestState,
    /// Lines of devices that were read.
    pub lines_read: u64,
    /// Of them, refused.
    pub lines_refused: u64,
    /// The tree over what was read.
    pub tree: Vec<u8>,
    /// Serial of the last good line; at first empty.
    pub last_serial: String,
}

/// Some lines of a manifest, read.
#[derive(Clone, Debug)]
pub struct ManifestPart {
    /// Number of the manifest.
    pub manifest: i64,
    /// Position of the first line.
    pub from: u64,
    /// The lines in their order: a device, or why the line is none.
    pub lines: Vec<Result<NewExpected, String>>,
    /// The tree after the last of them.
    pub tree: Vec<u8>,
    /// Root of that tree: at the end it is that of the manifest.
    pub root: [u8; 32],
    /// Serial of the last good line.
    pub last_serial: String,
}

/// A device of a manifest.
#[derive(Clone, Debug)]
pub struct NewExpected {
    /// Serial: its name in the inventory.
    pub serial: String,
    /// SHA-256 of the SubjectPublicKeyInfo of each EK.
    pub ek: Vec<[u8; 32]>,
    /// The same of those that went with a repair.
    pub was: Vec<[u8; 32]>,
}

/// A device that a manifest says will come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedDevice {
    /// Serial: its name in the inventory.
    pub serial: String,
    /// Number of the manifest.
    pub manifest: i64,
    /// Lot.
    pub lot: String,
}

/// Why a manifest was not read on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ManifestError {
    /// There is no such manifest.
    #[error("there is no such manifest")]
    NotFound,
    /// The signer named this lot before, and said something else.
    #[error("lot `{lot}` of this signer is manifest {id}, and that one has another root")]
    LotTaken {
        /// Its name.
        lot: String,
        /// The manifest that has it.
        id: i64,
    },
    /// It was begun on other terms.
    #[error("it was begun as manifest {0}, {1}: go on so, or withdraw it first")]
    OtherTerms(i64, &'static str),
    /// Another part comes next.
    #[error("the next line is {0}")]
    OutOfStep(u64),
    /// It is not open any more.
    #[error("it is {}", .0.as_str())]
    Closed(ManifestState),
    /// Storage.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = manifest)]
struct Stored {
    id: i64,
    root: Vec<u8>,
    signer_sha256: Vec<u8>,
    kind: String,
    header: String,
    entries: i64,
    all_or_nothing: i64,
    imported_by: String,
    imported_at: i64,
    state: String,
    lines_read: i64,
    lines_refused: i64,
    tree: Vec<u8>,
    last_serial: String,
}

impl Stored {
    fn into_row(self) -> Result<ManifestRow, Fault> {
        let count = |n: i64| u64::try_from(n).map_err(|e| Fault::Failed(e.to_string()));
        Ok(ManifestRow {
            id: self.id,
            root: read::array(self.root)?,
            signer_sha256: read::array(self.signer_sha256)?,
            kind: self.kind,
            header: self.header,
            entries: count(self.entries)?,
            all_or_nothing: self.all_or_nothing != 0,
            imported_by: self.imported_by,
            imported_at: self.imported_at,
            state: ManifestState::from_text(&self.state)
                .ok_or_else(|| Fault::Failed(format!("manifest `{}`", self.state)))?,
            lines_read: count(self.lines_read)?,
            lines_refused: count(self.lines_refused)?,
            tree: self.tree,
            last_serial: self.last_serial,
        })
    }
}

fn number(count: u64) -> Result<i64, Fault> {
    i64::try_from(count).map_err(|e| Fault::Failed(e.to_string()))
}

/// Begin to read a manifest, or go on: the same one is found again.
pub(crate) fn open(
    link: &mut Link,
    new: &NewManifest,
    record: &NewAudit,
) -> Result<Result<ManifestRow, ManifestError>, Fault> {
    let standing: Option<Stored> = on!(link, c => manifest::table
        .filter(manifest::signer_sha256.eq(new.signer_sha256.as_slice()))
        .filter(manifest::lot.eq(&new.lot))
        .filter(manifest::state.eq_any(["open", "complete"]))
        .select(Stored::as_select())
        .first(c)
        .optional())?;
    if let Some(found) = standing {
        let found = found.into_row()?;
        let (id, lot) = (found.id, new.lot.clone());
        return Ok(if found.root != new.root {
            Err(ManifestError::LotTaken { lot, id })
        } else if found.state == ManifestState::Open && found.all_or_nothing != new.all_or_nothing {
            let terms = if found.all_or_nothing {
                "all or nothing"
            } else {
                "line by line"
            };
            Err(ManifestError::OtherTerms(id, terms))
        } else {
            Ok(found)
        });
    }
    let stored: Stored = on!(link, c => diesel::insert_into(manifest::table)
        .values((
            manifest::root.eq(new.root.as_slice()),
            manifest::signer_sha256.eq(new.signer_sha256.as_slice()),
            manifest::kind.eq(new.kind),
            manifest::lot.eq(&new.lot),
            manifest::header.eq(&new.header),
            manifest::seal.eq(&new.seal),
            manifest::entries.eq(number(new.entries)?),
            manifest::all_or_nothing.eq(i64::from(new.all_or_nothing)),
            manifest::imported_by.eq(&record.actor),
            manifest::imported_at.eq(record.at),
            manifest::state.eq("open"),
            manifest::lines_read.eq(0),
            manifest::lines_refused.eq(0),
            manifest::tree.eq(&new.tree),
            manifest::last_serial.eq(""),
        ))
        .returning(Stored::as_returning())
        .get_result(c))?;
    keeping::audit(link, std::slice::from_ref(record))?;
    Ok(Ok(stored.into_row()?))
}

/// Write down what a part says; with the last line the manifest is complete, or refused.
pub(crate) fn part(
    link: &mut Link,
    new: &ManifestPart,
    record: &NewAudit,
) -> Result<Result<ManifestRow, ManifestError>, Fault> {
    if let Link::Postgres(_) = link {
        link.run(&format!("SELECT pg_advisory_xact_lock({LOCK})"))?;
    }
    let Some(now) = find(link, new.manifest)? else {
        return Ok(Err(ManifestError::NotFound));
    };
    let length = u64::try_from(new.lines.len()).map_err(|e| Fault::Failed(e.to_string()))?;
    let upto = new.from.saturating_add(length);
    // Heard before: the answer was lost.
    if upto <= now.lines_read {
        return Ok(Ok(now));
    }
    if now.state != ManifestState::Open {
        return Ok(Err(ManifestError::Closed(now.state)));
    }
    if new.from != now.lines_read || upto > now.entries {
        return Ok(Err(ManifestError::OutOfStep(now.lines_read)));
    }
    let known = Known::of(link, new)?;
    let (mut rows, mut refusals) = (Vec::new(), Vec::new());
    let mut here: HashSet<[u8; 32]> = HashSet::new();
    for (line, position) in new.lines.iter().zip(new.from..) {
        let verdict = line.as_ref().map_err(Clone::clone).and_then(|device| {
            known.judge(&now, device)?;
            match device.ek.iter().chain(&device.was).find(|ek| here.contains(*ek)) {
                Some(ek) => Err(format!("EK {}: another line of this manifest has it", hex::encode(ek))),
                None => Ok(device),
            }
        });
        let position = number(position)?;
        match verdict {
            Ok(device) => {
                for (ek, gone) in device
                    .ek
                    .iter()
                    .map(|e| (e, 0))
                    .chain(device.was.iter().map(|e| (e, 1)))
                {
                    here.insert(*ek);
                    rows.push(NewRow {
                        manifest_id: new.manifest,
                        position,
                        serial: &device.serial,
                        ek_spki_sha256: ek.as_slice(),
                        gone,
                    });
                }
            }
            Err(why) => refusals.push((
                refused_line::manifest_id.eq(new.manifest),
                refused_line::position.eq(position),
                refused_line::reason.eq(why.chars().take(LONGEST).collect::<String>()),
            )),
        }
    }
    let refused = now
        .lines_refused
        .saturating_add(u64::try_from(refusals.len()).unwrap_or(u64::MAX));
    insert!(link, expected::table, &rows);
    insert!(link, refused_line::table, &refusals);
    let state = if upto < now.entries {
        ManifestState::Open
    } else if new.root != now.root || (now.all_or_nothing && refused > 0) {
        ManifestState::Refused
    } else {
        ManifestState::Complete
    };
    on!(link, c => diesel::update(manifest::table.find(new.manifest))
        .set((
            manifest::lines_read.eq(number(upto)?),
            manifest::lines_refused.eq(number(refused)?),
            manifest::tree.eq(&new.tree),
            manifest::last_serial.eq(&new.last_serial),
            manifest::state.eq(state.as_str()),
        ))
        .execute(c))?;
    if state != ManifestState::Open {
        let record = NewAudit {
            action: format!("manifest.{}", state.as_str()),
            detail: format!("{}: {upto} lines, {refused} refused", record.detail),
            ..record.clone()
        };
        keeping::audit(link, std::slice::from_ref(&record))?;
    }
    Ok(find(link, new.manifest)?.ok_or(ManifestError::NotFound))
}

#[derive(Insertable)]
#[diesel(table_name = expected)]
struct NewRow<'a> {
    manifest_id: i64,
    position: i64,
    serial: &'a str,
    ek_spki_sha256: &'a [u8],
    gone: i64,
}

/// What the record knows of the serials and EKs of a part.
struct Known {
    /// Whose an EK is, and whether it went with a replacement.
    owners: HashMap<Vec<u8>, (String, bool)>,
    /// Devices of these names, and their EK.
    devices: HashMap<String, Option<Vec<u8>>>,
    /// What manifests that stand say: manifest, lot, serial, whether the EK went; by EK.
    by_ek: HashMap<Vec<u8>, Vec<Word>>,
    /// The same by serial; with the EK.
    by_serial: HashMap<String, Vec<(Vec<u8>, Word)>>,
}

#[derive(Clone)]
struct Word {
    manifest: i64,
    lot: String,
    serial: String,
    gone: bool,
}

impl Known {
    fn of(link: &mut Link, part: &ManifestPart) -> Result<Self, Fault> {
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
        };
        for (ek, said) in by_ek.into_iter().map(word) {
            known.by_ek.entry(ek).or_default().push(said);
        }
        for (ek, said) in by_serial.into_iter().map(word) {
            known.by_serial.entry(said.serial.clone()).or_default().push((ek, said));
        }
        Ok(known)
    }

    /// Whether a device may be expected on the word of this manifest; else why not.
    fn judge(&self, of: &ManifestRow, new: &NewExpected) -> Result<(), String> {
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

/// Take a manifest back; again is a success.
pub(crate) fn withdraw(
    link: &mut Link,
    id: i64,
    record: &NewAudit,
) -> Result<Result<ManifestRow, ManifestError>, Fault> {
    let Some(now) = find(link, id)? else {
        return Ok(Err(ManifestError::NotFound));
    };
    match now.state {
        ManifestState::Withdrawn => return Ok(Ok(now)),
        ManifestState::Refused => return Ok(Err(ManifestError::Closed(now.state))),
        ManifestState::Open | ManifestState::Complete => {}
    }
    on!(link, c => diesel::update(manifest::table.find(id)).set(manifest::state.eq("withdrawn")).execute(c))?;
    keeping::audit(link, std::slice::from_ref(record))?;
    Ok(find(link, id)?.ok_or(ManifestError::NotFound))
}

/// One by its number.
pub(crate) fn find(link: &mut Link, id: i64) -> Result<Option<ManifestRow>, Fault> {
    let found: Option<Stored> = on!(link, c => manifest::table
        .find(id)
        .select(Stored::as_select())
        .first(c)
        .optional())?;
    found.map(Stored::into_row).transpose()
}

/// Newest first, from `before` on.
pub(crate) fn list(link: &mut Link, before: Option<i64>, limit: u32) -> Result<Page<ManifestRow>, Fault> {
    let limit = limit.max(1);
    let rows: Vec<Stored> = on!(link, c => manifest::table
        .filter(manifest::id.lt(before.unwrap_or(i64::MAX)))
        .order(manifest::id.desc())
        .limit(i64::from(limit).saturating_add(1))
        .select(Stored::as_select())
        .load(c))?;
    let mut items: Vec<ManifestRow> = rows.into_iter().map(Stored::into_row).collect::<Result<_, _>>()?;
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > size;
    items.truncate(size);
    let next = if more { items.last().map(|row| row.id) } else { None };
    Ok(Page { items, next })
}

/// Refused lines of a manifest behind a position, in their order: position and reason.
pub(crate) fn refusals(link: &mut Link, id: i64, after: Option<i64>, limit: u32) -> Result<Page<(i64, String)>, Fault> {
    let limit = limit.max(1);
    let mut items: Vec<(i64, String)> = on!(link, c => refused_line::table
        .filter(refused_line::manifest_id.eq(id))
        .filter(refused_line::position.gt(after.unwrap_or(-1)))
        .order(refused_line::position)
        .limit(i64::from(limit).saturating_add(1))
        .select((refused_line::position, refused_line::reason))
        .load(c))?;
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > size;
    items.truncate(size);
    let next = if more { items.last().map(|row| row.0) } else { None };
    Ok(Page { items, next })
}

/// The device that manifests say has this EK. What went with a repair is nobody's.
pub(crate) fn expected(link: &mut Link, ek: &[u8; 32]) -> Result<Option<ExpectedDevice>, Fault> {
    let said: Vec<(String, i64, String, i64)> = on!(link, c => expected::table
        .inner_join(manifest::table)
        .filter(expected::ek_spki_sha256.eq(ek.as_slice()))
        .filter(manifest::state.eq("complete"))
        .order(expected::manifest_id.desc())
        .select((expected::serial, expected::manifest_id, manifest::lot, expected::gone))
        .load(c))?;
    if said.iter().any(|(_, _, _, gone)| *gone != 0) {
        return Ok(None);
    }
    let newest = said.into_iter().next();
    Ok(newest.map(|(serial, manifest, lot, _)| ExpectedDevice { serial, manifest, lot }))
}

/// A device that was expected has come: it is in the inventory from now on, with every EK that its manifest names.
pub(crate) fn arrive(
    link: &mut Link,
    ek: &[u8; 32],
    record: &NewAudit,
) -> Result<Result<Option<DeviceRow>, NewDeviceError>, Fault> {
    let Some(said) = expected(link, ek)? else {
        return Ok(Ok(None));
    };
    let new = AllowDevice {
        ek_kind: None,
        name: said.serial.clone(),
        ek_spki_sha256: Some(*ek),
        iak_spki_sha256: None,
        first_contact_until: None,
        dns_names: Vec::new(),
        spiffe_id: None,
        batch: Some(said.lot.clone()),
    };
    let row = match inventory::allow(link, &new, record)? {
        Ok(row) => row,
        Err(refused) => return Ok(Err(refused)),
    };
    let others: Vec<Vec<u8>> = on!(link, c => expected::table
        .filter(expected::serial.eq(&said.serial))
        .filter(expected::manifest_id.eq(said.manifest))
        .filter(expected::gone.eq(0))
        .select(expected::ek_spki_sha256)
        .load(c))?;
    let id: i64 = on!(link, c => device::table.filter(device::name.eq(&said.serial)).select(device::id).first(c))?;
    for other in others {
        let other = read::array(other)?;
        if replacement::owner(link, &other)?.is_none() {
            replacement::own(link, id, &other, record.at, crate::rows::EkShown::Named)?;
        }
    }
    Ok(Ok(Some(row)))
}
