//! Attacks on the attestation, through the front door: in each exactly one check refuses. The honest twin, which
//! differs in that one thing only, is served by the same server right after.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod activation;
mod begin;
mod bytes;
mod names;
mod secrets;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use device_kit::rig::{Rig, Wanted};

/// The CA of this test binary, to one test at a time: rows are counted before and after each attack.
fn house() -> MutexGuard<'static, Rig> {
    static HOUSE: OnceLock<Mutex<Rig>> = OnceLock::new();
    HOUSE
        .get_or_init(|| Mutex::new(Rig::with(&Wanted::default().set("enrollment", "max_attempts", 1000))))
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}
