//! Third-party issuance: a key proven by the manufacturer's initial attestation key (IAK), of a device never seen before.
//!
//! ```text
//! IakBytes -> IakEvidence -> Vouched -> (nonce, IakPending) -> VerifiedBinding
//!    decode        verify      challenge            answer
//! ```
//!
//! The manufacturer's certificate says that the IAK is a restricted key of a genuine TPM; such a key signs a `TPM2_Certify`
//! only for objects that are loaded beside it. So no credential is activated: possession of the IAK is shown by its
//! signature over a fresh nonce. What the manufacturer proved, this CA has not seen, and does not say.

mod pending;
mod profile;
mod record;
mod replay;
mod ticket;

#[cfg(test)]
mod tests;

pub use pending::{IakAnswer, IakPending, IakRenewalPending, Statement};
pub use record::IakEvidenceFields;
pub use replay::{IakReplay, IakReplayed};

use crate::evidence::{ChallengeContext, ChallengeError};
use crate::renewal::Renewed;
use crate::tpm::{AttestationKey, TpmtPublic};
use crate::trust::{About, AnchorError, Anchors, TrustSources, VerifiedPath};
use crate::x509::{Certificate, Leniencies};
use crate::{Entropy, IakFacts, KeyFacts, Reason, Refusal, UnixTime, Watched};
use profile::Profile;

/// Anchors for the claims of device manufacturers. Never those for TPM manufacturers: they are of another type.
#[derive(Debug)]
pub struct Manufacturers(Anchors);

impl Manufacturers {
    /// As [`Anchors::of`], of sources that are about IAKs.
    ///
    /// # Errors
    /// [`AnchorError`]; sources that are about TPMs are one.
    pub fn of(sources: TrustSources) -> Result<Self, AnchorError> {
        if sources.about != About::Iak {
            return Err(AnchorError {
                name: String::new(),
                detail: "what was decided about TPM manufacturers says nothing about device manufacturers".to_owned(),
            });
        }
        Anchors::of(sources).map(Self)
    }

    /// As [`Anchors::terms`]; manufacturer ids are of TPMs, so there are none.
    #[must_use]
    pub fn terms(&self, sha256: &[u8; 32]) -> Option<(crate::AnchorKind, bool)> {
        self.0.terms(sha256).map(|(kind, _, enforce)| (kind, enforce))
    }

    /// As [`Anchors::decided`].
    #[must_use]
    pub fn decided(&self) -> Vec<String> {
        self.0.decided()
    }

    /// None: nobody is believed.
    ///
    /// # Errors
    /// Never; [`AnchorError`] for the signature's sake.
    pub fn none() -> Result<Self, AnchorError> {
        Self::of(TrustSources {
            about: About::Iak,
            ..TrustSources::default()
        })
    }

    /// As [`Anchors::software_anchors`].
    #[must_use]
    pub fn software_anchors(&self) -> Vec<&str> {
        self.0.software_anchors()
    }

    /// As [`Anchors::unused_intermediates`].
    #[must_use]
    pub fn unused_intermediates(&self) -> &[AnchorError] {
        self.0.unused_intermediates()
    }
}

/// Evidence as received. Nothing is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IakBytes {
    /// The IAK's certificate, DER.
    pub certificate: Vec<u8>,
    /// The IDevID certificate of the same device, DER. Shown for the record; nothing is proven about its key.
    pub idevid: Option<Vec<u8>>,
    /// Certificates of the manufacturer's CAs that the device offers, DER. They build paths and are never anchors.
    pub chain: Vec<Vec<u8>>,
    /// The IAK's `TPMT_PUBLIC`.
    pub public: Vec<u8>,
}

/// Decoded, structurally sound, worth nothing yet.
#[derive(Debug)]
pub struct IakEvidence {
    bytes: IakBytes,
    public: TpmtPublic,
}

/// A manufacturer vouches for the IAK. Whether it is there is not yet known.
#[derive(Debug)]
pub struct Vouched {
    pub(crate) bytes: IakBytes,
    pub(crate) facts: IakFacts,
    pub(crate) iak: AttestationKey,
}

impl IakEvidence {
    /// Parse; never judge.
    ///
    /// # Errors
    /// [`Reason::Malformed`].
    pub fn decode(bytes: IakBytes) -> Result<Self, Refusal> {
        let public = TpmtPublic::parse(&bytes.public)
            .map_err(|refusal| Refusal::new(refusal.reason, format!("IAK: {}", refusal.detail)))?;
        Ok(Self { bytes, public })
    }

