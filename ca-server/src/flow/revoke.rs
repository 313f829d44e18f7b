//! `POST /v1/certificates/{serial}/revocation` and `/release`: what people say about a certificate. Written down before
//! it is answered; also while issuing is halted or the signer is away.

use failpoint::{Point, reach};
use issuance::AuditRecord;
use schema::{CertificateRow, CertificateState, IakProofRow, Revocation};
use wire::revocation::{CertificateStatus, RevocationEntry, RevocationPage, RevocationReason, RevocationStep};
use wire::third_party::IakProof;

use super::failure::Trouble;
use crate::house::House;

/// Longest comment, in characters; the tables hold the same.
const LONGEST: usize = 500;

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// No certificate, intent or orphan of this serial is on record.
    #[error("there is no certificate of this serial")]
    NotFound,
    /// A comment that is none.
    #[error("comment: at most {LONGEST} characters, no control characters")]
    Comment,
    /// Where it stands is final, or it is not on hold.
    #[error("{0}")]
    Conflict(String),
    /// Not the caller's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<schema::StoreError> for RevokeError {
    fn from(error: schema::StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<schema::RevokeError> for RevokeError {
    fn from(error: schema::RevokeError) -> Self {
        match error {
            schema::RevokeError::NotFound => Self::NotFound,
            schema::RevokeError::Final(_) | schema::RevokeError::NotOnHold => Self::Conflict(error.to_string()),
            schema::RevokeError::Store(error) => error.into(),
        }
    }
}

/// Revoke a certificate, or put it on hold. What already stands is a success.
///
/// # Errors
/// [`RevokeError`].
pub fn revoke(
    house: &House,
    actor: &str,
    serial: &[u8],
    reason: RevocationReason,
    comment: Option<&str>,
) -> Result<CertificateStatus, RevokeError> {
    let action = match reason {
        RevocationReason::CertificateHold => "certificate.held",
        _ => "certificate.revoked",
    };
    reach(Point::RevokeAsked);
    let row = row(house, serial)?;
    let comment = told(comment)?;
    let audit = audit(house, actor, action, &row, reason, comment);
    house.store.revoke(row.id, reason, comment, &audit)?;
    reach(Point::RevokeDone);
    tracing::warn!(serial = %hex::encode(serial), %reason, actor, "{action}");
    status_of(house, row)
}

/// Release a certificate from its hold. One that is released already is a success.
///
/// # Errors
/// [`RevokeError`].
pub fn release(
    house: &House,
    actor: &str,
    serial: &[u8],
    comment: Option<&str>,
) -> Result<CertificateStatus, RevokeError> {
    let row = row(house, serial)?;
    let comment = told(comment)?;
    let action = "certificate.released";
    let audit = audit(house, actor, action, &row, RevocationReason::CertificateHold, comment);
    house.store.release(row.id, comment, &audit)?;
    tracing::warn!(serial = %hex::encode(serial), actor, "{action}");
    status_of(house, row)
}

/// Where a certificate stands.
///
/// # Errors
/// [`RevokeError::NotFound`], [`RevokeError::Trouble`].
pub fn status(house: &House, serial: &[u8]) -> Result<CertificateStatus, RevokeError> {
    status_of(house, row(house, serial)?)
}

/// Steps of all certificates, oldest first.
///
/// # Errors
/// [`Trouble`].
pub fn list(house: &House, after: Option<i64>, limit: u32) -> Result<RevocationPage, Trouble> {
    let page = house.store.revocations(after, limit)?;
    Ok(RevocationPage {
        items: page
            .items
            .into_iter()
            .map(|row| RevocationEntry {
                serial: hex::encode(&row.serial),
                device: row.device,
                profile: row.profile,
                step: step(&row.step),
            })
            .collect(),
        next: page.next.map(|next| next.to_string()),
    })
}

/// A step on the wire.
#[must_use]
pub fn step(step: &Revocation) -> RevocationStep {
    RevocationStep {
        state: step.state,
        reason: step.reason,
        at: step.at,
        since: step.since,
        actor: step.actor.clone(),
        comment: step.comment.clone(),
    }
}

/// A manufacturer's certificate as it is told.
pub fn iak_proof(row: IakProofRow) -> IakProof {
    IakProof {
        certificate_sha256: hex::encode(row.certificate_sha256),
        spki_sha256: hex::encode(row.spki_sha256),
        issuer: row.issuer.into(),
        serial: hex::encode(row.serial),
        idevid_sha256: row.idevid_sha256.map(hex::encode),
        ek_spki_sha256: row.ek_spki_sha256.map(hex::encode),
        anchor: row.anchor,
        assurance: row.assurance,
        manifest: row.manifest.map(|(manifest, _)| manifest),
        manifest_line: row.manifest.map(|(_, position)| position.saturating_add(2)),
    }
}

/// The word for a state on the wire.
#[must_use]
pub fn state(state: CertificateState) -> &'static str {
    match state {
        CertificateState::Intent => "intent",
        CertificateState::Issued => "issued",
        CertificateState::Orphan => "orphan",
    }
}

