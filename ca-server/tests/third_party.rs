//! Third-party issuance on real stores: one CA makes IAK and IDevID, another, which never saw the EK, issues on them; and
//! what is refused by exactly which check.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod kit;
#[path = "third_party/named.rs"]
mod named;

use std::sync::{Arc, Barrier};

use attest::iak::{IakEvidenceFields, Manufacturers};
use attest::rot::{Basis, ID_ROT_BINDING, RotStatement};
use attest::trust::{About, AnchorSource, HashOf, RefusedHash, TrustSources};
use attest::{AnchorKind, KeyAlgorithm};
use ca_server::flow::enroll::{self, ActivateError, Activation, BeginError};
use ca_server::flow::renew::{self, RenewError};
use ca_server::flow::{Failure, iak, replace, revoke};
use ca_server::house::House;
use device_kit::keys::{Shape, SoftKey, native};
use device_kit::soft_tpm::SoftTpm;
use kit::{Ca, admin_audit, allow};
use policies::Profiles;
use schema::{AllowDevice, Store};
use wire::enrollment::EnrollmentResult;
use wire::renewal::RenewalRequest;
use wire::revocation::RevocationReason;
use wire::third_party::{CertificationRequest, IakChallenge, IakCredentials, IakRenewalRequest};

const IP: &str = "192.0.2.1";
const DAY: i64 = 86_400;

/// A device as its manufacturer left it.
struct Made {
    tpm: SoftTpm,
    iak: Vec<u8>,
    idevid: Vec<u8>,
}

/// The manufacturer's CA; and another, with another database and no anchor for his EKs.
struct Bench {
    maker: Ca,
    maker_store: Store,
    maker_house: Arc<House>,
    ca: Ca,
    store: Store,
    house: Arc<House>,
}

fn sources(maker: &Ca) -> TrustSources {
    TrustSources {
        about: About::Iak,
        anchors: vec![AnchorSource {
            name: "acme-devices".to_owned(),
            certificate: maker.chain[1].clone(),
            kind: AnchorKind::Software,
            manufacturers: Vec::new(),
            enforce_expiry: true,
        }],
        ..TrustSources::default()
    }
}

fn identity_key() -> SoftKey {
    SoftKey::generate(Shape::identity(KeyAlgorithm::P256))
}

fn attestation_key() -> SoftKey {
    SoftKey::generate(Shape::ak(KeyAlgorithm::P256))
}

impl Bench {
    fn new() -> Self {
        Self::with(|_, _| ())
    }

    fn with(change: impl FnOnce(&Ca, &mut ca_server::house::Parts)) -> Self {
        let (maker, ca) = (Ca::rehearse(), Ca::rehearse());
        let (maker_store, store) = (maker.store(), ca.store());
        let maker_house = maker.house(&maker_store);
        let mut parts = ca.parts(&store);
        parts.manufacturers = Manufacturers::of(sources(&maker)).unwrap();
        change(&maker, &mut parts);
        let house = Arc::new(House::new(parts).unwrap());
        Self {
            maker,
            maker_store,
            maker_house,
            ca,
            store,
            house,
        }
    }

    /// A device of the manufacturer, known to him by its EK.
    fn make(&self, name: &str) -> Made {
        let tpm = SoftTpm::p256(&self.maker.vendor);
        allow(&self.maker_store, name, Some(tpm.ek.sha256()), None);
        let request = tpm.request("device-idevid", Some("device-iak"), None);
        let challenge = enroll::begin(&self.maker_house, IP, request).unwrap();
        let answer = tpm.answer(&challenge).unwrap();
        let done = enroll::activate(&self.maker_house, IP, challenge.id, &answer).unwrap();
        let Activation::Done(result) = done else {
            panic!("under way")
        };
        let of = |profile: &str| {
            let found = result.certificates.iter().find(|c| c.profile == profile).unwrap();
            found.certificate.0.clone()
        };
        Made {
            iak: of("device-iak"),
            idevid: of("device-idevid"),
            tpm,
        }
    }

    fn papers(&self, made: &Made) -> IakCredentials {
        IakCredentials {
            certificate: made.iak.clone().into(),
            idevid: Some(made.idevid.clone().into()),
            chain: vec![self.maker.chain[0].clone().into()],
            public: made.tpm.ak.public.clone().into(),
        }
    }

    /// Expect a device, by its IAK or by whoever claims its name.
    fn expect(&self, name: &str, iak: Option<&Made>) {
        expect(&self.store, name, iak, self.ca.hands.now());
    }

