//! Replaced TPMs.

use issuance::AuditRecord;

use super::{Store, StoreError, strange};
use crate::change::{Change, NewDecision, Outcome, new_audit, storable};
use crate::{NewReplacement, Page, ReplaceError, ReplacementRow, replacement};

impl Store {
    /// Ask for another TPM for a device: `audit.actor` does, at `audit.at`. Another person has to approve it, in time. One
    /// at a time for a device; the same wish of the same person again is a success.
    ///
    /// # Errors
    /// [`ReplaceError`].
    pub fn request_replacement(
        &self,
        wish: &NewReplacement,
        audit: &AuditRecord,
    ) -> Result<ReplacementRow, ReplaceError> {
        let (wish, audit) = (wish.clone(), new_audit(audit));
        self.replacing(Change::Replace { wish, audit })
    }

    /// Decide over a replacement (row id): `audit.actor` does. An approval carries it out in the same transaction: every
    /// certificate of the device that has not ended is revoked, every EK of the old TPM goes for ever, and the new TPM
    /// may come. The same decision of the same person again is a success.
    ///
    /// # Errors
    /// [`ReplaceError`]; whoever asked may reject his own, but not approve it.
    pub fn decide_replacement(
        &self,
        replacement: i64,
        approve: bool,
        comment: &str,
        audit: &AuditRecord,
    ) -> Result<ReplacementRow, ReplaceError> {
        self.replacing(Change::Decide(NewDecision {
            replacement,
            approve,
            comment: storable(comment),
            audit: new_audit(audit),
        }))
    }

    fn replacing(&self, change: Change) -> Result<ReplacementRow, ReplaceError> {
        match self.inner.writer.write(change)? {
            Outcome::Replacement(verdict) => verdict.map(|row| *row),
            other => Err(strange(&other).into()),
        }
    }

    /// A replacement by its row id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn replacement(&self, id: i64) -> Result<Option<ReplacementRow>, StoreError> {
        self.read(|link| replacement::find(link, id))
    }

    /// Replacements, newest first: of one device, or of all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn replacements(
        &self,
        device: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<ReplacementRow>, StoreError> {
        self.read(|link| replacement::list(link, device, before, limit))
    }
}
