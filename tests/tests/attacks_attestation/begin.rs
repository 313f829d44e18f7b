//! A01, A03, A10, A11, A13, A20, A40, A47: what is refused before any question is asked.

use attest::KeyAlgorithm;
use device_kit::der::{extension, octets, sequence, tlv, utc_time};
use device_kit::endorsement::{SoftEk, Template};
use device_kit::keys::{Hash, Scheme, SoftKey, ec, rsa, tpm2b};
use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::swtpm::{self, Swtpm};
use device_kit::trial::{Verdict, evidence};
use device_kit::vendor::{EK_CERTIFICATE, EkContent, VendorCa};
use openssl::nid::Nid;
use wire::problem::ProblemCode;

use crate::house;

const AK_ATTR: fn() -> Verdict = || Verdict::attestation("AK_ATTR");
const AK_ALG: fn() -> Verdict = || Verdict::attestation("AK_ALG");
const EK_CHAIN: fn() -> Verdict = || Verdict::attestation("EK_CHAIN");
const EK_KEY: fn() -> Verdict = || Verdict::attestation("EK_KEY");
const EK_PROFILE: fn() -> Verdict = || Verdict::attestation("EK_PROFILE");

/// The AK shown with other attributes; the key is the same.
fn ak_with(tpm: &SoftTpm, attributes: u32) -> Vec<u8> {
    tpm.ak.reshaped(|shape| shape.attributes = attributes).public
}

#[test]
fn a01_a_software_key_posing_as_ak() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    // What TPM2_LoadExternal gives a software key; and with each bit that it cannot have.
    for attributes in [0x0006_0040, 0x0004_0040, 0x0005_0040, 0x0005_0070, 0x0005_0062] {
        let public = ak_with(&tpm, attributes);
        rig.attack_begin(&tpm, |r| *evidence(r).ak_public = public.into(), AK_ATTR());
    }
}

#[test]
fn a03_an_ak_that_signs_what_it_is_told() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let public = ak_with(&tpm, 0x0004_0072);
    rig.attack_begin(&tpm, |r| *evidence(r).ak_public = public.into(), AK_ATTR());
}

#[test]
fn a10_an_endorsement_of_nobody_we_know() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let honest = EkContent::honest(&tpm.ek.key);
    let attack = |certificate: Vec<u8>, chain: Vec<Vec<u8>>, verdict: Verdict| {
        rig.attack_begin(
            &tpm,
            |r| {
                *evidence(r).ek_certificate = certificate.into();
                *evidence(r).ek_chain = chain.into_iter().map(Into::into).collect();
            },
            verdict,
        );
    };
    // Self-signed.
    let own = VendorCa::signed("self", tpm.ek.key.clone(), None, &[]);
    attack(own.ek_certificate(&tpm.ek.spki, &honest), vec![], EK_CHAIN());
    // Another vendor, who sends his root along.
    let stranger = VendorCa::root("Another Root");
    let stranger_made = stranger.ek_certificate(&tpm.ek.spki, &honest);
    attack(stranger_made, vec![stranger.certificate.clone()], EK_CHAIN());
    // The right name, the wrong key.
    let impostor = VendorCa::root("Kit TPM Root");
    let impostor_made = impostor.ek_certificate(&tpm.ek.spki, &honest);
    attack(impostor_made, vec![impostor.certificate.clone()], EK_CHAIN());
    // Not valid any more, not valid yet.
    for (not_before, not_after) in [("200101000000Z", "210101000000Z"), ("480101000000Z", "490101000000Z")] {
        let content = EkContent {
            not_before: utc_time(not_before),
            not_after: utc_time(not_after),
            ..honest.clone()
        };
        attack(rig.vendor.ek_certificate(&tpm.ek.spki, &content), vec![], EK_CHAIN());
    }
    // A manufacturer this anchor may not speak for.
    let content = EkContent {
        manufacturer: "id:4E544300".into(),
        ..honest
    };
    let other = rig.vendor.ek_certificate(&tpm.ek.spki, &content);
    attack(other, vec![], Verdict::attestation("EK_VENDOR"));
}

