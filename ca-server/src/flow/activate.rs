//! `POST /v1/enrollments/{id}/activation`: the answer in, the certificates out.

use attest::{Answer, Pending, Reason, Refusal, TicketError, UnixTime, VerifiedBinding};
use issuance::{
    AuditRecord, DeviceBinding, Draft, DraftError, Issued, KeyError, Order, RecordError, Serial, SignFailure,
};
use policies::{Denial, DenialCode, InventoryEntry, Permit};
use schema::DeviceRow;
use wire::EnrollmentId;
use wire::enrollment::{ActivationRequest, EnrollmentResult, EnrollmentState, IssuedCertificate};

use super::failure::{Costs, Failure, Fate, Reasoned, Trouble, fail, open_for_business, sha256};
use super::lookup;
use crate::house::{House, Phase};

/// Serials drawn before a collision is believed to be no accident.
const DRAWS: usize = 3;

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// Bytes that are not what they must be.
    #[error("{0}")]
    Malformed(String),
    /// The proof does not hold, or is of a TPM that is not expected. One answer for all of them.
    #[error("{detail}")]
    Attestation {
        /// For the record.
        reason: &'static str,
        /// For the record.
        detail: String,
    },
    /// The challenge is too old.
    #[error("the challenge has expired")]
    Expired,
    /// This try was one too many.
    #[error("too many wrong answers")]
    OneTryTooMany,
    /// Tries are used up.
    #[error("too many wrong answers; the challenge is void")]
    Void,
    /// The challenge was used by another request.
    #[error("the challenge was used by another request")]
    Replayed,
    /// The challenge was used by this very request, and whether its signature exists is not known.
    #[error("the outcome of this enrollment is not known; its serials are burnt")]
    Orphaned,
    /// Bound to another, or another key is live.
    #[error("{0}")]
    IdentityConflict(String),
    /// The key may not be certified.
    #[error("{0}")]
    KeyRejected(String),
    /// The CSR asks for too much.
    #[error("{0}")]
    CsrRejected(String),
    /// The request does not fit the profile.
    #[error("{0}")]
    Profile(String),
    /// A rule refuses.
    #[error("{} [{}]", .0.detail, .0.rules.join(", "))]
    Policy(Denial),
    /// Not the client's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<Refusal> for ActivateError {
    fn from(refusal: Refusal) -> Self {
        match refusal.reason {
            Reason::Malformed => Self::Malformed(refusal.detail),
            // Not a question of belief: the key has a role of its own.
            Reason::KeyReuse => Self::KeyRejected(refusal.detail),
            reason => Self::Attestation {
                reason: reason.as_str(),
                detail: refusal.detail,
            },
        }
    }
}

impl From<Denial> for ActivateError {
    fn from(denial: Denial) -> Self {
        match denial.code {
            DenialCode::Profile => Self::Profile(denial.detail),
            DenialCode::Csr => Self::CsrRejected(denial.detail),
            DenialCode::Key => Self::KeyRejected(denial.detail),
            DenialCode::IdBound => Self::Attestation {
                reason: "ID_BOUND",
                detail: denial.detail,
            },
            DenialCode::NotInInventory => Self::Attestation {
                reason: "NOT_IN_INVENTORY",
                detail: denial.detail,
            },
            DenialCode::Policy => Self::Policy(denial),
        }
    }
}

