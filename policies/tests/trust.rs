//! Trust files: what they must say, and errors with their place.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use attest::AnchorKind;
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509Name};
use policies::trust;

fn certificate() -> X509 {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "Test Vendor Root").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    builder.build()
}

fn pem(x509: &X509) -> String {
    String::from_utf8(x509.to_pem().unwrap()).unwrap()
}

fn file(pem: &str) -> String {
    format!(
        "[[anchor]]\nname = \"test-root\"\nkind = \"hardware\"\nmanufacturers = [\"id:49465800\", \"id:00001014\"]\n\
         source = \"https://example.com/root.crt\"\nadded = 2026-01-31\nwhy = \"our boards carry it\"\n\
         certificate = \"\"\"\n{pem}\"\"\"\n"
    )
}

#[test]
fn a_trust_file_names_its_anchors() {
    let (one, two) = (certificate(), certificate());
    let second = file(&pem(&two))
        .replace("test-root", "test-vm")
        .replace("\"hardware\"", "\"virtual\"");
    let anchors = trust::parse(
        "t.toml",
        &format!("{}{second}enforce_expiry = true\n", file(&pem(&one))),
    )
    .unwrap();
    let [first, second] = anchors.try_into().unwrap();
    assert_eq!(first.name, "test-root");
    assert_eq!(first.certificate, one.to_der().unwrap());
    assert_eq!(first.kind, AnchorKind::Hardware);
    assert_eq!(first.manufacturers, ["id:49465800", "id:00001014"]);
    assert!(!first.enforce_expiry);
    assert_eq!((second.kind, second.enforce_expiry), (AnchorKind::Virtual, true));
    assert!(trust::parse("t.toml", "# nothing yet\n").unwrap().is_empty());
}

#[test]
fn errors_say_where_and_what() {
    let x509 = certificate();
    let good = file(&pem(&x509));
    let change = |from: &str, to: &str| {
        let changed = good.replace(from, to);
        assert_ne!(changed, good);
        changed
    };
    let key = x509.public_key().unwrap().public_key_to_pem().unwrap();
    let key = String::from_utf8(key).unwrap();
    let body: String = pem(&x509).lines().nth(1).unwrap().to_owned();
    let trailing = {
        let mut der = x509.to_der().unwrap();
        der.push(0);
        der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, &der).unwrap()
    };
    for (toml, place, what) in [
        (
            change("[[anchor]]", "[[anchors]]"),
            "line 1, column 3: ",
            "did you mean `anchor`?",
        ),
        (
            change("source", "sorce"),
            "line 5, column 1: ",
            "did you mean `source`?",
        ),
        (
            change("\"hardware\"", "\"hardwere\""),
            "line 3, column 8: ",
            "did you mean `hardware`?",
        ),
        (
            change("\"test-root\"", "\"Test root\""),
            "line 2, column 8: ",
            "anchor name: character 1",
        ),
        (format!("{good}{good}"), "", "another anchor of this file has this name"),
        (
            format!("{good}{}", change("test-root", "other")),
            "",
            "another anchor of this file is this certificate",
        ),
        (
            change("[\"id:49465800\", \"id:00001014\"]", "[]"),
            "line 4, column 17: ",
            "name one",
        ),
        (change("id:49465800", "49465800"), "line 4, column 18: ", "`id:` and 8"),
        (
            change("id:49465800", "id:4946580"),
            "line 4, column 18: ",
            "`id:` and 8",
        ),
        (
            change("id:49465800", "id:4946580a"),
            "line 4, column 18: ",
            "`id:` and 8",
        ),
        (
            change("id:00001014", "id:49465800"),
            "line 4, column 33: ",
            "named twice",
        ),
        (
            change("https://example.com/root.crt", " "),
            "line 5, column 10: ",
            "`source` is empty",
        ),
        (
            change("our boards carry it", ""),
            "line 7, column 7: ",
            "`why` is empty",
        ),
        (
            change("why = \"our boards carry it\"\n", ""),
            "line 1, column 1: ",
            "missing field `why`",
        ),
        (
            change("2026-01-31", "2026-01-31T00:00:00Z"),
            "line 6, column 9: ",
            "a date",
        ),
        (change("2026-01-31", "2026-02-31"), "line 6, column 9: ", ""),
        (
            change("2026-01-31", "\"2026-01-31\""),
            "line 6, column 9: ",
            "invalid type",
        ),
        (change(&body, "!!!!"), "line 8, column 15: ", "not one PEM certificate"),
        (file(""), "line 8, column 15: ", "not one PEM certificate"),
        (
            file(&format!("{0}{0}", pem(&x509))),
            "line 8, column 15: ",
            "not one PEM certificate",
        ),
        (file(&key), "line 8, column 15: ", "a PEM block of type `PUBLIC KEY`"),
        (
            file(&key.replace("PUBLIC KEY", "CERTIFICATE")),
            "line 8, column 15: ",
            "not an X.509 certificate",
        ),
        (file(&trailing), "line 8, column 15: ", "not a certificate: "),
    ] {
        let error = trust::parse("t.toml", &toml).unwrap_err();
        assert_eq!(error.file, "t.toml");
        assert!(
            error.message.starts_with(place) && error.message.contains(what),
            "{toml}\n{}",
            error.message
        );
        assert!(error.message.contains('^'), "{}", error.message);
    }
}

/// The example next to the README is a good file.
#[test]
fn the_example_is_read() {
    let example = include_str!("../trust/example.toml");
    let anchors = trust::parse("example.toml", example).unwrap();
    assert_eq!(anchors.len(), 1);
    assert_eq!(
        anchors[0].kind,
        AnchorKind::Software,
        "an example is never trusted in production"
    );
}
