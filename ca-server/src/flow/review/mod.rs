//! Review instead of a hang-up: a TPM of a vendor nobody decided about, or one that an advisory quarantines, whose EK people
//! had named before, waits until people decide about this EK.

mod ask;

use std::collections::BTreeMap;

use attest::UnixTime;
use issuance::AuditRecord;
use schema::{ADVISORY, ReviewDecision, ReviewRow, ReviewState};
use wire::review::{Review, ReviewPage, TpmKind};

use super::failure::Trouble;
use crate::house::House;

pub(super) use ask::{NotNow, accepted, endorse};

/// Longest reason, in characters; the tables hold the same.
const LONGEST: usize = 500;

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
        "review {id}, {word}, {}: EK {}, {}, issuer `{}`: {reason}",
        row.reason,
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
    Ok(Radius::new(house)?.shown(row)?)
}

/// Reviews of one state, oldest first.
///
/// # Errors
/// [`ReviewError`].
pub fn list(house: &House, state: ReviewState, after: Option<i64>, limit: u32) -> Result<ReviewPage, ReviewError> {
    let page = house.store.reviews(state, after, limit)?;
    let mut radius = Radius::new(house)?;
    let items = page.items.into_iter().map(|row| radius.shown(row));
    Ok(ReviewPage {
        items: items.collect::<Result<_, _>>()?,
        next: page.next.map(|next| next.to_string()),
    })
}

/// What wider decisions would admit; asked once for each manufacturer.
struct Radius<'a> {
    house: &'a House,
    /// Model, version and devices, by manufacturer.
    tpms: BTreeMap<String, Vec<(String, String, u64)>>,
    expected: u64,
}

impl<'a> Radius<'a> {
    fn new(house: &'a House) -> Result<Self, schema::StoreError> {
        Ok(Self {
            house,
            tpms: BTreeMap::new(),
            expected: house.store.still_expected()?,
        })
    }

    /// Devices with a TPM of this manufacturer; and of them, those of which the advisory speaks.
    fn devices(&mut self, manufacturer: &str, advisory: &str) -> Result<(u64, u64), schema::StoreError> {
        if !self.tpms.contains_key(manufacturer) {
            let tpms = self.house.store.tpms_of_manufacturer(manufacturer)?;
            self.tpms.insert(manufacturer.to_owned(), tpms);
        }
        let tpms = self.tpms.get(manufacturer).map(Vec::as_slice).unwrap_or_default();
        let table = self.house.policy.advisories();
        let spoken_of = |model: &str, version: &str| {
            table
                .of(manufacturer, model, version)
                .iter()
                .any(|row| row.id == advisory)
        };
        let all = tpms.iter().map(|(_, _, count)| count).sum();
        let meant = tpms.iter().filter(|(model, version, _)| spoken_of(model, version));
        Ok((all, meant.map(|(_, _, count)| count).sum()))
    }

    fn shown(&mut self, row: ReviewRow) -> Result<Review, schema::StoreError> {
        let late = row.state == "pending" && row.expires_at < self.house.clock.read().now.0;
        let advisory = row.reason.strip_prefix(ADVISORY).map(str::to_owned);
        let (of_manufacturer, of_advisory) =
            self.devices(&row.manufacturer, advisory.as_deref().unwrap_or_default())?;
        let why = advisory.as_ref().and_then(|id| {
            let rows = self.house.policy.advisories().rows().iter();
            let mut rows = rows.filter(|known| known.id == *id && known.manufacturer == row.manufacturer);
            rows.next().map(|known| format!("{}: {}", known.title(), known.why))
        });
        Ok(Review {
            devices_of_manufacturer: of_manufacturer,
            devices_of_advisory: advisory.is_some().then_some(of_advisory),
            devices_expected: self.expected,
            id: row.id,
            state: if late { "expired".to_owned() } else { row.state },
            device: row.device,
            named_by: row.named_by,
            reason: match advisory {
                Some(_) => "TPM_QUARANTINED".to_owned(),
                None => row.reason,
            },
            issuer: row.issuer,
            manufacturer: row.manufacturer,
            tpm: row.tpm,
            ek_spki_sha256: hex::encode(row.ek_spki_sha256),
            ek_certificate_sha256: hex::encode(row.ek_certificate_sha256),
            asked_at: row.asked_at,
            expires_at: row.expires_at,
            // Of a quarantined TPM its anchor says what kind it is.
            kind: row.kind.filter(|_| advisory.is_none()),
            advisory,
            why,
            decided_by: row.decided_by,
            decided_at: row.decided_at,
            comment: row.comment,
        })
    }
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
