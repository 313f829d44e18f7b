//! `POST /v1/iak-enrollments`, `POST /v1/iak-renewals` and their certifications: third-party issuance, on the word of the
//! device's manufacturer. What is asked and shown is of its own kind; from the proof on, the way is that of every other.

use attest::iak::{
    IakAnswer, IakBytes, IakEvidence, IakEvidenceFields, IakPending, IakRenewalPending, Statement, Vouched,
};
use attest::{ChallengeContext, UnixTime};
use wire::EnrollmentId;
use wire::enrollment::EnrollmentState;
use wire::third_party::{CertificationRequest, CertifiedKey, IakChallenge, IakEnrollmentRequest, IakRenewalRequest};

use super::activate::{answered, digest, refuse};
use super::begin::known_profiles;
use super::challenge::draw_id;
use super::enroll::{ActivateError, Activation, BeginError};
use super::failure::{Costs, Failure, Trouble, fail, open_for_business};
use super::renew::{self, RenewError};
use crate::house::{House, Phase};

/// Judge the manufacturer's word and ask for the IAK's.
///
/// # Errors
/// [`BeginError`]; every refusal is in the audit file under its incident.
pub fn begin(house: &House, caller: &str, request: IakEnrollmentRequest) -> Result<IakChallenge, Failure<BeginError>> {
    match question(house, request) {
        Ok(challenge) => {
            house.metrics.step("begin", "challenged");
            Ok(challenge)
        }
        Err(error) => {
            house.metrics.step("begin", "failed");
            let action = "enrollment.begin.refused";
            Err(fail(house, action, caller, "", &Costs::Nothing, error))
        }
    }
}

fn question(house: &House, request: IakEnrollmentRequest) -> Result<IakChallenge, BeginError> {
    let moment = house.clock.read();
    open_for_business(house, moment)?;
    known_profiles(
        house,
        request.device.as_deref(),
        &request.profile,
        request.attestation_profile.as_deref(),
    )?;
    let vouched = vouched(
        house,
        IakBytes {
            certificate: request.iak.certificate.0,
            idevid: request.iak.idevid.map(|der| der.0),
            chain: request.iak.chain.into_iter().map(|der| der.0).collect(),
            public: request.iak.public.0,
        },
        moment.now,
    )?;
    let mut entropy = house.entropy.lease();
    let id = draw_id(&mut entropy, moment.now).map_err(Trouble::from)?;
    let context = ChallengeContext {
        id: id.0,
        profile: request.profile,
        attestation_profile: request.attestation_profile,
        device: request.device,
        issued_at: moment.now,
        expires_at: expiry(house, moment.now),
    };
    house.metrics.timed(Phase::Challenge, || {
        let expires_at = context.expires_at;
        let (nonce, pending) = vouched.challenge(context, &mut entropy)?;
        let ticket = pending.seal(&house.seal, &mut entropy)?;
        Ok(told(id, [moment.now, expires_at], nonce, ticket))
    })
}

fn vouched(house: &House, bytes: IakBytes, now: UnixTime) -> Result<Vouched, attest::Refusal> {
    house.metrics.timed(Phase::Endorse, || {
        IakEvidence::decode(bytes)?.verify(&house.manufacturers, now)
    })
}

fn expiry(house: &House, now: UnixTime) -> UnixTime {
    let ttl = i64::try_from(house.terms.challenge_ttl.as_secs()).unwrap_or(i64::MAX);
    UnixTime(now.0.saturating_add(ttl))
}

fn told(id: EnrollmentId, [now, expires_at]: [UnixTime; 2], nonce: [u8; 32], ticket: Vec<u8>) -> IakChallenge {
    IakChallenge {
        id,
        state: EnrollmentState::Challenged,
        server_time: now.0,
        expires_at: expires_at.0,
        nonce: nonce.to_vec().into(),
        ticket: ticket.into(),
    }
}

