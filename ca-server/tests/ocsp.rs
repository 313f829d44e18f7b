//! The OCSP responder over HTTP: what it says, what it refuses, and what it keeps.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod kit;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::{App, web};
use attest::UnixTime;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ca_server::config::{OcspTerms, Rate};
use ca_server::flow::ocsp::{DelegateFault, Standing, renew};
use ca_server::house::{House, Ocsp, Parts, StartError};
use ca_server::http::{Front, status_gate, status_routes, whole};
use issuance::ocsp::{
    CertId, CertIdForm, CertStatus, IssuerHashes, Nonce, OcspError, OcspRefusal, OcspRequest, OcspResponse,
    RawOcspResponse,
};
use issuance::{CaKey, Decision, Intent, IssuedRecord, Issuer, IssuerUrls, KeyRole, Order, Recorder as _, Serial};
use kit::{Ca, Mood, MoodyKey, admin_audit, limits, manners};
use policies::Profiles;
use schema::Store;
use wire::revocation::RevocationReason::{self, CertificateHold, KeyCompromise, Superseded};

/// A responder and what it stands on.
struct Stand {
    ca: Ca,
    store: Store,
    key: Arc<MoodyKey>,
    house: Arc<House>,
}

fn terms() -> OcspTerms {
    OcspTerms {
        validity: Duration::from_secs(12 * 3600),
        cache: 1000,
        fresh_rate: Rate::Off,
    }
}

fn parts(ca: &Ca, store: &Store, key: &Arc<MoodyKey>, terms: OcspTerms) -> Parts {
    Parts {
        ocsp: Some((Arc::clone(key) as Arc<dyn CaKey>, terms)),
        ..ca.parts(store)
    }
}

impl Stand {
    fn new() -> Self {
        Self::with(terms())
    }
    fn with(terms: OcspTerms) -> Self {
        let ca = Ca::rehearse();
        let (store, key) = (ca.store(), Arc::new(MoodyKey::generate()));
        let house = Arc::new(House::new(parts(&ca, &store, &key, terms)).unwrap());
        assert_eq!(renew(&house, house.ocsp.as_ref().unwrap()).unwrap(), Standing::Made);
        key.signatures.store(0, Ordering::SeqCst);
        Self { ca, store, key, house }
    }
    fn ocsp(&self) -> &Ocsp {
        self.house.ocsp.as_ref().unwrap()
    }
    fn now(&self) -> i64 {
        self.house.clock.read().now.0
    }
    fn intent(&self, n: u8) -> Intent {
        Intent {
            serial: serial(n),
            issuer_key_id: self.house.issuer.key_id().to_vec(),
            tbs: format!("tbs of {n}").into_bytes(),
            profile: "test".to_owned(),
            profile_sha256: [1; 32],
            key_role: KeyRole::Identity,
            spki_sha256: [n; 32],
            decision: Decision {
                rules: Vec::new(),
                reasons: Vec::new(),
                policy_sha256: [2; 32],
            },
            not_before: UnixTime(self.now()),
            not_after: UnixTime(self.now() + 86_400),
        }
    }
    /// On record, and not signed yet.
    fn intended(&self, n: u8) -> Intent {
        let intent = self.intent(n);
        let order = Order {
            enrollment_id: [n; 16],
            request_sha256: [3; 32],
            device: None,
            evidence: None,
            transcript: None,
            renews: None,
            audit: admin_audit(),
            at: UnixTime(self.now()),
        };
        self.store.intend(&order, std::slice::from_ref(&intent)).unwrap();
        intent
    }
    fn sign(&self, n: u8, intent: &Intent) {
        let record = IssuedRecord {
            serial: intent.serial,
            issuer_key_id: intent.issuer_key_id.clone(),
            certificate: [b"0\x82", &intent.tbs[..], b"signature"].concat(),
        };
        let _ = self.store.issued(&[n; 16], &[record]);
    }
    fn issued(&self, n: u8) {
        let intent = self.intended(n);
        self.sign(n, &intent);
    }
    fn row(&self, n: u8) -> i64 {
        self.store.certificate(serial(n).octets()).unwrap().unwrap().id
    }
    fn revoke(&self, n: u8, reason: RevocationReason) {
        let mut audit = admin_audit();
        audit.at = UnixTime(self.now());
        self.store.revoke(self.row(n), reason, "", &audit).unwrap();
    }
    fn release(&self, n: u8) {
        let mut audit = admin_audit();
        audit.at = UnixTime(self.now());
        self.store.release(self.row(n), "", &audit).unwrap();
    }
    fn ask(&self, n: u8) -> Vec<u8> {
        self.ask_as(n, CertIdForm::Sha1Null, None)
    }
    fn ask_as(&self, n: u8, form: CertIdForm, nonce: Option<&Nonce>) -> Vec<u8> {
        let id = CertId {
            form,
            serial: serial(n),
        };
        OcspRequest::encode(id, &IssuerHashes::of(&self.house.issuer), nonce)
    }
    fn believe(&self, der: &[u8]) -> Result<OcspResponse, OcspError> {
        RawOcspResponse::decode(der.to_vec())?.verify(&self.house.issuer)
    }
}

