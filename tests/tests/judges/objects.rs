//! Everything a CA signs, as files: certificates of each profile, CRLs, OCSP answers.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use attest::KeyAlgorithm;
use device_kit::endorsement::Template;
use device_kit::others::prints;
use device_kit::rig::{Rig, Wanted, expected};
use device_kit::soft_tpm::SoftTpm;
use openssl::x509::{X509, X509Crl};
use wire::admin::AllowDevice;

/// What a certificate is for, as path validators ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Ca,
    Client,
    Server,
    Ocsp,
}

/// Where a certificate stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Good,
    Revoked,
    Held,
}

/// One certificate: `NAME.pem`, `NAME.der`, and its CRL's `NAME.crl.pem`, `NAME.crl.der`.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) purpose: Purpose,
    pub(crate) standing: Standing,
    /// Has a distribution point and an OCSP responder.
    pub(crate) status: bool,
}

/// A CA and what it signed.
pub(crate) struct Objects {
    pub(crate) rig: Rig,
    /// Name of the CA: begins the names of what it signed.
    pub(crate) ca: String,
    pub(crate) certificates: Vec<Object>,
    /// Names of CRLs: `NAME.pem`, `NAME.der`.
    pub(crate) crls: Vec<String>,
    /// Names of OCSP answers (`NAME.der`), and the object each is about.
    pub(crate) answers: Vec<(String, String)>,
}

