//! The certificates in the state directory.

use openssl::asn1::Asn1Time;
use openssl::x509::X509;

use crate::state::{State, StateError};

/// The identity key's.
pub const IDENTITY: &str = "cert.pem";
/// The attestation key's.
pub const ATTESTATION: &str = "ak-cert.pem";

/// Last second of the certificate in this file of the state directory, seconds since 1970, if there is one.
///
/// # Errors
/// [`StateError::Damaged`] when it is none.
pub fn not_after(state: &State, file: &str) -> Result<Option<i64>, StateError> {
    Ok(certificate(state, file)?.as_ref().and_then(last_second))
}

/// The certificate in this file of the state directory, if there is one.
///
/// # Errors
/// [`StateError::Damaged`] when it is none.
pub fn certificate(state: &State, file: &str) -> Result<Option<X509>, StateError> {
    let Some(pem) = state.read(file)? else { return Ok(None) };
    X509::from_pem(&pem).map(Some).map_err(|e| StateError::Damaged {
        path: state.path(file),
        detail: e.to_string(),
    })
}

/// Last second of a certificate.
#[must_use]
pub fn last_second(certificate: &X509) -> Option<i64> {
    let epoch = Asn1Time::from_unix(0).ok()?;
    let distance = epoch.diff(certificate.not_after()).ok()?;
    Some(i64::from(distance.days) * 86_400 + i64::from(distance.secs))
}

/// Whether a certificate of this device has ended, by its clock.
///
/// # Errors
/// As [`certificate`].
pub fn ended(state: &State) -> Result<bool, StateError> {
    let now = jiff::Timestamp::now().as_second();
    for file in [IDENTITY, ATTESTATION] {
        if not_after(state, file)?.is_some_and(|at| at < now) {
            return Ok(true);
        }
    }
    Ok(false)
}