/// Take the IAK's word about new keys, and issue.
///
/// # Errors
/// As [`super::enroll::activate`].
pub fn certify(
    house: &House,
    caller: &str,
    id: EnrollmentId,
    request: &CertificationRequest,
) -> Result<Activation, Failure<ActivateError>> {
    // As for an activation: answers to one challenge are looked at one after the other.
    let _held = house.at_work.hold(id.0);
    let moment = house.clock.read();
    let outcome = digest(request)
        .map_err(|error| (error, false))
        .and_then(|request_sha256| {
            answered(
                house,
                id,
                moment,
                &request_sha256,
                || IakPending::open(&house.seal, &id.0, &request.ticket.0, &house.manufacturers, moment.now),
                |pending| pending.answer(said(request)),
            )
        });
    refuse(house, caller, id, outcome)
}

fn said(request: &CertificationRequest) -> IakAnswer {
    let statement = |of: &CertifiedKey| Statement {
        public: of.public.0.clone(),
        attest: of.attest.0.clone(),
        signature: of.signature.0.clone(),
    };
    IakAnswer {
        key: statement(&request.key),
        lak: request.attestation_key.as_ref().map(statement),
        csr: request.csr.0.clone(),
    }
}

/// Judge the certificate and the manufacturer's word behind it, as they stand now, and ask for the IAK's again.
///
/// # Errors
/// [`RenewError`]; every refusal is in the audit file under its incident.
pub fn begin_renewal(
    house: &House,
    caller: &str,
    certificate: Option<&[u8]>,
    request: IakRenewalRequest,
) -> Result<IakChallenge, Failure<RenewError>> {
    renew::asked(house, caller, certificate, |row, certificate, now| {
        let recorded = house.store.evidence(&row.enrollment_id)?;
        let recorded =
            recorded.ok_or_else(|| Trouble::Bug("a certificate of a device without its evidence".to_owned()))?;
        let Some(fields) = IakEvidenceFields::parse(&recorded.bytes) else {
            let detail = "the certificate stands on an endorsement key: POST /v1/renewals".to_owned();
            return Err(ActivateError::Profile(detail).into());
        };
        let mut chain: Vec<Vec<u8>> = fields.chain.iter().map(|der| der.to_vec()).collect();
        for offered in request.chain {
            if !chain.contains(&offered.0) {
                chain.push(offered.0);
            }
        }
        let bytes = IakBytes {
            certificate: fields.certificate.to_vec(),
            idevid: Some(fields.idevid.to_vec()).filter(|der| !der.is_empty()),
            chain,
            public: fields.iak_public.to_vec(),
        };
        let vouched = vouched(house, bytes, now)?;
        let mut entropy = house.entropy.lease();
        let id = draw_id(&mut entropy, now).map_err(Trouble::from)?;
        let expires_at = expiry(house, now);
        let context = renew::context(row, id, [now, expires_at]);
        let renewed = renew::replaced(row, certificate);
        house.metrics.timed(Phase::Challenge, || {
            let (nonce, pending) = vouched.renewal_challenge(context, renewed, &mut entropy)?;
            let ticket = pending.seal(&house.seal, &mut entropy)?;
            Ok(told(id, [now, expires_at], nonce, ticket))
        })
    })
}

/// Take the IAK's word again, and issue the certificate that replaces the one shown.
///
/// # Errors
/// As [`renew::activate`].
pub fn certify_renewal(
    house: &House,
    caller: &str,
    certificate: Option<&[u8]>,
    id: EnrollmentId,
    request: &CertificationRequest,
) -> Result<Activation, Failure<RenewError>> {
    let _held = house.at_work.hold(id.0);
    let outcome = digest(request)
        .map_err(|e| (e.into(), false))
        .and_then(|request_sha256| {
            renew::answered(
                house,
                certificate,
                id,
                &request_sha256,
                |certificate_sha256, now| {
                    IakRenewalPending::open(
                        &house.seal,
                        &id.0,
                        certificate_sha256,
                        &request.ticket.0,
                        &house.manufacturers,
                        now,
                    )
                },
                |pending| pending.answer(said(request)),
            )
        });
    renew::refuse(house, caller, id, outcome)
}
