//! `POST /v1/enrollments/{id}/activation`: the answer in, the certificates out.

mod by_iak;
pub(super) mod corridor;
mod error;

use attest::{Answer, Pending, Refusal, Root, TicketError, UnixTime, VerifiedBinding};
use failpoint::{Point, reach};
use issuance::AuditRecord;
use policies::{InventoryEntry, Permit};
use schema::{DeviceRow, EkLink, NewDeviceError};
use wire::EnrollmentId;
use wire::enrollment::{ActivationRequest, EnrollmentResult, EnrollmentState, IssuedCertificate};

use super::failure::{Costs, Failure, Trouble, fail, open_for_business, sha256};
use super::{lookup, review};
use crate::house::{House, Moment, Phase};

pub use error::ActivateError;

use corridor::corridor;

/// Serials drawn before a collision is believed to be no accident; also looks at a device others enroll meanwhile.
pub(super) const DRAWS: usize = 3;

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
    // Held until a refusal is counted: guesses at one challenge are compared one after the other, and
    // with several servers at most one more for each of them than is allowed.
    let _held = house.at_work.hold(id.0);
    reach(Point::ActivateAsked);
    let moment = house.clock.read();
    let answer = || Answer {
        secret: request.secret.0.clone(),
        key_public: request.key_public.0.clone(),
        attest: request.key_certify.attest.0.clone(),
        signature: request.key_certify.signature.0.clone(),
        csr: request.csr.0.clone(),
    };
    let outcome = digest(request)
        .map_err(|error| (error, false))
        .and_then(|request_sha256| {
            answered(
                house,
                id,
                moment,
                &request_sha256,
                || Pending::open(&house.seal, &id.0, &request.ticket.0, moment.now),
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
    outcome: Result<Activation, (ActivateError, bool)>,
) -> Result<Activation, Failure<ActivateError>> {
    match outcome {
        Ok(activation) => {
            house.metrics.step("activate", "done");
            reach(Point::ActivateDone);
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

/// Open the ticket, take the answer, issue. `open` and `prove` are of the kind of the conversation.
///
/// Whether the refusal costs a try travels beside the error: a ticket that is not ours, or is old, or was used, must
/// not let a stranger write.
pub(super) fn answered<P>(
    house: &House,
    id: EnrollmentId,
    moment: Moment,
    request_sha256: &[u8; 32],
    open: impl Fn() -> Result<P, TicketError>,
    prove: impl Fn(P) -> Result<VerifiedBinding, Refusal>,
) -> Result<Activation, (ActivateError, bool)> {
    let free = |error: ActivateError| (error, false);
    let opened = match open() {
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
    let challenge = house
        .store
        .challenge(&id.0)
        .map_err(|e| free(Trouble::from(e).into()))?;
    if challenge.used {
        return again(house, id, request_sha256).map_err(free);
    }
    let Ok(mut pending) = opened else {
        return Err(free(ActivateError::Expired));
    };
    open_for_business(house, moment).map_err(|e| free(e.into()))?;
    if challenge.failures > house.terms.max_attempts {
        return Err(free(ActivateError::Void));
    }
    if challenge.failures == house.terms.max_attempts {
        return Err((ActivateError::OneTryTooMany, true));
    }

    let mut why = Trouble::SerialsTaken;
    for _ in 0..DRAWS {
        let outcome = house
            .metrics
            .timed(Phase::Answer, || prove(pending))
            .map_err(ActivateError::from)
            .and_then(|binding| issue(house, id, request_sha256, binding, moment.now));
        match outcome {
            Ok(Outcome::Over(activation)) => return Ok(activation),
            Ok(Outcome::LookAgain(device)) => why = Trouble::Unfinished(device),
            Err(ActivateError::Trouble(taken @ Trouble::SerialsTaken)) => why = taken,
            Err(error) => return Err((error, true)),
        }
        // What was proven and granted is consumed: prove it again.
        pending = open().map_err(|_| free(ActivateError::Expired))?;
    }
    Err(free(why.into()))
}

/// What came of a proof.
enum Outcome {
    /// All that can.
    Over(Activation),
    /// This device was certified between our look and our intent: what was wanted may be there now.
    LookAgain(String),
}

/// SHA-256 of the request in our own spelling: the same members are the same request, however they were written.
pub(super) fn digest(request: &impl serde::Serialize) -> Result<[u8; 32], ActivateError> {
    let body = zeroize::Zeroizing::new(
        serde_json::to_vec(request).map_err(|e| ActivateError::Trouble(Trouble::Bug(e.to_string())))?,
    );
    Ok(sha256(&body))
}

/// The challenge was used before: by this very request, or by another.
pub(super) fn again(house: &House, id: EnrollmentId, request_sha256: &[u8; 32]) -> Result<Activation, ActivateError> {
    let row = house.store.enrollment(&id.0).map_err(Trouble::from)?;
    let row = row.ok_or_else(|| Trouble::Bug("a used challenge without enrollment".to_owned()))?;
    if row.request_sha256 != *request_sha256 {
        return Err(ActivateError::Replayed);
    }
    if let Some(what) = lookup::not_good(&row) {
        return Err(ActivateError::Revoked(what));
    }
    let result = lookup::result(house, &row)?;
    match result.state {
        EnrollmentState::Issued => Ok(Activation::Done(result)),
        EnrollmentState::Challenged | EnrollmentState::Verifying => Ok(Activation::UnderWay(result)),
        EnrollmentState::Orphaned => Err(ActivateError::Orphaned),
    }
}

/// Permission, one certificate for each permission.
fn issue(
    house: &House,
    id: EnrollmentId,
    request_sha256: &[u8; 32],
    binding: VerifiedBinding,
    now: UnixTime,
) -> Result<Outcome, ActivateError> {
    reach(Point::ActivateProven);
    refuse_own_keys(house, &binding)?;
    let context = binding.context().clone();
    let (permit, certified, second) = house.metrics.timed(Phase::Decide, || {
        let (row, second) = known(house, &binding)?;
        let certified = row.as_ref().is_some_and(|row| row.last_seen_at.is_some());
        let entry = row.map(|row| entry(house, row, &binding, now)).transpose()?;
        let permit = policies::decide(&house.policy, &house.profiles, binding, entry, now)?;
        Ok::<_, ActivateError>((permit, certified, second))
    })?;
    let device = permit.device.clone();
    if second {
        link(house, id, &permit, now)?;
    }
    let (wanted, stored) = if certified {
        already_live(house, id, permit, now)?
    } else {
        // Whoever never had a certificate has no live one.
        (Some(permit), Vec::new())
    };
    let certificates = match wanted {
        None => stored,
        Some(permit) => match corridor(house, id, request_sha256, &context, permit, now)? {
            corridor::Outcome::Issued(issued) => stored.into_iter().chain(issued).collect(),
            corridor::Outcome::LiveMeanwhile => return Ok(Outcome::LookAgain(device)),
            corridor::Outcome::UsedMeanwhile => return again(house, id, request_sha256).map(Outcome::Over),
        },
    };
    Ok(Outcome::Over(Activation::Done(EnrollmentResult {
        id,
        state: EnrollmentState::Issued,
        device,
        certificates,
        chain: lookup::chain(house),
    })))
}

/// This CA's own keys are certified for nobody; that EK, AK and identity key differ is part of the proof.
pub(super) fn refuse_own_keys(house: &House, binding: &VerifiedBinding) -> Result<(), ActivateError> {
    let attestation = binding.attestation_key().map(|key| ("attestation", key));
    let keys = [("attestation", binding.ak()), ("identity", binding.identity())];
    for (role, key) in keys.into_iter().chain(attestation) {
        if house.own_keys.contains(&sha256(&key.spki)) {
            return Err(ActivateError::KeyRejected(format!(
                "the {role} key is one of this CA's own"
            )));
        }
    }
    Ok(())
}

/// What the inventory says about the device of a proof.
pub(super) fn inventory(
    house: &House,
    binding: &VerifiedBinding,
    now: UnixTime,
) -> Result<Option<InventoryEntry>, ActivateError> {
    let (row, _) = known(house, binding)?;
    row.map(|row| entry(house, row, binding, now)).transpose()
}

/// The device of this EK; of the TPM in which this AK was activated by another EK (then: true, a second EK of that TPM);
/// before first contact, of the name it claims.
fn known(house: &House, binding: &VerifiedBinding) -> Result<(Option<DeviceRow>, bool), ActivateError> {
    let ek = match binding.root() {
        Root::Ek(ek) => &ek.spki_sha256,
        Root::Iak(iak) => return Ok((by_iak::known(house, binding, iak)?, false)),
    };
    let claimed = binding.context().device.as_deref();
    let by_ek = house.store.ek_owner(ek).map_err(Trouble::from)?;
    let by_ak = house
        .store
        .ak_owner(&sha256(&binding.ak().spki))
        .map_err(Trouble::from)?;
    let refuse = |reason, detail| Err(ActivateError::Attestation { reason, detail });
    if let Some(owner) = by_ek.iter().chain(&by_ak).find(|owner| owner.replacement.is_some()) {
        let detail = format!(
            "EK {}: this TPM was device `{}` until it was replaced",
            hex::encode(ek),
            owner.device
        );
        return refuse("EK_REPLACED", detail);
    }
    let second = by_ek.is_none() && by_ak.is_some();
    match (by_ek, by_ak) {
        (Some(one), Some(other)) if one.device != other.device => {
            let detail = format!(
                "EK {}: device `{}` by this EK, device `{}` by EK {}, and one TPM",
                hex::encode(ek),
                one.device,
                other.device,
                hex::encode(other.ek_spki_sha256)
            );
            refuse("EK_DUPLICATE", detail)
        }
        (None, Some(other)) if claimed.is_some_and(|name| name != other.device) => {
            let detail = format!(
                "EK {}: this TPM is device `{}` by EK {}, and asks to be `{}`",
                hex::encode(ek),
                other.device,
                hex::encode(other.ek_spki_sha256),
                claimed.unwrap_or_default()
            );
            refuse("EK_DUPLICATE", detail)
        }
        (Some(owner), _) | (None, Some(owner)) => {
            let row = house.store.device_by_name(&owner.device).map_err(Trouble::from)?;
            Ok((row, second))
        }
        (None, None) => match expected(house, ek, claimed)? {
            Some(row) => Ok((Some(row), false)),
            None => Ok((claimant(house, "EK", ek, claimed)?, false)),
        },
    }
}

/// The device of this EK as a manifest names it: proven to be here, it is put into the inventory.
fn expected(house: &House, ek: &[u8; 32], claimed: Option<&str>) -> Result<Option<DeviceRow>, ActivateError> {
    let Some(said) = house.store.expected(ek).map_err(Trouble::from)? else {
        return Ok(None);
    };
    if let Some(name) = claimed.filter(|name| *name != said.serial) {
        return Err(ActivateError::IdentityConflict(format!(
            "EK {}: manifest {} says it is `{}`, and it asks to be `{name}`",
            hex::encode(ek),
            said.manifest,
            said.serial
        )));
    }
    let detail = format!("manifest {}, lot `{}`: EK {}", said.manifest, said.lot, hex::encode(ek));
    house
        .store
        .arrive(ek, &arrival(house, said.serial, detail))
        .map_err(not_arrived)
}

/// A device of a manifest is here.
fn arrival(house: &House, serial: String, detail: String) -> AuditRecord {
    AuditRecord {
        at: house.clock.read().now,
        action: "device.arrived".to_owned(),
        actor: format!("device:{serial}"),
        subject: serial,
        reason: "MANIFEST".to_owned(),
        detail,
    }
}

fn not_arrived(error: NewDeviceError) -> ActivateError {
    match error {
        NewDeviceError::Store(error) => Trouble::from(error).into(),
        other => ActivateError::IdentityConflict(other.to_string()),
    }
}

/// The device whose name is claimed, as long as it has no TPM.
fn claimant(
    house: &House,
    what: &str,
    key: &[u8; 32],
    claimed: Option<&str>,
) -> Result<Option<DeviceRow>, ActivateError> {
    let Some(name) = claimed else {
        return Ok(None);
    };
    let Some(row) = house.store.device_by_name(name).map_err(Trouble::from)? else {
        return Ok(None);
    };
    if row.ek_spki_sha256.is_some() || row.iak_spki_sha256.is_some() {
        return Err(ActivateError::IdentityConflict(format!(
            "device `{name}` is bound to another {what} than {}",
            hex::encode(key)
        )));
    }
    Ok(Some(row))
}

/// Two EKs activated one AK: they are of one TPM, and so of one device, for ever.
fn link(house: &House, id: EnrollmentId, permit: &Permit, now: UnixTime) -> Result<(), ActivateError> {
    let Some(ek) = permit.root.ek() else {
        return Ok(());
    };
    let link = EkLink {
        device: permit.device.clone(),
        ek_spki_sha256: ek.spki_sha256,
        ak_spki_sha256: permit.ak_spki_sha256,
        evidence: permit.evidence.bytes.clone(),
    };
    let audit = AuditRecord {
        at: now,
        action: "device.ek.linked".to_owned(),
        actor: format!("device:{}", permit.device),
        subject: permit.device.clone(),
        reason: "SAME_AK".to_owned(),
        detail: format!("{id}: EK {}", hex::encode(ek.spki_sha256)),
    };
    house.store.link_ek(&link, &audit).map_err(corridor::record_error)
}

fn entry(
    house: &House,
    row: DeviceRow,
    binding: &VerifiedBinding,
    now: UnixTime,
) -> Result<InventoryEntry, ActivateError> {
    Ok(InventoryEntry {
        accepted_advisories: review::accepted(house, binding.root().ek()).map_err(Trouble::from)?,
        first_contact_open: row.ek_spki_sha256.is_none()
            && row.iak_spki_sha256.is_none()
            && row.first_contact_until.is_some_and(|end| now.0 <= end),
        name: row.name,
        // The one it is known by now: a TPM may have several.
        ek_spki_sha256: match (row.ek_spki_sha256, binding.root()) {
            (Some(_), Root::Ek(ek)) => Some(ek.spki_sha256),
            (bound, _) => bound,
        },
        iak_spki_sha256: row.iak_spki_sha256,
        held: row.held,
        batch: row.batch,
        dns_names: row.dns_names,
        spiffe_id: row.spiffe_id,
    })
}

/// Grants whose very key has a live certificate need no new signature; another live key is a conflict.
fn already_live(
    house: &House,
    id: EnrollmentId,
    mut permit: Permit,
    now: UnixTime,
) -> Result<(Option<Permit>, Vec<IssuedCertificate>), ActivateError> {
    let mut stored = Vec::new();
    let mut wanted = Vec::new();
    let reading = corridor::reading(&permit);
    // Nothing will be recorded for this proof: its TPM may be a copy all the same.
    let attested = || {
        let noted = house
            .store
            .attested(&permit.device, permit.ak_spki_sha256, reading, id.0, now.0);
        noted.map_err(corridor::record_error)
    };
    for grant in permit.grants {
        let profile = grant.profile().name();
        let live = house
            .store
            .live_identity(&permit.device, profile, now.0)
            .map_err(Trouble::from)?;
        match live {
            None => wanted.push(grant),
            Some(row) if row.spki_sha256 == sha256(grant.spki()) => stored.extend(lookup::issued(house, &row)?),
            Some(_) => {
                attested()?;
                return Err(other_key_live(&permit.device, profile));
            }
        }
    }
    if wanted.is_empty() {
        attested()?;
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
