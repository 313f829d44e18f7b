//! K01–K11: names, extensions, keys and dates nobody is entitled to, through the front door.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use attest::rot::{ID_ROT_BINDING, RotBinding};
use der::Decode as _;
use device_kit::der::{
    context, extension, generalized_time, integer, name, octets, oid, printable, sequence, set, tlv, utc_time, utf8,
};
use device_kit::keys::{Secret, Shape, SoftKey};
use device_kit::rig::{Rig, Wanted, expected};
use device_kit::soft_tpm::{EXTENSION_REQUEST, MS_CERT_EXTENSIONS, SoftTpm, csr, extension_request, san};
use device_kit::trial::{Verdict, evidence, fresh_name};
use device_kit::vendor::EkContent;
use device_kit::verifiers::{Files, webpki};
use openssl::x509::X509;
use wire::admin::AllowDevice;
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentResult};
use wire::problem::ProblemCode;

const EMPTY: [u8; 2] = [0x30, 0x00];

fn house() -> MutexGuard<'static, Rig> {
    static HOUSE: OnceLock<Mutex<Rig>> = OnceLock::new();
    HOUSE
        .get_or_init(|| Mutex::new(Rig::with(&Wanted::default().set("enrollment", "max_attempts", 1000))))
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn csr_rejected() -> Verdict {
    Verdict::of(ProblemCode::CsrRejected, "CSR_REJECTED")
}

/// The honest answer, with a request that asks for this subject and these attributes.
fn asking(
    tpm: &SoftTpm,
    challenge: &EnrollmentChallenge,
    answer: &ActivationRequest,
    subject: &[u8],
    attributes: &[Vec<u8>],
) -> ActivationRequest {
    let request = csr(&tpm.identity, subject, attributes);
    tpm.answer_with(challenge, answer.secret.0.clone(), &tpm.identity, request)
}

/// A device of its own for one conversation: each request is refused, the bare one is served.
fn each_refused(profile: &str, device: &AllowDevice, requests: &[(Vec<u8>, Vec<Vec<u8>>)]) -> EnrollmentResult {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow_with(&AllowDevice {
        iak_spki_sha256: None,
        ek_spki_sha256: Some(hex::encode(tpm.ek.sha256())),
        ..device.clone()
    });
    let client = rig.client();
    let challenge = client.begin(&tpm.request(profile, None, None)).unwrap();
    let honest = tpm.answer(&challenge).unwrap();
    for (subject, attributes) in requests {
        let attack = asking(&tpm, &challenge, &honest, subject, attributes);
        rig.refuses_activation(&client, challenge.id, &attack, csr_rejected());
    }
    client.activate(challenge.id, &honest).expect("the honest twin")
}

fn asks_for_names(names: &[Vec<u8>]) -> (Vec<u8>, Vec<Vec<u8>>) {
    (
        EMPTY.to_vec(),
        vec![extension_request(EXTENSION_REQUEST, &[san(names)])],
    )
}

fn dns(text: &str) -> Vec<u8> {
    tlv(0x82, text.as_bytes())
}

fn uri(text: &str) -> Vec<u8> {
    tlv(0x86, text.as_bytes())
}

/// Names of every form, none of which the device is entitled to.
fn foreign_names() -> Vec<Vec<u8>> {
    let upn = [oid("1.3.6.1.4.1.311.20.2.3"), context(0, &utf8("admin@example.org"))].concat();
    vec![
        dns("www.example.org"),
        tlv(0x87, &[192, 0, 2, 1]),
        tlv(0x87, &[0; 16]),
        uri("spiffe://example.org/admin"),
        tlv(0x81, b"admin@example.org"),
        context(0, &upn),
        context(4, &name(&[("2.5.4.3", "admin")])),
        tlv(0x88, &[0x2a, 0x03]),
    ]
}

