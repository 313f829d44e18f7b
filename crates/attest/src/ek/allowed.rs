//! Endorsement keys without a certificate: an administrator vouches for the key itself.

use super::EkTemplate;
use crate::facts::NO_CERTIFICATE;
use crate::tpm::TpmtPublic;
use crate::{AnchorKind, Assurance, EkFacts, Reason, Refusal};

/// An EK that an administrator named by its key, and what he says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedEk {
    /// SHA-256 of its canonical SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// What kind of TPM it is in, by his word.
    pub kind: AnchorKind,
}

impl AllowedEk {
    /// What stands where the name of an anchor would.
    pub const ANCHOR: &str = "allow-list";

    /// What his word is worth: never what a manufacturer's is.
    #[must_use]
    pub fn assurance(self) -> Assurance {
        match self.kind {
            AnchorKind::Hardware => Assurance::HardwareAllowlisted,
            AnchorKind::Virtual => Assurance::Virtual,
            AnchorKind::Software => Assurance::Software,
        }
    }
}

/// Verify an EK that has no certificate: of a TCG template, not weak, and the key that was vouched for. That the TPM has
/// it is proven by the activation, as for any other.
///
/// # Errors
/// EK_KEY, EK_NO_CERTIFICATE.
pub(crate) fn verify(public: &TpmtPublic, allowed: Option<&AllowedEk>) -> Result<EkFacts, Refusal> {
    let template = EkTemplate::of(public)?;
    let spki = public.spki().map_err(|refusal| refusal.because(Reason::EkKey))?;
    let spki_sha256 = crate::digest::sha256(&spki);
    let allowed = allowed
        .filter(|allowed| allowed.spki_sha256 == spki_sha256)
        .ok_or_else(|| {
            Refusal::new(
                Reason::EkNoCertificate,
                format!(
                    "the TPM has no EK certificate, and nobody vouched for EK {}",
                    hex::encode(spki_sha256)
                ),
            )
        })?;
    Ok(EkFacts {
        certificate_sha256: NO_CERTIFICATE,
        spki_sha256,
        template,
        manufacturer: String::new(),
        model: String::new(),
        version: String::new(),
        authority_key_id: String::new(),
        serial: String::new(),
        anchor: AllowedEk::ANCHOR.to_owned(),
        anchor_sha256: NO_CERTIFICATE,
        assurance: allowed.assurance(),
        passed: Vec::new(),
        path: Vec::new(),
    })
}
