//! Renewal on a real store: what is renewed, and what is refused by exactly which check.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod kit;

use std::sync::Arc;

use attest::trust::{AnchorSource, Anchors};
use attest::{AnchorKind, KeyAlgorithm};
use ca_server::flow::enroll::{self, ActivateError, Activation};
use ca_server::flow::recover::{Which, recover};
use ca_server::flow::renew::{RenewError, activate, begin};
use ca_server::flow::{Failure, Trouble, revoke};
use ca_server::house::House;
use device_kit::keys::{Shape, SoftKey};
use device_kit::soft_tpm::SoftTpm;
use kit::{Ca, Mood, admin_audit, allow};
use policies::Profiles;
use schema::{AuditFilter, CertificateState, Store};
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentResult};
use wire::renewal::RenewalRequest;
use wire::revocation::RevocationReason;

const IP: &str = "192.0.2.1";
const DAY: i64 = 86_400;

struct Bench {
    ca: Ca,
    store: Store,
    house: Arc<House>,
    tpm: SoftTpm,
    /// The certificate of `gw-1`.
    certificate: Vec<u8>,
}

type Outcome = Result<EnrollmentResult, RenewError>;

fn enrolled(house: &House, tpm: &SoftTpm) -> Vec<u8> {
    let challenge = enroll::begin(house, IP, tpm.request("device-ldevid", None, None)).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    match enroll::activate(house, IP, challenge.id, &answer).unwrap() {
        Activation::Done(result) => result.certificates[0].certificate.0.clone(),
        Activation::UnderWay(_) => panic!("under way"),
    }
}

fn asked(house: &House, certificate: &[u8]) -> Result<EnrollmentChallenge, RenewError> {
    begin(house, IP, Some(certificate), RenewalRequest::default()).map_err(|failure| failure.error)
}

fn answered(house: &House, certificate: &[u8], question: &(EnrollmentChallenge, ActivationRequest)) -> Outcome {
    match activate(house, IP, Some(certificate), question.0.id, &question.1) {
        Ok(Activation::Done(result)) => Ok(result),
        Ok(Activation::UnderWay(_)) => panic!("under way"),
        Err(Failure { error, .. }) => Err(error),
    }
}

fn renewed(house: &House, tpm: &SoftTpm, certificate: &[u8], key: &SoftKey) -> Outcome {
    let challenge = asked(house, certificate)?;
    let answer = tpm.answer_renewal(&challenge, certificate, key).unwrap();
    answered(house, certificate, &(challenge, answer))
}

fn fresh() -> SoftKey {
    SoftKey::generate(Shape::identity(KeyAlgorithm::P256))
}

fn reason(outcome: Outcome) -> &'static str {
    match outcome.unwrap_err() {
        RenewError::Issue(ActivateError::Attestation { reason, .. }) => reason,
        other => panic!("not an attestation failure: {other:?}"),
    }
}

fn revoked(error: RenewError) -> String {
    match error {
        RenewError::Issue(ActivateError::Revoked(what)) => what,
        other => panic!("{other:?}"),
    }
}