fn serial(n: u8) -> Serial {
    let mut octets = [n; 16];
    octets[0] = 0x40;
    Serial::from_octets(octets).unwrap()
}

macro_rules! serve {
    ($stand:expr) => {
        test::init_service(
            App::new()
                .app_data(web::Data::new(Front::new(Arc::clone(&$stand.house), manners())))
                .wrap(from_fn(whole))
                .wrap(from_fn(status_gate))
                .configure(status_routes),
        )
        .await
    };
}

macro_rules! call {
    ($service:expr, $request:expr) => {{
        let peer = "192.0.2.1:4000".parse().unwrap();
        let response = test::call_service($service, $request.peer_addr(peer).to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, test::read_body(response).await.to_vec())
    }};
}

macro_rules! post {
    ($service:expr, $body:expr) => {{
        let request = TestRequest::post()
            .uri("/ocsp")
            .insert_header((header::CONTENT_TYPE, "application/ocsp-request"))
            .set_payload($body);
        let (status, headers, body) = call!($service, request);
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers.get(header::CONTENT_TYPE).unwrap(), "application/ocsp-response");
        body
    }};
}

/// What is said about certificate `n`.
macro_rules! said {
    ($stand:expr, $service:expr, $n:expr) => {
        $stand
            .believe(&post!($service, $stand.ask($n)))
            .map(|answer| answer.status(serial($n)).unwrap())
    };
}

fn revoked(since: i64, reason: RevocationReason) -> Result<CertStatus, OcspError> {
    let since = UnixTime(since);
    Ok(CertStatus::Revoked { since, reason })
}

fn refused(refusal: OcspRefusal) -> Result<CertStatus, OcspError> {
    Err(OcspError::Refused(refusal))
}

#[actix_web::test]
async fn every_step_is_said_at_once() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    for _ in 0..3 {
        assert_eq!(said!(stand, &service, 1), Ok(CertStatus::Good));
    }
    assert_eq!(stand.key.count(), 1, "signed once, given three times");
    let at = stand.now();
    stand.revoke(1, CertificateHold);
    assert_eq!(said!(stand, &service, 1), revoked(at, CertificateHold));
    stand.release(1);
    assert_eq!(said!(stand, &service, 1), Ok(CertStatus::Good));
    stand.revoke(1, Superseded);
    assert_eq!(said!(stand, &service, 1), revoked(at, Superseded));
    stand.revoke(1, KeyCompromise);
    for _ in 0..3 {
        assert_eq!(said!(stand, &service, 1), revoked(at, KeyCompromise));
    }
    assert_eq!(stand.key.count(), 5, "one signature for each step");
}

/// R05: never `good` for what was not issued here.
#[actix_web::test]
async fn what_is_not_on_record_is_not_spoken_of() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    assert_eq!(said!(stand, &service, 9), refused(OcspRefusal::Unauthorized));
    let text = stand.house.metrics.render(true, false);
    assert!(text.contains("ca_ocsp_serials_not_on_record_total 1"), "{text}");
    // The serial of a certificate of this CA, under another CA's hashes: of the same name, and of the root.
    let other = Ca::rehearse();
    assert_eq!(other.issuer().name(), stand.house.issuer.name());
    let id = CertId {
        form: CertIdForm::Sha256,
        serial: serial(1),
    };
    let body = OcspRequest::encode(id, &IssuerHashes::of(&other.issuer()), None);
    assert_eq!(post!(&service, body), OcspRefusal::Unauthorized.der());
    let root = Issuer::from_chain(
        &stand.ca.chain[1..],
        stand.house.issuer.algorithm(),
        IssuerUrls::default(),
    )
    .unwrap();
    let body = OcspRequest::encode(id, &IssuerHashes::of(&root), None);
    assert_eq!(post!(&service, body), OcspRefusal::Unauthorized.der());
    assert_eq!(stand.key.count(), 0, "nothing was signed for any of them");
    let text = stand.house.metrics.render(true, false);
    assert!(
        text.contains("ca_ocsp_serials_not_on_record_total 1"),
        "other CAs' are no news"
    );
}

