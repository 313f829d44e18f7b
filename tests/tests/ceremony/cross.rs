//! Root rollover: the old root certifies the new one's key, and who trusts only the old one accepts what is below the new.

use std::process::Command;

use attest::UnixTime;
use ceremony::{Sha256, archive};
use issuance::{CaKey, IssuerRequest, KeyError, SignatureAlgorithm, ToSign};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

use crate::kit::{Desk, Said, fill, in_days, seconds_in, token_of};
use crate::second_reader::python;

const OLD: &str = "example-root-r1";
const NEW: &str = "example-root-r2";

/// An issuing CA's key in a file: OpenSSL signs a leaf with it.
struct FileKey(PKey<Private>, Vec<u8>);

impl FileKey {
    fn new() -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let spki = key.public_key_to_der().unwrap();
        Self(key, spki)
    }
}

impl CaKey for FileKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::EcdsaP256Sha256
    }
    fn spki(&self) -> &[u8] {
        &self.1
    }
    fn sign(&self, what: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
        let mut signer = Signer::new(MessageDigest::sha256(), &self.0).unwrap();
        Ok(signer.sign_oneshot_to_vec(what.bytes()).unwrap())
    }
}

impl Desk {
    fn new_plan(&self, arguments: &[&str], common_name: &str, token: &str) -> String {
        let new = self.run(&[&["ceremony", "new"], arguments].concat()).done();
        fill(new.out, "Example", common_name, token)
    }

    /// A certificate that was made in the folder of a rehearsal, DER and PEM beside the plans.
    fn take(&self, name: &str) {
        let made = std::fs::read(self.path(name).join("medium/outputs/certificate.cer")).unwrap();
        self.put(&format!("{name}.cer"), &made);
        let pem = openssl::x509::X509::from_der(&made).unwrap().to_pem().unwrap();
        self.put(&format!("{name}.pem"), &pem);
    }

    fn rehearse(&self, name: &str, root: &str) -> Said {
        let pin = format!("{root}/secrets/token.pin");
        let plan = format!("{name}.toml");
        self.run(&["ceremony", "rehearse", &plan, "--dir", name, "--pin-file", &pin])
    }