    fn ask(&self, made: &Made, lak: bool, device: Option<&str>) -> Result<IakChallenge, BeginError> {
        let profile = lak.then_some("device-lak");
        let request = made
            .tpm
            .iak_request("device-ldevid", profile, device, self.papers(made));
        iak::begin(&self.house, IP, request).map_err(|failure| failure.error)
    }

    fn certify(
        &self,
        challenge: &IakChallenge,
        request: &CertificationRequest,
    ) -> Result<EnrollmentResult, ActivateError> {
        match iak::certify(&self.house, IP, challenge.id, request) {
            Ok(Activation::Done(result)) => Ok(result),
            Ok(Activation::UnderWay(_)) => panic!("under way"),
            Err(Failure { error, .. }) => Err(error),
        }
    }

    fn enroll(&self, made: &Made, key: &SoftKey, device: Option<&str>) -> Result<EnrollmentResult, ActivateError> {
        let challenge = self.ask(made, false, device).unwrap();
        self.certify(&challenge, &made.tpm.certify(&challenge, key, None, None))
    }

    fn ask_again(&self, certificate: &[u8]) -> Result<IakChallenge, RenewError> {
        iak::begin_renewal(&self.house, IP, Some(certificate), IakRenewalRequest::default())
            .map_err(|failure| failure.error)
    }

    fn renew(&self, made: &Made, certificate: &[u8], key: &SoftKey) -> Result<Vec<u8>, RenewError> {
        let challenge = self.ask_again(certificate)?;
        let request = made.tpm.certify(&challenge, key, None, Some(certificate));
        self.certify_again(certificate, &challenge, &request)
    }

    fn certify_again(
        &self,
        certificate: &[u8],
        challenge: &IakChallenge,
        request: &CertificationRequest,
    ) -> Result<Vec<u8>, RenewError> {
        match iak::certify_renewal(&self.house, IP, Some(certificate), challenge.id, request) {
            Ok(Activation::Done(result)) => Ok(result.certificates[0].certificate.0.clone()),
            Ok(Activation::UnderWay(_)) => panic!("under way"),
            Err(Failure { error, .. }) => Err(error),
        }
    }
}

fn expect(store: &Store, name: &str, iak: Option<&Made>, now: i64) {
    let device = AllowDevice {
        ek_kind: None,
        name: name.to_owned(),
        ek_spki_sha256: None,
        iak_spki_sha256: iak.map(|made| attest::sha256(&made.tpm.ak.spki)),
        first_contact_until: iak.is_none().then_some(now + DAY),
        dns_names: Vec::new(),
        spiffe_id: None,
        batch: None,
    };
    store.allow_device(&device, &admin_audit()).unwrap();
}

fn certificate(result: &EnrollmentResult, profile: &str) -> Vec<u8> {
    let found = result.certificates.iter().find(|c| c.profile == profile).unwrap();
    found.certificate.0.clone()
}

fn statement(der: &[u8]) -> RotStatement {
    use der::Decode as _;
    let read = x509_cert::Certificate::from_der(der).unwrap();
    let mut all = read.tbs_certificate().extensions().unwrap().iter();
    let found = all.find(|e| e.extn_id == ID_ROT_BINDING).unwrap();
    RotStatement::from_der(found.extn_value.as_bytes()).unwrap()
}

fn policies_of(der: &[u8]) -> String {
    let text = openssl::x509::X509::from_der(der).unwrap().to_text().unwrap();
    String::from_utf8(text).unwrap()
}

#[track_caller]
fn attestation<T: core::fmt::Debug>(outcome: Result<T, ActivateError>, wanted: &str) {
    match outcome {
        Err(ActivateError::Attestation { reason, .. }) => assert_eq!(reason, wanted),
        other => panic!("{other:?}, wanted {wanted}"),
    }
}

#[track_caller]
fn not_begun(outcome: Result<IakChallenge, BeginError>, wanted: &str) {
    match outcome {
        Err(BeginError::Attestation(refusal)) => assert_eq!(refusal.reason.as_str(), wanted, "{}", refusal.detail),
        other => panic!("{other:?}, wanted {wanted}"),
    }
}

