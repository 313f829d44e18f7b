//! Revocation through the flow and through the routes of people: what it does to devices, and what is refused.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod kit;

use std::sync::Arc;

use actix_web::http::header;
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::{App, web};
use ca_server::flow::enroll::{ActivateError, Activation, LookupError, activate, begin, certificate, enrollment};
use ca_server::flow::recover::{Which, recover};
use ca_server::flow::revoke::{RevokeError, release, revoke, status};
use ca_server::flow::{Failure, Trouble};
use ca_server::house::House;
use ca_server::http::{Front, admin_routes, whole};
use device_kit::keys::{Shape, SoftKey};
use device_kit::soft_tpm::SoftTpm;
use kit::{Ca, Mood, allow, manners};
use schema::Store;
use serde_json::{Value, json};
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentResult};
use wire::revocation::RevocationReason::{self, CertificateHold, KeyCompromise, Superseded};
use wire::revocation::RevocationState;

const WHO: &str = "uid:7";

fn one_device() -> (Ca, Store, Arc<House>, SoftTpm) {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = ca.house(&store);
    ca.key.signatures.store(0, std::sync::atomic::Ordering::SeqCst);
    let tpm = SoftTpm::p256(&ca.vendor);
    allow(&store, "gw-1", Some(tpm.ek.sha256()), None);
    (ca, store, house, tpm)
}

fn question(house: &House, tpm: &SoftTpm) -> (EnrollmentChallenge, ActivationRequest) {
    let challenge = begin(house, "192.0.2.1", tpm.request("device-ldevid", None, None)).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    (challenge, answer)
}

fn answered(
    house: &House,
    (challenge, answer): &(EnrollmentChallenge, ActivationRequest),
) -> Result<EnrollmentResult, ActivateError> {
    match activate(house, "192.0.2.1", challenge.id, answer) {
        Ok(Activation::Done(result)) => Ok(result),
        Ok(Activation::UnderWay(_)) => panic!("under way"),
        Err(Failure { error, .. }) => Err(error),
    }
}

fn enroll(house: &House, tpm: &SoftTpm) -> Result<EnrollmentResult, ActivateError> {
    answered(house, &question(house, tpm))
}

fn octets(result: &EnrollmentResult) -> [u8; 16] {
    let mut serial = [0; 16];
    hex::decode_to_slice(&result.certificates[0].serial, &mut serial).unwrap();
    serial
}

fn new_key() -> SoftKey {
    SoftKey::generate(Shape::identity(attest::KeyAlgorithm::P256))
}

/// The refusal's words, when it names what is revoked or on hold.
fn named(outcome: Result<EnrollmentResult, ActivateError>) -> String {
    match outcome.unwrap_err() {
        ActivateError::Revoked(what) => what,
        other => panic!("{other}"),
    }
}

#[test]
fn a_revoked_certificate_is_not_handed_out_again_and_another_may_follow() {
    let (ca, _store, house, tpm) = one_device();
    let first = question(&house, &tpm);
    let old = answered(&house, &first).unwrap();
    let serial = octets(&old);
    let now = revoke(&house, WHO, &serial, Superseded, Some("rolled over")).unwrap();
    let step = now.revocation.unwrap();
    assert_eq!((step.state, step.actor.as_str()), (RevocationState::Revoked, WHO));
    assert_eq!((now.device.as_deref(), now.state.as_str()), (Some("gw-1"), "issued"));

    let words = named(answered(&house, &first));
    assert!(
        words.contains(&old.certificates[0].serial) && words.contains("superseded"),
        "{words}"
    );
    assert_eq!(ca.last_reason(), "REVOKED");
    assert!(matches!(enrollment(&house, first.0.id), Err(LookupError::Revoked(what)) if what == words));
    assert_eq!(
        certificate(&house, &serial).unwrap().certificate,
        old.certificates[0].certificate
    );

    let new = enroll(&house, &tpm).unwrap();
    assert_ne!(new.certificates[0].serial, old.certificates[0].serial);
    assert_eq!(ca.key.count(), 2);
    assert_eq!(
        status(&house, &serial).unwrap().others,
        [new.certificates[0].serial.clone()]
    );
    named(answered(&house, &first));
}

