//! Review: TPMs whose vendor nobody decided about, or that an advisory quarantines, and what people say about each.

use diesel::prelude::*;

use crate::StoreError;
use crate::link::{Fault, Link, on};
use crate::rows::Page;
use crate::tables::{NewAudit, audit, device, expected, manifest as manifest_table, review};
use crate::{keeping, manifest, replacement, seal};

/// Most that may wait at once, whoever asks.
const MOST: i64 = 10_000;
/// A rejection stands for so many seconds.
const STANDS: i64 = 7 * 86_400;
/// What a reason begins with that asks about an advisory; its id follows.
pub const ADVISORY: &str = "advisory:";
/// Longest texts about a TPM, in characters.
const LONGEST: usize = 200;

/// Where a review stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewState {
    /// People have to decide.
    Pending,
    /// People vouched for this EK.
    Approved,
    /// People did not, or took it back.
    Rejected,
    /// Nobody decided in time.
    Expired,
}

impl ReviewState {
    /// As it is stored and told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Pending, Self::Approved, Self::Rejected, Self::Expired]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A TPM that people have to decide about.
#[derive(Clone, Debug)]
pub struct NewReview {
    /// SHA-256 of the EK's SubjectPublicKeyInfo.
    pub ek_spki_sha256: [u8; 32],
    /// SHA-256 of its certificate.
    pub ek_certificate_sha256: [u8; 32],
    /// Code of the refusal; [`ADVISORY`] and an id: the advisory that quarantines it.
    pub reason: String,
    /// Name of the CA that the certificate says it is from.
    pub issuer: String,
    /// Manufacturer it claims.
    pub manufacturer: String,
    /// Model and version it claims.
    pub tpm: String,
    /// It can be decided about for so many seconds.
    pub valid_for: i64,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// People have to decide; the number under which they do.
    Pending(i64),
    /// People vouched: `hardware`, `virtual` or `software`.
    Approved(String),
    /// People said no.
    Rejected,
    /// Nobody named this EK, so nobody is asked; nothing is written.
    Unnamed,
    /// Too many wait; nothing is written.
    Full,
}

/// A review on record.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = review)]
pub struct ReviewRow {
    /// Its number.
    pub id: i64,
    /// SHA-256 of the EK's SubjectPublicKeyInfo.
    pub ek_spki_sha256: Vec<u8>,
    /// SHA-256 of its certificate.
    pub ek_certificate_sha256: Vec<u8>,
    /// Device that was named with this EK.
    pub device: String,
    /// Who named it.
    pub named_by: String,
    /// Code of the refusal; [`ADVISORY`] and an id: the advisory that quarantines it.
    pub reason: String,
    /// Name of the CA that the certificate says it is from.
    pub issuer: String,
    /// Manufacturer it claims.
    pub manufacturer: String,
    /// Model and version it claims.
    pub tpm: String,
    /// When it came first, unix seconds.
    pub asked_at: i64,
    /// Last second in which it can be approved.
    pub expires_at: i64,
    /// `pending`, `approved`, `rejected`, `expired`.
    pub state: String,
    /// What kind of TPM it is in, by the word of who approved.
    pub kind: Option<String>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When, unix seconds.
    pub decided_at: Option<i64>,
    /// Why.
    pub comment: Option<String>,
}

/// A decision over a review.
#[derive(Clone, Debug)]
pub struct ReviewDecision {
    /// Its number.
    pub review: i64,
    /// Vouch for the EK as one of this kind; none: say no, or take an approval back.
    pub kind: Option<&'static str>,
    /// Why: 1 to 500 characters.
    pub comment: String,
    /// Whoever named the EK may not approve it.
    pub by_two: bool,
}

/// Why nothing was decided.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReviewError {
    /// There is no such review.
    #[error("there is no such review")]
    NotFound,
    /// Whoever named the EK may not vouch for it.
    #[error("`{0}` named this EK: another person has to approve it")]
    SamePerson(String),
    /// It is decided.
    #[error("it is {} already, by `{by}`", .state.as_str())]
    Decided {
        /// As what.
        state: ReviewState,
        /// By whom.
        by: String,
    },
    /// Nobody decided in time.
    #[error("it has expired: the device asks anew")]
    Expired,
    /// Storage.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What stands for an EK; if nothing does and people named it, ask them. A stranger's EK leaves nothing.
pub(crate) fn ask(link: &mut Link, new: &NewReview, record: &NewAudit) -> Result<Asked, Fault> {
    if let Some(asked) = standing(link, &new.ek_spki_sha256, &new.reason, record.at)? {
        return Ok(asked);
    }
    let Some((device, named_by)) = named(link, &new.ek_spki_sha256)? else {
        return Ok(Asked::Unnamed);
    };
    // Expired ones make room for what comes anew.
    expire(link, record)?;
    let waiting: i64 = on!(link, c => review::table
        .filter(review::state.eq("pending"))
        .count()
        .get_result(c))?;
    if waiting >= MOST {
        return Ok(Asked::Full);
    }
    let short = |text: &str| {
        text.chars()
            .filter(|c| !c.is_control())
            .take(LONGEST)
            .collect::<String>()
    };
    let id: i64 = on!(link, c => diesel::insert_into(review::table)
        .values((
            review::ek_spki_sha256.eq(new.ek_spki_sha256.as_slice()),
            review::ek_certificate_sha256.eq(new.ek_certificate_sha256.as_slice()),
            review::device.eq(&device),
            review::named_by.eq(&named_by),
            review::reason.eq(&new.reason),
            review::issuer.eq(short(&new.issuer)),
            review::manufacturer.eq(short(&new.manufacturer)),
            review::tpm.eq(short(&new.tpm)),
            review::asked_at.eq(record.at),
            review::expires_at.eq(record.at.saturating_add(new.valid_for)),
            review::state.eq("pending"),
        ))
        .returning(review::id)
        .get_result(c))?;
    let record = NewAudit {
        subject: device,
        ..record.changed(None, seal::row(link, "review", id)?)
    };
    keeping::audit(link, std::slice::from_ref(&record))?;
    Ok(Asked::Pending(id))
}

/// What nobody decided in time is over, each with its record.
fn expire(link: &mut Link, record: &NewAudit) -> Result<(), Fault> {
    let over = review::table
        .filter(review::state.eq("pending"))
        .filter(review::expires_at.lt(record.at))
        .order(review::id)
        .select((review::id, review::device));
    let over: Vec<(i64, String)> = match link {
        Link::Sqlite(c) => over.load(c)?,
        Link::Postgres(c) => over.for_no_key_update().load(c)?,
    };
    for (id, device) in over {
        let before = seal::row(link, "review", id)?;
        on!(link, c => diesel::update(review::table.find(id))
            .set((
                review::state.eq("expired"),
                review::decided_by.eq("server"),
                review::decided_at.eq(record.at),
            ))
            .execute(c))?;
        let told = NewAudit {
            action: "review.expired".to_owned(),
            actor: "server".to_owned(),
            subject: device,
            reason: "EXPIRED".to_owned(),
            detail: format!("review {id}"),
            ..record.changed(before, seal::row(link, "review", id)?)
        };
        keeping::audit(link, &[told])?;
    }
    Ok(())
}

/// What stands for an EK and a reason: about that advisory, or, whatever else the reason is, about its vendor. A rejection
/// stands for a while; then who asks is asked about anew.
pub(crate) fn standing(link: &mut Link, ek: &[u8; 32], reason: &str, now: i64) -> Result<Option<Asked>, Fault> {
    let of_ek: Vec<ReviewRow> = on!(link, c => review::table
        .filter(review::ek_spki_sha256.eq(ek.as_slice()))
        .order(review::id.desc())
        .select(ReviewRow::as_select())
        .load(c))?;
    let about = |reason: &str| reason.strip_prefix(ADVISORY).map(str::to_owned);
    let last = of_ek.into_iter().find(|row| about(&row.reason) == about(reason));
    let Some(last) = last else { return Ok(None) };
    Ok(match ReviewState::from_text(&last.state) {
        Some(ReviewState::Pending) if last.expires_at >= now => Some(Asked::Pending(last.id)),
        Some(ReviewState::Approved) => last.kind.map(Asked::Approved),
        Some(ReviewState::Rejected) if last.decided_at.unwrap_or(0).saturating_add(STANDS) >= now => {
            Some(Asked::Rejected)
        }
        Some(ReviewState::Pending | ReviewState::Expired | ReviewState::Rejected) => None,
        None => return Err(Fault::Failed(format!("review `{}`", last.state))),
    })
}

/// Advisories in spite of which people let this EK in, as it stands.
pub(crate) fn accepted(link: &mut Link, ek: &[u8; 32]) -> Result<Vec<String>, Fault> {
    let reasons: Vec<String> = on!(link, c => review::table
        .filter(review::ek_spki_sha256.eq(ek.as_slice()))
        .filter(review::state.eq("approved"))
        .order(review::id)
        .select(review::reason)
        .load(c))?;
    let advisory = |reason: &String| reason.strip_prefix(ADVISORY).map(str::to_owned);
    Ok(reasons.iter().filter_map(advisory).collect())
}

/// The device that people named with this EK, and who did.
fn named(link: &mut Link, ek: &[u8; 32]) -> Result<Option<(String, String)>, Fault> {
    if let Some(owner) = replacement::owner(link, ek)? {
        if owner.replacement.is_some() {
            return Ok(None);
        }
        let by: Option<String> = on!(link, c => audit::table
            .filter(audit::subject.eq(&owner.device))
            .filter(audit::action.eq("device.allowed"))
            .order(audit::id.desc())
            .select(audit::actor)
            .first(c)
            .optional())?;
        return Ok(Some((owner.device, by.unwrap_or_else(|| "unknown".to_owned()))));
    }
    let Some(said) = manifest::expected(link, ek)? else {
        return Ok(None);
    };
    let by = manifest::find(link, said.manifest)?.map_or_else(|| "unknown".to_owned(), |m| m.imported_by);
    Ok(Some((said.serial, by)))
}

/// Decide; the same decision of the same person again is a success. The row is the lock: of two at once one is first.
pub(crate) fn decide(
    link: &mut Link,
    new: &ReviewDecision,
    record: &NewAudit,
) -> Result<Result<ReviewRow, ReviewError>, Fault> {
    let wanted = if new.kind.is_some() {
        ReviewState::Approved
    } else {
        ReviewState::Rejected
    };
    let row = review::table.filter(review::id.eq(new.review)).select(review::id);
    let locked: Option<i64> = match link {
        Link::Sqlite(c) => row.first(c).optional()?,
        Link::Postgres(c) => row.for_no_key_update().first(c).optional()?,
    };
    let now = match locked {
        Some(id) => find(link, id)?,
        None => None,
    };
    let Some(now) = now else {
        return Ok(Err(ReviewError::NotFound));
    };
    let state = ReviewState::from_text(&now.state).ok_or_else(|| Fault::Failed(format!("review `{}`", now.state)))?;
    let by = now.decided_by.clone().unwrap_or_default();
    match state {
        state if state == wanted && by == record.actor && now.kind.as_deref() == new.kind.or(now.kind.as_deref()) => {
            return Ok(Ok(now));
        }
        ReviewState::Pending => {}
        ReviewState::Approved if wanted == ReviewState::Rejected => {}
        ReviewState::Expired => return Ok(Err(ReviewError::Expired)),
        state => return Ok(Err(ReviewError::Decided { state, by })),
    }
    if wanted == ReviewState::Approved {
        if new.by_two && now.named_by == record.actor {
            return Ok(Err(ReviewError::SamePerson(now.named_by)));
        }
        if record.at > now.expires_at {
            return Ok(Err(ReviewError::Expired));
        }
    }
    let before = seal::row(link, "review", new.review)?;
    on!(link, c => diesel::update(review::table.find(new.review))
        .set((
            review::state.eq(wanted.as_str()),
            review::kind.eq(new.kind.or(now.kind.as_deref())),
            review::decided_by.eq(&record.actor),
            review::decided_at.eq(record.at),
            review::comment.eq(&new.comment),
        ))
        .execute(c))?;
    let after = seal::row(link, "review", new.review)?;
    keeping::audit(link, &[record.changed(before, after)])?;
    Ok(find(link, new.review)?.ok_or(ReviewError::NotFound))
}

/// One by its number.
pub(crate) fn find(link: &mut Link, id: i64) -> Result<Option<ReviewRow>, Fault> {
    Ok(on!(link, c => review::table.find(id).select(ReviewRow::as_select()).first(c).optional())?)
}

/// Oldest first, from `after` on: of one state.
pub(crate) fn list(
    link: &mut Link,
    state: ReviewState,
    after: Option<i64>,
    limit: u32,
) -> Result<Page<ReviewRow>, Fault> {
    let limit = limit.max(1);
    let mut items: Vec<ReviewRow> = on!(link, c => review::table
        .filter(review::state.eq(state.as_str()))
        .filter(review::id.gt(after.unwrap_or(0)))
        .order(review::id)
        .limit(i64::from(limit).saturating_add(1))
        .select(ReviewRow::as_select())
        .load(c))?;
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > size;
    items.truncate(size);
    let next = if more { items.last().map(|row| row.id) } else { None };
    Ok(Page { items, next })
}

/// TPMs of this manufacturer in the inventory: model, version, and how many devices.
pub(crate) fn tpms_of(link: &mut Link, manufacturer: &str) -> Result<Vec<(String, String, u64)>, Fault> {
    use diesel::dsl::count_star;
    let rows: Vec<(Option<String>, Option<String>, i64)> = on!(link, c => device::table
        .filter(device::manufacturer.eq(manufacturer))
        .group_by((device::model, device::version))
        .select((device::model, device::version, count_star()))
        .load(c))?;
    rows.into_iter()
        .map(|(model, version, count)| {
            let count = u64::try_from(count).map_err(|e| Fault::Failed(e.to_string()))?;
            Ok((model.unwrap_or_default(), version.unwrap_or_default(), count))
        })
        .collect()
}

/// Devices that manifests say will come, and that have not: of what make their TPMs are, no manifest says.
pub(crate) fn still_expected(link: &mut Link) -> Result<u64, Fault> {
    let count: i64 = on!(link, c => expected::table
        .inner_join(manifest_table::table)
        .filter(manifest_table::state.eq("complete"))
        .filter(expected::gone.eq(0))
        .filter(diesel::dsl::not(diesel::dsl::exists(
            device::table.filter(device::name.eq(expected::serial)).select(device::id),
        )))
        .select(diesel::dsl::count(expected::serial).aggregate_distinct())
        .first(c))?;
    u64::try_from(count).map_err(|e| Fault::Failed(e.to_string()))
}
