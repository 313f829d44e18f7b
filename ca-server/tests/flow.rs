//! The enrollment flow on a real store: what is issued, what is refused, and by which check.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod kit;

use std::collections::BTreeSet;
use std::sync::Arc;

use ca_server::flow::enroll::{ActivateError, Activation, BeginError, activate, begin, enrollment};
use ca_server::flow::recover::{Which, recover};
use ca_server::flow::{Failure, Trouble};
use ca_server::house::House;
use device_kit::der::sequence;
use device_kit::keys::{Secret, Shape, SoftKey};
use device_kit::soft_tpm::{SoftTpm, csr};
use kit::{Ca, Mood, Scripted, allow};
use schema::{CertificateState, Store};
use wire::EnrollmentId;
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentResult, EnrollmentState, KeyRole};

const IP: &str = "192.0.2.1";
const LDEVID: &str = "device-ldevid";

fn challenge(house: &House, tpm: &SoftTpm, device: Option<&str>) -> EnrollmentChallenge {
    begin(house, IP, tpm.request(LDEVID, None, device)).unwrap()
}

fn question(house: &House, tpm: &SoftTpm) -> (EnrollmentChallenge, ActivationRequest) {
    let challenge = challenge(house, tpm, None);
    let answer = tpm.answer(&challenge).unwrap();
    (challenge, answer)
}

fn done(outcome: Result<Activation, Failure<ActivateError>>) -> EnrollmentResult {
    match outcome.unwrap() {
        Activation::Done(result) => result,
        Activation::UnderWay(_) => panic!("under way"),
    }
}

fn error(outcome: Result<Activation, Failure<ActivateError>>) -> ActivateError {
    outcome.unwrap_err().error
}

fn reason(error: &ActivateError) -> &'static str {
    match error {
        ActivateError::Attestation { reason, .. } => reason,
        other => panic!("not an attestation failure: {other:?}"),
    }
}

/// A CA with one TPM in its inventory.
fn one_device() -> (Ca, Store, Arc<House>, SoftTpm) {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = ca.house(&store);
    ca.key.signatures.store(0, std::sync::atomic::Ordering::SeqCst);
    let tpm = SoftTpm::p256(&ca.vendor);
    allow(&store, "gw-1", Some(tpm.ek.sha256()), None);
    (ca, store, house, tpm)
}

#[test]
fn an_honest_device_gets_a_certificate_on_its_key() {
    let (ca, store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    let result = done(activate(&house, IP, challenge.id, &answer));
    assert_eq!(result.device, "gw-1");
    assert_eq!(result.state, EnrollmentState::Issued);
    assert_eq!(result.certificates.len(), 1);
    assert_eq!(result.certificates[0].key, KeyRole::Identity);
    let certificate = openssl::x509::X509::from_der(&result.certificates[0].certificate.0).unwrap();
    let issuer = openssl::x509::X509::from_der(&result.chain[0].0).unwrap();
    assert!(certificate.verify(&issuer.public_key().unwrap()).unwrap());
    assert_eq!(
        certificate.public_key().unwrap().public_key_to_der().unwrap(),
        tpm.identity.spki
    );
    assert_eq!(ca.key.count(), 1);
    assert!(ca.audited().is_empty(), "nothing was refused");
    let entries = store
        .audit_entries(
            &schema::AuditFilter {
                subject: Some(challenge.id.to_string()),
            },
            10,
        )
        .unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["enrollment.issued", "enrollment.granted"]);
    assert_eq!(entries[1].actor, "device:gw-1");
    assert!(!entries[1].reason.is_empty(), "the rules that permitted");
    assert_eq!(
        enrollment(&house, challenge.id).unwrap().certificates[0].certificate,
        result.certificates[0].certificate
    );
}

#[test]
fn attestation_key_and_identity_in_one_conversation() {
    let (ca, _store, house, tpm) = one_device();
    let challenge = begin(&house, IP, tpm.request("device-idevid", Some("device-iak"), None)).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    let result = done(activate(&house, IP, challenge.id, &answer));
    let roles: Vec<_> = result.certificates.iter().map(|c| c.key).collect();
    assert_eq!(roles, [KeyRole::Attestation, KeyRole::Identity]);
    assert_eq!(ca.key.count(), 2);
}

