//! Certificates: their descent, what they stand on, their revocation.

use std::collections::HashMap;

use issuance::{AuditRecord, TranscriptRecord};
use wire::revocation::RevocationReason;

use super::{Store, StoreError, strange};
use crate::change::{Change, NewStep, Outcome, new_audit, storable};
use crate::erase::Erasure;
use crate::{
    CertificateRow, EvidenceRow, Orphan, Page, RenewalCall, Revocation, RevocationRow, RevokeError, StatusRow, read,
    renewal, revocation, status,
};

impl Store {
    /// Certificates and intents of a device, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn certificates_of(&self, device: &str) -> Result<Vec<CertificateRow>, StoreError> {
        self.read(|link| read::certificates_of(link, device))
    }

    /// The live identity of a device under a profile: issued, unexpired at `now`, neither revoked nor on hold.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn live_identity(&self, device: &str, profile: &str, now: i64) -> Result<Option<CertificateRow>, StoreError> {
        self.read(|link| read::live_identity(link, device, profile, now))
    }

    /// By serial (DER content octets); the newest, should two issuers have used the same.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn certificate(&self, serial: &[u8]) -> Result<Option<CertificateRow>, StoreError> {
        self.read(|link| read::by_serial(link, serial))
    }

    /// The certificate that has replaced this one (row id), or is about to; not one whose signature got lost.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn successor(&self, certificate: i64) -> Result<Option<CertificateRow>, StoreError> {
        self.read(|link| read::successor(link, certificate))
    }

    /// All certificates of the same descent by renewal, this one (row id) among them, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lineage(&self, certificate: i64) -> Result<Vec<CertificateRow>, StoreError> {
        self.read(|link| read::lineage(link, certificate))
    }

    /// What is on record now of this issuer's certificates with these serials (DER content octets); what is not there is
    /// left out. Each is read from one snapshot, taken after this call began: a step that was answered before is in it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn statuses(
        &self,
        issuer_key_id: &[u8],
        serials: &[[u8; 16]],
    ) -> Result<HashMap<[u8; 16], StatusRow>, StoreError> {
        self.read(|link| status::of(link, issuer_key_id, serials))
    }

    /// The newest certificate of the CA itself under a profile, for the key with this digest (SHA-256 of its
    /// SubjectPublicKeyInfo): issued, and no device's. Expired and revoked ones are found too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn own_certificate(
        &self,
        issuer_key_id: &[u8],
        profile: &str,
        spki_sha256: &[u8; 32],
    ) -> Result<Option<CertificateRow>, StoreError> {
        self.read(|link| read::own(link, issuer_key_id, profile, spki_sha256))
    }

    /// Evidence of an enrollment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn evidence(&self, enrollment_id: &[u8; 16]) -> Result<Option<EvidenceRow>, StoreError> {
        self.read(|link| read::evidence(link, enrollment_id))
    }

    /// What was checked and decided in an enrollment; none before there were transcripts, and where it was erased.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn transcript(&self, enrollment_id: &[u8; 16]) -> Result<Option<TranscriptRecord>, StoreError> {
        self.read(|link| read::transcript(link, enrollment_id))
    }

    /// Enrollments with evidence of which a certificate was handed out, newest first, older than `before`: number of the row,
    /// and id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn enrollments_issued(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, [u8; 16])>, StoreError> {
        self.read(|link| crate::erase::issued(link, before, limit))
    }

    /// Of an enrollment whose evidence was erased: number of the emptied row, and the place of the leaf that holds the
    /// record of it, if it has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn erased(&self, enrollment_id: &[u8; 16]) -> Result<Option<(i64, Option<u64>)>, StoreError> {
        self.read(|link| crate::erase::erased(link, enrollment_id))
    }

    /// Erase evidence and transcript of an enrollment, once nothing stands on them at `now` (unix seconds): every
    /// certificate of it is past its time, revoked, or was never handed out. Their digests stay. Again is a success.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn erase_evidence(
        &self,
        enrollment_id: &[u8; 16],
        now: i64,
        audit: &AuditRecord,
    ) -> Result<Erasure, StoreError> {
        let challenge = *enrollment_id;
        let audit = new_audit(audit);
        match self.inner.writer.write(Change::Erase { challenge, now, audit })? {
            Outcome::Erased(erasure) => Ok(erasure),
            other => Err(strange(&other)),
        }
    }

    /// Turn open intents recorded at or before `older_than` (unix seconds) into orphans and free their identities.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn recover(&self, older_than: i64, now: i64) -> Result<Vec<Orphan>, StoreError> {
        match self.inner.writer.write(Change::Recover { older_than, now })? {
            Outcome::Orphans(orphans) => Ok(orphans),
            other => Err(strange(&other)),
        }
    }

    /// All orphans, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn orphans(&self) -> Result<Vec<CertificateRow>, StoreError> {
        self.read(read::orphans)
    }

    /// Block a key for ever (SHA-256 of its SubjectPublicKeyInfo). Again is a success and changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn block_key(&self, spki_sha256: &[u8; 32], reason: &str, audit: &AuditRecord) -> Result<(), StoreError> {
        let change = Change::Block {
            spki_sha256: *spki_sha256,
            reason: storable(reason),
            audit: new_audit(audit),
        };
        match self.inner.writer.write(change)? {
            Outcome::Done => Ok(()),
            other => Err(strange(&other)),
        }
    }

    /// Revoke a certificate, or put it on hold ([`RevocationReason::CertificateHold`]): `certificate` is the row id.
    /// The step is `audit.actor`'s, at `audit.at`, because of `comment`. What already stands is a success and writes
    /// nothing; keyCompromise takes the place of any other reason, and blocks the key for ever. Any certificate on
    /// record will do: also an orphan, an expired one, and an intent that is being signed.
    ///
    /// # Errors
    /// [`RevokeError`].
    pub fn revoke(
        &self,
        certificate: i64,
        reason: RevocationReason,
        comment: &str,
        audit: &AuditRecord,
    ) -> Result<Revocation, RevokeError> {
        self.step(certificate, Some(reason), comment, audit)
    }

    /// Release a certificate from its hold. One that is released already is a success.
    ///
    /// # Errors
    /// [`RevokeError`].
    pub fn release(&self, certificate: i64, comment: &str, audit: &AuditRecord) -> Result<Revocation, RevokeError> {
        self.step(certificate, None, comment, audit)
    }

    fn step(
        &self,
        certificate: i64,
        reason: Option<RevocationReason>,
        comment: &str,
        audit: &AuditRecord,
    ) -> Result<Revocation, RevokeError> {
        let step = NewStep {
            certificate,
            reason,
            comment: storable(comment).chars().take(500).collect(),
            audit: new_audit(audit),
        };
        match self.inner.writer.write(Change::Revocation(step))? {
            Outcome::Revocation(verdict) => verdict,
            other => Err(strange(&other).into()),
        }
    }

    /// Call a device to renew the certificates it has now, within so many seconds from `audit.at` on; `audit.detail` says
    /// why. Returns whether there is such a device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn call_renewal(&self, device: &str, within: i64, audit: &AuditRecord) -> Result<bool, StoreError> {
        let change = Change::CallRenewal {
            device: device.to_owned(),
            within,
            audit: new_audit(audit),
        };
        match self.inner.writer.write(change)? {
            Outcome::Found(found) => Ok(found),
            other => Err(strange(&other)),
        }
    }

    /// The last call to a device to renew early.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn renewal_call(&self, device: &str) -> Result<Option<RenewalCall>, StoreError> {
        self.read(|link| renewal::called(link, device))
    }

    /// Every step of a certificate (row id), oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn revocation_history(&self, certificate: i64) -> Result<Vec<Revocation>, StoreError> {
        self.read(|link| revocation::history(link, certificate))
    }

    /// Steps of all certificates, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn revocations(&self, after: Option<i64>, limit: u32) -> Result<Page<RevocationRow>, StoreError> {
        self.read(|link| revocation::list(link, after, limit))
    }
}
