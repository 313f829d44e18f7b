//! Where the certificate stands that a client has shown. Asked of the record each time, never remembered.

use attest::UnixTime;
use der::Decode as _;
use issuance::KeyRole;
use schema::{CertificateRow, CertificateState};
use x509_cert::Certificate;

use super::RenewError;
use crate::flow::enroll::ActivateError;
use crate::flow::failure::Trouble;
use crate::flow::revoke;
use crate::house::House;

/// The record's row of a certificate shown in TLS: byte for byte the one that was issued, for a device's identity key.
///
/// # Errors
/// [`RenewError::NoCertificate`], [`RenewError::Issue`].
pub(super) fn find(house: &House, shown: Option<&[u8]>) -> Result<CertificateRow, RenewError> {
    let shown = shown.ok_or(RenewError::NoCertificate("no certificate was shown in TLS"))?;
    let unknown = || RenewError::NoCertificate("the certificate shown in TLS is not one of a device of this CA");
    let read = Certificate::from_der(shown).map_err(|_| unknown())?;
    let serial = read.tbs_certificate().serial_number().as_bytes();
    let row = house.store.certificate(serial)?.ok_or_else(unknown)?;
    let the_same = row.certificate.as_deref() == Some(shown);
    if !the_same || row.key_role != KeyRole::Identity || row.device.is_none() {
        return Err(unknown());
    }
    Ok(row)
}

/// Neither revoked, nor on hold, nor ended.
///
/// # Errors
/// [`RenewError::Ended`], [`RenewError::Issue`].
pub(super) fn good(row: &CertificateRow, now: UnixTime) -> Result<(), RenewError> {
    if let Some(last) = row.not_good() {
        return Err(ActivateError::Revoked(revoke::not_good(row, last)).into());
    }
    if row.not_after < now.0 {
        return Err(RenewError::Ended);
    }
    Ok(())
}

/// Not replaced yet, nor about to be.
///
/// # Errors
/// [`RenewError::Issue`].
pub(super) fn not_replaced(house: &House, row: &CertificateRow) -> Result<(), RenewError> {
    match house.store.successor(row.id)? {
        None => Ok(()),
        Some(next) if next.state == CertificateState::Intent => {
            Err(Trouble::Unfinished(row.device.clone().unwrap_or_default()).into())
        }
        Some(_) => Err(ActivateError::Replaced.into()),
    }
}