/// The local CA of swtpm, whose key lies beside every software TPM, against a CA that does not name it; and the very
/// same bytes are taken where it is named as what it is.
#[test]
fn a10_the_local_ca_of_swtpm() {
    let vendor = swtpm::VendorCa::new().unwrap();
    let tpm = Swtpm::manufacture(&vendor).unwrap();
    tpm.add_p256_endorsement(&vendor).unwrap();
    let certificate = tpm.tool(&["nvread", "0x01c0000a", "-C", "o"]).unwrap();
    let spki = openssl::x509::X509::from_der(&certificate)
        .and_then(|c| c.public_key())
        .unwrap();
    let point = spki.ec_key().unwrap();
    // The template is public: the area is known from the certified key.
    let shown = SoftEk::public_of(Template::L2, &spki);
    assert_eq!(point.group().curve_name(), Some(Nid::X9_62_PRIME256V1));

    let rig = house();
    let device = SoftTpm::p256(&rig.vendor);
    let mut request = device.request("device-ldevid", None, None);
    *evidence(&mut request).ek_certificate = certificate.into();
    *evidence(&mut request).ek_chain = vec![vendor.issuer_der().unwrap().into()];
    *evidence(&mut request).ek_public = shown.into();
    rig.refuses_begin(&rig.client(), &request, EK_CHAIN());
    drop(rig);

    let mut believing = Rig::initialised(&Wanted::default());
    let root = String::from_utf8(
        openssl::x509::X509::from_der(&vendor.root_der().unwrap())
            .and_then(|c| c.to_pem())
            .unwrap(),
    )
    .unwrap();
    let trust = format!(
        "[[anchor]]\nname = \"swtpm\"\nkind = \"software\"\nmanufacturers = [\"id:00001014\"]\nsource = \"swtpm_localca\"\nadded = 2026-11-22\nwhy = \"tests\"\ncertificate = \"\"\"\n{root}\"\"\"\n"
    );
    std::fs::write(believing.path("trust/swtpm.toml"), trust).unwrap();
    believing.start();
    believing
        .client()
        .begin(&request)
        .expect("where its root is an anchor, it gets its question");
}

#[test]
fn a11_an_endorsement_key_that_certifies_another() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let content = EkContent::honest(&tpm.ek.key);
    let attack = |issuers: &[&VendorCa]| {
        let certificate = issuers[0].ek_certificate(&tpm.ek.spki, &content);
        let chain: Vec<Vec<u8>> = issuers.iter().map(|i| i.certificate.clone()).collect();
        rig.attack_begin(
            &tpm,
            |r| {
                *evidence(r).ek_certificate = certificate.into();
                *evidence(r).ek_chain = chain.into_iter().map(Into::into).collect();
            },
            EK_CHAIN(),
        );
    };
    let basic = |ca: &[u8]| extension("2.5.29.19", true, &sequence(&[ca]));
    let usage = |bits: [u8; 2]| extension("2.5.29.15", true, &tlv(0x03, &bits));
    let (no, yes) = (basic(&[]), basic(&[0x01, 0x01, 0xff]));
    let (agree, sign) = (usage([3, 0x08]), usage([1, 0x06]));
    // An EK certificate as issuer, its key known to the attacker.
    let key = ec(Nid::X9_62_PRIME256V1);
    let leaf = VendorCa::signed("EK", key, Some(&rig.vendor), &[no.clone(), agree.clone()]);
    attack(&[&leaf]);
    // CA without keyCertSign, keyCertSign without CA, no constraints at all.
    attack(&[&rig.vendor.below("CA without keyCertSign", &[yes.clone(), agree])]);
    attack(&[&rig.vendor.below("keyCertSign without CA", &[no, sign.clone()])]);
    attack(&[&rig.vendor.below("no constraints", std::slice::from_ref(&sign))]);
    // pathLen 0 exceeded.
    let last = rig.vendor.intermediate("pathLen 0");
    let beyond = last.below("beyond", &[yes, sign]);
    attack(&[&beyond, &last]);
    // What is sound passes: the twin of pathLen.
    let mut honest = tpm.request("device-ldevid", None, None);
    *evidence(&mut honest).ek_certificate = last.ek_certificate(&tpm.ek.spki, &content).into();
    *evidence(&mut honest).ek_chain = vec![last.certificate.clone().into()];
    rig.client().begin(&honest).unwrap();
}

