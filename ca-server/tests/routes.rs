//! Every route and what it answers to bad input. The flow's own refusals are in `flow.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod kit;

use std::sync::Arc;
use std::time::Duration;

use actix_http::Request;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::{App, web};
use ca_server::config::{Limits, Rate};
use ca_server::house::House;
use ca_server::http::{Front, Manners, gate, monitor_routes, public_routes, whole};
use device_kit::keys::{Shape, SoftKey};
use device_kit::soft_tpm::SoftTpm;
use kit::{Ca, Mood, allow, limits, manners};
use schema::Store;
use serde_json::Value;
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentResult};

const LDEVID: &str = "device-ldevid";

fn front(house: Arc<House>, limits: Limits) -> web::Data<Front> {
    web::Data::new(Front::new(house, Manners { limits, ..manners() }))
}

macro_rules! serve {
    ($front:expr) => {
        test::init_service(
            App::new()
                .app_data($front.clone())
                .wrap(from_fn(whole))
                .wrap(from_fn(gate))
                .configure(public_routes),
        )
        .await
    };
}

fn one_device() -> (Ca, Store, Arc<House>, SoftTpm) {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = ca.house(&store);
    let tpm = SoftTpm::p256(&ca.vendor);
    allow(&store, "gw-1", Some(tpm.ek.sha256()), None);
    (ca, store, house, tpm)
}

fn post(path: &str, body: impl Into<web::Bytes>) -> TestRequest {
    TestRequest::post()
        .uri(path)
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .set_payload(body)
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// Status, headers and body.
async fn call<S, B>(service: &S, request: TestRequest) -> (StatusCode, header::HeaderMap, web::Bytes)
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let peer = "192.0.2.1:4000".parse().unwrap();
    let response = test::call_service(service, request.peer_addr(peer).to_request()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, test::read_body(response).await)
}

/// The problem code, after looking at what every problem must have.
async fn code<S, B>(service: &S, request: TestRequest) -> String
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let (status, headers, body) = call(service, request).await;
    let problem: Value = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{status} {body:?}"));
    let code = problem["code"].as_str().unwrap().to_owned();
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["type"], format!("https://ca.example/problems/{code}"));
    assert_eq!(headers.get(header::CONTENT_TYPE).unwrap(), "application/problem+json");
    assert_eq!(
        headers.contains_key(header::RETRY_AFTER),
        [429, 503].contains(&status.as_u16()),
        "Retry-After stands where it helps"
    );
    code
}

async fn begin<S, B>(service: &S, tpm: &SoftTpm, device: Option<&str>) -> EnrollmentChallenge
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let body = json(&tpm.request(LDEVID, None, device));
    let (status, headers, body) = call(service, post("/v1/enrollments", body)).await;
    assert_eq!(status, StatusCode::CREATED, "{body:?}");
    let challenge: EnrollmentChallenge = serde_json::from_slice(&body).unwrap();
    let location = headers.get(header::LOCATION).unwrap().to_str().unwrap();
    assert_eq!(location, format!("https://ca.example/v1/enrollments/{}", challenge.id));
    challenge
}

fn activation(id: &wire::EnrollmentId) -> String {
    format!("/v1/enrollments/{id}/activation")
}

#[actix_web::test]
async fn the_whole_way() {
    let (ca, _store, house, tpm) = one_device();
    let service = serve!(front(house, limits()));
    let challenge = begin(&service, &tpm, None).await;
    let answer = json(&tpm.answer(&challenge).unwrap());
    let (status, _, body) = call(&service, post(&activation(&challenge.id), answer)).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    let result: EnrollmentResult = serde_json::from_slice(&body).unwrap();
    let certificate = &result.certificates[0];

    let (status, _, body) = call(
        &service,
        TestRequest::get().uri(&format!("/v1/enrollments/{}", challenge.id)),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let state: EnrollmentResult = serde_json::from_slice(&body).unwrap();
    assert_eq!(state.certificates[0].certificate, certificate.certificate);

    let path = format!("/v1/certificates/{}", certificate.serial);
    let with = |accept: &'static str| TestRequest::get().uri(&path).insert_header((header::ACCEPT, accept));
    let (_, headers, der) = call(&service, with("application/pkix-cert")).await;
    assert_eq!(headers.get(header::CONTENT_TYPE).unwrap(), "application/pkix-cert");
    assert_eq!(der, certificate.certificate.0);
    let (_, _, chain) = call(&service, with("application/pem-certificate-chain")).await;
    let chain = openssl::x509::X509::stack_from_pem(&chain).unwrap();
    assert_eq!(chain.len(), 2, "the certificate and the issuing CA");
    let (_, _, body) = call(&service, with("application/json")).await;
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["profile"], LDEVID);
    assert_eq!(code(&service, with("text/html")).await, "unsupported_media");

    let (_, _, body) = call(&service, TestRequest::get().uri("/v1/issuers")).await;
    let issuers: Value = serde_json::from_slice(&body).unwrap();
    let root = openssl::sha::sha256(ca.chain.last().unwrap());
    assert_eq!(issuers["root_sha256"], hex::encode(root));
    let (_, _, body) = call(&service, TestRequest::get().uri("/v1/issuers/chain.pem")).await;
    assert_eq!(openssl::x509::X509::stack_from_pem(&body).unwrap().len(), 2);
    let (status, _, _) = call(&service, TestRequest::get().uri("/livez")).await;
    assert_eq!(status, StatusCode::OK);
}

