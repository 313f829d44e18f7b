//! Finding devices by what was proven about them.
//!
//! A list is in the order of row ids, and its cursor is one: what comes or goes meanwhile shifts nothing. Which index
//! carries a question is decided here and not left to either engine: the lot's when there is a lot; else, when something
//! is said about the TPM, one range for each kind of TPM (maker, model, firmware) that fits. Kinds are few, also among
//! a million devices, and are read off the index one step each.

use diesel::prelude::*;

use crate::fixed::Issued;
use crate::link::{Fault, Link, on};
use crate::read;
use crate::rows::{DeviceFilter, DeviceRow, Page};
use crate::tables::{certificate, device, identity};

/// When no more identities than this end before the day that is asked for, the devices are taken from among them; where
/// more do, the list goes through those that end in the order of devices, and meets a page's worth soon.
const FEW: i64 = 2_000;

/// The same where a lot or a kind of TPM is asked for, too: where more end, its devices are looked at.
const FEW_OF_SOME: i64 = 20_000;

/// Devices that are looked at in one question.
const PART: usize = 1000;

/// Maker, model and firmware as stored.
type Kind = (String, String, String);

pub(crate) fn devices(
    link: &mut Link,
    filter: &DeviceFilter,
    after: Option<i64>,
    limit: u32,
) -> Result<Page<DeviceRow>, Fault> {
    let texts = [
        &filter.name_contains,
        &filter.batch,
        &filter.manufacturer,
        &filter.model,
    ];
    if texts.into_iter().flatten().any(|t| t.contains('\0')) {
        return Ok(Page {
            items: Vec::new(),
            next: None,
        });
    }
    let limit = limit.max(1);
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let wanted = i64::from(limit).saturating_add(1);
    let of_tpm = filter.manufacturer.is_some() || filter.model.is_some() || filter.firmware.is_some();
    let kinds = if of_tpm { Some(kinds(link, filter)?) } else { None };
    let ending = match filter.expires_before {
        Some(before) if of_tpm || filter.batch.is_some() => ending(link, before, FEW_OF_SOME)?,
        Some(before) => ending(link, before, FEW)?,
        None => None,
    };
    let mut ids = Vec::new();
    match (&ending, &kinds, filter.expires_before) {
        (Some(devices), ..) => {
            let first = devices.partition_point(|id| after.is_some_and(|after| *id <= after));
            for part in devices.get(first..).unwrap_or_default().chunks(PART) {
                if ids.len() > size {
                    break;
                }
                ids.extend(ids_of(
                    link,
                    filter,
                    &Among::These(part, kinds.as_deref()),
                    after,
                    wanted,
                )?);
            }
        }
        (None, Some(kinds), _) if filter.batch.is_none() => {
            for kind in kinds {
                ids.extend(ids_of(link, filter, &Among::Kind(kind), after, wanted)?);
            }
            ids.sort_unstable();
        }
        (None, None, Some(before)) if filter.batch.is_none() => {
            // The first page's worth is enough unless a name is asked for, too.
            let (mut at, mut count) = (after, size.saturating_add(1).min(PART));
            while ids.len() <= size {
                let part = ending_after(link, before, at, count)?;
                let Some(last) = part.last() else { break };
                (at, count) = (Some(*last), PART);
                ids.extend(ids_of(link, filter, &Among::These(&part, None), after, wanted)?);
            }
        }
        (None, kinds, _) => ids = ids_of(link, filter, &Among::All(kinds.as_deref()), after, wanted)?,
    }
    let more = ids.len() > size;
    ids.truncate(size);
    let next = if more { ids.last().copied() } else { None };
    let items = read::devices_by_id(link, &ids)?;
    Ok(Page { items, next })
}

