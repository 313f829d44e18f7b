//! Honest devices enroll, on both databases, and everybody reads what they got.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use attest::rot::{ID_ROT_BINDING, RotBinding, RotKind};
use attest::{EvidenceFields, KeyAlgorithm};
use der::Decode as _;
use device_kit::endorsement::Template;
use device_kit::keys::{Hash, Scheme, SoftKey};
use device_kit::rig::{Rig, Wanted, expected};
use device_kit::soft_tpm::SoftTpm;
use device_kit::verifiers::{Files, webpki};
use openssl::x509::X509;
use webpki::KeyUsage;
use wire::admin::AllowDevice;
use wire::enrollment::{EnrollmentResult, EnrollmentState, IssuedCertificate, Issuers, KeyRole, RotEvidence};

use KeyAlgorithm::{P256, P384, Rsa2048, Rsa3072};

/// The extension of this OID in a certificate: (critical, value).
fn extension(certificate: &[u8], oid: der::oid::ObjectIdentifier) -> (bool, Vec<u8>) {
    let certificate = x509_cert::Certificate::from_der(certificate).unwrap();
    let found: Vec<_> = certificate
        .tbs_certificate()
        .extensions()
        .expect("extensions")
        .iter()
        .filter(|e| e.extn_id == oid)
        .collect();
    assert_eq!(found.len(), 1, "{oid} stands once");
    (found[0].critical, found[0].extn_value.as_bytes().to_vec())
}

fn chain(result: &EnrollmentResult) -> Vec<Vec<u8>> {
    result.chain.iter().map(|c| c.0.clone()).collect()
}

fn only(result: &EnrollmentResult) -> &IssuedCertificate {
    assert_eq!(result.state, EnrollmentState::Issued);
    assert_eq!(result.certificates.len(), 1);
    &result.certificates[0]
}

/// What every relying party does: OpenSSL, rustls-webpki, ours.
fn everybody_agrees(rig: &Rig, result: &EnrollmentResult) {
    let chain = chain(result);
    assert_eq!(chain.last(), Some(&rig.root));
    for certificate in &result.certificates {
        let der = &certificate.certificate.0;
        let what = &certificate.profile;
        let files = Files::new(der, &chain);
        files.openssl().unwrap_or_else(|e| panic!("{what}: {e}"));
        webpki(der, &chain, KeyUsage::client_auth()).unwrap_or_else(|e| panic!("{what}: {e}"));
        let level = if what == "service" { "none" } else { "hardware-verified" };
        let (code, said) = files.ours(rig, &["--rehearsal", "--level", level]);
        assert_eq!(code, Some(0), "{what}: {said}");
        let (code, said) = files.ours(rig, &["--level", level]);
        assert_eq!(code, Some(3), "a rehearsal passes for nothing else: {said}");
    }
}