#[test]
fn k01_names_in_the_request_that_nobody_entitled() {
    let device = expected(&fresh_name());
    let mut requests: Vec<_> = foreign_names().into_iter().map(|n| asks_for_names(&[n])).collect();
    requests.push((name(&[("2.5.4.3", "admin")]), vec![]));
    requests.push((name(&[("2.5.4.5", "ANOTHER")]), vec![]));
    requests.push((name(&[("2.5.4.5", &device.name), ("2.5.4.3", "admin")]), vec![]));
    requests.push((name(&[("2.5.4.5", &device.name.to_lowercase())]), vec![]));
    // The right words in a string type of another alphabet.
    let bmp: Vec<u8> = device.name.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let rdn = set(&[&sequence(&[&oid("2.5.4.5"), &tlv(0x1e, &bmp)])]);
    requests.push((sequence(&[&rdn]), vec![]));
    let result = each_refused("device-ldevid", &device, &requests);
    let subject = X509::from_der(&result.certificates[0].certificate.0).unwrap();
    let entries: Vec<String> = subject
        .subject_name()
        .entries()
        .map(|e| String::from_utf8(e.data().as_slice().to_vec()).unwrap())
        .collect();
    assert_eq!(entries.last().map(String::as_str), Some(device.name.as_str()));
}

#[test]
fn k01_a_service_asks_for_one_name_more_than_its_own() {
    let device = AllowDevice {
        iak_spki_sha256: None,
        dns_names: vec!["a.example.org".into(), "b.example.org".into()],
        spiffe_id: Some("spiffe://example.org/a".into()),
        ..expected(&fresh_name())
    };
    let own = [
        dns("a.example.org"),
        dns("b.example.org"),
        uri("spiffe://example.org/a"),
    ];
    let mut requests = Vec::new();
    for foreign in foreign_names() {
        requests.push(asks_for_names(std::slice::from_ref(&foreign)));
        // Behind names that are its own, and before them: each name is looked at.
        requests.push(asks_for_names(
            &[own.as_slice(), std::slice::from_ref(&foreign)].concat(),
        ));
        requests.push(asks_for_names(
            &[std::slice::from_ref(&foreign), own.as_slice()].concat(),
        ));
    }
    for text in [
        "a.example.org.",
        "A.example.org",
        "*.example.org",
        "a.example.org\0.evil",
        "x.a.example.org",
    ] {
        requests.push(asks_for_names(&[own[0].clone(), dns(text)]));
    }
    for text in [
        "spiffe://example.org/a/b",
        "spiffe://Example.org/a",
        "spiffe://example.org/a/",
        "https://example.org/a",
    ] {
        requests.push(asks_for_names(&[own[0].clone(), uri(text)]));
    }
    each_refused("service", &device, &requests);
}

/// Asking for what one is given anyway is no attack.
#[test]
fn k01_a_request_may_name_what_is_issued() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let name_of = fresh_name();
    rig.allow_with(&AllowDevice {
        iak_spki_sha256: None,
        ek_spki_sha256: Some(hex::encode(tpm.ek.sha256())),
        dns_names: vec!["c.example.org".into()],
        ..expected(&name_of)
    });
    let client = rig.client();
    let challenge = client.begin(&tpm.request("service", None, None)).unwrap();
    let honest = tpm.answer(&challenge).unwrap();
    let (subject, attributes) = asks_for_names(&[dns("c.example.org")]);
    let answer = asking(&tpm, &challenge, &honest, &subject, &attributes);
    client.activate(challenge.id, &answer).unwrap();
}

