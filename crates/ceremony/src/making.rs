//! From plan and inputs to the bytes that will be signed: the same function before, in and after the ceremony.

use issuance::crl::{CrlDraft, CrlDraftError, CrlSpec, LintedCrl, Revoked};
use issuance::{
    CaKey, CrlNumber, CrlScope, Draft, DraftError, Issuer, KeyError, Linted, Serial, SignatureAlgorithm, ToSign,
};
use policies::{CaCertificatePlan, CeremonyError, ProfileKind, Profiles, Quorum, Validity};

use crate::inputs::{Inputs, Subject};
use crate::{CertificatePlan, CrlPlan, Plan, Work};

/// What a plan does not make.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MakingError {
    /// The plan makes no certificate, or no CRL.
    #[error("a `{0}` ceremony makes none")]
    Nothing(&'static str),
    /// An input it needs is not there.
    #[error("the input `{0}` is missing")]
    Input(&'static str),
    /// The policy says no.
    #[error("{0}")]
    Policy(String),
    /// No draft, or lints refused it.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The same for a CRL.
    #[error(transparent)]
    Crl(#[from] CrlDraftError),
}

impl From<CeremonyError> for MakingError {
    fn from(e: CeremonyError) -> Self {
        Self::Policy(e.0)
    }
}

/// The certificate of the plan, linted. `key` is the key of the token: the root's own, or the issuer's.
///
/// # Errors
/// [`MakingError`].
pub fn certificate(
    plan: &Plan,
    inputs: &Inputs,
    key: &dyn CaKey,
    profiles: &Profiles,
    quorum: &Quorum,
) -> Result<Linted, MakingError> {
    let wanted = plan
        .work()
        .certificate()
        .ok_or(MakingError::Nothing(plan.work().kind()))?;
    let of = |kind, spki: &[u8]| ca(wanted, kind, spki).approve(profiles, quorum);
    let draft = match plan.work() {
        Work::Root { .. } => Draft::self_signed(of(ProfileKind::Root, key.spki())?, key, wanted.serial)?,
        Work::Issuing { .. } => {
            let request = inputs.request.as_ref().ok_or(MakingError::Input("request"))?;
            let issuer = inputs.issuer.as_ref().ok_or(MakingError::Input("issuer"))?;
            Draft::new(of(ProfileKind::Issuing, request.spki())?, issuer, wanted.serial)?
        }
        Work::Cross { .. } => {
            let subject = inputs.subject.as_ref().ok_or(MakingError::Input("subject"))?;
            let issuer = inputs.issuer.as_ref().ok_or(MakingError::Input("issuer"))?;
            if subject.rehearsal && !matches!(quorum, Quorum::Rehearsal) {
                return Err(MakingError::Policy(
                    "a rehearsal's CA is crossed in a rehearsal only".into(),
                ));
            }
            Draft::new(of(subject.kind(), &subject.spki)?, issuer, wanted.serial)?
        }
        Work::Crl { .. } | Work::Restore | Work::Destroy => return Err(MakingError::Nothing(plan.work().kind())),
    };
    Ok(draft.lint()?)
}

/// The certificate of the root that stands in for `real` in a rehearsal: its name and dates, marked; `key` is its own.
///
/// # Errors
/// [`MakingError`].
pub fn stand_in(
    named: &Subject,
    real: &Issuer,
    key: &dyn CaKey,
    profiles: &Profiles,
    serial: Serial,
) -> Result<Linted, MakingError> {
    let profile = profiles
        .only(ProfileKind::Root)
        .ok_or(MakingError::Nothing("stand-in"))?;
    let plan = CaCertificatePlan {
        profile: profile.name().to_owned(),
        kind: ProfileKind::Root,
        organization: named.organization.clone(),
        common_name: named.common_name.clone(),
        spki: key.spki().to_vec(),
        validity: Validity {
            not_before: real.not_before(),
            not_after: real.not_after(),
        },
    };
    Ok(Draft::self_signed(plan.approve(profiles, &Quorum::Rehearsal)?, key, serial)?.lint()?)
}

fn ca(plan: &CertificatePlan, kind: ProfileKind, spki: &[u8]) -> CaCertificatePlan {
    CaCertificatePlan {
        profile: plan.profile.clone(),
        kind,
        organization: plan.organization.clone(),
        common_name: plan.common_name.clone(),
        spki: spki.to_vec(),
        validity: Validity {
            not_before: plan.not_before,
            not_after: plan.not_after,
        },
    }
}

/// The CRL of the plan, linted.
///
/// # Errors
/// [`MakingError`].
pub fn crl(plan: &Plan, issuer: &Issuer) -> Result<LintedCrl, MakingError> {
    let wanted = plan.work().crl().ok_or(MakingError::Nothing(plan.work().kind()))?;
    Ok(CrlDraft::new(spec(wanted)?, issuer)?.lint()?)
}

fn spec(plan: &CrlPlan) -> Result<CrlSpec, MakingError> {
    let revoked = plan.revoked.iter().map(|line| Revoked {
        serial: line.serial,
        at: line.at,
        reason: line.reason,
    });
    Ok(CrlSpec {
        scope: CrlScope::Complete,
        number: CrlNumber::new(plan.number).ok_or_else(|| MakingError::Policy("the CRL number is too great".into()))?,
        this_update: plan.this_update,
        next_update: plan.next_update,
        revoked: revoked.collect(),
        delta_url: None,
    })
}

/// A public key that signs nothing: for drafting again what was signed elsewhere.
#[derive(Debug)]
pub struct PublicOnly {
    /// Algorithm.
    pub algorithm: SignatureAlgorithm,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
}

impl CaKey for PublicOnly {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
    fn spki(&self) -> &[u8] {
        &self.spki
    }
    fn sign(&self, _: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
        Err(KeyError::Unavailable("only its public half is here".into()))
    }
}
