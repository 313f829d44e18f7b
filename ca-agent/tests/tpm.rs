//! The TPM layer against a real software TPM: endorsements, keys of every algorithm, activation, certification.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::path::Path;
use std::process::Output;

use attest::ek::EkTemplate;
use attest::tpm::{TpmaObject, TpmtPublic};
use ca_agent::tpm::{EkChoice, KeyHome, KeySpec, Passwords, Role, StoredKey, Tpm, TpmError, Tss2Key, digest_for};
use device_kit::swtpm::{Swtpm, VendorCa};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};

struct Bench {
    vendor: VendorCa,
    swtpm: Swtpm,
}

impl Bench {
    fn new() -> Self {
        let vendor = VendorCa::new().unwrap();
        let swtpm = Swtpm::manufacture(&vendor).unwrap();
        Self { vendor, swtpm }
    }

    fn open(&self) -> Tpm {
        Tpm::open(&self.swtpm.tcti().parse().unwrap(), Passwords::default()).unwrap()
    }

    /// Nothing of ours stays loaded: neither objects nor sessions.
    fn assert_nothing_loaded(&self) {
        for what in ["handles-transient", "handles-loaded-session", "handles-saved-session"] {
            let left = self.swtpm.command("tpm2").args(["getcap", what]).output().unwrap();
            assert!(left.status.success());
            assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "", "{what}");
        }
    }
}

fn spec(role: Role, alg: &str, home: KeyHome) -> KeySpec {
    KeySpec {
        role,
        alg: alg.parse().unwrap(),
        home,
    }
}

fn verify(public: &TpmtPublic, message: &[u8], signature: &[u8]) -> bool {
    let (hash, pss) = digest_for(public).unwrap();
    let digest = match hash.digest_len() {
        32 => MessageDigest::sha256(),
        48 => MessageDigest::sha384(),
        _ => MessageDigest::sha512(),
    };
    let key = PKey::public_key_from_der(&public.spki().unwrap()).unwrap();
    let mut verifier = Verifier::new(digest, &key).unwrap();
    if pss {
        verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
    }
    verifier.verify_oneshot(signature, message).unwrap()
}

#[test]
fn facts_and_endorsements_are_found() {
    let bench = Bench::new();
    bench.swtpm.add_p256_endorsement(&bench.vendor).unwrap();
    let tpm = bench.open();
    let (facts, found, auto, rsa) = tpm
        .run(|chip| {
            Ok((
                chip.facts()?,
                chip.endorsements()?,
                chip.choose_endorsement(EkChoice::Auto)?,
                chip.choose_endorsement(EkChoice::Rsa)?,
            ))
        })
        .unwrap();
    assert_eq!(facts.vendor, "IBM");
    assert_eq!(facts.manufacturer, "id:49424D00");
    let templates: Vec<EkTemplate> = found.iter().map(|e| e.template).collect();
    assert_eq!(templates, [EkTemplate::L2, EkTemplate::H3, EkTemplate::L1]);
    assert_eq!(auto.template, EkTemplate::L2);
    assert_eq!((rsa.template, rsa.nv_index), (EkTemplate::L1, 0x01C0_0002));
    for endorsement in found {
        openssl::x509::X509::from_der(&endorsement.certificate).unwrap();
        let expected = endorsement.clone();
        let (public, persistent) = tpm
            .run(move |chip| {
                let ek = chip.load_ek(&endorsement)?;
                chip.unload_ek(&ek);
                Ok((ek.public.clone(), ek.persistent))
            })
            .unwrap();
        assert_eq!(
            ca_agent::tpm::read_certificate_key(&expected.certificate).unwrap(),
            public.spki().unwrap()
        );
        // swtpm_setup left two of them persistent; the third is made from its template.
        let place = match expected.template {
            EkTemplate::L1 => Some(0x8101_0001),
            EkTemplate::H3 => Some(0x8101_0016),
            _ => None,
        };
        assert_eq!(persistent, place);
    }
    drop(tpm);
    bench.assert_nothing_loaded();
}

