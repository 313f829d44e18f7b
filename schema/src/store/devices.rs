//! Devices, their TPMs and keys.

use std::sync::atomic::Ordering;

use issuance::{AuditRecord, ClockReading, RecordError};

use super::{ClockAlarms, Store, StoreError, strange};
use crate::change::{Change, Outcome, new_audit};
use crate::clock::Attested;
use crate::{
    AllowDevice, DeviceFilter, DeviceRow, EkLink, EkOwner, IakGone, IakProofRow, NewDeviceError, Page, TpmClock, clock,
    find, read, replacement,
};

impl Store {
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

    /// Record a second EK of a device's TPM: both activated the same AK. Again is a success.
    ///
    /// # Errors
    /// [`RecordError`]: the EK, or the AK, is another device's; the device has no TPM.
    pub fn link_ek(&self, link: &EkLink, audit: &AuditRecord) -> Result<(), RecordError> {
        let (link, audit) = (link.clone(), new_audit(audit));
        self.record(Change::Link { link, audit })
    }
}