/// R05, S07: an orphan is not unknown, and not good; an intent is decided later; a signature that comes after its
/// revocation changes nothing.
#[actix_web::test]
async fn intents_orphans_and_late_signatures() {
    let stand = Stand::new();
    let service = serve!(stand);
    let (one, two) = (stand.intended(1), stand.intended(2));
    let at = stand.now();
    assert_eq!(said!(stand, &service, 1), refused(OcspRefusal::TryLater));
    stand.revoke(2, Superseded);
    assert_eq!(said!(stand, &service, 2), revoked(at, Superseded));
    stand.sign(2, &two);
    assert_eq!(
        said!(stand, &service, 2),
        revoked(at, Superseded),
        "a late write revives nothing"
    );
    stand.store.recover(at, at).unwrap();
    assert_eq!(said!(stand, &service, 1), revoked(at, CertificateHold));
    stand.sign(1, &one);
    assert_eq!(
        said!(stand, &service, 1),
        revoked(at, CertificateHold),
        "an orphan stays one"
    );
}

#[actix_web::test]
async fn what_has_ended_is_not_spoken_of_unless_it_was_revoked() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    stand.issued(2);
    let at = stand.now();
    stand.revoke(2, Superseded);
    stand.ca.hands.forward(86_400);
    assert_eq!(said!(stand, &service, 1), Ok(CertStatus::Good), "its last second");
    stand.ca.hands.forward(1);
    assert_eq!(said!(stand, &service, 1), refused(OcspRefusal::Unauthorized));
    assert_eq!(said!(stand, &service, 2), revoked(at, Superseded));
}

/// D09, each by exactly one thing.
#[actix_web::test]
async fn requests_that_are_none() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    let good = stand.ask(1);
    let malformed = OcspRefusal::MalformedRequest.der();
    assert_eq!(post!(&service, Vec::new()), malformed, "an empty POST");
    assert_eq!(post!(&service, [&good[..], &[0]].concat()), malformed, "bytes after it");
    // An unknown hash: the last arc of SHA-1's OID.
    let mut hash = good.clone();
    let at = hash.windows(5).position(|w| w == b"\x2b\x0e\x03\x02\x1a").unwrap();
    hash[at + 4] = 0x1b;
    assert_eq!(post!(&service, hash), malformed, "an unknown hash");
    // Six hundred questions; beyond the largest body there is no OCSP at all.
    let many: Vec<u8> = std::iter::repeat_n(good[4..].to_vec(), 600).flatten().collect();
    assert_eq!(post!(&service, many), malformed, "many questions");
    let request = TestRequest::post()
        .uri("/ocsp")
        .insert_header((header::CONTENT_TYPE, "application/ocsp-request"))
        .set_payload(vec![0x30; 100_000]);
    assert_eq!(call!(&service, request).0, StatusCode::PAYLOAD_TOO_LARGE);
    for kind in [
        "application/ocsp-response",
        "application/json",
        "application/ocsp-request; x=y",
    ] {
        let request = TestRequest::post()
            .uri("/ocsp")
            .insert_header((header::CONTENT_TYPE, kind))
            .set_payload(good.clone());
        assert_eq!(call!(&service, request).0, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    for path in ["/ocsp/!!!!", "/ocsp/MAM=", "/ocsp/MA%"] {
        let (status, headers, body) = call!(&service, TestRequest::get().uri(path));
        assert_eq!((status, body.as_slice()), (StatusCode::OK, malformed), "{path}");
        assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), "no-store");
    }
    for (method, path, allowed) in [
        (Method::GET, "/ocsp", "POST"),
        (Method::PUT, "/ocsp", "POST"),
        (Method::POST, "/ocsp/MAM=", "GET, HEAD"),
    ] {
        let (status, headers, _) = call!(&service, TestRequest::default().method(method).uri(path));
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(headers.get(header::ALLOW).unwrap(), allowed);
    }
    assert_eq!(stand.key.count(), 0);
    assert_eq!(
        said!(stand, &service, 1),
        Ok(CertStatus::Good),
        "and the good one is answered"
    );
}