#[test]
fn a_compromised_key_gets_nothing_for_ever() {
    let (ca, _store, house, mut tpm) = one_device();
    let serial = octets(&enroll(&house, &tpm).unwrap());
    revoke(&house, WHO, &serial, KeyCompromise, None).unwrap();
    let refused = enroll(&house, &tpm).unwrap_err();
    assert!(matches!(refused, ActivateError::KeyRejected(_)), "{refused}");
    tpm.identity = new_key();
    enroll(&house, &tpm).unwrap();
    assert_eq!(ca.key.count(), 2, "nothing was signed for the blocked key");
}

#[test]
fn a_hold_is_no_reason_to_enroll_again_and_can_be_released() {
    let (ca, _store, house, mut tpm) = one_device();
    let first = question(&house, &tpm);
    let result = answered(&house, &first).unwrap();
    let serial = octets(&result);
    revoke(&house, WHO, &serial, CertificateHold, None).unwrap();
    assert!(named(answered(&house, &first)).contains("on hold"));
    assert!(named(enroll(&house, &tpm)).contains("on hold"), "on its own key");
    let own = std::mem::replace(&mut tpm.identity, new_key());
    assert!(named(enroll(&house, &tpm)).contains("on hold"), "on another key");
    tpm.identity = own;
    let free = release(&house, WHO, &serial, Some("found again")).unwrap();
    assert_eq!(free.revocation, None);
    assert_eq!(free.history.len(), 2);
    for again in [answered(&house, &first), enroll(&house, &tpm)] {
        assert_eq!(
            again.unwrap().certificates[0].certificate,
            result.certificates[0].certificate
        );
    }
    assert_eq!(ca.key.count(), 1);
}

#[test]
fn a_device_that_is_held_gets_no_other_certificate() {
    let (_ca, store, house, tpm) = one_device();
    let serial = octets(&enroll(&house, &tpm).unwrap());
    revoke(&house, WHO, &serial, Superseded, None).unwrap();
    store.hold_device("gw-1", true, &kit::admin_audit()).unwrap();
    enroll(&house, &tpm).unwrap_err();
    store.hold_device("gw-1", false, &kit::admin_audit()).unwrap();
    enroll(&house, &tpm).unwrap();
}

// S07
#[test]
fn s07_what_is_revoked_while_it_is_being_signed_is_not_answered() {
    let (ca, store, house, tpm) = one_device();
    let first = question(&house, &tpm);
    let held = ca.key.hold();
    let outcome = std::thread::scope(|scope| {
        let late = scope.spawn(|| answered(&house, &first));
        while ca.key.count() == 0 {
            std::thread::yield_now();
        }
        let row = store.certificates_of("gw-1").unwrap().pop().unwrap();
        revoke(&house, WHO, &row.serial, Superseded, None).unwrap();
        drop(held);
        late.join().unwrap()
    });
    named(outcome);
    let row = store.certificates_of("gw-1").unwrap().pop().unwrap();
    assert!(row.certificate.is_some(), "the signature is on record");
    assert!(
        store
            .live_identity("gw-1", "device-ldevid", ca.hands.now())
            .unwrap()
            .is_none()
    );
    named(answered(&house, &first));
    enroll(&house, &tpm).unwrap();
}

#[test]
fn an_orphan_is_revoked_by_its_serial() {
    let (ca, store, house, tpm) = one_device();
    ca.key.set(Mood::Unknown);
    let refused = enroll(&house, &tpm).unwrap_err();
    assert!(
        matches!(refused, ActivateError::Trouble(Trouble::Signer(_))),
        "{refused}"
    );
    let serial = store.certificates_of("gw-1").unwrap()[0].serial.clone();
    recover(&house, Which::All).unwrap();
    let now = revoke(&house, WHO, &serial, Superseded, None).unwrap();
    assert_eq!(now.state, "orphan");
    assert!(now.revocation.is_some());
}

#[test]
fn revoking_needs_no_signer_and_no_open_house() {
    let (ca, _store, house, tpm) = one_device();
    let serial = octets(&enroll(&house, &tpm).unwrap());
    ca.key.set(Mood::Away);
    house.halt.set("told to");
    begin(&house, "192.0.2.1", tpm.request("device-ldevid", None, None)).unwrap_err();
    revoke(&house, WHO, &serial, KeyCompromise, None).unwrap();
}