#[test]
fn k02_extensions_in_the_request() {
    let ext = |id: &str, value: &[u8]| extension_request(EXTENSION_REQUEST, &[extension(id, true, value)]);
    let eku = |id: &str| sequence(&[&oid(id)]);
    let rot = ID_ROT_BINDING.to_string();
    let binding = [1u8; 8];
    let attacks: Vec<Vec<Vec<u8>>> = vec![
        vec![ext("2.5.29.19", &sequence(&[&[0x01, 0x01, 0xff]]))],
        vec![ext("2.5.29.19", &sequence(&[]))],
        vec![ext("2.5.29.15", &tlv(0x03, &[1, 0x06]))],
        vec![ext("2.5.29.15", &tlv(0x03, &[7, 0x80]))],
        vec![ext("2.5.29.37", &eku("2.5.29.37.0"))],
        vec![ext("2.5.29.37", &eku("1.3.6.1.5.5.7.3.9"))],
        vec![ext("2.5.29.37", &eku("1.3.6.1.5.5.7.3.1"))],
        vec![ext("2.5.29.32", &sequence(&[&sequence(&[&oid("2.23.133.11.1.1")])]))],
        vec![ext(&rot, &octets(&binding))],
        vec![ext("2.5.29.14", &octets(&[1; 20]))],
        vec![ext("2.5.29.35", &sequence(&[&tlv(0x80, &[1; 20])]))],
        vec![ext("1.3.6.1.4.1.11129.2.4.3", &[5, 0])],
        vec![ext("2.5.29.30", &sequence(&[]))],
        vec![ext("1.3.6.1.5.5.7.48.1.5", &[5, 0])],
        vec![ext("1.3.6.1.4.1.311.20.2", &tlv(0x1e, &[0, b'S']))],
        // Microsoft's attribute for the same.
        vec![extension_request(
            MS_CERT_EXTENSIONS,
            &[extension("2.5.29.19", true, &sequence(&[]))],
        )],
        // An empty request for extensions beside a second one; each may hide the other.
        vec![
            extension_request(EXTENSION_REQUEST, &[extension("2.5.29.19", false, &sequence(&[]))]),
            extension_request(EXTENSION_REQUEST, &[extension("2.5.29.19", true, &sequence(&[]))]),
        ],
        vec![sequence(&[
            &oid("1.2.840.113549.1.9.7"),
            &set(&[&printable("password")]),
        ])],
        vec![sequence(&[&oid("1.2.840.113549.1.9.2"), &set(&[&utf8("name")])])],
    ];
    let requests: Vec<_> = attacks.into_iter().map(|a| (EMPTY.to_vec(), a)).collect();
    let device = expected(&fresh_name());
    let result = each_refused("device-ldevid", &device, &requests);
    let certificate = X509::from_der(&result.certificates[0].certificate.0).unwrap();
    let text = String::from_utf8(certificate.to_text().unwrap()).unwrap();
    assert!(
        !text.contains("CA:TRUE") && !text.contains("Certificate Sign"),
        "{text}"
    );
}

/// Our OID in the endorsement: it is the vendor's word, and worth nothing here.
#[test]
fn k03_a_binding_forged_into_the_endorsement() {
    let rig = house();
    let mut tpm = SoftTpm::p256(&rig.vendor);
    let victim = SoftTpm::p256(&rig.vendor);
    let forged = sequence(&[
        &integer(&[1]),
        &[0x0a, 0x01, 0x00],
        &octets(&victim.ek.sha256()),
        &octets(&victim.ak.name()),
        &octets(&victim.identity.name()),
        &octets(&[0x77; 32]),
    ]);
    RotBinding::from_der(&forged).expect("it reads as one of ours");
    let content = |critical: bool| EkContent {
        more: vec![extension(&ID_ROT_BINDING.to_string(), critical, &forged)],
        ..EkContent::honest(&tpm.ek.key)
    };
    let critical = rig.vendor.ek_certificate(&tpm.ek.spki, &content(true));
    rig.attack_begin(
        &tpm,
        |r| *evidence(r).ek_certificate = critical.into(),
        Verdict::attestation("EK_PROFILE"),
    );
    tpm.ek_certificate = rig.vendor.ek_certificate(&tpm.ek.spki, &content(false));
    let device = fresh_name();
    rig.allow(&device, &tpm);
    let result = rig
        .client()
        .enroll(&tpm, &tpm.request("device-ldevid", None, None))
        .unwrap();
    let der = &result.certificates[0].certificate.0;
    let parsed = x509_cert::Certificate::from_der(der).unwrap();
    let bindings: Vec<RotBinding> = parsed
        .tbs_certificate()
        .extensions()
        .unwrap()
        .iter()
        .filter(|e| e.extn_id == ID_ROT_BINDING)
        .map(|e| RotBinding::from_der(e.extn_value.as_bytes()).unwrap())
        .collect();
    assert_eq!(bindings.len(), 1);
    assert_eq!(bindings[0].ek_spki_sha256.as_bytes(), tpm.ek.sha256());
    assert_eq!(bindings[0].ik_name.as_bytes(), tpm.identity.name());
    let tree = rig.tree(&device).unwrap();
    assert_eq!(
        hex::encode(bindings[0].evidence_sha256.as_bytes()),
        tree.evidence[0].sha256
    );
    assert!(
        !der.windows(32).any(|w| w == victim.ek.sha256()),
        "nothing of the forgery is in it"
    );
}

