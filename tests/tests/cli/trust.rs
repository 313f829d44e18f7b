//! `ca-cli trust tpm`: from a vendor's folder to a decision, and what it says of an EK certificate.

use std::path::PathBuf;

use serde_json::Value;

use crate::kit::{Folder, Said, cli_alone};

pub(crate) fn swtpm(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates/attest/tests/data/swtpm");
    folder.join(name).display().to_string()
}

struct Desk {
    folder: Folder,
    store: String,
}

impl Desk {
    fn new() -> Self {
        let folder = Folder::new();
        let store = folder.path("trust.toml").display().to_string();
        Self { folder, store }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let mut all = vec!["trust", "tpm"];
        all.extend_from_slice(arguments);
        all.extend_from_slice(&["--store", &self.store]);
        cli_alone(&all)
    }

    #[track_caller]
    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["-o", "json"]].concat());
        assert_eq!(said.code, code, "{said:?}");
        said.json()
    }

    /// Codes for which the ECC EK certificate of the swtpm is refused.
    #[track_caller]
    fn tried(&self, code: i32) -> Vec<String> {
        let issuer = swtpm("issuer.der");
        let said = self.json(code, &["try", &swtpm("ek-p384.der"), "--chain", &issuer]);
        let reasons = said["reasons"].as_array().unwrap();
        reasons.iter().map(|r| r["code"].as_str().unwrap().to_owned()).collect()
    }
}

/// The one item whose name begins so.
fn named(list: &Value, start: &str) -> String {
    let names = list
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap());
    let found: Vec<&str> = names.filter(|name| name.starts_with(start)).collect();
    assert_eq!(found.len(), 1, "{list}");
    found[0].to_owned()
}

#[test]
fn a_root_goes_from_a_folder_to_trust_and_into_refusal() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["list"]).code, 4, "there is no store yet");
    let from = desk.folder.path("vendor");
    std::fs::create_dir(&from).unwrap();
    for name in ["root.der", "issuer.der", "ek-p384.der", "README.md"] {
        std::fs::copy(swtpm(name), from.join(name)).unwrap();
    }
    let from = from.display().to_string();
    let imported = desk.json(0, &["import", &from, "--source", "a test"]);
    assert_eq!(imported["form"], "a folder");
    let not: Vec<&str> = imported["not"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["origin"].as_str().unwrap())
        .collect();
    assert_eq!(not, ["README.md", "ek-p384.der"], "an EK certificate is no CA");
    let root = named(&imported["new"], "swtpm-localca-rootca-");
    let listed = desk.json(0, &["list", "--roots"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["state"], "unknown");
    assert_eq!(listed["items"][0]["source"], "a test: root.der");
    assert_eq!(desk.tried(3), ["EK_CA_UNTRUSTED"]);

    // Known, then trusted for another maker, then for the right one.
    let _ = desk.json(0, &["add", &root, "--known", "--why", "a demo"]);
    assert_eq!(desk.tried(3), ["EK_CA_UNTRUSTED"]);
    let other = [
        "add",
        &root,
        "--kind",
        "virtual",
        "--manufacturer",
        "GOOG",
        "--why",
        "a demo",
    ];
    let decided = desk.json(0, &other);
    assert_eq!(
        (&decided["before"], &decided["ca"]["state"]),
        (&"known".into(), &"trusted".into())
    );
    assert_eq!(desk.tried(3), ["EK_VENDOR"]);
    let right = [
        "add",
        &root,
        "--kind",
        "software",
        "--manufacturer",
        "id:00001014",
        "--why",
        "a demo",
    ];
    let decided = desk.json(0, &right);
    assert_eq!(decided["ca"]["terms"]["manufacturers"][0], "id:00001014");
    assert_eq!(desk.tried(0), Vec::<String>::new());

    // Software is not passed off as hardware, and a failed decision leaves no trace.
    let before = std::fs::read(&desk.store).unwrap();
    let passed = desk.run(&[
        "add",
        &root,
        "--kind",
        "hardware",
        "--manufacturer",
        "id:00001014",
        "--why",
        "a demo",
    ]);
    assert_eq!(passed.code, 2);
    assert!(passed.err.contains("makes software TPMs"), "{passed:?}");
    assert_eq!(std::fs::read(&desk.store).unwrap(), before);

    // An import changes nothing that was decided.
    let again = desk.json(0, &["import", &from]);
    assert_eq!(
        (
            again["new"].as_array().unwrap().len(),
            again["there"].as_array().unwrap().len()
        ),
        (0, 2)
    );
    assert_eq!(std::fs::read(&desk.store).unwrap(), before);

    // The link is refused; the root above it stays what it is.
    let refused = desk.json(
        0,
        &["refuse", &swtpm("issuer.der"), "--why", "key lost", "--by", "A. Person"],
    );
    assert_eq!(
        (&refused["before"], &refused["ca"]["state"]),
        (&"unknown".into(), &"refused".into())
    );
    assert_eq!(refused["ca"]["by"], "A. Person");
    assert_eq!(desk.tried(3), ["EK_CA_REFUSED"]);
    let issuer = refused["ca"]["name"].as_str().unwrap().to_owned();
    let lifted = desk.run(&["add", &issuer, "--known", "--why", "found again"]);
    assert_eq!(lifted.code, 5);
    assert!(
        lifted.err.contains("key lost (A. Person, ") && lifted.err.contains("--lift-refusal"),
        "{lifted:?}"
    );
    let _ = desk.json(
        0,
        &["add", &issuer, "--known", "--why", "found again", "--lift-refusal"],
    );
    assert_eq!(desk.tried(0), Vec::<String>::new());
}

