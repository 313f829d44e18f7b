//! [`Crl`] -> [`PublishableDelta`]: a delta CRL on exactly what is published, which unsays nothing that the one before said.

use attest::UnixTime;
use wire::revocation::RevocationReason;

use super::compare::{CrlDoubt, Doubts, EntryDoubt, Known, follows, is_of, may_become};
use super::entry::{CrlEntry, Mark};
use super::read::Crl;
use super::statement::CrlNumber;
use crate::Serial;

/// A delta CRL that may take the place of the one before, beside exactly its base.
#[derive(Debug)]
pub struct PublishableDelta {
    crl: Crl,
    base: CrlNumber,
    previous: Option<CrlNumber>,
}

impl PublishableDelta {
    /// The delta CRL.
    #[must_use]
    pub fn crl(&self) -> &Crl {
        &self.crl
    }
    /// The number of the complete CRL that must be published when it is.
    #[must_use]
    pub fn base(&self) -> CrlNumber {
        self.base
    }
    /// The number of the delta CRL it was compared with, and the only one it may replace; `None` for the first.
    #[must_use]
    pub fn replaces(&self) -> Option<CrlNumber> {
        self.previous
    }
    /// The delta CRL itself, after publication.
    #[must_use]
    pub fn into_crl(self) -> Crl {
        self.crl
    }
}

/// Compare the delta `next` with what is published: the complete CRL `base`, and the delta beside it, if there is one.
/// Only what was on hold may be taken back, and only when the record knows its release. `known` is asked for what is
/// taken back, or was.
///
/// # Errors
/// [`CrlDoubt`]; any doubt is one.
pub fn compare_delta(
    base: &Crl,
    previous: Option<&Crl>,
    next: Crl,
    now: UnixTime,
    mut known: impl FnMut(Serial) -> Option<Known>,
) -> Result<PublishableDelta, CrlDoubt> {
    if base.base().is_some() {
        return Err(CrlDoubt::Delta);
    }
    let number = next.base().ok_or(CrlDoubt::NoDelta)?;
    is_of(&next, now)?;
    follows(base, &next)?;
    if number != base.number() {
        return Err(CrlDoubt::Base {
            base: number,
            published: base.number(),
        });
    }
    if base.this_update() == next.this_update() {
        return Err(CrlDoubt::SameMoment);
    }
    let mut doubts = Doubts::default();
    if let Some(previous) = previous {
        let on = previous.base().ok_or(CrlDoubt::NoDelta)?;
        follows(previous, &next)?;
        if on == base.number() {
            for entry in previous.entries() {
                doubts.note(entry, may_go_on(entry, base, &next, known(entry.serial)));
            }
        } else {
            // Its base was replaced by one that was compared with it: more there is not to carry on.
            follows(previous, base)?;
        }
    }
    let taken_back = |entry: &CrlEntry, known: Option<Known>| {
        let on_hold = base.find(entry.serial).is_none_or(|there| is_hold(&there));
        let released = known.and_then(|known| known.released);
        if on_hold && released.is_some_and(|at| at <= next.this_update()) {
            Ok(())
        } else {
            Err(EntryDoubt::NotReleased)
        }
    };
    for entry in next.entries() {
        let outcome = match (entry.mark, base.find(entry.serial)) {
            (Mark::Removed, _) => taken_back(entry, known(entry.serial)),
            (Mark::Revoked(_), Some(there)) => may_become(&there, entry),
            (Mark::Revoked(_), None) => Ok(()),
        };
        doubts.note(entry, outcome);
    }
    doubts.end()?;
    Ok(PublishableDelta {
        crl: next,
        base: base.number(),
        previous: previous.map(Crl::number),
    })
}

fn is_hold(entry: &CrlEntry) -> bool {
    entry.mark == Mark::Revoked(RevocationReason::CertificateHold)
}

/// What a delta on the same base said, and the next one.
fn may_go_on(entry: &CrlEntry, base: &Crl, next: &Crl, known: Option<Known>) -> Result<(), EntryDoubt> {
    match (entry.mark, next.find(entry.serial)) {
        // Whether it is released is asked where it is taken back.
        (Mark::Revoked(_), Some(kept)) if kept.mark == Mark::Removed && is_hold(entry) => Ok(()),
        (Mark::Revoked(_), Some(kept)) => may_become(entry, &kept),
        (Mark::Revoked(_), None) => Err(EntryDoubt::Gone),
        (Mark::Removed, Some(_)) => Ok(()),
        (Mark::Removed, None) => {
            let released = known.is_some_and(|known| known.released.is_some());
            if released && base.find(entry.serial).is_some() {
                Err(EntryDoubt::Again)
            } else {
                Ok(())
            }
        }
    }
}