fn serial(certificate: &[u8]) -> Vec<u8> {
    let read = openssl::x509::X509::from_der(certificate).unwrap();
    read.serial_number().to_bn().unwrap().to_vec()
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut ca_server::house::Parts)) -> Self {
        let ca = Ca::rehearse();
        let store = ca.store();
        let mut parts = ca.parts(&store);
        change(&mut parts);
        let house = Arc::new(House::new(parts).unwrap());
        let tpm = SoftTpm::p256(&ca.vendor);
        allow(&store, "gw-1", Some(tpm.ek.sha256()), None);
        let certificate = enrolled(&house, &tpm);
        ca.key.signatures.store(0, std::sync::atomic::Ordering::SeqCst);
        ca.hands.forward(200 * DAY);
        Self {
            ca,
            store,
            house,
            tpm,
            certificate,
        }
    }

    fn profile(text: &str) -> Self {
        let sources = [("p.toml".to_owned(), text.to_owned())];
        let profiles = Profiles::from_sources(&sources).unwrap();
        Self::with(|parts| parts.profiles = profiles)
    }

    /// A question of a renewal, and the honest answer.
    fn question(&self) -> (EnrollmentChallenge, ActivationRequest) {
        let challenge = asked(&self.house, &self.certificate).unwrap();
        let answer = self
            .tpm
            .answer_renewal(&challenge, &self.certificate, &self.tpm.identity)
            .unwrap();
        (challenge, answer)
    }

    fn renew(&self) -> Outcome {
        renewed(&self.house, &self.tpm, &self.certificate, &self.tpm.identity)
    }

    fn answer(&self, question: &(EnrollmentChallenge, ActivationRequest)) -> Outcome {
        answered(&self.house, &self.certificate, question)
    }

    fn revoke(&self, reason: RevocationReason) {
        revoke::revoke(&self.house, "uid:7", &serial(&self.certificate), reason, None).unwrap();
    }

    /// Nothing was signed since the enrollment, and the refusal stands in the audit file under this reason.
    fn nothing_but(&self, reason: &str) {
        assert_eq!(self.store.certificates_of("gw-1").unwrap().len(), 1);
        assert_eq!(self.ca.last_reason(), reason);
    }
}

#[test]
fn on_the_same_key_or_a_new_one_of_the_same_tpm() {
    let bench = Bench::new();
    let result = bench.renew().unwrap();
    assert_eq!((result.device.as_str(), result.certificates.len()), ("gw-1", 1));
    let second = result.certificates[0].certificate.0.clone();
    assert_ne!(second, bench.certificate);
    let spki = |der: &[u8]| {
        let read = openssl::x509::X509::from_der(der).unwrap();
        read.public_key().unwrap().public_key_to_der().unwrap()
    };
    assert_eq!(spki(&second), spki(&bench.certificate));
    let key = fresh();
    let third = renewed(&bench.house, &bench.tpm, &second, &key).unwrap();
    let third = third.certificates[0].certificate.0.clone();
    assert_eq!(spki(&third), key.spki);

    // One identity, three certificates, one descent.
    let rows = bench.store.certificates_of("gw-1").unwrap();
    assert_eq!(rows.len(), 3);
    let live = bench.store.live_identity("gw-1", "device-ldevid", bench.ca.hands.now());
    assert_eq!(live.unwrap().unwrap().certificate.as_deref(), Some(third.as_slice()));
    for row in &rows {
        let kin = bench.store.lineage(row.id).unwrap();
        let ders: Vec<_> = kin.into_iter().filter_map(|row| row.certificate).collect();
        assert_eq!(ders, [bench.certificate.clone(), second.clone(), third.clone()]);
    }
    assert!(bench.ca.audited().is_empty(), "nothing was refused");
    let entries = bench
        .store
        .audit_entries(
            &AuditFilter {
                subject: Some(result.id.to_string()),
            },
            9,
        )
        .unwrap();
    assert_eq!(entries.last().unwrap().action, "renewal.granted");
    let old = hex::encode(serial(&bench.certificate));
    assert_eq!(entries.last().unwrap().detail, format!("device-ldevid replaces {old}"));
}

#[test]
fn the_evidence_of_a_renewal_names_what_it_replaced() {
    let bench = Bench::new();
    let result = bench.renew().unwrap();
    let evidence = bench.store.evidence(&result.id.0).unwrap().unwrap();
    let fields = attest::EvidenceFields::parse(&evidence.bytes).unwrap();
    assert_eq!(
        fields.renewed,
        Some(openssl::sha::sha256(&bench.certificate).as_slice())
    );
    assert_eq!(evidence.digest, openssl::sha::sha256(&evidence.bytes));
    assert!(attest::EvidenceFields::parse(&evidence.bytes[..evidence.bytes.len() - 1]).is_none());
}

