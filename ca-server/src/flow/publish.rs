//! Publishing a CRL: take a number, read the revoked, draft, write down, sign, compare, swap. On any doubt the published
//! one stays. Goes on while issuing is halted: what is revoked must be heard of, and every CRL is verified in software.

use failpoint::{Point, reach};
use issuance::crl::{
    Crl, CrlDoubt, CrlDraft, CrlDraftError, CrlError, CrlNumber, CrlSpec, LintedCrl, RawCrl, compare, first,
};
use issuance::{AuditRecord, SignFailure};
use schema::{CrlPoint, CrlTurn, DraftedCrl, StoreError};

use crate::house::{Concern, House, Shelved};

/// How a publication ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is out.
    Done {
        /// CRLNumber.
        number: CrlNumber,
        /// How many certificates it lists.
        entries: usize,
    },
    /// Another server published in between; its CRL is there, and ours is not needed.
    Overtaken,
    /// Another server is at work on this one.
    InHand,
}

/// Why the published CRL stays.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The clock stands before the newest record.
    #[error("the clock stands before the newest record")]
    Clock,
    /// The issuing CA has ended.
    #[error("the issuing CA has ended")]
    Ended,
    /// The record does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The token does not answer, or not rightly.
    #[error("signer: {0}")]
    Sign(#[from] SignFailure),
    /// It could not be drafted.
    #[error("{0}")]
    Draft(#[from] CrlDraftError),
    /// What is published cannot be read as a CRL of this issuer.
    #[error("the published CRL: {0}")]
    Unreadable(CrlError),
    /// Fewer steps were read than the published CRL stands on: the record is not whole.
    #[error("{read} steps of revocations were read; the published CRL stands on {published}")]
    Incomplete {
        /// Read now.
        read: i64,
        /// At the last publication.
        published: i64,
    },
    /// The comparison.
    #[error("{0}")]
    Doubt(#[from] CrlDoubt),
}

impl PublishError {
    /// Reason code, of a fixed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Clock => "CRL_CLOCK",
            Self::Ended => "CRL_ISSUER_ENDED",
            Self::Store(_) => "CRL_STORAGE",
            Self::Sign(SignFailure::Key(_)) => "CRL_SIGNER_AWAY",
            Self::Sign(_) => "CRL_SIGNER_WRONG",
            Self::Draft(_) => "CRL_DRAFT",
            Self::Unreadable(_) => "CRL_UNREADABLE",
            Self::Incomplete { .. } => "CRL_INCOMPLETE",
            Self::Doubt(_) => "CRL_DOUBT",
        }
    }

    /// Whether it may pass by itself: then it becomes an alarm when half of the time to nextUpdate is over.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Sign(SignFailure::Key(_)))
    }
}

/// Publish a CRL at a place. `forced`: also when another server is at work on it.
///
/// # Errors
/// [`PublishError`]; what must be told was told.
pub fn publish(house: &House, point: &CrlPoint, forced: bool) -> Result<Published, PublishError> {
    reach(Point::CrlDue);
    let mut outcome = attempt(house, point, forced);
    for _ in 0..AGAIN {
        if !forced || !matches!(outcome, Ok(Published::Overtaken)) || newer_is_out(house, point) {
            break;
        }
        outcome = attempt(house, point, forced);
    }
    tell(house, &point.url, point.published.is_some(), "published", &outcome);
    outcome
}

/// Who asks for a complete CRL is not served with a delta that was faster; the job comes again anyway.
const AGAIN: usize = 3;

/// Whether a complete CRL was published since the place was looked at.
fn newer_is_out(house: &House, point: &CrlPoint) -> bool {
    let now = house.store.crl_points(house.issuer.key_id()).unwrap_or_default();
    let number = |point: &CrlPoint| point.published.map(|published| published.number);
    now.iter().any(|now| now.id == point.id && number(now) > number(point))
}

