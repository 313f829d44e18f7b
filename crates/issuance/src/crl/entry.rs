//! One line of a CRL.

use attest::UnixTime;
use wire::revocation::RevocationReason;

use crate::Serial;

/// `removeFromCRL`.
const REMOVE_FROM_CRL: u8 = 8;

/// The reason of this `CRLReason`, if it is one.
pub(super) fn reason_of(code: u8) -> Option<RevocationReason> {
    RevocationReason::ALL.into_iter().find(|reason| reason.code() == code)
}

/// Whether a key is in other hands: such a reason may replace any other, and nothing replaces it.
pub(super) const fn is_compromise(reason: RevocationReason) -> bool {
    matches!(
        reason,
        RevocationReason::KeyCompromise | RevocationReason::CaCompromise | RevocationReason::AaCompromise
    )
}

/// A revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial.
    pub serial: Serial,
    /// Since when; not after the thisUpdate of the CRL.
    pub at: UnixTime,
    /// Why.
    pub reason: RevocationReason,
}

/// A certificate that was on hold and is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// Its serial.
    pub serial: Serial,
    /// Since when.
    pub at: UnixTime,
}

/// What a CRL says about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Revoked.
    Revoked(RevocationReason),
    /// `removeFromCRL`: no longer revoked, or expired. Only in delta CRLs.
    Removed,
}

impl Mark {
    /// `CRLReason`.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Revoked(reason) => reason.code(),
            Self::Removed => REMOVE_FROM_CRL,
        }
    }
    pub(super) fn from_code(code: u8) -> Option<Self> {
        if code == REMOVE_FROM_CRL {
            Some(Self::Removed)
        } else {
            reason_of(code).map(Self::Revoked)
        }
    }
}

/// One line of a CRL, as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlEntry {
    /// Serial.
    pub serial: Serial,
    /// revocationDate.
    pub at: UnixTime,
    /// What is said.
    pub mark: Mark,
}

impl From<Revoked> for CrlEntry {
    fn from(Revoked { serial, at, reason }: Revoked) -> Self {
        Self {
            serial,
            at,
            mark: Mark::Revoked(reason),
        }
    }
}

impl From<Released> for CrlEntry {
    fn from(Released { serial, at }: Released) -> Self {
        Self {
            serial,
            at,
            mark: Mark::Removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_back() {
        for reason in RevocationReason::ALL {
            assert_eq!(reason_of(reason.code()), Some(reason));
            assert_eq!(Mark::from_code(reason.code()), Some(Mark::Revoked(reason)));
        }
        assert_eq!(Mark::from_code(8), Some(Mark::Removed));
        let known = (0..=u8::MAX).filter(|code| Mark::from_code(*code).is_some()).count();
        assert_eq!(known, 10);
        assert_eq!(reason_of(8), None);
    }

    #[test]
    fn codes_are_those_of_x509_cert() {
        use x509_cert::ext::pkix::CrlReason;
        for (ours, theirs) in [
            (RevocationReason::Unspecified, CrlReason::Unspecified),
            (RevocationReason::KeyCompromise, CrlReason::KeyCompromise),
            (RevocationReason::CaCompromise, CrlReason::CaCompromise),
            (RevocationReason::AffiliationChanged, CrlReason::AffiliationChanged),
            (RevocationReason::Superseded, CrlReason::Superseded),
            (RevocationReason::CessationOfOperation, CrlReason::CessationOfOperation),
            (RevocationReason::CertificateHold, CrlReason::CertificateHold),
            (RevocationReason::PrivilegeWithdrawn, CrlReason::PrivilegeWithdrawn),
            (RevocationReason::AaCompromise, CrlReason::AaCompromise),
        ] {
            assert_eq!(u32::from(ours.code()), theirs as u32);
        }
        assert_eq!(u32::from(REMOVE_FROM_CRL), CrlReason::RemoveFromCRL as u32);
    }
}