/// The RoT binding in a certificate says what the kit knows of the device and what the database keeps.
fn binding_is_of(rig: &Rig, tpm: &SoftTpm, result: &EnrollmentResult) {
    let tree = rig.tree(&result.device).unwrap();
    let evidence = tree.evidence.iter().find(|e| e.enrollment == result.id).unwrap();
    let digest = openssl::sha::sha256(&evidence.bytes.0);
    assert_eq!(evidence.sha256, hex::encode(digest));
    let fields = EvidenceFields::parse(&evidence.bytes.0).unwrap();
    assert_eq!(fields.id, result.id.0);
    assert_eq!(fields.ek_certificate, tpm.ek_certificate);
    assert_eq!(fields.ek_public, tpm.ek.public);
    assert_eq!(fields.ak_public, tpm.ak.public);
    assert_eq!(fields.key_public, tpm.identity.public);
    let ek = hex::encode(tpm.ek.sha256());
    assert_eq!(tree.device.ek_spki_sha256.as_deref(), Some(ek.as_str()));
    let facts = tree.device.tpm.unwrap();
    assert_eq!(
        facts.ek_certificate_sha256,
        hex::encode(openssl::sha::sha256(&tpm.ek_certificate))
    );
    for certificate in &result.certificates {
        let (critical, value) = extension(&certificate.certificate.0, ID_ROT_BINDING);
        assert!(!critical);
        let binding = RotBinding::from_der(&value).unwrap();
        let key: &SoftKey = match certificate.key {
            KeyRole::Attestation => &tpm.ak,
            KeyRole::Identity => &tpm.identity,
        };
        assert_eq!((binding.version, binding.rot_kind), (1, RotKind::Tpm));
        assert_eq!(binding.ek_spki_sha256.as_bytes(), tpm.ek.sha256());
        assert_eq!(binding.ak_name.as_bytes(), tpm.ak.name());
        assert_eq!(binding.ik_name.as_bytes(), key.name());
        assert_eq!(binding.evidence_sha256.as_bytes(), digest);
        assert_eq!(binding.parent_rot, None);
        let spki = X509::from_der(&certificate.certificate.0)
            .and_then(|c| c.public_key())
            .and_then(|k| k.public_key_to_der())
            .unwrap();
        assert_eq!(spki, key.spki, "the certified key is the device's");
        let stored = tree
            .device
            .certificates
            .iter()
            .find(|c| c.serial == certificate.serial)
            .unwrap();
        assert_eq!(stored.certificate.as_ref(), Some(&certificate.certificate));
        assert_eq!(stored.state, "issued");
    }
}

/// An honest local identity, and every way to ask for it again.
fn a_local_identity(rig: &Rig) {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow("GW-1", &tpm);
    let client = rig.client();
    let before = rig.rows();
    let result = client
        .enroll(&tpm, &tpm.request("device-ldevid", None, Some("GW-1")))
        .unwrap();
    assert_eq!(result.device, "GW-1");
    let certificate = only(&result);
    assert_eq!(certificate.profile, "device-ldevid");
    assert_eq!(certificate.key, KeyRole::Identity);
    everybody_agrees(rig, &result);
    binding_is_of(rig, &tpm, &result);
    let mut rows = before;
    for table in ["certificate", "enrollment", "evidence", "identity", "key_owner"] {
        rows.entry(table).and_modify(|n| *n += 1);
    }
    // The AK is the device's for ever, like the certified key.
    rows.entry("key_owner").and_modify(|n| *n += 1);
    rows.insert("audit", rig.rows()["audit"]);
    assert_eq!(rig.rows(), rows, "one row for each thing that is new");

    let state = client.get(&format!("/v1/enrollments/{}", result.id), "");
    assert_eq!(state.status, 200);
    let stated: EnrollmentResult = serde_json::from_slice(&state.body).unwrap();
    assert_eq!(
        serde_json::to_value(&stated).unwrap(),
        serde_json::to_value(&result).unwrap()
    );

    let path = format!("/v1/certificates/{}", certificate.serial);
    let json = client.get(&path, "application/json");
    let found: IssuedCertificate = serde_json::from_slice(&json.body).unwrap();
    assert_eq!((json.status, found.certificate), (200, certificate.certificate.clone()));
    let der = client.get(&path, "application/pkix-cert");
    assert_eq!(
        (der.content_type.as_str(), &der.body),
        ("application/pkix-cert", &certificate.certificate.0)
    );
    let pem = client.get(&path, "application/pem-certificate-chain");
    let stack: Vec<Vec<u8>> = X509::stack_from_pem(&pem.body)
        .unwrap()
        .iter()
        .map(|c| c.to_der().unwrap())
        .collect();
    assert_eq!(stack, [certificate.certificate.0.clone(), chain(&result)[0].clone()]);

    let issuers: Issuers = serde_json::from_slice(&client.get("/v1/issuers", "").body).unwrap();
    assert_eq!(issuers.chain, result.chain);
    assert_eq!(issuers.root_sha256, hex::encode(openssl::sha::sha256(&rig.root)));
    let all = X509::stack_from_pem(&client.get("/v1/issuers/chain.pem", "").body).unwrap();
    let all: Vec<Vec<u8>> = all.iter().map(|c| c.to_der().unwrap()).collect();
    assert_eq!(all, chain(&result));
}