/// One key in two roles: the AK's or the EK's own key, dressed as an identity key.
#[test]
fn k04_the_identity_key_is_the_ak_or_the_ek() {
    let rig = house();
    let rejected = Verdict::of(ProblemCode::KeyRejected, "KEY_REJECTED");
    let tpm = SoftTpm::p256(&rig.vendor);
    let roles: [fn(&SoftTpm) -> openssl::pkey::PKey<openssl::pkey::Private>; 2] =
        [|tpm| tpm.ak.openssl().unwrap().clone(), |tpm| tpm.ek.key.clone()];
    for role in roles {
        let tpm = SoftTpm {
            identity: SoftKey::generate(tpm.identity.shape.clone()),
            ..SoftTpm::p256(&rig.vendor)
        };
        let twin = SoftKey::from_secret(Shape::identity(attest::KeyAlgorithm::P256), Secret::OpenSsl(role(&tpm)));
        rig.attack_activation(
            &tpm,
            |challenge, answer| {
                *answer = tpm.answer_with(challenge, answer.secret.0.clone(), &twin, csr(&twin, &EMPTY, &[]));
            },
            rejected,
        );
    }
}

/// A key that was blocked for ever.
#[test]
fn k04_a_blocked_key() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let blocked = SoftKey::generate(Shape::identity(attest::KeyAlgorithm::P256));
    let digest = hex::encode(openssl::sha::sha256(&blocked.spki));
    let _ = rig.sql(&format!(
        "INSERT INTO blocked_key (spki_sha256, reason, created_at) VALUES (x'{digest}', 'keyCompromise', 1)"
    ));
    rig.attack_activation(
        &tpm,
        |challenge, answer| {
            let request = csr(&blocked, &EMPTY, &[]);
            *answer = tpm.answer_with(challenge, answer.secret.0.clone(), &blocked, request);
        },
        Verdict::of(ProblemCode::KeyRejected, "KEY_REJECTED"),
    );
}

/// What an EK certificate calls its TPM never reaches a log, a name or a table unless it is on the list.
#[test]
fn k05_names_of_a_tpm_that_mean_something_elsewhere() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let profile = Verdict::attestation("EK_PROFILE");
    for model in [
        "X\0.bank",
        "A,CN=admin",
        "a\nlevel=info",
        "a\r\nSet-Cookie: x",
        "a\u{202e}b",
        "a\u{2028}b",
        "=cmd()",
        "\u{1b}[2J",
        "<script>",
        "\u{430}dmin",
        "",
    ] {
        let content = EkContent {
            model: model.into(),
            ..EkContent::honest(&tpm.ek.key)
        };
        let certificate = rig.vendor.ek_certificate(&tpm.ek.spki, &content);
        rig.attack_begin(&tpm, |r| *evidence(r).ek_certificate = certificate.into(), profile);
    }
    // T61String, BMPString, UniversalString, IA5String of a harmless word.
    for (tag, text) in [
        (0x14, b"KIT".to_vec()),
        (0x1e, vec![0, b'K']),
        (0x1c, vec![0, 0, 0, b'K']),
        (0x16, b"KIT".to_vec()),
    ] {
        let attribute = |o: &str, v: Vec<u8>| set(&[&sequence(&[&oid(o), &v])]);
        let directory = sequence(&[
            &attribute("2.23.133.2.1", utf8("id:49465800")),
            &attribute("2.23.133.2.2", tlv(tag, &text)),
            &attribute("2.23.133.2.3", utf8("id:13")),
        ]);
        let content = EkContent {
            san: Some(sequence(&[&context(4, &directory)])),
            ..EkContent::honest(&tpm.ek.key)
        };
        let certificate = rig.vendor.ek_certificate(&tpm.ek.spki, &content);
        rig.attack_begin(&tpm, |r| *evidence(r).ek_certificate = certificate.into(), profile);
    }
    let log = rig.log();
    assert!(
        !log.contains("Set-Cookie") && !log.contains('\u{1b}'),
        "nothing of it is in the log"
    );
}