// RFC 9773.
#[actix_web::test]
async fn renewal_information_is_of_what_is_renewed() {
    let (ca, store, house, tpm) = one_device();
    let service = serve!(front(Arc::clone(&house), limits()));
    let challenge = begin(&service, &tpm, None).await;
    let answer = json(&tpm.answer(&challenge).unwrap());
    let (_, _, body) = call(&service, post(&activation(&challenge.id), answer)).await;
    let result: EnrollmentResult = serde_json::from_slice(&body).unwrap();
    let id = wire::renewal::CertificateId {
        issuer_key_id: house.issuer.key_id().to_vec(),
        serial: hex::decode(&result.certificates[0].serial).unwrap(),
    };
    let get = |id: String| TestRequest::get().uri(&format!("/v1/renewal-info/{id}"));
    let (status, headers, body) = call(&service, get(id.to_string())).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    assert_eq!(headers.get(header::RETRY_AFTER).unwrap(), "60");
    let info: wire::renewal::RenewalInfo = serde_json::from_slice(&body).unwrap();
    let row = store.certificate(&id.serial).unwrap().unwrap();
    let life = row.not_after - row.not_before;
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
    let window = |info: &wire::renewal::RenewalInfo| {
        let window = &info.suggested_window;
        (at(&window.start), at(&window.end))
    };
    let start = row.not_before + life / 3 * 2;
    assert_eq!(window(&info), (start, start + life / 10));
    // Called: from now on, for what it has.
    let now = ca.hands.now();
    ca_server::flow::device::call_renewal(&house, "alice", "gw-1", Some(600), "r").unwrap();
    let (_, _, body) = call(&service, get(id.to_string())).await;
    let info = serde_json::from_slice(&body).unwrap();
    assert_eq!(window(&info), (now, now + 600));
    for within in [0, -1, 30 * 86_400 + 1, i64::MAX] {
        let refused = ca_server::flow::device::call_renewal(&house, "alice", "gw-1", Some(within), "r");
        assert!(refused.is_err(), "{within}");
    }
    // Another issuer's, nobody's, none.
    let mut other = id.clone();
    other.issuer_key_id[0] ^= 1;
    assert_eq!(code(&service, get(other.to_string())).await, "not_found");
    let mut other = id.clone();
    other.serial[15] ^= 1;
    assert_eq!(code(&service, get(other.to_string())).await, "not_found");
    other.serial = vec![1; 400];
    assert_eq!(code(&service, get(other.to_string())).await, "not_found");
    for wrong in [
        "",
        ".",
        "a",
        "a.b.c",
        &format!("{id}="),
        &format!("{id}%00"),
        "%2e%2e",
        "'.'",
    ] {
        assert_eq!(code(&service, get(wrong.to_owned())).await, "malformed", "{wrong}");
    }
}

