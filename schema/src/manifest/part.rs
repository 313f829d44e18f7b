//! One part of a manifest: each line judged, and written down with how far the reading got.

use std::collections::HashSet;

use diesel::prelude::*;

use super::known::Known;
use super::{ManifestError, ManifestPart, ManifestRow, ManifestState, find, number};
use crate::link::{Fault, Link, insert, on};
use crate::tables::{NewAudit, expected, expected_identity, manifest, refused_line};
use crate::{keeping, seal};

/// Longest reason of a refused line, in characters; the table holds the same.
const LONGEST: usize = 500;

/// PostgreSQL: two servers that read two manifests judge one part after the other.
const LOCK: i64 = 0x6d61_6e69_6665_7374;

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
    let (mut rows, mut identities, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    let mut here: HashSet<[u8; 32]> = HashSet::new();
    for (line, position) in new.lines.iter().zip(new.from..) {
        let verdict = line.as_ref().map_err(Clone::clone).and_then(|device| {
            known.judge(&now, device)?;
            match device.ek.iter().chain(&device.was).find(|ek| here.contains(*ek)) {
                Some(ek) => Err(format!("EK {}: another line of this manifest has it", hex::encode(ek))),
                None => match device.iak.iter().chain(&device.idevid).find(|one| here.contains(*one)) {
                    Some(one) => Err(format!(
                        "certificate {}: another line of this manifest has it",
                        hex::encode(one)
                    )),
                    None => Ok(device),
                },
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
                let iak = device.iak.iter().map(|one| (one, "iak"));
                for (one, kind) in iak.chain(device.idevid.iter().map(|one| (one, "idevid"))) {
                    here.insert(*one);
                    identities.push((
                        expected_identity::manifest_id.eq(new.manifest),
                        expected_identity::position.eq(position),
                        expected_identity::serial.eq(&device.serial),
                        expected_identity::kind.eq(kind),
                        expected_identity::certificate_sha256.eq(one.as_slice()),
                    ));
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
    insert!(link, expected_identity::table, &identities);
    insert!(link, refused_line::table, &refusals);
    let state = if upto < now.entries {
        ManifestState::Open
    } else if new.root != now.root || (now.all_or_nothing && refused > 0) {
        ManifestState::Refused
    } else {
        ManifestState::Complete
    };
    let before = match state {
        ManifestState::Open => None,
        _ => seal::row(link, "manifest", new.manifest)?,
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
            ..record.changed(before, seal::row(link, "manifest", new.manifest)?)
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