/// A port below those that the kernel gives to clients, so that only another listener could take it; never one twice.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Objects {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.rig.path("objects").join(name)
    }

    /// The certificates that relying parties meet in handshakes.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = &Object> {
        self.certificates
            .iter()
            .filter(|o| matches!(o.purpose, Purpose::Client | Purpose::Server) && o.status)
    }

    fn write(&mut self, name: &str, der: &[u8], purpose: Purpose, standing: Standing, status: bool) {
        let pem = X509::from_der(der).unwrap().to_pem().unwrap();
        std::fs::write(self.path(&format!("{name}.der")), der).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), pem).unwrap();
        self.certificates.push(Object {
            name: name.to_owned(),
            purpose,
            standing,
            status,
        });
    }

    fn write_crl(&self, name: &str, der: &[u8]) {
        let pem = X509Crl::from_der(der).unwrap().to_pem().unwrap();
        std::fs::write(self.path(&format!("{name}.der")), der).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), pem).unwrap();
    }

    /// A device with the identities of a profile; serial numbers.
    fn enroll(&mut self, name: &str, profile: &str, beside: Option<&str>, key: KeyAlgorithm) -> Vec<String> {
        let tpm = SoftTpm::manufacture(&self.rig.vendor, Template::L2, KeyAlgorithm::P256, key);
        let dns = if profile == "service" {
            vec!["api.example.org".to_owned()]
        } else {
            Vec::new()
        };
        self.rig.allow_with(&AllowDevice {
            ek_spki_sha256: Some(hex::encode(tpm.ek.sha256())),
            dns_names: dns,
            ..expected(name)
        });
        let client = self.rig.client();
        let result = client.enroll(&tpm, &tpm.request(profile, beside, None)).unwrap();
        let purpose = if profile == "service" {
            Purpose::Server
        } else {
            Purpose::Client
        };
        let mut serials = Vec::new();
        for issued in &result.certificates {
            let name = if issued.profile == profile {
                name
            } else {
                &issued.profile
            };
            self.write(name, &issued.certificate.0, purpose, Standing::Good, true);
            serials.push(issued.serial.clone());
        }
        serials
    }

    fn revoked(&mut self, name: &str, how: &[&str], standing: Standing) {
        let serial = self.enroll(name, "device-ldevid", None, KeyAlgorithm::P256).remove(0);
        let mut arguments = vec![how[0], serial.as_str()];
        arguments.extend(&how[1..]);
        let _ = self.rig.cli_json(&arguments);
        self.certificates.last_mut().unwrap().standing = standing;
    }

    fn ask(&mut self, about: &str, variant: &str, more: &[&str]) {
        let name = format!("{about}.{variant}.ocsp");
        let mut openssl = Command::new("openssl");
        openssl.arg("ocsp").args(more);
        openssl.arg("-issuer").arg(self.path("issuing.pem"));
        openssl.arg("-cert").arg(self.path(&format!("{about}.pem")));
        openssl
            .args(["-noverify", "-url"])
            .arg(format!("http://{}/ocsp", self.rig.server().status()));
        openssl.arg("-respout").arg(self.path(&format!("{name}.der")));
        let said = prints(&mut openssl);
        assert!(self.path(&format!("{name}.der")).is_file(), "{said}");
        self.answers.push((name, about.to_owned()));
    }

    /// Revoke one more, and wait until the delta says so: nobody judges it by the complete CRL, which does not.
    fn late(&mut self) {
        let serial = self.enroll("late", "device-ldevid", None, KeyAlgorithm::P256).remove(0);
        let _late = self.certificates.pop();
        let wanted = openssl::bn::BigNum::from_hex_str(&serial).unwrap();
        let delta = |objects: &Self| {
            let (status, der) = objects.rig.server().fetch("/crl/all-delta.crl");
            (status == 200).then(|| X509Crl::from_der(&der).unwrap())
        };
        let until = |done: &dyn Fn() -> bool| {
            let begun = std::time::Instant::now();
            while !done() {
                assert!(begun.elapsed() < std::time::Duration::from_secs(60), "no delta");
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        };
        until(&|| delta(self).is_some());
        let _ = self.rig.cli_json(&["revoke", &serial, "--reason", "superseded"]);
        until(&|| {
            delta(self).is_some_and(|crl| {
                let entries = crl.get_revoked();
                entries.is_some_and(|all| all.iter().any(|e| e.serial_number().to_bn().unwrap() == wanted))
            })
        });
    }

    /// A CA with this key, and so many shards (0: one CRL for all); with delta CRLs or without.
    pub(crate) fn of(ca: &str, algorithm: &str, shards: u16, deltas: bool) -> Self {
        // Certificates carry the address at which relying parties ask: it is chosen before the first of them.
        let port = free_port();
        let mut wanted = Wanted {
            issuing: algorithm.into(),
            pki_url: format!("http://127.0.0.1:{port}"),
            crl_shards: shards,
            ..Wanted::default()
        };
        wanted = wanted
            .set("server", "status", format!("127.0.0.1:{port}"))
            .set("crl", "after_revocation", "1s");
        if deltas {
            let mut terms = toml::Table::new();
            for (key, value) in [("every", "10m"), ("valid", "1h")] {
                let _ = terms.insert(key.to_owned(), value.into());
            }
            wanted = wanted.set("crl", "delta", terms);
        }
        let mut objects = Self {
            rig: Rig::with(&wanted),
            ca: ca.to_owned(),
            certificates: Vec::new(),
            crls: Vec::new(),
            answers: Vec::new(),
        };
        std::fs::create_dir(objects.path("")).unwrap();
        for (name, file, purpose) in [
            ("root", "ca/root.pem", Purpose::Ca),
            ("issuing", "ca/issuing.pem", Purpose::Ca),
            ("server-tls", "server-tls.pem", Purpose::Server),
        ] {
            let pem = std::fs::read(objects.rig.path(file)).unwrap();
            let der = X509::stack_from_pem(&pem).unwrap().remove(0).to_der().unwrap();
            objects.write(name, &der, purpose, Standing::Good, false);
        }
        let _ = objects.enroll("device-ldevid", "device-ldevid", None, KeyAlgorithm::P256);
        let _ = objects.enroll("device-ldevid-p384", "device-ldevid", None, KeyAlgorithm::P384);
        let _ = objects.enroll("device-ldevid-rsa", "device-ldevid", None, KeyAlgorithm::Rsa2048);
        let _ = objects.enroll("device-idevid", "device-idevid", Some("device-iak"), KeyAlgorithm::P256);
        let _ = objects.enroll("service", "service", None, KeyAlgorithm::P256);
        objects.revoked("revoked", &["revoke", "--reason", "keyCompromise"], Standing::Revoked);
        objects.revoked("held", &["hold"], Standing::Held);
        let said = objects.rig.cli(&["crl", "publish"]);
        assert!(said.status.success(), "{said:?}");
        for (about, variant, more) in [
            ("device-ldevid", "sha256-nonce", &["-sha256"][..]),
            ("device-ldevid", "sha1", &["-sha1", "-no_nonce"]),
            ("revoked", "sha256", &["-sha256", "-no_nonce"]),
            ("held", "sha256", &["-sha256", "-no_nonce"]),
        ] {
            objects.ask(about, variant, more);
        }
        if deltas {
            objects.late();
        }
        let mut names: Vec<String> = match shards {
            0 => vec!["all".into()],
            n => (0..n).map(|n| n.to_string()).collect(),
        };
        if deltas {
            names.push("all-delta".to_owned());
        }
        for name in names {
            let (status, der) = objects.rig.server().fetch(&format!("/crl/{name}.crl"));
            assert_eq!(status, 200, "{name}");
            objects.write_crl(&format!("crl-{name}"), &der);
            objects.crls.push(format!("crl-{name}"));
        }
        for object in objects.leaves().map(|o| o.name.clone()).collect::<Vec<_>>() {
            let leaf = X509::from_der(&std::fs::read(objects.path(&format!("{object}.der"))).unwrap()).unwrap();
            let points = leaf.crl_distribution_points().unwrap();
            let url = points[0].distpoint().unwrap().fullname().unwrap()[0]
                .uri()
                .unwrap()
                .to_owned();
            let path = url.strip_prefix(&format!("http://127.0.0.1:{port}")).unwrap();
            let (_, der) = objects.rig.server().fetch(path);
            objects.write_crl(&format!("{object}.crl"), &der);
        }
        let delegate = objects
            .rig
            .sql("SELECT lower(hex(certificate)) FROM certificate WHERE profile = 'ocsp'");
        objects.write(
            "ocsp",
            &hex::decode(delegate).unwrap(),
            Purpose::Ocsp,
            Standing::Good,
            false,
        );
        objects
    }
}