// P05, P07: the certificate says who asks; there is no other way to say it.
#[test]
fn without_a_certificate_or_with_a_strangers_nothing_is_asked() {
    let bench = Bench::new();
    let none = begin(&bench.house, IP, None, RenewalRequest::default())
        .unwrap_err()
        .error;
    assert!(matches!(none, RenewError::NoCertificate(_)));
    // One bit of the signature changed: the serial is on record, the certificate is not.
    let mut forged = bench.certificate.clone();
    *forged.last_mut().unwrap() ^= 1;
    for shown in [
        forged,
        bench.ca.chain[0].clone(),
        bench.ca.tls_certificate.clone(),
        b"x".to_vec(),
    ] {
        assert!(matches!(asked(&bench.house, &shown), Err(RenewError::NoCertificate(_))));
        bench.nothing_but("NO_CERTIFICATE");
    }
}

#[test]
fn the_certificate_of_an_attestation_key_renews_nothing() {
    let bench = Bench::new();
    let tpm = SoftTpm::p256(&bench.ca.vendor);
    allow(&bench.store, "gw-2", Some(tpm.ek.sha256()), None);
    let challenge = enroll::begin(&bench.house, IP, tpm.request("device-idevid", Some("device-iak"), None)).unwrap();
    let Ok(Activation::Done(result)) =
        enroll::activate(&bench.house, IP, challenge.id, &tpm.answer(&challenge).unwrap())
    else {
        panic!("not done")
    };
    let [iak, idevid] = [0, 1].map(|n| result.certificates[n].certificate.0.clone());
    assert!(matches!(asked(&bench.house, &iak), Err(RenewError::NoCertificate(_))));
    // What never expires is not renewed.
    assert!(matches!(
        asked(&bench.house, &idevid),
        Err(RenewError::Issue(ActivateError::Profile(_)))
    ));
}

// A copied certificate and a stolen key, and all that a thief can make himself; but not the TPM.
#[test]
fn a_thief_with_certificate_and_key_is_refused_by_the_tpm_check() {
    let bench = Bench::new();
    let mut thief = SoftTpm::p256(&bench.ca.vendor);
    allow(&bench.store, "gw-2", Some(thief.ek.sha256()), None);
    thief.identity = bench.tpm.identity.reshaped(|_| ());
    let challenge = asked(&bench.house, &bench.certificate).unwrap();
    assert!(
        thief
            .answer_renewal(&challenge, &bench.certificate, &thief.identity)
            .is_err(),
        "the credential is for another TPM"
    );
    // He guesses the secret; all else is as good as he can make it.
    let mut answer = bench
        .tpm
        .answer_renewal(&challenge, &bench.certificate, &bench.tpm.identity)
        .unwrap();
    answer.secret = vec![7; 32].into();
    let question = (challenge, answer);
    assert_eq!(reason(bench.answer(&question)), "ACT_SECRET");
    bench.nothing_but("ACT_SECRET");
}

// He has even heard the secret; his own AK signs.
#[test]
fn another_tpms_attestation_key_certifies_nothing_here() {
    let bench = Bench::new();
    let mut question = bench.question();
    let thief = SoftTpm::p256(&bench.ca.vendor);
    let attest = question.1.key_certify.attest.0.clone();
    question.1.key_certify.signature = thief.ak.sign(&attest).into();
    assert_eq!(reason(bench.answer(&question)), "CERT_SIG");
    bench.nothing_but("CERT_SIG");
}

// P05
#[test]
fn a_revoked_certificate_is_refused_at_both_calls() {
    let bench = Bench::new();
    let question = bench.question();
    bench.revoke(RevocationReason::Superseded);
    assert!(revoked(bench.answer(&question).unwrap_err()).contains("superseded"));
    bench.nothing_but("REVOKED");
    revoked(asked(&bench.house, &bench.certificate).unwrap_err());
    // Another server, that has just started and has heard of nothing.
    let other = bench.ca.house(&bench.store);
    revoked(asked(&other, &bench.certificate).unwrap_err());
    bench.nothing_but("REVOKED");
}

