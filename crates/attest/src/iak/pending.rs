//! From the IAK's statements to the binding.

use super::Vouched;
use super::record::IakEvidenceFields;
use crate::binding::VerifiedBinding;
use crate::evidence::ChallengeContext;
use crate::pending::requested;
use crate::renewal::{RenewalProof, Renewed};
use crate::tpm::{self, AttestationKey, Certifies, IdentityKey, TpmsClockInfo, TpmtPublic};
use crate::{IakFacts, KeyFacts, Reason, Refusal, Root};

/// The manufacturer's word welded to the one nonce that its key will sign over. Not `Clone`: one challenge, one try.
///
/// ```compile_fail,E0599
/// fn twice(pending: attest::iak::IakPending) -> (attest::iak::IakPending, attest::iak::IakPending) {
///     (pending.clone(), pending)
/// }
/// ```
#[derive(Debug)]
pub struct IakPending {
    pub(crate) context: ChallengeContext,
    pub(crate) vouched: Vouched,
    pub(crate) nonce: [u8; 32],
}

/// An [`IakPending`] of a renewal. Never one of an enrollment: ticket, qualifying data and evidence are of another kind.
#[derive(Debug)]
pub struct IakRenewalPending {
    pub(crate) pending: IakPending,
    pub(crate) renewed: Renewed,
}

/// A key, and what the IAK says about it.
#[derive(Clone, Debug)]
pub struct Statement {
    /// `TPMT_PUBLIC` of the key.
    pub public: Vec<u8>,
    /// `TPMS_ATTEST` of `TPM2_Certify` by the IAK.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE` over it.
    pub signature: Vec<u8>,
}

/// What the device answers.
#[derive(Clone, Debug)]
pub struct IakAnswer {
    /// The identity key.
    pub key: Statement,
    /// The new attestation key; if and only if a profile for it was asked for.
    pub lak: Option<Statement>,
    /// CSR, DER, by the identity key.
    pub csr: Vec<u8>,
}

impl IakPending {
    /// What the challenge was for.
    #[must_use]
    pub fn context(&self) -> &ChallengeContext {
        &self.context
    }

    /// The manufacturer's word.
    #[must_use]
    pub fn facts(&self) -> &IakFacts {
        &self.vouched.facts
    }

    /// Consume the pending proof; only a binding survives.
    ///
    /// # Errors
    /// CERT_*, AK_ATTR and AK_ALG of the new attestation key, KEY_*, CSR_* or MALFORMED.
    pub fn answer(self, answer: IakAnswer) -> Result<VerifiedBinding, Refusal> {
        self.prove(answer, None)
    }

    fn prove(self, answer: IakAnswer, renewed: Option<&Renewed>) -> Result<VerifiedBinding, Refusal> {
        let Self {
            context,
            vouched,
            nonce,
        } = self;
        let replaced = renewed.map(|of| &of.certificate_sha256);
        let talk = Talk {
            id: &context.id,
            nonce: &nonce,
            csr: &answer.csr,
            replaced,
        };
        let said = |of: &Statement, what| talk.says(&vouched.iak, [&of.public, &of.attest, &of.signature], what);
        if answer.lak.is_some() != context.attestation_profile.is_some() {
            return Err(Refusal::new(
                Reason::Malformed,
                "an attestation key belongs to a profile for it, and the other way round",
            ));
        }
        let lak = match &answer.lak {
            None => None,
            Some(statement) => {
                let (public, _) = said(statement, Certifies::Attestation)?;
                Some(AttestationKey::judge(public)?.into_facts())
            }
        };
        let (public, clock) = said(&answer.key, Certifies::Identity)?;
        let identity = IdentityKey::judge(&public)?.into_facts();
        let iak = vouched.iak.facts();
        distinct(iak, &identity, lak.as_ref(), vouched.facts.ek_spki_sha256)?;
        let proven = requested(&answer.csr, &identity)?;
        let nothing: &[u8] = &[];
        let evidence = IakEvidenceFields {
            id: &context.id,
            certificate: &vouched.bytes.certificate,
            idevid: vouched.bytes.idevid.as_deref().unwrap_or_default(),
            chain: vouched.bytes.chain.iter().map(Vec::as_slice).collect(),
            iak_public: &iak.public,
            lak_public: lak.as_ref().map_or(nothing, |key| &key.public),
            key_public: &identity.public,
            nonce: &nonce,
            attest: &answer.key.attest,
            signature: &answer.key.signature,
            lak_attest: answer.lak.as_ref().map_or(nothing, |of| &of.attest),
            lak_signature: answer.lak.as_ref().map_or(nothing, |of| &of.signature),
            csr: &answer.csr,
            renewed: replaced.map(<[u8; 32]>::as_slice),
        }
        .record();
        Ok(VerifiedBinding {
            context,
            ak: vouched.iak.into_facts(),
            root: Root::Iak(vouched.facts),
            lak,
            identity,
            requested: proven.request,
            clock,
            evidence,
        })
    }
}

