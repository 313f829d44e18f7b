//! `ca-agent`: the device's side of Holdfast.
//!
//! The only place of the house that opens a TPM. It finds the endorsement, makes or finds the keys, proves them to a
//! CA it pinned, and stores the certificate beside the key in forms that OpenSSL uses.

pub mod cli;
pub mod command;
pub mod config;
pub mod csr;
pub mod enroll;
pub mod error;
pub mod hooks;
pub mod ledger;
pub mod pin;
mod proof;
pub mod received;
pub mod renew;
pub mod report;
pub mod server;
pub mod state;
pub mod stored;
pub mod tpm;
pub mod values;
mod voucher;
pub mod watch;
pub mod words;
