//! Path validators: certificate, issuing CA, root, and where they can, the CRL or the OCSP answer.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, SystemTime};

use device_kit::others::{go_program, prints, there};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{BorrowedCertRevocationList, CertRevocationList, EndEntityCert, KeyUsage, RevocationCheckDepth};
use webpki::{RevocationOptionsBuilder, UnknownStatusPolicy};

use crate::objects::{Object, Objects, Purpose, Standing};

/// (object, what the judge says of it).
pub(crate) type Findings = Vec<(String, String)>;

/// A verdict: accepted, revoked, or refused with words.
fn judge(findings: &mut Findings, object: &Object, how: &str, revocation: bool, verdict: &str) {
    let wanted = match object.standing {
        Standing::Revoked | Standing::Held if revocation => "revoked",
        _ => "ok",
    };
    if verdict != wanted {
        findings.push((object.name.clone(), format!("{how}: {verdict}")));
    }
}

/// The first of these that is in the text, or the text itself, on one line.
fn word(text: &str, words: &[(&str, &str)]) -> String {
    words.iter().find(|(sign, _)| text.contains(sign)).map_or_else(
        || text.split_whitespace().collect::<Vec<_>>().join(" "),
        |(_, verdict)| (*verdict).to_owned(),
    )
}

/// `openssl verify`, strictly, with the CRL and without.
pub(crate) fn openssl(objects: &Objects) -> Option<Findings> {
    let mut findings = Findings::new();
    for object in &objects.certificates {
        for revocation in [false, true] {
            if revocation && !object.status {
                continue;
            }
            let mut command = Command::new("openssl");
            command.args(["verify", "-x509_strict", "-policy_check", "-check_ss_sig", "-CAfile"]);
            command
                .arg(objects.path("root.pem"))
                .arg("-untrusted")
                .arg(objects.path("issuing.pem"));
            command.args([
                "-purpose",
                match object.purpose {
                    Purpose::Ca => "any",
                    Purpose::Client => "sslclient",
                    Purpose::Server => "sslserver",
                    Purpose::Ocsp => "ocsphelper",
                },
            ]);
            if revocation {
                command
                    .arg("-crl_check")
                    .arg("-CRLfile")
                    .arg(objects.path(&format!("{}.crl.pem", object.name)));
            }
            let text = prints(command.arg(objects.path(&format!("{}.pem", object.name))));
            let verdict = word(&text, &[("certificate revoked", "revoked"), (".pem: OK", "ok")]);
            judge(
                &mut findings,
                object,
                if revocation { "CRL" } else { "path" },
                revocation,
                &verdict,
            );
        }
    }
    Some(findings)
}

/// `certtool --verify`, with the CRL and without.
pub(crate) fn gnutls(objects: &Objects) -> Option<Findings> {
    if !there("certtool") {
        return None;
    }
    let mut findings = Findings::new();
    for object in objects.leaves() {
        let chain = objects.path("chain.pem");
        let text = |name: &str| std::fs::read_to_string(objects.path(name)).unwrap();
        std::fs::write(&chain, text(&format!("{}.pem", object.name)) + &text("issuing.pem")).unwrap();
        for revocation in [false, true] {
            let mut command = Command::new("certtool");
            command
                .args(["--verify", "--verify-profile=medium", "--load-ca-certificate"])
                .arg(objects.path("root.pem"));
            if revocation {
                command
                    .arg("--load-crl")
                    .arg(objects.path(&format!("{}.crl.pem", object.name)));
            }
            let text = prints(command.arg("--infile").arg(&chain));
            let last = text.rsplit("Chain verification output: ").next().unwrap_or_default();
            let verdict = word(
                last,
                &[
                    ("The certificate chain is revoked", "revoked"),
                    ("Verified. The certificate is trusted", "ok"),
                ],
            );
            judge(
                &mut findings,
                object,
                if revocation { "CRL" } else { "path" },
                revocation,
                &verdict,
            );
        }
    }
    Some(findings)
}

/// `vfychain -pp`: alone, with CRLs that it fetches, with OCSP that it asks; `crlutil -I` for every CRL.
pub(crate) fn nss(objects: &Objects) -> Option<Findings> {
    if !there("vfychain") || !there("certutil") || !there("crlutil") {
        return None;
    }
    let database = objects.path("nss");
    std::fs::create_dir(&database).unwrap();
    let database = format!("sql:{}", database.display());
    let certutil = |arguments: &[&str], file: Option<&str>| {
        let mut command = Command::new("certutil");
        command.args(["-d", &database]).args(arguments);
        if let Some(file) = file {
            command.arg("-i").arg(objects.path(file));
        }
        let out = command.output().unwrap();
        assert!(out.status.success(), "{out:?}");
    };
    certutil(&["-N", "--empty-password"], None);
    certutil(&["-A", "-n", "root", "-t", "CT,C,C"], Some("root.pem"));
    certutil(&["-A", "-n", "issuing", "-t", ",,"], Some("issuing.pem"));
    let mut findings = Findings::new();
    for object in objects.leaves() {
        for (how, more) in [
            ("path", &[][..]),
            ("CRL", &["-g", "leaf", "-m", "crl", "-s", "failIfNoInfo"]),
            ("OCSP", &["-g", "leaf", "-m", "ocsp", "-s", "failIfNoInfo"]),
        ] {
            let mut command = Command::new("vfychain");
            command.args(["-d", &database, "-pp", "-u"]);
            command
                .arg(if object.purpose == Purpose::Server { "1" } else { "0" })
                .args(more);
            let text = prints(command.arg(objects.path(&format!("{}.der", object.name))));
            let verdict = match text.split("ERROR ").nth(1) {
                Some(error) if error.starts_with("-8180") => "revoked".to_owned(),
                Some(error) => error.split_whitespace().collect::<Vec<_>>().join(" "),
                None => word(&text, &[("Chain is good!", "ok")]),
            };
            judge(&mut findings, object, how, how != "path", &verdict);
        }
    }
    for crl in &objects.crls {
        let mut command = Command::new("crlutil");
        command
            .args(["-I", "-d", &database, "-i"])
            .arg(objects.path(&format!("{crl}.der")));
        let out = command.output().unwrap();
        if !out.status.success() {
            let text = String::from_utf8_lossy(&out.stderr);
            let last = text.trim().rsplit(": ").next().unwrap_or_default();
            findings.push((crl.clone(), last.to_owned()));
        }
    }
    Some(findings)
}