#[test]
fn a_blank_tpm_has_no_endorsement_and_wrong_templates_are_told() {
    let vendor = VendorCa::new().unwrap();
    let blank = Swtpm::blank().unwrap();
    let tpm = Tpm::open(&blank.tcti().parse().unwrap(), Passwords::default()).unwrap();
    let none = tpm.run(|chip| chip.choose_endorsement(EkChoice::Auto));
    assert!(matches!(none, Err(TpmError::NoEkCertificate { wanted: None })));
    drop(tpm);
    // The certificate of another TPM: no template gives its key.
    let other = Swtpm::manufacture(&vendor).unwrap();
    let theirs = other.tool(&["nvread", "0x1c00002"]).unwrap();
    blank.write_nv(0x01C0_0002, &theirs).unwrap();
    let tpm = Tpm::open(&blank.tcti().parse().unwrap(), Passwords::default()).unwrap();
    let mismatch = tpm.run(|chip| {
        let endorsement = chip.choose_endorsement(EkChoice::Auto)?;
        chip.load_ek(&endorsement)
    });
    assert!(matches!(mismatch, Err(TpmError::EkMismatch { index: 0x01C0_0002 })));
}

#[test]
fn a_nonce_in_nv_is_used_for_the_ek() {
    let swtpm = Swtpm::blank().unwrap();
    let nonce = [0x77; 20];
    // What the vendor does: the nonce, padded with zeros, is x of the template's unique; y is zero.
    let policy = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
    let (x, y) = (format!("{:0<64}", hex::encode(nonce)), "00".repeat(32));
    let template = format!("0023000b000300b20020{policy}0006008000430010000300100020{x}0020{y}");
    let with = primary_of(&swtpm, &hex::decode(template).unwrap());
    let load = || {
        let tpm = Tpm::open(&swtpm.tcti().parse().unwrap(), Passwords::default()).unwrap();
        tpm.run(|chip| {
            let endorsement = chip.choose_endorsement(EkChoice::Ecc)?;
            let ek = chip.load_ek(&endorsement)?;
            chip.unload_ek(&ek);
            Ok(ek.public.spki().ok())
        })
    };
    swtpm.write_nv(0x01C0_000A, &self_made_certificate(&with)).unwrap();
    assert!(matches!(load(), Err(TpmError::EkMismatch { .. })));
    swtpm.write_nv(0x01C0_000B, &nonce).unwrap();
    assert_eq!(load().unwrap(), Some(with.public_key_to_der().unwrap()));
}

#[test]
fn a_template_in_nv_is_used_for_the_ek() {
    let swtpm = Swtpm::blank().unwrap();
    // One that no default gives: the unique of the vendor's own.
    let policy = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
    let template = format!(
        "0023000b000300b20020{policy}0006008000430010000300100020{}0020{}",
        "31".repeat(32),
        "32".repeat(32)
    );
    let template = hex::decode(template).unwrap();
    let key = primary_of(&swtpm, &template);
    swtpm.write_nv(0x01C0_000A, &self_made_certificate(&key)).unwrap();
    swtpm.write_nv(0x01C0_000C, &template).unwrap();
    let tpm = Tpm::open(&swtpm.tcti().parse().unwrap(), Passwords::default()).unwrap();
    let spki = tpm
        .run(|chip| {
            let endorsement = chip.choose_endorsement(EkChoice::Ecc)?;
            let ek = chip.load_ek(&endorsement)?;
            chip.unload_ek(&ek);
            Ok(ek.public.spki().ok())
        })
        .unwrap();
    assert_eq!(spki, Some(key.public_key_to_der().unwrap()));
}

/// Public key of the endorsement primary that a template gives, asked without the agent.
fn primary_of(swtpm: &Swtpm, template: &[u8]) -> PKey<openssl::pkey::Public> {
    use tss_esapi::interface_types::resource_handles::Hierarchy;
    use tss_esapi::interface_types::session_handles::AuthSession;
    use tss_esapi::traits::{Marshall as _, UnMarshall as _};
    let mut context = tss_esapi::Context::new(swtpm.tcti().parse().unwrap()).unwrap();
    context.set_sessions((Some(AuthSession::Password), None, None));
    let public = tss_esapi::structures::Public::unmarshall(template).unwrap();
    let made = context
        .create_primary(Hierarchy::Endorsement, public, None, None, None, None)
        .unwrap();
    let public = TpmtPublic::parse(&made.out_public.marshall().unwrap()).unwrap();
    PKey::public_key_from_der(&public.spki().unwrap()).unwrap()
}