#[test]
fn a_ca_that_never_saw_the_device_issues_on_its_makers_word() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    let (key, lak) = (identity_key(), attestation_key());
    let challenge = bench.ask(&made, true, None).unwrap();
    let request = made.tpm.certify(&challenge, &key, Some(&lak), None);
    let result = bench.certify(&challenge, &request).unwrap();
    assert_eq!(result.device, "gw-1");
    let (ldevid, lak_cert) = (
        certificate(&result, "device-ldevid"),
        certificate(&result, "device-lak"),
    );
    for (der, of) in [(&ldevid, &key), (&lak_cert, &lak)] {
        let read = openssl::x509::X509::from_der(der).unwrap();
        assert_eq!(read.public_key().unwrap().public_key_to_der().unwrap(), of.spki);
        let RotStatement::Certified(binding) = statement(der) else {
            panic!("another basis")
        };
        assert_eq!(binding.basis, Basis::IakCertified);
        assert_eq!(binding.iak_certificate_sha256.as_bytes(), attest::sha256(&made.iak));
        assert_eq!(binding.iak_spki_sha256.as_bytes(), attest::sha256(&made.tpm.ak.spki));
        assert_eq!(
            (binding.iak_name.as_bytes(), binding.ik_name.as_bytes()),
            (&*made.tpm.ak.name(), &*of.name())
        );
        // The maker's certificate says which EK it was: taken over as his word.
        assert_eq!(binding.ek_spki_sha256.unwrap().as_bytes(), made.tpm.ek.sha256());
    }
    // Levels of an endorsement are not claimed; a rehearsal's maker is software, as his own certificate says.
    assert!(policies_of(&ldevid).contains("1.3.6.1.4.1.32473.27071.2.4"));
    // Before and after: the maker's certificates state the EK's own answer.
    assert_eq!(statement(&made.iak).basis(), Basis::EkActivation);

    // The record links to the proof it stood on.
    let proof = bench.store.iak_proof(&result.id.0).unwrap().unwrap();
    assert_eq!(proof.certificate_sha256, attest::sha256(&made.iak));
    assert_eq!(proof.idevid_sha256, Some(attest::sha256(&made.idevid)));
    assert_eq!(proof.ek_spki_sha256, Some(made.tpm.ek.sha256()));
    assert_eq!(
        (proof.anchor.as_str(), proof.assurance.as_str()),
        ("acme-devices", "software")
    );
    let evidence = bench.store.evidence(&result.id.0).unwrap().unwrap();
    let fields = IakEvidenceFields::parse(&evidence.bytes).unwrap();
    assert_eq!((fields.certificate, fields.idevid), (&*made.iak, &*made.idevid));
    let status = revoke::status(&bench.house, &hex::decode(&result.certificates[0].serial).unwrap()).unwrap();
    assert_eq!(
        status.iak_proof.unwrap().certificate_sha256,
        hex::encode(attest::sha256(&made.iak))
    );
    let row = bench.store.device_by_name("gw-1").unwrap().unwrap();
    assert_eq!(
        row.ek_spki_sha256,
        Some(made.tpm.ek.sha256()),
        "one TPM, one device: also by its maker's word"
    );
    assert_eq!(row.tpm, None, "no EK certificate was seen");

    // The same answer again is the same certificate, another one is a replay.
    assert_eq!(
        bench.certify(&challenge, &request).unwrap().certificates[0].serial,
        result.certificates[0].serial
    );
    let other = made.tpm.certify(&challenge, &identity_key(), Some(&lak), None);
    assert!(matches!(
        bench.certify(&challenge, &other),
        Err(ActivateError::Replayed)
    ));
}

#[test]
fn first_contact_binds_the_iak_to_the_name_it_claims() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("gw-1", None);
    let result = bench.enroll(&made, &identity_key(), Some("gw-1")).unwrap();
    assert_eq!(result.device, "gw-1");
    let row = bench
        .store
        .device_by_iak(&attest::sha256(&made.tpm.ak.spki))
        .unwrap()
        .unwrap();
    assert_eq!(row.name, "gw-1");
}

#[test]
fn the_ek_path_still_stands_beside_it() {
    let bench = Bench::with(|maker, parts| parts.anchors = maker.anchors());
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    bench.enroll(&made, &identity_key(), None).unwrap();
    // By the word of the maker this EK is that device's: it may answer for itself now, for an attestation key of its own.
    let mut own = SoftTpm::p256(&bench.maker.vendor);
    own.ek = made.tpm.ek;
    own.ek_certificate = made.tpm.ek_certificate;
    let request = own.request("device-idevid", Some("device-iak"), None);
    let challenge = enroll::begin(&bench.house, IP, request).unwrap();
    let answer = own.answer(&challenge).unwrap();
    let Activation::Done(result) = enroll::activate(&bench.house, IP, challenge.id, &answer).unwrap() else {
        panic!("under way")
    };
    assert_eq!(result.device, "gw-1");
    assert!(
        bench.store.iak_proof(&result.id.0).unwrap().is_none(),
        "it stands on the EK"
    );
}