/// Say how it went. `there`: something is published at this URL.
pub(super) fn tell(
    house: &House,
    url: &str,
    there: bool,
    done: &'static str,
    outcome: &Result<Published, PublishError>,
) {
    match outcome {
        Ok(how) => {
            if let Published::Done { number, entries } = how {
                tracing::info!(url, %number, entries, "CRL published");
            }
            house.metrics.crl(match how {
                Published::Done { .. } => done,
                Published::Overtaken => "overtaken",
                Published::InHand => "in-hand",
            });
            if !matches!(how, Published::InHand) {
                calm(house, url, Concern::Publication);
            }
        }
        Err(error) => {
            house.metrics.crl(error.reason());
            tracing::warn!(url, reason = error.reason(), %error, "no CRL is published; the old one stays");
            // Without any CRL relying parties refuse every certificate, or believe revoked ones.
            if !error.passes() || !there {
                alarm(house, url, Concern::Publication, error.reason(), &error.to_string());
            }
        }
    }
}

fn attempt(house: &House, point: &CrlPoint, forced: bool) -> Result<Published, PublishError> {
    let Some((mut turn, as_of)) = take(house, point, forced)? else {
        return Ok(Published::InHand);
    };
    let [this_update, next_update] = times(house, as_of, house.crl.valid)?;
    let revoked = std::mem::take(&mut turn.revoked);
    let spec = CrlSpec {
        scope: turn.point.scope(),
        number: turn.number,
        this_update,
        next_update,
        revoked,
        delta_url: house.delta_url(&turn.point),
    };
    let linted = CrlDraft::new(spec, &house.issuer)?.lint()?;
    let crl = sign(house, &turn, linted, [this_update, next_update], None)?;
    swap(house, turn, crl)
}

/// Take a number, and read what is to be said, with the moment of which it speaks: one that the reading has seen, or a
/// revocation that was answered between the two would be missing in a CRL that says it is later.
pub(super) fn take(house: &House, point: &CrlPoint, forced: bool) -> Result<Option<(CrlTurn, i64)>, PublishError> {
    let now = moment(house)?;
    if let Some(away) = house.signer.away() {
        // No number is burnt in vain.
        return Err(SignFailure::Key(issuance::KeyError::Unavailable(away)).into());
    }
    let patience = seconds(house.crl.after_revocation).clamp(1, 30);
    let since = (!forced).then(|| now - patience);
    let taken = house
        .store
        .take_crl_number(house.issuer.key_id(), point.id, now, since)?;
    let Some(turn) = taken else {
        return Ok(None);
    };
    reach(Point::CrlTaken);
    if turn.steps < turn.point.steps() {
        return Err(PublishError::Incomplete {
            read: turn.steps,
            published: turn.point.steps(),
        });
    }
    // What other servers recorded is time that was.
    let delta = turn.point.delta.map(|delta| delta.published);
    let others = [turn.point.published, delta].into_iter().flatten();
    let others = others.map(|published| published.this_update).chain(turn.newest);
    let mut as_of = now;
    for seen in others {
        house.clock.saw(seen);
        as_of = as_of.max(seen);
    }
    Ok(Some((turn, as_of)))
}

/// thisUpdate and nextUpdate of a CRL that speaks of `this_update`.
pub(super) fn times(
    house: &House,
    this_update: i64,
    valid: std::time::Duration,
) -> Result<[attest::UnixTime; 2], PublishError> {
    // Not on a clock that ran back.
    moment(house)?;
    let next_update = this_update
        .saturating_add(seconds(valid))
        .min(house.issuer.not_after().0);
    if next_update <= this_update {
        return Err(PublishError::Ended);
    }
    Ok([attest::UnixTime(this_update), attest::UnixTime(next_update)])
}