// U45, A49: an outsider learns that attestation failed, never why.
#[actix_web::test]
async fn every_attestation_failure_has_the_same_answer() {
    let (ca, store, house, tpm) = one_device();
    let service = serve!(front(house, limits()));
    let other = SoftTpm::p256(&ca.vendor);
    allow(&store, "gw-2", Some(other.ek.sha256()), None);
    let stranger = SoftTpm::p256(&ca.vendor);
    let mut answers = Vec::new();
    let mut reasons = Vec::new();

    let foreign = SoftTpm::p256(&device_kit::vendor::VendorCa::root("Nobody"));
    let mut soft = SoftTpm::p256(&ca.vendor);
    soft.ak = soft.ak.reshaped(|shape| shape.attributes = 0x0006_0040);
    for tpm in [&foreign, &soft] {
        let body = json(&tpm.request(LDEVID, None, None));
        answers.push(call(&service, post("/v1/enrollments", body)).await);
        reasons.push(ca.last_reason());
    }

    let unsworn = SoftKey::generate(Shape::identity(attest::KeyAlgorithm::P256));
    type Change<'a> = &'a dyn Fn(&mut ActivationRequest);
    let changes: [(&SoftTpm, Option<&str>, Change<'_>); 7] = [
        (&tpm, None, &|a| a.secret.0[0] ^= 1),
        (&tpm, None, &|a| a.ticket.0[30] ^= 1),
        (&tpm, None, &|a| a.key_public = unsworn.public.clone().into()),
        (&tpm, None, &|a| {
            let last = a.key_certify.attest.0.len() - 1;
            a.key_certify.attest.0[last] ^= 1;
        }),
        (&tpm, None, &|a| a.csr = other.answer_csr().into()),
        (&tpm, Some("gw-2"), &|_| ()),
        (&stranger, None, &|_| ()),
    ];
    for (tpm, name, change) in changes {
        let challenge = begin(&service, tpm, name).await;
        let mut answer = tpm.answer(&challenge).unwrap();
        change(&mut answer);
        answers.push(call(&service, post(&activation(&challenge.id), json(&answer))).await);
        reasons.push(ca.last_reason());
    }

    let normal = |(status, headers, body): &(StatusCode, header::HeaderMap, web::Bytes)| {
        let text = String::from_utf8(body.to_vec()).unwrap();
        let at = text.find("inc_").unwrap();
        let same = format!("{}{}", &text[..at], &text[at + 36..]);
        let mut headers: Vec<_> = headers.iter().map(|(k, v)| format!("{k}: {v:?}")).collect();
        headers.sort();
        (status.as_u16(), headers, same)
    };
    let first = normal(&answers[0]);
    assert_eq!(first.0, 403);
    assert!(first.2.contains("\"attestation_rejected\""));
    for (answer, reason) in answers.iter().zip(&reasons) {
        assert_eq!(normal(answer), first, "{reason}");
    }
    let distinct: std::collections::BTreeSet<_> = reasons.iter().collect();
    assert!(distinct.len() >= 8, "different checks refused: {reasons:?}");
}

trait Csr {
    fn answer_csr(&self) -> Vec<u8>;
}
impl Csr for SoftTpm {
    fn answer_csr(&self) -> Vec<u8> {
        device_kit::soft_tpm::csr(&self.identity, &device_kit::der::sequence(&[]), &[])
    }
}

// P10
#[actix_web::test]
async fn bodies_are_strict_json() {
    let (ca, _store, house, tpm) = one_device();
    let service = serve!(front(house, limits()));
    let good = String::from_utf8(json(&tpm.request(LDEVID, None, None))).unwrap();
    let change = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        changed
    };
    let bad = [
        change("{\"profile\"", "{\"profile\":\"a\",\"profile\""),
        change("\"ek_public\"", "\"ek_public\":\"AA==\",\"ek_public\""),
        change("{\"profile\"", "{\"more\":1,\"profile\""),
        change("\"device-ldevid\"", "1e400"),
        change("\"device-ldevid\"", "7"),
        change(
            "\"device-ldevid\"",
            &format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)),
        ),
        good.clone() + "{}",
        good[..good.len() - 2].to_owned(),
        String::new(),
        "null".to_owned(),
    ];
    for body in bad {
        let shown: String = body.chars().take(80).collect();
        assert_eq!(
            code(&service, post("/v1/enrollments", body)).await,
            "malformed",
            "{shown}"
        );
    }
    assert!(ca.audited().is_empty(), "what cannot be parsed is not worth a record");
    begin(&service, &tpm, None).await;
}