// A14: another TPM for a name that is bound, by each of the ways to be bound.
#[test]
fn a14_another_tpm_for_a_name_that_an_iak_holds() {
    let bench = Bench::with(|maker, parts| parts.anchors = maker.anchors());
    let (made, other) = (bench.make("acme-1"), bench.make("acme-2"));
    bench.expect("gw-1", None);
    bench.enroll(&made, &identity_key(), Some("gw-1")).unwrap();
    // Another IAK of the same maker.
    let outcome = bench.enroll(&other, &identity_key(), Some("gw-1"));
    assert!(
        matches!(outcome, Err(ActivateError::IdentityConflict(_))),
        "{outcome:?}"
    );
    // Another EK.
    let challenge = enroll::begin(&bench.house, IP, other.tpm.request("device-ldevid", None, Some("gw-1"))).unwrap();
    let answer = other.tpm.answer(&challenge).unwrap();
    let outcome = enroll::activate(&bench.house, IP, challenge.id, &answer).map_err(|failure| failure.error);
    assert!(
        matches!(outcome, Err(ActivateError::IdentityConflict(_))),
        "{outcome:?}"
    );
    let row = bench.store.device_by_name("gw-1").unwrap().unwrap();
    assert_eq!(
        row.iak_spki_sha256,
        Some(attest::sha256(&made.tpm.ak.spki)),
        "unchanged"
    );
}

#[test]
fn a14_the_same_iak_for_another_name() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    bench.expect("gw-2", None);
    attestation(bench.enroll(&made, &identity_key(), Some("gw-2")), "ID_BOUND");
    assert!(bench.store.certificates_of("gw-2").unwrap().is_empty());
    // Its EK, named by the maker, is not another device's either.
    let bench = Bench::new();
    let made = bench.make("acme-1");
    allow(&bench.store, "gw-9", Some(made.tpm.ek.sha256()), None);
    bench.expect("gw-1", None);
    attestation(bench.enroll(&made, &identity_key(), Some("gw-1")), "ID_BOUND");
}

// A15: two devices race for one name, and one IAK for two names.
#[test]
fn a15_of_many_iaks_for_one_name_one_is_first() {
    let bench = Arc::new(Bench::new());
    bench.expect("gw-1", None);
    let devices: Vec<Made> = (0..4).map(|n| bench.make(&format!("acme-{n}"))).collect();
    let barrier = Barrier::new(devices.len());
    let won = std::thread::scope(|scope| {
        let runs: Vec<_> = devices
            .iter()
            .map(|made| {
                let (bench, barrier) = (&bench, &barrier);
                scope.spawn(move || {
                    let key = identity_key();
                    let challenge = bench.ask(made, false, Some("gw-1")).unwrap();
                    let request = made.tpm.certify(&challenge, &key, None, None);
                    barrier.wait();
                    bench.certify(&challenge, &request).is_ok()
                })
            })
            .collect();
        runs.into_iter()
            .map(|run| run.join().unwrap())
            .filter(|won| *won)
            .count()
    });
    assert_eq!(won, 1);
    assert_eq!(bench.store.certificates_of("gw-1").unwrap().len(), 1);
}

#[test]
fn no_initial_identity_on_a_makers_word() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    let request = made
        .tpm
        .iak_request("device-idevid", Some("device-iak"), None, bench.papers(&made));
    let challenge = iak::begin(&bench.house, IP, request).unwrap();
    let request = made
        .tpm
        .certify(&challenge, &identity_key(), Some(&attestation_key()), None);
    let outcome = bench.certify(&challenge, &request);
    assert!(matches!(outcome, Err(ActivateError::Profile(_))), "{outcome:?}");
}

