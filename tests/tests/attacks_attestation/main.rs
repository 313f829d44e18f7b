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

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::Verdict;
use wire::Bytes;
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentRequest, EnrollmentResult, RotEvidence};

/// The CA of this test binary, to one test at a time: rows are counted before and after each attack.
fn house() -> MutexGuard<'static, Rig> {
    static HOUSE: OnceLock<Mutex<Rig>> = OnceLock::new();
    HOUSE
        .get_or_init(|| Mutex::new(Rig::with(&Wanted::default().set("enrollment", "max_attempts", 1000))))
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// A name no other test has.
fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("ATK-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// What is inside the evidence of a request.
struct Evidence<'a> {
    ek_certificate: &'a mut Bytes,
    ek_chain: &'a mut Vec<Bytes>,
    ek_public: &'a mut Bytes,
    ak_public: &'a mut Bytes,
}

fn evidence(request: &mut EnrollmentRequest) -> Evidence<'_> {
    let RotEvidence::Tpm20 {
        ek_certificate,
        ek_chain,
        ek_public,
        ak_public,
    } = &mut request.rot;
    Evidence {
        ek_certificate,
        ek_chain,
        ek_public,
        ak_public,
    }
}

/// The honest first call of `tpm`, with one thing changed: refused. The honest one gets its question.
fn attack_begin(rig: &Rig, tpm: &SoftTpm, change: impl FnOnce(&mut EnrollmentRequest), verdict: Verdict) {
    let honest = tpm.request("device-ldevid", None, None);
    let mut attack = honest.clone();
    change(&mut attack);
    let client = rig.client();
    rig.refuses_begin(&client, &attack, verdict);
    client.begin(&honest).expect("the honest twin gets its question");
}

/// Devices of `tpm`'s making, put into the inventory, answer a challenge with one thing changed: refused. The honest
/// answer to the same challenge gets its certificate.
fn attack_activation(
    rig: &Rig,
    tpm: &SoftTpm,
    change: impl FnOnce(&EnrollmentChallenge, &mut ActivationRequest),
    verdict: Verdict,
) -> EnrollmentResult {
    let name = fresh_name();
    rig.allow(&name, tpm);
    let client = rig.client();
    let challenge = client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
    let honest = tpm.answer(&challenge).unwrap();
    let mut attack = honest.clone();
    change(&challenge, &mut attack);
    rig.refuses_activation(&client, challenge.id, &attack, verdict);
    let result = client
        .activate(challenge.id, &honest)
        .expect("the honest twin gets its certificate");
    assert_eq!(result.device, name);
    result
}
