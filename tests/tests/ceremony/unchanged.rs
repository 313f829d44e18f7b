//! A plan for a real root is rehearsed as it is, byte for byte: another root, marked, stands in for the one that lies in its
//! bag. What comes of it is visibly fake.

use std::process::Command;

use ceremony::archive::{self, STAND_IN};
use ceremony::{Event, tar};
use openssl::x509::X509;

use crate::interrupted;
use crate::kit::{Desk, OnlineToken, Said, fill};
use crate::second_reader::python;

/// A plan for a CRL of a root that was made in earnest, and that root.
pub(crate) fn crl_plan(desk: &Desk) -> String {
    real_root(desk);
    let new = [
        "ceremony",
        "new",
        "--kind",
        "crl",
        "--name",
        "example-crl-1",
        "--issuer",
        "root.cer",
    ];
    fill(desk.run(&new).done().out, "", "", "0123456789abcdef")
}

/// A root of no rehearsal, in `root.cer` and `root.pem`: made by OpenSSL, and its key is gone.
pub(crate) fn real_root(desk: &Desk) {
    let config = desk.put("root.cnf", b"[req]\ndistinguished_name = name\n[name]\n");
    let mut made = Command::new("openssl");
    made.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-384",
        "-nodes",
        "-keyout",
        "/dev/null",
    ])
    .args([
        "-subj",
        "/O=Example/CN=Example Root R1",
        "-days",
        "7000",
        "-out",
        "root.pem",
        "-config",
    ])
    .arg(config)
    .args(["-addext", "basicConstraints=critical,CA:TRUE"])
    .args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"])
    .args(["-addext", "subjectKeyIdentifier=hash"]);
    let output = made.current_dir(desk.dir.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let pem = std::fs::read(desk.path("root.pem")).unwrap();
    desk.put("root.cer", &X509::from_pem(&pem).unwrap().to_der().unwrap());
}

fn common_name(name: &openssl::x509::X509NameRef) -> String {
    let entry = name.entries_by_nid(openssl::nid::Nid::COMMONNAME).next().unwrap();
    entry.data().to_string().unwrap()
}

#[test]
fn the_plan_of_a_real_root_is_rehearsed_unchanged_interrupted_everywhere_and_is_visibly_fake() {
    let desk = Desk::new();
    real_root(&desk);
    OnlineToken::new(&desk).request("issuing.csr", "01").done();
    desk.issuing_plan("issuing", "0123456789abcdef");
    let plan = desk.path("issuing.toml");
    let before = std::fs::read(&plan).unwrap();
    desk.run(&["ceremony", "lint", "issuing.toml"]).done();
    let run = |point: &str, resume: bool| {
        let mut command = desk.command(&["ceremony", "rehearse", "issuing.toml", "--dir", "issuing"]);
        command.env("HOLDFAST_TEST_POWER_CUT", point);
        Said::of(command.args(resume.then_some("--resume")).output().unwrap())
    };
    interrupted::everywhere(&plan, &run, &mut |_| ());
    assert_eq!(std::fs::read(&plan).unwrap(), before);
    let token = "rehearsal example-issuing-1a";
    assert_eq!(desk.objects("issuing", token, "Private Key Object"), 1);

    // Refused by both readers, unless a rehearsal will do.
    let path = desk.path("issuing/example-issuing-1a.tar");
    let bytes = std::fs::read(&path).unwrap();
    assert!(matches!(
        archive::verify(&bytes, false),
        Err(archive::ArchiveError::Rehearsal)
    ));
    assert_eq!(python(&path, false).0, Some(3));
    let verified = archive::verify(&bytes, true).unwrap();
    let (code, said) = python(&path, true);
    assert_eq!(code, Some(0), "{said}");
    // The record says what stood in for what.
    let mut told = verified.deviations().flat_map(|record| record.facts.values());
    assert!(told.any(|what| what.starts_with("key ") && what.contains("stands in for")));
    assert!(
        verified
            .transcript()
            .records()
            .iter()
            .any(|r| r.event == Event::Deviation)
    );

    // Everything that came of it says REHEARSAL, and nothing leads to the real root.
    let made = X509::from_der(verified.file("outputs/certificate.cer").unwrap()).unwrap();
    let stand_in = X509::from_der(verified.file(STAND_IN).unwrap()).unwrap();
    assert_eq!(common_name(made.subject_name()), "REHEARSAL Example Issuing 1A");
    assert_eq!(common_name(made.issuer_name()), "REHEARSAL Example Root R1");
    assert_eq!(common_name(stand_in.subject_name()), "REHEARSAL Example Root R1");
    assert!(made.verify(&stand_in.public_key().unwrap()).unwrap());
    desk.put("made.pem", &made.to_pem().unwrap());
    let said = desk.run(&["verify", "made.pem", "--trust", "root.pem", "--level", "none"]);
    assert_eq!(said.code, Some(3), "{said:?}");

    // What stood in is part of the record: not to be taken away or exchanged, by whoever lists the hashes anew.
    let files = tar::read(&bytes).unwrap();
    let changed = |content: Option<Vec<u8>>| {
        let mut files = files.clone();
        match content {
            Some(content) => files.insert(STAND_IN.to_owned(), content),
            None => files.remove(STAND_IN),
        };
        let sums = archive::sums(&files).into_bytes();
        files.insert(archive::SUMS.to_owned(), sums);
        let bytes = tar::write(&files).unwrap();
        let at = desk.put("changed.tar", &bytes);
        assert_eq!(python(&at, true).0, Some(3));
        archive::verify(&bytes, true).unwrap_err().to_string()
    };
    assert!(changed(None).contains("a rehearsal's CA and a ceremony's do not go together"));
    let real = std::fs::read(desk.path("root.cer")).unwrap();
    assert!(changed(Some(real)).contains("not marked as a rehearsal's"));
    let own = made.to_der().unwrap();
    assert!(changed(Some(own)).contains("not self-signed"));
}

#[test]
fn shares_are_rehearsed_too_and_the_real_ones_stay_in_their_bags() {
    let desk = Desk::new();
    let plan = crl_plan(&desk);
    let shared = "split_pin = true\nshares_of = \"example-root-r1\"";
    let split = plan.replace("split_pin = false", shared);
    assert_ne!(plan, split);
    desk.put("crl.toml", split.as_bytes());
    let said = desk.run(&["ceremony", "rehearse", "crl.toml", "--dir", "crl"]).done();
    assert!(said.err.contains("2 of 2 shares entered"), "{said:?}");
    let path = desk.path("crl/example-crl-1.tar");
    archive::verify(&std::fs::read(&path).unwrap(), true).unwrap();
    let (code, said) = python(&path, true);
    assert_eq!(code, Some(0), "{said}");
    // Without its sheets the token does not open.
    for folder in ["crl/medium", "crl/example-crl-1.tar"] {
        let path = desk.path(folder);
        let _ = std::fs::remove_dir_all(&path);
        let _ = std::fs::remove_file(&path);
    }
    std::fs::remove_file(desk.path("crl/secrets/token-pin-share-2.txt")).unwrap();
    let said = desk.run(&["ceremony", "rehearse", "crl.toml", "--dir", "crl"]);
    assert!(
        said.code != Some(0) && said.err.contains("token-pin-share-2"),
        "{said:?}"
    );
}
