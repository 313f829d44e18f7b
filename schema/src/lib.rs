//! What Holdfast stores, on SQLite and PostgreSQL. The only place for diesel.

mod rows;
mod store;

pub use rows::{
    AllowDevice, AuditFilter, CertificateRow, CertificateState, DeviceFilter, DeviceRow, DeviceTpm, EnrollmentRow,
    EvidenceRow, NewDeviceError, Orphan, Page,
};
pub use store::{Store, StoreError, StoreOptions};
