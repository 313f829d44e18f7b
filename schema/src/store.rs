//! The Store API: synchronous, one for both engines, durable on return.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::r2d2::{ManageConnection, Pool};

use issuance::{
    AuditRecord, ClockReading, ClockRule, Intent, IssuedRecord, Order, RecordError, Recorder, TranscriptRecord,
};

use wire::revocation::RevocationReason;

use crate::change::{Change, NewDecision, NewOrder, NewStep, Signatures, new_audit, storable};
use crate::clock::Attested;
use crate::connect::Place;
use crate::erase::Erasure;
use crate::link::{Fault, Link};
use crate::vault::{Mark, Shortfall, anchors};
use crate::writer::Writer;
use crate::{
    AllowDevice, Asked, AuditFilter, CertificateRow, ChallengeRow, DeviceFilter, DeviceRow, EkLink, EkOwner,
    EnrollmentRow, EvidenceRow, ExpectedDevice, IakGone, IakProofRow, ManifestEntry, ManifestError, ManifestPart,
    ManifestRow, NewDeviceError, NewManifest, NewReplacement, NewReview, Orphan, Page, RenewalCall, ReplaceError,
    ReplacementRow, ReviewDecision, ReviewError, ReviewRow, ReviewState, Revocation, RevocationRow, RevokeError,
    StatusRow, TpmClock, change::Outcome, clock, find, manifest, read, renewal, replacement, review, revocation,
    status,
};

/// Why storage does not serve.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Cannot be reached now; nothing was written.
    #[error("storage is not available: {0}")]
    Unavailable(String),
    /// Whether it was written is not known.
    #[error("whether it was written is not known: {0}")]
    Unknown(String),
    /// Cannot be used at all: version, settings, integrity, schema. Refuse to start.
    #[error("{0}")]
    Unusable(String),
}

/// How to open.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Connections for reading.
    pub readers: u32,
    /// Largest number of orders in one transaction.
    pub group: usize,
    /// How long a connection may take.
    pub connect_timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            readers: 8,
            group: 128,
            connect_timeout: Duration::from_secs(5),
        }
    }
}

/// The store. Cheap to clone; the last clone to go ends the writer and closes the connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// Fields are dropped in this order: the writer first, the claim on the file last.
struct Inner {
    writer: Writer,
    readers: Pool<Readers>,
    /// The connection on which CRLs are made, beside the writer's: reading a million entries holds nobody else up. One
    /// at a time in this process.
    publisher: Mutex<Option<Link>>,
    /// The connection on which the ledger grows: a CRL in the making must not hold it up.
    sequencer: Mutex<Option<Link>>,
    place: Place,
    alarms: [AtomicU64; 3],
    _claim: Option<File>,
}

/// Alarms of TPMs' clocks since this store was opened, by what became of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockAlarms {
    /// It was issued nevertheless.
    pub alarm: u64,
    /// It was refused.
    pub refuse: u64,
    /// It was refused, and the device is held.
    pub hold: u64,
}

/// Connections for reading.
struct Readers(Place);

/// A connection for reading, and whether it was found broken.
struct Reader {
    link: Link,
    broken: bool,
}

impl ManageConnection for Readers {
    type Connection = Reader;
    type Error = StoreError;

    fn connect(&self) -> Result<Reader, StoreError> {
        Ok(Reader {
            link: self.0.read_link()?,
            broken: false,
        })
    }
    /// Not asked: a question to a dead connection is put again, which costs nothing as long as none is dead.
    fn is_valid(&self, _reader: &mut Reader) -> Result<(), StoreError> {
        Ok(())
    }
    fn has_broken(&self, reader: &mut Reader) -> bool {
        reader.broken || std::thread::panicking()
    }
}

