//! From permission to certificates: draft, lint, record, sign, record.

use attest::{ChallengeContext, UnixTime};
use failpoint::{Point, reach};
use issuance::{
    AuditRecord, ClockReading, DeviceBinding, Draft, DraftError, Issued, KeyError, Order, RecordError, Serial,
    SignFailure, TranscriptRecord,
};
use policies::Permit;
use schema::{CertificateRow, CertificateState};
use wire::EnrollmentId;
use wire::enrollment::{IssuedCertificate, LedgerReceipt};
use wire::revocation::RevocationState;

use super::{ActivateError, other_key_live};
use crate::flow::failure::{Trouble, sha256};
use crate::flow::{lookup, revoke, transcript};
use crate::house::{House, Phase};

/// How the corridor ended well.
pub(in crate::flow) enum Outcome {
    /// Signed and recorded.
    Issued(Vec<IssuedCertificate>),
    /// The same challenge was used between our look and our intent.
    UsedMeanwhile,
    /// Another enrollment of the device was signed between our look and our intent, on the same key.
    LiveMeanwhile,
}

/// Draft, lint, record, sign, record: each arrow consumes what it leaves behind.
pub(in crate::flow) fn corridor(
    house: &House,
    id: EnrollmentId,
    request_sha256: &[u8; 32],
    context: &ChallengeContext,
    permit: Permit,
    now: UnixTime,
) -> Result<Outcome, ActivateError> {
    let transcript = transcript::of(house, context, &permit, now).map_err(Trouble::Bug)?;
    let transcript_sha256 = transcript.digest;
    let order = order(id, request_sha256, &permit, transcript, now);
    let evidence = permit.evidence.digest;
    let profiles: Vec<[u8; 32]> = permit.grants.iter().map(|grant| grant.profile().sha256()).collect();
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
    reach(Point::CorridorLinted);
    let recorded = match house
        .metrics
        .timed(Phase::Record, || issuance::record(linted, &order, &house.store))
    {
        Ok(recorded) => recorded,
        Err(RecordError::ChallengeUsed) => return Ok(Outcome::UsedMeanwhile),
        Err(RecordError::IdentityExists { device, .. })
            if order.device.as_ref().is_some_and(|binding| binding.name != device) =>
        {
            return Err(ActivateError::IdentityConflict(format!(
                "the key belongs to device `{device}` for ever"
            )));
        }
        // Another identity stands where the renewed one stood.
        Err(RecordError::IdentityExists { .. }) if order.renews.is_some() => return Err(ActivateError::Replaced),
        Err(RecordError::IdentityExists { device, profile }) => return raced(house, device, &profile, &keys, now),
        Err(error) => return Err(record_error(error)),
    };
    reach(Point::CorridorRecorded);
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
    reach(Point::CorridorSigned);
    let issued = house
        .metrics
        .timed(Phase::Store, || issuance::issue(signed, &id.0, &house.store))
        .map_err(record_error)?;
    reach(Point::CorridorIssued);
    for certificate in &issued {
        house.metrics.issued(certificate.profile());
        tracing::info!(
            enrollment = %id,
            profile = certificate.profile(),
            serial = %certificate.serial().hex(),
            "issued"
        );
    }
    let shown = issued.iter().zip(profiles).map(|(issued, profile_sha256)| {
        let issuance = ledger::Issuance {
            issuer: house.issuer.key_id().to_vec(),
            serial: issued.serial().octets().to_vec(),
            certificate: sha256(issued.certificate()),
            evidence: Some(evidence),
            profile: issued.profile().to_owned(),
            profile_sha256,
            transcript: Some(transcript_sha256),
        };
        // As the record has it.
        let leaf = ledger::Entry::new(now.0, ledger::Event::Issued(issuance))
            .to_bytes()
            .ok();
        shown(issued, leaf.and_then(|leaf| lookup::receipt(house, leaf, now.0)))
    });
    Ok(Outcome::Issued(shown.collect()))
}

/// No live identity was there a moment ago: it is being made by another request, or was made meanwhile, or is an orphan
/// to be. On the same key, it is the one that was wanted; on another key, that one was first.
fn raced(
    house: &House,
    device: String,
    profile: &str,
    keys: &[[u8; 32]],
    now: UnixTime,
) -> Result<Outcome, ActivateError> {
    let rows = house.store.certificates_of(&device).map_err(Trouble::from)?;
    let standing: Vec<&CertificateRow> = rows
        .iter()
        .filter(|row| row.profile == profile && row.state != CertificateState::Orphan && row.not_after >= now.0)
        .filter(|row| row.not_good().is_none_or(|last| last.state == RevocationState::OnHold))
        .collect();
    // A hold keeps the place: otherwise it would only be a reason to enroll again.
    if let Some((row, last)) = standing.iter().find_map(|row| row.not_good().map(|last| (row, last))) {
        return Err(ActivateError::Revoked(revoke::not_good(row, last)));
    }
    if standing.iter().any(|row| !keys.contains(&row.spki_sha256)) {
        Err(other_key_live(&device, profile))
    } else if standing.iter().any(|row| row.state == CertificateState::Issued) {
        Ok(Outcome::LiveMeanwhile)
    } else {
        Err(Trouble::Unfinished(device).into())
    }
}

