//! `POST /v1/renewals` and its activation: a certificate shown in TLS, and its TPM's answer to a new challenge.
//!
//! The certificate says who asks; the record says which TPM must answer. Whoever has a copy of the certificate, and even
//! its key, has not that TPM.

mod error;
mod info;
mod standing;

use attest::iak::IakEvidenceFields;
use attest::{
    Answer, ChallengeContext, EvidenceBytes, EvidenceFields, Refusal, RenewalPending, RenewalProof, Renewed,
    TicketError, UnixTime,
};
use failpoint::{Point, reach};
use policies::Renewal;
use schema::CertificateRow;
use wire::EnrollmentId;
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentResult, EnrollmentState};
use wire::renewal::RenewalRequest;

use super::activate::corridor::{self, corridor};
use super::activate::{DRAWS, again, digest, inventory, refuse_own_keys};
use super::challenge::{draw_id, told};
use super::enroll::{ActivateError, Activation};
use super::failure::{Costs, Failure, Trouble, fail, open_for_business, sha256};
use super::lookup;
use super::review::{NotNow, endorse};
use crate::house::{House, Phase};

pub use error::RenewError;
pub use info::info;

/// Judge the certificate and the endorsement behind it, as they stand now, and ask the question only its TPM can answer.
///
/// # Errors
/// [`RenewError`]; every refusal is in the audit file under its incident.
pub fn begin(
    house: &House,
    caller: &str,
    certificate: Option<&[u8]>,
    request: RenewalRequest,
) -> Result<EnrollmentChallenge, Failure<RenewError>> {
    asked(house, caller, certificate, |row, certificate, now| {
        ask(house, row, certificate, request, now)
    })
}

/// Look at the certificate shown and ask the question that `ask` makes; a refusal is recorded, with the certificate's name.
pub(super) fn asked<C>(
    house: &House,
    caller: &str,
    certificate: Option<&[u8]>,
    ask: impl FnOnce(&CertificateRow, &[u8], UnixTime) -> Result<C, RenewError>,
) -> Result<C, Failure<RenewError>> {
    reach(Point::RenewalAsked);
    let question = || {
        let moment = house.clock.read();
        open_for_business(house, moment).map_err(|e| (e.into(), String::new()))?;
        let row = standing::find(house, certificate).map_err(|e| (e, String::new()))?;
        let context = named(&row);
        renewable(house, &row, moment.now)
            .and_then(|()| ask(&row, certificate.unwrap_or_default(), moment.now))
            .map_err(|e| (e, context))
    };
    match question() {
        Ok(challenge) => {
            house.metrics.step("renewal_begin", "challenged");
            reach(Point::RenewalMade);
            Ok(challenge)
        }
        Err((error, context)) => {
            house.metrics.step("renewal_begin", "failed");
            let action = "renewal.begin.refused";
            Err(fail(house, action, caller, &context, &Costs::Nothing, error))
        }
    }
}

/// Good, not replaced, and of a profile that renews.
fn renewable(house: &House, row: &CertificateRow, now: UnixTime) -> Result<(), RenewError> {
    standing::good(row, now)?;
    standing::not_replaced(house, row)?;
    // Said again by the decision; here it saves the TPM its work.
    if house.profiles.get(&row.profile).map(|p| p.renewal()) == Some(Renewal::None) {
        let detail = format!("`{}`: certificates of this profile are not renewed", row.profile);
        return Err(ActivateError::Profile(detail).into());
    }
    Ok(())
}

/// `unit-17 0a1b…: `
fn named(row: &CertificateRow) -> String {
    let device = row.device.as_deref().unwrap_or_default();
    format!("{device} {}: ", hex::encode(&row.serial))
}