#[test]
fn a13_the_endorsement_of_another_machine() {
    let rig = house();
    let (tpm, victim) = (SoftTpm::p256(&rig.vendor), SoftTpm::p256(&rig.vendor));
    // The victim's certificate beside the attacker's key, and the other way round.
    rig.attack_begin(
        &tpm,
        |r| *evidence(r).ek_certificate = victim.ek_certificate.clone().into(),
        EK_KEY(),
    );
    rig.attack_begin(
        &tpm,
        |r| *evidence(r).ek_public = victim.ek.public.clone().into(),
        EK_KEY(),
    );
}

/// The same modulus with another exponent is another key; the exponent 0 of a TPM is 65537.
#[test]
fn a13_the_same_modulus_with_another_exponent() {
    let rig = house();
    let tpm = SoftTpm::manufacture(&rig.vendor, Template::L1, KeyAlgorithm::P256, KeyAlgorithm::P256);
    let modulus = tpm.ek.key.rsa().unwrap().n().to_vec();
    let exponent_at = tpm.ek.public.len() - (2 + modulus.len()) - 4;
    assert_eq!(tpm.ek.public[exponent_at..exponent_at + 4], [0; 4]);
    let with_exponent = |exponent: u32| {
        let mut public = tpm.ek.public.clone();
        public[exponent_at..exponent_at + 4].copy_from_slice(&exponent.to_be_bytes());
        public
    };
    for exponent in [3, 17, 65_539] {
        let public = with_exponent(exponent);
        rig.attack_begin(&tpm, |r| *evidence(r).ek_public = public.into(), EK_KEY());
    }
    let mut honest = tpm.request("device-ldevid", None, None);
    *evidence(&mut honest).ek_public = with_exponent(65_537).into();
    rig.client().begin(&honest).expect("0 and 65537 are one exponent");
}

/// An EK public area that departs from its template in the attributes.
#[test]
fn a13_an_endorsement_key_that_is_no_endorsement_key() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    // restricted off: it would decrypt anything, and open credentials for whoever asks.
    let mut public = tpm.ek.public.clone();
    assert_eq!(public[4..8], [0x00, 0x03, 0x00, 0xb2]);
    public[5] = 0x02;
    rig.attack_begin(&tpm, |r| *evidence(r).ek_public = public.into(), EK_KEY());
}

#[test]
fn a20_an_ak_whose_algorithm_is_not_on_the_list() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    for scheme in [
        Scheme::Null,
        Scheme::Ecdaa(Hash::Sha256),
        Scheme::Ecdsa(Hash::Sha1),
        Scheme::Ecdsa(Hash::Sha512),
    ] {
        let public = tpm.ak.reshaped(|shape| shape.scheme = scheme).public;
        rig.attack_begin(&tpm, |r| *evidence(r).ak_public = public.into(), AK_ALG());
    }
    let public = tpm.ak.reshaped(|shape| shape.name_alg = Hash::Sha1).public;
    rig.attack_begin(&tpm, |r| *evidence(r).ak_public = public.into(), AK_ALG());
    let tpm = SoftTpm::manufacture(&rig.vendor, Template::L2, KeyAlgorithm::Rsa2048, KeyAlgorithm::P256);
    for scheme in [Scheme::Rsassa(Hash::Sha1), Scheme::Rsapss(Hash::Sha1), Scheme::Null] {
        let public = tpm.ak.reshaped(|shape| shape.scheme = scheme).public;
        rig.attack_begin(&tpm, |r| *evidence(r).ak_public = public.into(), AK_ALG());
    }
}

/// Critical extensions that nobody processes.
#[test]
fn a40_a_critical_extension_that_is_not_processed() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    for (oid, value) in [
        ("1.3.6.1.4.1.32473.1", octets(b"x")),
        ("2.5.29.30", sequence(&[])),
        ("2.5.29.36", sequence(&[])),
    ] {
        let made = |critical: bool| {
            let content = EkContent {
                more: vec![extension(oid, critical, &value)],
                ..EkContent::honest(&tpm.ek.key)
            };
            rig.vendor.ek_certificate(&tpm.ek.spki, &content)
        };
        let certificate = made(true);
        rig.attack_begin(&tpm, |r| *evidence(r).ek_certificate = certificate.into(), EK_PROFILE());
    }
}

