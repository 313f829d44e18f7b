//! Whose an IAK is: by the record, by a manifest, by the name it claims; and whether its certificate is the one that the
//! manifest names.

use attest::{IakFacts, VerifiedBinding};
use schema::{DeviceRow, ManifestEntry};

use super::{ActivateError, arrival, claimant, not_arrived};
use crate::flow::failure::Trouble;
use crate::house::House;

/// The device of this IAK; of the EK that its certificate names; of the certificates that a manifest names; before first
/// contact, of the name it claims. Where a manifest names the device's certificates, another one is refused, whoever
/// vouches for it.
pub(super) fn known(
    house: &House,
    binding: &VerifiedBinding,
    iak: &IakFacts,
) -> Result<Option<DeviceRow>, ActivateError> {
    let claimed = binding.context().device.as_deref();
    let row = recorded(house, iak)?;
    let said = entry(house, iak, row.as_ref().map(|row| row.name.as_str()), claimed)?;
    match (row, said) {
        (Some(row), Some(said)) => {
            names_it(&said, iak)?;
            Ok(Some(row))
        }
        (Some(row), None) => Ok(Some(row)),
        (None, Some(said)) => {
            names_it(&said, iak)?;
            arrive(house, iak, &said, claimed)
        }
        (None, None) => claimant(house, "IAK", &iak.spki_sha256, claimed),
    }
}

/// The device of this IAK, or of the EK that its certificate names, as the inventory has it.
fn recorded(house: &House, iak: &IakFacts) -> Result<Option<DeviceRow>, ActivateError> {
    let refuse = |reason, detail| Err(ActivateError::Attestation { reason, detail });
    let by_ek = match &iak.ek_spki_sha256 {
        None => None,
        Some(ek) => house.store.ek_owner(ek).map_err(Trouble::from)?,
    };
    if let Some(owner) = by_ek.as_ref().filter(|owner| owner.replacement.is_some()) {
        let detail = format!("this TPM was device `{}` until it was replaced", owner.device);
        return refuse("EK_REPLACED", detail);
    }
    if let Some(gone) = house.store.iak_gone(&iak.spki_sha256).map_err(Trouble::from)? {
        let detail = format!("this TPM was device `{}` until it was replaced", gone.device);
        return refuse("EK_REPLACED", detail);
    }
    let by_iak = house.store.device_by_iak(&iak.spki_sha256).map_err(Trouble::from)?;
    match (by_iak, by_ek) {
        (Some(row), Some(owner)) if owner.device != row.name => {
            let detail = format!(
                "device `{}` by this IAK, device `{}` by the EK that its certificate names, and one TPM",
                row.name, owner.device
            );
            refuse("EK_DUPLICATE", detail)
        }
        (Some(row), None) => Ok(Some(row)),
        // The EK that is named is one of this device's: it is known by that one now.
        (Some(row), Some(_)) => Ok(Some(DeviceRow {
            ek_spki_sha256: iak.ek_spki_sha256,
            ..row
        })),
        (None, Some(owner)) => {
            let row = house.store.device_by_name(&owner.device).map_err(Trouble::from)?;
            Ok(row.map(|row| DeviceRow {
                ek_spki_sha256: iak.ek_spki_sha256,
                ..row
            }))
        }
        (None, None) => Ok(None),
    }
}

/// The line of a manifest that stands for the device. Which device that is: the record says it, else the certificate that a
/// manifest names, else the EK in it, else the name claimed.
fn entry(
    house: &House,
    iak: &IakFacts,
    recorded: Option<&str>,
    claimed: Option<&str>,
) -> Result<Option<ManifestEntry>, ActivateError> {
    let store = &house.store;
    let mut named: Option<String> = None;
    for certificate in [Some(&iak.certificate_sha256), iak.idevid_sha256.as_ref()]
        .into_iter()
        .flatten()
    {
        let serial = store.named_by_certificate(certificate).map_err(Trouble::from)?;
        // By the record, or by the certificate before.
        if let (Some(serial), Some(name)) = (&serial, recorded.or(named.as_deref()))
            && serial != name
        {
            return another(format!(
                "a manifest says that certificate {} is `{serial}`'s, and this is device `{name}`",
                hex::encode(certificate)
            ));
        }
        named = named.or(serial);
    }
    let by_ek = match (&named, &iak.ek_spki_sha256) {
        (None, Some(ek)) => store.expected(ek).map_err(Trouble::from)?.map(|said| said.serial),
        _ => None,
    };
    let serial = recorded.map(ToOwned::to_owned).or(named).or(by_ek);
    match serial.as_deref().or(claimed) {
        None => Ok(None),
        Some(serial) => Ok(store.manifest_entry(serial).map_err(Trouble::from)?),
    }
}

fn another<T>(detail: String) -> Result<T, ActivateError> {
    Err(ActivateError::Attestation {
        reason: "MANIFEST_IDENTITY",
        detail,
    })
}

/// What was shown is what the line names; of what it does not name it says nothing.
fn names_it(said: &ManifestEntry, iak: &IakFacts) -> Result<(), ActivateError> {
    let of = format!("manifest {}, lot `{}`, `{}`", said.manifest, said.lot, said.serial);
    if !said.iak.is_empty() && !said.iak.contains(&iak.certificate_sha256) {
        return another(format!(
            "{of}: it names another certificate of the IAK than {}",
            hex::encode(iak.certificate_sha256)
        ));
    }
    match &iak.idevid_sha256 {
        _ if said.idevid.is_empty() => {}
        Some(idevid) if said.idevid.contains(idevid) => {}
        Some(idevid) => {
            let shown = hex::encode(idevid);
            return another(format!("{of}: it names another IDevID certificate than {shown}"));
        }
        None => return another(format!("{of}: it names an IDevID certificate, and none was shown")),
    }
    if let Some(ek) = iak.ek_spki_sha256.as_ref().filter(|ek| !said.ek.contains(*ek)) {
        let ek = hex::encode(ek);
        return another(format!(
            "{of}: the IAK's certificate names EK {ek}, and the manifest another"
        ));
    }
    Ok(())
}

/// A device that is not in the inventory, and of which a manifest speaks.
fn arrive(
    house: &House,
    iak: &IakFacts,
    said: &ManifestEntry,
    claimed: Option<&str>,
) -> Result<Option<DeviceRow>, ActivateError> {
    let bound = !said.iak.is_empty() || !said.idevid.is_empty() || iak.ek_spki_sha256.is_some();
    let here = house.store.device_by_name(&said.serial).map_err(Trouble::from)?;
    let Some(ek) = iak.ek_spki_sha256.as_ref().or(said.ek.first()) else {
        return Ok(None);
    };
    // The line says nothing about what was shown; or somebody put the device in by its name.
    if !bound || here.is_some() {
        return claimant(house, "IAK", &iak.spki_sha256, claimed);
    }
    if let Some(name) = claimed.filter(|name| *name != said.serial) {
        return Err(ActivateError::IdentityConflict(format!(
            "IAK {}: manifest {} says it is `{}`, and it asks to be `{name}`",
            hex::encode(iak.spki_sha256),
            said.manifest,
            said.serial
        )));
    }
    let detail = format!(
        "manifest {}, lot `{}`: IAK certificate {}",
        said.manifest,
        said.lot,
        hex::encode(iak.certificate_sha256)
    );
    house
        .store
        .arrive_by_iak(ek, &iak.spki_sha256, &arrival(house, said.serial.clone(), detail))
        .map_err(not_arrived)
}