impl Reasoned for ActivateError {
    fn fate(&self) -> Fate {
        match self {
            Self::Malformed(_)
            | Self::Attestation { .. }
            | Self::Expired
            | Self::OneTryTooMany
            | Self::Void
            | Self::Replayed
            | Self::Orphaned
            | Self::IdentityConflict(_)
            | Self::KeyRejected(_)
            | Self::CsrRejected(_)
            | Self::Profile(_)
            | Self::Policy(_) => Fate::Refuse,
            Self::Trouble(trouble) => trouble.fate(),
        }
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "MALFORMED",
            Self::Attestation { reason, .. } => reason,
            Self::Expired => "EXPIRED",
            Self::OneTryTooMany | Self::Void => "TRIES",
            Self::Replayed => "REPLAY",
            Self::Orphaned => "ORPHANED",
            Self::IdentityConflict(_) => "IDENTITY_CONFLICT",
            Self::KeyRejected(_) => "KEY_REJECTED",
            Self::CsrRejected(_) => "CSR_REJECTED",
            Self::Profile(_) => "PROFILE",
            Self::Policy(_) => "POLICY",
            Self::Trouble(_) => "TROUBLE",
        }
    }
}

/// How an activation went well.
#[derive(Debug)]
pub enum Activation {
    /// The certificates, new or as they were stored.
    Done(EnrollmentResult),
    /// The same request is being worked on elsewhere: ask again.
    UnderWay(EnrollmentResult),
}

/// Take the answer to a challenge, and issue.
///
/// # Errors
/// [`ActivateError`]; every refusal is in the audit file under its incident, and costs one try when the challenge was
/// ours and open.
pub fn activate(
    house: &House,
    caller: &str,
    id: EnrollmentId,
    request: &ActivationRequest,
) -> Result<Activation, Failure<ActivateError>> {
    match open_and_answer(house, id, request) {
        Ok(activation) => {
            house.metrics.step("activate", "done");
            Ok(activation)
        }
        Err((error, costs_a_try)) => {
            house.metrics.step("activate", "failed");
            let costs = if costs_a_try {
                Costs::OneTry(&id.0)
            } else {
                Costs::Nothing
            };
            let context = format!("{id}: ");
            Err(fail(house, "enrollment.refused", caller, &context, &costs, error))
        }
    }
}

/// Whether the refusal costs a try travels beside the error: a ticket that is not ours, or is old, or was used, must
/// not let a stranger write.
fn open_and_answer(
    house: &House,
    id: EnrollmentId,
    request: &ActivationRequest,
) -> Result<Activation, (ActivateError, bool)> {
    let free = |error: ActivateError| (error, false);
    let moment = house.clock.read();
    let request_sha256 = digest(request).map_err(free)?;

    let opened = match open(house, id, request, moment.now) {
        Err(TicketError::Forged) => {
            let refusal = ActivateError::Attestation {
                reason: "TICKET",
                detail: TicketError::Forged.to_string(),
            };
            return Err(free(refusal));
        }
        other => other,
    };
    // A client that lost our answer may ask again, even when the challenge has expired since.
    let used = house
        .store
        .enrollment(&id.0)
        .map_err(|e| free(Trouble::from(e).into()))?;
    if let Some(row) = used {
        return again(house, &row, &request_sha256).map_err(free);
    }
    let Ok(mut pending) = opened else {
        return Err(free(ActivateError::Expired));
    };
    open_for_business(house, moment).map_err(|e| free(e.into()))?;
    let failed = house
        .store
        .failed_attempts(&id.0)
        .map_err(|e| free(Trouble::from(e).into()))?;
    if failed > house.terms.max_attempts {
        return Err(free(ActivateError::Void));
    }
    if failed == house.terms.max_attempts {
        return Err((ActivateError::OneTryTooMany, true));
    }

    for _ in 0..DRAWS {
        match issue(house, id, &request_sha256, pending, request, moment.now) {
            Err(ActivateError::Trouble(Trouble::SerialsTaken)) => {}
            other => return other.map_err(|error| (error, true)),
        }
        // What was proven and granted is consumed: prove it again.
        pending = open(house, id, request, moment.now).map_err(|_| free(ActivateError::Expired))?;
    }
    Err(free(Trouble::SerialsTaken.into()))
}

fn open(house: &House, id: EnrollmentId, request: &ActivationRequest, now: UnixTime) -> Result<Pending, TicketError> {
    Pending::open(&house.seal, &id.0, &request.ticket.0, now)
}

