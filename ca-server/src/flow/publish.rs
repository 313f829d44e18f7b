//! Publishing a CRL: take a number, read the revoked, draft, write down, sign, compare, swap. On any doubt the published
//! one stays. Goes on while issuing is halted: what is revoked must be heard of, and every CRL is verified in software.

use issuance::crl::{CrlDoubt, CrlDraft, CrlDraftError, CrlError, CrlNumber, CrlSpec, RawCrl, compare, first};
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
    let outcome = attempt(house, point, forced);
    match &outcome {
        Ok(done) => {
            if let Published::Done { number, entries } = done {
                tracing::info!(url = %point.url, %number, entries, "CRL published");
            }
            house.metrics.crl(match done {
                Published::Done { .. } => "published",
                Published::Overtaken => "overtaken",
                Published::InHand => "in-hand",
            });
            if !matches!(done, Published::InHand) {
                calm(house, &point.url, Concern::Publication);
            }
        }
        Err(error) => {
            house.metrics.crl(error.reason());
            tracing::warn!(url = %point.url, reason = error.reason(), %error, "no CRL is published; the old one stays");
            // Without any CRL relying parties refuse every certificate, or believe revoked ones.
            if !error.passes() || point.published.is_none() {
                alarm(
                    house,
                    &point.url,
                    Concern::Publication,
                    error.reason(),
                    &error.to_string(),
                );
            }
        }
    }
    outcome
}

fn attempt(house: &House, point: &CrlPoint, forced: bool) -> Result<Published, PublishError> {
    let now = moment(house)?;
    if let Some(away) = house.signer.away() {
        // No number is burnt in vain.
        return Err(SignFailure::Key(issuance::KeyError::Unavailable(away)).into());
    }
    let patience = seconds(house.crl.after_revocation).clamp(1, 30);
    let since = (!forced).then(|| now - patience);
    let issuer = &house.issuer;
    let Some(mut turn) = house.store.take_crl_number(issuer.key_id(), point.id, now, since)? else {
        return Ok(Published::InHand);
    };
    if let Some(published) = turn.point.published {
        if turn.steps < published.steps {
            return Err(PublishError::Incomplete {
                read: turn.steps,
                published: published.steps,
            });
        }
        // What other servers recorded is time that was.
        house.clock.saw(published.this_update);
    }
    if let Some(newest) = turn.newest {
        house.clock.saw(newest);
    }
    let this_update = moment(house)?;
    let next_update = this_update
        .saturating_add(seconds(house.crl.valid))
        .min(issuer.not_after().0);
    if next_update <= this_update {
        return Err(PublishError::Ended);
    }
    let revoked = std::mem::take(&mut turn.revoked);
    let entries = revoked.len();
    let spec = CrlSpec {
        scope: turn.point.scope(),
        number: turn.number,
        this_update: attest::UnixTime(this_update),
        next_update: attest::UnixTime(next_update),
        revoked,
    };
    let linted = CrlDraft::new(spec, issuer)?.lint()?;
    let drafted = DraftedCrl {
        this_update,
        next_update,
        entries: i64::try_from(entries).unwrap_or(i64::MAX),
        steps: turn.steps,
        tbs_sha256: linted.tbs_sha256(),
    };
    house.store.draft_crl(turn.id, &drafted)?;
    let crl = linted.sign(house.key.as_ref()).inspect_err(|failure| match failure {
        SignFailure::Key(away) => house.signer.failed(&away.to_string()),
        wrong => house.halt.set(&wrong.to_string()),
    })?;
    house.signer.signed(this_update);
    swap(house, turn, crl, entries)
}

fn swap(house: &House, turn: CrlTurn, crl: issuance::Crl, entries: usize) -> Result<Published, PublishError> {
    let now = attest::UnixTime(moment(house)?);
    let publishable = match turn.previous {
        None => first(crl, now)?,
        Some(der) => {
            let previous = RawCrl::decode(der)
                .and_then(|raw| raw.verify(&house.issuer))
                .map_err(PublishError::Unreadable)?;
            if previous.number() > turn.number {
                // Published between our number and our reading, by whoever took a later number.
                return Ok(Published::Overtaken);
            }
            compare(&previous, crl, now, |serial| turn.left.get(&serial).copied())?
        }
    };
    if !house.store.publish_crl(turn.id, &publishable, now.0)? {
        return Ok(Published::Overtaken);
    }
    let crl = publishable.into_crl();
    let shelved = Shelved::new(
        turn.point.url,
        crl.number(),
        [crl.this_update().0, crl.next_update().0],
        crl.der().to_vec(),
    );
    house.shelf.put(shelved);
    Ok(Published::Done {
        number: turn.number,
        entries,
    })
}

fn moment(house: &House) -> Result<i64, PublishError> {
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