impl core::fmt::Debug for Store {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Open `sqlite:///path` or `postgres://…`, check the engine, run migrations.
    ///
    /// SQLite is for one process: the file is claimed until the last clone is dropped. PostgreSQL may be shared by
    /// any number of servers. A password in the URL is taken out of every error.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when this database may not hold the records: a version with a known loss of data,
    /// settings that lose acknowledged commits, a damaged file, a network file system, a second process, tables of a
    /// newer Holdfast. [`StoreError::Unavailable`] when it does not answer.
    pub fn open(url: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let place = Place::parse(url, options)?;
        let claim = place.claim()?;
        let link = place.prepare()?;
        let readers = Pool::builder()
            .max_size(options.readers.max(1))
            .min_idle(Some(1))
            .test_on_check_out(false)
            .connection_timeout(options.connect_timeout)
            .error_handler(Box::new(Quiet))
            .build_unchecked(Readers(place.clone()));
        let writer = Writer::start(place.clone(), link, options)?;
        let inner = Inner {
            writer,
            readers,
            publisher: Mutex::new(None),
            sequencer: Mutex::new(None),
            place,
            alarms: Default::default(),
            _claim: claim,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Answers, and has not given up writing?
    ///
    /// # Errors
    /// [`StoreError`]; after a write that the disk failed, until the store is opened again.
    pub fn ping(&self) -> Result<(), StoreError> {
        match self.inner.writer.broken() {
            Some(why) => Err(StoreError::Unavailable(why.to_owned())),
            None => self.read(read::ping),
        }
    }

    /// Latest time seen in any record: the clock may not stand before it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn latest_time(&self) -> Result<Option<i64>, StoreError> {
        self.read(read::latest_time)
    }

    /// How far the record is, for an anchor outside of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn mark(&self) -> Result<Mark, StoreError> {
        self.read(anchors::mark)
    }

