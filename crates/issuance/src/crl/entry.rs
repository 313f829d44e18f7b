//! One line of a CRL.

use attest::UnixTime;

use crate::Serial;

/// Why a certificate is revoked (RFC 5280 §5.3.1). `removeFromCRL` is not among them: it takes back, see [`Mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RevocationReason {
    /// None given; written by leaving the extension out.
    Unspecified,
    /// The key is in other hands, or may be.
    KeyCompromise,
    /// The key of a CA is in other hands, or may be.
    CaCompromise,
    /// Names or other facts in the certificate changed.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// No longer needed.
    CessationOfOperation,
    /// On hold: the one state that can be left again.
    CertificateHold,
    /// A privilege in it was withdrawn.
    PrivilegeWithdrawn,
    /// An attribute authority is compromised.
    AaCompromise,
}

/// `removeFromCRL`.
const REMOVE_FROM_CRL: u8 = 8;

impl RevocationReason {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// `CRLReason`.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }
    /// The reason of this `CRLReason`, if it is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
    /// Its name in RFC 5280.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        }
    }
    /// The reason of this name, if it is one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
    /// Whether a key is in other hands: such a reason may replace any other, and nothing replaces it.
    #[must_use]
    pub const fn is_compromise(self) -> bool {
        matches!(self, Self::KeyCompromise | Self::CaCompromise | Self::AaCompromise)
    }
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
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Revoked(reason) => reason.code(),
            Self::Removed => REMOVE_FROM_CRL,
        }
    }
    pub(super) fn from_code(code: u8) -> Option<Self> {
        if code == REMOVE_FROM_CRL {
            Some(Self::Removed)
        } else {
            RevocationReason::from_code(code).map(Self::Revoked)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back() {
        for reason in RevocationReason::ALL {
            assert_eq!(RevocationReason::from_code(reason.code()), Some(reason));
            assert_eq!(RevocationReason::from_text(reason.as_str()), Some(reason));
            assert_eq!(Mark::from_code(reason.code()), Some(Mark::Revoked(reason)));
        }
        assert_eq!(Mark::from_code(8), Some(Mark::Removed));
        let known = (0..=u8::MAX).filter(|code| Mark::from_code(*code).is_some()).count();
        assert_eq!(known, 10);
        assert_eq!(RevocationReason::from_code(8), None);
        assert_eq!(RevocationReason::from_text("removeFromCRL"), None);
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