#[test]
fn a_profile_says_what_it_is_issued_on() {
    let text = "name = \"device-ldevid\"\nkind = \"device-ldevid\"\nlifetime = \"90d\"\n\
                extended_key_usage = [\"clientAuth\"]\nbasis = [\"ek-activation\"]\n";
    let profiles = Profiles::from_sources(&[("p.toml".to_owned(), text.to_owned())]).unwrap();
    let bench = Bench::with(|_, parts| parts.profiles = profiles);
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    match bench.enroll(&made, &identity_key(), None) {
        Err(ActivateError::Profile(detail)) => {
            assert_eq!(detail, "`device-ldevid`: not issued on `iak-certified` proofs")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_maker_did_not_certify_as_iak_is_refused() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    // The IDevID where the IAK belongs, its public area claiming to be restricted.
    let idevid = made.tpm.identity.reshaped(|shape| {
        shape.attributes = Shape::ak(KeyAlgorithm::P256).attributes;
        shape.scheme = native(KeyAlgorithm::P256);
    });
    let papers = IakCredentials {
        certificate: made.idevid.clone().into(),
        public: idevid.public.clone().into(),
        ..bench.papers(&made)
    };
    let begin = |papers| {
        let request = made.tpm.iak_request("device-ldevid", None, None, papers);
        iak::begin(&bench.house, IP, request).map_err(|failure| failure.error)
    };
    not_begun(begin(papers), "IAK_PROFILE");
    assert_eq!(bench.ca.last_reason(), "IAK_PROFILE");
    // Its IAK, whose public area says that it signs anything.
    let loose = made.tpm.ak.reshaped(|shape| shape.attributes &= !0x0001_0000);
    let papers = IakCredentials {
        public: loose.public.clone().into(),
        ..bench.papers(&made)
    };
    not_begun(begin(papers), "AK_ATTR");
    // The maker's issuing CA is not brought.
    let papers = IakCredentials {
        chain: Vec::new(),
        ..bench.papers(&made)
    };
    not_begun(begin(papers), "IAK_CHAIN");
}

#[test]
fn another_manufacturers_device_is_refused() {
    let bench = Bench::new();
    let other = Bench::new();
    let made = other.make("acme-1");
    let request = made.tpm.iak_request("device-ldevid", None, None, other.papers(&made));
    not_begun(
        iak::begin(&bench.house, IP, request).map_err(|failure| failure.error),
        "IAK_CHAIN",
    );
    // Where nobody is believed, neither is this one; and an anchor for EKs is none for IAKs.
    let nobody = Bench::with(|maker, parts| {
        parts.manufacturers = Manufacturers::none().unwrap();
        parts.anchors = attest::trust::Anchors::new(
            vec![AnchorSource {
                name: "acme-eks".to_owned(),
                certificate: maker.chain[1].clone(),
                kind: AnchorKind::Software,
                manufacturers: vec!["id:49465800".to_owned()],
                enforce_expiry: true,
            }],
            Vec::new(),
        )
        .unwrap();
    });
    let made = nobody.make("acme-1");
    not_begun(nobody.ask(&made, false, None), "IAK_CHAIN");
}

#[test]
fn an_iak_that_fell_is_refused_at_both_calls_and_in_renewals() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    let key = identity_key();
    let first = certificate(&bench.enroll(&made, &key, None).unwrap(), "device-ldevid");
    let challenge = bench.ask(&made, false, None).unwrap();
    for of in [
        HashOf::Certificate(attest::sha256(&made.iak)),
        HashOf::Key(attest::sha256(&made.tpm.ak.spki)),
    ] {
        let mut parts = bench.ca.parts(&bench.store);
        let mut sources = sources(&bench.maker);
        sources.refused = vec![RefusedHash {
            name: "stolen".to_owned(),
            of,
        }];
        parts.manufacturers = Manufacturers::of(sources).unwrap();
        let house = House::new(parts).unwrap();
        let request = made.tpm.iak_request("device-ldevid", None, None, bench.papers(&made));
        not_begun(
            iak::begin(&house, IP, request).map_err(|failure| failure.error),
            "IAK_REFUSED",
        );
        let answer = made.tpm.certify(&challenge, &key, None, None);
        let outcome = iak::certify(&house, IP, challenge.id, &answer)
            .map(|_| ())
            .map_err(|f| f.error);
        attestation(outcome, "TICKET");
        let outcome = iak::begin_renewal(&house, IP, Some(&first), IakRenewalRequest::default());
        match outcome.map_err(|failure| failure.error) {
            Err(RenewError::Issue(ActivateError::Attestation { reason, .. })) => assert_eq!(reason, "IAK_REFUSED"),
            other => panic!("{other:?}"),
        }
    }
    // With the trust of before it is renewed: nothing else stood in the way.
    bench.renew(&made, &first, &key).unwrap();
}

#[test]
fn only_the_iaks_own_word_over_this_conversation_counts() {
    let bench = Bench::new();
    let (made, other) = (bench.make("acme-1"), bench.make("acme-2"));
    bench.expect("gw-1", Some(&made));
    let key = identity_key();
    let fresh = || bench.ask(&made, false, None).unwrap();

    // Certified by another attestation key, as good as this one.
    let challenge = fresh();
    attestation(
        bench.certify(&challenge, &other.tpm.certify(&challenge, &key, None, None)),
        "CERT_SIG",
    );
    // A statement of another conversation, under this one's ticket.
    let (challenge, before) = (fresh(), fresh());
    let mut request = made.tpm.certify(&before, &key, None, None);
    request.ticket = challenge.ticket.clone();
    attestation(bench.certify(&challenge, &request), "CERT_NONCE");
    // The other's ticket with it.
    let request = made.tpm.certify(&before, &key, None, None);
    attestation(bench.certify(&challenge, &request), "TICKET");
    // A key that is not in that TPM: the statement is about the one there.
    let challenge = fresh();
    let mut request = made.tpm.certify(&challenge, &key, None, None);
    request.key.public = identity_key().public.clone().into();
    attestation(bench.certify(&challenge, &request), "CERT_NAME");
    // An imported one, which a genuine IAK certifies as readily.
    let imported = key.reshaped(|shape| shape.attributes &= !0x20);
    let challenge = fresh();
    attestation(
        bench.certify(&challenge, &made.tpm.certify(&challenge, &imported, None, None)),
        "KEY_ATTR",
    );
    // A LAK that signs anything.
    let challenge = bench.ask(&made, true, None).unwrap();
    let loose = attestation_key().reshaped(|shape| shape.attributes &= !0x0001_0000);
    attestation(
        bench.certify(&challenge, &made.tpm.certify(&challenge, &key, Some(&loose), None)),
        "AK_ATTR",
    );
    assert!(
        bench.store.certificates_of("gw-1").unwrap().is_empty(),
        "nothing was signed"
    );
    // The honest answer to the same kind of question is taken.
    bench.enroll(&made, &key, None).unwrap();
}

#[test]
fn an_expired_manufacturer_is_refused() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.ask(&made, false, None).unwrap();
    bench.ca.hands.forward(25 * 365 * DAY);
    not_begun(bench.ask(&made, false, None), "IAK_CHAIN");
}