// P15
#[actix_web::test]
async fn only_plain_json_is_taken() {
    let (_ca, _store, house, tpm) = one_device();
    let service = serve!(front(house, limits()));
    let body = || json(&tpm.request(LDEVID, None, None));
    let with = |kind: &'static str| {
        TestRequest::post()
            .uri("/v1/enrollments")
            .insert_header((header::CONTENT_TYPE, kind))
            .set_payload(body())
    };
    for kind in [
        "text/plain",
        "text/json",
        "application/json5",
        "application/problem+json",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; x=y",
        "application/json; boundary=x",
        "application/json, text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "",
    ] {
        assert_eq!(code(&service, with(kind)).await, "unsupported_media", "{kind}");
    }
    let none = TestRequest::post().uri("/v1/enrollments").set_payload(body());
    assert_eq!(code(&service, none).await, "unsupported_media");
    let twice = with("application/json").append_header((header::CONTENT_TYPE, "application/json"));
    assert_eq!(code(&service, twice).await, "unsupported_media");
    let coded = with("application/json").insert_header((header::CONTENT_ENCODING, "gzip"));
    assert_eq!(code(&service, coded).await, "unsupported_media");
    for kind in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;charset=utf-8",
    ] {
        assert_eq!(call(&service, with(kind)).await.0, StatusCode::CREATED, "{kind}");
    }
}

// P14
#[actix_web::test]
async fn ids_have_one_spelling() {
    let (_ca, _store, house, _tpm) = one_device();
    let service = serve!(front(house, limits()));
    let id = "enr_00000000000000000000000000000000";
    let get = |path: String| TestRequest::get().uri(&path);
    assert_eq!(code(&service, get(format!("/v1/enrollments/{id}"))).await, "not_found");
    for wrong in [
        "..",
        ".",
        "",
        "%2e%2e",
        "..%2F..%2Fetc",
        "enr_",
        "enr_0",
        "ENR_00000000000000000000000000000000",
        "enr_0000000000000000000000000000000G",
        "enr_0000000000000000000000000000000A",
        "enr_00000000000000000000000000000000%00",
        "enr_00000000000000000000000000000000%20",
        "enr_00000000000000000000000000000000.json",
        "enr_0000000000000000000000000000000%EF%BC%90",
        "%FF%FE",
        "'%20OR%201=1--",
    ] {
        assert_eq!(
            code(&service, get(format!("/v1/enrollments/{wrong}"))).await,
            "malformed",
            "{wrong}"
        );
        let path = format!("/v1/enrollments/{wrong}/activation");
        assert_eq!(code(&service, post(&path, "{}")).await, "malformed", "{wrong}");
    }
    assert_eq!(
        code(&service, get(format!("/v1/certificates/{}", "0".repeat(32)))).await,
        "not_found"
    );
    for wrong in [
        "",
        "0",
        "..",
        "0x00",
        &"0".repeat(31),
        &"0".repeat(33),
        &"A".repeat(32),
        &"g".repeat(32),
    ] {
        assert_eq!(
            code(&service, get(format!("/v1/certificates/{wrong}"))).await,
            "malformed",
            "{wrong}"
        );
    }
}

#[actix_web::test]
async fn routes_and_methods_that_are_not_offered() {
    let (_ca, _store, house, _tpm) = one_device();
    let service = serve!(front(house, limits()));
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/enrollments",
        "/v1/devices",
        "/metrics",
        "/readyz",
        "/v1/enrollments/a/b/c",
    ] {
        assert_eq!(
            code(&service, TestRequest::get().uri(path)).await,
            "not_found",
            "{path}"
        );
    }
    let id = "enr_00000000000000000000000000000000";
    let cases = [
        ("/v1/enrollments".to_owned(), "POST"),
        (format!("/v1/enrollments/{id}/activation"), "POST"),
        (format!("/v1/enrollments/{id}"), "GET"),
        ("/v1/certificates/00".to_owned(), "GET"),
        ("/v1/issuers".to_owned(), "GET"),
        ("/v1/issuers/chain.pem".to_owned(), "GET"),
        ("/problems/malformed".to_owned(), "GET"),
        ("/livez".to_owned(), "GET"),
    ];
    for (path, allow) in cases {
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            Method::OPTIONS,
            Method::TRACE,
        ] {
            if method.as_str() == allow {
                continue;
            }
            let request = || TestRequest::default().method(method.clone()).uri(&path);
            assert_eq!(code(&service, request()).await, "method_not_allowed", "{method} {path}");
            let (_, headers, _) = call(&service, request()).await;
            assert_eq!(headers.get(header::ALLOW).unwrap(), allow);
        }
    }
}