/// SHA-256 of the request in our own spelling: the same members are the same request, however they were written.
fn digest(request: &ActivationRequest) -> Result<[u8; 32], ActivateError> {
    let body = zeroize::Zeroizing::new(
        serde_json::to_vec(request).map_err(|e| ActivateError::Trouble(Trouble::Bug(e.to_string())))?,
    );
    Ok(sha256(&body))
}

/// The challenge was used before: by this very request, or by another.
fn again(house: &House, row: &schema::EnrollmentRow, request_sha256: &[u8; 32]) -> Result<Activation, ActivateError> {
    if row.request_sha256 != *request_sha256 {
        return Err(ActivateError::Replayed);
    }
    let result = lookup::result(house, row);
    match result.state {
        EnrollmentState::Issued => Ok(Activation::Done(result)),
        EnrollmentState::Challenged | EnrollmentState::Verifying => Ok(Activation::UnderWay(result)),
        EnrollmentState::Orphaned => Err(ActivateError::Orphaned),
    }
}

/// Proof, permission, one certificate for each permission.
fn issue(
    house: &House,
    id: EnrollmentId,
    request_sha256: &[u8; 32],
    pending: Pending,
    request: &ActivationRequest,
    now: UnixTime,
) -> Result<Activation, ActivateError> {
    let answer = Answer {
        secret: request.secret.0.clone(),
        key_public: request.key_public.0.clone(),
        attest: request.key_certify.attest.0.clone(),
        signature: request.key_certify.signature.0.clone(),
        csr: request.csr.0.clone(),
    };
    let binding = house.metrics.timed(Phase::Answer, || pending.answer(answer))?;
    refuse_own_keys(house, &binding)?;
    let permit = house.metrics.timed(Phase::Decide, || {
        let entry = inventory(house, &binding, now)?;
        policies::decide(&house.policy, &house.profiles, binding, entry, now).map_err(ActivateError::from)
    })?;
    let device = permit.device.clone();
    let (wanted, stored) = already_live(house, permit, now)?;
    let certificates = match wanted {
        None => stored,
        Some(permit) => match corridor(house, id, request_sha256, permit, now)? {
            Outcome::Issued(issued) => stored.into_iter().chain(issued.iter().map(shown)).collect(),
            Outcome::UsedMeanwhile => {
                let row = house.store.enrollment(&id.0).map_err(Trouble::from)?;
                let row = row.ok_or_else(|| Trouble::Bug("a used challenge without enrollment".to_owned()))?;
                return again(house, &row, request_sha256);
            }
        },
    };
    Ok(Activation::Done(EnrollmentResult {
        id,
        state: EnrollmentState::Issued,
        device,
        certificates,
        chain: lookup::chain(house),
    }))
}

/// This CA's own keys are certified for nobody; that EK, AK and identity key differ is part of the proof.
fn refuse_own_keys(house: &House, binding: &VerifiedBinding) -> Result<(), ActivateError> {
    for (role, key) in [("attestation", binding.ak()), ("identity", binding.identity())] {
        if house.own_keys.contains(&sha256(&key.spki)) {
            return Err(ActivateError::KeyRejected(format!(
                "the {role} key is one of this CA's own"
            )));
        }
    }
    Ok(())
}

/// What the inventory says about this EK; before first contact, about the name it claims.
fn inventory(house: &House, binding: &VerifiedBinding, now: UnixTime) -> Result<Option<InventoryEntry>, ActivateError> {
    let ek = &binding.ek().spki_sha256;
    if let Some(row) = house.store.device_by_ek(ek).map_err(Trouble::from)? {
        return Ok(Some(entry(row, now)));
    }
    let Some(name) = &binding.context().device else {
        return Ok(None);
    };
    let Some(row) = house.store.device_by_name(name).map_err(Trouble::from)? else {
        return Ok(None);
    };
    if row.ek_spki_sha256.is_some() {
        return Err(ActivateError::IdentityConflict(format!(
            "device `{name}` is bound to another EK than {}",
            hex::encode(ek)
        )));
    }
    Ok(Some(entry(row, now)))
}