// A17
#[test]
fn the_same_answer_again_gives_the_same_bytes_and_no_signature() {
    let (ca, _store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    let first = done(activate(&house, IP, challenge.id, &answer));
    let again = done(activate(&house, IP, challenge.id, &answer));
    assert_eq!(first.certificates[0].certificate, again.certificates[0].certificate);
    ca.hands.forward(10_000);
    let late = done(activate(&house, IP, challenge.id, &answer));
    assert_eq!(
        first.certificates[0].certificate, late.certificates[0].certificate,
        "after expiry, too"
    );
    assert_eq!(ca.key.count(), 1);
}

// A17
#[test]
fn another_answer_to_a_used_challenge_is_refused() {
    let (ca, _store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    done(activate(&house, IP, challenge.id, &answer));
    let other = tpm.answer(&challenge).unwrap();
    assert_ne!(other.csr, answer.csr, "ECDSA signatures differ");
    assert!(matches!(
        error(activate(&house, IP, challenge.id, &other)),
        ActivateError::Replayed
    ));
    assert_eq!(ca.last_reason(), "REPLAY");
    assert_eq!(ca.key.count(), 1);
}

// A17
#[test]
fn fifty_at_once_through_two_servers_give_one_signature() {
    let (ca, store, one, tpm) = one_device();
    let two = ca.house(&store);
    ca.key.signatures.store(0, std::sync::atomic::Ordering::SeqCst);
    let (challenge, answer) = question(&one, &tpm);
    let certificates: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|n| {
                let house = if n % 2 == 0 { &one } else { &two };
                let (id, answer) = (challenge.id, &answer);
                scope.spawn(move || activate(house, IP, id, answer))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut bytes = BTreeSet::new();
    for outcome in certificates {
        match outcome {
            Ok(Activation::Done(result)) => {
                bytes.insert(result.certificates[0].certificate.0.clone());
            }
            Ok(Activation::UnderWay(result)) => assert_eq!(result.state, EnrollmentState::Verifying),
            Err(failure) => panic!("{:?}", failure.error),
        }
    }
    assert_eq!(bytes.len(), 1);
    assert_eq!(ca.key.count(), 1);
}

#[test]
fn a_challenge_is_finished_on_another_server_after_a_restart() {
    let (ca, store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    drop(house);
    let other = ca.house(&store);
    done(activate(&other, IP, challenge.id, &answer));
}

#[test]
fn a_server_with_another_seal_key_does_not_know_the_challenge() {
    let (ca, store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    let mut parts = ca.parts(&store);
    parts.seal = attest::SealKey::new(&[8; 32], &[]);
    let stranger = House::new(parts).ok().unwrap();
    assert_eq!(reason(&error(activate(&stranger, IP, challenge.id, &answer))), "TICKET");
}

// A14
#[test]
fn a_bound_name_is_not_taken_over() {
    let (ca, store, house, tpm) = one_device();
    let (first, answer) = question(&house, &tpm);
    done(activate(&house, IP, first.id, &answer));
    let before = store.device_by_name("gw-1").unwrap();
    let thief = SoftTpm::p256(&ca.vendor);
    let challenge = challenge(&house, &thief, Some("gw-1"));
    let outcome = error(activate(&house, IP, challenge.id, &thief.answer(&challenge).unwrap()));
    assert!(matches!(outcome, ActivateError::IdentityConflict(_)));
    assert_eq!(
        store.device_by_name("gw-1").unwrap(),
        before,
        "the old record is unchanged"
    );
    assert_eq!(ca.last_reason(), "IDENTITY_CONFLICT");
}

// A15
#[test]
fn of_two_first_contacts_for_one_name_one_wins() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = ca.house(&store);
    for round in 0..10 {
        let name = format!("gw-{round}");
        allow(&store, &name, None, Some(ca.hands.now() + 100));
        let tpms = [SoftTpm::p256(&ca.vendor), SoftTpm::p256(&ca.vendor)];
        let asked: Vec<_> = tpms
            .iter()
            .map(|tpm| {
                let challenge = challenge(&house, tpm, Some(&name));
                let answer = tpm.answer(&challenge).unwrap();
                (challenge.id, answer)
            })
            .collect();
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = asked
                .iter()
                .map(|(id, answer)| scope.spawn(|| activate(&house, IP, *id, answer)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "round {round}");
        for lost in outcomes.into_iter().filter_map(Result::err) {
            assert!(
                matches!(lost.error, ActivateError::IdentityConflict(_)),
                "{:?}",
                lost.error
            );
        }
    }
}

// A22
#[test]
fn a_tpm_gets_no_name_but_its_own() {
    let (ca, store, house, tpm) = one_device();
    let other = SoftTpm::p256(&ca.vendor);
    allow(&store, "gw-2", Some(other.ek.sha256()), None);
    allow(&store, "gw-3", None, Some(ca.hands.now() + 1000));
    for (name, expected) in [
        ("gw-2", "ID_BOUND"),
        ("gw-3", "ID_BOUND"),
        ("gw-9", "ID_BOUND"),
        ("GW-1", "ID_BOUND"),
    ] {
        let challenge = challenge(&house, &tpm, Some(name));
        let outcome = error(activate(&house, IP, challenge.id, &tpm.answer(&challenge).unwrap()));
        assert_eq!(reason(&outcome), expected, "{name}");
    }
    let challenge = challenge(&house, &tpm, Some("gw-1"));
    done(activate(&house, IP, challenge.id, &tpm.answer(&challenge).unwrap()));
}

#[test]
fn a_tpm_without_entry_is_refused_and_so_is_one_too_late_for_first_contact() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = ca.house(&store);
    let tpm = SoftTpm::p256(&ca.vendor);
    let (challenge, answer) = question(&house, &tpm);
    assert_eq!(
        reason(&error(activate(&house, IP, challenge.id, &answer))),
        "NOT_IN_INVENTORY"
    );
    allow(&store, "gw-1", None, Some(ca.hands.now() - 1));
    let challenge = self::challenge(&house, &tpm, Some("gw-1"));
    let late = error(activate(&house, IP, challenge.id, &tpm.answer(&challenge).unwrap()));
    assert_eq!(reason(&late), "ID_BOUND");
    assert_eq!(ca.key.count(), 1, "only the probe at the start");
}

// A16
#[test]
fn answers_are_bound_to_their_challenge() {
    let (ca, _store, house, tpm) = one_device();
    let (first, first_answer) = question(&house, &tpm);
    let (second, second_answer) = question(&house, &tpm);
    let swapped_id = error(activate(&house, IP, second.id, &first_answer));
    assert_eq!(reason(&swapped_id), "TICKET");
    let swapped_secret = ActivationRequest {
        secret: second_answer.secret.clone(),
        ..first_answer.clone()
    };
    let refused = error(activate(&house, IP, first.id, &swapped_secret));
    assert_eq!(reason(&refused), "ACT_SECRET");
    let swapped_proof = ActivationRequest {
        key_certify: second_answer.key_certify.clone(),
        ..first_answer.clone()
    };
    assert_eq!(
        reason(&error(activate(&house, IP, first.id, &swapped_proof))),
        "CERT_NONCE"
    );
    done(activate(&house, IP, first.id, &first_answer));
    assert_eq!(ca.key.count(), 1);
}

// A44
#[test]
fn tries_are_counted_for_all_servers_and_over_a_restart() {
    let (ca, store, one, tpm) = one_device();
    let two = ca.house(&store);
    let (challenge, right) = question(&one, &tpm);
    let mut wrong = right.clone();
    wrong.secret.0[0] ^= 1;
    for house in [&one, &two, &one] {
        assert_eq!(reason(&error(activate(house, IP, challenge.id, &wrong))), "ACT_SECRET");
    }
    assert!(matches!(
        error(activate(&two, IP, challenge.id, &right)),
        ActivateError::OneTryTooMany
    ));
    drop(one);
    let three = ca.house(&store);
    for house in [&two, &three, &three] {
        assert!(matches!(
            error(activate(house, "198.51.100.7", challenge.id, &right)),
            ActivateError::Void
        ));
    }
    assert_eq!(store.challenge(&challenge.id.0).unwrap().failures, 4);
}

#[test]
fn a_stranger_costs_nobody_a_try() {
    let (_ca, store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    let mut forged = answer.clone();
    forged.ticket.0[20] ^= 1;
    for _ in 0..10 {
        assert_eq!(reason(&error(activate(&house, IP, challenge.id, &forged))), "TICKET");
    }
    assert_eq!(store.challenge(&challenge.id.0).unwrap().failures, 0);
    done(activate(&house, IP, challenge.id, &answer));
}

// S09
#[test]
fn an_expired_challenge_stays_expired_when_the_clock_goes_back() {
    let (ca, store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    let start = ca.hands.now();
    ca.hands.set(start + 121);
    assert!(matches!(
        error(activate(&house, IP, challenge.id, &answer)),
        ActivateError::Expired
    ));
    ca.hands.set(start);
    assert!(matches!(
        error(activate(&house, IP, challenge.id, &answer)),
        ActivateError::Expired
    ));
    ca.hands.set(start - 7200);
    assert!(matches!(
        error(activate(&house, IP, challenge.id, &answer)),
        ActivateError::Expired
    ));
    let stopped = begin(&house, IP, tpm.request(LDEVID, None, None)).unwrap_err();
    assert!(matches!(stopped.error, BeginError::Trouble(Trouble::Clock)));
    ca.hands.set(start + 130);
    assert!(
        store.challenge(&challenge.id.0).unwrap().failures == 0,
        "an old challenge costs no try"
    );
    question(&house, &tpm);
}

#[test]
fn the_last_second_counts() {
    let (ca, _store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    assert_eq!(challenge.expires_at, ca.hands.now() + 120);
    ca.hands.forward(120);
    done(activate(&house, IP, challenge.id, &answer));
}

#[test]
fn a_live_identity_on_the_same_key_is_given_back() {
    let (ca, store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    let first = done(activate(&house, IP, challenge.id, &answer));
    let (challenge, answer) = question(&house, &tpm);
    let second = done(activate(&house, IP, challenge.id, &answer));
    assert_eq!(first.certificates[0].certificate, second.certificates[0].certificate);
    assert_eq!(ca.key.count(), 1);
    assert!(
        store.enrollment(&challenge.id.0).unwrap().is_none(),
        "nothing was recorded"
    );
}

#[test]
fn a_live_identity_on_another_key_is_a_conflict() {
    let (ca, _store, house, mut tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    done(activate(&house, IP, challenge.id, &answer));
    tpm.identity = SoftKey::generate(Shape::identity(attest::KeyAlgorithm::P256));
    let (challenge, answer) = question(&house, &tpm);
    assert!(matches!(
        error(activate(&house, IP, challenge.id, &answer)),
        ActivateError::IdentityConflict(_)
    ));
    assert_eq!(ca.key.count(), 1);
}

#[test]
fn an_identity_key_of_another_device_is_a_conflict_and_stays_one() {
    let (ca, store, house, tpm) = one_device();
    let (first, answer) = question(&house, &tpm);
    done(activate(&house, IP, first.id, &answer));
    let other = SoftTpm {
        identity: tpm.identity,
        ..SoftTpm::p256(&ca.vendor)
    };
    allow(&store, "gw-2", Some(other.ek.sha256()), None);
    let (challenge, answer) = question(&house, &other);
    assert!(matches!(
        error(activate(&house, IP, challenge.id, &answer)),
        ActivateError::IdentityConflict(_)
    ));
    assert_eq!(ca.last_reason(), "IDENTITY_CONFLICT");
    assert_eq!(ca.key.count(), 1);
}

#[test]
fn keys_with_a_role_of_their_own_are_no_identity_keys() {
    let (ca, _store, house, mut tpm) = one_device();
    let identity = |shape: &mut Shape| *shape = Shape::identity(attest::KeyAlgorithm::P256);
    // The same private key under the shape of an identity key: attest has nothing to object.
    let honest = std::mem::replace(&mut tpm.identity, tpm.ak.reshaped(identity));
    let (challenge, answer) = question(&house, &tpm);
    let refused = error(activate(&house, IP, challenge.id, &answer));
    assert!(
        matches!(&refused, ActivateError::KeyRejected(why) if why.contains("AK")),
        "{refused:?}"
    );

    let ek = Secret::OpenSsl(tpm.ek.key.clone());
    tpm.identity = SoftKey::from_secret(Shape::identity(attest::KeyAlgorithm::P256), ek);
    let (challenge, answer) = question(&house, &tpm);
    let refused = error(activate(&house, IP, challenge.id, &answer));
    assert!(
        matches!(&refused, ActivateError::KeyRejected(why) if why.contains("EK")),
        "{refused:?}"
    );

    tpm.identity = ca.key_in(Shape::identity(attest::KeyAlgorithm::P256));
    let (challenge, answer) = question(&house, &tpm);
    let refused = error(activate(&house, IP, challenge.id, &answer));
    assert!(
        matches!(&refused, ActivateError::KeyRejected(why) if why.contains("own")),
        "{refused:?}"
    );

    tpm.identity = honest;
    let (challenge, answer) = question(&house, &tpm);
    done(activate(&house, IP, challenge.id, &answer));
}

// K04
#[test]
fn the_ca_does_not_certify_its_own_key_as_attestation_key() {
    let (ca, _store, house, mut tpm) = one_device();
    tpm.ak = ca.key_in(Shape::ak(attest::KeyAlgorithm::P256));
    let (challenge, answer) = question(&house, &tpm);
    let refused = error(activate(&house, IP, challenge.id, &answer));
    assert!(matches!(&refused, ActivateError::KeyRejected(why) if why.contains("attestation key")));
}

// K04
#[test]
fn an_endorsement_key_is_no_attestation_key() {
    let (_ca, _store, house, mut tpm) = one_device();
    let ek = Secret::OpenSsl(tpm.ek.key.clone());
    tpm.ak = SoftKey::from_secret(Shape::ak(attest::KeyAlgorithm::P256), ek);
    let refused = begin(&house, IP, tpm.request(LDEVID, None, None)).unwrap_err();
    assert!(
        matches!(refused.error, BeginError::KeyRejected(_)),
        "{:?}",
        refused.error
    );
}

// K04
#[test]
fn a_blocked_key_is_refused_and_a_held_device_too() {
    let (ca, store, house, tpm) = one_device();
    let spki = openssl::sha::sha256(&tpm.identity.spki);
    store.block_key(&spki, "compromised", &kit::admin_audit()).unwrap();
    let (challenge, answer) = question(&house, &tpm);
    assert!(matches!(
        error(activate(&house, IP, challenge.id, &answer)),
        ActivateError::KeyRejected(_)
    ));

    let other = SoftTpm::p256(&ca.vendor);
    allow(&store, "gw-2", Some(other.ek.sha256()), None);
    assert!(store.hold_device("gw-2", true, &kit::admin_audit()).unwrap());
    let (challenge, answer) = question(&house, &other);
    assert!(matches!(
        error(activate(&house, IP, challenge.id, &answer)),
        ActivateError::Policy(_)
    ));
    assert_eq!(ca.key.count(), 0);
    assert!(store.hold_device("gw-2", false, &kit::admin_audit()).unwrap());
    let (challenge, answer) = question(&house, &other);
    done(activate(&house, IP, challenge.id, &answer));
}

#[test]
fn a_csr_that_asks_for_more_is_refused() {
    let (_ca, _store, house, tpm) = one_device();
    let challenge = challenge(&house, &tpm, None);
    let honest = tpm.answer(&challenge).unwrap();
    let subject = device_kit::der::name(&[("2.5.4.3", "admin")]);
    let asks = tpm.answer_with(
        &challenge,
        honest.secret.0.clone(),
        &tpm.identity,
        csr(&tpm.identity, &subject, &[]),
    );
    assert!(matches!(
        error(activate(&house, IP, challenge.id, &asks)),
        ActivateError::CsrRejected(_)
    ));
    let plain = csr(&tpm.identity, &sequence(&[]), &[]);
    let plain = tpm.answer_with(&challenge, honest.secret.0, &tpm.identity, plain);
    done(activate(&house, IP, challenge.id, &plain));
}

#[test]
fn unknown_profiles_and_wrong_names_end_before_the_tpm_is_asked() {
    let (ca, _store, house, tpm) = one_device();
    let unknown = begin(&house, IP, tpm.request("device-x", None, None)).unwrap_err();
    assert!(matches!(unknown.error, BeginError::UnknownProfile(_)));
    for name in ["", "a b", "../x", "a/b", "ä", "a\0", "-a", &"a".repeat(65)] {
        let wrong = begin(&house, IP, tpm.request(LDEVID, None, Some(name))).unwrap_err();
        assert!(matches!(wrong.error, BeginError::Malformed(_)), "{name:?}");
    }
    assert_eq!(ca.audited().len(), 9);
    begin(&house, IP, tpm.request(LDEVID, None, Some("gw-1"))).unwrap();
}

#[test]
fn ca_profiles_are_not_for_devices() {
    let (_ca, _store, house, tpm) = one_device();
    for profile in house.profiles.iter().map(|p| p.name().to_owned()) {
        let Ok(challenge) = begin(&house, IP, tpm.request(&profile, None, None)) else {
            continue;
        };
        let outcome = activate(&house, IP, challenge.id, &tpm.answer(&challenge).unwrap());
        let for_devices = ["device-idevid", "device-ldevid"].contains(&profile.as_str());
        match outcome {
            Ok(_) => assert!(for_devices, "{profile} was issued"),
            Err(failure) => assert!(!for_devices, "{profile}: {:?}", failure.error),
        }
    }
}

// K11
#[test]
fn a_serial_that_exists_is_drawn_again_three_times() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let taken = [vec![0x40; 16]];
    let scripted = |script: Vec<Vec<u8>>| {
        let mut parts = ca.parts(&store);
        parts.entropy = Box::new(Scripted { script: script.into() });
        House::new(parts).ok().unwrap()
    };
    let plain = ca.house(&store);
    let enroll = |house: &House, name: &str| {
        let tpm = SoftTpm::p256(&ca.vendor);
        allow(&store, name, Some(tpm.ek.sha256()), None);
        let (challenge, answer) = question(&plain, &tpm);
        activate(house, IP, challenge.id, &answer)
    };
    let first = done(enroll(&scripted(taken.to_vec()), "gw-1"));
    assert_eq!(first.certificates[0].serial, "40".repeat(16));
    let twice = done(enroll(&scripted([taken.to_vec(), taken.to_vec()].concat()), "gw-2"));
    assert_ne!(twice.certificates[0].serial, "40".repeat(16));
    let thrice = [taken.to_vec(), taken.to_vec(), taken.to_vec()].concat();
    let outcome = error(enroll(&scripted(thrice), "gw-3"));
    assert!(
        matches!(outcome, ActivateError::Trouble(Trouble::SerialsTaken)),
        "{outcome:?}"
    );
}

// A18
#[test]
fn randomness_that_repeats_itself_halts_the_house() {
    struct Repeats;
    impl attest::Entropy for Repeats {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), attest::EntropyError> {
            for (n, byte) in out.iter_mut().enumerate() {
                *byte = u8::try_from(n / 16).unwrap();
            }
            Ok(())
        }
    }
    let ca = Ca::rehearse();
    let store = ca.store();
    let mut parts = ca.parts(&store);
    parts.entropy = Box::new(attest::Watched::new(Repeats));
    let house = House::new(parts).ok().unwrap();
    let tpm = SoftTpm::p256(&ca.vendor);
    let outcomes: Vec<_> = (0..3)
        .map(|_| begin(&house, IP, tpm.request(LDEVID, None, None)))
        .collect();
    assert!(outcomes.last().unwrap().is_err());
    assert!(house.halt.reason().is_some());
}

#[test]
fn a_signer_that_is_away_burns_one_serial_and_no_more() {
    let (ca, store, house, tpm) = one_device();
    let (first, answer) = question(&house, &tpm);
    ca.key.set(Mood::Away);
    let outcome = error(activate(&house, IP, first.id, &answer));
    assert!(
        matches!(outcome, ActivateError::Trouble(Trouble::Signer(_))),
        "{outcome:?}"
    );
    assert_eq!(enrollment(&house, first.id).unwrap().state, EnrollmentState::Verifying);

    // Known to be away: no further intent is recorded.
    let asleep = begin(&house, IP, tpm.request(LDEVID, None, None)).unwrap_err();
    assert!(matches!(asleep.error, BeginError::Trouble(Trouble::Signer(_))));
    assert_eq!(store.certificates_of("gw-1").unwrap().len(), 1);

    ca.key.set(Mood::Works);
    house.probe_signer().unwrap();
    assert!(house.signer.away().is_none());
    // The intent is not overdue: the identity is not free.
    let (second, second_answer) = question(&house, &tpm);
    let busy = error(activate(&house, IP, second.id, &second_answer));
    assert!(
        matches!(busy, ActivateError::Trouble(Trouble::Unfinished(_))),
        "{busy:?}"
    );

    ca.hands.forward(31);
    assert_eq!(recover(&house, Which::Overdue).unwrap().len(), 1);
    assert!(matches!(
        error(activate(&house, IP, first.id, &answer)),
        ActivateError::Orphaned
    ));
    assert_eq!(enrollment(&house, first.id).unwrap().state, EnrollmentState::Orphaned);
    done(activate(&house, IP, second.id, &second_answer));
    let states: Vec<_> = store.certificates_of("gw-1").unwrap().iter().map(|c| c.state).collect();
    assert_eq!(states, [CertificateState::Issued, CertificateState::Orphan]);
}

#[test]
fn a_lost_answer_of_the_signer_is_never_signed_again() {
    let (ca, store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    ca.key.set(Mood::Unknown);
    assert!(matches!(
        error(activate(&house, IP, challenge.id, &answer)),
        ActivateError::Trouble(Trouble::Signer(_))
    ));
    assert_eq!(ca.key.count(), 1);
    ca.key.set(Mood::Works);
    drop(house);
    // At the next start on embedded storage every open intent is an orphan.
    let house = ca.house(&store);
    let orphans = recover(&house, Which::All).unwrap();
    assert_eq!(orphans.len(), 1);
    assert_eq!(orphans[0].device.as_deref(), Some("gw-1"));
    assert!(matches!(
        error(activate(&house, IP, challenge.id, &answer)),
        ActivateError::Orphaned
    ));
    assert_eq!(ca.key.count(), 2, "the probe of the start, and nothing else");
    assert_eq!(store.orphans().unwrap().len(), 1);
}

// F12
#[test]
fn a_wrong_signature_halts_the_house_for_good() {
    let (ca, _store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    ca.key.set(Mood::Corrupt);
    let outcome = error(activate(&house, IP, challenge.id, &answer));
    assert!(
        matches!(outcome, ActivateError::Trouble(Trouble::Halted(_))),
        "{outcome:?}"
    );
    ca.key.set(Mood::Works);
    let stopped = begin(&house, IP, tpm.request(LDEVID, None, None)).unwrap_err();
    assert!(matches!(stopped.error, BeginError::Trouble(Trouble::Halted(_))));
    assert!(house.halt.reason().is_some());
}

// L05
#[test]
fn without_an_audit_record_there_is_no_answer() {
    let (ca, store, _house, tpm) = one_device();
    let full = || {
        let mut parts = ca.parts(&store);
        // Opens, and takes no byte: a full disk.
        parts.audit = ca_server::house::AuditFile::new("/dev/full".into());
        House::new(parts).ok().unwrap()
    };
    let house = full();
    let refused = begin(&house, IP, tpm.request("device-x", None, None)).unwrap_err();
    assert!(
        matches!(refused.error, BeginError::Trouble(Trouble::Audit(_))),
        "{:?}",
        refused.error
    );
    let (challenge, mut answer) = question(&house, &tpm);
    answer.secret.0[0] ^= 1;
    let outcome = error(activate(&house, IP, challenge.id, &answer));
    assert!(
        matches!(outcome, ActivateError::Trouble(Trouble::Audit(_))),
        "{outcome:?}"
    );

    let mut parts = ca.parts(&store);
    parts.audit = ca_server::house::AuditFile::new(ca.path("no-such-directory/audit.jsonl"));
    assert_eq!(ca.refused(parts).exit().code(), 78);
}

#[test]
fn every_refusal_has_exactly_one_record_under_its_incident() {
    let (ca, store, house, tpm) = one_device();
    let (challenge, mut answer) = question(&house, &tpm);
    answer.secret.0[0] ^= 1;
    let failure = activate(&house, IP, challenge.id, &answer).unwrap_err();
    let incident = failure.incident.to_string();
    let lines = ca.audited();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["subject"], incident.as_str());
    assert_eq!(lines[0]["reason"], "ACT_SECRET");
    assert_eq!(lines[0]["actor"], IP);
    let entries = store
        .audit_entries(
            &schema::AuditFilter {
                subject: Some(incident),
            },
            10,
        )
        .unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].reason, "ACT_SECRET");
}

// D05: nothing durable is written for a stranger.
#[test]
fn begun_challenges_leave_nothing_behind() {
    let (ca, _store, house, tpm) = one_device();
    let sizes = || ["ca.db", "ca.db-wal"].map(|name| std::fs::metadata(ca.path(name)).map_or(0, |m| m.len()));
    let before = sizes();
    for _ in 0..200 {
        begin(&house, IP, tpm.request(LDEVID, None, None)).unwrap();
    }
    assert_eq!(sizes(), before);
    assert!(ca.audited().is_empty());
}

// A45, L01
#[test]
fn no_secret_of_a_challenge_is_stored_or_recorded() {
    let (ca, store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    let mut wrong = answer.clone();
    wrong.secret.0[0] ^= 1;
    activate(&house, IP, challenge.id, &wrong).unwrap_err();
    done(activate(&house, IP, challenge.id, &answer));
    drop((house, store));
    let mut looked_at = 0;
    for file in std::fs::read_dir(ca.directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        looked_at += bytes.len();
        for secret in [&answer.secret.0, &wrong.secret.0] {
            let encoded = hex::encode(secret);
            assert!(!bytes.windows(32).any(|w| w == secret.as_slice()));
            assert!(!bytes.windows(64).any(|w| w == encoded.as_bytes()));
        }
    }
    assert!(looked_at > 10_000, "the database was looked at");
}

#[test]
fn the_house_refuses_to_stand_on_wrong_ground() {
    let (ca, store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    done(activate(&house, IP, challenge.id, &answer));

    // F14: the clock stands two years before the newest record.
    let now = ca.hands.now();
    ca.hands.set(now - 2 * 365 * 86_400);
    assert_eq!(ca.refused(ca.parts(&store)).exit().code(), 78);
    ca.hands.set(now);

    let mut parts = ca.parts(&store);
    parts.key = Arc::clone(&Ca::rehearse().key) as Arc<dyn issuance::CaKey>;
    assert_eq!(
        ca.refused(parts).exit().code(),
        78,
        "another key than the certificate's"
    );

    ca.key.set(Mood::Corrupt);
    assert_eq!(ca.refused(ca.parts(&store)).exit().code(), 78, "wrong signatures");
    ca.key.set(Mood::Away);
    assert_eq!(
        ca.refused(ca.parts(&store)).exit().code(),
        7,
        "an HSM that is away may come back"
    );
    ca.key.set(Mood::Works);

    let mut parts = ca.parts(&store);
    struct Dead;
    impl attest::Entropy for Dead {
        fn fill(&mut self, _: &mut [u8]) -> Result<(), attest::EntropyError> {
            Err(attest::EntropyError)
        }
    }
    parts.entropy = Box::new(Dead);
    assert_eq!(ca.refused(parts).exit().code(), 78, "no randomness");
    assert!(House::new(ca.parts(&store)).is_ok());
}

#[test]
fn an_enrollment_nobody_answered_is_not_found() {
    let (_ca, _store, house, tpm) = one_device();
    let challenge = challenge(&house, &tpm, None);
    assert!(enrollment(&house, challenge.id).is_err());
    assert!(enrollment(&house, EnrollmentId([0; 16])).is_err());
}

#[test]
fn the_jobs_notice_that_the_signer_is_back_and_sweep_behind_it() {
    let (ca, store, house, tpm) = one_device();
    let (challenge, answer) = question(&house, &tpm);
    let mut wrong = answer.clone();
    wrong.secret.0[0] ^= 1;
    activate(&house, IP, challenge.id, &wrong).unwrap_err();
    ca.key.set(Mood::Away);
    activate(&house, IP, challenge.id, &answer).unwrap_err();
    assert!(house.signer.away().is_some());
    let mut parts = ca.parts(&store);
    parts.terms.sign_deadline = std::time::Duration::from_secs(2);
    ca.key.set(Mood::Works);
    let house = Arc::new(House::new(parts).ok().unwrap());
    house.signer.failed("a test");
    ca.hands.forward(2 * 3600);
    let jobs = ca_server::jobs::Jobs::start(&house, std::time::Duration::from_secs(60)).unwrap();
    let start = std::time::Instant::now();
    let swept = || {
        house.signer.away().is_none()
            && store.orphans().unwrap().len() == 1
            && store.challenge(&challenge.id.0).unwrap().failures == 0
    };
    while !swept() {
        assert!(start.elapsed().as_secs() < 30, "the jobs do not work");
        std::thread::yield_now();
    }
    drop(jobs);
}
