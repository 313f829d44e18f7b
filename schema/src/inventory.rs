//! Devices: what is written about them by people.

use attest::AnchorKind;
use diesel::prelude::*;

use crate::StoreError;
use crate::link::{Fault, Link, on};
use crate::read::{self, StoredDevice};
use crate::rows::{AllowDevice, DeviceRow, NewDeviceError};
use crate::seal;
use crate::tables::{NewAudit, device, ek_allowed};

/// Longest name, batch in characters; the tables hold the same.
const LONGEST: usize = 255;

/// Put a device into the inventory.
pub(crate) fn allow(
    link: &mut Link,
    new: &AllowDevice,
    record: &NewAudit,
) -> Result<Result<DeviceRow, NewDeviceError>, Fault> {
    if let Some(e) = unfit(new) {
        return Ok(Err(NewDeviceError::Store(StoreError::Unavailable(e))));
    }
    if let Some(found) = read::device_by_name(link, &new.name)? {
        if !same(&found, new) {
            return Ok(Err(NewDeviceError::NameTaken(new.name.clone())));
        }
        return Ok(match vouch(link, new, record)? {
            Err(taken) => Err(taken),
            // Nothing new was said: no effect, no record.
            Ok(None) => Ok(found),
            Ok(Some(after)) => {
                crate::keeping::audit(link, &[record.changed(None, Some(after))])?;
                Ok(found)
            }
        });
    }
    if let Some(ek) = &new.ek_spki_sha256
        && let Some(owner) = crate::replacement::owner(link, ek)?
    {
        return Ok(Err(match owner.replacement {
            None => NewDeviceError::EkTaken(owner.device),
            Some(_) => NewDeviceError::EkReplaced(owner.device),
        }));
    }
    if let Some(iak) = &new.iak_spki_sha256
        && let Some(gone) = crate::replacement::iak_gone(link, iak)?
    {
        return Ok(Err(NewDeviceError::IakReplaced(gone.device)));
    }
    if let Some(iak) = &new.iak_spki_sha256
        && let Some(other) = read::device_by_iak(link, iak)?
    {
        return Ok(Err(NewDeviceError::IakTaken(other.name)));
    }
    if let Err(taken) = vouch(link, new, record)? {
        return Ok(Err(taken));
    }
    let dns_names = serde_json::to_string(&new.dns_names).map_err(|e| Fault::Failed(e.to_string()))?;
    let stored: StoredDevice = on!(link, c => diesel::insert_into(device::table)
        .values((
            device::name.eq(&new.name),
            device::ek_spki_sha256.eq(new.ek_spki_sha256.as_ref().map(<[u8; 32]>::as_slice)),
            device::iak_spki_sha256.eq(new.iak_spki_sha256.as_ref().map(<[u8; 32]>::as_slice)),
            device::first_contact_until.eq(new.first_contact_until),
            device::held.eq(false),
            device::batch.eq(&new.batch),
            device::dns_names.eq(&dns_names),
            device::spiffe_id.eq(&new.spiffe_id),
            device::created_at.eq(record.at),
        ))
        .returning(StoredDevice::as_returning())
        .get_result(c))?;
    let id: i64 = on!(link, c => device::table.filter(device::name.eq(&new.name)).select(device::id).first(c))?;
    let after = seal::row(link, "device", id)?;
    crate::keeping::audit(link, &[record.changed(None, after)])?;
    Ok(Ok(stored.into_row(None)?))
}

/// Write down what kind of TPM the EK is in, if that is said and new; its digest.
fn vouch(
    link: &mut Link,
    new: &AllowDevice,
    record: &NewAudit,
) -> Result<Result<Option<[u8; 32]>, NewDeviceError>, Fault> {
    let (Some(ek), Some(kind)) = (&new.ek_spki_sha256, new.ek_kind) else {
        return Ok(Ok(None));
    };
    match ek_allowed(link, ek)? {
        Some(found) if found == kind => return Ok(Ok(None)),
        Some(other) => return Ok(Err(NewDeviceError::EkKind(word(other)))),
        None => {}
    }
    on!(link, c => diesel::insert_into(ek_allowed::table)
        .values((
            ek_allowed::ek_spki_sha256.eq(ek.as_slice()),
            ek_allowed::kind.eq(word(kind)),
            ek_allowed::actor.eq(&record.actor),
            ek_allowed::at.eq(record.at),
        ))
        .execute(c))?;
    Ok(Ok(seal::row_of(link, "ek_allowed", ek)?))
}