#[test]
fn a_held_certificate_is_refused_until_it_is_released() {
    let bench = Bench::new();
    bench.revoke(RevocationReason::CertificateHold);
    revoked(asked(&bench.house, &bench.certificate).unwrap_err());
    bench.nothing_but("REVOKED");
    revoke::release(&bench.house, "uid:7", &serial(&bench.certificate), None).unwrap();
    bench.renew().unwrap();
}

#[test]
fn a_held_device_is_refused() {
    let bench = Bench::new();
    bench.store.hold_device("gw-1", true, &admin_audit()).unwrap();
    let refused = bench.renew().unwrap_err();
    assert!(
        matches!(refused, RenewError::Issue(ActivateError::Policy(_))),
        "{refused:?}"
    );
    bench.nothing_but("POLICY");
}

// S09: not even when the clock is put back afterwards.
#[test]
fn what_has_ended_is_not_renewed() {
    let bench = Bench::new();
    let question = bench.question();
    let row = bench.store.certificates_of("gw-1").unwrap().remove(0);
    bench.ca.hands.set(row.not_after);
    asked(&bench.house, &bench.certificate).unwrap();
    bench.ca.hands.set(row.not_after + 1);
    assert!(matches!(
        asked(&bench.house, &bench.certificate),
        Err(RenewError::Ended)
    ));
    bench.nothing_but("ENDED");
    bench.ca.hands.set(row.not_after - 100);
    assert!(matches!(
        asked(&bench.house, &bench.certificate),
        Err(RenewError::Ended)
    ));
    let late = bench.answer(&question);
    assert!(
        matches!(late, Err(RenewError::Issue(ActivateError::Expired))),
        "{late:?}"
    );
}

// S07, S09: the challenge of a renewal ends as an enrollment's does.
#[test]
fn a_challenge_ends_by_its_time() {
    let bench = Bench::new();
    let question = bench.question();
    bench.ca.hands.forward(121);
    let late = bench.answer(&question);
    assert!(
        matches!(late, Err(RenewError::Issue(ActivateError::Expired))),
        "{late:?}"
    );
    bench.nothing_but("EXPIRED");
}

#[test]
fn a_certificate_is_renewed_once() {
    let bench = Bench::new();
    let question = bench.question();
    bench.renew().unwrap();
    for outcome in [
        bench.answer(&question).map(drop),
        asked(&bench.house, &bench.certificate).map(drop),
    ] {
        assert!(
            matches!(outcome, Err(RenewError::Issue(ActivateError::Replaced))),
            "{outcome:?}"
        );
        assert_eq!(bench.ca.last_reason(), "REPLACED");
    }
    assert_eq!(bench.ca.key.count(), 1);
}

// A53, P05: every other TPM of this vendor is believed, and every other certificate renewed.
#[test]
fn after_the_vendors_ca_fell_nothing_is_asked() {
    let bench = Bench::new();
    let mut parts = bench.ca.parts(&bench.store);
    let other = device_kit::vendor::VendorCa::root("Another Root");
    let source = AnchorSource {
        name: "kit".to_owned(),
        certificate: other.certificate,
        kind: AnchorKind::Software,
        manufacturers: vec!["id:49465800".to_owned()],
        enforce_expiry: true,
    };
    parts.anchors = Anchors::new(vec![source], Vec::new()).unwrap();
    let house = House::new(parts).unwrap();
    let refused = asked(&house, &bench.certificate).unwrap_err();
    assert!(
        matches!(&refused, RenewError::Issue(ActivateError::Attestation { reason, .. }) if reason.starts_with("EK_")),
        "{refused:?}"
    );
    assert_eq!(bench.store.certificates_of("gw-1").unwrap().len(), 1);
    // With the anchors of before, the same certificate is renewed.
    bench.renew().unwrap();
}