/// Write down what is about to be signed, then sign it.
pub(super) fn sign(
    house: &House,
    turn: &CrlTurn,
    linted: LintedCrl,
    [this_update, next_update]: [attest::UnixTime; 2],
    base: Option<CrlNumber>,
) -> Result<Crl, PublishError> {
    let drafted = DraftedCrl {
        this_update: this_update.0,
        next_update: next_update.0,
        entries: i64::try_from(linted.entries()).unwrap_or(i64::MAX),
        steps: turn.steps,
        tbs_sha256: linted.tbs_sha256(),
        base,
    };
    house.store.draft_crl(turn.id, &drafted)?;
    reach(Point::CrlDrafted);
    let crl = linted.sign(house.key.as_ref()).inspect_err(|failure| match failure {
        SignFailure::Key(away) => house.signer.failed(&away.to_string()),
        wrong => house.halt.set(&wrong.to_string()),
    })?;
    reach(Point::CrlSigned);
    house.signer.signed(this_update.0);
    Ok(crl)
}

/// What is published, read as anyone would.
pub(crate) fn read(house: &House, der: Vec<u8>) -> Result<Crl, PublishError> {
    RawCrl::decode(der)
        .and_then(|raw| raw.verify(&house.issuer))
        .map_err(PublishError::Unreadable)
}

fn swap(house: &House, turn: CrlTurn, crl: Crl) -> Result<Published, PublishError> {
    let now = attest::UnixTime(moment(house)?);
    let known = |serial| turn.left.get(&serial).copied();
    let mut publishable = match turn.previous {
        None => first(crl, now)?,
        Some(der) => {
            let previous = read(house, der)?;
            if previous.number() > turn.number {
                // Published between our number and our reading, by whoever took a later number.
                return Ok(Published::Overtaken);
            }
            compare(&previous, crl, now, known)?
        }
    };
    if let Some(der) = turn.previous_delta {
        let delta = read(house, der)?;
        if delta.number() > turn.number {
            // It may have seen more than this one.
            return Ok(Published::Overtaken);
        }
        publishable = publishable.besides(&delta, known)?;
    }
    if !house.store.publish_crl(turn.id, &publishable, now.0)? {
        return Ok(Published::Overtaken);
    }
    Ok(shelve(house, turn.point.url, &publishable.into_crl()))
}

/// Serve what was just published.
pub(super) fn shelve(house: &House, url: String, crl: &Crl) -> Published {
    let times = [crl.this_update().0, crl.next_update().0];
    house
        .shelf
        .put(Shelved::new(url, crl.number(), times, crl.der().to_vec()));
    reach(Point::CrlShelved);
    Published::Done {
        number: crl.number(),
        entries: crl.entries().len(),
    }
}

pub(super) fn moment(house: &House) -> Result<i64, PublishError> {
    let moment = house.clock.read();
    if moment.ran_back {
        Err(PublishError::Clock)
    } else {
        Ok(moment.now.0)
    }
}

fn seconds(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// A person should look: said once in the log, the metrics and the audit record, and shown until it is over.
pub fn alarm(house: &House, url: &str, concern: Concern, reason: &'static str, detail: &str) {
    let now = house.clock.read().now;
    if !house.alarms.raise(url, concern, reason, detail, now.0) {
        return;
    }
    tracing::error!(url, reason, detail, "CRL alarm");
    house.metrics.crl_alarm(reason);
    record(house, url, "crl.alarm", reason, detail);
}

/// It is over.
pub fn calm(house: &House, url: &str, concern: Concern) {
    if house.alarms.clear(url, concern) {
        tracing::info!(url, ?concern, "CRL alarm is over");
        record(house, url, "crl.calm", "CRL_ALARM_OVER", "");
    }
}

fn record(house: &House, url: &str, action: &str, reason: &str, detail: &str) {
    let record = AuditRecord {
        at: house.clock.read().now,
        action: action.to_owned(),
        actor: "server".to_owned(),
        subject: url.to_owned(),
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    };
    if let Err(error) = house.store.audit(&record) {
        tracing::error!(%error, "an alarm could not be recorded");
    }
}
