//! The Store API: synchronous, one for both engines, durable on return. Here what every question and every change goes
//! through; below, what is asked, by subject.

mod certificates;
mod devices;
mod manifests;
mod replacements;
mod reviews;
mod standings;

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::r2d2::{ManageConnection, Pool};

use issuance::{AuditRecord, ClockRule, Intent, IssuedRecord, Order, RecordError, Recorder};

use crate::change::{Change, NewOrder, Outcome, Signatures, new_audit};
use crate::connect::Place;
use crate::link::{Dated, Fault, Link};
use crate::vault::{Mark, Shortfall, anchors};
use crate::writer::Writer;
use crate::{AuditFilter, AuditRow, ChallengeRow, EnrollmentRow, ManifestError, ManifestRow, read};

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
    /// PostgreSQL: nothing counts as written before a standby has it.
    pub synchronous: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            readers: 8,
            group: 128,
            connect_timeout: Duration::from_secs(5),
            synchronous: false,
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
    publisher: Mutex<Option<Dated>>,
    /// The connection on which the ledger grows: a CRL in the making must not hold it up.
    sequencer: Mutex<Option<Dated>>,
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
    /// The generation it is of.
    since: i64,
    broken: bool,
}

impl ManageConnection for Readers {
    type Connection = Reader;
    type Error = StoreError;

    fn connect(&self) -> Result<Reader, StoreError> {
        let (since, link) = self.0.read_link()?;
        Ok(Reader {
            link,
            since,
            broken: false,
        })
    }
    /// Not asked: a question to a dead connection is put again, which costs nothing as long as none is dead.
    fn is_valid(&self, _reader: &mut Reader) -> Result<(), StoreError> {
        Ok(())
    }
    fn has_broken(&self, reader: &mut Reader) -> bool {
        // Whoever writes goes first where there are too few for all.
        reader.broken || std::thread::panicking() || self.0.crowded()
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

    /// Answers, on a connection to read and with one to write, and has not given up writing?
    ///
    /// # Errors
    /// [`StoreError`]; after a write that the disk failed, until the store is opened again.
    pub fn ping(&self) -> Result<(), StoreError> {
        match self.inner.writer.broken() {
            Some(why) => Err(StoreError::Unavailable(why.to_owned())),
            None => match self.inner.place.closed().or_else(|| self.inner.writer.away()) {
                Some(why) => Err(StoreError::Unavailable(why)),
                None => self.read(read::ping),
            },
        }
    }

    /// Look whether the database is still the one it was, and remember how far the record is. What is wrong stays wrong
    /// until a restart, and nothing is read or written any more: then it is said here. Settings of PostgreSQL that went
    /// wrong only stop writing until they are right.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn watch(&self) -> Result<Option<String>, StoreError> {
        let place = &self.inner.place;
        let watched = match place.lost() {
            Some(_) => Ok(()),
            None => self.read(|link| place.watch(link)),
        };
        match place.lost() {
            Some(why) => Ok(Some(why.to_owned())),
            None => watched.map(|()| None),
        }
    }

    /// The latest timeline of PostgreSQL that a connection of this store has met: it grows when a standby takes over. 0 for
    /// SQLite.
    #[must_use]
    pub fn timeline(&self) -> i64 {
        self.inner.place.generation()
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
        let mark = self.read(anchors::mark)?;
        self.inner.place.saw(mark);
        Ok(mark)
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

    fn reading(&self, change: Change) -> Result<ManifestRow, ManifestError> {
        match self.inner.writer.write(change)? {
            Outcome::Manifest(row) => row.map(|row| *row),
            other => Err(strange(&other).into()),
        }
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
    pub fn audit_entries(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
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
        place: &Mutex<Option<Dated>>,
        work: impl FnOnce(&mut Link) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        if let Some(why) = self.inner.writer.broken() {
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        if let Some(why) = self.inner.place.closed() {
            return Err(StoreError::Unavailable(why));
        }
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        // One that died while it was idle is not news.
        let now = self.inner.place.generation();
        let idle = place
            .take()
            .filter(|(since, _)| *since >= now)
            .and_then(|(since, mut link)| link.run("SELECT 1").is_ok().then_some((since, link)));
        let (since, mut link) = match idle {
            Some(idle) => idle,
            None => self.inner.place.write_link()?,
        };
        match work(&mut link) {
            Ok(done) => {
                *place = Some((since, link));
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
            if let Some(why) = self.inner.place.lost() {
                return Err(unavailable(why.to_owned()));
            }
            let mut reader = self.inner.readers.get().map_err(|e| unavailable(e.to_string()))?;
            if reader.since < self.inner.place.generation() {
                // Another primary has taken over since: this one may lead to the old one.
                reader.broken = true;
                if idle > 0 {
                    idle -= 1;
                    continue;
                }
                return Err(unavailable("every connection leads to an old primary".to_owned()));
            }
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