// K04
#[test]
fn a_blocked_key_is_not_certified_again_but_another_is() {
    let bench = Bench::new();
    let key = openssl::sha::sha256(&bench.tpm.identity.spki);
    bench.store.block_key(&key, "leaked", &admin_audit()).unwrap();
    let refused = bench.renew().unwrap_err();
    assert!(
        matches!(refused, RenewError::Issue(ActivateError::KeyRejected(_))),
        "{refused:?}"
    );
    bench.nothing_but("KEY_REJECTED");
    renewed(&bench.house, &bench.tpm, &bench.certificate, &fresh()).unwrap();
}

// P05: begun with one certificate, answered with another of the same CA.
#[test]
fn the_answer_comes_with_the_certificate_of_the_question() {
    let bench = Bench::new();
    let other = SoftTpm::p256(&bench.ca.vendor);
    allow(&bench.store, "gw-2", Some(other.ek.sha256()), None);
    let others = enrolled(&bench.house, &other);
    bench.ca.key.signatures.store(0, std::sync::atomic::Ordering::SeqCst);
    let question = bench.question();
    assert_eq!(reason(answered(&bench.house, &others, &question)), "TICKET");
    bench.nothing_but("TICKET");
    // The certified statement names the certificate, too.
    let (challenge, _) = question;
    let answer = bench
        .tpm
        .answer_renewal(&challenge, &others, &bench.tpm.identity)
        .unwrap();
    assert_eq!(reason(bench.answer(&(challenge, answer))), "CERT_NONCE");
    bench.nothing_but("CERT_NONCE");
}

// A14
#[test]
fn the_same_answer_again_gives_the_same_certificate() {
    let bench = Bench::new();
    let question = bench.question();
    let first = bench.answer(&question).unwrap();
    bench.ca.hands.forward(300 * DAY);
    let again = bench.answer(&question).unwrap();
    assert_eq!(first.certificates[0].certificate, again.certificates[0].certificate);
    assert_eq!(bench.ca.key.count(), 1);
}

// A14
#[test]
fn another_answer_to_a_used_challenge_is_a_replay() {
    let bench = Bench::new();
    let question = bench.question();
    bench.answer(&question).unwrap();
    let (challenge, _) = question;
    let other = bench
        .tpm
        .answer_renewal(&challenge, &bench.certificate, &bench.tpm.identity)
        .unwrap();
    let refused = bench.answer(&(challenge, other));
    assert!(
        matches!(refused, Err(RenewError::Issue(ActivateError::Replayed))),
        "{refused:?}"
    );
    assert_eq!(bench.ca.last_reason(), "REPLAY");
}

// P02, A15: an answer of one kind is no answer of the other.
#[test]
fn enrollment_and_renewal_do_not_mix() {
    let bench = Bench::new();
    let (challenge, answer) = bench.question();
    let as_enrollment = enroll::activate(&bench.house, IP, challenge.id, &answer)
        .unwrap_err()
        .error;
    assert!(matches!(
        as_enrollment,
        ActivateError::Attestation { reason: "TICKET", .. }
    ));
    let begun = enroll::begin(&bench.house, IP, bench.tpm.request("device-ldevid", None, None)).unwrap();
    let answer = bench
        .tpm
        .answer_renewal(&begun, &bench.certificate, &bench.tpm.identity)
        .unwrap();
    assert_eq!(reason(bench.answer(&(begun.clone(), answer.clone()))), "TICKET");
    // In its own place, a statement made for a renewal certifies nothing.
    let in_place = enroll::activate(&bench.house, IP, begun.id, &answer).unwrap_err().error;
    assert!(matches!(
        in_place,
        ActivateError::Attestation {
            reason: "CERT_NONCE",
            ..
        }
    ));
    let (challenge, _) = bench.question();
    let answer = bench.tpm.answer(&challenge).unwrap();
    assert_eq!(reason(bench.answer(&(challenge, answer))), "CERT_NONCE");
    assert_eq!(bench.ca.key.count(), 0);
}

