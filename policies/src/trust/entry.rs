//! One CA of a trust store, and what was decided about it.

use attest::AnchorKind;
use attest::ek::certificate_spki;
use attest::trust::{AnchorSource, CaSource, HashOf, RefusedHash, Standing, TrustSources};

/// What was decided about a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// An anchor, on these terms.
    Trusted(Terms),
    /// Its vendor is known, and it is not trusted: a TPM below it is refused with that reason.
    Known,
    /// Imported; nobody has decided.
    Unknown,
    /// Nothing that leads through it, or through another certificate of its key, is believed.
    Refused,
}

/// What an anchor may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What kind of TPM it speaks for.
    pub kind: AnchorKind,
    /// Manufacturer ids it may speak for: `id:` and 8 upper-case hex digits; never empty.
    pub manufacturers: Vec<String>,
    /// Whether expiry at it or below it refuses.
    pub enforce_expiry: bool,
}

/// Who decided when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Date, `2026-01-31`.
    pub date: String,
    /// The person; of an unknown CA, who imported it. Not empty.
    pub by: String,
    /// The grounds. Empty only for an unknown CA.
    pub why: String,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ca {
    /// A CA certificate, DER.
    Certificate(Vec<u8>),
    /// SHA-256 of a certificate that is not at hand. Only to be refused.
    CertificateHash([u8; 32]),
    /// SHA-256 of a canonical SubjectPublicKeyInfo. Only to be refused.
    KeyHash([u8; 32]),
}

/// One CA of a trust store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unique in the store: 1 to 64 characters of `a-z 0-9 -`.
    pub name: String,
    /// What was decided.
    pub state: State,
    /// Where it was taken from. Not empty.
    pub source: String,
    /// Who decided.
    pub decision: Decision,
    /// What it is about.
    pub ca: Ca,
}

impl State {
    /// `trusted`, `known`, `unknown` or `refused`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Trusted(_) => "trusted",
            Self::Known => "known",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }
}

impl Ca {
    /// SHA-256 of the certificate, if that is known.
    #[must_use]
    pub fn certificate_sha256(&self) -> Option<[u8; 32]> {
        match self {
            Self::Certificate(der) => Some(attest::sha256(der)),
            Self::CertificateHash(sha256) => Some(*sha256),
            Self::KeyHash(_) => None,
        }
    }

    /// SHA-256 of the canonical SubjectPublicKeyInfo, if that is known.
    #[must_use]
    pub fn key_sha256(&self) -> Option<[u8; 32]> {
        match self {
            Self::Certificate(der) => certificate_spki(der).ok().map(|spki| attest::sha256(&spki)),
            Self::CertificateHash(_) => None,
            Self::KeyHash(sha256) => Some(*sha256),
        }
    }

    /// The certificate, DER, if it is there.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Certificate(der) => Some(der),
            Self::CertificateHash(_) | Self::KeyHash(_) => None,
        }
    }
}

impl Entry {
    /// Add what follows from it for the validator.
    pub(super) fn add_to(&self, sources: &mut TrustSources) {
        let (name, certificate) = (self.name.clone(), self.ca.certificate().map(<[u8]>::to_vec));
        match (&self.state, &self.ca, certificate) {
            (State::Trusted(terms), _, Some(certificate)) => sources.anchors.push(AnchorSource {
                name,
                certificate,
                kind: terms.kind,
                manufacturers: terms.manufacturers.clone(),
                enforce_expiry: terms.enforce_expiry,
            }),
            (state, _, Some(certificate)) => sources.others.push(CaSource {
                name,
                certificate,
                standing: match state {
                    State::Known => Standing::Known,
                    State::Unknown | State::Trusted(_) => Standing::Unknown,
                    State::Refused => Standing::Refused,
                },
            }),
            (_, Ca::CertificateHash(sha256), None) => sources.refused.push(RefusedHash {
                name,
                of: HashOf::Certificate(*sha256),
            }),
            (_, Ca::KeyHash(sha256), None) => sources.refused.push(RefusedHash {
                name,
                of: HashOf::Key(*sha256),
            }),
            (_, Ca::Certificate(_), None) => {}
        }
    }
}