#[test]
fn a_key_is_refused_by_its_hash_alone() {
    let desk = Desk::new();
    let _ = desk.json(0, &["import", &swtpm("root.der")]);
    let root = named(&desk.json(0, &["list"])["items"], "swtpm");
    let _ = desk.json(
        0,
        &[
            "add",
            &root,
            "--kind",
            "software",
            "--manufacturer",
            "id:00001014",
            "--why",
            "demo",
        ],
    );
    assert_eq!(desk.tried(0), Vec::<String>::new());
    let key = desk.json(0, &["list"])["items"][0]["spki_sha256"]
        .as_str()
        .unwrap()
        .to_owned();
    let refuse = ["refuse", "--key-sha256", &key, "--name", "lost", "--why", "an advisory"];
    let _ = desk.json(0, &refuse);
    assert_eq!(desk.tried(3), ["EK_CA_REFUSED"]);
    assert_eq!(desk.run(&refuse).code, 5, "it is there");
    assert_eq!(
        desk.run(&["refuse", "--key-sha256", "abc", "--name", "x", "--why", "y"])
            .code,
        2
    );
    assert_eq!(
        desk.run(&["add", "lost", "--known", "--why", "y", "--lift-refusal"])
            .code,
        2
    );
}

#[test]
fn a_fingerprint_that_differs_stops_the_decision() {
    let desk = Desk::new();
    let file = swtpm("root.der");
    let add = |sha256: &str| {
        desk.run(&[
            "add",
            &file,
            "--kind",
            "software",
            "--manufacturer",
            "id:00001014",
            "--why",
            "demo",
            "--sha256",
            sha256,
        ])
    };
    let other = add(&"0".repeat(64));
    assert_eq!(other.code, 3);
    assert!(!PathBuf::from(&desk.store).exists(), "nothing was taken in either");
    let hash = hex::encode(openssl::sha::sha256(&std::fs::read(&file).unwrap()));
    let said = add(&hash.to_uppercase());
    assert_eq!(said.code, 0, "{said:?}");
    for wanted in ["trusted; before: not there", "id:00001014", "demo"] {
        assert!(said.out.contains(wanted), "{said:?}");
    }
    // Only a root can be an anchor; a maker's word of five letters is none.
    let link = desk.run(&[
        "add",
        &swtpm("issuer.der"),
        "--kind",
        "software",
        "--manufacturer",
        "IFX",
        "--why",
        "demo",
    ]);
    assert_eq!(link.code, 2);
    assert!(link.err.contains("not self-signed"), "{link:?}");
    let word = desk.run(&[
        "add",
        &hash[..8],
        "--kind",
        "hardware",
        "--manufacturer",
        "IFXXX",
        "--why",
        "demo",
    ]);
    assert!(word.code == 2 && word.err.contains("no TPM maker"), "{word:?}");
    assert_eq!(desk.run(&["add", "nobody", "--known", "--why", "x"]).code, 4);
}