// A20: a renewal's challenge is worth as many guesses as an enrollment's.
#[test]
fn guesses_are_counted() {
    let bench = Bench::new();
    let question = bench.question();
    let mut wrong = question.clone();
    wrong.1.secret = vec![7; 32].into();
    for _ in 0..3 {
        assert_eq!(reason(bench.answer(&wrong)), "ACT_SECRET");
    }
    let fourth = bench.answer(&wrong);
    assert!(matches!(fourth, Err(RenewError::Issue(ActivateError::OneTryTooMany))));
    let honest = bench.answer(&question);
    assert!(
        matches!(honest, Err(RenewError::Issue(ActivateError::Void))),
        "{honest:?}"
    );
    bench.renew().unwrap();
}

#[test]
fn the_profile_says_on_which_key() {
    let text = |renewal: &str| {
        format!(
            "name = \"device-ldevid\"\nkind = \"device-ldevid\"\nlifetime = \"365d\"\nextended_key_usage = [\"clientAuth\"]\nrenewal = \"{renewal}\"\n"
        )
    };
    for (renewal, same, new) in [
        ("same-key", true, false),
        ("rekey", false, true),
        ("either", true, true),
    ] {
        for (key, wanted) in [(None, same), (Some(fresh()), new)] {
            let bench = Bench::profile(&text(renewal));
            let key = key.unwrap_or_else(|| bench.tpm.identity.reshaped(|_| ()));
            let outcome = renewed(&bench.house, &bench.tpm, &bench.certificate, &key);
            if wanted {
                outcome.unwrap();
            } else {
                let refused = outcome.unwrap_err();
                assert!(
                    matches!(refused, RenewError::Issue(ActivateError::Profile(_))),
                    "{refused:?}"
                );
                bench.nothing_but("PROFILE");
            }
        }
    }
    let bench = Bench::profile(&text("none"));
    assert!(matches!(
        asked(&bench.house, &bench.certificate),
        Err(RenewError::Issue(ActivateError::Profile(_)))
    ));
}

// D09: the signer loses its answer: nothing is doubled, and the device renews with the certificate it has.
#[test]
fn a_signature_that_got_lost_leaves_the_old_certificate_in_its_place() {
    let bench = Bench::new();
    bench.ca.key.set(Mood::Unknown);
    let lost = bench.question();
    let outcome = bench.answer(&lost);
    assert!(matches!(
        outcome,
        Err(RenewError::Issue(ActivateError::Trouble(Trouble::Signer(_))))
    ));
    bench.ca.key.set(Mood::Works);
    let house = bench.ca.house(&bench.store);
    // While it is not known what became of it, nobody is first.
    assert!(matches!(
        asked(&house, &bench.certificate),
        Err(RenewError::Issue(ActivateError::Trouble(Trouble::Unfinished(_))))
    ));
    assert_eq!(recover(&house, Which::All).unwrap().len(), 1);
    let live = bench.store.live_identity("gw-1", "device-ldevid", bench.ca.hands.now());
    assert_eq!(
        live.unwrap().unwrap().certificate.as_deref(),
        Some(bench.certificate.as_slice()),
        "it stands again"
    );
    let again = answered(&house, &bench.certificate, &lost);
    assert!(
        matches!(again, Err(RenewError::Issue(ActivateError::Orphaned))),
        "{again:?}"
    );
    renewed(&house, &bench.tpm, &bench.certificate, &bench.tpm.identity).unwrap();
    let states: Vec<_> = bench
        .store
        .certificates_of("gw-1")
        .unwrap()
        .iter()
        .map(|row| row.state)
        .collect();
    use CertificateState::{Issued, Orphan};
    assert_eq!(states, [Issued, Orphan, Issued]);
}