#[test]
fn a_renewal_asks_the_iak_again() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    let key = identity_key();
    let first = certificate(&bench.enroll(&made, &key, None).unwrap(), "device-ldevid");
    bench.ca.hands.forward(200 * DAY);
    let second = bench.renew(&made, &first, &key).unwrap();
    assert_eq!(statement(&second).basis(), Basis::IakCertified);
    let third = bench.renew(&made, &second, &identity_key()).unwrap();
    let rows = bench.store.certificates_of("gw-1").unwrap();
    let kin = bench.store.lineage(rows[0].id).unwrap();
    let kin: Vec<_> = kin.into_iter().filter_map(|row| row.certificate).collect();
    assert_eq!(kin, [first.clone(), second.clone(), third.clone()]);
    let evidence = bench.store.evidence(&rows[0].enrollment_id).unwrap().unwrap();
    let fields = IakEvidenceFields::parse(&evidence.bytes).unwrap();
    assert_eq!(fields.renewed, Some(&attest::sha256(&second)[..]));
    assert!(bench.store.iak_proof(&rows[0].enrollment_id).unwrap().is_some());
}

// A14, P05: a thief with the certificate and its key has not the IAK; and the ways do not mix.
#[test]
fn a_thief_with_certificate_and_key_does_not_renew() {
    let bench = Bench::with(|maker, parts| parts.anchors = maker.anchors());
    let (made, thief) = (bench.make("acme-1"), bench.make("acme-2"));
    bench.expect("gw-1", Some(&made));
    let key = identity_key();
    let first = certificate(&bench.enroll(&made, &key, None).unwrap(), "device-ldevid");
    let refused = |outcome: Result<Vec<u8>, RenewError>, wanted: &str| match outcome {
        Err(RenewError::Issue(ActivateError::Attestation { reason, .. })) => assert_eq!(reason, wanted),
        other => panic!("{other:?}"),
    };
    refused(bench.renew(&thief, &first, &key), "CERT_SIG");
    // A statement of an enrollment renews nothing.
    let challenge = bench.ask_again(&first).unwrap();
    let request = made.tpm.certify(&challenge, &key, None, None);
    refused(bench.certify_again(&first, &challenge, &request), "CERT_NONCE");
    // A ticket of an enrollment neither.
    let enrollment = bench.ask(&made, false, None).unwrap();
    let request = made.tpm.certify(&enrollment, &key, None, Some(&first));
    refused(bench.certify_again(&first, &enrollment, &request), "TICKET");
    // Nor the way of endorsement keys, which it never stood on; nor this way for who did.
    let outcome = renew::begin(&bench.house, IP, Some(&first), RenewalRequest::default());
    let error = outcome.map_err(|failure| failure.error).unwrap_err();
    assert!(
        matches!(error, RenewError::Issue(ActivateError::Profile(_))),
        "{error:?}"
    );
    let tpm = SoftTpm::p256(&bench.maker.vendor);
    allow(&bench.store, "gw-5", Some(tpm.ek.sha256()), None);
    let challenge = enroll::begin(&bench.house, IP, tpm.request("device-ldevid", None, None)).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    let Activation::Done(result) = enroll::activate(&bench.house, IP, challenge.id, &answer).unwrap() else {
        panic!("under way")
    };
    let by_ek = result.certificates[0].certificate.0.clone();
    let error = bench.ask_again(&by_ek).unwrap_err();
    assert!(
        matches!(error, RenewError::Issue(ActivateError::Profile(_))),
        "{error:?}"
    );
    // Revoked is revoked.
    let serial = openssl::x509::X509::from_der(&first).unwrap();
    let serial = serial.serial_number().to_bn().unwrap().to_vec();
    revoke::revoke(&bench.house, "uid:7", &serial, RevocationReason::CertificateHold, None).unwrap();
    let error = bench.ask_again(&first).unwrap_err();
    assert!(
        matches!(error, RenewError::Issue(ActivateError::Revoked(_))),
        "{error:?}"
    );
    revoke::release(&bench.house, "uid:7", &serial, None).unwrap();
    bench.renew(&made, &first, &key).unwrap();
}

