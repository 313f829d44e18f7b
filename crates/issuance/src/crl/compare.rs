//! [`Crl`] -> [`PublishableCrl`]: nothing that was said is unsaid but by expiry or release.

use attest::UnixTime;
use wire::revocation::RevocationReason;

use super::entry::{CrlEntry, Mark, is_compromise};
use super::read::Crl;
use super::scope::CrlScope;
use super::statement::CrlNumber;
use crate::Serial;

/// A CRL that may take the place of the one before.
#[derive(Debug)]
pub struct PublishableCrl {
    crl: Crl,
    previous: Option<CrlNumber>,
}

impl PublishableCrl {
    /// The CRL.
    #[must_use]
    pub fn crl(&self) -> &Crl {
        &self.crl
    }
    /// The number of the CRL it was compared with, and the only one it may replace; `None` for the first of its scope.
    #[must_use]
    pub fn replaces(&self) -> Option<CrlNumber> {
        self.previous
    }
    /// The CRL itself, after publication.
    #[must_use]
    pub fn into_crl(self) -> Crl {
        self.crl
    }
}

/// What the record knows of a certificate whose entry is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Last second of validity.
    pub not_after: UnixTime,
    /// Since when it is no longer on hold, if it was released.
    pub released: Option<UnixTime>,
}

/// Why a CRL is not published. The old one stays, and a person looks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlDoubt {
    /// Delta CRLs are not compared: they are made of two that were.
    #[error("a delta CRL")]
    Delta,
    /// Another issuer's name or key.
    #[error("the two CRLs are of different issuers")]
    AnotherIssuer,
    /// Different scopes.
    #[error("one is for {previous}, the other for {next}")]
    AnotherScope {
        /// Published.
        previous: CrlScope,
        /// New.
        next: CrlScope,
    },
    /// The number does not grow.
    #[error("number {next} is not greater than {previous}")]
    Number {
        /// Published.
        previous: CrlNumber,
        /// New.
        next: CrlNumber,
    },
    /// thisUpdate goes back.
    #[error("thisUpdate {} is before the published {}", .next.0, .previous.0)]
    ThisUpdate {
        /// Published.
        previous: UnixTime,
        /// New.
        next: UnixTime,
    },
    /// The new one is not of now: a clock is wrong, or it lay too long.
    #[error("now is {}, the CRL is for {} until {}", .now.0, .this_update.0, .next_update.0)]
    NotCurrent {
        /// Clock of the publisher.
        now: UnixTime,
        /// thisUpdate.
        this_update: UnixTime,
        /// nextUpdate.
        next_update: UnixTime,
    },
    /// Entries that the new one does not carry on.
    #[error("{count} entries are in doubt; the first: serial {}: {doubt}", .serial.hex())]
    Entries {
        /// How many.
        count: usize,
        /// The first of them.
        serial: Serial,
        /// What is doubtful about it.
        doubt: EntryDoubt,
    },
}

/// Why an entry is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryDoubt {
    /// It is gone, and the record does not know the certificate.
    #[error("gone, and the certificate is not on record")]
    GoneUnknown,
    /// It is gone, though the published CRL does not show it after its certificate expired (RFC 5280 §3.3), and it was
    /// not released from hold.
    #[error("gone, neither expired before the published CRL nor released from hold")]
    Gone,
    /// The revocation begins later than was said.
    #[error("its revocation moved to a later date")]
    Date,
    /// The reason became a weaker one.
    #[error("its reason was {} and became {}", .previous.as_str(), .next.as_str())]
    Reason {
        /// Published.
        previous: RevocationReason,
        /// New.
        next: RevocationReason,
    },
}

/// The first CRL of a scope: nothing was ever published for it, as the store knows for certain.
///
/// # Errors
/// [`CrlDoubt::Delta`], [`CrlDoubt::NotCurrent`].
pub fn first(next: Crl, now: UnixTime) -> Result<PublishableCrl, CrlDoubt> {
    stands_alone(&next, now)?;
    Ok(PublishableCrl {
        crl: next,
        previous: None,
    })
}

