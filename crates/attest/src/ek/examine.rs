//! An EK certificate looked at without its TPM, each check for itself: for a person who asks why.

use super::profile::Profile;
use super::{assurance, name, vouched};
use crate::trust::Anchors;
use crate::x509::{Certificate, Leniencies};
use crate::{Assurance, Reason, Refusal, UnixTime};

/// What each check finds. Enrollment makes the same checks and one more: that the TPM holds the certified key.
#[derive(Debug)]
pub struct Examination {
    /// SHA-256 of the certificate.
    pub certificate_sha256: [u8; 32],
    /// SHA-256 of the canonical SubjectPublicKeyInfo, where the key could be read.
    pub spki_sha256: Option<[u8; 32]>,
    /// Issuer, Name as DER.
    pub issuer: Vec<u8>,
    /// First and last second of validity.
    pub validity: (UnixTime, UnixTime),
    /// The certificate's own shape and key. `Some` names the TPM that it claims, which nobody vouches for yet.
    pub profile: Result<Option<TpmIdentity>, Refusal>,
    /// The path to an anchor.
    pub path: Result<ExaminedPath, Refusal>,
    /// Whether the anchor may speak for the TPM that is named; `None` if profile or path was refused before.
    pub vendor: Option<Result<TpmIdentity, Refusal>>,
}

/// A path to an anchor that was verified.
#[derive(Debug)]
pub struct ExaminedPath {
    /// Name of the anchor.
    pub anchor: String,
    /// SHA-256 of its CA certificates, anchor first.
    pub path: Vec<[u8; 32]>,
    /// Whether a certificate of it, the EK certificate included, has expired, which the anchor lets pass.
    pub expired: bool,
    /// What follows from the anchor's kind.
    pub assurance: Assurance,
    /// Manufacturer ids the anchor may speak for.
    pub manufacturers: Vec<String>,
}

/// The TPM that an EK certificate names. Printable ASCII of a short allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmIdentity {
    /// `id:` and 8 upper-case hex digits.
    pub manufacturer: String,
    /// tpmModel; empty where the certificate names no TPM and the anchor speaks for one manufacturer only.
    pub model: String,
    /// tpmVersion; empty likewise.
    pub version: String,
}

impl From<name::TpmName> for TpmIdentity {
    fn from(name: name::TpmName) -> Self {
        Self {
            manufacturer: name.manufacturer,
            model: name.model,
            version: name.version,
        }
    }
}

impl Examination {
    /// All refusals, in the order of the checks; none if the certificate is accepted.
    #[must_use]
    pub fn refusals(&self) -> Vec<&Refusal> {
        let vendor = self.vendor.as_ref().and_then(|vendor| vendor.as_ref().err());
        self.profile
            .as_ref()
            .err()
            .into_iter()
            .chain(self.path.as_ref().err())
            .chain(vendor)
            .collect()
    }
}

/// Make every check on an EK certificate that needs no TPM, also where an earlier one refuses.
///
/// # Errors
/// MALFORMED: not one whole certificate; nothing else can be said then.
pub fn examine(
    certificate: &[u8],
    offered: &[Vec<u8>],
    anchors: &Anchors,
    now: UnixTime,
) -> Result<Examination, Refusal> {
    let frame = Certificate::parse(certificate, Leniencies::VENDOR)
        .map_err(|error| Refusal::new(Reason::Malformed, format!("EK certificate: {error}")))?;
    let profile = Profile::read(&frame);
    let path = anchors.verify(&frame, offered, now);
    let vendor = match (&profile, &path) {
        (Ok(profile), Ok(path)) => Some(vouched(profile, path).map(TpmIdentity::from)),
        _ => None,
    };
    Ok(Examination {
        certificate_sha256: crate::digest::sha256(certificate),
        spki_sha256: super::canonical_spki(frame.spki)
            .ok()
            .map(|spki| crate::digest::sha256(&spki)),
        issuer: frame.issuer.to_vec(),
        validity: (frame.not_before, frame.not_after),
        profile: profile.map(|profile| profile.name.map(TpmIdentity::from)),
        path: path.map(|path| ExaminedPath {
            anchor: path.anchor.to_owned(),
            assurance: assurance(path.kind),
            manufacturers: path.manufacturers.to_vec(),
            path: path.path,
            expired: path.expired,
        }),
        vendor,
    })
}