fn entry(row: DeviceRow, now: UnixTime) -> InventoryEntry {
    InventoryEntry {
        first_contact_open: row.ek_spki_sha256.is_none() && row.first_contact_until.is_some_and(|end| now.0 <= end),
        name: row.name,
        ek_spki_sha256: row.ek_spki_sha256,
        held: row.held,
        batch: row.batch,
        dns_names: row.dns_names,
        spiffe_id: row.spiffe_id,
    }
}

/// Grants whose very key has a live certificate need no new signature; another live key is a conflict.
fn already_live(
    house: &House,
    mut permit: Permit,
    now: UnixTime,
) -> Result<(Option<Permit>, Vec<IssuedCertificate>), ActivateError> {
    let mut stored = Vec::new();
    let mut wanted = Vec::new();
    for grant in permit.grants {
        let profile = grant.profile().name();
        let live = house
            .store
            .live_identity(&permit.device, profile, now.0)
            .map_err(Trouble::from)?;
        match live {
            None => wanted.push(grant),
            Some(row) if row.spki_sha256 == sha256(grant.spki()) => stored.extend(lookup::issued(&row)),
            Some(_) => return Err(other_key_live(&permit.device, profile)),
        }
    }
    permit.grants = wanted;
    let permit = Some(permit).filter(|permit| !permit.grants.is_empty());
    Ok((permit, stored))
}

fn other_key_live(device: &str, profile: &str) -> ActivateError {
    ActivateError::IdentityConflict(format!(
        "device `{device}` has a live `{profile}` identity on another key"
    ))
}

enum Outcome {
    Issued(Vec<Issued>),
    /// The same challenge was used between our look and our intent.
    UsedMeanwhile,
}

