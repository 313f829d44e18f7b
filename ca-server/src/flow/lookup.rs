//! What was recorded, as a client may see it.

use issuance::KeyRole;
use schema::{CertificateRow, CertificateState, EnrollmentRow};
use wire::EnrollmentId;
use wire::enrollment::{self, EnrollmentResult, EnrollmentState, IssuedCertificate, LedgerReceipt};

use super::failure::Trouble;
use super::revoke;
use crate::house::House;

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// There is none.
    #[error("there is no such thing")]
    NotFound,
    /// It ended in a certificate that is revoked or on hold.
    #[error("{0}")]
    Revoked(String),
    /// Not the client's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// Where an enrollment stands, once its challenge was answered.
///
/// # Errors
/// [`LookupError`].
pub fn enrollment(house: &House, id: EnrollmentId) -> Result<EnrollmentResult, LookupError> {
    let row = house.store.enrollment(&id.0).map_err(Trouble::from)?;
    let row = row.ok_or(LookupError::NotFound)?;
    match not_good(&row) {
        Some(what) => Err(LookupError::Revoked(what)),
        None => Ok(result(house, &row)?),
    }
}

/// In words, when a certificate of an enrollment is revoked or on hold: it is not handed out again.
pub(super) fn not_good(row: &EnrollmentRow) -> Option<String> {
    let mut certificates = row.certificates.iter();
    certificates.find_map(|c| c.not_good().map(|last| revoke::not_good(c, last)))
}

/// An issued certificate by serial, also when it is revoked: what it says stays said.
///
/// # Errors
/// [`LookupError`]; an intent or an orphan has no certificate to show.
pub fn certificate(house: &House, serial: &[u8; 16]) -> Result<IssuedCertificate, LookupError> {
    let row = house.store.certificate(serial).map_err(Trouble::from)?;
    let shown = row.as_ref().map(|row| issued(house, row)).transpose()?;
    shown.flatten().ok_or(LookupError::NotFound)
}

/// The enrollment as its client sees it.
///
/// # Errors
/// [`Trouble::Storage`], where the record is damaged.
pub(super) fn result(house: &House, row: &EnrollmentRow) -> Result<EnrollmentResult, Trouble> {
    let state = if row.certificates.iter().any(|c| c.state == CertificateState::Orphan) {
        EnrollmentState::Orphaned
    } else if row.certificates.iter().all(|c| c.state == CertificateState::Issued) {
        EnrollmentState::Issued
    } else {
        EnrollmentState::Verifying
    };
    let certificates = match state {
        EnrollmentState::Issued => {
            let shown: Result<Vec<_>, _> = row.certificates.iter().map(|row| issued(house, row)).collect();
            shown?.into_iter().flatten().collect()
        }
        EnrollmentState::Challenged | EnrollmentState::Verifying | EnrollmentState::Orphaned => Vec::new(),
    };
    Ok(EnrollmentResult {
        id: EnrollmentId(row.id),
        state,
        device: row.device.clone().unwrap_or_default(),
        certificates,
        chain: chain(house),
    })
}

/// A stored certificate as a client sees it; `None` when there is none. What lies in the record may have changed on its disk:
/// it is handed out only as its leaf in the ledger says it was issued.
///
/// # Errors
/// [`Trouble::Storage`], where the two differ.
pub(super) fn issued(house: &House, row: &CertificateRow) -> Result<Option<IssuedCertificate>, Trouble> {
    let (CertificateState::Issued, Some(certificate)) = (row.state, &row.certificate) else {
        return Ok(None);
    };
    let entry = match &house.ledger {
        None => None,
        // The certificate is good without its receipt, and the ledger gives a proof to whoever asks.
        Some(_) => house
            .store
            .ledger_entry(row.id)
            .inspect_err(|error| tracing::warn!(%error, "a receipt of the ledger cannot be read"))
            .ok()
            .flatten(),
    };
    if let Some(entry) = &entry {
        let said = ledger::Entry::parse(&entry.bytes).map(|entry| entry.event);
        let as_issued = matches!(&said, Ok(ledger::Event::Issued(said))
            if said.certificate == openssl::sha::sha256(certificate) && said.serial == row.serial);
        if !as_issued {
            let serial = hex::encode(&row.serial);
            tracing::error!(
                serial,
                "a certificate on record is not the one that was issued: ca-cli db verify"
            );
            return Err(Trouble::Storage(format!("certificate {serial} on record is damaged")));
        }
    }
    Ok(Some(IssuedCertificate {
        profile: row.profile.clone(),
        key: role(row.key_role),
        serial: hex::encode(&row.serial),
        certificate: certificate.clone().into(),
        // One of before the ledger has none.
        ledger: entry.and_then(|entry| receipt(house, entry.bytes, entry.created_at)),
    }))
}

/// What a client gets of the ledger with a certificate, where it is signed; the same whenever it asks.
pub(super) fn receipt(house: &House, leaf: Vec<u8>, at: i64) -> Option<LedgerReceipt> {
    let promise = house.ledger.as_ref()?.promise(&leaf, at).inspect_err(|error| {
        tracing::error!(%error, "the ledger cannot promise");
    });
    Some(LedgerReceipt {
        promise: promise.ok()?,
        entry: leaf.into(),
    })
}

/// Issuing CA first, root last.
pub(super) fn chain(house: &House) -> Vec<wire::Bytes> {
    house.issuer.chain().iter().map(|c| c.clone().into()).collect()
}

/// The word for a key's role on the wire.
pub(super) fn role(role: KeyRole) -> enrollment::KeyRole {
    match role {
        KeyRole::Attestation => enrollment::KeyRole::Attestation,
        KeyRole::Identity => enrollment::KeyRole::Identity,
    }
}
