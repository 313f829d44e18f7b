//! The same request again, whatever happened to the answer, on both databases.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::sync::Barrier;
use std::time::{Duration, Instant};

use attest::KeyAlgorithm;
use device_kit::keys::{Shape, SoftKey};
use device_kit::rig::{Client, FakeClock, Raw, Rig, Rows, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::{Verdict, activate_raw, fresh_name};
use wire::EnrollmentId;
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentResult};
use wire::problem::ProblemCode;

/// A device of the inventory.
fn device(rig: &Rig) -> (String, SoftTpm) {
    let (name, tpm) = (fresh_name(), SoftTpm::p256(&rig.vendor));
    rig.allow(&name, &tpm);
    (name, tpm)
}

fn begun(client: &Client, tpm: &SoftTpm) -> (EnrollmentChallenge, ActivationRequest) {
    let challenge = client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    (challenge, answer)
}

fn result(raw: &Raw) -> EnrollmentResult {
    assert_eq!(raw.status, 200, "{}", String::from_utf8_lossy(&raw.body));
    serde_json::from_slice(&raw.body).unwrap()
}

/// The one certificate of an answer.
fn der(raw: &Raw) -> Vec<u8> {
    let result = result(raw);
    assert_eq!(result.certificates.len(), 1);
    result.certificates.into_iter().next().unwrap().certificate.0
}

/// What is recorded about issuance; wrong answers and audit left out.
fn issuance(rig: &Rig) -> Rows {
    let mut rows = rig.rows();
    rows.retain(|table, _| !matches!(*table, "audit" | "challenge_attempt"));
    rows
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The answer as soon as it is no longer "under way".
fn settled(client: &Client, id: EnrollmentId, answer: &ActivationRequest) -> Raw {
    let mut last = None;
    until("it is over", || {
        let raw = activate_raw(client, id, answer);
        let over = raw.status != 202;
        last = Some(raw);
        over
    });
    last.unwrap()
}

/// The client sends its answer and is gone: its certificate is made, and is there for the same request.
fn an_answer_that_nobody_heard(rig: &mut Rig) {
    let (name, tpm) = device(rig);
    let client = rig.client();
    let (challenge, answer) = begun(&client, &tpm);
    let path = format!("/v1/enrollments/{}/activation", challenge.id);
    let body = serde_json::to_vec(&answer).unwrap();
    let recorded = || {
        rig.certificates()
            .into_iter()
            .find(|c| c.device == name && c.state == "issued")
    };
    let proofs = rig.server().phase("answer");
    let connection = client.post_unheard(&path, &body);
    until("the proof is read", || rig.server().phase("answer") > proofs);
    drop(connection);
    until("work that began goes on when its client hangs up", || {
        recorded().is_some()
    });
    let rows = rig.rows();
    let first = activate_raw(&client, challenge.id, &answer);
    let stored = recorded().unwrap();
    assert_eq!(hex::encode(der(&first)), stored.der);
    // Again, again without an ear for it, and with other spaces and another order of the members.
    drop(client.post_unheard(&path, &body));
    assert_eq!(activate_raw(&client, challenge.id, &answer).body, first.body);
    let value: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&body).unwrap();
    let members: Vec<String> = value.iter().rev().map(|(k, v)| format!("\"{k}\" :\n{v}")).collect();
    let spelt = format!("{{ {} }}", members.join(" , "));
    assert_ne!(spelt.as_bytes(), body);
    let respelt = client.post_raw(&path, "application/json", spelt.as_bytes());
    assert_eq!(
        (respelt.status, &respelt.body),
        (200, &first.body),
        "the same members are the same request"
    );
    assert_eq!(rig.rows(), rows, "nothing is written for what was answered before");
    // After a restart, too.
    rig.kill();
    rig.start();
    let again = activate_raw(&rig.client(), challenge.id, &answer);
    assert_eq!(again.body, first.body);
    assert_eq!(rig.rows(), rows);
}

/// The client is gone before the server looks: whether anything was done is not known, and does not matter.
fn gone_at_once(rig: &Rig) {
    for _ in 0..4 {
        let (name, tpm) = device(rig);
        let client = rig.client();
        let (challenge, answer) = begun(&client, &tpm);
        let path = format!("/v1/enrollments/{}/activation", challenge.id);
        drop(client.post_unheard(&path, &serde_json::to_vec(&answer).unwrap()));
        let raw = settled(&client, challenge.id, &answer);
        let stored: Vec<_> = rig.certificates().into_iter().filter(|c| c.device == name).collect();
        assert_eq!(stored.len(), 1, "{stored:?}");
        assert_eq!(hex::encode(der(&raw)), stored.first().unwrap().der);
    }
}