    fn openssl(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new("openssl");
        let output = command.args(arguments).current_dir(self.dir.path()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Both roots, held, as `old` and `new`.
    fn two_roots(&self) {
        let planned = in_days(1);
        for (folder, name, common_name) in [("old", OLD, "Example Root R1"), ("new", NEW, "Example Root R2")] {
            let new = ["--kind", "root", "--name", name, "--planned", &planned];
            let plan = self.new_plan(&new, common_name, "0123456789abcdef");
            let plan = self.put(&format!("{folder}.toml"), plan.as_bytes());
            let plan = plan.to_str().unwrap();
            self.run(&["ceremony", "rehearse", plan, "--dir", folder]).done();
            self.take(folder);
        }
    }

    /// The plan by which the old root crosses `subject`.
    fn cross_plan(&self, name: &str, subject: &str, common_name: &str) -> String {
        let new = [
            "--kind",
            "cross",
            "--name",
            name,
            "--issuer",
            "old.cer",
            "--subject",
            subject,
        ];
        self.new_plan(&new, common_name, &token_of(&self.path("old/medium")))
    }
}

#[test]
fn who_trusts_the_old_root_accepts_what_is_below_the_new_one() {
    let desk = Desk::new();
    desk.two_roots();
    let plan = desk.cross_plan("example-cross-r2", "new.cer", "Example Root R2");
    assert!(plan.contains("profile = \"cross\""), "{plan}");
    desk.put("cross.toml", plan.as_bytes());
    desk.run(&["ceremony", "lint", "cross.toml"]).done();
    desk.rehearse("cross", "old").done();
    desk.take("cross");
    let path = desk.path("cross/example-cross-r2.tar");
    let verified = archive::verify(&std::fs::read(&path).unwrap(), true).unwrap();
    let (code, said) = python(&path, true);
    assert_eq!(code, Some(0), "{said}");

    // The same name and the same key, of another issuer.
    let read = |name: &str| {
        let der = std::fs::read(desk.path(name)).unwrap();
        openssl::x509::X509::from_der(&der).unwrap()
    };
    let (new, cross, old) = (read("new.cer"), read("cross.cer"), read("old.cer"));
    let name = |name: &openssl::x509::X509NameRef| name.to_der().unwrap();
    assert_eq!(name(cross.subject_name()), name(new.subject_name()));
    assert_eq!(name(cross.issuer_name()), name(old.subject_name()));
    let spki = |x: &openssl::x509::X509| x.public_key().unwrap().public_key_to_der().unwrap();
    assert_eq!(spki(&cross), spki(&new));
    assert_eq!(cross.pathlen(), Some(1));
    assert_eq!(
        verified.file("outputs/certificate.cer"),
        Some(&*cross.to_der().unwrap())
    );

    // Below the new root: an issuing CA, and a leaf of it.
    let key = FileKey::new();
    let until = UnixTime(seconds_in(10));
    let request = IssuerRequest::make("Example", "Example Issuing 2A", [7; 32], until, &key).unwrap();
    desk.put("issuing.csr", &request);
    let new = [
        "--kind",
        "issuing",
        "--name",
        "example-issuing-2a",
        "--issuer",
        "new.cer",
    ];
    let new = [&new[..], &["--request", "issuing.csr"]].concat();
    let plan = desk.new_plan(&new, "Example Issuing 2A", &token_of(&desk.path("new/medium")));
    desk.put("issuing.toml", plan.as_bytes());
    desk.rehearse("issuing", "new").done();
    desk.take("issuing");
    desk.put("issuing.key", &key.0.private_key_to_pem_pkcs8().unwrap());
    desk.put(
        "leaf.ext",
        b"basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:pump.example.net\n",
    );
    let request = [
        "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-subj", "/CN=pump",
    ];
    let (made, text) = desk.openssl(&[&request[..], &["-out", "leaf.csr"]].concat());
    assert!(made, "{text}");
    let sign = [
        "x509",
        "-req",
        "-in",
        "leaf.csr",
        "-CA",
        "issuing.pem",
        "-CAkey",
        "issuing.key",
        "-days",
        "80",
    ];
    let (made, text) = desk.openssl(&[&sign[..], &["-extfile", "leaf.ext", "-out", "leaf.pem"]].concat());
    assert!(made, "{text}");

    let at = seconds_in(60).to_string();
    let judge = |anchor: &str, between: &[&str]| {
        let mut arguments = vec!["verify", "-x509_strict", "-attime", &at, "-CAfile", anchor];
        for file in between {
            arguments.extend(["-untrusted", file]);
        }
        desk.openssl(&[&arguments[..], &["leaf.pem"]].concat())
    };
    let (good, text) = judge("new.pem", &["issuing.pem"]);
    assert!(good, "{text}");
    let (good, text) = judge("old.pem", &["cross.pem", "issuing.pem"]);
    assert!(good, "{text}");
    // It is the cross-certificate that makes the way.
    let (good, text) = judge("old.pem", &["issuing.pem"]);
    assert!(!good && text.contains("unable to get"), "{text}");
    let (good, _) = judge("old.pem", &["new.pem", "issuing.pem"]);
    assert!(!good, "a root nobody trusts is no way");

    // The record and the cross-certificate are published, and not as a root.
    let archive = path.to_str().unwrap();
    desk.run(&["ceremony", "import", archive, "--to", "published", "--rehearsal"])
        .done();
    let there = std::fs::read(desk.path("published/example-cross-r2.cer")).unwrap();
    assert_eq!(Some(there.as_slice()), verified.file("outputs/certificate.cer"));
    assert!(!desk.path("published/root.cer").exists());

    // An issuing CA can be crossed, too: its leaves stand below, and no other CA.
    let plan = desk.cross_plan("example-cross-2a", "issuing.cer", "Example Issuing 2A");
    assert!(plan.contains("profile = \"issuing\""), "{plan}");
    desk.put("crossed.toml", plan.as_bytes());
    desk.rehearse("crossed", "old").done();
    desk.take("crossed");
    assert_eq!(read("crossed.cer").pathlen(), Some(0));
    let (good, text) = judge("old.pem", &["crossed.pem"]);
    assert!(good, "{text}");
}

/// C03, K08: everything right but one thing, and that is what is said. The old root's token is not asked.
#[test]
fn c03_a_cross_certificate_of_something_else_is_refused() {
    let desk = Desk::new();
    desk.two_roots();
    let good = desk.cross_plan("example-cross-r2", "new.cer", "Example Root R2");
    let lint = |plan: &str| {
        desk.put("bad.toml", plan.as_bytes());
        desk.run(&["ceremony", "lint", "bad.toml"])
    };
    lint(&good).done();
    let line = |key: &str| good.lines().rfind(|l| l.starts_with(&format!("{key} = "))).unwrap();
    let digest = |file: &str| Sha256::of(&std::fs::read(desk.path(file)).unwrap()).to_string();
    let (old, new, other) = (digest("old.cer"), digest("new.cer"), Sha256::of(b"").to_string());
    // The end of the old root, and a second more.
    let end = std::fs::read_to_string(desk.path("old.toml")).unwrap();
    let end = end.lines().find(|l| l.starts_with("not_after = ")).unwrap().to_owned();
    let beyond = end.replace("Z\"", "").replace("not_after = \"", "");
    let beyond = ceremony::calendar::parse(&format!("{beyond}Z")).unwrap();
    let beyond = format!("not_after = \"{}\"", ceremony::calendar::show(UnixTime(beyond.0 + 1)));
    for (from, to, words) in [
        (new.as_str(), other.as_str(), "new.cer has the SHA-256"),
        (&old, &other, "old.cer has the SHA-256"),
        ("Example Root R2", "Example Root R3", "subject-name"),
        (line("organization"), "organization = \"Other\"", "subject-name"),
        ("profile = \"cross\"", "profile = \"issuing\"", "profile: `issuing`"),
        ("profile = \"cross\"", "profile = \"root\"", "profile: `root`"),
        (line("crl_url"), "", "no-crl-url"),
        (line("not_after"), &beyond, "beyond-issuer"),
        (
            line("not_before"),
            "not_before = \"2020-06-01T00:00:00Z\"",
            "before-issuer",
        ),
    ] {
        assert!(good.contains(from), "{from}\n{good}");
        let said = lint(&good.replace(from, to));
        let text = format!("{}{}", said.out, said.err);
        assert!(said.code == Some(3) && text.contains(words), "{from} -> {to}: {said:?}");
    }
    // The old root crosses itself: another name for its own key.
    desk.put("same.cer", &std::fs::read(desk.path("old.cer")).unwrap());
    let own = good
        .replace("file = \"new.cer\"", "file = \"same.cer\"")
        .replace(&new, &old);
    let said = lint(&own.replace("Example Root R2", "Example Root R1"));
    assert!(said.code == Some(3) && said.out.contains("key-reused"), "{said:?}");
    // What is no CA's certificate never becomes one.
    let leaf = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-outform", "der",
    ];
    let name = ["-subj", "/O=Example/CN=Example Root R2", "-out", "leaf.cer"];
    let constraints = ["-addext", "basicConstraints=critical,CA:FALSE"];
    let config = desk.put("leaf.cnf", b"[req]\ndistinguished_name = name\n[name]\n");
    let config = ["-config", config.to_str().unwrap()];
    let (made, text) = desk.openssl(&[&leaf[..], &name, &config, &constraints].concat());
    assert!(made, "{text}");
    let leaf = good.replace("file = \"new.cer\"", "file = \"leaf.cer\"");
    let said = lint(&leaf.replace(&new, &digest("leaf.cer")));
    assert!(said.code == Some(3) && said.err.contains("not a CA"), "{said:?}");
    // The file is exchanged after the plan was approved.
    desk.put("cross.toml", good.as_bytes());
    desk.put("new.cer", &std::fs::read(desk.path("old.cer")).unwrap());
    let said = desk.rehearse("cross", "old");
    assert!(said.code == Some(3) && said.err.contains("the plan names"), "{said:?}");
    assert!(!desk.path("cross/medium").exists(), "nothing was begun");
}
