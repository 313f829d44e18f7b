//! The checks of an enrollment made again over archived evidence, by the same code, each for itself.
//!
//! What comes of it is for people and relying parties: it proves no activation, since the secret of a challenge is not in
//! the evidence, and no [`crate::VerifiedBinding`] can be made of it.

use crate::ek::AllowedEk;
use crate::evidence::distinct;
use crate::pending::{Statement, identity, requested};
use crate::tpm::{AttestationKey, TpmtPublic};
use crate::trust::Anchors;
use crate::{AnchorKind, EkFacts, EvidenceFields, KeyFacts, Reason, Refusal, UnixTime};

/// On whose word an EK was believed.
#[derive(Debug)]
pub enum Endorsement<'a> {
    /// A manufacturer's certificate, up to one of these anchors; `offered` builds the path.
    Chain {
        /// The anchors.
        anchors: &'a Anchors,
        /// CA certificates, DER.
        offered: &'a [Vec<u8>],
    },
    /// An administrator's, who named the key; there is no certificate.
    Allowed(AnchorKind),
    /// People's, who looked at this EK under a CA that nobody decided about.
    Reviewed(AnchorKind),
}

/// Archived evidence, and what it was judged by.
#[derive(Debug)]
pub struct Replay<'a> {
    /// The evidence record.
    pub evidence: EvidenceFields<'a>,
    /// On whose word the EK was believed.
    pub endorsement: Endorsement<'a>,
    /// When the EK was judged.
    pub at: UnixTime,
}

/// What each check finds now.
#[derive(Debug)]
pub struct Replayed {
    /// The EK: certificate, path, profile, template, and the key it certifies.
    pub endorsement: Result<EkFacts, Refusal>,
    /// The AK's attributes and algorithms; it is not the EK.
    pub attestation_key: Result<KeyFacts, Refusal>,
    /// The AK's statement about the identity key, over this nonce and this request.
    pub certification: Result<(), Refusal>,
    /// The identity key's attributes and algorithms; it is neither AK nor EK.
    pub identity_key: Result<KeyFacts, Refusal>,
    /// The request, signed by the identity key: what it asks for.
    pub request: Result<crate::csr::CsrRequest, Refusal>,
}

fn missing(what: &str) -> Refusal {
    Refusal::new(
        Reason::Malformed,
        format!("{what} is not what it must be, so this cannot be said"),
    )
}

impl Replay<'_> {
    /// Make every check, also where an earlier one refuses.
    #[must_use]
    pub fn run(&self) -> Replayed {
        let fields = &self.evidence;
        let ek_public = TpmtPublic::parse(fields.ek_public);
        let ek_spki = ek_public
            .clone()
            .and_then(|public| public.spki())
            .map(|spki| crate::digest::sha256(&spki));
        let ek = ek_spki.clone().ok();
        let endorsement = ek_public.and_then(|public| self.endorsed(&public));
        let ak = TpmtPublic::parse(fields.ak_public)
            .and_then(AttestationKey::judge)
            .and_then(|ak| {
                let ek = ek_spki.map_err(|_| missing("the EK"))?;
                distinct("AK", ak.facts(), &ek)?;
                Ok(ak)
            });
        let public = TpmtPublic::parse(fields.key_public);
        let certification = self.certified(&ak, &public);
        let identity_key = public.and_then(|public| {
            let ak = ak.as_ref().map_err(|_| missing("the AK"))?;
            identity(&public, ak.facts(), &ek.ok_or_else(|| missing("the EK"))?)
        });
        let request = match &identity_key {
            Ok(identity) => requested(fields.csr, identity).map(|proven| proven.request),
            Err(_) => Err(missing("the identity key")),
        };
        Replayed {
            endorsement,
            attestation_key: ak.map(AttestationKey::into_facts),
            certification,
            identity_key,
            request,
        }
    }

    fn endorsed(&self, public: &TpmtPublic) -> Result<EkFacts, Refusal> {
        let certificate = self.evidence.ek_certificate;
        match &self.endorsement {
            Endorsement::Chain { anchors, offered } => {
                crate::ek::verify(certificate, offered, public, anchors, self.at)
            }
            Endorsement::Reviewed(kind) => crate::ek::claimed(certificate, public, *kind),
            Endorsement::Allowed(_) if !certificate.is_empty() => {
                Err(Refusal::new(Reason::Malformed, "there is an EK certificate after all"))
            }
            Endorsement::Allowed(kind) => {
                let spki = public.spki().map_err(|refusal| refusal.because(Reason::EkKey))?;
                let allowed = AllowedEk {
                    spki_sha256: crate::digest::sha256(&spki),
                    kind: *kind,
                };
                crate::ek::verify_allowed(public, Some(&allowed))
            }
        }
    }

    fn certified(
        &self,
        ak: &Result<AttestationKey, Refusal>,
        key: &Result<TpmtPublic, Refusal>,
    ) -> Result<(), Refusal> {
        let fields = &self.evidence;
        let length = |what| move |_| Refusal::new(Reason::Malformed, format!("{what} has another length"));
        let renewed = fields.renewed.map(<&[u8; 32]>::try_from).transpose();
        let statement = Statement {
            id: fields.id.try_into().map_err(length("the enrollment id"))?,
            nonce: fields.nonce.try_into().map_err(length("the nonce"))?,
            attest: fields.attest,
            signature: fields.signature,
            csr: fields.csr,
            renewed: renewed.map_err(length("a digest"))?,
        };
        let ak = ak.as_ref().map_err(|_| missing("the AK"))?;
        let key = key.as_ref().map_err(|_| missing("the identity key"))?;
        statement.certifies(ak, key).map(drop)
    }
}