#[test]
fn every_step_is_on_record_under_the_device() {
    let (_ca, store, house, tpm) = one_device();
    let result = enroll(&house, &tpm).unwrap();
    let serial = octets(&result);
    revoke(&house, WHO, &serial, CertificateHold, None).unwrap();
    release(&house, WHO, &serial, None).unwrap();
    revoke(&house, WHO, &serial, Superseded, Some("spare part")).unwrap();
    revoke(&house, WHO, &serial, Superseded, Some("again")).unwrap();
    let filter = schema::AuditFilter {
        subject: Some("gw-1".to_owned()),
    };
    let told: Vec<_> = store.audit_entries(&filter, 9).unwrap();
    let actions: Vec<&str> = told.iter().map(|r| r.action.as_str()).collect();
    assert_eq!(
        actions,
        ["certificate.revoked", "certificate.released", "certificate.held"]
    );
    assert_eq!((told[0].actor.as_str(), told[0].reason.as_str()), (WHO, "superseded"));
    assert_eq!(
        told[0].detail,
        format!("device-ldevid {}: spare part", result.certificates[0].serial)
    );
}

#[test]
fn comments_are_short_and_plain() {
    let (_ca, store, house, tpm) = one_device();
    let serial = octets(&enroll(&house, &tpm).unwrap());
    for bad in ["a\nb", "\u{7f}", &"x".repeat(501)] {
        let refused = revoke(&house, WHO, &serial, Superseded, Some(bad));
        assert!(matches!(refused, Err(RevokeError::Comment)), "{bad}");
        let refused = release(&house, WHO, &serial, Some(bad));
        assert!(matches!(refused, Err(RevokeError::Comment)), "{bad}");
    }
    assert!(store.revocations(None, 9).unwrap().items.is_empty());
    revoke(&house, WHO, &serial, Superseded, Some(&"ü".repeat(500))).unwrap();
}

/// Status and body of one request to the routes of people.
async fn call(house: &Arc<House>, request: TestRequest) -> (u16, Value) {
    let front = web::Data::new(Front::new(Arc::clone(house), manners()));
    let app = App::new().app_data(front).wrap(from_fn(whole)).configure(admin_routes);
    let service = test::init_service(app).await;
    let response = test::call_service(&service, request.to_request()).await;
    let status = response.status().as_u16();
    let body = test::read_body(response).await;
    (
        status,
        serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{status} {body:?}")),
    )
}

fn post(path: &str, body: &str) -> TestRequest {
    TestRequest::post()
        .uri(path)
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .set_payload(body.to_owned())
}