/// What a certificate that is not good is called towards its device.
pub(super) fn not_good(row: &CertificateRow, last: &Revocation) -> String {
    let state = match last.state {
        wire::revocation::RevocationState::OnHold => "on hold",
        _ => "revoked",
    };
    let serial = hex::encode(&row.serial);
    format!(
        "the `{}` certificate {serial} is {state} ({})",
        row.profile, last.reason
    )
}

fn row(house: &House, serial: &[u8]) -> Result<CertificateRow, RevokeError> {
    house.store.certificate(serial)?.ok_or(RevokeError::NotFound)
}

fn told(comment: Option<&str>) -> Result<&str, RevokeError> {
    let comment = comment.unwrap_or_default();
    if comment.chars().count() > LONGEST || comment.contains(char::is_control) {
        Err(RevokeError::Comment)
    } else {
        Ok(comment)
    }
}

/// Found under the device; under its serial where there is none.
fn audit(
    house: &House,
    actor: &str,
    action: &str,
    row: &CertificateRow,
    reason: RevocationReason,
    comment: &str,
) -> AuditRecord {
    let serial = hex::encode(&row.serial);
    let why = if comment.is_empty() {
        String::new()
    } else {
        format!(": {comment}")
    };
    AuditRecord {
        at: house.clock.read().now,
        action: action.to_owned(),
        actor: actor.to_owned(),
        subject: row.device.clone().unwrap_or_else(|| serial.clone()),
        reason: reason.as_str().to_owned(),
        detail: format!("{} {serial}{why}", row.profile),
    }
}

fn status_of(house: &House, row: CertificateRow) -> Result<CertificateStatus, RevokeError> {
    let now = house.clock.read().now.0;
    let history = house.store.revocation_history(row.id)?;
    let others = match &row.device {
        None => Vec::new(),
        Some(device) => house.store.certificates_of(device)?,
    };
    let lineage = house.store.lineage(row.id)?;
    let iak_proof = house.store.iak_proof(&row.enrollment_id)?.map(iak_proof);
    Ok(CertificateStatus {
        lineage: lineage.iter().map(|kin| hex::encode(&kin.serial)).collect(),
        serial: hex::encode(&row.serial),
        profile: row.profile,
        state: state(row.state).to_owned(),
        not_before: row.not_before,
        not_after: row.not_after,
        revocation: history.last().filter(|last| last.not_good()).map(step),
        history: history.iter().map(step).collect(),
        others: others
            .iter()
            .filter(|other| other.id != row.id && other.not_after >= now && other.not_good().is_none())
            .map(|other| hex::encode(&other.serial))
            .collect(),
        device: row.device,
        iak_proof,
    })
}
