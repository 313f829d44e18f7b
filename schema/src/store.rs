//! The Store API: synchronous, one for both engines, durable on return.

use std::time::Duration;

use issuance::{AuditRecord, Intent, IssuedRecord, Order, RecordError, Recorder};

use crate::{
    AllowDevice, AuditFilter, CertificateRow, DeviceFilter, DeviceRow, EnrollmentRow, EvidenceRow, NewDeviceError,
    Orphan, Page,
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

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    _todo: (),
}

impl Store {
    /// Open `sqlite:///path` or `postgres://…`, check the engine, run migrations.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(_url: &str, _options: &StoreOptions) -> Result<Self, StoreError> {
        todo!()
    }
    /// Answers?
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }
    /// Latest time seen in any record: the clock may not stand before it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn latest_time(&self) -> Result<Option<i64>, StoreError> {
        todo!()
    }
    /// An enrollment whose challenge was used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn enrollment(&self, _id: &[u8; 16]) -> Result<Option<EnrollmentRow>, StoreError> {
        todo!()
    }
    /// Failed answers to one challenge so far.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn failed_attempts(&self, _enrollment_id: &[u8; 16]) -> Result<u32, StoreError> {
        todo!()
    }
    /// Count one failed answer and write its audit record, in one transaction. Returns the new count.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn record_failed_attempt(&self, _enrollment_id: &[u8; 16], _audit: &AuditRecord) -> Result<u32, StoreError> {
        todo!()
    }
    /// Device bound to, or allowed for, this EK.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn device_by_ek(&self, _ek_spki_sha256: &[u8; 32]) -> Result<Option<DeviceRow>, StoreError> {
        todo!()
    }
    /// Device of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn device_by_name(&self, _name: &str) -> Result<Option<DeviceRow>, StoreError> {
        todo!()
    }
    /// Put a device into the inventory. The same content again is a success.
    ///
    /// # Errors
    /// [`NewDeviceError`].
    pub fn allow_device(&self, _device: &AllowDevice, _audit: &AuditRecord) -> Result<DeviceRow, NewDeviceError> {
        todo!()
    }
    /// Devices, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_devices(
        &self,
        _filter: &DeviceFilter,
        _after: Option<i64>,
        _limit: u32,
    ) -> Result<Page<DeviceRow>, StoreError> {
        todo!()
    }
    /// Certificates and intents of a device, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn certificates_of(&self, _device: &str) -> Result<Vec<CertificateRow>, StoreError> {
        todo!()
    }
    /// The live identity of a device under a profile: issued, unexpired at `now`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn live_identity(
        &self,
        _device: &str,
        _profile: &str,
        _now: i64,
    ) -> Result<Option<CertificateRow>, StoreError> {
        todo!()
    }
    /// By serial (DER content octets).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn certificate(&self, _serial: &[u8]) -> Result<Option<CertificateRow>, StoreError> {
        todo!()
    }
    /// Evidence of an enrollment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn evidence(&self, _enrollment_id: &[u8; 16]) -> Result<Option<EvidenceRow>, StoreError> {
        todo!()
    }
    /// Turn open intents recorded at or before `older_than` (unix seconds) into orphans and free their identities.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn recover(&self, _older_than: i64, _now: i64) -> Result<Vec<Orphan>, StoreError> {
        todo!()
    }
    /// All orphans, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn orphans(&self) -> Result<Vec<CertificateRow>, StoreError> {
        todo!()
    }
    /// Block a key for ever (SHA-256 of its SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn block_key(&self, _spki_sha256: &[u8; 32], _reason: &str, _audit: &AuditRecord) -> Result<(), StoreError> {
        todo!()
    }
    /// Write an audit record on its own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn audit(&self, _record: &AuditRecord) -> Result<(), StoreError> {
        todo!()
    }
    /// Audit records, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn audit_entries(&self, _filter: &AuditFilter, _limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        todo!()
    }
}

impl Recorder for Store {
    fn intend(&self, _order: &Order, _intents: &[Intent]) -> Result<(), RecordError> {
        todo!()
    }
    fn issued(&self, _enrollment_id: &[u8; 16], _issued: &[IssuedRecord]) -> Result<(), RecordError> {
        todo!()
    }
}