// D14
#[actix_web::test]
async fn large_bodies_are_refused() {
    let (_ca, _store, house, tpm) = one_device();
    let service = serve!(front(house, limits()));
    let mut body = json(&tpm.request(LDEVID, None, None));
    body.resize(65_536, b' ');
    assert_eq!(
        call(&service, post("/v1/enrollments", body.clone())).await.0,
        StatusCode::CREATED
    );
    body.push(b' ');
    let (status, ..) = call(&service, post("/v1/enrollments", body.clone())).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(code(&service, post("/v1/enrollments", body)).await, "payload_too_large");
    let announced = post("/v1/enrollments", "{}").insert_header((header::CONTENT_LENGTH, "4294967297"));
    assert_eq!(code(&service, announced).await, "payload_too_large");
}

// A44 at the edge
#[actix_web::test]
async fn a_source_that_asks_too_often_is_told_to_wait() {
    let (_ca, _store, house, _tpm) = one_device();
    let mut limits = limits();
    limits.rate_per_source = Rate::Per(3.try_into().unwrap(), Duration::from_secs(3600));
    let service = serve!(front(house, limits));
    for _ in 0..3 {
        assert_eq!(
            call(&service, TestRequest::get().uri("/v1/issuers")).await.0,
            StatusCode::OK
        );
    }
    assert_eq!(code(&service, post("/v1/enrollments", "{}")).await, "rate_limited");
    let (_, headers, _) = call(&service, TestRequest::get().uri("/v1/issuers")).await;
    let wait: u64 = headers
        .get(header::RETRY_AFTER)
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1100..=1200).contains(&wait), "{wait}");
    assert_eq!(
        call(&service, TestRequest::get().uri("/livez")).await.0,
        StatusCode::OK,
        "supervision goes on"
    );
}

// D06
#[actix_web::test]
async fn when_all_places_are_taken_the_next_is_told_to_come_back() {
    let (ca, _store, house, tpm) = one_device();
    let mut limits = limits();
    limits.concurrency = 1;
    limits.queue = 1;
    let front = front(house, limits);
    let service = serve!(front);
    let monitor = test::init_service(App::new().app_data(front.clone()).configure(monitor_routes)).await;
    let challenge = begin(&service, &tpm, None).await;
    let answer = json(&tpm.answer(&challenge).unwrap());
    let held = ca.key.hold();
    let path = activation(&challenge.id);
    let issuing = call(&service, post(&path, answer));
    let waiting = async {
        ca.key.asked().await;
        let body = json(&tpm.request(LDEVID, None, None));
        // The only place is taken: this one waits, in vain.
        let first = code(&service, post("/v1/enrollments", body)).await;
        let ready = call(&monitor, TestRequest::get().uri("/readyz")).await;
        assert_eq!(ready.0, StatusCode::OK, "supervisors have places of their own");
        drop(held);
        first
    };
    let (issued, waited) = futures_join(issuing, waiting).await;
    assert_eq!(waited, "overloaded");
    assert_eq!(issued.0, StatusCode::OK, "who was inside is served");
    assert_eq!(code(&service, TestRequest::get().uri("/v1/nothing")).await, "not_found");
    begin(&service, &tpm, None).await;
}

// D06
#[actix_web::test]
async fn when_the_queue_is_full_the_next_does_not_even_wait() {
    let (ca, _store, house, tpm) = one_device();
    let mut limits = limits();
    limits.concurrency = 1;
    limits.queue = 0;
    // Who waited would wait for this.
    limits.queue_deadline = Duration::from_secs(600);
    let service = serve!(front(house, limits));
    let challenge = begin(&service, &tpm, None).await;
    let answer = json(&tpm.answer(&challenge).unwrap());
    let held = ca.key.hold();
    let path = activation(&challenge.id);
    let issuing = call(&service, post(&path, answer));
    let next = async {
        ca.key.asked().await;
        let body = json(&tpm.request(LDEVID, None, None));
        let told = tokio::time::timeout(Duration::from_secs(60), code(&service, post("/v1/enrollments", body))).await;
        drop(held);
        told
    };
    let (issued, told) = futures_join(issuing, next).await;
    assert_eq!(told.expect("at once"), "overloaded");
    assert_eq!(issued.0, StatusCode::OK, "who was inside is served");
}

async fn futures_join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    tokio::join!(a, b)
}

