//! Review instead of a hang-up: a TPM of a vendor nobody decided about, whose EK people had named before, waits until people
//! decide about this EK.

use attest::{AllowedEk, AnchorKind, Endorsed, Evidence, EvidenceBytes, Refusal, Unbelieved, UnixTime, UnknownVendor};
use issuance::AuditRecord;
use schema::{Asked, NewReview, ReviewDecision, ReviewRow, ReviewState};
use wire::review::{Review, ReviewPage, TpmKind};

use super::failure::Trouble;
use crate::house::{House, Phase};

/// A review can be approved for so many seconds.
const VALID: i64 = 7 * 86_400;
/// Longest reason, in characters; the tables hold the same.
const LONGEST: usize = 500;

/// Why evidence leads to no challenge.
pub(super) enum NotNow {
    /// It is refused.
    Refused(Refusal),
    /// People have to decide: the number under which they do.
    Waits(i64),
    /// Not the client's fault.
    Trouble(Trouble),
}

impl From<Refusal> for NotNow {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Judge the evidence of a TPM. An approval is for one EK; where `asks` is set and nobody decided, people are asked.
pub(super) fn endorse(house: &House, evidence: EvidenceBytes, now: UnixTime, asks: bool) -> Result<Endorsed, NotNow> {
    let judged = house.metrics.timed(Phase::Endorse, || {
        let evidence = Evidence::decode(evidence)?;
        // Only for an EK without certificate is the inventory asked.
        let Some(spki_sha256) = evidence.uncertified()? else {
            return Ok::<_, NotNow>(evidence.verify_or_ask(&house.anchors, now));
        };
        let kind = house
            .store
            .ek_allowed(&spki_sha256)
            .map_err(|error| NotNow::Trouble(error.into()))?;
        let allowed = kind.map(|kind| AllowedEk { spki_sha256, kind });
        Ok(evidence.verify_allowed(allowed.as_ref()).map_err(Unbelieved::Refused))
    })?;
    let unknown = match judged {
        Ok(endorsed) => return Ok(endorsed),
        Err(Unbelieved::Refused(refusal)) => return Err(NotNow::Refused(refusal)),
        Err(Unbelieved::Unknown(unknown)) => unknown,
    };
    if !house.terms.review {
        return Err(NotNow::Refused(unknown.into_refusal()));
    }
    decided(house, *unknown, now, asks)
}

fn decided(house: &House, unknown: UnknownVendor, now: UnixTime, asks: bool) -> Result<Endorsed, NotNow> {
    // What is claimed must be in order before anybody is asked about it.
    let claimed = match unknown.claimed(AnchorKind::Virtual) {
        Ok(claimed) => claimed,
        Err(_) => return Err(NotNow::Refused(unknown.into_refusal())),
    };
    let ek = claimed.spki_sha256;
    let away = |error: schema::StoreError| NotNow::Trouble(error.into());
    let asked = if asks {
        let new = NewReview {
            ek_spki_sha256: ek,
            ek_certificate_sha256: claimed.certificate_sha256,
            reason: unknown.refusal().reason.as_str(),
            issuer: name(unknown.issuer()),
            manufacturer: claimed.manufacturer.clone(),
            tpm: format!("{} {}", claimed.model, claimed.version),
            valid_for: VALID,
        };
        // Most who ask again find what stands, and write nothing.
        match house.store.review_of(&ek, now.0).map_err(away)? {
            Some(asked) => asked,
            None => {
                let record = audit(
                    now.0,
                    "enrollment.review.asked",
                    "server",
                    "",
                    unknown.refusal().detail.clone(),
                );
                house.store.ask_review(&new, &record).map_err(away)?
            }
        }
    } else {
        house
            .store
            .review_of(&ek, now.0)
            .map_err(away)?
            .unwrap_or(Asked::Unnamed)
    };
    match asked {
        Asked::Pending(id) if asks => Err(NotNow::Waits(id)),
        Asked::Approved(kind) => {
            let kind = match kind.as_str() {
                "hardware" => AnchorKind::Hardware,
                "virtual" => AnchorKind::Virtual,
                _ => AnchorKind::Software,
            };
            unknown.vouched(&ek, kind).map_err(NotNow::Refused)
        }
        Asked::Pending(_) | Asked::Rejected | Asked::Unnamed | Asked::Full => {
            Err(NotNow::Refused(unknown.into_refusal()))
        }
    }
}

/// A name (DER) in words; bytes that are none in hex.
fn name(der: &[u8]) -> String {
    use der::Decode as _;
    x509_cert::name::Name::from_der(der).map_or_else(|_| hex::encode(der), |name| name.to_string())
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is no such review.
    #[error("there is no such review")]
    NotFound,
    /// A reason that is none.
    #[error("reason: 1 to {LONGEST} characters, no control characters")]
    Reason,
    /// Whoever named the EK may not approve.
    #[error("{0}")]
    SamePerson(String),
    /// Decided, or too old.
    #[error("{0}")]
    Conflict(String),
    /// Not the caller's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<schema::StoreError> for ReviewError {
    fn from(error: schema::StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<schema::ReviewError> for ReviewError {
    fn from(error: schema::ReviewError) -> Self {
        use schema::ReviewError as Error;
        let text = error.to_string();
        match error {
            Error::NotFound => Self::NotFound,
            Error::SamePerson(_) => Self::SamePerson(text),
            Error::Decided { .. } | Error::Expired => Self::Conflict(text),
            Error::Store(error) => error.into(),
        }
    }
}

/// Vouch for an EK as one of this kind; or, without a kind, say no or take it back. With `by_two`, whoever named the EK
/// does not approve it.
///
/// # Errors
/// [`ReviewError`].
pub fn decide(
    house: &House,
    person: &str,
    id: i64,
    kind: Option<TpmKind>,
    reason: &str,
    by_two: bool,
) -> Result<Review, ReviewError> {
    if reason.trim().is_empty() || reason.chars().count() > LONGEST || reason.contains(char::is_control) {
        return Err(ReviewError::Reason);
    }
    let row = house.store.review(id)?.ok_or(ReviewError::NotFound)?;
    let (action, word) = match kind {
        Some(kind) => ("enrollment.review.approved", kind.as_str()),
        None => ("enrollment.review.rejected", "no"),
    };
    let detail = format!(
        "review {id}, {}: EK {}, {}, issuer `{}`: {reason}",
        word,
        hex::encode(&row.ek_spki_sha256),
        row.manufacturer,
        row.issuer
    );
    let decision = ReviewDecision {
        review: id,
        kind: kind.map(TpmKind::as_str),
        comment: reason.to_owned(),
        by_two,
    };
    let record = audit(house.clock.read().now.0, action, person, &row.device, detail);
    let row = house.store.decide_review(&decision, &record)?;
    tracing::warn!(device = %row.device, person, review = id, "{action}");
    shown(house, row)
}

/// Reviews of one state, oldest first.
///
/// # Errors
/// [`ReviewError`].
pub fn list(house: &House, state: ReviewState, after: Option<i64>, limit: u32) -> Result<ReviewPage, ReviewError> {
    let page = house.store.reviews(state, after, limit)?;
    let items = page.items.into_iter().map(|row| shown(house, row));
    Ok(ReviewPage {
        items: items.collect::<Result<_, _>>()?,
        next: page.next.map(|next| next.to_string()),
    })
}

fn shown(house: &House, row: ReviewRow) -> Result<Review, ReviewError> {
    let late = row.state == "pending" && row.expires_at < house.clock.read().now.0;
    Ok(Review {
        devices_of_manufacturer: house.store.devices_of_manufacturer(&row.manufacturer)?,
        id: row.id,
        state: if late { "expired".to_owned() } else { row.state },
        device: row.device,
        named_by: row.named_by,
        reason: row.reason,
        issuer: row.issuer,
        manufacturer: row.manufacturer,
        tpm: row.tpm,
        ek_spki_sha256: hex::encode(row.ek_spki_sha256),
        ek_certificate_sha256: hex::encode(row.ek_certificate_sha256),
        asked_at: row.asked_at,
        expires_at: row.expires_at,
        kind: row.kind,
        decided_by: row.decided_by,
        decided_at: row.decided_at,
        comment: row.comment,
    })
}

fn audit(at: i64, action: &str, actor: &str, device: &str, detail: String) -> AuditRecord {
    AuditRecord {
        at: UnixTime(at),
        action: action.to_owned(),
        actor: actor.to_owned(),
        subject: device.to_owned(),
        reason: "REVIEW".to_owned(),
        detail,
    }
}
