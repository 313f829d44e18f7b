//! OCSP answers that were kept as files, judged by programs that did not ask for them.

use std::process::Command;

use device_kit::others::{prints, there};

use crate::objects::Objects;
use crate::paths::Findings;

/// `openssl ocsp -respin`: the delegate's path, its usage, the answer's signature and times.
pub(crate) fn openssl(objects: &Objects) -> Option<Findings> {
    let mut findings = Findings::new();
    for (answer, about) in &objects.answers {
        let mut command = Command::new("openssl");
        command
            .args(["ocsp", "-no_nonce", "-respin"])
            .arg(objects.path(&format!("{answer}.der")));
        command.arg(if answer.contains("sha1") { "-sha1" } else { "-sha256" });
        command.arg("-issuer").arg(objects.path("issuing.pem"));
        command.arg("-cert").arg(objects.path(&format!("{about}.pem")));
        command
            .arg("-CAfile")
            .arg(objects.path("root.pem"))
            .arg("-verify_other")
            .arg(objects.path("issuing.pem"));
        let text = prints(&mut command);
        let wanted = match about.as_str() {
            "revoked" => "keyCompromise",
            "held" => "certificateHold",
            _ => ": good",
        };
        if !text.contains("Response verify OK") || !text.contains(wanted) {
            findings.push((answer.clone(), text.replace('\n', " ")));
        }
    }
    Some(findings)
}

/// `ocsptool --verify-response`.
pub(crate) fn gnutls(objects: &Objects) -> Option<Findings> {
    if !there("ocsptool") {
        return None;
    }
    let mut findings = Findings::new();
    for (answer, _) in &objects.answers {
        let mut command = Command::new("ocsptool");
        command
            .args(["--verify-response", "--inder", "--infile"])
            .arg(objects.path(&format!("{answer}.der")));
        let text = prints(command.arg("--load-trust").arg(objects.path("issuing.pem")));
        if !text.contains("Verifying OCSP Response: Success") {
            findings.push((answer.clone(), text.trim().replace('\n', " ")));
        }
    }
    Some(findings)
}
