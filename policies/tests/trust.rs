//! Trust files: what they must say, and errors with their place.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use attest::AnchorKind;
use attest::trust::Standing;
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509Name};
use policies::trust::{self, Ca, Decision, Imported, StoreError, Terms, TrustStore};

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

// The store.

fn decision(why: &str) -> Decision {
    Decision {
        date: "2026-11-23".to_owned(),
        by: "A. Person".to_owned(),
        why: why.to_owned(),
    }
}

fn terms() -> Terms {
    Terms {
        kind: AnchorKind::Hardware,
        manufacturers: vec!["id:49465800".to_owned()],
        enforce_expiry: false,
    }
}

/// swtpm's local CAs: a root, and an intermediate below it.
const ROOT: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/root.der");
const ISSUER: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/issuer.der");
const LEAF: &[u8] = include_bytes!("../../crates/attest/tests/data/swtpm/ek-p384.der");

/// A store with an unknown root.
fn imported() -> TrustStore {
    let mut store = TrustStore::default();
    let new = store.import("root", ROOT, "a test", decision("")).unwrap();
    assert_eq!(new, Imported::New);
    store
}

fn state(store: &TrustStore, name: &str) -> &'static str {
    store.get(name).unwrap().state.as_str()
}

/// Names by what the validator is told of them: anchors, known, unknown, refused.
fn told(store: &TrustStore) -> [Vec<String>; 4] {
    let sources = store.sources();
    let of = |standing| {
        let others = sources.others.iter().filter(|ca| ca.standing == standing);
        others.map(|ca| ca.name.clone()).collect::<Vec<_>>()
    };
    let mut refused = of(Standing::Refused);
    refused.extend(sources.refused.iter().map(|refused| refused.name.clone()));
    let anchors = sources.anchors.iter().map(|anchor| anchor.name.clone()).collect();
    [anchors, of(Standing::Known), of(Standing::Unknown), refused]
}

fn only(at: usize) -> [Vec<String>; 4] {
    core::array::from_fn(|i| if i == at { vec!["root".to_owned()] } else { vec![] })
}

#[test]
fn every_state_leads_to_every_other_and_out_of_refused_only_by_saying_so() {
    type Step = fn(&mut TrustStore, bool) -> Result<(), StoreError>;
    let trusted: Step = |store, lift| store.trust("root", terms(), decision("boards"), lift);
    let known: Step = |store, lift| store.know("root", decision("no boards yet"), lift);
    let refused: Step = |store, _| store.refuse("root", decision("key lost"));
    let begin: [(&str, Step); 4] = [
        ("unknown", |_, _| Ok(())),
        ("trusted", trusted),
        ("known", known),
        ("refused", refused),
    ];
    for (before, first) in begin {
        for (after, at, second) in [("trusted", 0, trusted), ("known", 1, known), ("refused", 3, refused)] {
            let mut store = imported();
            first(&mut store, false).unwrap();
            assert_eq!(state(&store, "root"), before);
            let version = store.version();
            if before == "refused" && after != "refused" {
                let error = second(&mut store, false).unwrap_err();
                let who = "key lost (A. Person, 2026-11-23)";
                assert_eq!(error, StoreError::IsRefused("root".into(), who.into()));
                assert_eq!((state(&store, "root"), store.version()), ("refused", version));
                second(&mut store, true).unwrap();
            } else {
                second(&mut store, false).unwrap();
            }
            assert_eq!((state(&store, "root"), told(&store)), (after, only(at)));
            assert_eq!(store.version(), version + 1, "each change counts");
            // An import changes nothing that was decided.
            let again = store.import("other", ROOT, "elsewhere", decision("")).unwrap();
            assert_eq!(again, Imported::There("root".to_owned()));
            assert_eq!((state(&store, "root"), store.version()), (after, version + 1));
        }
    }
    assert_eq!(told(&imported()), only(2));
}

