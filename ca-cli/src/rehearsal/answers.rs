//! What `ca-cli init` asks.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use issuance::SignatureAlgorithm;
use policies::SanEntry;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

/// The answers; the file `--answers` takes and the wizard prints at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Answers {
    /// Organization in every certificate.
    pub(crate) organization: String,
    /// DNS names and IP addresses of the server.
    pub(crate) server_names: Vec<String>,
    /// Where the server listens for devices.
    pub(crate) listen: String,
    /// Where the server listens for metrics.
    pub(crate) metrics: String,
    /// Where the server listens for relying parties.
    pub(crate) status: String,
    /// How relying parties reach it; stands in certificates. Empty: no such URLs, and no listener.
    pub(crate) pki_url: String,
    /// Among how many CRLs certificates are spread; 0: one for all.
    pub(crate) crl_shards: u16,
    /// Database URL.
    pub(crate) database: String,
    /// Key algorithm of the root.
    pub(crate) root_algorithm: String,
    /// Key algorithm of the issuing CA.
    pub(crate) issuing_algorithm: String,
    /// PKCS#11 module of the software token.
    pub(crate) module: PathBuf,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            organization: "Example Devices".into(),
            server_names: vec!["localhost".into(), "127.0.0.1".into()],
            listen: "127.0.0.1:8443".into(),
            metrics: "127.0.0.1:9464".into(),
            status: "127.0.0.1:8080".into(),
            pki_url: "http://localhost:8080".into(),
            crl_shards: 4,
            database: "sqlite://ca.db".into(),
            root_algorithm: "ecdsa-p384-sha384".into(),
            issuing_algorithm: "ecdsa-p256-sha256".into(),
            module: "/usr/lib/softhsm/libsofthsm2.so".into(),
        }
    }
}

/// The algorithm of this name, as server.toml names it too.
pub(super) fn algorithm(name: &str) -> Result<SignatureAlgorithm, Failure> {
    SignatureAlgorithm::from_text(name).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("`{name}` is no CA key algorithm"))
            .fix(format!("one of {}", names().join(", ")))
    })
}

fn names() -> [&'static str; 6] {
    SignatureAlgorithm::ALL.map(SignatureAlgorithm::as_str)
}

impl Answers {
    /// From a file; unknown keys are errors with their place.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let bytes = crate::exit::read(path)?;
        let text =
            String::from_utf8(bytes).map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", path.display())))?;
        let source = settings::Source {
            path: path.to_owned(),
            text,
        };
        source.parse().map_err(|e| Failure::new(e.exit(), e.to_string()))
    }

    /// Ask on the terminal; every question has a default and says why it is asked.
    pub(crate) fn ask(self) -> Result<Self, Failure> {
        fn question(text: &str, why: &str, default: &str) -> Result<String, Failure> {
            inquire::Text::new(text)
                .with_help_message(why)
                .with_default(default)
                .prompt()
                .map_err(|e| Failure::new(Exit::Stopped, e.to_string()))
        }
        let choose = |text: &str, why: &str, default: &str| -> Result<String, Failure> {
            let names = names().to_vec();
            let at = names.iter().position(|n| *n == default).unwrap_or_default();
            inquire::Select::new(text, names)
                .with_help_message(why)
                .with_starting_cursor(at)
                .prompt()
                .map(str::to_owned)
                .map_err(|e| Failure::new(Exit::Stopped, e.to_string()))
        };
        let names = question(
            "Names of the server?",
            "DNS names and IP addresses devices use; they go into its TLS certificate",
            &self.server_names.join(" "),
        )?;
        Ok(Self {
            organization: question("Organization?", "stands in every certificate", &self.organization)?,
            server_names: names
                .split([' ', ','])
                .filter(|n| !n.is_empty())
                .map(str::to_owned)
                .collect(),
            listen: question(
                "Listen for devices on?",
                "address and port; port 8443 needs no privilege",
                &self.listen,
            )?,
            metrics: question("Serve metrics on?", "for Prometheus; keep it inside", &self.metrics)?,
            status: question(
                "Serve CRLs on?",
                "plain HTTP for relying parties; address and port",
                &self.status,
            )?,
            pki_url: question(
                "URL of that in certificates?",
                "how relying parties reach it; it can never be changed in a certificate; empty: none",
                &self.pki_url,
            )?,
            crl_shards: self.crl_shards,
            database: question(
                "Database?",
                "sqlite://FILE for one machine, postgres://... beyond",
                &self.database,
            )?,
            root_algorithm: choose(
                "Key of the root?",
                "used at ceremonies only: strength before speed",
                &self.root_algorithm,
            )?,
            issuing_algorithm: choose(
                "Key of the issuing CA?",
                "signs every identity: P-256 is the fastest in a token",
                &self.issuing_algorithm,
            )?,
            module: self.module,
        })
    }

    /// Names of the server, typed.
    pub(super) fn san(&self) -> Vec<SanEntry> {
        let entry = |name: &String| match name.parse::<IpAddr>() {
            Ok(IpAddr::V4(four)) => SanEntry::Ip(four.octets().to_vec()),
            Ok(IpAddr::V6(six)) => SanEntry::Ip(six.octets().to_vec()),
            Err(_) => SanEntry::Dns(name.clone()),
        };
        self.server_names.iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_wizard_prints_is_what_answers_takes() {
        let text = toml::to_string(&Answers::default()).unwrap();
        assert_eq!(toml::from_str::<Answers>(&text).unwrap(), Answers::default());
        assert!(toml::from_str::<Answers>("organisation = \"x\"").is_err());
    }
}
