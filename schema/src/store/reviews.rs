//! Reviews: what people are asked about TPMs.

use issuance::AuditRecord;

use super::{Store, StoreError, strange};
use crate::change::{Change, Outcome, new_audit};
use crate::{Asked, NewReview, Page, ReviewDecision, ReviewError, ReviewRow, ReviewState, review};

impl Store {
    /// What people say of an EK by the advisory that `reason` names ([`crate::ADVISORY`]); with another reason, of its vendor,
    /// that nobody decided about. None: nobody was asked, or not in time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn review_of(&self, ek_spki_sha256: &[u8; 32], reason: &str, now: i64) -> Result<Option<Asked>, StoreError> {
        self.read(|link| review::standing(link, ek_spki_sha256, reason, now))
    }

    /// Advisories in spite of which people let this EK in, as it stands.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn accepted_advisories(&self, ek_spki_sha256: &[u8; 32]) -> Result<Vec<String>, StoreError> {
        self.read(|link| review::accepted(link, ek_spki_sha256))
    }

    /// Ask people about an EK, if people named it; what stands already is found again, and a stranger's EK leaves nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ask_review(&self, new: &NewReview, audit: &AuditRecord) -> Result<Asked, StoreError> {
        let (new, audit) = (Box::new(new.clone()), new_audit(audit));
        match self.inner.writer.write(Change::Ask { new, audit })? {
            Outcome::Asked(asked) => Ok(asked),
            other => Err(strange(&other)),
        }
    }

    /// Decide over a review: `audit.actor` does. The same decision of the same person again is a success.
    ///
    /// # Errors
    /// [`ReviewError`].
    pub fn decide_review(&self, decision: &ReviewDecision, audit: &AuditRecord) -> Result<ReviewRow, ReviewError> {
        let (decision, audit) = (decision.clone(), new_audit(audit));
        match self.inner.writer.write(Change::Review { decision, audit })? {
            Outcome::Reviewed(row) => row.map(|row| *row),
            other => Err(strange(&other).into()),
        }
    }

    /// A review by its number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn review(&self, id: i64) -> Result<Option<ReviewRow>, StoreError> {
        self.read(|link| review::find(link, id))
    }

    /// Reviews of one state, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reviews(&self, state: ReviewState, after: Option<i64>, limit: u32) -> Result<Page<ReviewRow>, StoreError> {
        self.read(|link| review::list(link, state, after, limit))
    }

    /// TPMs of this manufacturer in the inventory: model, version, and how many devices have one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn tpms_of_manufacturer(&self, manufacturer: &str) -> Result<Vec<(String, String, u64)>, StoreError> {
        self.read(|link| review::tpms_of(link, manufacturer))
    }
}
