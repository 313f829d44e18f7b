//! Endorsement keys: certificate profile and templates (`standards`: TCG EK Credential Profile).

use crate::tpm::TpmtPublic;
use crate::trust::Anchors;
use crate::{EkFacts, Refusal, UnixTime};

/// TCG EK templates that are accepted (EK Credential Profile, "L" low range and "H" high range).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EkTemplate {
    /// RSA 2048, SHA-256, AES-128, PolicyA.
    L1,
    /// P-256, SHA-256, AES-128, PolicyA.
    L2,
    /// RSA 2048, SHA-256, AES-128, PolicyB.
    H1,
    /// P-256, SHA-256, AES-128, PolicyB.
    H2,
    /// P-384, SHA-384, AES-256, PolicyB.
    H3,
    /// P-521, SHA-512, AES-256, PolicyB.
    H4,
    /// RSA 3072, SHA-384, AES-256, PolicyB.
    H6,
    /// RSA 4096, SHA-384, AES-256, PolicyB.
    H7,
}

impl EkTemplate {
    /// `L-1` and so on.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "L-1",
            Self::L2 => "L-2",
            Self::H1 => "H-1",
            Self::H2 => "H-2",
            Self::H3 => "H-3",
            Self::H4 => "H-4",
            Self::H6 => "H-6",
            Self::H7 => "H-7",
        }
    }
}

/// Verify an endorsement: chain to an anchor, EK profile, certified key equal to `public`, `public` of a template.
///
/// # Errors
/// EK_CHAIN, EK_PROFILE, EK_KEY, EK_VENDOR or MALFORMED.
pub(crate) fn verify(
    _certificate: &[u8],
    _offered: &[Vec<u8>],
    _public: &TpmtPublic,
    _anchors: &Anchors,
    _now: UnixTime,
) -> Result<EkFacts, Refusal> {
    todo!()
}