#[test]
fn an_export_is_the_same_bytes_each_time_and_says_its_hash() {
    let desk = Desk::new();
    let folder = PathBuf::from(swtpm("root.der")).parent().unwrap().display().to_string();
    let _ = desk.json(0, &["import", &folder]);
    let root = named(&desk.json(0, &["list", "--roots"])["items"], "swtpm");
    let _ = desk.json(
        0,
        &[
            "add",
            &root,
            "--kind",
            "software",
            "--manufacturer",
            "id:00001014",
            "--why",
            "demo",
        ],
    );
    let at = |name: &str| desk.folder.path(name).display().to_string();
    let (one, two, small) = (at("one.toml"), at("two.toml"), at("small.toml"));
    let first = desk.json(0, &["export", &one]);
    let second = desk.json(0, &["export", &two]);
    assert_eq!(first, second);
    let bytes = std::fs::read(&one).unwrap();
    assert_eq!(bytes, std::fs::read(&two).unwrap());
    assert_eq!(first["sha256"], hex::encode(openssl::sha::sha256(&bytes)));
    assert_eq!(first["software_anchors"][0], root);
    assert_eq!(desk.run(&["export", &one]).code, 5, "nothing is overwritten");
    let decided = desk.json(0, &["export", &small, "--decided"]);
    assert_eq!(
        (&decided["counts"]["trusted"], &decided["counts"]["unknown"]),
        (&1.into(), &0.into())
    );
    assert_eq!(decided["version"], first["version"]);
}

#[test]
fn every_reason_is_told_in_words_with_the_next_step() {
    let desk = Desk::new();
    let _ = desk.json(0, &["import", &swtpm("root.der")]);
    let text = desk.run(&["try", &swtpm("ek-p384.der")]);
    assert_eq!(text.code, 3);
    for wanted in [
        "✔ profile",
        "it says: id:00001014 swtpm",
        "✖ path",
        "EK_CHAIN",
        "- manufacturer",
        "refused: EK_CHAIN",
        "next: ",
    ] {
        assert!(text.out.contains(wanted), "{wanted}: {}", text.out);
    }
    // Two at once: no CA may be an EK certificate, and this one has no path either.
    let two = desk.json(3, &["try", &swtpm("issuer.der")]);
    let codes: Vec<&str> = two["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["EK_PROFILE", "EK_CA_UNTRUSTED"]);
    let mut padded = std::fs::read(swtpm("ek-p384.der")).unwrap();
    padded.extend([0xFF; 9]);
    let padded = desk.folder.put("nv.bin", &padded);
    let broken = desk.json(3, &["try", &padded]);
    assert_eq!(broken["reasons"][0]["code"], "MALFORMED");
    assert!(broken["next"].as_str().unwrap().contains("padding"));
}

#[test]
fn a_store_travels_signed_and_only_forward() {
    let desk = Desk::new();
    let openssl = |arguments: &[&str]| {
        let mut command = std::process::Command::new("openssl");
        let done = command.args(arguments).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let path = |name: &str| desk.folder.path(name).display().to_string();
    let (key, public, other) = (path("sign.pem"), path("sign.pub"), path("other.pub"));
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key]);
    openssl(&["pkey", "-in", &key, "-pubout", "-out", &public]);
    openssl(&[
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        &path("o.pem"),
    ]);
    openssl(&["pkey", "-in", &path("o.pem"), "-pubout", "-out", &other]);

    let _ = desk.json(0, &["import", &swtpm("root.der")]);
    let (old, new) = (path("old.toml"), path("new.toml"));
    let _ = desk.json(0, &["export", &old, "--sign", &key]);
    let _ = desk.json(0, &["import", &swtpm("issuer.der")]);
    let said = desk.json(0, &["export", &new, "--sign", &key]);
    assert_eq!(said["signature"], format!("{new}.sig"));
    // As anyone can check it.
    openssl(&[
        "dgst",
        "-sha256",
        "-verify",
        &public,
        "-signature",
        &format!("{new}.sig"),
        &new,
    ]);

    let verify = |arguments: &[&str]| cli_alone(&[&["trust", "tpm", "verify"], arguments, &["-o", "json"]].concat());
    let said = verify(&[&new, "--key", &other, "--key", &public, "--after", &old]);
    assert_eq!((said.code, said.json()["version"].as_u64()), (0, Some(3)), "{said:?}");
    assert_eq!(verify(&[&new, "--key", &other]).code, 3);
    let back = verify(&[&old, "--key", &public, "--after", &new]);
    assert!(back.code == 3 && back.err.contains("older than version 3"), "{back:?}");
    std::fs::write(
        &new,
        std::fs::read_to_string(&new).unwrap().replace("unknown", "refused"),
    )
    .unwrap();
    assert_eq!(verify(&[&new, "--key", &public]).code, 3);
}