/// Wildcards, IDN tricks, addresses: never entitled, so never issued.
#[test]
fn k06_names_that_are_no_host_names() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let ek = hex::encode(tpm.ek.sha256());
    let refused = |dns: &str| {
        let rows = rig.rows();
        let device = AllowDevice {
            iak_spki_sha256: None,
            ek_spki_sha256: Some(ek.clone()),
            dns_names: vec!["good.example.org".into(), dns.to_owned()],
            ..expected("K06")
        };
        let (status, body) = rig.admin_call("POST", "/v1/devices", &serde_json::to_vec(&device).unwrap());
        assert_eq!(status, 400, "{dns:?}: {}", String::from_utf8_lossy(&body));
        assert_eq!(rig.rows(), rows);
    };
    for dns in [
        "*.example.org",
        "*",
        "a.*.org",
        "*a.example.org",
        "example.org.",
        ".example.org",
        "a..example.org",
        "-a.example.org",
        "a-.example.org",
        "a_b.example.org",
        "1.2.3.4",
        "0x7f.1",
        "127.1",
        "::1",
        "[::1]",
        "::ffff:192.0.2.1",
        "fe80::1%eth0",
        "xn--a",
        "xn--",
        "xn--example-.org",
        "xn--80ak6aa92e.com\0",
        "ex\u{e4}mple.org",
        "\u{430}pple.com",
        "example\u{3002}org",
        "EXAMPLE.org",
        "example.org:443",
        "example.org/x",
        "https://example.org",
        "a b.example.org",
        "a\nb.example.org",
        "a\tb",
        "a\0b",
        "a,b",
        "a@b",
        "",
        " ",
        "localhost ",
        "a.example.org#",
        "a%2eb",
        "\u{202e}gro.elpmaxe",
    ] {
        refused(dns);
    }
    rig.allow_with(&AllowDevice {
        iak_spki_sha256: None,
        ek_spki_sha256: Some(ek.clone()),
        dns_names: vec!["good.example.org".into(), "xn--bcher-kva.example".into()],
        ..expected("K06")
    });
    let result = rig.client().enroll(&tpm, &tpm.request("service", None, None)).unwrap();
    let chain: Vec<Vec<u8>> = result.chain.iter().map(|c| c.0.clone()).collect();
    let der = &result.certificates[0].certificate.0;
    Files::new(der, &chain).openssl().unwrap();
    webpki(der, &chain, ::webpki::KeyUsage::server_auth()).unwrap();
}