#[actix_web::test]
async fn a_panic_is_a_500_and_is_counted() {
    let (ca, _store, house, tpm) = one_device();
    let service = serve!(front(Arc::clone(&house), limits()));
    let challenge = begin(&service, &tpm, None).await;
    ca.key.set(Mood::Panics);
    let answer = json(&tpm.answer(&challenge).unwrap());
    assert_eq!(
        code(&service, post(&activation(&challenge.id), answer)).await,
        "internal"
    );
    assert_eq!(house.metrics.panics(), 1);
    ca.key.set(Mood::Works);
    begin(&service, &tpm, None).await;
}

#[actix_web::test]
async fn trouble_has_its_own_codes() {
    let (ca, _store, house, tpm) = one_device();
    let service = serve!(front(Arc::clone(&house), limits()));
    let challenge = begin(&service, &tpm, None).await;
    let answer = json(&tpm.answer(&challenge).unwrap());
    ca.key.set(Mood::Away);
    assert_eq!(
        code(&service, post(&activation(&challenge.id), answer.clone())).await,
        "signer_unavailable"
    );
    let (status, headers, _) = call(&service, post(&activation(&challenge.id), answer.clone())).await;
    assert_eq!(status, StatusCode::ACCEPTED, "the same request is being worked on");
    assert!(headers.contains_key(header::RETRY_AFTER));
    ca.key.set(Mood::Works);
    house.probe_signer().unwrap();
    let body = json(&tpm.request(LDEVID, None, None));
    assert_eq!(
        call(&service, post("/v1/enrollments", body.clone())).await.0,
        StatusCode::CREATED
    );
    ca.hands.forward(-301);
    assert_eq!(
        code(&service, post("/v1/enrollments", body.clone())).await,
        "halted",
        "the clock ran back"
    );
    ca.hands.forward(301);
    assert_eq!(
        call(&service, post("/v1/enrollments", body)).await.0,
        StatusCode::CREATED,
        "and was put right"
    );
    house.halt.set("a test");
    let body = json(&tpm.request(LDEVID, None, None));
    assert_eq!(code(&service, post("/v1/enrollments", body)).await, "halted");
}

#[actix_web::test]
async fn supervisors_see_what_is_wrong() {
    let (ca, _store, house, tpm) = one_device();
    let front = front(Arc::clone(&house), limits());
    let public = serve!(front);
    begin(&public, &tpm, None).await;
    let monitor = test::init_service(App::new().app_data(front.clone()).configure(monitor_routes)).await;
    let ready = || TestRequest::get().uri("/readyz?verbose");
    let (status, _, body) = call(&monitor, ready()).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    assert_eq!(
        body,
        "[+] database ok\n[+] signer ok\n[+] audit ok\n[+] clock ok\n[+] halt ok\nready\n"
    );
    let (_, _, body) = call(&monitor, TestRequest::get().uri("/readyz")).await;
    assert_eq!(body, "ready\n");

    ca.hands.forward(91);
    let (status, _, body) = call(&monitor, ready()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        body.starts_with(b"[+] database ok\n[-] signer has not signed"),
        "{body:?}"
    );
    house.probe_signer().unwrap();
    assert_eq!(call(&monitor, ready()).await.0, StatusCode::OK);
    house.halt.set("a test");
    assert_eq!(call(&monitor, ready()).await.0, StatusCode::SERVICE_UNAVAILABLE);

    let (_, _, body) = call(&monitor, TestRequest::get().uri("/metrics")).await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    for line in [
        "ca_enrollments_total{step=\"begin\",result=\"challenged\"} 1",
        "ca_http_answers_total{route=\"/v1/enrollments\",status=\"201\"} 1",
        "ca_build_info{version=\"0.1.0\"} 1",
        &format!("ca_issuer_not_after_timestamp_seconds {}", house.issuer.not_after().0),
        "ca_halted 1",
        "ca_hsm_up 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    assert!(!text.contains("gw-1") && !text.contains(&hex::encode(tpm.ek.sha256())));
    assert_eq!(code(&public, TestRequest::get().uri("/metrics")).await, "not_found");
}

#[actix_web::test]
async fn every_problem_has_a_page() {
    let (_ca, _store, house, _tpm) = one_device();
    let service = serve!(front(house, limits()));
    for problem in wire::problem::ProblemCode::ALL {
        let (status, _, body) = call(&service, TestRequest::get().uri(&format!("/problems/{problem}"))).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.starts_with(problem.as_str().as_bytes()));
    }
    assert_eq!(code(&service, TestRequest::get().uri("/problems/x")).await, "not_found");
}