/// A new enrollment of the same keys gets the certificate they have; of another key, a conflict.
fn a_fresh_enrollment(rig: &Rig) {
    let (_, tpm) = device(rig);
    let client = rig.client();
    let (challenge, answer) = begun(&client, &tpm);
    let first = activate_raw(&client, challenge.id, &answer);
    let rows = issuance(rig);

    let (second, its_answer) = begun(&client, &tpm);
    assert_ne!(second.id, challenge.id);
    let again = activate_raw(&client, second.id, &its_answer);
    assert_eq!(der(&again), der(&first));
    assert_eq!(result(&again).id, second.id);
    assert_eq!(
        activate_raw(&client, second.id, &its_answer).body,
        again.body,
        "and again"
    );
    assert_eq!(issuance(rig), rows, "nothing is signed, and the challenge stays unused");

    let other = SoftTpm {
        identity: SoftKey::generate(Shape::identity(KeyAlgorithm::P256)),
        ek: device_kit::endorsement::SoftEk::with_key(tpm.ek.template, tpm.ek.key.clone()),
        ek_certificate: tpm.ek_certificate.clone(),
        ek_chain: Vec::new(),
        ak: SoftKey::generate(Shape::ak(KeyAlgorithm::P256)),
        clock: device_kit::soft_tpm::FIRST_SECOND,
    };
    let (third, its_answer) = begun(&client, &other);
    let conflict = Verdict::of(ProblemCode::IdentityConflict, "IDENTITY_CONFLICT");
    rig.refuses_activation(&client, third.id, &its_answer, conflict);
    assert_eq!(issuance(rig), rows);
    assert_eq!(
        activate_raw(&client, challenge.id, &answer).body,
        first.body,
        "the first stands"
    );
}

/// To begin is harmless, however often: every question stands until one is used, and afterwards the others get the
/// same certificate.
fn begun_twice(rig: &Rig) {
    let (_, tpm) = device(rig);
    let client = rig.client();
    let rows = rig.rows();
    let questions: Vec<_> = (0..3).map(|_| begun(&client, &tpm)).collect();
    assert_eq!(rig.rows(), rows, "a question leaves nothing behind");
    let answers: Vec<Raw> = questions
        .iter()
        .rev()
        .map(|(challenge, answer)| activate_raw(&client, challenge.id, answer))
        .collect();
    let first = der(answers.first().unwrap());
    assert!(answers.iter().all(|raw| der(raw) == first));
    assert_eq!(
        rig.rows().get("certificate"),
        rows.get("certificate").map(|n| n + 1).as_ref()
    );
}

/// Twins at once: of one question, and of two questions of the same device.
fn at_once(rig: &Rig) {
    for _ in 0..4 {
        let (name, tpm) = device(rig);
        let client = rig.client();
        let (one, two) = (begun(&client, &tpm), begun(&client, &tpm));
        let barrier = Barrier::new(4);
        let send = |(challenge, answer): &(EnrollmentChallenge, ActivationRequest)| {
            let client = rig.client();
            barrier.wait();
            activate_raw(&client, challenge.id, answer)
        };
        let answers: Vec<Raw> = std::thread::scope(|scope| {
            let threads: Vec<_> = [&one, &one, &two, &two]
                .map(|question| scope.spawn(|| send(question)))
                .into_iter()
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let stored: Vec<_> = rig.certificates().into_iter().filter(|c| c.device == name).collect();
        assert_eq!(stored.len(), 1, "one certificate: {stored:?}");
        for raw in &answers {
            // The certificate; or under way; or the device's other enrollment is not finished.
            assert!(
                matches!(raw.status, 200 | 202 | 503),
                "{}",
                String::from_utf8_lossy(&raw.body)
            );
            if raw.status == 503 {
                assert_eq!(raw.problem().code, ProblemCode::SignerUnavailable);
            }
        }
        for (challenge, answer) in [&one, &two] {
            let raw = settled(&client, challenge.id, answer);
            assert_eq!(hex::encode(der(&raw)), stored.first().unwrap().der);
        }
    }
    assert_eq!(rig.orphans().items.len(), 0);
}

/// Too late is too late, for what was not used in time; what was, is answered for ever.
fn too_late(rig: &Rig, clock: &FakeClock) {
    let (_, tpm) = device(rig);
    let (_, slow) = device(rig);
    let client = rig.client();
    let (used, its_answer) = begun(&client, &tpm);
    let (unused, late_answer) = begun(&client, &slow);
    let first = activate_raw(&client, used.id, &its_answer);
    assert_eq!(first.status, 200);
    clock.moved("+121s");
    let expired = Verdict::of(ProblemCode::ChallengeExpired, "EXPIRED");
    rig.refuses_activation_freely(&client, unused.id, &late_answer, expired);
    assert_eq!(
        activate_raw(&client, used.id, &its_answer).body,
        first.body,
        "used in time"
    );
    // Another answer to the used one is told that it was used, not that it is late.
    let mut other = its_answer.clone();
    other.csr.0.push(0);
    let replay = Verdict::of(ProblemCode::StateConflict, "REPLAY");
    rig.refuses_activation_freely(&client, used.id, &other, replay);
    let (fresh, answer) = begun(&client, &slow);
    assert_eq!(
        activate_raw(&client, fresh.id, &answer).status,
        200,
        "a new question is another matter"
    );
}

fn all_of_it(wanted: &Wanted) {
    let mut rig = Rig::initialised(wanted);
    let clock = rig.fake_clock();
    rig.start();
    an_answer_that_nobody_heard(&mut rig);
    gone_at_once(&rig);
    a_fresh_enrollment(&rig);
    begun_twice(&rig);
    at_once(&rig);
    too_late(&rig, &clock);
    assert!(!rig.log().contains("defect"), "{}", rig.log());
}

#[test]
fn the_same_request_again_on_sqlite() {
    all_of_it(&Wanted::default());
}

#[test]
fn the_same_request_again_on_postgres() {
    all_of_it(&Wanted::postgres());
}
