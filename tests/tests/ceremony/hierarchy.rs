//! Root, issuing CA and CRL: three plans, one hierarchy, verified by others.

use std::process::Command;

use ceremony::{Sha256, archive};

use crate::kit::{Desk, OnlineToken, in_days, seconds_in, token_of};

fn openssl(arguments: &[&str], desk: &Desk) -> (bool, String) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(desk.dir.path())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// The whole of a year: the root, an issuing CA of another token, and the CRL that revokes it.
#[test]
fn root_issuing_ca_and_crl_are_rehearsed_and_verified_by_others() {
    let desk = Desk::new();
    let root = desk.rehearsed_root();
    let verified = archive::verify(&std::fs::read(root).unwrap(), true).unwrap();
    let certificate = verified.file("outputs/certificate.cer").unwrap();
    desk.put("root.cer", certificate);
    let token = token_of(&desk.path("root/medium"));

    // The issuing CA's machine has a token of its own.
    let online = OnlineToken::new(&desk);
    online.request("issuing.csr", "01").done();
    let (good, text) = openssl(
        &["req", "-inform", "der", "-in", "issuing.csr", "-verify", "-noout"],
        &desk,
    );
    assert!(good, "{text}");

    desk.issuing_plan("issuing", &token);
    let pin = ["--pin-file", "root/secrets/token.pin"];
    desk.run(&[&["ceremony", "rehearse", "issuing.toml", "--dir", "issuing"][..], &pin].concat())
        .done();

    // Only this answer, to this request, for this key.
    let archive_file = "issuing/example-issuing-1a.tar";
    let import = |archive: &str, request: &str, more: &[&str], id: &str| {
        online.issuer(
            &[&["import", archive, "--request", request, "--to", "ca"], more].concat(),
            id,
        )
    };
    let said = import(archive_file, "issuing.csr", &[], "01");
    assert!(said.code == Some(3) && said.err.contains("REHEARSAL"), "{said:?}");
    online.request("again.csr", "01").done();
    let said = import(archive_file, "again.csr", &["--rehearsal"], "01");
    assert!(
        said.code == Some(3) && said.err.contains("answered another request"),
        "{said:?}"
    );
    online.request("other.csr", "02").done();
    let said = import(archive_file, "issuing.csr", &["--rehearsal"], "02");
    assert!(
        said.code == Some(3) && said.err.contains("E-ISSUER-KEY-MISMATCH"),
        "{said:?}"
    );
    let said = import("root/example-root-r1.tar", "issuing.csr", &["--rehearsal"], "01");
    assert!(said.code == Some(3) && said.err.contains("`root` ceremony"), "{said:?}");
    assert!(!desk.path("ca").exists(), "nothing was written by what was refused");
    import(archive_file, "issuing.csr", &["--rehearsal"], "01").done();
    // The root begins tomorrow.
    let at = seconds_in(60).to_string();
    let (good, text) = openssl(
        &[
            "verify",
            "-x509_strict",
            "-attime",
            &at,
            "-CAfile",
            "ca/root.pem",
            "ca/issuing.pem",
        ],
        &desk,
    );
    assert!(good, "{text}");

    // The CRL that revokes it.
    desk.put("before.crl", verified.file("outputs/ca.crl").unwrap());
    let issued = std::fs::read(desk.path("issuing/medium/outputs/certificate.cer")).unwrap();
    desk.crl_plan("crl", &token, &issued);
    desk.run(&[&["ceremony", "rehearse", "crl.toml", "--dir", "crl"][..], &pin].concat())
        .done();
    for folder in ["root", "crl"] {
        let crl = desk.path(folder).join("medium/outputs/ca.crl");
        desk.put(&format!("{folder}.crl"), &std::fs::read(crl).unwrap());
    }
    let check = |crl: &str, at: &str| {
        let (made, text) = openssl(&["crl", "-inform", "der", "-in", crl, "-out", "crl.pem"], &desk);
        assert!(made, "{text}");
        openssl(
            &[
                "verify",
                "-crl_check",
                "-attime",
                at,
                "-CRLfile",
                "crl.pem",
                "-CAfile",
                "ca/root.pem",
                "ca/issuing.pem",
            ],
            &desk,
        )
    };
    assert!(check("root.crl", &at).0);
    let (good, text) = check("crl.crl", &seconds_in(75).to_string());
    assert!(!good && text.contains("certificate revoked"), "{text}");

    // What is published gives way to what is later, and to nothing else.
    let publish = |archive: &str| desk.run(&["ceremony", "import", archive, "--to", "published", "--rehearsal"]);
    publish("root/example-root-r1.tar").done();
    publish("crl/example-crl-2.tar").done();
    let there = std::fs::read(desk.path("published/root.crl")).unwrap();
    assert_eq!(
        Sha256::of(&there),
        Sha256::of(&std::fs::read(desk.path("crl.crl")).unwrap())
    );
    let said = publish("root/example-root-r1.tar");
    assert!(said.code == Some(5) && said.err.contains("later CRL"), "{said:?}");
    let said = desk.run(&["ceremony", "import", archive_file, "--to", "elsewhere"]);
    assert!(said.code == Some(3) && !desk.path("elsewhere").exists(), "{said:?}");

    // Whatever is below a rehearsed root, our own verifier refuses it.
    let said = desk.run(&[
        "verify",
        "ca/issuing.pem",
        "--trust",
        "ca/root.pem",
        "--level",
        "none",
        "--at",
        &in_days(60),
    ]);
    assert!(
        said.code == Some(3) && said.out.contains("is of a rehearsal"),
        "{said:?}"
    );
}