/// Compare `next` with what is published. An entry may leave when the published CRL shows it after its certificate
/// expired, or when it was on hold and is released; its date may not move to later, its reason only to a compromise, or
/// from hold to any. Both numbers and times must grow. `known` is asked for entries that left only.
///
/// # Errors
/// [`CrlDoubt`]; any doubt is one.
pub fn compare(
    previous: &Crl,
    next: Crl,
    now: UnixTime,
    mut known: impl FnMut(Serial) -> Option<Known>,
) -> Result<PublishableCrl, CrlDoubt> {
    stands_alone(&next, now)?;
    if previous.base().is_some() {
        return Err(CrlDoubt::Delta);
    }
    if previous.issuer_name() != next.issuer_name() || previous.issuer_key_id() != next.issuer_key_id() {
        return Err(CrlDoubt::AnotherIssuer);
    }
    if previous.scope() != next.scope() {
        return Err(CrlDoubt::AnotherScope {
            previous: previous.scope().clone(),
            next: next.scope().clone(),
        });
    }
    if previous.number() >= next.number() {
        return Err(CrlDoubt::Number {
            previous: previous.number(),
            next: next.number(),
        });
    }
    if previous.this_update() > next.this_update() {
        return Err(CrlDoubt::ThisUpdate {
            previous: previous.this_update(),
            next: next.this_update(),
        });
    }
    let mut doubts: Option<(usize, Serial, EntryDoubt)> = None;
    let mut rest = next.entries();
    for entry in previous.entries() {
        // Both lists are by serial.
        let before = rest.iter().take_while(|later| later.serial < entry.serial).count();
        rest = rest.get(before..).unwrap_or_default();
        let kept = rest.first().filter(|later| later.serial == entry.serial);
        let outcome = match kept {
            Some(kept) => may_become(entry, kept),
            None => may_leave(entry, known(entry.serial), previous.this_update(), next.this_update()),
        };
        if let Err(doubt) = outcome {
            let (count, ..) = doubts.get_or_insert((0, entry.serial, doubt));
            *count += 1;
        }
    }
    if let Some((count, serial, doubt)) = doubts {
        return Err(CrlDoubt::Entries { count, serial, doubt });
    }
    Ok(PublishableCrl {
        previous: Some(previous.number()),
        crl: next,
    })
}

fn stands_alone(next: &Crl, now: UnixTime) -> Result<(), CrlDoubt> {
    if next.base().is_some() {
        return Err(CrlDoubt::Delta);
    }
    let (this_update, next_update) = (next.this_update(), next.next_update());
    if this_update <= now && now < next_update {
        Ok(())
    } else {
        Err(CrlDoubt::NotCurrent {
            now,
            this_update,
            next_update,
        })
    }
}

fn may_become(entry: &CrlEntry, kept: &CrlEntry) -> Result<(), EntryDoubt> {
    let (Mark::Revoked(previous), Mark::Revoked(next)) = (entry.mark, kept.mark) else {
        return Err(EntryDoubt::Gone);
    };
    if previous == RevocationReason::CertificateHold {
        // Released and held or revoked anew since: any later date is true.
        return Ok(());
    }
    if kept.at > entry.at {
        return Err(EntryDoubt::Date);
    }
    if previous == next || (is_compromise(next) && !is_compromise(previous)) {
        Ok(())
    } else {
        Err(EntryDoubt::Reason { previous, next })
    }
}

fn may_leave(
    entry: &CrlEntry,
    known: Option<Known>,
    published: UnixTime,
    this_update: UnixTime,
) -> Result<(), EntryDoubt> {
    let Known { not_after, released } = known.ok_or(EntryDoubt::GoneUnknown)?;
    let held = entry.mark == Mark::Revoked(RevocationReason::CertificateHold);
    let released = released.is_some_and(|at| held && entry.at <= at && at <= this_update);
    // The last second of validity is one of validity.
    if not_after < published || released {
        Ok(())
    } else {
        Err(EntryDoubt::Gone)
    }
}
