//! Others who read our certificates: OpenSSL's command, rustls-webpki, and our own `ca-cli verify`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use openssl::x509::X509;
use rustls_pki_types::{CertificateDer, UnixTime};
use tempfile::TempDir;
use webpki::{EndEntityCert, KeyUsage};

use crate::rig::Rig;

/// A certificate and its chain as files.
pub struct Files {
    directory: TempDir,
}

fn pem(path: &Path, certificates: &[&[u8]]) {
    let text: Vec<u8> = certificates
        .iter()
        .flat_map(|der| X509::from_der(der).and_then(|c| c.to_pem()).expect("a certificate"))
        .collect();
    std::fs::write(path, text).expect("a file");
}

impl Files {
    /// Write `leaf` and `chain` (issuing CA first, root last).
    ///
    /// # Panics
    /// When one of them is no certificate.
    #[must_use]
    pub fn new(leaf: &[u8], chain: &[Vec<u8>]) -> Self {
        let files = Self {
            directory: tempfile::tempdir().expect("a folder"),
        };
        let (root, between) = chain.split_last().expect("a root");
        pem(&files.path("leaf.pem"), &[leaf]);
        pem(&files.path("root.pem"), &[root]);
        let between: Vec<&[u8]> = between.iter().map(Vec::as_slice).collect();
        pem(&files.path("issuing.pem"), &between);
        files
    }

    /// One of `leaf.pem`, `issuing.pem`, `root.pem`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `openssl verify -x509_strict`.
    ///
    /// # Errors
    /// What it says.
    ///
    /// # Panics
    /// When there is no openssl.
    pub fn openssl(&self) -> Result<(), String> {
        let output = Command::new("openssl")
            .args(["verify", "-x509_strict", "-policy_check", "-CAfile"])
            .arg(self.path("root.pem"))
            .arg("-untrusted")
            .arg(self.path("issuing.pem"))
            .arg(self.path("leaf.pem"))
            .output()
            .expect("openssl runs");
        told(&output)
    }

    /// `ca-cli verify` with further arguments: its exit code and what it says.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn ours(&self, rig: &Rig, arguments: &[&str]) -> (Option<i32>, serde_json::Value) {
        let output = rig
            .command("ca-cli")
            .arg("verify")
            .arg(self.path("leaf.pem"))
            .arg("--trust")
            .arg(self.path("root.pem"))
            .arg("--untrusted")
            .arg(self.path("issuing.pem"))
            .args(arguments)
            .args(["-o", "json"])
            .output()
            .expect("ca-cli runs");
        let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), said)
    }
}

/// rustls-webpki's path building for a TLS client or server.
///
/// # Errors
/// Its verdict.
///
/// # Panics
/// When the root is no anchor.
pub fn webpki(leaf: &[u8], chain: &[Vec<u8>], usage: KeyUsage) -> Result<(), webpki::Error> {
    let (root, between) = chain.split_last().expect("a root");
    let root = CertificateDer::from(root.as_slice());
    let anchor = webpki::anchor_from_trusted_cert(&root).expect("an anchor");
    let between: Vec<CertificateDer<'_>> = between.iter().map(|c| CertificateDer::from(c.as_slice())).collect();
    let leaf = CertificateDer::from(leaf);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    EndEntityCert::try_from(&leaf)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            &between,
            UnixTime::since_unix_epoch(now),
            usage,
            None,
            None,
        )
        .map(|_| ())
}

fn told(output: &Output) -> Result<(), String> {
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