#[actix_web::test]
async fn get_in_all_spellings_and_its_caches() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    let base64 = STANDARD.encode(stand.ask(1));
    let encoded = base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let mut tags = Vec::new();
    for path in [
        format!("/ocsp/{base64}"),
        format!("/ocsp/{encoded}"),
        format!("/ocsp//{base64}"),
    ] {
        let (status, headers, body) = call!(&service, TestRequest::get().uri(&path));
        assert_eq!(status, StatusCode::OK);
        assert_eq!(stand.believe(&body).unwrap().status(serial(1)), Some(CertStatus::Good));
        let age = "max-age=21600, public, no-transform, must-revalidate";
        assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), age, "half of twelve hours");
        assert!(headers.contains_key(header::EXPIRES) && headers.contains_key(header::LAST_MODIFIED));
        tags.push(headers.get(header::ETAG).unwrap().to_str().unwrap().to_owned());
    }
    assert!(tags.iter().all(|tag| *tag == tags[0]));
    let again = |tag: &str| {
        TestRequest::get()
            .uri(&format!("/ocsp/{encoded}"))
            .insert_header((header::IF_NONE_MATCH, tag))
    };
    let (status, _, body) = call!(&service, again(&tags[0]));
    assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    stand.revoke(1, KeyCompromise);
    let (status, _, body) = call!(&service, again(&tags[0]));
    assert_eq!(status, StatusCode::OK, "another answer has another tag");
    let answer = stand.believe(&body).unwrap();
    assert!(matches!(answer.status(serial(1)), Some(CertStatus::Revoked { .. })));
}

#[actix_web::test]
async fn the_form_of_the_question_is_the_form_of_the_answer() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    for form in CertIdForm::ALL {
        let body = post!(&service, stand.ask_as(1, form, None));
        let answer = stand.believe(&body).unwrap();
        assert_eq!(answer.answers()[0].id.form, form);
    }
    assert_eq!(stand.key.count(), 4);
}

#[actix_web::test]
async fn a_nonce_costs_a_signature_and_there_are_only_so_many() {
    let hourly = Rate::Per(2.try_into().unwrap(), Duration::from_secs(3600));
    let stand = Stand::with(OcspTerms {
        fresh_rate: hourly,
        ..terms()
    });
    let service = serve!(stand);
    stand.issued(1);
    for n in 1..=2 {
        let nonce = Nonce::new(&[n; 32]).unwrap();
        let answer = stand.believe(&post!(&service, stand.ask_as(1, CertIdForm::Sha1Null, Some(&nonce))));
        assert_eq!(answer.unwrap().nonce(), Some(&nonce));
    }
    assert_eq!(stand.key.count(), 2);
    for n in 3..=9 {
        let nonce = Nonce::new(&[n; 32]).unwrap();
        let answer = stand.believe(&post!(&service, stand.ask_as(1, CertIdForm::Sha1Null, Some(&nonce))));
        let answer = answer.unwrap();
        assert_eq!(
            (answer.nonce(), answer.status(serial(1))),
            (None, Some(CertStatus::Good))
        );
    }
    assert_eq!(stand.key.count(), 3, "one more signature, for all who come too often");
    stand.revoke(1, Superseded);
    let nonce = Nonce::new(&[10; 32]).unwrap();
    let answer = stand.believe(&post!(&service, stand.ask_as(1, CertIdForm::Sha1Null, Some(&nonce))));
    assert!(matches!(
        answer.unwrap().status(serial(1)),
        Some(CertStatus::Revoked { .. })
    ));
}

#[actix_web::test]
async fn an_answer_is_renewed_at_half_of_its_time() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    let first = stand.believe(&post!(&service, stand.ask(1))).unwrap();
    assert_eq!(first.next_update().0 - first.this_update().0, 12 * 3600);
    stand.ca.hands.forward(6 * 3600 - 1);
    assert_eq!(post!(&service, stand.ask(1)), first.der());
    stand.ca.hands.forward(1);
    let second = stand.believe(&post!(&service, stand.ask(1))).unwrap();
    assert_eq!(second.this_update().0, first.this_update().0 + 6 * 3600);
}