#[test]
fn what_cannot_be_decided_is_not() {
    let mut store = imported();
    store.import("issuer", ISSUER, "a test", decision("")).unwrap();
    let before = store.clone();
    let refused = |result: Result<(), StoreError>, error: StoreError| assert_eq!(result.unwrap_err(), error);
    refused(
        store.trust("issuer", terms(), decision("why"), false),
        StoreError::NotSelfSigned("issuer".into()),
    );
    refused(
        store.trust("nobody", terms(), decision("why"), false),
        StoreError::NoSuchCa("nobody".into()),
    );
    assert_eq!(
        store.import("leaf", LEAF, "a test", decision("")).unwrap_err(),
        StoreError::NoCa("it is not a CA".into())
    );
    let mut renamed = TrustStore::default();
    renamed.import("root", ISSUER, "a test", decision("")).unwrap();
    assert_eq!(
        renamed.import("root", ROOT, "a test", decision("")).unwrap_err(),
        StoreError::NameTaken("root".into())
    );
    // What would not be read again is not written.
    for (terms, decision, what) in [
        (
            Terms {
                manufacturers: vec![],
                ..terms()
            },
            decision("why"),
            "name one",
        ),
        (
            Terms {
                manufacturers: vec!["IFX".into()],
                ..terms()
            },
            decision("why"),
            "`id:` and 8",
        ),
        (terms(), decision(""), "`why` is missing"),
        (terms(), decision("a\u{1b}[2J"), "control characters"),
        (
            terms(),
            Decision {
                by: String::new(),
                ..decision("why")
            },
            "`by` is empty",
        ),
        (
            terms(),
            Decision {
                date: "today".into(),
                ..decision("why")
            },
            "date",
        ),
    ] {
        let error = store.trust("root", terms, decision, false).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    assert!(store.import("Not A Name", LEAF, "a test", decision("")).is_err());
    assert_eq!(store, before, "a change that is refused changes nothing");
}

#[test]
fn a_hash_alone_is_refused_and_never_trusted() {
    let mut store = TrustStore::default();
    for (name, ca) in [("one", Ca::CertificateHash([1; 32])), ("two", Ca::KeyHash([2; 32]))] {
        store
            .refuse_hash(name, ca.clone(), "an advisory", decision("key lost"))
            .unwrap();
        let again = store.refuse_hash("again", ca, "an advisory", decision("key lost"));
        assert_eq!(again.unwrap_err(), StoreError::AlreadyThere(name.into()));
        let trusted = store.trust(name, terms(), decision("why"), true);
        assert_eq!(trusted.unwrap_err(), StoreError::OnlyHash(name.into()));
    }
    let [_, _, _, refused] = told(&store);
    assert_eq!(refused, ["one", "two"]);
    let read = TrustStore::parse("t.toml", &store.render().unwrap()).unwrap();
    assert_eq!(read, store);
}

#[test]
fn a_store_reads_as_it_was_written_and_its_bytes_do_not_depend_on_the_order_of_import() {
    let mut one = imported();
    one.import("issuer", ISSUER, "a \"test\" \\ 'quoted' \u{e9}", decision(""))
        .unwrap();
    one.trust("root", terms(), decision("boards # of 2026"), false).unwrap();
    let mut other = TrustStore::default();
    other
        .import("issuer", ISSUER, "a \"test\" \\ 'quoted' \u{e9}", decision(""))
        .unwrap();
    other.import("root", ROOT, "a test", decision("")).unwrap();
    other
        .trust("root", terms(), decision("boards # of 2026"), false)
        .unwrap();
    let text = one.render().unwrap();
    assert_eq!(text, other.render().unwrap());
    assert_eq!(TrustStore::parse("t.toml", &text).unwrap(), one);
    assert_eq!(trust::sources("t.toml", &text).unwrap().anchors.len(), 1);
    // For servers: without what nobody decided about.
    let decided = one.decided();
    assert_eq!(told(&decided), only(0));
    assert_eq!(decided.version(), one.version());
    assert!(!decided.render().unwrap().contains("issuer"));
}

#[test]
fn a_store_that_was_tampered_with_says_where() {
    let mut store = imported();
    store.trust("root", terms(), decision("boards"), false).unwrap();
    store
        .refuse_hash("lost", Ca::KeyHash([7; 32]), "an advisory", decision("key lost"))
        .unwrap();
    let good = store.render().unwrap();
    let change = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        changed
    };
    let root = hex::encode(openssl::sha::sha256(ROOT));
    let other = pem(&certificate());
    let body = good.split("\"\"\"\n").nth(1).unwrap();
    let issuer = pem(&X509::from_der(ISSUER).unwrap());
    for (toml, what) in [
        (change("format = 1", "format = 2"), "reads format 1"),
        (change("format = 1\n", ""), "missing field `format`"),
        (change("version = 4", "version = 0"), "count up from 1"),
        (change("version = 4\n", ""), "missing field `version`"),
        (change("[[ca]]", "[[caa]]"), "did you mean `ca`?"),
        (change("\"trusted\"", "\"trustet\""), "did you mean `trusted`?"),
        (change("\"trusted\"", "\"known\""), "only a trusted CA has terms"),
        (change("kind = \"hardware\"\n", ""), "`kind` is missing"),
        (
            change("manufacturers = [\"id:49465800\"]\n", ""),
            "`manufacturers` is missing",
        ),
        (change("by = \"A. Person\"", "by = \" \""), "`by` is empty"),
        (change("source = \"a test\"", "source = \"\""), "`source` is empty"),
        (change("why = \"boards\"\n", ""), "`why` is missing"),
        (change("2026-11-23", "2026-11-23T00:00:00Z"), "a date"),
        (change(&root, &"0".repeat(64)), "the certificate below has"),
        (change(&root, &root.to_uppercase()), "64 lower-case hex digits"),
        // Another certificate under the hash that was decided about.
        (change(body, &issuer), "the certificate below has"),
        (change(body, &other), "it is not a CA"),
        (change(&"07".repeat(32), &"07".repeat(31)), "64 lower-case hex digits"),
        (
            change(
                "name = \"lost\"\nstate = \"refused\"",
                "name = \"lost\"\nstate = \"unknown\"",
            ),
            "a hash alone can only be refused",
        ),
        (
            change(
                "spki_sha256 = \"0707",
                &format!("sha256 = \"{}\"\nspki_sha256 = \"0707", "0".repeat(64)),
            ),
            "exactly one of",
        ),
        (
            change("name = \"lost\"", "name = \"root\""),
            "two CAs are called `root`",
        ),
        (
            format!(
                "{good}{}",
                good.split_once("[[ca]]")
                    .unwrap()
                    .1
                    .split_once("[[ca]]")
                    .map(|(_, e)| format!("[[ca]]{e}"))
                    .unwrap()
                    .replace("name = \"root\"", "name = \"twin\"")
            ),
            "is about the same as `root`",
        ),
    ] {
        let error = trust::sources("t.toml", &toml).unwrap_err();
        assert!(error.message.contains(what), "{what}:\n{}", error.message);
    }
    // A bit of the certificate cannot flip unseen.
    let at = good.find("-----BEGIN").unwrap() + 200;
    let mut bytes = good.clone().into_bytes();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    assert!(TrustStore::parse("t.toml", &String::from_utf8(bytes).unwrap()).is_err());
}