#[actix_web::test]
async fn the_routes_take_exactly_what_is_documented() {
    let (_ca, store, house, tpm) = one_device();
    let serial = hex::encode(octets(&enroll(&house, &tpm).unwrap()));
    let revocation = format!("/v1/certificates/{serial}/revocation");
    let release = format!("/v1/certificates/{serial}/release");
    // P13: nobody takes a revocation back through the reason.
    for bad in [
        r#"{"reason":"removeFromCRL"}"#,
        r#"{"reason":"unrevoke"}"#,
        r#"{"reason":"KeyCompromise"}"#,
        r#"{"reason":1}"#,
        r#"{"reason":null}"#,
        r"{}",
        "",
        r#"{"reason":"superseded","serial":"00"}"#,
        r#"{"reason":"superseded","reason":"keyCompromise"}"#,
        r#"{"reason":"superseded"} "#.trim_end().repeat(2).as_str(),
        r#"{"reason":"superseded","comment":1}"#,
        r#"{"reason":"superseded","comment":"a\nb"}"#,
    ] {
        let (status, problem) = call(&house, post(&revocation, bad)).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("malformed")), "{bad}");
    }
    for bad in [r#"{"reason":"superseded"}"#, r#"{"comment":"\u0000"}"#] {
        assert_eq!(call(&house, post(&release, bad)).await.0, 400, "{bad}");
    }
    let superseded = r#"{"reason":"superseded","comment":"spare"}"#;
    for (wrong, status) in [
        ("0".repeat(32), 404),
        (serial.to_uppercase(), 400),
        ("00".to_owned(), 400),
        (format!("{serial}00"), 400),
        (String::new(), 400),
    ] {
        for verb in ["revocation", "release"] {
            let body = if verb == "release" { "{}" } else { superseded };
            let path = format!("/v1/certificates/{wrong}/{verb}");
            assert_eq!(call(&house, post(&path, body)).await.0, status, "{path}");
        }
        let path = format!("/v1/certificates/{wrong}/revocation");
        assert_eq!(call(&house, TestRequest::get().uri(&path)).await.0, status, "{path}");
    }
    for (request, allowed) in [
        (TestRequest::delete().uri(&revocation), 405),
        (TestRequest::put().uri(&revocation), 405),
        (TestRequest::get().uri(&release), 405),
        (TestRequest::post().uri("/v1/revocations"), 405),
        (TestRequest::get().uri("/v1/revocations?limit=0"), 400),
        (TestRequest::get().uri("/v1/revocations?serial=1"), 400),
    ] {
        assert_eq!(call(&house, request).await.0, allowed);
    }
    let text = TestRequest::post().uri(&revocation).set_payload(superseded);
    assert_eq!(call(&house, text).await.0, 415);
    assert!(
        store.revocations(None, 9).unwrap().items.is_empty(),
        "nothing happened so far"
    );

    let (status, problem) = call(&house, post(&release, "{}")).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("revocation_conflict")));
    let (status, answer) = call(&house, post(&revocation, superseded)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["revocation"]["reason"], "superseded");
    assert_eq!(answer["revocation"]["comment"], "spare");
    assert_eq!(
        call(&house, post(&revocation, superseded)).await.1,
        answer,
        "again is a success"
    );
    let (status, problem) = call(&house, post(&revocation, r#"{"reason":"unspecified"}"#)).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("revocation_conflict")));
    assert!(
        problem["detail"].as_str().unwrap().contains("superseded"),
        "people are told: {problem}"
    );
    let (status, worse) = call(&house, post(&revocation, r#"{"reason":"keyCompromise"}"#)).await;
    assert_eq!(
        (status, worse["revocation"]["since"].as_i64()),
        (200, answer["revocation"]["at"].as_i64())
    );
    let (_, shown) = call(&house, TestRequest::get().uri(&revocation)).await;
    assert_eq!(shown, worse);

    let (_, page) = call(&house, TestRequest::get().uri("/v1/revocations?limit=1")).await;
    assert_eq!(page["items"][0]["step"]["reason"], "superseded");
    assert_eq!(page["items"][0]["device"], "gw-1");
    let next = format!("/v1/revocations?limit=1&cursor={}", page["next"].as_str().unwrap());
    let (_, page) = call(&house, TestRequest::get().uri(&next)).await;
    assert_eq!(page["items"][0]["step"]["reason"], "keyCompromise");
    assert_eq!(page["next"], Value::Null);
    let (_, device) = call(&house, TestRequest::get().uri("/v1/devices/gw-1")).await;
    assert_eq!(device["state"], "revoked");
    assert_eq!(device["certificates"][0]["state"], "issued");
    assert_eq!(device["certificates"][0]["revocation"]["reason"], "keyCompromise");
}

#[actix_web::test]
async fn a_device_is_told_why_its_certificate_is_not_handed_out() {
    let (_ca, _store, house, tpm) = one_device();
    let first = question(&house, &tpm);
    let serial = octets(&answered(&house, &first).unwrap());
    revoke(&house, WHO, &serial, RevocationReason::Unspecified, None).unwrap();
    let front = web::Data::new(Front::new(Arc::clone(&house), manners()));
    let app = App::new()
        .app_data(front)
        .wrap(from_fn(whole))
        .configure(ca_server::http::public_routes);
    let service = test::init_service(app).await;
    let path = format!("/v1/enrollments/{}", first.0.id);
    let body = serde_json::to_string(&first.1).unwrap();
    for request in [
        post(&format!("{path}/activation"), &body),
        TestRequest::get().uri(&path),
    ] {
        let response = test::call_service(&service, request.to_request()).await;
        assert_eq!(response.status().as_u16(), 409);
        let problem: Value = test::read_body_json(response).await;
        assert_eq!(problem["code"], json!("certificate_revoked"));
        assert!(
            problem["detail"].as_str().unwrap().contains(&hex::encode(serial)),
            "{problem}"
        );
    }
}