    /// In what the record falls behind what was seen of it; nothing, if it does not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn behind(&self, seen: &Mark) -> Result<Option<Shortfall>, StoreError> {
        self.read(|link| anchors::behind(link, seen))
    }

    /// An enrollment whose challenge was used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn enrollment(&self, id: &[u8; 16]) -> Result<Option<EnrollmentRow>, StoreError> {
        self.read(|link| read::enrollment(link, id))
    }

    /// Whether a challenge was used, and how often it was answered wrongly.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn challenge(&self, enrollment_id: &[u8; 16]) -> Result<ChallengeRow, StoreError> {
        self.read(|link| read::challenge(link, enrollment_id))
    }

    /// Count one failed answer and write its audit record, in one transaction. Returns the new count.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn record_failed_attempt(&self, enrollment_id: &[u8; 16], audit: &AuditRecord) -> Result<u32, StoreError> {
        let challenge = *enrollment_id;
        let audit = new_audit(audit);
        match self.inner.writer.write(Change::Attempt { challenge, audit })? {
            Outcome::Count(count) => Ok(count),
            other => Err(strange(&other)),
        }
    }

    /// Drop the failure counters of challenges whose last failure lies before `before` (unix seconds): choose it so
    /// far back that those challenges have expired. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget_attempts(&self, before: i64) -> Result<u32, StoreError> {
        match self.inner.writer.write(Change::ForgetAttempts { before })? {
            Outcome::Count(count) => Ok(count),
            other => Err(strange(&other)),
        }
    }

    /// Device bound to, or allowed for, this EK.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn device_by_ek(&self, ek_spki_sha256: &[u8; 32]) -> Result<Option<DeviceRow>, StoreError> {
        self.read(|link| read::device_by_ek(link, ek_spki_sha256))
    }

    /// The device that is bound to this IAK.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn device_by_iak(&self, iak_spki_sha256: &[u8; 32]) -> Result<Option<DeviceRow>, StoreError> {
        self.read(|link| read::device_by_iak(link, iak_spki_sha256))
    }

    /// Whose an IAK was, when it went with its TPM.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn iak_gone(&self, iak_spki_sha256: &[u8; 32]) -> Result<Option<IakGone>, StoreError> {
        self.read(|link| replacement::iak_gone(link, iak_spki_sha256))
    }

    /// The IAKs that went with a device's TPMs, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn iaks_gone(&self, device: &str) -> Result<Vec<IakGone>, StoreError> {
        self.read(|link| replacement::iaks_gone(link, device))
    }

    /// What kind of TPM this EK is in, by the word of who allowed it without a certificate; none: nobody did.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ek_allowed(&self, ek_spki_sha256: &[u8; 32]) -> Result<Option<attest::AnchorKind>, StoreError> {
        self.read(|link| crate::inventory::ek_allowed(link, ek_spki_sha256))
    }

    /// The manufacturer's certificate on which an enrollment stands; none: it stands on an EK.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn iak_proof(&self, enrollment_id: &[u8; 16]) -> Result<Option<IakProofRow>, StoreError> {
        self.read(|link| read::iak_proof(link, enrollment_id))
    }

    /// Device of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn device_by_name(&self, name: &str) -> Result<Option<DeviceRow>, StoreError> {
        self.read(|link| read::device_by_name(link, name))
    }

    /// Put a device into the inventory. The same content again is a success, also after the device was bound at its
    /// first contact.
    ///
    /// # Errors
    /// [`NewDeviceError`].
    pub fn allow_device(&self, device: &AllowDevice, audit: &AuditRecord) -> Result<DeviceRow, NewDeviceError> {
        let device = device.clone();
        let audit = new_audit(audit);
        match self.inner.writer.write(Change::Allow { device, audit })? {
            Outcome::Device(row) => row.map(|row| *row),
            other => Err(strange(&other).into()),
        }
    }

    /// Take an attestation of a device for which nothing is issued: its TPM's clock is compared and noted all the same.
    ///
    /// # Errors
    /// [`RecordError::ClockBack`], [`RecordError::DeviceNotOpen`] for a device that is not in the inventory, and storage.
    pub fn attested(
        &self,
        device: &str,
        ak_spki_sha256: [u8; 32],
        reading: ClockReading,
        enrollment_id: [u8; 16],
        at: i64,
    ) -> Result<(), RecordError> {
        let new = Attested {
            device: device.to_owned(),
            ak: ak_spki_sha256,
            reading,
            challenge: enrollment_id,
            at,
        };
        self.attest(Change::Attested(Box::new(new)), device)
    }

    /// What the attestation keys of a device said last about its TPM's clock, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn tpm_clocks(&self, device: &str) -> Result<Vec<TpmClock>, StoreError> {
        self.read(|link| clock::of_device(link, device))
    }

    /// How often a TPM's clock went back since this store was opened.
    #[must_use]
    pub fn clock_alarms(&self) -> ClockAlarms {
        let [alarm, refuse, hold] = self.inner.alarms.each_ref().map(|n| n.load(Ordering::Relaxed));
        ClockAlarms { alarm, refuse, hold }
    }

    /// Hold a device, so that nothing more is issued to it, or release it. Returns whether it is in the inventory. One
    /// that stands so already is a success, and nothing is written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn hold_device(&self, name: &str, held: bool, audit: &AuditRecord) -> Result<bool, StoreError> {
        let device = name.to_owned();
        let audit = new_audit(audit);
        match self.inner.writer.write(Change::Hold { device, held, audit })? {
            Outcome::Found(found) => Ok(found),
            other => Err(strange(&other)),
        }
    }

    /// Devices, oldest first. `expires_before` looks at the certificates that stand for the device now, not at
    /// those they replaced.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_devices(
        &self,
        filter: &DeviceFilter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Page<DeviceRow>, StoreError> {
        self.read(|link| find::devices(link, filter, after, limit))
    }

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

    /// Begin to read a signed manifest, or go on with it: the same one is found again. Nothing of it is expected yet.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn open_manifest(&self, new: &NewManifest, audit: &AuditRecord) -> Result<ManifestRow, ManifestError> {
        let (new, audit) = (Box::new(new.clone()), new_audit(audit));
        self.reading(Change::Manifest { new, audit })
    }

    /// Write down a part of a manifest. A part that was heard before is a success. With the last line the manifest is
    /// complete, and its good lines are expected; or it is refused: another root than the signed one, or a refused line
    /// where none may be.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn read_manifest(&self, part: ManifestPart, audit: &AuditRecord) -> Result<ManifestRow, ManifestError> {
        let audit = new_audit(audit);
        self.reading(Change::Part { part, audit })
    }

    /// Take a manifest back: devices that have not come are not expected on its word any more. Again is a success.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn withdraw_manifest(&self, id: i64, audit: &AuditRecord) -> Result<ManifestRow, ManifestError> {
        let (manifest, audit) = (id, new_audit(audit));
        self.reading(Change::Withdraw { manifest, audit })
    }

    fn reading(&self, change: Change) -> Result<ManifestRow, ManifestError> {
        match self.inner.writer.write(change)? {
            Outcome::Manifest(row) => row.map(|row| *row),
            other => Err(strange(&other).into()),
        }
    }

    /// A manifest by its number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn manifest(&self, id: i64) -> Result<Option<ManifestRow>, StoreError> {
        self.read(|link| manifest::find(link, id))
    }

    /// Manifests, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn manifests(&self, before: Option<i64>, limit: u32) -> Result<Page<ManifestRow>, StoreError> {
        self.read(|link| manifest::list(link, before, limit))
    }

    /// Refused lines of a manifest behind a position, in their order: position and reason.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn refused_lines(&self, id: i64, after: Option<i64>, limit: u32) -> Result<Page<(i64, String)>, StoreError> {
        self.read(|link| manifest::refusals(link, id, after, limit))
    }

    /// The device that manifests say has this EK.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn expected(&self, ek_spki_sha256: &[u8; 32]) -> Result<Option<ExpectedDevice>, StoreError> {
        self.read(|link| manifest::expected(link, ek_spki_sha256))
    }

    /// Serial of the device that manifests say has this certificate of an IAK or IDevID.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn named_by_certificate(&self, sha256: &[u8; 32]) -> Result<Option<String>, StoreError> {
        self.read(|link| manifest::named(link, sha256))
    }

    /// The line of a manifest that stands for this device: of the newest that names it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn manifest_entry(&self, serial: &str) -> Result<Option<ManifestEntry>, StoreError> {
        self.read(|link| manifest::standing(link, serial))
    }

    /// A device that was expected has come: put it into the inventory, with every EK that its manifest names. None: no
    /// manifest names this EK.
    ///
    /// # Errors
    /// [`NewDeviceError`].
    pub fn arrive(&self, ek_spki_sha256: &[u8; 32], audit: &AuditRecord) -> Result<Option<DeviceRow>, NewDeviceError> {
        self.arrived(ek_spki_sha256, None, audit)
    }

    /// As [`Self::arrive`], of a device that came with its manufacturer's IAK: it is bound to that, too. `ek_spki_sha256` is
    /// one that its line of the manifest names.
    ///
    /// # Errors
    /// [`NewDeviceError`].
    pub fn arrive_by_iak(
        &self,
        ek_spki_sha256: &[u8; 32],
        iak_spki_sha256: &[u8; 32],
        audit: &AuditRecord,
    ) -> Result<Option<DeviceRow>, NewDeviceError> {
        self.arrived(ek_spki_sha256, Some(*iak_spki_sha256), audit)
    }

    fn arrived(
        &self,
        ek_spki_sha256: &[u8; 32],
        iak: Option<[u8; 32]>,
        audit: &AuditRecord,
    ) -> Result<Option<DeviceRow>, NewDeviceError> {
        let (ek, audit) = (*ek_spki_sha256, new_audit(audit));
        match self.inner.writer.write(Change::Arrive { ek, iak, audit })? {
            Outcome::Arrived(row) => row.map(|row| row.map(|row| *row)),
            other => Err(strange(&other).into()),
        }
    }

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

    /// How many devices manifests say will come, and have not: of what make their TPMs are, no manifest says.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn still_expected(&self) -> Result<u64, StoreError> {
        self.read(review::still_expected)
    }

    /// Whose an EK is, or was until its TPM was replaced.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ek_owner(&self, ek_spki_sha256: &[u8; 32]) -> Result<Option<EkOwner>, StoreError> {
        self.read(|link| replacement::owner(link, ek_spki_sha256))
    }

    /// Every EK that is, or was, a device's, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn eks_of(&self, device: &str) -> Result<Vec<EkOwner>, StoreError> {
        self.read(|link| replacement::of_device(link, device))
    }

    /// The EK under which this AK (SHA-256 of its SubjectPublicKeyInfo) was activated first, and whose it is or was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ak_owner(&self, ak_spki_sha256: &[u8; 32]) -> Result<Option<EkOwner>, StoreError> {
        self.read(|link| replacement::ak_owner(link, ak_spki_sha256))
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

    /// Record a second EK of a device's TPM: both activated the same AK. Again is a success.
    ///
    /// # Errors
    /// [`RecordError`]: the EK, or the AK, is another device's; the device has no TPM.
    pub fn link_ek(&self, link: &EkLink, audit: &AuditRecord) -> Result<(), RecordError> {
        let (link, audit) = (link.clone(), new_audit(audit));
        self.record(Change::Link { link, audit })
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

    /// Write an audit record on its own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn audit(&self, record: &AuditRecord) -> Result<(), StoreError> {
        match self.inner.writer.write(Change::Audit(new_audit(record)))? {
            Outcome::Done => Ok(()),
            other => Err(strange(&other)),
        }
    }

    /// Audit records, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn audit_entries(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(|link| read::audit_entries(link, filter, limit))
    }

    /// Do something on the connection of the publisher. After a fault the connection goes, and with it what was begun.
    pub(crate) fn publisher<T>(&self, work: impl FnOnce(&mut Link) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.beside(&self.inner.publisher, work)
    }

    /// Do something on the connection of the sequencer, in the same way.
    pub(crate) fn sequencer<T>(&self, work: impl FnOnce(&mut Link) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.beside(&self.inner.sequencer, work)
    }

    fn beside<T>(
        &self,
        place: &Mutex<Option<Link>>,
        work: impl FnOnce(&mut Link) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        if let Some(why) = self.inner.writer.broken() {
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        // One that died while it was idle is not news.
        let idle = place
            .take()
            .and_then(|mut link| link.run("SELECT 1").is_ok().then_some(link));
        let mut link = match idle {
            Some(link) => link,
            None => self.inner.place.write_link()?,
        };
        match work(&mut link) {
            Ok(done) => {
                *place = Some(link);
                Ok(done)
            }
            Err(fault) => {
                if let Fault::Disk(text) = &fault {
                    self.inner.writer.give_up(text);
                }
                Err(StoreError::Unavailable(self.inner.place.redact(&fault.text())))
            }
        }
    }

    /// Ask one question on a connection of the pool.
    pub(crate) fn read<T>(&self, question: impl Fn(&mut Link) -> Result<T, Fault>) -> Result<T, StoreError> {
        let unavailable = |text: String| StoreError::Unavailable(self.inner.place.redact(&text));
        // When the database was started anew, every idle connection is dead, and one that is made now is not.
        let mut idle = self.inner.readers.max_size();
        loop {
            let mut reader = self.inner.readers.get().map_err(|e| unavailable(e.to_string()))?;
            let fault = match question(&mut reader.link) {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            // No question fails on a healthy connection: whatever it was, it is not asked again.
            reader.broken = true;
            match fault {
                Fault::Lost(_) if idle > 0 => idle -= 1,
                fault => return Err(unavailable(fault.text())),
            }
        }
    }

    /// A change that stands on an attestation, which may raise an alarm.
    fn attest(&self, change: Change, device: &str) -> Result<(), RecordError> {
        match self.inner.writer.write(change) {
            Ok(Outcome::Attested(verdict, alarm)) => {
                if let Some(rule) = alarm {
                    let [issued, refused, held] = &self.inner.alarms;
                    let count = match rule {
                        ClockRule::Alarm => issued,
                        ClockRule::Refuse => refused,
                        ClockRule::Hold => held,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    let what = verdict.as_ref().err().map(ToString::to_string).unwrap_or_default();
                    tracing::error!(
                        device,
                        rule = rule.as_str(),
                        what,
                        "a TPM's clock went back: it was copied, or put back to an earlier state"
                    );
                }
                verdict
            }
            other => Self::recorded(other),
        }
    }

    fn record(&self, change: Change) -> Result<(), RecordError> {
        Self::recorded(self.inner.writer.write(change))
    }

    fn recorded(outcome: Result<Outcome, StoreError>) -> Result<(), RecordError> {
        match outcome {
            Ok(Outcome::Recorded(verdict)) => verdict,
            Ok(other) => Err(RecordError::Unknown(strange(&other).to_string())),
            Err(StoreError::Unknown(text)) => Err(RecordError::Unknown(text)),
            Err(StoreError::Unavailable(text) | StoreError::Unusable(text)) => Err(RecordError::Unavailable(text)),
        }
    }
}

/// The pool's own words go to the trace, not to standard error.
#[derive(Debug)]
struct Quiet;

impl diesel::r2d2::HandleError<StoreError> for Quiet {
    fn handle_error(&self, error: StoreError) {
        tracing::debug!(%error, "no connection for reading");
    }
}

/// An outcome that does not belong to the change: it cannot happen, and is not believed.
fn strange(outcome: &Outcome) -> StoreError {
    StoreError::Unknown(format!("an answer to another question: {outcome:?}"))
}

impl Recorder for Store {
    fn intend(&self, order: &Order, intents: &[Intent]) -> Result<(), RecordError> {
        let order = NewOrder::new(order, intents)?;
        let device = order.device.as_ref().map(|binding| binding.name.clone());
        self.attest(Change::Intend(Box::new(order)), device.as_deref().unwrap_or_default())
    }
    fn issued(&self, enrollment_id: &[u8; 16], issued: &[IssuedRecord]) -> Result<(), RecordError> {
        self.record(Change::Issued(Signatures {
            challenge: *enrollment_id,
            issued: issued.to_vec(),
        }))
    }
}
