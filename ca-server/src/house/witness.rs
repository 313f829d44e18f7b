//! A witness of the ledger, over HTTP (C2SP tlog-witness).

use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger::{AddCheckpoint, VerifierKey, WitnessAnswer};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::config::WitnessTerms;

/// Longest answer, octets: 16 lines.
const LONGEST: u64 = 16 * 1024;

/// A witness, and at which tree it stood when it was heard last.
pub struct Witness {
    url: String,
    key: VerifierKey,
    agent: ureq::Agent,
    stands: AtomicU64,
}

impl Witness {
    /// One that is asked as `terms` say, and given so much time.
    ///
    /// # Errors
    /// What is wrong with its CA certificates.
    pub fn new(terms: &WitnessTerms, timeout: Duration) -> Result<Self, String> {
        let mut tls = TlsConfig::builder().provider(TlsProvider::NativeTls);
        if let Some(pem) = &terms.ca {
            let roots: Result<Vec<_>, _> = ureq::tls::parse_pem(pem)
                .filter_map(|item| match item {
                    Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(Ok(certificate)),
                    Ok(_) => None,
                    Err(error) => Some(Err(error)),
                })
                .collect();
            let roots = roots.map_err(|e| format!("CA certificates of witness {}: {e}", terms.key.name()))?;
            tls = tls.root_certs(RootCerts::new_with_certs(&roots));
        } else {
            tls = tls.root_certs(RootCerts::PlatformVerifier);
        }
        let agent = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .http_status_as_error(false)
            .build()
            .into();
        Ok(Self {
            url: format!("{}/add-checkpoint", terms.url),
            key: terms.key.clone(),
            agent,
            stands: AtomicU64::new(0),
        })
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The size of the tree at which it stood when it was heard last.
    #[must_use]
    pub fn stands(&self) -> u64 {
        self.stands.load(Ordering::Relaxed)
    }

    /// It stands there now.
    pub fn stood(&self, size: u64) {
        self.stands.store(size, Ordering::Relaxed);
    }

    /// Show it a checkpoint.
    ///
    /// # Errors
    /// Why no answer came that can be read.
    pub fn show(&self, request: &AddCheckpoint) -> Result<WitnessAnswer, String> {
        let mut answer = self
            .agent
            .post(&self.url)
            .content_type("text/plain; charset=utf-8")
            .send(request.to_string().as_bytes())
            .map_err(|e| e.to_string())?;
        let mut body = Vec::new();
        answer
            .body_mut()
            .as_reader()
            .take(LONGEST)
            .read_to_end(&mut body)
            .map_err(|e| e.to_string())?;
        WitnessAnswer::parse(answer.status().as_u16(), &body).map_err(|e| e.to_string())
    }
}