// A53: a copied virtual TPM has the same IAK, and asks on a key of its own.
#[test]
fn a53_a_copy_of_the_tpm_gets_no_second_identity() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    let key = identity_key();
    let first = certificate(&bench.enroll(&made, &key, None).unwrap(), "device-ldevid");
    let outcome = bench.enroll(&made, &identity_key(), None);
    assert!(
        matches!(outcome, Err(ActivateError::IdentityConflict(_))),
        "{outcome:?}"
    );
    // Nor do both renew: one is first, and the other is told.
    bench.renew(&made, &first, &key).unwrap();
    let error = bench.renew(&made, &first, &key).unwrap_err();
    assert!(matches!(error, RenewError::Issue(ActivateError::Replaced)), "{error:?}");
}

// A53: the manufacturer's key is copied with its TPM; the CA that never saw the device finds it by the clock all the same.
#[test]
fn a53_a_copy_is_found_by_the_clock_of_the_iak() {
    let bench = Bench::new();
    let mut made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    let key = identity_key();
    let first = certificate(&bench.enroll(&made, &key, None).unwrap(), "device-ldevid");
    made.tpm.clock.reset_count += 2;
    let second = bench.renew(&made, &first, &key).unwrap();
    bench.ca.hands.forward(100);
    made.tpm.clock.reset_count -= 1;
    let error = bench.renew(&made, &second, &key).unwrap_err();
    assert!(matches!(error, RenewError::Issue(ActivateError::Clock(_))), "{error:?}");
    assert!(bench.store.device_by_name("gw-1").unwrap().unwrap().held);
    bench.store.hold_device("gw-1", false, &admin_audit()).unwrap();
    bench.renew(&made, &second, &key).unwrap();
}

// A14, and the way people go: another TPM for a device that only its manufacturer knows.
#[test]
fn a_tpm_known_by_its_iak_is_replaced_by_two_people() {
    let bench = Bench::new();
    let (old, new) = (bench.make("acme-1"), bench.make("acme-2"));
    bench.expect("gw-1", Some(&old));
    let key = identity_key();
    let first = certificate(&bench.enroll(&old, &key, None).unwrap(), "device-ldevid");
    let wish = replace::Wish {
        device: "gw-1",
        new_tpm: schema::NewTpm::Iak(attest::sha256(&new.tpm.ak.spki)),
        revocation: RevocationReason::Superseded,
        reason: "board swap",
        valid_for: None,
    };
    let asked = replace::request(&bench.house, "alice", &wish).unwrap();
    assert_eq!(
        asked.iak_spki_sha256,
        Some(hex::encode(attest::sha256(&new.tpm.ak.spki)))
    );
    assert!(
        asked.old_ek_spki_sha256.is_some(),
        "his certificate names the EK: by that it goes"
    );
    // Until another person says so, nothing has changed.
    bench.enroll(&old, &key, None).unwrap();
    replace::decide(&bench.house, "bob", asked.id, true, None).unwrap();
    let error = bench.ask_again(&first).unwrap_err();
    assert!(
        matches!(error, RenewError::Issue(ActivateError::Revoked(_))),
        "{error:?}"
    );
    attestation(bench.enroll(&old, &key, None), "EK_REPLACED");
    assert_eq!(bench.enroll(&new, &identity_key(), None).unwrap().device, "gw-1");
}

