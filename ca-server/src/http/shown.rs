//! Devices as people see them.

use attest::AllowedEk;
use schema::{CertificateRow, CertificateState, DeviceRow, Store, StoreError};
use wire::admin::{Device, DeviceCertificate, DeviceTpm};
use wire::replacement::{DeviceEk, DeviceIak};
use wire::revocation::RevocationState;
use wire::third_party::IakProof;

use crate::flow::revoke;

/// With its certificates.
pub(super) fn device_of(store: &Store, row: DeviceRow) -> Result<Device, StoreError> {
    let certificates = store.certificates_of(&row.name)?;
    device_with(store, row, &certificates)
}

/// With its certificates and its history of TPMs.
pub(super) fn device_in_full(store: &Store, row: DeviceRow) -> Result<Device, StoreError> {
    let eks = store.eks_of(&row.name)?;
    let iaks = store.iaks_gone(&row.name)?;
    let called = store.renewal_call(&row.name)?;
    let mut device = device_of(store, row)?;
    device.renewal_called_at = called.map(|call| call.at);
    device.eks = eks
        .into_iter()
        .map(|ek| DeviceEk {
            ek_spki_sha256: hex::encode(ek.ek_spki_sha256),
            since: ek.since,
            shown: ek.shown.as_str().to_owned(),
            replacement: ek.replacement,
            tpm: ek.tpm.map(tpm),
        })
        .collect();
    device.iaks = iaks
        .into_iter()
        .map(|iak| DeviceIak {
            iak_spki_sha256: hex::encode(iak.iak_spki_sha256),
            replacement: iak.replacement,
        })
        .collect();
    Ok(device)
}

fn tpm(tpm: schema::DeviceTpm) -> DeviceTpm {
    DeviceTpm {
        manufacturer: tpm.manufacturer,
        model: tpm.model,
        version: tpm.version,
        assurance: tpm.assurance,
        // Where an administrator vouched for the key, there is none.
        ek_certificate_sha256: if tpm.anchor == AllowedEk::ANCHOR {
            String::new()
        } else {
            hex::encode(tpm.ek_certificate_sha256)
        },
        anchor: tpm.anchor,
    }
}

/// Only a device with an IAK has certificates that may stand on one.
fn iak_proof(store: &Store, device: &DeviceRow, certificate: &CertificateRow) -> Result<Option<IakProof>, StoreError> {
    if device.iak_spki_sha256.is_none() {
        return Ok(None);
    }
    Ok(store.iak_proof(&certificate.enrollment_id)?.map(revoke::iak_proof))
}

/// With these certificates.
pub(super) fn device_with(
    store: &Store,
    row: DeviceRow,
    certificates: &[CertificateRow],
) -> Result<Device, StoreError> {
    let mut shown = Vec::with_capacity(certificates.len());
    for c in certificates {
        shown.push(DeviceCertificate {
            serial: hex::encode(&c.serial),
            profile: c.profile.clone(),
            state: revoke::state(c.state).to_owned(),
            not_before: c.not_before,
            not_after: c.not_after,
            certificate: c.certificate.clone().map(Into::into),
            revocation: c.not_good().map(revoke::step),
            iak_proof: iak_proof(store, &row, c)?,
        });
    }
    let issued = || certificates.iter().filter(|c| c.state == CertificateState::Issued);
    let good = issued().any(|c| c.not_good().is_none());
    let on_hold = issued().any(|c| c.not_good().is_some_and(|last| last.state == RevocationState::OnHold));
    let state = match row.ek_spki_sha256.or(row.iak_spki_sha256) {
        _ if row.held => "held",
        None => "expected",
        Some(_) if good => "active",
        Some(_) if on_hold => "on_hold",
        Some(_) if issued().next().is_some() => "revoked",
        Some(_) => "allowed",
    };
    Ok(Device {
        name: row.name,
        state: state.to_owned(),
        ek_spki_sha256: row.ek_spki_sha256.map(hex::encode),
        iak_spki_sha256: row.iak_spki_sha256.map(hex::encode),
        batch: row.batch,
        dns_names: row.dns_names,
        spiffe_id: row.spiffe_id,
        tpm: row.tpm.map(tpm),
        certificates: shown,
        created_at: row.created_at,
        last_seen_at: row.last_seen_at,
        renewal_called_at: None,
        eks: Vec::new(),
        iaks: Vec::new(),
    })
}

/// A digest as it is written in paths and answers: lower-case hexadecimal.
pub(super) fn sha256_of(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut digest).is_ok()).then_some(digest)
}
