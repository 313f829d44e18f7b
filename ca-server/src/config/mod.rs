//! `server.toml`: [`raw`] is the file as written, [`Config`] is what may be run.

mod aia;
mod files;
mod ledger;
mod materials;
mod operators;
mod raw;
mod values;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::ledger::SigningKey;
use attest::SealKey;
use attest::iak::Manufacturers;
use attest::trust::Anchors;
use hsm::{PinSource, TokenConfig};
use issuance::{Issuer, SignatureAlgorithm};
use policies::trust::bundle::SignedBundle;
use policies::{PolicySet, Profiles};
use schema::StoreOptions;
use serde::Deserialize;
use settings::Source;
use toml::Spanned;
use zeroize::Zeroizing;

pub use self::ledger::{LedgerTerms, WitnessTerms};
pub use operators::Operators;
pub use settings::ConfigError;
pub use values::{Rate, SecretSource, Span};

/// A configuration whose files were read, parsed and found to fit each other.
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[operators]`.
    pub operators: Operators,
    /// `[manifests]` signers: SHA-256 of the SubjectPublicKeyInfo of each key whose manifests are believed.
    pub manifest_signers: HashSet<[u8; 32]>,
    /// `[tls]`.
    pub tls: Tls,
    /// `[database]`.
    pub database: Database,
    /// `[hsm]`.
    pub hsm: Hsm,
    /// `[issuer]`: the CA certificate with its chain.
    pub issuer: Issuer,
    /// `[ocsp]`: the responder, where there is one.
    pub ocsp: Option<Responding>,
    /// `[trust]`.
    pub anchors: Anchors,
    /// `[trust]` manufacturers.
    pub manufacturers: Manufacturers,
    /// `[trust]`: the signed stores that both were made from.
    pub bundles: Vec<SignedBundle>,
    /// `[policy]` profiles.
    pub profiles: Profiles,
    /// `[policy]` rules.
    pub policy: PolicySet,
    /// `[enrollment]`.
    pub enrollment: Enrollment,
    /// `[crl]`.
    pub crl: CrlTerms,
    /// `[ledger]`: key and terms, where it is signed.
    pub ledger: Option<(SigningKey, LedgerTerms)>,
    /// Terms of the job that fetches intermediates; none: nothing is fetched.
    pub aia: Option<AiaTerms>,
    /// `[anchor]`: what is remembered of the record outside of it.
    pub anchor: Option<AnchorTerms>,
    /// Key that seals challenges.
    pub seal: SealKey,
    /// `[limits]`.
    pub limits: Limits,
    /// `[audit]` file.
    pub audit: PathBuf,
    /// `[log]`.
    pub log: Log,
}

/// Where the server listens, and its manners.
#[derive(Clone, Debug)]
pub struct Server {
    /// Name of the CA.
    pub name: String,
    /// Takes anchors of software TPMs.
    pub rehearsal: bool,
    /// Devices.
    pub public: SocketAddr,
    /// Prometheus.
    pub metrics: Option<SocketAddr>,
    /// Relying parties: CRLs and CA certificates.
    pub status: Option<SocketAddr>,
    /// What ceremonies published: root certificate, CRL and records, served to relying parties.
    pub published: Option<PathBuf>,
    /// People.
    pub admin: Option<PathBuf>,
    /// How devices reach the server; without a slash at its end.
    pub base_url: Option<String>,
    /// Time for requests under way at the end.
    pub shutdown_grace: Duration,
    /// Threads that read and write sockets.
    pub workers: Option<usize>,
    /// How far the clock may stand behind the newest record.
    pub clock_tolerance: Duration,
}

/// The server's own certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Chain, PEM.
    pub certificate: PathBuf,
    /// Key, PEM.
    pub key: PathBuf,
}

/// How to reach the database.
#[derive(Clone)]
pub struct Database {
    /// URL, password inside.
    pub url: Zeroizing<String>,
    /// SQLite: nobody else writes it, so every open intent at the start is an orphan.
    pub embedded: bool,
    /// Options.
    pub options: StoreOptions,
}

/// Where the state of the record is remembered outside of it.
#[derive(Clone, Debug)]
pub struct AnchorTerms {
    /// In this file.
    pub file: Option<PathBuf>,
    /// In the token of the issuing key.
    pub token: bool,
    /// How often.
    pub every: Duration,
}

/// How to reach the CA key.
#[derive(Clone, Debug)]
pub struct Hsm {
    /// Token.
    pub token: TokenConfig,
    /// PIN.
    pub pin: PinSource,
    /// CKA_ID of the issuing key.
    pub key_id: Vec<u8>,
    /// Time between probes.
    pub probe_interval: Duration,
}

/// The OCSP responder.
#[derive(Clone, Debug)]
pub struct Responding {
    /// CKA_ID of its key, in the token of the issuing key.
    pub key_id: Vec<u8>,
    /// Algorithm of its key.
    pub algorithm: SignatureAlgorithm,
    /// Terms of its answers.
    pub terms: OcspTerms,
}

/// Terms of publication.
#[derive(Clone, Debug)]
pub struct CrlTerms {
    /// A new CRL comes at the latest so long after the last one.
    pub every: Duration,
    /// From thisUpdate to nextUpdate.
    pub valid: Duration,
    /// So long after a revocation its CRL is out, if everything works; also the shortest time between two of a place.
    pub after_revocation: Duration,
    /// Longest time for which caches may keep one without asking.
    pub max_age: Duration,
    /// Where CRLs are written, too.
    pub folder: Option<PathBuf>,
    /// Delta CRLs between the complete ones; none without it.
    pub delta: Option<DeltaTerms>,
}

/// Terms of delta CRLs.
#[derive(Clone, Copy, Debug)]
pub struct DeltaTerms {
    /// A new one comes at the latest so long after the last one.
    pub every: Duration,
    /// From thisUpdate to nextUpdate.
    pub valid: Duration,
}

/// Terms of OCSP answers.
#[derive(Clone, Copy, Debug)]
pub struct OcspTerms {
    /// From thisUpdate to nextUpdate.
    pub validity: Duration,
    /// Signed answers that are kept.
    pub cache: usize,
    /// Questions with a nonce, or about several certificates: each costs a signature.
    pub fresh_rate: Rate,
}

/// Terms of the job that fetches intermediates.
#[derive(Clone, Debug)]
pub struct AiaTerms {
    /// Hosts that may be asked, and no others.
    pub hosts: Vec<String>,
    /// Addresses for hosts: a mirror of the operator's own.
    pub resolve: Vec<(String, SocketAddr)>,
    /// Where what came is kept, by its hash.
    pub folder: PathBuf,
    /// Pause between two wishes.
    pub every: Duration,
}

/// Terms of an enrollment.
#[derive(Clone, Copy, Debug)]
pub struct Enrollment {
    /// Time to answer.
    pub challenge_ttl: Duration,
    /// Wrong answers one challenge takes.
    pub max_attempts: u32,
    /// Age at which an open intent is an orphan.
    pub sign_deadline: Duration,
    /// How often devices ask whether to renew early.
    pub renewal_info: Duration,
    /// People are asked about a TPM whose vendor nobody decided about, if its EK was named before.
    pub review: bool,
    /// People are asked about a TPM that an advisory quarantines, if its EK was named before.
    pub review_quarantined: bool,
}

/// Limits that hold before expensive work.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest body, bytes.
    pub body: usize,
    /// Requests worked on at once.
    pub concurrency: usize,
    /// Requests that wait.
    pub queue: usize,
    /// How long they wait.
    pub queue_deadline: Duration,
    /// Per source address.
    pub rate_per_source: Rate,
    /// From all.
    pub rate_total: Rate,
    /// Open connections.
    pub connections: usize,
    /// TLS handshake.
    pub handshake_timeout: Duration,
    /// Request head.
    pub header_timeout: Duration,
    /// Request body.
    pub body_timeout: Duration,
    /// Idle connections.
    pub keep_alive: Duration,
}

/// Logs.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// Format.
    pub format: LogFormat,
    /// Level.
    pub level: LogLevel,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For eyes.
    Text,
}

/// Least level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Config {
    /// Read `path` and every file it names.
    ///
    /// # Errors
    /// [`ConfigError`], the first that is found.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|e| ConfigError::of_file(path, format!("cannot be read: {e}")))?;
        let source = Source {
            path: path.to_owned(),
            text,
        };
        let raw: raw::RawConfig = source.parse()?;
        Self::build(&source, raw)
    }

    fn build(source: &Source, raw: raw::RawConfig) -> Result<Self, ConfigError> {
        let base = files::Base::of(&source.path);
        let server = server(source, &base, raw.server)?;
        let operators = Operators::of(source, raw.operators)?;
        let limits = limits(source, &raw.limits)?;
        let enrollment = Enrollment {
            challenge_ttl: span(raw.enrollment.challenge_ttl, 120),
            max_attempts: at_least_one(source, raw.enrollment.max_attempts.as_ref(), 3)?,
            sign_deadline: span(raw.enrollment.sign_deadline, 30),
            renewal_info: span(raw.enrollment.renewal_info, 21_600),
            review: raw.enrollment.unknown_vendor == Some(raw::OrReview::Review),
            review_quarantined: raw.enrollment.quarantined == Some(raw::OrReview::Review),
        };
        let tls = materials::tls(source, &base, &raw.tls)?;
        let database = database(source, &base, &raw.database)?;
        let seal = materials::seal(source, &base, &raw.enrollment)?;
        let issuer = materials::issuer(source, &base, &raw.issuer, server.rehearsal)?;
        let crl = crl(source, &base, raw.crl, issuer.urls())?;
        let mut bundles = Vec::new();
        let anchors = materials::anchors(source, &base, &raw.trust, server.rehearsal, &mut bundles)?;
        let manufacturers = materials::manufacturers(source, &base, &raw.trust, server.rehearsal, &mut bundles)?;
        let (profiles, policy) = materials::policy(source, &base, &raw.policy, server.rehearsal)?;
        let hsm = hsm(source, &base, &raw.hsm, raw.issuer.key_id.as_ref())?;
        // Nobody could ask without the listener for relying parties.
        let ocsp = raw
            .ocsp
            .as_ref()
            .map(|raw| responding(source, raw, &hsm, &profiles))
            .transpose()?
            .filter(|_| server.status.is_some());
        Ok(Self {
            audit: base.resolve(&raw.audit.file),
            log: Log {
                format: raw.log.format.unwrap_or(LogFormat::Json),
                level: raw.log.level.unwrap_or(LogLevel::Info),
            },
            server,
            operators,
            manifest_signers: materials::manifest_signers(source, &base, &raw.manifests, &issuer)?,
            tls,
            database,
            hsm,
            issuer,
            ocsp,
            anchors,
            manufacturers,
            bundles,
            profiles,
            policy,
            crl,
            aia: raw.aia.map(|raw| aia::checked(source, &base, &raw)).transpose()?,
            ledger: raw.ledger.map(|raw| ledger::checked(source, &base, &raw)).transpose()?,
            anchor: raw.anchor.map(|raw| anchor(source, &base, &raw)).transpose()?,
            enrollment,
            seal,
            limits,
        })
    }
}

fn crl(
    source: &Source,
    base: &files::Base,
    raw: raw::RawCrl,
    urls: &issuance::IssuerUrls,
) -> Result<CrlTerms, ConfigError> {
    let every = raw
        .every
        .as_ref()
        .map_or(Duration::from_secs(21_600), |s| s.get_ref().0);
    let valid = raw
        .valid
        .as_ref()
        .map_or(Duration::from_secs(86_400), |s| s.get_ref().0);
    // Half of the time to nextUpdate is when the alarm sounds.
    if let Some(given) = raw.every.as_ref().or(raw.valid.as_ref())
        && every * 2 > valid
    {
        return Err(source.error(
            &given.span(),
            "a CRL is valid for at least twice as long as the time to the next one",
        ));
    }
    if let Some(given) = &raw.valid
        && valid < Duration::from_secs(2)
    {
        return Err(source.error(&given.span(), "a CRL is valid for at least two seconds"));
    }
    let delta = raw.delta.map(|raw| delta(source, &raw, every, urls)).transpose()?;
    Ok(CrlTerms {
        delta,
        every,
        valid,
        after_revocation: span(raw.after_revocation, 60),
        max_age: span(raw.max_age, 600),
        folder: raw.folder.map(|folder| base.resolve(&folder)),
    })
}

/// Deltas come more often than complete CRLs, and lie beside them.
fn delta(
    source: &Source,
    raw: &Spanned<raw::RawDelta>,
    complete: Duration,
    urls: &issuance::IssuerUrls,
) -> Result<DeltaTerms, ConfigError> {
    let span =
        |given: &Option<Spanned<values::Span>>, or| given.as_ref().map_or(Duration::from_secs(or), |s| s.get_ref().0);
    let given = raw.get_ref();
    let (every, valid) = (span(&given.every, 600), span(&given.valid, 3600));
    let at = given
        .every
        .as_ref()
        .or(given.valid.as_ref())
        .map_or(raw.span(), Spanned::span);
    if every * 2 > valid || valid < Duration::from_secs(2) {
        return Err(source.error(
            &at,
            "a delta CRL is valid for at least twice as long as the time to the next one, and for two seconds",
        ));
    }
    if every >= complete {
        return Err(source.error(
            &at,
            "delta CRLs come more often than complete ones, or they are of no use",
        ));
    }
    let beside = urls
        .crl
        .as_deref()
        .is_none_or(|url| issuance::crl::delta_url(url).is_some());
    if !beside {
        return Err(source
            .error(&raw.span(), "with delta CRLs, the path of crl_url ends with .crl")
            .help("the deltas of http://pki.example.net/7.crl are at http://pki.example.net/7-delta.crl"));
    }
    Ok(DeltaTerms { every, valid })
}

fn anchor(
    source: &Source,
    base: &files::Base,
    raw: &toml::Spanned<raw::RawAnchor>,
) -> Result<AnchorTerms, ConfigError> {
    let said = raw.get_ref();
    let terms = AnchorTerms {
        file: said.file.as_ref().map(|file| base.resolve(file)),
        token: said.token.unwrap_or(false),
        every: said.every.map_or(Duration::from_secs(10), |span| span.0),
    };
    if terms.file.is_none() && !terms.token {
        return Err(source.error(&raw.span(), "an anchor is in a file, or in the token, or in both"));
    }
    Ok(terms)
}

fn server(source: &Source, base: &files::Base, raw: raw::RawServer) -> Result<Server, ConfigError> {
    if let Err(error) = policies::name::directory_string(raw.name.get_ref()) {
        return Err(source.error(&raw.name.span(), format!("name: {error}")));
    }
    if let Some(url) = &raw.base_url
        && (!(url.get_ref().starts_with("https://")) || url.get_ref().ends_with('/'))
    {
        return Err(source.error(
            &url.span(),
            "base_url starts with https:// and does not end with a slash",
        ));
    }
    let workers = match &raw.workers {
        Some(workers) => Some(at_least_one(source, Some(workers), 1)?),
        None => None,
    };
    Ok(Server {
        name: raw.name.into_inner(),
        rehearsal: raw.mode == raw::RawMode::Rehearsal,
        public: raw.public,
        metrics: raw.metrics,
        status: raw.status,
        published: raw.published.map(|path| base.resolve(&path)),
        admin: raw.admin.map(|path| base.resolve(&path)),
        base_url: raw.base_url.map(Spanned::into_inner),
        shutdown_grace: span(raw.shutdown_grace, 20),
        workers,
        clock_tolerance: span(raw.clock_tolerance, 300),
    })
}

fn database(source: &Source, base: &files::Base, raw: &raw::RawDatabase) -> Result<Database, ConfigError> {
    let defaults = StoreOptions::default();
    let options = StoreOptions {
        readers: at_least_one(source, raw.readers.as_ref(), defaults.readers)?,
        group: at_least_one(source, raw.group.as_ref(), defaults.group)?,
        connect_timeout: raw.connect_timeout.map_or(defaults.connect_timeout, |s| s.0),
        synchronous: matches!(
            raw.synchronous.as_ref().map(Spanned::get_ref),
            Some(raw::Synchronous::Required)
        ),
    };
    let url = raw.url.get_ref();
    if let Some(path) = url.strip_prefix("sqlite://") {
        if let Some(synchronous) = raw.synchronous.as_ref().filter(|_| options.synchronous) {
            return Err(source.error(&synchronous.span(), "SQLite has no standby"));
        }
        if let Some(password) = &raw.password {
            return Err(source.error(&password.span(), "SQLite takes no password"));
        }
        if path.is_empty() || path.contains(['?', '#']) {
            return Err(source.error(&raw.url.span(), "an SQLite URL is sqlite:// and a path, nothing else"));
        }
        let path = base.resolve(Path::new(path));
        let path = std::path::absolute(&path)
            .map_err(|e| source.error(&raw.url.span(), format!("{}: {e}", path.display())))?;
        return Ok(Database {
            url: Zeroizing::new(format!("sqlite://{}", path.display())),
            embedded: true,
            options,
        });
    }
    let Some(rest) = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|s| url.strip_prefix(s))
    else {
        return Err(source.error(
            &raw.url.span(),
            "the URL of a database starts with sqlite:// or postgres://",
        ));
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') || url.contains("password=") {
        return Err(source
            .error(&raw.url.span(), "the URL carries a password")
            .help("take it out, and say password = { file = \"…\" } or { credential = \"…\" }"));
    }
    let url = match &raw.password {
        None => Zeroizing::new(url.clone()),
        Some(_) if user.is_empty() => {
            return Err(source.error(&raw.url.span(), "a password needs a user: postgres://user@host/name"));
        }
        Some(password) => {
            let secret = files::secret(source, base, password)?;
            let tail = rest.get(authority.len()..).unwrap_or_default();
            Zeroizing::new(format!(
                "postgres://{user}:{}@{host}{tail}",
                files::percent_encoded(&secret).as_str()
            ))
        }
    };
    Ok(Database {
        url,
        embedded: false,
        options,
    })
}

fn hsm(
    source: &Source,
    base: &files::Base,
    raw: &raw::RawHsm,
    key_id: Option<&Spanned<String>>,
) -> Result<Hsm, ConfigError> {
    let uri: hsm::Pkcs11Uri = raw
        .uri
        .get_ref()
        .parse()
        .map_err(|e| source.error(&raw.uri.span(), format!("{e}")))?;
    let id = match key_id {
        Some(text) => hex::decode(text.get_ref())
            .ok()
            .filter(|id| !id.is_empty())
            .ok_or_else(|| source.error(&text.span(), "key_id is the CKA_ID in hex, for example \"01\""))?,
        None => uri.id.clone().ok_or_else(|| {
            source
                .error(&raw.uri.span(), "which key signs is not said")
                .help("say [issuer] key_id = \"01\", or put id=%01 into the URI")
        })?,
    };
    let pin = match &raw.pin {
        SecretSource::File(path) => PinSource::File(base.resolve(path)),
        SecretSource::Credential(name) => PinSource::Credential(name.clone()),
        SecretSource::Fd(fd) => PinSource::Fd(*fd),
        SecretSource::Prompt => PinSource::Prompt,
    };
    Ok(Hsm {
        token: TokenConfig {
            uri,
            sessions: at_least_one(source, raw.sessions.as_ref(), 8)?,
            queue_deadline: span(raw.queue_deadline, 2),
            login_backoff: span(raw.login_backoff, 10),
        },
        pin,
        key_id: id,
        probe_interval: span(raw.probe_interval, 30),
    })
}

fn responding(source: &Source, raw: &raw::RawOcsp, hsm: &Hsm, profiles: &Profiles) -> Result<Responding, ConfigError> {
    let at = raw.key_id.span();
    let key_id = hex::decode(raw.key_id.get_ref())
        .ok()
        .filter(|id| !id.is_empty())
        .ok_or_else(|| source.error(&at, "key_id is the CKA_ID in hex, for example \"02\""))?;
    if key_id == hsm.key_id {
        return Err(source.error(&at, "this is the issuing key: the responder has one of its own"));
    }
    if profiles.only(policies::ProfileKind::Ocsp).is_none() {
        return Err(source.error(&at, "a responder needs exactly one profile of kind `ocsp`"));
    }
    let algorithm = match &raw.algorithm {
        None => SignatureAlgorithm::EcdsaP256Sha256,
        Some(text) => SignatureAlgorithm::from_text(text.get_ref())
            .ok_or_else(|| source.error(&text.span(), "no such algorithm"))?,
    };
    let validity = raw
        .validity
        .as_ref()
        .map_or(Duration::from_secs(12 * 3600), |span| span.get_ref().0);
    if let Some(span) = &raw.validity
        && !(60..=7 * 86_400).contains(&validity.as_secs())
    {
        return Err(source.error(&span.span(), "an answer is good for one minute to seven days"));
    }
    Ok(Responding {
        key_id,
        algorithm,
        terms: OcspTerms {
            validity,
            cache: raw.cache.unwrap_or(20_000),
            fresh_rate: raw.fresh_rate.unwrap_or(Rate::Per(
                core::num::NonZeroU32::MIN.saturating_add(99),
                Duration::from_secs(1),
            )),
        },
    })
}

fn limits(source: &Source, raw: &raw::RawLimits) -> Result<Limits, ConfigError> {
    Ok(Limits {
        body: at_least_one(source, raw.body.as_ref(), 65_536)?,
        concurrency: at_least_one(source, raw.concurrency.as_ref(), 64)?,
        queue: raw.queue.unwrap_or(256),
        queue_deadline: span(raw.queue_deadline, 5),
        rate_per_source: raw.rate_per_source.unwrap_or(Rate::Per(
            core::num::NonZeroU32::MIN.saturating_add(599),
            Duration::from_secs(60),
        )),
        rate_total: raw.rate_total.unwrap_or(Rate::Off),
        connections: at_least_one(source, raw.connections.as_ref(), 4096)?,
        handshake_timeout: span(raw.handshake_timeout, 15),
        header_timeout: span(raw.header_timeout, 15),
        body_timeout: span(raw.body_timeout, 15),
        keep_alive: span(raw.keep_alive, 30),
    })
}

fn span(given: Option<Span>, default_seconds: u64) -> Duration {
    given.map_or(Duration::from_secs(default_seconds), |s| s.0)
}

fn at_least_one<T: Copy + PartialEq + From<u8>>(
    source: &Source,
    given: Option<&Spanned<T>>,
    default: T,
) -> Result<T, ConfigError> {
    match given {
        None => Ok(default),
        Some(value) if *value.get_ref() == T::from(0) => Err(source.error(&value.span(), "this must be at least 1")),
        Some(value) => Ok(*value.get_ref()),
    }
}