/// The length of each name field at its edges.
#[test]
fn k07_lengths_of_names() {
    let rig = house();
    let label = |n: usize| "a".repeat(n);
    let host = |n: usize| {
        // Labels of 63, and one that fills up to n.
        let mut text = String::new();
        while text.len() + 64 < n {
            text.push_str(&label(63));
            text.push('.');
        }
        let rest = n - text.len();
        text.push_str(&label(rest));
        text
    };
    assert_eq!(host(253).len(), 253);
    let mut accepted = Vec::new();
    let mut tried = |what: &str, device: &AllowDevice, good: bool| {
        let (status, body) = rig.admin_call("POST", "/v1/devices", &serde_json::to_vec(device).unwrap());
        let wanted = if good { 201 } else { 400 };
        assert_eq!(status, wanted, "{what}: {}", String::from_utf8_lossy(&body));
        if good {
            accepted.push(device.name.clone());
        }
    };
    let open = |name: &str| AllowDevice {
        iak_spki_sha256: None,
        first_contact_until: Some(now() + 3600),
        ..expected(name)
    };
    for (length, good) in [
        (0, false),
        (1, true),
        (63, true),
        (64, true),
        (65, false),
        (253, false),
        (254, false),
    ] {
        tried(&format!("device name of {length}"), &open(&"n".repeat(length)), good);
    }
    let mut number = 0;
    let mut with_dns = |dns: String| {
        number += 1;
        AllowDevice {
            iak_spki_sha256: None,
            dns_names: vec![dns],
            ..open(&format!("K07-{number}"))
        }
    };
    for (length, good) in [(0, false), (1, true), (63, true), (64, false), (65, false)] {
        let device = with_dns(format!("{}.example.org", label(length)));
        tried(&format!("label of {length}"), &device, good);
    }
    for (length, good) in [(252, true), (253, true), (254, false), (255, false)] {
        let device = with_dns(host(length));
        tried(&format!("host name of {length}"), &device, good);
    }
    let mut with_spiffe = |id: String| {
        number += 1;
        AllowDevice {
            iak_spki_sha256: None,
            spiffe_id: Some(id),
            ..open(&format!("K07-s{number}"))
        }
    };
    let spiffe = |n: usize| {
        let prefix = "spiffe://example.org/";
        format!("{prefix}{}", label(n - prefix.len()))
    };
    for (id, good) in [
        ("spiffe://".to_owned(), false),
        ("spiffe:///a".to_owned(), false),
        (spiffe(2048), true),
        (spiffe(2049), false),
    ] {
        let device = with_spiffe(id);
        tried("a SPIFFE id", &device, good);
    }
    for name in accepted {
        assert!(rig.device(&name).is_some(), "{name}");
    }
}

/// Dates of an endorsement: what is no date is malformed, what is past or to come does not chain; no panic.
#[test]
fn k08_dates_of_an_endorsement() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let malformed = Some(Verdict::of(ProblemCode::Malformed, "MALFORMED"));
    let elsewhen = Some(Verdict::attestation("EK_CHAIN"));
    let sound = || utc_time("200101000000Z");
    let ends: Vec<(Vec<u8>, Option<Verdict>)> = vec![
        (utc_time("491231235959Z"), None),
        (generalized_time("20500101000000Z"), None),
        (generalized_time("99991231235959Z"), None),
        (generalized_time("20491231235959Z"), None),
        (utc_time("500101000000Z"), elsewhen),
        (utc_time("210101000000Z"), elsewhen),
        (utc_time("200101000000Z"), elsewhen),
        (generalized_time("00000101000000Z"), elsewhen),
        (generalized_time("99991231235960Z"), malformed),
        (generalized_time("99991231240000Z"), malformed),
        (generalized_time("99990229000000Z"), malformed),
        (generalized_time("99991301000000Z"), malformed),
        (generalized_time("99990001000000Z"), malformed),
        (generalized_time("99990100000000Z"), malformed),
        (generalized_time("99990132000000Z"), malformed),
        (generalized_time("20500101000000.5Z"), malformed),
        (generalized_time("20500101000000,5Z"), malformed),
        (generalized_time("20500101000000+0000"), malformed),
        (generalized_time("20500101000000"), malformed),
        (generalized_time("205001010000Z"), malformed),
        (generalized_time("-0010101000000Z"), malformed),
        (generalized_time("2050010100000\0Z"), malformed),
        (generalized_time(""), malformed),
        (generalized_time(&"9".repeat(300)), malformed),
        (utc_time("4912312359Z"), malformed),
        (utc_time("491231235959"), malformed),
        (utc_time("491231235959+0100"), malformed),
        (utc_time("20491231235959Z"), malformed),
        (utc_time("49123123595\u{ff19}Z"), malformed),
        (utc_time(""), malformed),
        (tlv(0x1f, b"2049-12-31"), malformed),
        (utf8("491231235959Z"), malformed),
        (integer(&[0x7f, 0xff, 0xff, 0xff]), malformed),
    ];
    let begins: Vec<(Vec<u8>, Option<Verdict>)> = vec![
        (utc_time("500101000000Z"), None),
        (generalized_time("00010101000000Z"), None),
        (utc_time("490101000000Z"), elsewhen),
        (generalized_time("99991231235959Z"), elsewhen),
        (utc_time("200230000000Z"), malformed),
    ];
    let never = || generalized_time("99991231235959Z");
    let cases = ends
        .into_iter()
        .map(|(end, verdict)| (sound(), end, verdict))
        .chain(begins.into_iter().map(|(begin, verdict)| (begin, never(), verdict)));
    for (not_before, not_after, verdict) in cases {
        let content = EkContent {
            not_before,
            not_after: not_after.clone(),
            ..EkContent::honest(&tpm.ek.key)
        };
        let certificate = rig.vendor.ek_certificate(&tpm.ek.spki, &content);
        let mut request = tpm.request("device-ldevid", None, None);
        *evidence(&mut request).ek_certificate = certificate.into();
        match verdict {
            Some(verdict) => rig.refuses_begin(&rig.client(), &request, verdict),
            None => {
                let question = rig.client().begin(&request);
                assert!(question.is_ok(), "{}: {question:?}", hex::encode(not_after));
            }
        }
    }
}

