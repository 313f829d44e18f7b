//! Those who ask a CA for something under faults, and go on until they know how it ended; what they sent and heard; and
//! what the independent reader (`tests/checker/check.py`) says of it and of the record.

mod device;
mod journal;
mod verdict;

use std::time::{Duration, Instant};

use crate::rig::{Client, Rig};

pub use device::{Device, PROFILE, Step, Want};
pub use journal::{Journal, now};
pub use verdict::{Read, Verdict};

/// Nothing that is waited for takes longer.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Ask until it is so.
///
/// # Panics
/// When it is not within [`PATIENCE`].
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where devices and people come in: one server, or a balancer before three. Every call may lead to another server.
pub trait Door: Sync {
    /// A new connection.
    fn client(&self) -> Client;
    /// `ca-cli revoke`, as an operator types it; whether it was answered.
    fn revoke(&self, serial: &str) -> bool;
    /// `POST` on an administration socket: the status, when there was an answer.
    fn ask(&self, path: &str, body: &[u8]) -> Option<u16>;
}

/// The one server of this CA.
impl Door for Rig {
    fn client(&self) -> Client {
        Self::client(self)
    }

    fn revoke(&self, serial: &str) -> bool {
        let said = self.cli(&["revoke", serial, "--reason", "cessationOfOperation", "--no-input"]);
        said.status.success()
    }

    fn ask(&self, path: &str, body: &[u8]) -> Option<u16> {
        let answer = self.server().try_admin_call("POST", path, body);
        answer.ok().map(|(status, _)| status)
    }
}