/// What kind of TPM an EK is in, if somebody vouched for it.
pub(crate) fn ek_allowed(link: &mut Link, ek: &[u8; 32]) -> Result<Option<AnchorKind>, Fault> {
    let found: Option<String> = on!(link, c => ek_allowed::table
        .filter(ek_allowed::ek_spki_sha256.eq(ek.as_slice()))
        .select(ek_allowed::kind)
        .first(c)
        .optional())?;
    found
        .map(|text| {
            KINDS
                .into_iter()
                .find(|kind| word(*kind) == text)
                .ok_or_else(|| Fault::Failed(format!("ek_allowed: kind `{text}`")))
        })
        .transpose()
}

const KINDS: [AnchorKind; 3] = [AnchorKind::Hardware, AnchorKind::Virtual, AnchorKind::Software];

fn word(kind: AnchorKind) -> &'static str {
    match kind {
        AnchorKind::Hardware => "hardware",
        AnchorKind::Virtual => "virtual",
        AnchorKind::Software => "software",
    }
}

/// Hold or release a device; whether it exists. What stands so already is a success and writes nothing.
pub(crate) fn hold(link: &mut Link, name: &str, held: bool, record: &NewAudit) -> Result<bool, Fault> {
    if name.contains('\0') {
        return Ok(false);
    }
    let found = device::table
        .filter(device::name.eq(name))
        .filter(device::held.ne(held))
        .select(device::id);
    let id: Option<i64> = match link {
        Link::Sqlite(c) => found.first(c).optional()?,
        Link::Postgres(c) => found.for_no_key_update().first(c).optional()?,
    };
    let Some(id) = id else {
        return Ok(read::device_by_name(link, name)?.is_some());
    };
    let before = seal::row(link, "device", id)?;
    on!(link, c => diesel::update(device::table.find(id)).set(device::held.eq(held)).execute(c))?;
    if !held {
        crate::clock::forget(link, name)?;
    }
    let after = seal::row(link, "device", id)?;
    crate::keeping::audit(link, &[record.changed(before, after)])?;
    Ok(true)
}

/// What the two engines would not take alike.
fn unfit(new: &AllowDevice) -> Option<String> {
    let mut texts = [Some(&new.name), new.batch.as_ref(), new.spiffe_id.as_ref()]
        .into_iter()
        .flatten();
    let long = |t: &str| t.chars().count() > LONGEST;
    if new.name.is_empty() || long(&new.name) || new.batch.as_deref().is_some_and(long) {
        Some(format!(
            "a device's name and lot have at most {LONGEST} characters, the name at least one"
        ))
    } else if texts.any(|t| t.contains('\0')) {
        Some("a device's texts have no U+0000".to_owned())
    } else {
        None
    }
}

fn same(found: &DeviceRow, new: &AllowDevice) -> bool {
    // What was not named, and came of itself at first contact or with an IAK's certificate, is not other content.
    let came = |stored: Option<[u8; 32]>, named: Option<[u8; 32]>, of_itself: bool| {
        stored == named || (named.is_none() && stored.is_some() && of_itself)
    };
    let first_contact = found.first_contact_until.is_some();
    let by_iak = found.iak_spki_sha256.is_some();
    came(
        found.ek_spki_sha256,
        new.ek_spki_sha256,
        by_iak || (found.tpm.is_some() && first_contact),
    ) && came(
        found.iak_spki_sha256,
        new.iak_spki_sha256,
        first_contact || new.ek_spki_sha256.is_some(),
    ) && found.first_contact_until == new.first_contact_until
        && found.dns_names == new.dns_names
        && found.spiffe_id == new.spiffe_id
        && found.batch == new.batch
}