/// Draft, lint, record, sign, record: each arrow consumes what it leaves behind.
fn corridor(
    house: &House,
    id: EnrollmentId,
    request_sha256: &[u8; 32],
    permit: Permit,
    now: UnixTime,
) -> Result<Outcome, ActivateError> {
    let order = order(id, request_sha256, &permit, now);
    let keys: Vec<[u8; 32]> = permit.grants.iter().map(|grant| sha256(grant.spki())).collect();
    let linted = house.metrics.timed(Phase::Lint, || {
        let mut entropy = house.entropy.lease();
        permit
            .grants
            .into_iter()
            .map(|grant| {
                let serial = Serial::draw(&mut entropy).map_err(Trouble::from)?;
                Draft::new(grant, &house.issuer, serial)
                    .and_then(Draft::lint)
                    .map_err(draft_error)
            })
            .collect::<Result<Vec<_>, ActivateError>>()
    })?;
    let recorded = match house
        .metrics
        .timed(Phase::Record, || issuance::record(linted, &order, &house.store))
    {
        Ok(recorded) => recorded,
        Err(RecordError::ChallengeUsed) => return Ok(Outcome::UsedMeanwhile),
        Err(RecordError::IdentityExists { device, profile }) => return Err(raced(house, device, &profile, &keys)),
        Err(error) => return Err(record_error(error)),
    };
    let signed = house
        .metrics
        .timed(Phase::Sign, || {
            recorded
                .into_iter()
                .map(|recorded| recorded.sign(house.key.as_ref()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(|failure| sign_failure(house, &failure))?;
    house.signer.signed(house.clock.read().now.0);
    let issued = house
        .metrics
        .timed(Phase::Store, || issuance::issue(signed, &id.0, &house.store))
        .map_err(record_error)?;
    for certificate in &issued {
        house.metrics.issued(certificate.profile());
        tracing::info!(
            enrollment = %id,
            profile = certificate.profile(),
            serial = %certificate.serial().hex(),
            "issued"
        );
    }
    Ok(Outcome::Issued(issued))
}

/// No live identity was there a moment ago: it is being made by another request, or is an orphan to be. On the same
/// key, the same request will find it later; on another key, that one was first.
fn raced(house: &House, device: String, profile: &str, keys: &[[u8; 32]]) -> ActivateError {
    match house.store.certificates_of(&device) {
        Err(error) => Trouble::from(error).into(),
        Ok(rows) => {
            let mut open = rows
                .iter()
                .filter(|row| row.profile == profile && row.state != schema::CertificateState::Orphan);
            if open.any(|row| !keys.contains(&row.spki_sha256)) {
                other_key_live(&device, profile)
            } else {
                Trouble::Unfinished(device).into()
            }
        }
    }
}

fn order(id: EnrollmentId, request_sha256: &[u8; 32], permit: &Permit, now: UnixTime) -> Order {
    let mut rules: Vec<&str> = Vec::new();
    for rule in permit.grants.iter().flat_map(|grant| &grant.decision().rules) {
        if !rules.contains(&rule.as_str()) {
            rules.push(rule);
        }
    }
    let profiles: Vec<&str> = permit.grants.iter().map(|grant| grant.profile().name()).collect();
    Order {
        enrollment_id: id.0,
        request_sha256: *request_sha256,
        device: Some(DeviceBinding {
            name: permit.device.clone(),
            ek: permit.ek.clone(),
        }),
        evidence: Some(permit.evidence.clone()),
        audit: AuditRecord {
            at: now,
            action: "enrollment.granted".to_owned(),
            actor: format!("device:{}", permit.device),
            subject: id.to_string(),
            reason: rules.join(","),
            detail: profiles.join(","),
        },
        at: now,
    }
}

fn shown(issued: &Issued) -> IssuedCertificate {
    IssuedCertificate {
        profile: issued.profile().to_owned(),
        key: lookup::role(issued.key_role()),
        serial: issued.serial().hex(),
        certificate: issued.certificate().into(),
    }
}

fn draft_error(error: DraftError) -> ActivateError {
    match error {
        DraftError::OutlivesIssuer => ActivateError::Profile(error.to_string()),
        DraftError::IssuerKey | DraftError::Key(_) => ActivateError::KeyRejected(error.to_string()),
        DraftError::Lints(_) => {
            tracing::error!(detail = %error, "lints refused a draft");
            ActivateError::Profile(error.to_string())
        }
        DraftError::Encoding(_) | DraftError::WrongGrant(_) => Trouble::Bug(error.to_string()).into(),
    }
}

fn record_error(error: RecordError) -> ActivateError {
    let text = error.to_string();
    match error {
        RecordError::ChallengeUsed => ActivateError::Replayed,
        RecordError::EkBoundElsewhere(_) | RecordError::DeviceBoundElsewhere(_) => {
            ActivateError::IdentityConflict(text)
        }
        RecordError::DeviceNotOpen(_) => ActivateError::Attestation {
            reason: "NOT_IN_INVENTORY",
            detail: text,
        },
        RecordError::IdentityExists { device, .. } => Trouble::Unfinished(device).into(),
        RecordError::KeyBlocked => ActivateError::KeyRejected(text),
        RecordError::SerialTaken => Trouble::SerialsTaken.into(),
        RecordError::IntentClosed => Trouble::Signer(text).into(),
        RecordError::Unavailable(_) | RecordError::Unknown(_) => Trouble::Storage(text).into(),
    }
}

fn sign_failure(house: &House, failure: &SignFailure) -> Trouble {
    match failure {
        SignFailure::Key(KeyError::Unavailable(why) | KeyError::Unknown(why)) => {
            house.signer.failed(why);
            Trouble::Signer(failure.to_string())
        }
        SignFailure::Corrupt | SignFailure::BytesDiffer | SignFailure::WrongKey(_) => {
            house.halt.set(&failure.to_string());
            Trouble::Halted(failure.to_string())
        }
    }
}