/// Any certificate on `key`: only its key matters here.
fn self_made_certificate(key: &PKey<openssl::pkey::Public>) -> Vec<u8> {
    let signer = PKey::from_ec_key(
        openssl::ec::EcKey::generate(
            &openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap(),
        )
        .unwrap(),
    )
    .unwrap();
    let mut builder = openssl::x509::X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_pubkey(key).unwrap();
    builder
        .set_not_before(&openssl::asn1::Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&openssl::asn1::Asn1Time::days_from_now(1).unwrap())
        .unwrap();
    builder.sign(&signer, MessageDigest::sha256()).unwrap();
    builder.build().to_der().unwrap()
}

/// Make AK and identity key, activate with tpm2-tools' MakeCredential, certify, sign; each with every EK.
fn whole_life_of(bench: &Bench, alg: &str, homes: [KeyHome; 2]) {
    let tpm = bench.open();
    let ak_spec = spec(Role::Attestation, alg, homes[0]);
    let key_spec = spec(Role::Identity, alg, homes[1]);
    let (ak, key) = tpm
        .run(move |chip| Ok((chip.make_key(&ak_spec)?, chip.make_key(&key_spec)?)))
        .unwrap();
    assert!(ak.fits(&ak_spec) && key.fits(&key_spec));
    assert!(!ak.fits(&key_spec) && !key.fits(&ak_spec));
    let (ak_public, key_public) = (ak.public().unwrap(), key.public().unwrap());
    let resident = TpmaObject(0x0007_0032);
    assert_eq!(ak_public.attributes().0 & resident.0, 0x0005_0032);
    assert_eq!(key_public.attributes().0 & resident.0, 0x0004_0032);

    let endorsements = tpm.run(|chip| chip.endorsements()).unwrap();
    for endorsement in endorsements {
        let certificate = endorsement.certificate.clone();
        let (blob, secret) = credential(&bench.swtpm, &certificate, &ak_public.name(), &[0x5e; 32]);
        let held = ak.clone();
        let found = tpm
            .run(move |chip| chip.activate(&endorsement, &held, &blob, &secret))
            .unwrap();
        assert_eq!(found.as_slice(), [0x5e; 32], "{alg}");
    }

    let (held_ak, held_key) = (ak.clone(), key.clone());
    let certified = tpm
        .run(move |chip| chip.certify(&held_key, &held_ak, &[0xa5; 32]))
        .unwrap();
    assert!(certified.attest.starts_with(&[0xff, b'T', b'C', b'G', 0x80, 0x17]));
    let name = key_public.name();
    assert!(certified.attest.windows(name.len()).any(|w| w == name));
    assert!(certified.attest.windows(32).any(|w| w == [0xa5; 32]));
    let signature = signature_value(&certified.signature);
    assert!(verify(&ak_public, &certified.attest, &signature), "{alg}");

    let held = key.clone();
    let signature = tpm.run(move |chip| chip.sign(&held, b"to be signed")).unwrap();
    assert!(verify(&key_public, b"to be signed", &signature), "{alg}");
    assert!(!verify(&key_public, b"to be sighed", &signature));
    // An attestation key signs nothing that it is given.
    let held = ak.clone();
    assert!(tpm.run(move |chip| chip.sign(&held, b"to be signed")).is_err());

    drop(tpm);
    bench.assert_nothing_loaded();
    // Found again by a new process.
    let tpm = bench.open();
    let again = tpm.run(move |chip| chip.sign(&key, b"later")).unwrap();
    assert!(verify(&key_public, b"later", &again));
}

/// `TPMT_SIGNATURE` as OpenSSL takes the value.
fn signature_value(signature: &[u8]) -> Vec<u8> {
    let part = |bytes: &[u8]| {
        let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        (bytes[2..2 + length].to_vec(), bytes[2 + length..].to_vec())
    };
    let (first, rest) = part(&signature[4..]);
    if signature[..2] != [0x00, 0x18] {
        assert!(rest.is_empty());
        return first;
    }
    let (second, rest) = part(&rest);
    assert!(rest.is_empty());
    let number = |b: &[u8]| openssl::bn::BigNum::from_slice(b).unwrap();
    openssl::ecdsa::EcdsaSig::from_private_components(number(&first), number(&second))
        .unwrap()
        .to_der()
        .unwrap()
}