fn ask(
    house: &House,
    row: &CertificateRow,
    certificate: &[u8],
    request: RenewalRequest,
    now: UnixTime,
) -> Result<EnrollmentChallenge, RenewError> {
    let recorded = house.store.evidence(&row.enrollment_id)?;
    let missing = || Trouble::Bug("a certificate of a device without its evidence".to_owned());
    let recorded = recorded.ok_or_else(missing)?;
    if IakEvidenceFields::parse(&recorded.bytes).is_some() {
        let detail = "the certificate stands on a manufacturer's IAK: POST /v1/iak-renewals".to_owned();
        return Err(ActivateError::Profile(detail).into());
    }
    let fields = EvidenceFields::parse(&recorded.bytes).ok_or_else(missing)?;
    let evidence = EvidenceBytes {
        ek_certificate: fields.ek_certificate.to_vec(),
        ek_chain: request.ek_chain.into_iter().map(|c| c.0).collect(),
        ek_public: fields.ek_public.to_vec(),
        ak_public: fields.ak_public.to_vec(),
    };
    // A renewal asks nobody: what people vouched for stands, or it is refused.
    let endorsed = match endorse(house, evidence, now, false) {
        Ok(endorsed) => endorsed,
        Err(NotNow::Refused(refusal)) => return Err(refusal.into()),
        Err(NotNow::Advised { reason, detail }) => return Err(ActivateError::Attestation { reason, detail }.into()),
        Err(NotNow::Trouble(trouble)) => return Err(trouble.into()),
        Err(NotNow::Waits(id)) => return Err(Trouble::Bug(format!("review {id} of a renewal")).into()),
    };

    let mut entropy = house.entropy.lease();
    let id = draw_id(&mut entropy, now).map_err(Trouble::from)?;
    let ttl = i64::try_from(house.terms.challenge_ttl.as_secs()).unwrap_or(i64::MAX);
    let expires_at = UnixTime(now.0.saturating_add(ttl));
    let context = context(row, id, [now, expires_at]);
    let renewed = replaced(row, certificate);
    house.metrics.timed(Phase::Challenge, || {
        let (challenge, pending) = endorsed.renewal_challenge(context, renewed, &mut entropy)?;
        let ticket = pending.seal(&house.seal, &mut entropy)?;
        Ok(told(id, [now, expires_at], challenge, ticket))
    })
}

/// What a renewal's challenge is for: the profile and device of the certificate.
pub(super) fn context(row: &CertificateRow, id: EnrollmentId, [now, expires_at]: [UnixTime; 2]) -> ChallengeContext {
    ChallengeContext {
        id: id.0,
        profile: row.profile.clone(),
        attestation_profile: None,
        device: row.device.clone(),
        issued_at: now,
        expires_at,
    }
}

/// The certificate as it will be replaced.
pub(super) fn replaced(row: &CertificateRow, certificate: &[u8]) -> Renewed {
    Renewed {
        certificate_sha256: sha256(certificate),
        serial: row.serial.clone(),
        issuer_key_id: row.issuer_key_id.clone(),
        spki_sha256: row.spki_sha256,
    }
}

/// Take the answer to a renewal's challenge, and issue the certificate that replaces the one shown.
///
/// # Errors
/// [`RenewError`]; every refusal is in the audit file under its incident, and costs one try when the challenge was ours,
/// open, and of this certificate.
pub fn activate(
    house: &House,
    caller: &str,
    certificate: Option<&[u8]>,
    id: EnrollmentId,
    request: &ActivationRequest,
) -> Result<Activation, Failure<RenewError>> {
    // As for an enrollment: guesses at one challenge are compared one after the other.
    let _held = house.at_work.hold(id.0);
    let answer = || Answer {
        secret: request.secret.0.clone(),
        key_public: request.key_public.0.clone(),
        attest: request.key_certify.attest.0.clone(),
        signature: request.key_certify.signature.0.clone(),
        csr: request.csr.0.clone(),
    };
    let outcome = digest(request)
        .map_err(|e| (e.into(), false))
        .and_then(|request_sha256| {
            answered(
                house,
                certificate,
                id,
                &request_sha256,
                |certificate_sha256, now| {
                    RenewalPending::open(&house.seal, &id.0, certificate_sha256, &request.ticket.0, now)
                },
                |pending| pending.answer(answer()),
            )
        });
    refuse(house, caller, id, outcome)
}

