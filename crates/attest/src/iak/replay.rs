//! The checks of an enrollment on an IAK made again over archived evidence, by the same code, each for itself. As
//! [`crate::Replay`]: no binding can be made of it.

use super::pending::{Talk, distinct};
use super::{IakBytes, IakEvidence, IakEvidenceFields, Manufacturers};
use crate::pending::requested;
use crate::tpm::{AttestationKey, Certifies, IdentityKey, TpmtPublic};
use crate::{IakFacts, KeyFacts, Reason, Refusal, UnixTime};

/// Archived evidence, and what it was judged by.
#[derive(Debug)]
pub struct IakReplay<'a> {
    /// The evidence record.
    pub evidence: IakEvidenceFields<'a>,
    /// Who was believed.
    pub manufacturers: &'a Manufacturers,
    /// CA certificates between anchor, IAK and IDevID ([`IakFacts::path`]), DER.
    pub between: &'a [Vec<u8>],
    /// When the manufacturer's word was judged.
    pub at: UnixTime,
}

/// What each check finds now.
#[derive(Debug)]
pub struct IakReplayed {
    /// The manufacturer's word: certificates of IAK and IDevID, their paths, and that it is this key.
    pub endorsement: Result<IakFacts, Refusal>,
    /// The IAK's attributes and algorithms.
    pub iak: Result<KeyFacts, Refusal>,
    /// The new attestation key's; none where there is none.
    pub lak: Result<Option<KeyFacts>, Refusal>,
    /// The IAK's statements about the new keys, over this nonce and this request.
    pub certification: Result<(), Refusal>,
    /// The identity key's attributes and algorithms; no key has two roles.
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

impl IakReplay<'_> {
    /// Make every check, also where an earlier one refuses.
    #[must_use]
    pub fn run(&self) -> IakReplayed {
        let fields = &self.evidence;
        let endorsement = self.endorsed();
        let ek = endorsement.as_ref().ok().and_then(|facts| facts.ek_spki_sha256);
        let iak = TpmtPublic::parse(fields.iak_public).and_then(AttestationKey::judge);
        let lak = match fields.lak_public {
            [] => Ok(None),
            public => TpmtPublic::parse(public)
                .and_then(AttestationKey::judge)
                .map(|key| Some(key.into_facts())),
        };
        let certification = self.certified(&iak);
        let identity_key = TpmtPublic::parse(fields.key_public).and_then(|public| {
            let identity = IdentityKey::judge(&public)?.into_facts();
            let iak = iak.as_ref().map_err(|_| missing("the IAK"))?;
            let lak = lak.as_ref().map_err(|_| missing("the new attestation key"))?;
            distinct(iak.facts(), &identity, lak.as_ref(), ek)?;
            Ok(identity)
        });
        let request = match &identity_key {
            Ok(identity) => requested(fields.csr, identity).map(|proven| proven.request),
            Err(_) => Err(missing("the identity key")),
        };
        IakReplayed {
            endorsement,
            iak: iak.map(AttestationKey::into_facts),
            lak,
            certification,
            identity_key,
            request,
        }
    }

    fn endorsed(&self) -> Result<IakFacts, Refusal> {
        let fields = &self.evidence;
        let bytes = IakBytes {
            certificate: fields.certificate.to_vec(),
            idevid: Some(fields.idevid.to_vec()).filter(|der| !der.is_empty()),
            chain: self.between.to_vec(),
            public: fields.iak_public.to_vec(),
        };
        Ok(IakEvidence::decode(bytes)?.verify(self.manufacturers, self.at)?.facts)
    }

    fn certified(&self, iak: &Result<AttestationKey, Refusal>) -> Result<(), Refusal> {
        let fields = &self.evidence;
        let length = |what| move |_| Refusal::new(Reason::Malformed, format!("{what} has another length"));
        let replaced = fields.renewed.map(<&[u8; 32]>::try_from).transpose();
        let talk = Talk {
            id: fields.id.try_into().map_err(length("the enrollment id"))?,
            nonce: fields.nonce.try_into().map_err(length("the nonce"))?,
            csr: fields.csr,
            replaced: replaced.map_err(length("a digest"))?,
        };
        let iak = iak.as_ref().map_err(|_| missing("the IAK"))?;
        let identity = [fields.key_public, fields.attest, fields.signature];
        talk.says(iak, identity, Certifies::Identity)?;
        let lak = [fields.lak_public, fields.lak_attest, fields.lak_signature];
        if lak.iter().all(|part| part.is_empty()) {
            return Ok(());
        }
        talk.says(iak, lak, Certifies::Attestation).map(drop)
    }
}