/// Verdicts of a program that prints `NAME HOW VERDICT` for each leaf.
fn lines(objects: &Objects, text: &str, hows: &[&str]) -> Findings {
    let mut verdicts: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ' ');
        if let (Some(name), Some(how), Some(verdict)) = (parts.next(), parts.next(), parts.next()) {
            verdicts.insert((name, how), verdict);
        }
    }
    let mut findings = Findings::new();
    for object in objects.leaves() {
        for how in hows {
            let verdict = verdicts.get(&(object.name.as_str(), *how));
            let verdict = verdict.unwrap_or_else(|| panic!("{} {how}: no verdict in {text}", object.name));
            judge(&mut findings, object, how, *how != "path", verdict);
        }
    }
    findings
}

/// Arguments for the programs below: folder, then each leaf's name.
fn arguments(objects: &Objects, command: &mut Command) {
    command.arg(objects.path("")).args(objects.leaves().map(|o| &o.name));
}

const JAVA: &str = include_str!("Judge.java");

/// Java's PKIX validator: alone, with CRLs that it fetches, with OCSP that it asks.
pub(crate) fn java(objects: &Objects) -> Option<Findings> {
    if !there("javac") {
        return None;
    }
    let source = objects.path("Judge.java");
    std::fs::write(&source, JAVA).unwrap();
    let mut command = Command::new("java");
    arguments(objects, command.arg("-Dcom.sun.security.enableCRLDP=true").arg(&source));
    Some(lines(objects, &prints(&mut command), &["path", "CRL", "OCSP"]))
}

const GO: &str = include_str!("judge.go.txt");

/// Go's crypto/x509 and golang.org/x/crypto/ocsp; a CRL as Go programs use it (signature, dates, serial number).
pub(crate) fn go(objects: &Objects) -> Option<Findings> {
    if !there("go") {
        return None;
    }
    let mut command = Command::new(go_program(GO, &objects.path("")));
    arguments(objects, &mut command);
    Some(lines(objects, &prints(&mut command), &["path", "CRL", "OCSP"]))
}

/// rustls-webpki, with the CRL and without.
pub(crate) fn webpki(objects: &Objects) -> Option<Findings> {
    let read = |name: &str| std::fs::read(objects.path(name)).unwrap();
    let (root, issuing) = (
        CertificateDer::from(read("root.der")),
        CertificateDer::from(read("issuing.der")),
    );
    let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let mut findings = Findings::new();
    for crl in &objects.crls {
        if let Err(error) = BorrowedCertRevocationList::from_der(&read(&format!("{crl}.der"))) {
            findings.push((crl.clone(), format!("{error:?}")));
        }
    }
    for object in objects.leaves() {
        let leaf = CertificateDer::from(read(&format!("{}.der", object.name)));
        for revocation in [false, true] {
            let verdict = (|| {
                let der = read(&format!("{}.crl.der", object.name));
                let crl: CertRevocationList<'_> = BorrowedCertRevocationList::from_der(&der)
                    .map_err(|e| format!("CRL: {e:?}"))?
                    .into();
                let crls = [&crl];
                let options = revocation.then(|| {
                    RevocationOptionsBuilder::new(&crls)
                        .unwrap()
                        .with_depth(RevocationCheckDepth::EndEntity)
                        .with_status_policy(UnknownStatusPolicy::Deny)
                        .build()
                });
                let usage = match object.purpose {
                    Purpose::Server => KeyUsage::server_auth(),
                    _ => KeyUsage::client_auth(),
                };
                EndEntityCert::try_from(&leaf)
                    .map_err(|e| format!("{e:?}"))?
                    .verify_for_usage(
                        webpki::ALL_VERIFICATION_ALGS,
                        &anchors,
                        std::slice::from_ref(&issuing),
                        UnixTime::since_unix_epoch(now),
                        usage,
                        options,
                        None,
                    )
                    .map(|_| ())
                    .map_err(|e| format!("{e:?}"))
            })();
            let verdict = match verdict {
                Ok(()) => "ok".to_owned(),
                Err(error) if error == "CertRevoked" => "revoked".to_owned(),
                Err(error) => error,
            };
            judge(
                &mut findings,
                object,
                if revocation { "CRL" } else { "path" },
                revocation,
                &verdict,
            );
        }
    }
    Some(findings)
}