/// The signer is away: what was signed is used to its end, if the record still says the same; never anything else.
#[actix_web::test]
async fn without_a_signer() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    stand.issued(2);
    let first = post!(&service, stand.ask(1));
    stand.key.set(Mood::Away);
    assert_eq!(said!(stand, &service, 2), refused(OcspRefusal::TryLater));
    stand.ca.hands.forward(11 * 3600);
    assert_eq!(post!(&service, stand.ask(1)), first, "beyond its half, and good enough");
    let nonce = Nonce::new(&[1; 32]).unwrap();
    let answer = stand.believe(&post!(&service, stand.ask_as(1, CertIdForm::Sha1Null, Some(&nonce))));
    assert_eq!(
        answer.unwrap_err(),
        OcspError::Refused(OcspRefusal::TryLater),
        "a nonce wants a signature"
    );
    stand.revoke(1, Superseded);
    assert_eq!(
        said!(stand, &service, 1),
        refused(OcspRefusal::TryLater),
        "never good again"
    );
    stand.key.set(Mood::Works);
    assert!(matches!(said!(stand, &service, 1), Ok(CertStatus::Revoked { .. })));
    stand.key.set(Mood::Unknown);
    assert_eq!(said!(stand, &service, 2), refused(OcspRefusal::TryLater));
    stand.ca.hands.forward(12 * 3600);
    assert_eq!(
        said!(stand, &service, 1),
        refused(OcspRefusal::TryLater),
        "its time is over"
    );
}

/// H03: a signature that does not verify leaves the house in no answer, and halts it.
#[actix_web::test]
async fn a_corrupt_signature_is_nobodys_answer() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    stand.key.set(Mood::Corrupt);
    assert_eq!(said!(stand, &service, 1), refused(OcspRefusal::InternalError));
    assert!(stand.house.halt.reason().unwrap().contains("does not verify"));
    stand.key.set(Mood::Works);
    assert_eq!(
        said!(stand, &service, 1),
        refused(OcspRefusal::TryLater),
        "a person has to look"
    );
}

/// The record cannot be read: nothing is known, whatever was signed before.
#[actix_web::test]
async fn without_a_record() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    assert_eq!(said!(stand, &service, 1), Ok(CertStatus::Good));
    let away = std::process::Command::new("sqlite3")
        .arg(stand.ca.path("ca.db"))
        .arg("PRAGMA legacy_alter_table = ON; ALTER TABLE revocation RENAME TO away;")
        .status()
        .unwrap();
    assert!(away.success());
    assert_eq!(said!(stand, &service, 1), refused(OcspRefusal::TryLater));
}

/// S09: a clock that ran back makes no answer old enough to be believed again, and none is signed.
#[actix_web::test]
async fn a_clock_that_ran_back() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    stand.issued(2);
    let first = post!(&service, stand.ask(1));
    stand.ca.hands.forward(13 * 3600);
    assert_eq!(said!(stand, &service, 2), Ok(CertStatus::Good));
    stand.ca.hands.forward(-13 * 3600);
    assert_eq!(
        said!(stand, &service, 1),
        refused(OcspRefusal::TryLater),
        "{} octets",
        first.len()
    );
    assert_eq!(
        said!(stand, &service, 2),
        Ok(CertStatus::Good),
        "signed before, and not too old"
    );
}

#[actix_web::test]
async fn several_certificates_at_once() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    stand.issued(2);
    stand.revoke(2, Superseded);
    // Two requests become one: the lists of both, and the lengths around them.
    let list = |n| stand.ask(n)[6..].to_vec();
    let both = [list(1), list(2)].concat();
    let wrap = |body: &[u8]| [&[0x30, 0x81, u8::try_from(body.len()).unwrap()], body].concat();
    let ask = wrap(&wrap(&wrap(&both)));
    let answer = stand.believe(&post!(&service, ask.clone())).unwrap();
    assert_eq!(answer.status(serial(1)), Some(CertStatus::Good));
    assert!(matches!(answer.status(serial(2)), Some(CertStatus::Revoked { .. })));
    // One of them is not on record: nothing is said about the other either.
    let mut unknown = ask;
    *unknown.last_mut().unwrap() ^= 1;
    assert_eq!(post!(&service, unknown), OcspRefusal::Unauthorized.der());
}