// A15
#[test]
fn of_many_at_once_one_is_first() {
    let bench = Bench::new();
    let questions: Vec<_> = (0..8).map(|_| bench.question()).collect();
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let all: Vec<_> = questions
            .iter()
            .map(|question| scope.spawn(|| bench.answer(question)))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.into_iter().filter_map(Result::err) {
        assert!(
            matches!(
                outcome,
                RenewError::Issue(ActivateError::Replaced | ActivateError::Trouble(Trouble::Unfinished(_)))
            ),
            "{outcome:?}"
        );
    }
    assert_eq!(bench.ca.key.count(), 1);
    assert_eq!(bench.store.certificates_of("gw-1").unwrap().len(), 2);
}

#[test]
fn a_certificate_revoked_while_its_successor_is_signed_stays_revoked_and_the_successor_is_known() {
    let bench = Bench::new();
    bench.renew().unwrap();
    bench.revoke(RevocationReason::KeyCompromise);
    let rows = bench.store.certificates_of("gw-1").unwrap();
    let kin = bench.store.lineage(rows[1].id).unwrap();
    assert_eq!(kin.len(), 2);
    assert!(kin[0].not_good().is_some() && kin[1].not_good().is_none());
}

// Calendar: leap days, ends of years, the end of the certificate itself.
#[test]
fn on_any_day_of_the_calendar() {
    for day in [
        "2028-02-29T12:00:00Z",
        "2027-12-31T23:59:59Z",
        "2032-02-29T00:00:00Z",
        "2033-01-01T00:00:00Z",
    ] {
        let bench = Bench::new();
        let then: jiff::Timestamp = day.parse().unwrap();
        // A new certificate a month before, renewed on that day.
        bench.ca.hands.set(then.as_second() - 30 * DAY);
        let late = enrolled(&bench.house, &bench.tpm);
        let late = if late == bench.certificate {
            bench.certificate.clone()
        } else {
            late
        };
        bench.ca.hands.set(then.as_second());
        let result = renewed(&bench.house, &bench.tpm, &late, &bench.tpm.identity).unwrap();
        let row = bench
            .store
            .certificate(&hex::decode(&result.certificates[0].serial).unwrap())
            .unwrap()
            .unwrap();
        assert_eq!(row.not_before, then.as_second() - 300, "{day}");
        assert_eq!(row.not_after, row.not_before + 365 * DAY - 1, "{day}");
    }
}

