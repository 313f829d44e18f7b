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
    seconds(certificate.not_after())
}

/// The time of a certificate, seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// First second.
    pub not_before: i64,
    /// Last second.
    pub not_after: i64,
}

impl Term {
    /// Of a certificate.
    #[must_use]
    pub fn of(certificate: &X509) -> Option<Self> {
        Some(Self {
            not_before: seconds(certificate.not_before())?,
            not_after: seconds(certificate.not_after())?,
        })
    }

    /// From when on it is to be renewed: two thirds of its life, and up to a tenth later, so that devices that were made
    /// together do not come together. `fraction`, of 2^16, is fixed for a certificate: whoever restarts does not draw
    /// again.
    #[must_use]
    pub fn due(&self, fraction: u16) -> i64 {
        let life = self.not_after.saturating_sub(self.not_before);
        let jitter = (life / 10).saturating_mul(fraction.into()) >> 16;
        self.not_before.saturating_add(life / 3 * 2).saturating_add(jitter)
    }
}

fn seconds(time: &openssl::asn1::Asn1TimeRef) -> Option<i64> {
    let epoch = Asn1Time::from_unix(0).ok()?;
    let distance = epoch.diff(time).ok()?;
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