/// tpm2-tools make the credential; the TPM is not asked.
fn credential(swtpm: &Swtpm, certificate: &[u8], name: &[u8], secret: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let key = openssl::x509::X509::from_der(certificate)
        .unwrap()
        .public_key()
        .unwrap();
    // P-384 EKs have nameAlg SHA-384, which the tool only knows from a TPM public area: ask the persistent key.
    let is_p384 = key.ec_key().is_ok_and(|k| k.group().degree() == 384);
    std::fs::write(at("ek.pem"), key.public_key_to_pem().unwrap()).unwrap();
    std::fs::write(at("secret"), secret).unwrap();
    let kind = if key.rsa().is_ok() { "rsa" } else { "ecc" };
    let ek = if is_p384 {
        swtpm
            .tool(&["readpublic", "-c", "0x81010016", "-o", &at("ek.pub")])
            .unwrap();
        at("ek.pub")
    } else {
        at("ek.pem")
    };
    let mut arguments = vec!["makecredential", "-T", "none", "-Q", "-u", &ek];
    if !is_p384 {
        arguments.extend(["-G", kind]);
    }
    let (secret_file, name, out) = (at("secret"), hex::encode(name), at("blob"));
    arguments.extend(["-s", &secret_file, "-n", &name, "-o", &out]);
    swtpm.tool(&arguments).unwrap();
    let file = std::fs::read(out).unwrap();
    assert_eq!(file[..8], [0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1]);
    let split = 8 + 2 + usize::from(u16::from_be_bytes([file[8], file[9]]));
    (file[8..split].to_vec(), file[split..].to_vec())
}

#[test]
fn a_request_for_a_key_of_every_scheme_proves_possession() {
    let bench = Bench::new();
    let algs = [
        "p-256",
        "p-384",
        "rsa-2048:rsassa",
        "rsa-2048:rsapss",
        "rsa-3072:rsassa",
        "rsa-3072:rsapss",
    ];
    // An IDevID has no scheme of its own: what it signs with is the agent's choice.
    let made = ["p-256", "p-384", "rsa-2048", "rsa-3072"];
    let owned = algs.map(|alg| (alg, KeyHome::Owner));
    let made = (0x8102_0000..)
        .zip(made)
        .map(|(handle, alg)| (alg, KeyHome::Manufacturer(handle)));
    let tpm = bench.open();
    for (alg, home) in owned.into_iter().chain(made) {
        let wanted = spec(Role::Identity, alg, home);
        let (request, public) = tpm
            .run(move |chip| {
                let key = chip.make_key(&wanted)?;
                Ok((ca_agent::csr::make(chip, &key)?, key.public()?))
            })
            .unwrap();
        let proven = attest::csr::prove(&request).unwrap_or_else(|e| panic!("{alg} {home:?}: {e:?}"));
        assert_eq!(proven.spki, public.spki().unwrap(), "{alg}");
        let nothing = attest::csr::CsrRequest {
            subject: vec![0x30, 0],
            ..Default::default()
        };
        assert_eq!(proven.request, nothing, "{alg}");
        // OpenSSL thinks so too.
        let parsed = openssl::x509::X509Req::from_der(&request).unwrap();
        assert!(parsed.verify(&parsed.public_key().unwrap()).unwrap(), "{alg}");
    }
    drop(tpm);
    bench.assert_nothing_loaded();
}

const OWNED: [KeyHome; 2] = [KeyHome::Owner, KeyHome::Owner];
const MADE: [KeyHome; 2] = [KeyHome::Manufacturer(0x8102_0001), KeyHome::Manufacturer(0x8102_0000)];

#[test]
fn owner_keys_of_every_algorithm_live() {
    let bench = Bench::new();
    bench.swtpm.add_p256_endorsement(&bench.vendor).unwrap();
    for alg in [
        "p-256",
        "p-384",
        "rsa-2048",
        "rsa-2048:rsassa",
        "rsa-3072",
        "rsa-3072:rsassa",
    ] {
        whole_life_of(&bench, alg, OWNED);
    }
}

