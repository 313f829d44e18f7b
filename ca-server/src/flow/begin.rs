//! `POST /v1/enrollments`: evidence in, challenge out. Leaves nothing behind.

use attest::{ChallengeContext, EvidenceBytes, Reason, Refusal, UnixTime};
use failpoint::{Point, reach};
use wire::enrollment::{EnrollmentChallenge, EnrollmentRequest, RotEvidence};

use super::challenge::{draw_id, told};
use super::failure::{Costs, Failure, Fate, Reasoned, Trouble, fail, open_for_business};
use super::review::{NotNow, endorse};
use crate::house::{House, Phase};

/// Why no challenge was made.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Bytes that are not what they must be.
    #[error("{0}")]
    Malformed(String),
    /// There is no such profile.
    #[error("there is no profile `{0}`")]
    UnknownProfile(String),
    /// The endorsement or the attestation key is not believed.
    #[error("{}", .0.detail)]
    Attestation(Refusal),
    /// An advisory speaks of this TPM.
    #[error("{detail}")]
    Advised {
        /// For the record.
        reason: &'static str,
        /// For the record.
        detail: String,
    },
    /// People have to decide about this TPM; under this number they do.
    #[error("review {0}: people have to decide about this TPM")]
    Waits(i64),
    /// The attestation key is the endorsement key.
    #[error("{0}")]
    KeyRejected(String),
    /// Not the client's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<Refusal> for BeginError {
    fn from(refusal: Refusal) -> Self {
        match refusal.reason {
            Reason::Malformed => Self::Malformed(refusal.detail),
            Reason::KeyReuse => Self::KeyRejected(refusal.detail),
            _ => Self::Attestation(refusal),
        }
    }
}

impl From<NotNow> for BeginError {
    fn from(not_now: NotNow) -> Self {
        match not_now {
            NotNow::Refused(refusal) => refusal.into(),
            NotNow::Advised { reason, detail } => Self::Advised { reason, detail },
            NotNow::Waits(id) => Self::Waits(id),
            NotNow::Trouble(trouble) => trouble.into(),
        }
    }
}

impl From<attest::ChallengeError> for BeginError {
    fn from(error: attest::ChallengeError) -> Self {
        Self::Trouble(error.into())
    }
}

impl Reasoned for BeginError {
    fn fate(&self) -> Fate {
        match self {
            Self::Malformed(_)
            | Self::UnknownProfile(_)
            | Self::Attestation(_)
            | Self::Advised { .. }
            | Self::Waits(_)
            | Self::KeyRejected(_) => Fate::Refuse,
            Self::Trouble(trouble) => trouble.fate(),
        }
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "MALFORMED",
            Self::UnknownProfile(_) => "PROFILE",
            Self::Attestation(refusal) => refusal.reason.as_str(),
            Self::Advised { reason, .. } => reason,
            Self::Waits(_) => "REVIEW",
            Self::KeyRejected(_) => "KEY_REJECTED",
            Self::Trouble(_) => "TROUBLE",
        }
    }
}

/// Judge the evidence and ask the question only the right TPM can answer.
///
/// # Errors
/// [`BeginError`]; every refusal is in the audit file under its incident.
pub fn begin(
    house: &House,
    caller: &str,
    request: EnrollmentRequest,
) -> Result<EnrollmentChallenge, Failure<BeginError>> {
    reach(Point::BeginAsked);
    match question(house, request) {
        Ok(challenge) => {
            reach(Point::BeginMade);
            house.metrics.step("begin", "challenged");
            Ok(challenge)
        }
        Err(error) => {
            house.metrics.step("begin", "failed");
            Err(fail(
                house,
                "enrollment.begin.refused",
                caller,
                "",
                &Costs::Nothing,
                error,
            ))
        }
    }
}

fn question(house: &House, request: EnrollmentRequest) -> Result<EnrollmentChallenge, BeginError> {
    let moment = house.clock.read();
    open_for_business(house, moment)?;
    known_profiles(
        house,
        request.device.as_deref(),
        &request.profile,
        request.attestation_profile.as_deref(),
    )?;
    let RotEvidence::Tpm20 {
        ek_certificate,
        ek_chain,
        ek_public,
        ak_public,
    } = request.rot;
    let evidence = EvidenceBytes {
        ek_certificate: ek_certificate.0,
        ek_chain: ek_chain.into_iter().map(|certificate| certificate.0).collect(),
        ek_public: ek_public.0,
        ak_public: ak_public.0,
    };
    let endorsed = endorse(house, evidence, moment.now, true)?;

    let mut entropy = house.entropy.lease();
    let id = draw_id(&mut entropy, moment.now).map_err(Trouble::from)?;
    let ttl = i64::try_from(house.terms.challenge_ttl.as_secs()).unwrap_or(i64::MAX);
    let expires_at = UnixTime(moment.now.0.saturating_add(ttl));
    let context = ChallengeContext {
        id: id.0,
        profile: request.profile,
        attestation_profile: request.attestation_profile,
        device: request.device,
        issued_at: moment.now,
        expires_at,
    };
    house.metrics.timed(Phase::Challenge, || {
        let (challenge, pending) = endorsed.challenge(context, &mut entropy)?;
        let ticket = pending.seal(&house.seal, &mut entropy)?;
        Ok(told(id, [moment.now, expires_at], challenge, ticket))
    })
}

/// What is asked for exists, and the name that is claimed is one.
pub(super) fn known_profiles(
    house: &House,
    device: Option<&str>,
    profile: &str,
    attestation_profile: Option<&str>,
) -> Result<(), BeginError> {
    if let Some(name) = device {
        policies::name::device(name).map_err(|e| BeginError::Malformed(format!("device: {e}")))?;
    }
    for profile in core::iter::once(profile).chain(attestation_profile) {
        if house.profiles.get(profile).is_none() {
            return Err(BeginError::UnknownProfile(shown(profile)));
        }
    }
    Ok(())
}

/// Text of a stranger, for the record: short and without what a terminal would obey.
fn shown(text: &str) -> String {
    text.chars()
        .take(64)
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .collect()
}
