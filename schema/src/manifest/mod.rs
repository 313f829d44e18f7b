//! Manifests: which devices are said to come. Read in parts, each written with how far it got; nothing is expected before the
//! last line was read.

mod arrive;
mod known;
mod named;
mod part;
mod rows;

use diesel::prelude::*;

use crate::link::{Fault, Link, on};
use crate::rows::Page;
use crate::tables::{NewAudit, manifest, refused_line};
use crate::{keeping, read, seal};

pub(crate) use arrive::{arrive, expected};
pub(crate) use named::{lines, named, standing};
pub(crate) use part::part;
pub use rows::{
    ExpectedDevice, ManifestEntry, ManifestError, ManifestPart, ManifestRow, ManifestState, NewExpected, NewManifest,
};

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
    let after = seal::row(link, "manifest", stored.id)?;
    keeping::audit(link, &[record.changed(None, after)])?;
    Ok(Ok(stored.into_row()?))
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
    let before = seal::row(link, "manifest", id)?;
    on!(link, c => diesel::update(manifest::table.find(id)).set(manifest::state.eq("withdrawn")).execute(c))?;
    let after = seal::row(link, "manifest", id)?;
    keeping::audit(link, &[record.changed(before, after)])?;
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