/// Count how it went; a refusal is recorded.
pub(super) fn refuse(
    house: &House,
    caller: &str,
    id: EnrollmentId,
    outcome: Result<Activation, (RenewError, bool)>,
) -> Result<Activation, Failure<RenewError>> {
    match outcome {
        Ok(activation) => {
            house.metrics.step("renewal", "done");
            reach(Point::RenewalDone);
            Ok(activation)
        }
        Err((error, costs_a_try)) => {
            house.metrics.step("renewal", "failed");
            let costs = if costs_a_try {
                Costs::OneTry(&id.0)
            } else {
                Costs::Nothing
            };
            let context = format!("{id}: ");
            Err(fail(house, "renewal.refused", caller, &context, &costs, error))
        }
    }
}

/// Open the ticket, take the answer, replace the certificate. `open` and `prove` are of the kind of the conversation.
pub(super) fn answered<P>(
    house: &House,
    certificate: Option<&[u8]>,
    id: EnrollmentId,
    request_sha256: &[u8; 32],
    open: impl Fn(&[u8; 32], UnixTime) -> Result<P, TicketError>,
    prove: impl Fn(P) -> Result<RenewalProof, Refusal>,
) -> Result<Activation, (RenewError, bool)> {
    let free = |error: RenewError| (error, false);
    let moment = house.clock.read();
    let row = standing::find(house, certificate).map_err(free)?;
    let certificate_sha256 = sha256(certificate.unwrap_or_default());
    let open = || open(&certificate_sha256, moment.now);

    let opened = match open() {
        Err(TicketError::Forged) => {
            let refusal = ActivateError::Attestation {
                reason: "TICKET",
                detail: "the ticket was not made here for this renewal of this certificate".to_owned(),
            };
            return Err(free(refusal.into()));
        }
        other => other,
    };
    // A client that lost our answer may ask again, even when challenge or certificate have ended since.
    let challenge = house.store.challenge(&id.0).map_err(|e| free(e.into()))?;
    if challenge.used {
        return again(house, id, request_sha256).map_err(|e| free(e.into()));
    }
    let Ok(mut pending) = opened else {
        return Err(free(ActivateError::Expired.into()));
    };
    open_for_business(house, moment).map_err(|e| free(e.into()))?;
    standing::good(&row, moment.now).map_err(free)?;
    standing::not_replaced(house, &row).map_err(free)?;
    if challenge.failures > house.terms.max_attempts {
        return Err(free(ActivateError::Void.into()));
    }
    if challenge.failures == house.terms.max_attempts {
        return Err((ActivateError::OneTryTooMany.into(), true));
    }
    for _ in 0..DRAWS {
        let outcome = house
            .metrics
            .timed(Phase::Answer, || prove(pending))
            .map_err(ActivateError::from)
            .and_then(|proof| issue(house, id, request_sha256, proof, moment.now));
        match outcome {
            Ok(activation) => return Ok(activation),
            Err(ActivateError::Trouble(Trouble::SerialsTaken)) => {}
            // That another renewal was first is not a wrong answer.
            Err(first @ (ActivateError::Replaced | ActivateError::NotRenewable(_))) => return Err(free(first.into())),
            Err(error) => return Err((error.into(), true)),
        }
        // What was proven and granted is consumed: prove it again.
        pending = open().map_err(|_| free(ActivateError::Expired.into()))?;
    }
    Err(free(Trouble::SerialsTaken.into()))
}

/// Permission, and the certificate that replaces the other.
fn issue(
    house: &House,
    id: EnrollmentId,
    request_sha256: &[u8; 32],
    proof: RenewalProof,
    now: UnixTime,
) -> Result<Activation, ActivateError> {
    reach(Point::RenewalProven);
    refuse_own_keys(house, proof.binding())?;
    let context = proof.binding().context().clone();
    let permit = house.metrics.timed(Phase::Decide, || {
        let entry = inventory(house, proof.binding(), now)?;
        policies::decide_renewal(&house.policy, &house.profiles, proof, entry, now).map_err(ActivateError::from)
    })?;
    let device = permit.device.clone();
    match corridor(house, id, request_sha256, &context, permit, now)? {
        corridor::Outcome::Issued(issued) => Ok(Activation::Done(EnrollmentResult {
            id,
            state: EnrollmentState::Issued,
            device,
            certificates: issued,
            chain: lookup::chain(house),
        })),
        corridor::Outcome::UsedMeanwhile => again(house, id, request_sha256),
        corridor::Outcome::LiveMeanwhile => Err(ActivateError::Replaced),
    }
}
