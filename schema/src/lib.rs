//! What Holdfast stores, on SQLite and PostgreSQL. The only place for diesel.

mod among;
mod change;
mod clock;
mod connect;
mod crl;
mod erase;
mod find;
mod fixed;
mod guard;
mod inventory;
mod issued;
mod keeping;
mod ledger;
mod link;
mod manifest;
mod migrations;
mod order;
mod postgres;
mod read;
mod renewal;
mod replacement;
mod review;
mod revocation;
mod rows;
mod seal;
mod seen;
mod sqlite;
mod standing;
mod status;
mod store;
mod tables;
pub mod vault;
mod writer;

pub use crl::{CrlPoint, CrlSteps, CrlTurn, DraftedCrl, PublishedCrl, PublishedDelta, TakenNumber};
pub use erase::Erasure;
pub use ledger::{Growth, HeldRecords, LedgerEntry, LedgerState};
pub use manifest::{
    ExpectedDevice, ManifestEntry, ManifestError, ManifestPart, ManifestRow, ManifestState, NewExpected, NewManifest,
};
pub use review::{ADVISORY, Asked, NewReview, ReviewDecision, ReviewError, ReviewRow, ReviewState};
pub use rows::{
    AllowDevice, AuditFilter, AuditRow, CertificateRow, CertificateState, ChallengeRow, DeviceFilter, DeviceRow,
    DeviceTpm, EkLink, EkOwner, EkShown, EnrollmentRow, EvidenceRow, IakGone, IakProofRow, KnownBy, LastStep,
    NewDeviceError, NewReplacement, NewTpm, Orphan, Page, RenewalCall, ReplaceError, ReplacementRow, ReplacementState,
    Revocation, RevocationRow, RevokeError, StatusRow, TpmClock,
};
pub use standing::{Ground, Grounds};
pub use store::{ClockAlarms, Store, StoreError, StoreOptions};