/// Where devices are looked for.
enum Among<'a> {
    /// All, or the lot's; of these kinds, if any are said.
    All(Option<&'a [Kind]>),
    /// These devices; of these kinds, if any are said.
    These(&'a [i64], Option<&'a [Kind]>),
    /// Those of one kind of TPM, by its index.
    Kind(&'a Kind),
}

/// Ids in rising order, from `after` on, at most `wanted`.
fn ids_of(
    link: &mut Link,
    filter: &DeviceFilter,
    among: &Among<'_>,
    after: Option<i64>,
    wanted: i64,
) -> Result<Vec<i64>, Fault> {
    Ok(on!(link, c => {
        let mut query = device::table.select(device::id).order(device::id).limit(wanted).into_boxed();
        if let Some(after) = after {
            query = query.filter(device::id.gt(after));
        }
        if let Among::These(ids, _) = among {
            query = query.filter(device::id.eq_any(*ids));
        }
        match among {
            Among::Kind((manufacturer, model, version)) => {
                query = query
                    .filter(device::manufacturer.eq(manufacturer))
                    .filter(device::model.eq(model))
                    .filter(device::version.eq(version));
            }
            Among::All(Some(kinds)) | Among::These(_, Some(kinds)) => {
                // What is put together is in no index: the lot's, or the ids, carry this.
                let of = |part: fn(&Kind) -> &String| kinds.iter().map(part).collect::<Vec<_>>();
                query = query.filter(device::version.concat("").eq_any(of(|k| &k.2)));
                if let Some(manufacturer) = &filter.manufacturer {
                    query = query.filter(device::manufacturer.concat("").eq(manufacturer));
                }
                if let Some(model) = &filter.model {
                    query = query.filter(device::model.concat("").eq(model));
                }
            }
            Among::All(None) | Among::These(_, None) => {}
        }
        if let Some(part) = filter.name_contains.as_deref().filter(|p| !p.is_empty()) {
            query = query.filter(replace(device::name, part, "").ne(device::name));
        }
        if let Some(batch) = &filter.batch {
            query = query.filter(device::batch.eq(batch));
        }
        if let Some(before) = filter.expires_before {
            let ending = identity::table
                .inner_join(certificate::table)
                .filter(identity::device_id.eq(device::id))
                .filter(certificate::state.eq(Issued))
                .filter(certificate::not_after.lt(before))
                // Asked for one device after the other until the page is full: PostgreSQL would join all that end with all
                // devices before it sorts out the first ones.
                .offset(0);
            query = query.filter(diesel::dsl::exists(ending));
        }
        query.load(c)
    })?)
}

diesel::define_sql_function! {
    /// `replace`, which both engines have: a text that changes when the needle is taken out contains it, byte for
    /// byte. (LIKE folds case on one engine only.)
    fn replace(text: diesel::sql_types::Text, needle: diesel::sql_types::Text, by: diesel::sql_types::Text) -> diesel::sql_types::Text;
}

/// Devices with an identity that ends before this, in the order of their ids, when there are so few.
fn ending(link: &mut Link, before: i64, few: i64) -> Result<Option<Vec<i64>>, Fault> {
    let mut found: Vec<i64> = on!(link, c => identity::table
        .filter(identity::not_after.lt(before))
        .select(identity::device_id)
        .limit(few.saturating_add(1))
        .load(c))?;
    if i64::try_from(found.len()).is_ok_and(|count| count > few) {
        return Ok(None);
    }
    found.sort_unstable();
    found.dedup();
    Ok(Some(found))
}

/// The next devices with an identity that ends before this, in the order of their ids: read off one index
/// (`identity_device_end`), which many that end later make longer, and nothing else.
fn ending_after(link: &mut Link, before: i64, after: Option<i64>, count: usize) -> Result<Vec<i64>, Fault> {
    let mut found: Vec<i64> = on!(link, c => identity::table
        .filter(identity::not_after.lt(before))
        .filter(identity::device_id.gt(after.unwrap_or(i64::MIN)))
        .order(identity::device_id)
        .select(identity::device_id)
        .limit(i64::try_from(count).unwrap_or(i64::MAX))
        .load(c))?;
    found.dedup();
    Ok(found)
}

/// Every kind of TPM that fits: one step in the index for each maker, model and version.
fn kinds(link: &mut Link, filter: &DeviceFilter) -> Result<Vec<Kind>, Fault> {
    let mut kinds = Vec::new();
    let mut maker = filter
        .manufacturer
        .clone()
        .map_or_else(|| next_maker(link, None), |m| Ok(Some(m)))?;
    while let Some(manufacturer) = maker {
        let mut kind = filter
            .model
            .clone()
            .map_or_else(|| next_model(link, &manufacturer, None), |m| Ok(Some(m)))?;
        while let Some(model) = kind {
            let mut version = next_version(link, &manufacturer, &model, None)?;
            while let Some(text) = version {
                version = next_version(link, &manufacturer, &model, Some(&text))?;
                if filter.firmware.is_none_or(|rule| rule.holds(&text)) {
                    kinds.push((manufacturer.clone(), model.clone(), text));
                }
            }
            kind = if filter.model.is_some() {
                None
            } else {
                next_model(link, &manufacturer, Some(&model))?
            };
        }
        maker = if filter.manufacturer.is_some() {
            None
        } else {
            next_maker(link, Some(&manufacturer))?
        };
    }
    Ok(kinds)
}

/// The next text of a column after `last`, among some devices.
macro_rules! next {
    ($link:expr, $column:path, $last:expr, $among:expr) => {{
        let found: Option<Option<String>> = on!($link, c => {
            let mut query = $among.filter($column.is_not_null()).select($column).order($column).limit(1).into_boxed();
            if let Some(last) = $last {
                query = query.filter($column.gt(last));
            }
            query.first(c).optional()
        })?;
        Ok(found.flatten())
    }};
}

fn next_maker(link: &mut Link, last: Option<&str>) -> Result<Option<String>, Fault> {
    next!(link, device::manufacturer, last, device::table)
}

fn next_model(link: &mut Link, manufacturer: &str, last: Option<&str>) -> Result<Option<String>, Fault> {
    let among = || device::table.filter(device::manufacturer.eq(manufacturer));
    next!(link, device::model, last, among())
}

fn next_version(link: &mut Link, manufacturer: &str, model: &str, last: Option<&str>) -> Result<Option<String>, Fault> {
    let among = || {
        device::table
            .filter(device::manufacturer.eq(manufacturer))
            .filter(device::model.eq(model))
    };
    next!(link, device::version, last, among())
}
