//! Endorsement keys: certificate profile and templates (TCG EK Credential Profile).

mod allowed;
mod examine;
mod name;
mod profile;
mod template;

#[cfg(test)]
mod tests;

pub use allowed::AllowedEk;
pub use examine::{Examination, ExaminedPath, TpmIdentity, examine};
pub use template::EkTemplate;

pub(crate) use allowed::verify as verify_allowed;
pub(crate) use name::manufacturer_id;

use crate::tpm::TpmtPublic;
use crate::trust::{Anchors, VerifiedPath};
use crate::x509::{Certificate, Leniencies, PublicKey};
use crate::{AnchorKind, Assurance, EkFacts, Reason, Refusal, UnixTime};
use profile::Profile;

/// Verify an endorsement: chain to an anchor, EK profile, certified key equal to `public`, `public` of a template.
///
/// What costs little is refused first; the path, which costs signature checks, comes last but for what depends on it.
///
/// # Errors
/// EK_CHAIN, EK_CA_REFUSED, EK_CA_UNTRUSTED, EK_PROFILE, EK_KEY, EK_VENDOR or MALFORMED.
pub(crate) fn verify(
    certificate: &[u8],
    offered: &[Vec<u8>],
    public: &TpmtPublic,
    anchors: &Anchors,
    now: UnixTime,
) -> Result<EkFacts, Refusal> {
    let fitting = Fitting::of(certificate, public)?;
    let path = anchors.verify(&fitting.frame, offered, now)?;
    let name = vouched(&fitting.profile, &path)?;
    Ok(EkFacts {
        anchor: path.anchor.to_owned(),
        anchor_sha256: path.anchor_sha256,
        passed: [(path.expired, "expired"), (path.unchecked, "unchecked")]
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, word)| word.to_owned())
            .collect(),
        path: path.certificates,
        ..fitting.facts(certificate, name, assurance(path.kind))
    })
}

/// An EK certificate that fits a public area, whoever signed it.
struct Fitting<'a> {
    frame: Certificate<'a>,
    profile: Profile<'a>,
    template: EkTemplate,
    /// SubjectPublicKeyInfo, canonical DER.
    spki: Vec<u8>,
}

impl<'a> Fitting<'a> {
    /// Judge profile, template and key.
    fn of(certificate: &'a [u8], public: &TpmtPublic) -> Result<Self, Refusal> {
        let frame = Certificate::parse(certificate, Leniencies::VENDOR)
            .map_err(|error| Refusal::new(Reason::Malformed, format!("EK certificate: {error}")))?;
        let profile = Profile::read(&frame)?;
        let template = EkTemplate::of(public)?;
        let spki = public.spki().map_err(|refusal| refusal.because(Reason::EkKey))?;
        // Both sides are canonical: equal bytes are equal numbers, or equal points.
        if profile.key.to_spki() != spki {
            return Err(Refusal::new(
                Reason::EkKey,
                "the EK public area is not the certified key",
            ));
        }
        Ok(Self {
            frame,
            profile,
            template,
            spki,
        })
    }

    /// What it says, as on the word of people: nothing of a path.
    fn facts(&self, certificate: &[u8], name: name::TpmName, assurance: Assurance) -> EkFacts {
        EkFacts {
            certificate_sha256: crate::digest::sha256(certificate),
            spki_sha256: crate::digest::sha256(&self.spki),
            template: self.template,
            manufacturer: name.manufacturer,
            model: name.model,
            version: name.version,
            authority_key_id: self.profile.authority_key_id.map(hex::encode).unwrap_or_default(),
            serial: hex::encode(self.frame.serial),
            anchor: REVIEWED.to_owned(),
            anchor_sha256: [0; 32],
            assurance,
            passed: Vec::new(),
            path: Vec::new(),
        }
    }
}

/// What stands where the name of an anchor would, when people vouched for an EK under a CA that nobody trusts.
pub const REVIEWED: &str = "review";

/// The issuer (DER) of an EK certificate whose path was not believed, when it is one nobody decided about: the store speaks
/// of it as untrusted, or no CA of ours has its name.
pub(crate) fn unknown_issuer(certificate: &[u8], anchors: &Anchors, refusal: &Refusal) -> Option<Vec<u8>> {
    let frame = Certificate::parse(certificate, Leniencies::VENDOR).ok()?;
    let unknown = refusal.reason == Reason::EkCaUntrusted || !anchors.has_issuer(frame.issuer);
    unknown.then(|| frame.issuer.to_vec())
}

/// What an EK certificate claims: profile, template and key are judged as in [`verify`], the path is not.
///
/// # Errors
/// EK_PROFILE, EK_KEY or MALFORMED.
pub(crate) fn claimed(certificate: &[u8], public: &TpmtPublic, kind: AnchorKind) -> Result<EkFacts, Refusal> {
    let fitting = Fitting::of(certificate, public)?;
    let name = fitting.profile.named_below(kind, &[])?;
    let assurance = match kind {
        AnchorKind::Hardware => Assurance::HardwareAllowlisted,
        AnchorKind::Virtual => Assurance::Virtual,
        AnchorKind::Software => Assurance::Software,
    };
    Ok(fitting.facts(certificate, name, assurance))
}

/// The TPM that is named, by a CA whose anchor may speak for its manufacturer.
fn vouched(profile: &Profile<'_>, path: &VerifiedPath<'_>) -> Result<name::TpmName, Refusal> {
    let name = profile.named_below(path.kind, path.manufacturers)?;
    if path.manufacturers.contains(&name.manufacturer) {
        return Ok(name);
    }
    Err(Refusal::new(
        Reason::EkVendor,
        format!(
            "anchor `{}` may not speak for manufacturer {}",
            path.anchor, name.manufacturer
        ),
    ))
}

fn assurance(kind: AnchorKind) -> Assurance {
    match kind {
        AnchorKind::Hardware => Assurance::HardwareVerified,
        AnchorKind::Virtual => Assurance::Virtual,
        AnchorKind::Software => Assurance::Software,
    }
}

/// The canonical SubjectPublicKeyInfo (DER) of the key in an EK certificate: what its SHA-256 is taken over wherever an
/// EK is named. Reading only: no signature is checked, nothing is believed. The departures of vendors' certificates are
/// accepted as in enrollment, id-RSAES-OAEP among them.
///
/// # Errors
/// MALFORMED when it is not one whole certificate, EK_KEY when its key is no RSA or NIST EC key.
pub fn certificate_spki(certificate: &[u8]) -> Result<Vec<u8>, Refusal> {
    let frame = Certificate::parse(certificate, Leniencies::VENDOR)
        .map_err(|error| Refusal::new(Reason::Malformed, format!("EK certificate: {error}")))?;
    canonical_spki(frame.spki)
}

/// The canonical form of a SubjectPublicKeyInfo (DER) as vendors and tools write it: rsaEncryption with NULL, or the named
/// curve with the uncompressed point.
///
/// # Errors
/// EK_KEY when it is no RSA or NIST EC key.
pub fn canonical_spki(spki: &[u8]) -> Result<Vec<u8>, Refusal> {
    PublicKey::parse(spki, Leniencies::VENDOR)
        .map(|key| key.to_spki())
        .map_err(|error| Refusal::new(Reason::EkKey, format!("EK: {error}")))
}