/// A device whose manufacturer names no EK: known by the IAK alone.
#[test]
fn an_iak_that_went_with_its_tpm_does_not_come_back_at_first_contact() {
    let bench = Bench::new();
    let (old, new) = (bench.make("acme-1"), bench.make("acme-2"));
    bench.expect("gw-1", Some(&old));
    let wish = replace::Wish {
        device: "gw-1",
        new_tpm: schema::NewTpm::FirstContact(3_600),
        revocation: RevocationReason::Superseded,
        reason: "never seen, and gone",
        valid_for: None,
    };
    let asked = replace::request(&bench.house, "alice", &wish).unwrap();
    assert_eq!(
        asked.old_iak_spki_sha256,
        Some(hex::encode(attest::sha256(&old.tpm.ak.spki)))
    );
    replace::decide(&bench.house, "bob", asked.id, true, None).unwrap();
    let refused = bench.enroll(&old, &identity_key(), Some("gw-1"));
    attestation(refused, "EK_REPLACED");
    let came = bench.enroll(&new, &identity_key(), Some("gw-1")).unwrap();
    assert_eq!(came.device, "gw-1");
}

// RFC 9773: a device that stands on its manufacturer's word is told when to renew, and called, as any other.
#[test]
fn renewal_information_is_for_who_stands_on_an_iak_too() {
    use wire::renewal::CertificateId;
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    let first = certificate(&bench.enroll(&made, &identity_key(), None).unwrap(), "device-ldevid");
    let row = bench.store.certificates_of("gw-1").unwrap().remove(0);
    let id = CertificateId {
        issuer_key_id: row.issuer_key_id.clone(),
        serial: row.serial.clone(),
    };
    let told = || {
        let window = renew::info(&bench.house, &id).unwrap().suggested_window;
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
        (at(&window.start), at(&window.end))
    };
    let life = row.not_after - row.not_before;
    assert_eq!(told().0, row.not_before + life / 3 * 2);
    let now = bench.ca.hands.now();
    assert!(bench.store.call_renewal("gw-1", 60, &admin_audit()).unwrap());
    let (start, end) = told();
    assert!(start <= now && end - start == 60, "{start} {end} {now}");
    let second = bench.renew(&made, &first, &identity_key()).unwrap();
    assert_ne!(second, first);
}

#[test]
fn what_has_ended_is_enrolled_again_by_the_iak() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    let key = identity_key();
    let first = certificate(&bench.enroll(&made, &key, None).unwrap(), "device-ldevid");
    // While it lives, the same key gets it back, and another key is a conflict.
    assert_eq!(
        certificate(&bench.enroll(&made, &key, None).unwrap(), "device-ldevid"),
        first
    );
    let outcome = bench.enroll(&made, &identity_key(), None);
    assert!(
        matches!(outcome, Err(ActivateError::IdentityConflict(_))),
        "{outcome:?}"
    );
    bench.ca.hands.forward(400 * DAY);
    assert!(matches!(bench.ask_again(&first), Err(RenewError::Ended)));
    let again = certificate(&bench.enroll(&made, &key, None).unwrap(), "device-ldevid");
    assert_ne!(again, first);
}

/// What was issued on an IAK's word is checked again out of its bundle, and decided again, where no server is.
#[test]
fn a_bundle_of_an_iak_is_checked_and_decided_again() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("gw-1", Some(&made));
    let challenge = bench.ask(&made, true, None).unwrap();
    let request = made
        .tpm
        .certify(&challenge, &identity_key(), Some(&attestation_key()), None);
    let result = bench.certify(&challenge, &request).unwrap();
    assert_eq!(result.certificates.len(), 2);
    let first = certificate(&result, "device-ldevid");
    let renewed = bench.renew(&made, &first, &identity_key()).unwrap();
    let serial = openssl::x509::X509::from_der(&renewed).unwrap();
    let mut serials = vec![serial.serial_number().to_bn().unwrap().to_vec()];
    serials.extend(result.certificates.iter().map(|one| hex::decode(&one.serial).unwrap()));
    for serial in serials {
        let archive = ca_server::flow::bundle::export(&bench.house, "uid:0", &serial).unwrap();
        let bundle = bundle::Bundle::read(&archive).unwrap();
        let trust = bundle::Trust {
            iak_roots: vec![bench.maker.chain[1].clone()],
            ..bundle::Trust::default()
        };
        let refused = |bundle: &bundle::Bundle| -> Vec<(&'static str, String)> {
            bundle::verify(bundle, &bundle.certificate, &trust)
                .into_iter()
                .filter_map(|check| Some((check.id, check.found.err()?)))
                .collect()
        };
        let ids = |found: Vec<(&'static str, String)>| found.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        // There is no ledger here; nothing else refuses.
        assert_eq!(ids(refused(&bundle)), ["ledger", "signature"]);
        let decided = bundle::verify(&bundle, &bundle.certificate, &trust).pop().unwrap();
        assert!(decided.found.unwrap().starts_with("decided again, the same"));
        // Without the policy it is not what was exported.
        let less = bundle::Bundle { policy: None, ..bundle };
        assert_eq!(ids(refused(&less)), ["ledger", "signature", "policy", "decision"]);
    }
}