fn order(
    id: EnrollmentId,
    request_sha256: &[u8; 32],
    permit: &Permit,
    transcript: TranscriptRecord,
    now: UnixTime,
) -> Order {
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
            root: permit.root.clone(),
            ak_spki_sha256: permit.ak_spki_sha256,
            clock: reading(permit),
        }),
        evidence: Some(permit.evidence.clone()),
        transcript: Some(transcript),
        renews: permit.renews.clone(),
        audit: AuditRecord {
            at: now,
            action: if permit.renews.is_some() {
                "renewal.granted"
            } else {
                "enrollment.granted"
            }
            .to_owned(),
            actor: format!("device:{}", permit.device),
            subject: id.to_string(),
            reason: rules.join(","),
            detail: match &permit.renews {
                None => profiles.join(","),
                Some(old) => format!("{} replaces {}", profiles.join(","), hex::encode(&old.serial)),
            },
        },
        at: now,
    }
}

/// What the attestation said about the TPM's clock.
pub(super) fn reading(permit: &Permit) -> ClockReading {
    ClockReading {
        info: permit.clock,
        asked_at: permit.asked_at,
        rule: permit.clock_rule,
    }
}

/// An issued certificate as its client sees it.
fn shown(issued: &Issued, ledger: Option<LedgerReceipt>) -> IssuedCertificate {
    IssuedCertificate {
        profile: issued.profile().to_owned(),
        key: lookup::role(issued.key_role()),
        serial: issued.serial().hex(),
        certificate: issued.certificate().into(),
        ledger,
    }
}

/// Key and profile are the client's choice. All else in a draft is ours: names and facts were checked before, so a lint
/// that refuses found a defect, and the same request will not fare better when it comes back.
fn draft_error(error: DraftError) -> ActivateError {
    match error {
        DraftError::OutlivesIssuer => ActivateError::Profile(error.to_string()),
        DraftError::IssuerKey | DraftError::Key(_) => ActivateError::KeyRejected(error.to_string()),
        DraftError::Lints(_) | DraftError::Encoding(_) | DraftError::WrongGrant(_) => {
            Trouble::Bug(error.to_string()).into()
        }
    }
}

pub(super) fn record_error(error: RecordError) -> ActivateError {
    let text = error.to_string();
    match error {
        RecordError::ChallengeUsed => ActivateError::Replayed,
        RecordError::EkBoundElsewhere(_) | RecordError::DeviceBoundElsewhere(_) => {
            ActivateError::IdentityConflict(text)
        }
        RecordError::TpmOfAnother(_) => ActivateError::Attestation {
            reason: "EK_DUPLICATE",
            detail: text,
        },
        RecordError::EkReplaced(_) => ActivateError::Attestation {
            reason: "EK_REPLACED",
            detail: text,
        },
        RecordError::DeviceNotOpen(_) => ActivateError::Attestation {
            reason: "NOT_IN_INVENTORY",
            detail: text,
        },
        RecordError::ClockBack { .. } => ActivateError::Clock(text),
        RecordError::IdentityExists { device, .. } => Trouble::Unfinished(device).into(),
        RecordError::Replaced => ActivateError::Replaced,
        RecordError::NotRenewable(_) => ActivateError::NotRenewable(text),
        RecordError::KeyBlocked => ActivateError::KeyRejected(text),
        RecordError::SerialTaken => Trouble::SerialsTaken.into(),
        RecordError::Revoked => ActivateError::Revoked(text),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::failure::{Fate, Reasoned as _};

    #[test]
    fn a_draft_that_lints_refuse_is_our_defect_and_not_the_clients() {
        let fate = |error| draft_error(error).fate();
        assert_eq!(fate(DraftError::Lints(Vec::new())), Fate::Bug);
        assert_eq!(fate(DraftError::Encoding(String::new())), Fate::Bug);
        assert_eq!(fate(DraftError::WrongGrant(policies::GrantKind::Root)), Fate::Bug);
        assert_eq!(fate(DraftError::OutlivesIssuer), Fate::Refuse);
        assert_eq!(fate(DraftError::IssuerKey), Fate::Refuse);
        assert_eq!(fate(DraftError::Key(String::new())), Fate::Refuse);
    }
}