#[test]
fn manufacturer_keys_of_every_algorithm_live_and_keep_their_handles() {
    for alg in ["p-256", "p-384", "rsa-2048", "rsa-3072"] {
        let bench = Bench::new();
        whole_life_of(&bench, alg, MADE);
        // The handles are taken now: the same keys are found, others are refused.
        let tpm = bench.open();
        let same = spec(Role::Identity, alg, MADE[1]);
        let again = tpm.run(move |chip| chip.make_key(&same)).unwrap();
        assert!(again.fits(&same));
        let other = spec(Role::Attestation, alg, MADE[1]);
        let taken = tpm.run(move |chip| chip.make_key(&other));
        assert!(matches!(taken, Err(TpmError::HandleTaken { handle: 0x8102_0000 })));
        drop(tpm);
        bench.assert_nothing_loaded();
    }
}

#[test]
fn a_credential_for_another_key_is_not_activated_and_leaves_nothing_loaded() {
    let bench = Bench::new();
    for homes in [OWNED, MADE] {
        let tpm = bench.open();
        let mine = spec(Role::Attestation, "p-256", homes[0]);
        let ak = tpm.run(move |chip| chip.make_key(&mine)).unwrap();
        let endorsement = tpm.run(|chip| chip.choose_endorsement(EkChoice::Rsa)).unwrap();
        let mut name = ak.public().unwrap().name();
        *name.last_mut().unwrap() ^= 1;
        let (blob, secret) = credential(&bench.swtpm, &endorsement.certificate, &name, &[1; 32]);
        let refused = tpm.run(move |chip| chip.activate(&endorsement, &ak, &blob, &secret));
        assert!(matches!(refused, Err(TpmError::Response { .. })), "{refused:?}");
        drop(tpm);
        bench.assert_nothing_loaded();
    }
}

#[test]
fn keys_of_another_tpm_or_of_a_cleared_one_are_told() {
    let bench = Bench::new();
    let other = Bench::new();
    let wanted = spec(Role::Identity, "p-256", KeyHome::Owner);
    let key = bench.open().run(move |chip| chip.make_key(&wanted)).unwrap();
    let foreign = other.open().run(move |chip| chip.sign(&key, b"x"));
    assert!(matches!(foreign, Err(TpmError::KeyGone { .. })), "{foreign:?}");
    let made = spec(Role::Identity, "p-256", MADE[1]);
    let key = bench.open().run(move |chip| chip.make_key(&made)).unwrap();
    bench
        .swtpm
        .tool(&["evictcontrol", "-C", "o", "-c", "0x81020000"])
        .unwrap();
    let gone = bench.open().run(move |chip| chip.sign(&key, b"x"));
    assert!(matches!(gone, Err(TpmError::KeyGone { .. })), "{gone:?}");
}

#[test]
fn passwords_of_the_hierarchies_are_told_and_taken() {
    let bench = Bench::new();
    bench.swtpm.tool(&["changeauth", "-c", "owner", "opensesame"]).unwrap();
    bench
        .swtpm
        .tool(&["changeauth", "-c", "endorsement", "barleycorn"])
        .unwrap();
    for home in [KeyHome::Owner, MADE[0]] {
        let wanted = spec(Role::Attestation, "p-256", home);
        let refused = bench.open().run(move |chip| chip.make_key(&wanted));
        assert!(matches!(refused, Err(TpmError::Authorisation { .. })), "{refused:?}");
        let passwords = Passwords {
            owner: Some(b"opensesame".to_vec().into()),
            endorsement: Some(b"barleycorn".to_vec().into()),
        };
        let tpm = Tpm::open(&bench.swtpm.tcti().parse().unwrap(), passwords).unwrap();
        let endorsement = tpm.run(|chip| chip.choose_endorsement(EkChoice::Rsa)).unwrap();
        let ak = tpm.run(move |chip| chip.make_key(&wanted)).unwrap();
        let name = ak.public().unwrap().name();
        let (blob, secret) = credential(&bench.swtpm, &endorsement.certificate, &name, &[7; 32]);
        let found = tpm
            .run(move |chip| chip.activate(&endorsement, &ak, &blob, &secret))
            .unwrap();
        assert_eq!(found.as_slice(), [7; 32]);
    }
}