/// IAK and IDevID in one conversation: two certificates that never expire.
fn an_initial_identity(rig: &Rig) {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow("GW-2", &tpm);
    let request = tpm.request("device-idevid", Some("device-iak"), None);
    let result = rig.client().enroll(&tpm, &request).unwrap();
    let got: Vec<(&str, KeyRole)> = result
        .certificates
        .iter()
        .map(|c| (c.profile.as_str(), c.key))
        .collect();
    assert_eq!(
        got,
        [
            ("device-iak", KeyRole::Attestation),
            ("device-idevid", KeyRole::Identity)
        ]
    );
    everybody_agrees(rig, &result);
    binding_is_of(rig, &tpm, &result);
    let never = openssl::asn1::Asn1Time::from_str("99991231235959Z").unwrap();
    for certificate in &result.certificates {
        let certificate = X509::from_der(&certificate.certificate.0).unwrap();
        assert!(certificate.not_after() == never, "{}", certificate.not_after());
    }
    assert_ne!(result.certificates[0].serial, result.certificates[1].serial);
}

/// A service: names by inventory, and no word of the TPM in its SAN.
fn a_service(rig: &Rig) {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow_with(&AllowDevice {
        iak_spki_sha256: None,
        ek_spki_sha256: Some(hex::encode(tpm.ek.sha256())),
        dns_names: vec!["api.example.org".into(), "db.example.org".into()],
        spiffe_id: Some("spiffe://example.org/api".into()),
        ..expected("SRV-1")
    });
    let result = rig.client().enroll(&tpm, &tpm.request("service", None, None)).unwrap();
    everybody_agrees(rig, &result);
    binding_is_of(rig, &tpm, &result);
    let der = &only(&result).certificate.0;
    webpki(der, &chain(&result), KeyUsage::server_auth()).unwrap();
    let certificate = X509::from_der(der).unwrap();
    let names = certificate.subject_alt_names().unwrap();
    let dns: Vec<&str> = names.iter().filter_map(|n| n.dnsname()).collect();
    let uris: Vec<&str> = names.iter().filter_map(|n| n.uri()).collect();
    assert_eq!(dns, ["api.example.org", "db.example.org"]);
    assert_eq!(uris, ["spiffe://example.org/api"]);
    assert_eq!(names.len(), 3);
    assert_eq!(certificate.subject_name().entries().count(), 0);
}

/// First contact: the name opens, the first TPM that claims it is bound, the next one is not.
fn first_contact(rig: &Rig) {
    let (first, second) = (SoftTpm::p256(&rig.vendor), SoftTpm::p256(&rig.vendor));
    rig.expect_device("GW-3");
    assert_eq!(rig.device("GW-3").unwrap().state, "expected");
    let client = rig.client();
    let request = |tpm: &SoftTpm| tpm.request("device-ldevid", None, Some("GW-3"));
    client.enroll(&first, &request(&first)).unwrap();
    let device = rig.device("GW-3").unwrap();
    assert_eq!(device.state, "active");
    assert_eq!(device.ek_spki_sha256, Some(hex::encode(first.ek.sha256())));
    assert_eq!(client.enroll(&second, &request(&second)).unwrap_err().status, 409);
}

#[test]
fn honest_devices_on_sqlite() {
    let rig = Rig::running();
    a_local_identity(&rig);
    an_initial_identity(&rig);
    a_service(&rig);
    first_contact(&rig);
}

#[test]
fn honest_devices_on_postgres() {
    let rig = Rig::with(&Wanted::postgres());
    a_local_identity(&rig);
    an_initial_identity(&rig);
    a_service(&rig);
    first_contact(&rig);
}