/// The certificate of the responder: made once, taken by others, renewed at half of its life.
#[actix_web::test]
async fn the_delegate_renews_itself() {
    let stand = Stand::new();
    let first = stand.ocsp().responder().unwrap();
    assert_eq!(renew(&stand.house, stand.ocsp()).unwrap(), Standing::Goes);
    let row = stand.store.certificate(first.serial().octets()).unwrap().unwrap();
    assert_eq!(
        (row.profile.as_str(), row.device),
        ("ocsp", None),
        "recorded as every certificate"
    );
    // Another server of the same CA takes it.
    let other = Arc::new(House::new(parts(&stand.ca, &stand.store, &stand.key, terms())).unwrap());
    let theirs = other.ocsp.as_ref().unwrap();
    assert!(theirs.responder().is_none());
    assert_eq!(renew(&other, theirs).unwrap(), Standing::Taken);
    assert_eq!(theirs.responder().unwrap().serial(), first.serial());
    // Half a life later one of them makes the next, the other takes it.
    stand.ca.hands.forward(7 * 86_400 / 2 - 302);
    assert_eq!(renew(&stand.house, stand.ocsp()).unwrap(), Standing::Goes);
    stand.ca.hands.forward(1);
    assert_eq!(renew(&stand.house, stand.ocsp()).unwrap(), Standing::Made);
    assert_eq!(renew(&other, theirs).unwrap(), Standing::Taken);
    let second = stand.ocsp().responder().unwrap();
    assert_ne!(second.serial(), first.serial());
    assert_eq!(theirs.responder().unwrap().serial(), second.serial());
    // Two that find at once that the next is due: the record lets one make it.
    stand.ca.hands.forward(7 * 86_400 / 2);
    let outcomes = [renew(&stand.house, stand.ocsp()), renew(&other, theirs)].map(Result::unwrap);
    assert_eq!(outcomes, [Standing::Made, Standing::Taken]);
}

/// Nobody asks whether a responder is revoked, so its own house does: what it signed is used no more.
#[actix_web::test]
async fn a_revoked_delegate() {
    let stand = Stand::new();
    let service = serve!(stand);
    stand.issued(1);
    assert_eq!(said!(stand, &service, 1), Ok(CertStatus::Good));
    let first = stand.ocsp().responder().unwrap();
    let row = stand.store.certificate(first.serial().octets()).unwrap().unwrap();
    stand.store.revoke(row.id, Superseded, "", &admin_audit()).unwrap();
    stand.ca.hands.forward(60);
    assert_eq!(renew(&stand.house, stand.ocsp()).unwrap(), Standing::Made);
    assert_eq!(stand.ocsp().answers.count(), 0);
    let answer = stand.believe(&post!(&service, stand.ask(1))).unwrap();
    assert_eq!(answer.this_update().0, stand.now());
    // Its key is compromised: it never answers again.
    let second = stand.ocsp().responder().unwrap();
    let row = stand.store.certificate(second.serial().octets()).unwrap().unwrap();
    stand.store.revoke(row.id, KeyCompromise, "", &admin_audit()).unwrap();
    stand.ca.hands.forward(60);
    let refusal = renew(&stand.house, stand.ocsp()).unwrap_err();
    assert!(matches!(refusal, DelegateFault::Refused(_)), "{refusal}");
    assert_eq!(said!(stand, &service, 1), refused(OcspRefusal::TryLater));
}

/// No delegate can be made: the signer is away, or the record is being written by another server that does not finish.
#[actix_web::test]
async fn a_delegate_that_has_to_wait() {
    let ca = Ca::rehearse();
    let (store, key) = (ca.store(), Arc::new(MoodyKey::generate()));
    let house = Arc::new(House::new(parts(&ca, &store, &key, terms())).unwrap());
    let ocsp = house.ocsp.as_ref().unwrap();
    ca.key.set(Mood::Away);
    let fault = renew(&house, ocsp).unwrap_err();
    assert!(matches!(fault, DelegateFault::Later(_)), "{fault}");
    assert!(ocsp.responder().is_none());
    ca.key.set(Mood::Works);
    // What was begun stands in the way until its deadline has passed.
    let fault = renew(&house, ocsp).unwrap_err();
    assert!(matches!(fault, DelegateFault::Later(_)), "{fault}");
    ca.hands.forward(31);
    assert_eq!(renew(&house, ocsp).unwrap(), Standing::Made);
}