#[test]
fn lockout_says_when_the_next_try_comes() {
    let bench = Bench::new();
    bench
        .swtpm
        .tool(&["dictionarylockout", "-s", "-n", "1", "-t", "600", "-l", "600"])
        .unwrap();
    // One wrong password on an object that is protected.
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    bench
        .swtpm
        .tool(&["createprimary", "-C", "o", "-c", &at("p"), "-p", "right"])
        .unwrap();
    let wrong = bench
        .swtpm
        .tool(&["create", "-C", &at("p"), "-P", "wrong", "-u", &at("u"), "-r", &at("r")]);
    assert!(wrong.is_err());
    bench.swtpm.tool(&["flushcontext", "-t"]).unwrap();
    let tpm = bench.open();
    let lockout = tpm.run(|chip| chip.lockout()).unwrap();
    assert!(lockout.active, "{lockout:?}");
    assert_eq!(lockout.next_try_in().unwrap().as_secs(), 600);
    // Keys with noDA work all the same; keys of the manufacturer stand still, and say why.
    let owned = spec(Role::Identity, "p-256", KeyHome::Owner);
    let signed = tpm.run(move |chip| {
        let key = chip.make_key(&owned)?;
        chip.sign(&key, b"x")
    });
    signed.unwrap();
    let made = spec(Role::Identity, "p-256", MADE[1]);
    let refused = tpm.run(move |chip| {
        let key = chip.make_key(&made)?;
        chip.sign(&key, b"x")
    });
    assert!(
        matches!(&refused, Err(TpmError::Lockout(l)) if l.active && l.limit == 1),
        "{refused:?}"
    );
}

#[test]
fn full_memory_is_told() {
    let bench = Bench::new();
    for _ in 0..3 {
        let made = bench
            .swtpm
            .command("tpm2")
            .args(["createprimary", "-C", "n", "-Q"])
            .output()
            .unwrap();
        assert!(made.status.success());
    }
    let wanted = spec(Role::Identity, "p-256", KeyHome::Owner);
    let full = bench.open().run(move |chip| chip.make_key(&wanted));
    assert!(matches!(full, Err(TpmError::Memory { what: "object", .. })), "{full:?}");
}

fn openssl(swtpm: &Swtpm, directory: &Path, arguments: &[&str]) -> Output {
    let output = swtpm
        .command("openssl")
        .args(arguments)
        .args([
            "-provider",
            "tpm2",
            "-provider",
            "default",
            "-propquery",
            "?provider=tpm2",
        ])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
fn openssl_signs_with_the_key_file_and_with_the_handle() {
    let bench = Bench::new();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("message"), b"hello").unwrap();
    for alg in ["p-256", "p-384", "rsa-2048", "rsa-2048:rsassa", "rsa-3072"] {
        let wanted = spec(Role::Identity, alg, KeyHome::Owner);
        let key = bench
            .open()
            .run(move |chip| {
                let key = chip.make_key(&wanted)?;
                chip.persist(&key, 0x8100_0100)?;
                // A second time is no error.
                chip.persist(&key, 0x8100_0100)?;
                Ok(key)
            })
            .unwrap();
        let StoredKey::Loadable(blobs) = &key else {
            panic!("an owner's key is a blob");
        };
        let pem = blobs.to_pem().unwrap();
        assert_eq!(&Tss2Key::from_pem(&pem).unwrap(), blobs);
        std::fs::write(directory.path().join("key.tss2.pem"), pem).unwrap();
        let (hash, _) = digest_for(&key.public().unwrap()).unwrap();
        let md = if hash.digest_len() == 32 { "sha256" } else { "sha384" };
        for name in ["key.tss2.pem", "handle:0x81000100"] {
            let arguments = [
                "pkeyutl", "-sign", "-inkey", name, "-rawin", "-digest", md, "-in", "message", "-out", "sig",
            ];
            openssl(&bench.swtpm, directory.path(), &arguments);
            let signature = std::fs::read(directory.path().join("sig")).unwrap();
            assert!(verify(&key.public().unwrap(), b"hello", &signature), "{alg} {name}");
        }
        bench
            .swtpm
            .tool(&["evictcontrol", "-C", "o", "-c", "0x81000100"])
            .unwrap();
    }
}