/// An empty extKeyUsage once ended another CA's process.
#[test]
fn a47_an_extended_key_usage_that_is_empty() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let honest = EkContent::honest(&tpm.ek.key);
    for usages in [Some(vec![]), Some(vec!["1.3.6.1.5.5.7.3.2".to_owned()]), None] {
        let content = EkContent {
            extended_key_usage: usages,
            ..honest.clone()
        };
        let certificate = rig.vendor.ek_certificate(&tpm.ek.spki, &content);
        rig.attack_begin(&tpm, |r| *evidence(r).ek_certificate = certificate.into(), EK_PROFILE());
    }
    assert_eq!(honest.extended_key_usage, Some(vec![EK_CERTIFICATE.to_owned()]));
}

/// An empty SEQUENCE or SET wherever a certificate has a list of at least one.
#[test]
fn a47_every_list_of_an_endorsement_empty() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let honest = EkContent::honest(&tpm.ek.key);
    let with_san = |san: Vec<u8>| EkContent {
        san: Some(san),
        ..honest.clone()
    };
    let directory = |name: Vec<u8>| sequence(&[&tlv(0xa4, &name)]);
    let more = |oid: &str| EkContent {
        more: vec![extension(oid, false, &sequence(&[]))],
        ..honest.clone()
    };
    let cases = [
        with_san(sequence(&[])),
        with_san(directory(sequence(&[]))),
        with_san(directory(sequence(&[&tlv(0x31, &[])]))),
        with_san(directory(sequence(&[&tlv(0x31, &sequence(&[]))]))),
        with_san(tlv(0x30, &tlv(0xa4, &[]))),
        more("2.5.29.32"),
        more("2.5.29.31"),
        more("2.5.29.9"),
        more("1.3.6.1.5.5.7.1.1"),
    ];
    for content in cases {
        let certificate = rig.vendor.ek_certificate(&tpm.ek.spki, &content);
        let mut request = tpm.request("device-ldevid", None, None);
        *evidence(&mut request).ek_certificate = certificate.into();
        match rig.client().begin(&request) {
            // A list we do not read may be empty; nothing of it is used.
            Ok(_) => assert!(content.san.is_none(), "{content:?}"),
            Err(refused) => assert!(matches!(refused.status, 400 | 403), "{content:?}: {refused:?}"),
        }
    }
    rig.client().begin(&tpm.request("device-ldevid", None, None)).unwrap();
}

/// The AK is the EK's own key.
#[test]
fn k04_the_ak_is_the_endorsement_key() {
    let rig = house();
    let key = ec(Nid::X9_62_PRIME256V1);
    let mut tpm = SoftTpm::p256(&rig.vendor);
    tpm.ek = SoftEk::with_key(Template::L2, key.clone());
    tpm.ek_certificate = rig.vendor.ek_certificate(&tpm.ek.spki, &EkContent::honest(&key));
    let twin = SoftKey::from_secret(tpm.ak.shape.clone(), device_kit::keys::Secret::OpenSsl(key));
    rig.attack_begin(
        &tpm,
        |r| *evidence(r).ak_public = twin.public.into(),
        Verdict::of(ProblemCode::KeyRejected, "KEY_REJECTED"),
    );
}

/// Keys that are too short, or not what their size field says.
#[test]
fn a34_sizes_that_are_not_on_the_list() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let public_of = |bits: u16, modulus: &[u8]| {
        [
            &[
                0x00, 0x01, 0x00, 0x0b, 0x00, 0x05, 0x00, 0x72, 0x00, 0x00, 0x00, 0x10, 0x00, 0x14, 0x00, 0x0b,
            ][..],
            &bits.to_be_bytes(),
            &[0; 4],
            &tpm2b(modulus),
        ]
        .concat()
    };
    let short = rsa(1024).rsa().unwrap().n().to_vec();
    rig.attack_begin(
        &tpm,
        |r| *evidence(r).ak_public = public_of(1024, &short).into(),
        AK_ALG(),
    );
    rig.attack_begin(
        &tpm,
        |r| *evidence(r).ak_public = public_of(2048, &short).into(),
        AK_ALG(),
    );
    let sound = rsa(2048).rsa().unwrap().n().to_vec();
    let mut honest = tpm.request("device-ldevid", None, None);
    *evidence(&mut honest).ak_public = public_of(2048, &sound).into();
    rig.client().begin(&honest).expect("an RSA-2048 key is an AK");
}
