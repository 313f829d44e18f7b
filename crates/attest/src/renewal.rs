//! Renewal: the whole proof again, over the certificate that is to be replaced.

use crate::binding::VerifiedBinding;
use crate::evidence::{Challenge, ChallengeContext, ChallengeError, Endorsed};
use crate::pending::{Answer, Pending};
use crate::{Entropy, Refusal};

/// The certificate that a renewal replaces, as the record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// SHA-256 of its DER.
    pub certificate_sha256: [u8; 32],
    /// Serial, DER content octets.
    pub serial: Vec<u8>,
    /// subjectKeyIdentifier of its issuer.
    pub issuer_key_id: Vec<u8>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
}

/// A [`Pending`] of a renewal. Never one of an enrollment: ticket, qualifying data and evidence are of another kind.
///
/// ```compile_fail,E0599
/// fn twice(pending: attest::RenewalPending) -> (attest::RenewalPending, attest::RenewalPending) {
///     (pending.clone(), pending)
/// }
/// ```
#[derive(Debug)]
pub struct RenewalPending {
    pub(crate) pending: Pending,
    pub(crate) renewed: Renewed,
}

/// The TPM behind a certificate has answered again. Made only by [`RenewalPending::answer`] and
/// [`crate::iak::IakRenewalPending::answer`].
///
/// It does not give its binding away, so it cannot pass for an enrollment:
///
/// ```compile_fail,E0507
/// fn enroll(proof: attest::RenewalProof) -> attest::VerifiedBinding {
///     *proof.binding()
/// }
/// ```
/// ```compile_fail,E0451
/// fn forge(binding: attest::VerifiedBinding, renewed: attest::Renewed) -> attest::RenewalProof {
///     attest::RenewalProof { binding, renewed }
/// }
/// ```
#[derive(Debug)]
pub struct RenewalProof {
    binding: VerifiedBinding,
    renewed: Renewed,
}

impl Endorsed {
    /// Ask the TPM again: as [`Endorsed::challenge`], for the renewal of this certificate.
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn renewal_challenge(
        self,
        context: ChallengeContext,
        renewed: Renewed,
        entropy: &mut dyn Entropy,
    ) -> Result<(Challenge, RenewalPending), ChallengeError> {
        let (challenge, pending) = self.challenge(context, entropy)?;
        Ok((challenge, RenewalPending { pending, renewed }))
    }
}

impl RenewalPending {
    /// What the challenge was for.
    #[must_use]
    pub fn context(&self) -> &ChallengeContext {
        self.pending.context()
    }

    /// The certificate to be replaced.
    #[must_use]
    pub fn renewed(&self) -> &Renewed {
        &self.renewed
    }

    /// Consume the pending proof, as [`Pending::answer`]; the certification must name the certificate that is replaced.
    ///
    /// # Errors
    /// As [`Pending::answer`].
    pub fn answer(self, answer: Answer) -> Result<RenewalProof, Refusal> {
        let Self { pending, renewed } = self;
        let binding = pending.prove(answer, Some(&renewed))?;
        Ok(RenewalProof::new(binding, renewed))
    }
}

impl RenewalProof {
    pub(crate) fn new(binding: VerifiedBinding, renewed: Renewed) -> Self {
        Self { binding, renewed }
    }

    /// What was proven.
    #[must_use]
    pub fn binding(&self) -> &VerifiedBinding {
        &self.binding
    }

    /// The certificate to be replaced.
    #[must_use]
    pub fn renewed(&self) -> &Renewed {
        &self.renewed
    }

    /// Whether the key of the certificate stays; otherwise it is a new key of the same TPM.
    #[must_use]
    pub fn same_key(&self) -> bool {
        openssl::sha::sha256(&self.binding.identity.spki) == self.renewed.spki_sha256
    }
}
