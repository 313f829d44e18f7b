//! `ca-cli device allow`: an EK in every form people have it in, and what is no EK.

use std::path::Path;

use device_kit::endorsement::{SoftEk, Template};
use device_kit::keys::{rsa, tpm2b};
use device_kit::vendor::EkContent;
use openssl::pkey::PKey;
use openssl::x509::X509;

use crate::kit::{Said, cli, house};

fn allow(name: &str, ek: &str) -> Said {
    cli(&["device", "allow", name, "--ek", ek, "-o", "json"])
}

#[test]
fn one_key_in_every_form_is_one_hash() {
    let vendor = &house().rig.vendor;
    for (kind, ek) in [
        ("ec", SoftEk::generate(Template::L2)),
        ("rsa", SoftEk::with_key(Template::L1, rsa(2048))),
    ] {
        let certificate = vendor.ek_certificate(&ek.spki, &EkContent::honest(&ek.key));
        let sha256 = hex::encode(ek.sha256());
        let colons: Vec<String> = sha256
            .as_bytes()
            .chunks(2)
            .map(|c| String::from_utf8_lossy(c).to_uppercase())
            .collect();
        let public = PKey::public_key_from_der(&ek.spki).unwrap();
        let pem = X509::from_der(&certificate).unwrap().to_pem().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        };
        let forms = [
            (sha256.clone(), "SHA-256 of the SubjectPublicKeyInfo"),
            (colons.join(":"), "SHA-256 of the SubjectPublicKeyInfo"),
            (file("ek.der", &certificate), "an EK certificate"),
            (
                file("ek.pem", &[b"tpm2_getekcertificate says:\n", &pem[..]].concat()),
                "an EK certificate",
            ),
            (file("spki.der", &ek.spki), "a SubjectPublicKeyInfo"),
            (
                file("spki.pem", &public.public_key_to_pem().unwrap()),
                "a SubjectPublicKeyInfo",
            ),
            (file("tpmt", &ek.public), "a TPMT_PUBLIC"),
            (file("tpm2b", &tpm2b(&ek.public)), "a TPM2B_PUBLIC"),
        ];
        for (form, read_as) in forms {
            // The same name each time: the same content again is a success.
            let said = allow(&format!("forms-{kind}"), &form);
            assert_eq!(said.code, 0, "{form}: {said:?}");
            let value = said.json();
            assert_eq!(value["ek_read_as"], read_as, "{form}");
            assert_eq!(value["device"]["ek_spki_sha256"], *sha256, "{form}");
        }
    }
}

/// A chip whose certificate says id-RSAES-OAEP: OpenSSL reads no key from it.
#[test]
fn a_real_certificate_with_an_odd_encoding_is_taken() {
    let leaf = "../../shared/data/ek/leaves/STM_STM_TPM_EK_Intermediate_CA_02_STMi_07d685f9.der";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(leaf);
    let Ok(certificate) = std::fs::read(&path) else {
        assert!(std::env::var_os("CI").is_none(), "{leaf} is missing");
        eprintln!("skipped: no {leaf} beside the checkout");
        return;
    };
    let theirs = X509::from_der(&certificate).unwrap();
    assert!(
        theirs.public_key().is_err(),
        "OpenSSL has learnt to read it: take another leaf"
    );
    let said = allow("odd-stm", &path.display().to_string());
    assert_eq!(said.code, 0, "{said:?}");
    let value = said.json();
    assert_eq!(value["ek_read_as"], "an EK certificate");
    let spki = attest::ek::certificate_spki(&certificate).unwrap();
    assert_eq!(PKey::public_key_from_der(&spki).unwrap().rsa().unwrap().size(), 256);
    assert_eq!(
        value["device"]["ek_spki_sha256"],
        hex::encode(openssl::sha::sha256(&spki))
    );
}

#[test]
fn what_is_no_ek_is_a_usage_error_and_nothing_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let junk = dir.path().join("junk");
    std::fs::write(&junk, "nothing of the kind").unwrap();
    let said = allow("junk-1", &junk.display().to_string());
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains("no endorsement key") && said.err.contains("  do    "),
        "{said:?}"
    );
    assert_eq!(said.out, "");
    let said = allow("junk-1", &dir.path().join("nowhere").display().to_string());
    assert_eq!(said.code, 4, "{said:?}");
    assert_eq!(cli(&["device", "show", "junk-1"]).code, 4);
}

#[test]
fn other_content_under_one_name_and_one_ek_under_two_names_conflict() {
    let (one, two) = ("1a".repeat(32), "2b".repeat(32));
    assert_eq!(allow("twice-1", &one).code, 0);
    assert_eq!(allow("twice-1", &one).code, 0, "the same again");
    let said = allow("twice-1", &two);
    assert_eq!(said.code, 5, "{said:?}");
    assert_eq!(said.out, "");
    let said = allow("twice-2", &one);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains("twice-1"), "a person is told who has it: {said:?}");
    let said = cli(&["device", "allow", "twice-1", "--ek", &one, "--batch", "other"]);
    assert_eq!(said.code, 5, "{said:?}");
}

#[test]
fn entitlements_and_first_contact_reach_the_inventory() {
    let said = cli(&[
        "device",
        "allow",
        "first-1",
        "--first-contact",
        "2h",
        "--dns",
        "a.example",
        "--dns",
        "b.example",
        "--spiffe",
        "spiffe://example.org/gw",
        "--batch",
        "lot 7",
        "--reason",
        "test",
        "-o",
        "json",
    ]);
    assert_eq!(said.code, 0, "{said:?}");
    let device = &said.json()["device"];
    assert_eq!(device["state"], "expected");
    assert_eq!(device["dns_names"], serde_json::json!(["a.example", "b.example"]));
    assert_eq!(device["spiffe_id"], "spiffe://example.org/gw");
    assert_eq!(device["batch"], "lot 7");
    let said = cli(&["audit", "show", "first-1"]);
    assert!(
        said.out.contains("device.allowed") && said.out.contains("test"),
        "{said:?}"
    );
    for bad in [
        &["device", "allow", "first-2"][..],
        &["device", "allow", "first-2", "--first-contact", "2"],
        &["device", "allow", "first_2", "--first-contact", "2h"],
        &[
            "device",
            "allow",
            "first-2",
            "--first-contact",
            "2h",
            "--dns",
            "*.example",
        ],
    ] {
        let said = cli(bad);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{bad:?}: {said:?}");
    }
}
