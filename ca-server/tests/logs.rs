//! What is never logged: bodies, secrets, tickets, keys. One binary of its own, because a log has one subscriber.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod kit;

use std::io::Write;
use std::sync::{Arc, Mutex};

use actix_web::http::{StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::{App, web};
use base64::Engine as _;
use ca_server::http::{Front, gate, public_routes, whole};
use device_kit::soft_tpm::SoftTpm;
use kit::{Ca, Mood, allow, manners};
use tracing_subscriber::fmt::MakeWriter;
use wire::enrollment::EnrollmentChallenge;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

// I18, L01
#[actix_web::test]
async fn no_secret_reaches_the_log_at_any_level() {
    let kept = Kept::default();
    tracing_subscriber::fmt()
        .with_writer(kept.clone())
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .init();
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = ca.house(&store);
    let tpm = SoftTpm::p256(&ca.vendor);
    allow(&store, "gw-1", Some(tpm.ek.sha256()), None);
    let front = web::Data::new(Front::new(house, manners()));
    let app = App::new()
        .app_data(front)
        .wrap(from_fn(whole))
        .wrap(from_fn(gate))
        .configure(public_routes);
    let service = test::init_service(app).await;
    let send = async |path: &str, body: Vec<u8>| {
        let request = TestRequest::post()
            .uri(path)
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .set_payload(body)
            .to_request();
        let response = test::call_service(&service, request).await;
        (response.status(), test::read_body(response).await)
    };
    let begin = serde_json::to_vec(&tpm.request("device-ldevid", None, None)).unwrap();
    let (status, body) = send("/v1/enrollments", begin).await;
    assert_eq!(status, StatusCode::CREATED);
    let challenge: EnrollmentChallenge = serde_json::from_slice(&body).unwrap();
    let right = tpm.answer(&challenge).unwrap();
    let mut wrong = right.clone();
    wrong.secret.0[0] ^= 1;
    let path = format!("/v1/enrollments/{}/activation", challenge.id);
    ca.key.set(Mood::Away);
    assert_eq!(
        send(&path, serde_json::to_vec(&wrong).unwrap()).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        send(&path, b"{\"secret\":\"CANARY\"}".to_vec()).await.0,
        StatusCode::BAD_REQUEST
    );
    let away = send(&path, serde_json::to_vec(&right).unwrap()).await.0;
    assert_eq!(away, StatusCode::SERVICE_UNAVAILABLE);

    let log = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    for said in ["refused", "ACT_SECRET", "answered", "the signer is away"] {
        assert!(log.contains(said), "the log was kept: {said}\n{log}");
    }
    assert!(!log.contains("CANARY"));
    for secret in [&right.secret.0, &wrong.secret.0, &challenge.ticket.0, &right.csr.0] {
        let base64 = base64::engine::general_purpose::STANDARD.encode(secret);
        let debug = format!("{:?}", secret.get(..8).unwrap());
        for form in [hex::encode(secret), base64, debug.trim_matches(['[', ']']).to_owned()] {
            assert!(!log.contains(&form), "{form} in\n{log}");
        }
    }
}
