//! What a certificate will say, from verified facts and inventory only.

use attest::rot::{self, Basis, CertifiedBinding, RotBinding, RotStatement};
use attest::{Assurance, EkFacts, IakFacts, KeyFacts, Root};
use const_oid::ObjectIdentifier;
use der::asn1::OctetString;

use super::facts::{Facts, rot_kind};
use super::{Denial, DenialCode, InventoryEntry};
use crate::{KeyRole, Profile, ProfileKind, Rdn, RdnKind, SanEntry, Subject, name};

fn refuse(detail: String) -> Denial {
    Denial::new(DenialCode::Policy, detail)
}

/// Organization, common name if the profile says so, serialNumber; empty for a service, whose names are its SAN.
pub(super) fn subject(profile: &Profile, entry: &InventoryEntry) -> Result<Subject, Denial> {
    name::device(&entry.name).map_err(|e| refuse(format!("inventory: {e}")))?;
    if profile.kind == ProfileKind::Service {
        return Ok(Subject::default());
    }
    let rdn = |kind, value: &str| Rdn {
        kind,
        value: value.to_owned(),
    };
    let organization = profile
        .organization
        .as_deref()
        .map(|value| rdn(RdnKind::Organization, value));
    let common_name = profile.common_name.then(|| rdn(RdnKind::CommonName, &entry.name));
    let serial_number = rdn(RdnKind::SerialNumber, &entry.name);
    Ok(Subject(
        organization
            .into_iter()
            .chain(common_name)
            .chain([serial_number])
            .collect(),
    ))
}

/// Devices carry the two names of their TPM, services the names their entry is entitled to.
pub(super) fn san(kind: ProfileKind, root: &Root, entry: &InventoryEntry) -> Result<Vec<SanEntry>, Denial> {
    if kind == ProfileKind::Service {
        return service_names(entry);
    }
    let ek = match root {
        Root::Ek(ek) => ek,
        Root::Iak(iak) => return Ok(names_of_iak(iak)),
    };
    // Both names are taken from the EK certificate. Without one, the RoT binding alone names the EK.
    if !ek.has_certificate() {
        return Ok(Vec::new());
    }
    let serial = hardware_serial(ek)?;
    Ok(vec![
        SanEntry::HardwareModuleName(rot::TCG_HW_TYPE_TPM20, serial.into_bytes()),
        SanEntry::PermanentIdentifier(hex::encode(ek.certificate_sha256), rot::TCG_ON_EK_PERM_ID_SHA256),
    ])
}

/// The names of the TPM as far as the manufacturer's certificate carries them.
fn names_of_iak(iak: &IakFacts) -> Vec<SanEntry> {
    let hardware = iak.hardware_serial.as_ref();
    let permanent = iak.permanent_id.as_ref();
    hardware
        .map(|serial| SanEntry::HardwareModuleName(rot::TCG_HW_TYPE_TPM20, serial.clone().into_bytes()))
        .into_iter()
        .chain(permanent.map(|id| SanEntry::PermanentIdentifier(id.clone(), rot::TCG_ON_EK_PERM_ID_SHA256)))
        .collect()
}

/// `<manufacturer>:<AKI>:<serial>` (TCG TPM 2.0 Keys for Device Identity and Attestation): hex digits and colons only,
/// at most 128 of them; the AKI may be empty.
fn hardware_serial(ek: &EkFacts) -> Result<String, Denial> {
    let hex = |text: &str, lengths: core::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    // 20 octets are the longest serial and the usual key identifier (RFC 5280 §4.1.2.2, §4.2.1.2); some vendors hash longer.
    match ek.manufacturer.strip_prefix("id:") {
        Some(id) if hex(id, 8..=8) && hex(&ek.authority_key_id, 0..=64) && hex(&ek.serial, 1..=54) => {
            Ok(format!("{id}:{}:{}", ek.authority_key_id, ek.serial))
        }
        _ => Err(refuse(
            "the endorsement's manufacturer, AKI or serial is not in hex digits of the usual length".to_owned(),
        )),
    }
}

/// Each name for itself: none is issued that was not looked at.
fn service_names(entry: &InventoryEntry) -> Result<Vec<SanEntry>, Denial> {
    let mut names: Vec<SanEntry> = Vec::new();
    for (index, text) in entry.dns_names.iter().enumerate() {
        name::dns(text).map_err(|e| refuse(format!("inventory: DNS name {}: {e}", index.saturating_add(1))))?;
        let dns = SanEntry::Dns(text.clone());
        if !names.contains(&dns) {
            names.push(dns);
        }
    }
    if let Some(id) = &entry.spiffe_id {
        name::spiffe(id).map_err(|e| refuse(format!("inventory: {e}")))?;
        names.push(SanEntry::Uri(id.clone()));
    }
    Ok(names)
}

/// What was proven about the key, then the level (TCG policy OIDs: residency and fixed for identity keys, residency
/// and restricted for attestation keys).
pub(super) fn policies(role: KeyRole, level: Assurance) -> Vec<ObjectIdentifier> {
    let property = match role {
        KeyRole::Attestation => rot::TCG_VERIFIED_TPM_RESTRICTED,
        KeyRole::Identity => rot::TCG_VERIFIED_TPM_FIXED,
    };
    let level = match level {
        Assurance::HardwareVerified => rot::ID_HARDWARE_VERIFIED,
        Assurance::HardwareAllowlisted => rot::ID_HARDWARE_ALLOWLISTED,
        Assurance::Virtual => rot::ID_VIRTUAL,
        Assurance::Software => rot::ID_SOFTWARE,
        Assurance::ManufacturerVerified => rot::ID_MANUFACTURER_VERIFIED,
    };
    vec![rot::TCG_VERIFIED_TPM_RESIDENCY, property, level]
}

/// What the RoT-binding extension says about `key`.
pub(super) fn rot(facts: &Facts, key: &KeyFacts) -> Result<RotStatement, Denial> {
    let octets = |bytes: &[u8]| OctetString::new(bytes).map_err(|e| refuse(format!("RoT binding: {e}")));
    let kind = rot_kind(facts.root.assurance());
    Ok(match &facts.root {
        Root::Ek(ek) => RotStatement::Activation(RotBinding {
            version: 1,
            rot_kind: kind,
            ek_spki_sha256: octets(&ek.spki_sha256)?,
            ak_name: octets(&facts.ak.name)?,
            ik_name: octets(&key.name)?,
            evidence_sha256: octets(&facts.evidence)?,
            parent_rot: None,
        }),
        Root::Iak(iak) => RotStatement::Certified(CertifiedBinding {
            version: 2,
            rot_kind: kind,
            basis: Basis::IakCertified,
            iak_certificate_sha256: octets(&iak.certificate_sha256)?,
            iak_spki_sha256: octets(&iak.spki_sha256)?,
            iak_name: octets(&facts.ak.name)?,
            ik_name: octets(&key.name)?,
            evidence_sha256: octets(&facts.evidence)?,
            ek_spki_sha256: iak.ek_spki_sha256.as_ref().map(|ek| octets(ek)).transpose()?,
        }),
    })
}