/// Every EK template, and every algorithm and scheme of AK and identity key, at least once.
#[test]
fn every_template_and_key_algorithm() {
    let rig = Rig::running();
    let client = rig.client();
    let (rsassa, rsapss) = (Scheme::Rsassa(Hash::Sha256), Scheme::Rsapss(Hash::Sha256));
    let p256 = Scheme::Ecdsa(Hash::Sha256);
    let p384 = Scheme::Ecdsa(Hash::Sha384);
    let cases = [
        (Template::L1, Rsa2048, rsassa, P256, Scheme::Null),
        (Template::L2, P256, p256, P384, Scheme::Null),
        (Template::H1, Rsa2048, rsapss, Rsa2048, Scheme::Null),
        (Template::H2, P384, p384, Rsa3072, rsassa),
        (Template::H3, P384, p256, P384, p384),
        (Template::H4, P256, p256, Rsa2048, rsapss),
        (Template::H6, Rsa3072, Scheme::Rsassa(Hash::Sha384), P256, p256),
        (Template::H7, Rsa3072, rsapss, Rsa3072, Scheme::Null),
    ];
    assert!(Template::ALL.iter().all(|t| cases.iter().any(|c| c.0 == *t)));
    for (number, (template, ak, ak_scheme, identity, scheme)) in cases.into_iter().enumerate() {
        let mut tpm = SoftTpm::manufacture(&rig.vendor, template, ak, identity);
        tpm.ak = tpm.ak.reshaped(|shape| shape.scheme = ak_scheme);
        tpm.identity = tpm.identity.reshaped(|shape| shape.scheme = scheme);
        let name = format!("ALG-{number}");
        rig.allow(&name, &tpm);
        let request = tpm.request("device-idevid", Some("device-iak"), Some(&name));
        let result = client
            .enroll(&tpm, &request)
            .unwrap_or_else(|e| panic!("{template:?} {ak:?} {identity:?}: {e:?}"));
        everybody_agrees(&rig, &result);
        binding_is_of(&rig, &tpm, &result);
    }
}

/// Every kind of CA key signs what everybody reads. P-256 is what all other tests use; one RSA-4096 key is enough.
#[test]
fn every_kind_of_issuing_key() {
    for (number, issuing) in [
        "ecdsa-p384-sha384",
        "rsa3072-pkcs1-sha256",
        "rsa3072-pss-sha256",
        "rsa4096-pss-sha256",
    ]
    .into_iter()
    .enumerate()
    {
        let rig = Rig::with(&Wanted {
            issuing: issuing.into(),
            ..Wanted::default()
        });
        let tpm = SoftTpm::p256(&rig.vendor);
        let name = format!("CA-{number}");
        rig.allow(&name, &tpm);
        let request = tpm.request("device-idevid", Some("device-iak"), None);
        let result = rig
            .client()
            .enroll(&tpm, &request)
            .unwrap_or_else(|e| panic!("{issuing}: {e:?}"));
        everybody_agrees(&rig, &result);
        binding_is_of(&rig, &tpm, &result);
    }
}

/// A device may bring its vendor's intermediate; the evidence is its own business, the chain is checked.
#[test]
fn a_chain_through_the_vendors_intermediate() {
    let rig = Rig::running();
    let intermediate = rig.vendor.intermediate("Kit Intermediate");
    let mut tpm = SoftTpm::p256(&intermediate);
    tpm.ek_chain = vec![intermediate.certificate.clone()];
    rig.allow("GW-9", &tpm);
    let request = tpm.request("device-ldevid", None, None);
    let RotEvidence::Tpm20 { ek_chain, .. } = &request.rot;
    assert_eq!(ek_chain.len(), 1);
    let result = rig.client().enroll(&tpm, &request).unwrap();
    everybody_agrees(&rig, &result);
}
