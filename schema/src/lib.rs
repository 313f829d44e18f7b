//! What Holdfast stores, on SQLite and PostgreSQL. The only place for diesel.

mod among;
mod change;
mod connect;
mod crl;
mod find;
mod fixed;
mod inventory;
mod issued;
mod keeping;
mod link;
mod migrations;
mod order;
mod postgres;
mod read;
mod renewal;
mod revocation;
mod rows;
mod seen;
mod sqlite;
mod status;
mod store;
mod tables;
mod writer;

pub use crl::{CrlPoint, CrlSteps, CrlTurn, DraftedCrl, PublishedCrl, TakenNumber};
pub use rows::{
    AllowDevice, AuditFilter, CertificateRow, CertificateState, ChallengeRow, DeviceFilter, DeviceRow, DeviceTpm,
    EnrollmentRow, EvidenceRow, LastStep, NewDeviceError, Orphan, Page, Revocation, RevocationRow, RevokeError,
    StatusRow,
};
pub use store::{Store, StoreError, StoreOptions};
