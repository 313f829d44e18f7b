//! A device that a manifest names comes.

use diesel::prelude::*;

use super::ExpectedDevice;
use crate::link::{Fault, Link, on};
use crate::rows::{AllowDevice, DeviceRow, NewDeviceError};
use crate::tables::{NewAudit, device, expected, manifest};
use crate::{inventory, read, replacement};

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

/// A device that was expected has come, with this EK, or with the IAK of a TPM that has it: it is in the inventory from now
/// on, with every EK that its manifest names.
pub(crate) fn arrive(
    link: &mut Link,
    ek: &[u8; 32],
    iak: Option<&[u8; 32]>,
    record: &NewAudit,
) -> Result<Result<Option<DeviceRow>, NewDeviceError>, Fault> {
    let Some(said) = expected(link, ek)? else {
        return Ok(Ok(None));
    };
    let new = AllowDevice {
        ek_kind: None,
        name: said.serial.clone(),
        ek_spki_sha256: Some(*ek),
        iak_spki_sha256: iak.copied(),
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
