//! What `ca-cli init` asks.

use std::net::{IpAddr, SocketAddr};
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

    /// Everything that can be said against the answers before anything is made of them.
    pub(crate) fn validate(&self) -> Result<(), Failure> {
        let wrong = |what: String| Failure::new(Exit::Usage, what);
        algorithm(&self.root_algorithm)?;
        algorithm(&self.issuing_algorithm)?;
        for (key, address) in [
            ("listen", &self.listen),
            ("metrics", &self.metrics),
            ("status", &self.status),
        ] {
            address.parse::<SocketAddr>().map_err(|e| {
                wrong(format!("{key} = `{address}`: {e}")).fix("an IP address and a port: `127.0.0.1:8443`")
            })?;
        }
        if !self.pki_url.is_empty() && (!self.pki_url.starts_with("http://") || self.pki_url.ends_with('/')) {
            return Err(wrong(format!(
                "pki_url = `{}`: not a plain http URL without a slash at its end",
                self.pki_url
            ))
            .fix("`http://pki.example.net`, or nothing at all"));
        }
        if !["sqlite://", "postgres://", "postgresql://"]
            .iter()
            .any(|scheme| self.database.starts_with(scheme))
        {
            return Err(wrong(format!("database = `{}`: unknown kind", self.database))
                .fix("`sqlite://FILE` for one machine, `postgres://...` beyond"));
        }
        super::hierarchy::would_be_approved(self)?;
        if !self.module.exists() {
            return Err(
                Failure::new(Exit::NotFound, format!("module {}: not there", self.module.display()))
                    .fix("install softhsm2, or name its library with `module` in an answers file"),
            );
        }
        Ok(())
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

    #[test]
    fn each_answer_is_judged_before_anything_is_made() {
        // Any file will do for a module here: it is not loaded.
        let good = Answers {
            module: "/dev/null".into(),
            ..Answers::default()
        };
        good.validate().unwrap();
        let refused = |change: fn(&mut Answers)| {
            let mut answers = good.clone();
            change(&mut answers);
            let failure = answers.validate().unwrap_err();
            (failure.exit, failure.message)
        };
        for (change, why) in [
            ((|a| a.organization = String::new()) as fn(&mut Answers), "organization"),
            (|a| a.organization = "x".repeat(50), "common name"),
            (|a| a.organization = "a\u{1b}[2J".into(), "organization"),
            (|a| a.server_names = vec!["*.example".into()], "server-tls"),
            (|a| a.server_names.clear(), "server-tls"),
            (|a| a.listen = "8443".into(), "listen"),
            (|a| a.metrics = "localhost:9464".into(), "metrics"),
            (|a| a.status = "8080".into(), "status"),
            (|a| a.pki_url = "https://localhost".into(), "pki_url"),
            (|a| a.pki_url = "http://localhost/".into(), "pki_url"),
            (|a| a.database = "mysql://x".into(), "database"),
            (|a| a.root_algorithm = "md5".into(), "md5"),
            (|a| a.issuing_algorithm = "rsa2048-pkcs1-sha256".into(), "rsa2048"),
        ] {
            let (exit, message) = refused(change);
            assert_eq!(exit, Exit::Usage, "{message}");
            assert!(message.contains(why), "{message}");
        }
        assert_eq!(refused(|a| a.module = "/nowhere/lib.so".into()).0, Exit::NotFound);
    }
}