/// When a certificate begins and ends is the CA's word: not of the past, not beyond what the profile gives.
#[test]
fn k10_nobody_chooses_the_dates() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let honest = serde_json::to_value(tpm.request("device-ldevid", None, None)).unwrap();
    for field in ["not_before", "notBefore", "not_after", "validity", "lifetime", "serial"] {
        let mut attack = honest.clone();
        attack[field] = 0.into();
        let raw = rig.client().post_raw(
            "/v1/enrollments",
            "application/json",
            &serde_json::to_vec(&attack).unwrap(),
        );
        assert_eq!(
            (raw.status, raw.problem().code),
            (400, ProblemCode::Malformed),
            "{field}"
        );
    }
    rig.allow(&fresh_name(), &tpm);
    let before = now();
    let result = rig
        .client()
        .enroll(&tpm, &tpm.request("device-ldevid", None, None))
        .unwrap();
    let after = now();
    let device = rig.device(&result.device).unwrap();
    let certificate = &device.certificates[0];
    let skew = 3600;
    assert!(
        (before - skew..=after).contains(&certificate.not_before),
        "{}",
        certificate.not_before
    );
    assert_eq!(
        certificate.not_after - certificate.not_before + 1,
        365 * 86_400,
        "to the second"
    );
}

/// The clock goes back two years under a CA that has records of today: it does not start.
#[test]
fn k10_a_clock_before_the_newest_record() {
    let rig = Rig::running();
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow("K10", &tpm);
    rig.client()
        .enroll(&tpm, &tpm.request("device-ldevid", None, None))
        .unwrap();
    let mut rig = rig;
    assert_eq!(rig.stop(), Some(0));
    // The same as a clock two years back: a record two years ahead.
    let ahead = now() + 2 * 365 * 86_400;
    let _ = rig.sql(&format!(
        "INSERT INTO audit (at, action, actor, subject, reason, detail) VALUES ({ahead}, 'x', 'x', 'x', 'x', 'x')"
    ));
    let output = rig.refuses_to_start();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("clock"), "{said}");
}

/// Serials of one CA: 16 octets, positive, none twice.
#[test]
fn k11_serials_through_the_front_door() {
    let rig = house();
    let client = rig.client();
    let mut serials = BTreeSet::new();
    for _ in 0..20 {
        let tpm = SoftTpm::p256(&rig.vendor);
        rig.allow(&fresh_name(), &tpm);
        let request = tpm.request("device-idevid", Some("device-iak"), None);
        for certificate in client.enroll(&tpm, &request).unwrap().certificates {
            let octets = hex::decode(&certificate.serial).unwrap();
            assert_eq!(octets.len(), 16);
            assert!((1..0x80).contains(&octets[0]), "positive, and no leading zero");
            assert!(serials.insert(octets), "none twice");
        }
    }
    assert_eq!(serials.len(), 40);
}