    /// Judge the IAK's attributes, its certificate, and the path to a manufacturer's anchor.
    ///
    /// # Errors
    /// AK_ATTR, AK_ALG, IAK_* and IDEVID; MALFORMED when a certificate is not one.
    pub fn verify(self, manufacturers: &Manufacturers, now: UnixTime) -> Result<Vouched, Refusal> {
        let Self { bytes, public } = self;
        // The attributes cost nothing to judge, the chain does.
        let iak = AttestationKey::judge(public)?;
        let frame = parse(&bytes.certificate, "IAK")?;
        let profile = Profile::read(&frame)?;
        let key = |detail: &str| Err(Refusal::new(Reason::IakKey, detail));
        // Both sides are canonical: equal bytes are equal numbers, or equal points.
        if profile.key.to_spki() != iak.facts().spki {
            return key("the IAK's public area is not the certified key");
        }
        // The key alone says nothing about attributes; where the certificate has the Name, they are certified, too.
        if let Some(binding) = &profile.binding
            && binding.ik_name.as_bytes() != iak.facts().name
        {
            return key("the certificate names another public area of this key");
        }
        let spki_sha256 = crate::digest::sha256(&iak.facts().spki);
        let certificate_sha256 = crate::digest::sha256(&bytes.certificate);
        let anchors = &manufacturers.0;
        if let Some(name) = anchors.refuses(&certificate_sha256, &spki_sha256) {
            return Err(Refusal::new(
                Reason::IakRefused,
                format!("this IAK itself is refused as `{name}`"),
            ));
        }
        let path = anchors.verify(&frame, &bytes.chain, now)?;
        let mut certificates = path.certificates.clone();
        let idevid_sha256 = match &bytes.idevid {
            None => None,
            Some(idevid) => {
                let (sha256, beside) = beside(idevid, &frame, &bytes.chain, &path, anchors, now)?;
                certificates.extend(beside.into_iter().filter(|der| !path.certificates.contains(der)));
                Some(sha256)
            }
        };
        let ek_spki_sha256 = match &profile.binding {
            None => None,
            Some(binding) => Some(
                <[u8; 32]>::try_from(binding.ek_spki_sha256.as_bytes())
                    .map_err(|_| Refusal::new(Reason::IakProfile, "its RoT binding has a digest of another length"))?,
            ),
        };
        let facts = IakFacts {
            certificate_sha256,
            spki_sha256,
            issuer: frame.issuer.to_vec(),
            serial: frame.serial.to_vec(),
            idevid_sha256,
            assurance: profile.assurance(path.kind),
            hardware_serial: profile.hardware_serial,
            permanent_id: profile.permanent_id,
            ek_spki_sha256,
            anchor: path.anchor.to_owned(),
            anchor_sha256: path.anchor_sha256,
            path: certificates,
        };
        Ok(Vouched { bytes, facts, iak })
    }
}

fn parse<'a>(der: &'a [u8], what: &str) -> Result<Certificate<'a>, Refusal> {
    Certificate::parse(der, Leniencies::NONE)
        .map_err(|error| Refusal::new(Reason::Malformed, format!("{what} certificate: {error}")))
}

/// SHA-256 of an IDevID certificate that is of the same device as the IAK's: same subject, below the same anchor; and the
/// CA certificates above it.
fn beside(
    idevid: &[u8],
    iak: &Certificate<'_>,
    chain: &[Vec<u8>],
    path: &VerifiedPath<'_>,
    anchors: &Anchors,
    now: UnixTime,
) -> Result<([u8; 32], Vec<Vec<u8>>), Refusal> {
    let wrong = |detail: String| Refusal::new(Reason::Idevid, format!("IDevID certificate: {detail}"));
    let frame = parse(idevid, "IDevID")?;
    profile::idevid(&frame)?;
    if frame.subject != iak.subject {
        return Err(wrong("its subject is not that of the IAK's".to_owned()));
    }
    let other = anchors
        .verify(&frame, chain, now)
        .map_err(|refusal| wrong(refusal.detail))?;
    if other.anchor_sha256 != path.anchor_sha256 {
        return Err(wrong(format!(
            "its anchor is `{}`, the IAK's is `{}`",
            other.anchor, path.anchor
        )));
    }
    Ok((crate::digest::sha256(idevid), other.certificates))
}

impl Vouched {
    /// The manufacturer's word.
    #[must_use]
    pub fn facts(&self) -> &IakFacts {
        &self.facts
    }

    /// The IAK, possession not yet shown.
    #[must_use]
    pub fn iak(&self) -> &KeyFacts {
        self.iak.facts()
    }

    /// Ask for statements of the IAK about new keys. The evidence moves into [`IakPending`].
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn challenge(
        self,
        context: ChallengeContext,
        entropy: &mut dyn Entropy,
    ) -> Result<([u8; 32], IakPending), ChallengeError> {
        let mut nonce = [0; 32];
        Watched::new(entropy).fill(&mut nonce)?;
        let pending = IakPending {
            context,
            vouched: self,
            nonce,
        };
        Ok((nonce, pending))
    }

    /// [`Self::challenge`] for the renewal of this certificate.
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn renewal_challenge(
        self,
        context: ChallengeContext,
        renewed: Renewed,
        entropy: &mut dyn Entropy,
    ) -> Result<([u8; 32], IakRenewalPending), ChallengeError> {
        let (nonce, pending) = self.challenge(context, entropy)?;
        Ok((nonce, IakRenewalPending { pending, renewed }))
    }
}
