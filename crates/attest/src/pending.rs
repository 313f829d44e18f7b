//! From an answered challenge to the binding.

use crate::binding::{EvidenceRecord, VerifiedBinding};
use crate::evidence::{ChallengeContext, Endorsed, distinct};
use crate::renewal::Renewed;
use crate::tpm::{self, AttestationKey, IdentityKey, TpmsClockInfo, TpmtPublic};
use crate::{EkFacts, KeyFacts, Reason, Refusal, Root};
use zeroize::Zeroizing;

/// Evidence welded to the one answer that will prove it. Not `Clone`: one challenge, one try.
///
/// ```compile_fail,E0599
/// fn twice(pending: attest::Pending) -> (attest::Pending, attest::Pending) {
///     (pending.clone(), pending)
/// }
/// ```
pub struct Pending {
    pub(crate) context: ChallengeContext,
    pub(crate) ek_certificate: Vec<u8>,
    pub(crate) ek_public: Vec<u8>,
    pub(crate) ek: EkFacts,
    pub(crate) ak: AttestationKey,
    pub(crate) nonce: [u8; 32],
    pub(crate) secret_sha256: [u8; 32],
}

/// What the device answers.
#[derive(Clone)]
pub struct Answer {
    /// Secret out of `TPM2_ActivateCredential`.
    pub secret: Vec<u8>,
    /// Identity key `TPMT_PUBLIC`.
    pub key_public: Vec<u8>,
    /// `TPMS_ATTEST` of `TPM2_Certify`.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE` over it.
    pub signature: Vec<u8>,
    /// CSR, DER.
    pub csr: Vec<u8>,
}

impl core::fmt::Debug for Answer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // The secret stays out of logs.
        f.debug_struct("Answer")
            .field("key_public", &hex::encode(&self.key_public))
            .field("attest", &hex::encode(&self.attest))
            .field("signature", &hex::encode(&self.signature))
            .field("csr", &hex::encode(&self.csr))
            .finish_non_exhaustive()
    }
}

impl core::fmt::Debug for Pending {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pending")
            .field("context", &self.context)
            .field("ek", &self.ek)
            .field("ak", self.ak.facts())
            .finish_non_exhaustive()
    }
}

impl Pending {
    pub(crate) fn new(endorsed: Endorsed, context: ChallengeContext, nonce: [u8; 32], secret_sha256: [u8; 32]) -> Self {
        Self {
            context,
            ek_certificate: endorsed.ek_certificate,
            ek_public: endorsed.ek_public.raw().to_vec(),
            ek: endorsed.ek,
            ak: endorsed.ak,
            nonce,
            secret_sha256,
        }
    }

    /// What the challenge was for.
    #[must_use]
    pub fn context(&self) -> &ChallengeContext {
        &self.context
    }

    /// The endorsement.
    #[must_use]
    pub fn ek(&self) -> &EkFacts {
        &self.ek
    }

    /// The attestation key, not yet proven.
    #[must_use]
    pub fn ak(&self) -> &KeyFacts {
        self.ak.facts()
    }

    /// Consume the pending proof; only a binding survives.
    ///
    /// In this order, because each step stands on the one before: the secret proves the AK; the AK vouches for the
    /// identity key; the identity key signs the request.
    ///
    /// # Errors
    /// ACT_SECRET, CERT_*, AK_ALG (a signature of another scheme than the AK's), KEY_*, CSR_* or MALFORMED.
    pub fn answer(self, answer: Answer) -> Result<VerifiedBinding, Refusal> {
        self.prove(answer, None)
    }

    /// [`Self::answer`]; in a renewal the certification is over the certificate it replaces, too.
    pub(crate) fn prove(self, answer: Answer, renewed: Option<&Renewed>) -> Result<VerifiedBinding, Refusal> {
        let secret = Zeroizing::new(answer.secret);
        // As hashes: of one length whatever was sent, and what an early exit told would be of no use.
        if !openssl::memcmp::eq(&openssl::sha::sha256(&secret), &self.secret_sha256) {
            return Err(Refusal::new(
                Reason::ActSecret,
                "the secret is not that of this challenge",
            ));
        }

        let public = TpmtPublic::parse(&answer.key_public)?;
        let statement = Statement {
            id: &self.context.id,
            nonce: &self.nonce,
            attest: &answer.attest,
            signature: &answer.signature,
            csr: &answer.csr,
            renewed: renewed.map(|of| &of.certificate_sha256),
        };
        let clock = statement.certifies(&self.ak, &public)?;
        let identity = identity(&public, self.ak.facts(), &self.ek.spki_sha256)?;
        let proven = requested(&answer.csr, &identity)?;

        let evidence = EvidenceRecord::assemble(
            [
                &self.context.id,
                &self.ek_certificate,
                &self.ek_public,
                &self.ak.facts().public,
                &identity.public,
                &self.nonce,
                &answer.attest,
                &answer.signature,
                &answer.csr,
            ],
            renewed.map(|of| &of.certificate_sha256),
        );
        Ok(VerifiedBinding {
            context: self.context,
            root: Root::Ek(self.ek),
            ak: self.ak.into_facts(),
            lak: None,
            identity,
            requested: proven.request,
            clock,
            evidence,
        })
    }
}

/// What the AK said, and about which conversation. The checks of an answer, which a later audit makes again
/// ([`crate::replay`]).
pub(crate) struct Statement<'a> {
    pub(crate) id: &'a [u8; 16],
    pub(crate) nonce: &'a [u8; 32],
    pub(crate) attest: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) csr: &'a [u8],
    pub(crate) renewed: Option<&'a [u8; 32]>,
}

impl Statement<'_> {
    /// The AK vouches for this public area, in this conversation, for this request.
    pub(crate) fn certifies(&self, ak: &AttestationKey, public: &TpmtPublic) -> Result<TpmsClockInfo, Refusal> {
        let extra_data = match self.renewed {
            None => tpm::qualifying_data(self.id, self.nonce, self.csr),
            Some(of) => tpm::renewal_qualifying_data(self.id, self.nonce, self.csr, of),
        };
        tpm::verify_certify(ak, self.attest, self.signature, &extra_data, &public.name())
    }
}

/// An identity key, which is neither the AK nor the EK.
pub(crate) fn identity(public: &TpmtPublic, ak: &KeyFacts, ek_spki_sha256: &[u8; 32]) -> Result<KeyFacts, Refusal> {
    let identity = IdentityKey::judge(public)?.into_facts();
    if identity.spki == ak.spki {
        return Err(Refusal::new(Reason::KeyReuse, "the identity key has the key of the AK"));
    }
    distinct("identity key", &identity, ek_spki_sha256)?;
    Ok(identity)
}

/// A request that its key signed, which is the certified one.
pub(crate) fn requested(csr: &[u8], identity: &KeyFacts) -> Result<crate::csr::ProvenCsr, Refusal> {
    let proven = crate::csr::prove(csr)?;
    if proven.spki != identity.spki {
        return Err(Refusal::new(
            Reason::CsrKey,
            "the request is for another key than the certified one",
        ));
    }
    Ok(proven)
}
