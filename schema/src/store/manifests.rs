//! Factories' manifests, and the devices that they let expect.

use issuance::AuditRecord;

use super::{Store, StoreError, strange};
use crate::change::{Change, Outcome, new_audit};
use crate::{
    DeviceRow, ExpectedDevice, ManifestEntry, ManifestError, ManifestPart, ManifestRow, NewDeviceError, NewManifest,
    Page, manifest, review,
};

impl Store {
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

    /// How many devices manifests say will come, and have not: of what make their TPMs are, no manifest says.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn still_expected(&self) -> Result<u64, StoreError> {
        self.read(review::still_expected)
    }
}