// A53: the same TPM twice. All else is right: the certificate, its key, the EK's and the AK's answer.
#[test]
fn a53_a_clock_that_went_back_is_refused_and_the_device_held() {
    let mut bench = Bench::new();
    let of = |clock, reset_count| attest::tpm::TpmsClockInfo {
        clock,
        reset_count,
        ..device_kit::soft_tpm::FIRST_SECOND
    };
    bench.tpm.clock = of(90_000_000, 1);
    let second = bench.renew().unwrap().certificates[0].certificate.0.clone();
    bench.ca.hands.forward(100);
    // The copy, which was switched on later.
    bench.tpm.clock = of(89_000_000, 1);
    let renew = |bench: &Bench, certificate: &[u8]| renewed(&bench.house, &bench.tpm, certificate, &bench.tpm.identity);
    match renew(&bench, &second) {
        Err(RenewError::Issue(ActivateError::Clock(what))) => assert!(
            what.contains("`gw-1`: the clock went back by 1000000 ms since the same start"),
            "{what}"
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.ca.last_reason(), "TPM_CLOCK");
    assert!(bench.store.device_by_name("gw-1").unwrap().unwrap().held);
    // The original is held with it, until people have looked.
    bench.tpm.clock = of(91_000_000, 1);
    assert_eq!(reason(renew(&bench, &second).map_err(policy_as_attestation)), "HELD");
    let alarm = bench.store.audit_entries(&AuditFilter::default(), 9).unwrap();
    assert!(alarm.iter().any(|record| record.action == "device.clock.alarm"));
    bench.store.hold_device("gw-1", false, &admin_audit()).unwrap();
    renew(&bench, &second).unwrap();
}

/// What the rules said about a held device, as its one word.
fn policy_as_attestation(error: RenewError) -> RenewError {
    match error {
        RenewError::Issue(ActivateError::Policy(denial)) => RenewError::Issue(ActivateError::Attestation {
            reason: "HELD",
            detail: denial.detail,
        }),
        other => other,
    }
}

// A53: the copy enrolls, on the key of the original and on another: it gets nothing back, and is found.
#[test]
fn a53_a_new_enrollment_of_a_copy_is_a_conflict() {
    for own_key in [true, false] {
        let mut bench = Bench::new();
        bench.tpm.clock.clock -= 1;
        if !own_key {
            bench.tpm.identity = fresh();
        }
        let challenge = enroll::begin(&bench.house, IP, bench.tpm.request("device-ldevid", None, None)).unwrap();
        let answer = bench.tpm.answer(&challenge).unwrap();
        let outcome = enroll::activate(&bench.house, IP, challenge.id, &answer).map_err(|failure| failure.error);
        assert!(matches!(outcome, Err(ActivateError::Clock(_))), "{outcome:?}");
        assert!(bench.store.device_by_name("gw-1").unwrap().unwrap().held);
        // With the clock of the original, the one gets its certificate back, and the other is told of the conflict.
        bench.store.hold_device("gw-1", false, &admin_audit()).unwrap();
        bench.tpm.clock.clock += 1;
        let challenge = enroll::begin(&bench.house, IP, bench.tpm.request("device-ldevid", None, None)).unwrap();
        let answer = bench.tpm.answer(&challenge).unwrap();
        let outcome = enroll::activate(&bench.house, IP, challenge.id, &answer).map_err(|failure| failure.error);
        if own_key {
            assert!(matches!(outcome, Ok(Activation::Done(_))), "{outcome:?}");
        } else {
            assert!(
                matches!(outcome, Err(ActivateError::IdentityConflict(_))),
                "{outcome:?}"
            );
        }
        assert_eq!(
            bench.store.tpm_clocks("gw-1").unwrap().len(),
            1,
            "noted, though nothing was issued"
        );
    }
}

#[test]
fn the_profile_says_what_becomes_of_a_clock_that_went_back() {
    let text = |rule: &str| {
        format!(
            "name = \"device-ldevid\"\nkind = \"device-ldevid\"\nlifetime = \"365d\"\n\
             extended_key_usage = [\"clientAuth\"]\ntpm_clock = \"{rule}\"\n"
        )
    };
    for (rule, refused, held) in [("hold", true, true), ("refuse", true, false), ("alarm", false, false)] {
        let mut bench = Bench::profile(&text(rule));
        bench.tpm.clock.reset_count -= 1;
        assert_eq!(bench.renew().is_err(), refused, "{rule}");
        assert_eq!(
            bench.store.device_by_name("gw-1").unwrap().unwrap().held,
            held,
            "{rule}"
        );
        let alarms = bench.store.clock_alarms();
        let counts = [
            ("hold", alarms.hold),
            ("refuse", alarms.refuse),
            ("alarm", alarms.alarm),
        ];
        for (of, count) in counts {
            assert_eq!(count, u64::from(of == rule), "{rule}");
        }
    }
    let root = "name = \"root\"\nkind = \"root\"\nlifetime = \"30y\"\ntpm_clock = \"hold\"\n";
    let refused = Profiles::from_sources(&[("p.toml".to_owned(), root.to_owned())]).unwrap_err();
    assert!(refused.to_string().contains("no TPM answers"), "{refused}");
}
