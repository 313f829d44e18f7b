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
    /// thisUpdate of the previous one.
    shown: Option<UnixTime>,
    beside: Option<CrlNumber>,
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
    /// The number of the delta CRL it was compared with: the only one that may be published beside it.
    #[must_use]
    pub fn beside(&self) -> Option<CrlNumber> {
        self.beside
    }
    /// Compare it with the published delta CRL, too: what that said is not unsaid either.
    ///
    /// # Errors
    /// [`CrlDoubt`].
    pub fn besides(mut self, delta: &Crl, mut known: impl FnMut(Serial) -> Option<Known>) -> Result<Self, CrlDoubt> {
        let next = &self.crl;
        let (Some(_), Some(shown)) = (delta.base(), self.shown) else {
            return Err(CrlDoubt::NoDelta);
        };
        follows(delta, next)?;
        let mut doubts = Doubts::default();
        for entry in delta.entries().iter().filter(|entry| entry.mark != Mark::Removed) {
            doubts.note(
                entry,
                match next.find(entry.serial) {
                    Some(kept) => may_become(entry, &kept),
                    None => may_leave(entry, known(entry.serial), shown, next.this_update()),
                },
            );
        }
        doubts.end()?;
        self.beside = Some(delta.number());
        Ok(self)
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
    /// A delta CRL where a complete one belongs.
    #[error("a delta CRL")]
    Delta,
    /// A complete CRL where a delta belongs, or a delta beside nothing.
    #[error("no delta CRL")]
    NoDelta,
    /// A delta on another base than what is published.
    #[error("a delta on number {base}, and number {published} is published")]
    Base {
        /// BaseCRLNumber.
        base: CrlNumber,
        /// The published complete CRL.
        published: CrlNumber,
    },
    /// A delta of the very moment of its base (RFC 5280 §5.2.3: then they would have one number).
    #[error("a delta of the moment of its base")]
    SameMoment,
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
    /// It is taken back, and the record knows of no release.
    #[error("taken back, though not released from hold")]
    NotReleased,
    /// It was taken back; now the base alone speaks of it, and lists it.
    #[error("taken back before, and now again what the base says")]
    Again,
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
        shown: None,
        beside: None,
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
    follows(previous, &next)?;
    let mut doubts = Doubts::default();
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
        doubts.note(entry, outcome);
    }
    doubts.end()?;
    Ok(PublishableCrl {
        previous: Some(previous.number()),
        shown: Some(previous.this_update()),
        beside: None,
        crl: next,
    })
}

/// Of the same issuer and scope, with a greater number, and not of an earlier moment.
pub(super) fn follows(previous: &Crl, next: &Crl) -> Result<(), CrlDoubt> {
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
    Ok(())
}

/// The first doubt about an entry, and how many there are.
#[derive(Default)]
pub(super) struct Doubts(Option<(usize, Serial, EntryDoubt)>);

impl Doubts {
    pub(super) fn note(&mut self, entry: &CrlEntry, outcome: Result<(), EntryDoubt>) {
        if let Err(doubt) = outcome {
            let (count, ..) = self.0.get_or_insert((0, entry.serial, doubt));
            *count += 1;
        }
    }
    pub(super) fn end(self) -> Result<(), CrlDoubt> {
        match self.0 {
            None => Ok(()),
            Some((count, serial, doubt)) => Err(CrlDoubt::Entries { count, serial, doubt }),
        }
    }
}

fn stands_alone(next: &Crl, now: UnixTime) -> Result<(), CrlDoubt> {
    if next.base().is_some() {
        return Err(CrlDoubt::Delta);
    }
    is_of(next, now)
}

/// Whether now lies within its time.
pub(super) fn is_of(next: &Crl, now: UnixTime) -> Result<(), CrlDoubt> {
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

pub(super) fn may_become(entry: &CrlEntry, kept: &CrlEntry) -> Result<(), EntryDoubt> {
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