/// R12: a responder that may not be one does not start.
#[actix_web::test]
async fn responders_that_do_not_start() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let refused = ca.refused(parts(&ca, &store, &ca.key, terms()));
    assert!(
        matches!(&refused, StartError::Refused(why) if why.contains("one of its own")),
        "{refused}"
    );
    let mute = Arc::new(MoodyKey::generate());
    mute.set(Mood::Corrupt);
    let refused = ca.refused(parts(&ca, &store, &mute, terms()));
    assert!(matches!(&refused, StartError::Refused(_)), "{refused}");
    mute.set(Mood::Away);
    let refused = ca.refused(parts(&ca, &store, &mute, terms()));
    assert!(matches!(&refused, StartError::NotNow(_)), "{refused}");
    // Without a profile for it.
    let none = Parts {
        profiles: Profiles::from_sources(&[]).unwrap(),
        ..parts(&ca, &store, &Arc::new(MoodyKey::generate()), terms())
    };
    let house = House::new(none).unwrap();
    let fault = renew(&house, house.ocsp.as_ref().unwrap()).unwrap_err();
    assert!(matches!(fault, DelegateFault::Refused(_)), "{fault}");
}

/// What lies in the record as a responder's certificate, and may not be one.
#[actix_web::test]
async fn a_certificate_in_the_record_that_is_no_responders() {
    let ca = Ca::rehearse();
    let (store, key) = (ca.store(), Arc::new(MoodyKey::generate()));
    let house = Arc::new(House::new(parts(&ca, &store, &key, terms())).unwrap());
    let stand = Stand { ca, store, key, house };
    let mut intent = stand.intent(1);
    intent.profile = "ocsp".to_owned();
    intent.spki_sha256 = openssl::sha::sha256(CaKey::spki(stand.key.as_ref()));
    // The server's own TLS certificate: of this CA, and not for OCSP.
    intent.tbs = stand.ca.tls_certificate[4..stand.ca.tls_certificate.len() - 90].to_vec();
    let order = Order {
        enrollment_id: [1; 16],
        request_sha256: [3; 32],
        device: None,
        evidence: None,
        transcript: None,
        renews: None,
        audit: admin_audit(),
        at: UnixTime(stand.now()),
    };
    stand.store.intend(&order, std::slice::from_ref(&intent)).unwrap();
    let record = IssuedRecord {
        serial: intent.serial,
        issuer_key_id: intent.issuer_key_id.clone(),
        certificate: stand.ca.tls_certificate.clone(),
    };
    stand.store.issued(&[1; 16], &[record]).unwrap();
    let fault = renew(&stand.house, stand.ocsp()).unwrap_err();
    let DelegateFault::Refused(why) = fault else {
        panic!("{fault}")
    };
    assert!(why.contains("not for OCSP"), "{why}");
    assert!(stand.ocsp().responder().is_none());
}

/// Without `[ocsp]` there is nothing, and with a URL of its own it answers there.
#[actix_web::test]
async fn where_it_answers() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let stand = Stand {
        house: ca.house(&store),
        key: Arc::new(MoodyKey::generate()),
        ca,
        store,
    };
    let service = serve!(stand);
    let request = TestRequest::post().uri("/ocsp").set_payload(stand.ask(1));
    assert_eq!(call!(&service, request).0, StatusCode::NOT_FOUND);
    let urls = IssuerUrls {
        ocsp: Some("http://pki.example.net/status/one/".to_owned()),
        ..IssuerUrls::default()
    };
    let parts = parts(&stand.ca, &stand.store, &stand.key, terms());
    let issuer = Issuer::from_chain(&stand.ca.chain, stand.house.issuer.algorithm(), urls).unwrap();
    let stand = Stand {
        house: Arc::new(House::new(Parts { issuer, ..parts }).unwrap()),
        ..stand
    };
    renew(&stand.house, stand.ocsp()).unwrap();
    stand.issued(1);
    let service = serve!(stand);
    for path in ["/status/one", "/status/one/"] {
        let request = TestRequest::post()
            .uri(path)
            .insert_header((header::CONTENT_TYPE, "application/ocsp-request"))
            .set_payload(stand.ask(1));
        let (status, _, body) = call!(&service, request);
        assert_eq!(status, StatusCode::OK, "{path}");
        stand.believe(&body).unwrap();
    }
    assert_eq!(
        call!(&service, TestRequest::post().uri("/ocsp")).0,
        StatusCode::NOT_FOUND
    );
    let _ = limits();
}