/// What a statement of the IAK is said in, so that it is of no other conversation.
pub(super) struct Talk<'a> {
    pub(super) id: &'a [u8; 16],
    pub(super) nonce: &'a [u8; 32],
    pub(super) csr: &'a [u8],
    pub(super) replaced: Option<&'a [u8; 32]>,
}

impl Talk<'_> {
    /// The IAK certified this key in this role, in this conversation; what its TPM said of its clock. The statement is
    /// `TPMT_PUBLIC`, `TPMS_ATTEST`, `TPMT_SIGNATURE`.
    pub(super) fn says(
        &self,
        iak: &AttestationKey,
        [public, attest, signature]: [&[u8]; 3],
        what: Certifies,
    ) -> Result<(TpmtPublic, TpmsClockInfo), Refusal> {
        let public = TpmtPublic::parse(public)?;
        let extra = tpm::iak_qualifying_data(self.id, self.nonce, self.csr, what, self.replaced);
        let clock = tpm::verify_certify(iak, attest, signature, &extra, &public.name())?;
        Ok((public, clock))
    }
}

/// No key in two roles; `ek` by the word of the IAK's issuer.
pub(super) fn distinct(
    iak: &KeyFacts,
    identity: &KeyFacts,
    lak: Option<&KeyFacts>,
    ek: Option<[u8; 32]>,
) -> Result<(), Refusal> {
    let reuse = |detail: &str| Err(Refusal::new(Reason::KeyReuse, detail));
    if identity.spki == iak.spki {
        return reuse("the identity key has the key of the IAK");
    }
    if lak.is_some_and(|lak| lak.spki == iak.spki) {
        return reuse("the new attestation key has the key of the IAK");
    }
    if lak.is_some_and(|lak| lak.spki == identity.spki) {
        return reuse("the identity key has the key of the new attestation key");
    }
    let is_ek = |key: &KeyFacts| ek == Some(crate::digest::sha256(&key.spki));
    if is_ek(identity) || lak.is_some_and(is_ek) {
        return reuse("a key has the key of the EK");
    }
    Ok(())
}

impl IakRenewalPending {
    /// What the challenge was for.
    #[must_use]
    pub fn context(&self) -> &ChallengeContext {
        &self.pending.context
    }

    /// The certificate to be replaced.
    #[must_use]
    pub fn renewed(&self) -> &Renewed {
        &self.renewed
    }

    /// Consume the pending proof, as [`IakPending::answer`]; the statement must name the certificate that is replaced.
    ///
    /// # Errors
    /// As [`IakPending::answer`].
    pub fn answer(self, answer: IakAnswer) -> Result<RenewalProof, Refusal> {
        let Self { pending, renewed } = self;
        let binding = pending.prove(answer, Some(&renewed))?;
        Ok(RenewalProof::new(binding, renewed))
    }
}