#[test]
fn a_vendors_crl_is_imported_once_it_is_checked_and_never_an_older_one() {
    let desk = Desk::new();
    let path = |name: &str| desk.folder.path(name).display().to_string();
    let openssl = |arguments: &[&str]| {
        let mut command = std::process::Command::new("openssl");
        let done = command.args(arguments).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let config = format!(
        "[req]\ndistinguished_name = n\nx509_extensions = v\n[n]\n[v]\nbasicConstraints = critical,CA:TRUE\n\
         keyUsage = critical,keyCertSign,cRLSign\n[ca]\ndefault_ca = d\n[d]\ndatabase = {}\ndefault_md = sha256\n",
        path("index.txt")
    );
    std::fs::write(path("openssl.cnf"), config).unwrap();
    std::fs::write(path("index.txt"), "").unwrap();
    let (configured, key, root) = (path("openssl.cnf"), path("ca.key"), path("ca.pem"));
    openssl(&[
        "req",
        "-x509",
        "-config",
        &configured,
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=Vendor",
        "-keyout",
        &key,
        "-out",
        &root,
    ]);
    let crl = |name: &str, from: &str, to: &str| {
        openssl(&[
            "ca",
            "-gencrl",
            "-config",
            &configured,
            "-cert",
            &root,
            "-keyfile",
            &key,
            "-crl_lastupdate",
            from,
            "-crl_nextupdate",
            to,
            "-out",
            &path(name),
        ]);
        path(name)
    };
    let old = crl("old.crl", "20260101000000Z", "20260201000000Z");
    let new = crl("new.crl", "20261101000000Z", "20401201000000Z");
    let dir = path("crls");
    let import = |file: &str, code: i32| desk.json(code, &["crl", "import", file, "--dir", &dir]);

    let _ = desk.json(0, &["import", &swtpm("root.der")]);
    let stranger = desk.run(&["crl", "import", &new, "--dir", &dir]);
    assert!(
        stranger.code == 3 && stranger.err.contains("no CA of the store is its issuer"),
        "{stranger:?}"
    );
    let _ = desk.json(0, &["import", &root]);
    let said = import(&new, 0);
    assert_eq!(
        (&said["revoked"], &said["next_update"]),
        (&0.into(), &"2040-12-01T00:00:00Z".into())
    );
    assert!(said["file"].as_str().unwrap().starts_with(&dir));
    let back = desk.run(&["crl", "import", &old, "--dir", &dir]);
    assert!(
        back.code == 3 && back.err.contains("it was made 2026-01-01"),
        "{back:?}"
    );
    assert_eq!(import(&new, 0)["whole"], true);
    assert_eq!(desk.run(&["crl", "import", &root, "--dir", &dir]).code, 2);
}
