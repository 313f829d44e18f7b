//! The shape of `server.toml`, as written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::values::{Rate, SecretSource, Span};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub server: RawServer,
    #[serde(default)]
    pub operators: BTreeMap<String, Spanned<u32>>,
    #[serde(default)]
    pub manifests: RawManifests,
    pub tls: RawTls,
    pub database: RawDatabase,
    pub hsm: RawHsm,
    pub issuer: RawIssuer,
    pub ocsp: Option<RawOcsp>,
    pub trust: RawTrust,
    #[serde(default)]
    pub policy: RawPolicy,
    pub enrollment: RawEnrollment,
    #[serde(default)]
    pub crl: RawCrl,
    pub ledger: Option<RawLedger>,
    pub aia: Option<RawAia>,
    pub anchor: Option<Spanned<RawAnchor>>,
    #[serde(default)]
    pub limits: RawLimits,
    pub audit: RawAudit,
    #[serde(default)]
    pub log: RawLog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawMode {
    Production,
    Rehearsal,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServer {
    pub name: Spanned<String>,
    pub mode: RawMode,
    pub public: SocketAddr,
    pub metrics: Option<SocketAddr>,
    pub status: Option<SocketAddr>,
    pub published: Option<PathBuf>,
    pub admin: Option<PathBuf>,
    pub base_url: Option<Spanned<String>>,
    pub shutdown_grace: Option<Span>,
    pub workers: Option<Spanned<usize>>,
    pub clock_tolerance: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub certificate: Spanned<PathBuf>,
    pub key: Spanned<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDatabase {
    pub url: Spanned<String>,
    pub password: Option<Spanned<SecretSource>>,
    pub readers: Option<Spanned<u32>>,
    pub group: Option<Spanned<usize>>,
    pub connect_timeout: Option<Span>,
    pub synchronous: Option<Spanned<Synchronous>>,
}

/// Whether a standby must have what counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Synchronous {
    Required,
    Optional,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHsm {
    pub uri: Spanned<String>,
    pub pin: SecretSource,
    pub sessions: Option<Spanned<usize>>,
    pub queue_deadline: Option<Span>,
    pub login_backoff: Option<Span>,
    pub probe_interval: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIssuer {
    pub certificate: Spanned<PathBuf>,
    pub key_id: Option<Spanned<String>>,
    pub algorithm: Option<Spanned<String>>,
    pub ca_issuers_url: Option<Spanned<String>>,
    pub ocsp_url: Option<Spanned<String>>,
    pub crl_url: Option<Spanned<String>>,
    pub crl_shards: Option<Spanned<u16>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOcsp {
    pub key_id: Spanned<String>,
    pub algorithm: Option<Spanned<String>>,
    pub validity: Option<Spanned<Span>>,
    pub cache: Option<usize>,
    pub fresh_rate: Option<Rate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTrust {
    pub files: Spanned<Vec<Spanned<PathBuf>>>,
    #[serde(default)]
    pub intermediates: Vec<Spanned<PathBuf>>,
    #[serde(default)]
    pub manufacturers: Vec<Spanned<PathBuf>>,
    #[serde(default)]
    pub manufacturer_intermediates: Vec<Spanned<PathBuf>>,
    #[serde(default)]
    pub signed_by: Vec<Spanned<PathBuf>>,
    #[serde(default)]
    pub crls: Vec<Spanned<PathBuf>>,
    #[serde(default)]
    pub demand_crl: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawManifests {
    #[serde(default)]
    pub signers: Vec<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAia {
    pub hosts: Spanned<Vec<Spanned<String>>>,
    pub folder: PathBuf,
    pub every: Option<Span>,
    #[serde(default)]
    pub resolve: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicy {
    pub profiles: Option<Spanned<PathBuf>>,
    pub rules: Option<Spanned<PathBuf>>,
    pub advisories: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEnrollment {
    pub seal_key_file: Spanned<PathBuf>,
    #[serde(default)]
    pub previous: Vec<Spanned<PathBuf>>,
    pub challenge_ttl: Option<Span>,
    pub max_attempts: Option<Spanned<u32>>,
    pub sign_deadline: Option<Span>,
    pub renewal_info: Option<Span>,
    pub unknown_vendor: Option<OrReview>,
    pub quarantined: Option<OrReview>,
}

/// What becomes of a TPM that is not let in without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OrReview {
    Refuse,
    Review,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCrl {
    pub every: Option<Spanned<Span>>,
    pub valid: Option<Spanned<Span>>,
    pub after_revocation: Option<Span>,
    pub max_age: Option<Span>,
    pub folder: Option<PathBuf>,
    pub delta: Option<Spanned<RawDelta>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDelta {
    pub every: Option<Spanned<Span>>,
    pub valid: Option<Spanned<Span>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLedger {
    pub origin: Spanned<String>,
    pub key_file: Spanned<PathBuf>,
    pub head: PathBuf,
    pub folder: Option<PathBuf>,
    pub every: Option<Spanned<Span>>,
    pub promise: Option<Spanned<Span>>,
    pub ca_key: Option<bool>,
    #[serde(default)]
    pub witness: Vec<RawWitness>,
    pub quorum: Option<Spanned<usize>>,
    pub witness_timeout: Option<Spanned<Span>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWitness {
    pub url: Spanned<String>,
    pub key: Spanned<String>,
    pub ca: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAnchor {
    pub file: Option<PathBuf>,
    pub token: Option<bool>,
    pub every: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub body: Option<Spanned<usize>>,
    pub concurrency: Option<Spanned<usize>>,
    pub queue: Option<usize>,
    pub queue_deadline: Option<Span>,
    pub rate_per_source: Option<Rate>,
    pub rate_total: Option<Rate>,
    pub connections: Option<Spanned<usize>>,
    pub handshake_timeout: Option<Span>,
    pub header_timeout: Option<Span>,
    pub body_timeout: Option<Span>,
    pub keep_alive: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudit {
    pub file: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    pub format: Option<super::LogFormat>,
    pub level: Option<super::LogLevel>,
}
