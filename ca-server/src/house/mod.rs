//! All that a running CA stands on, opened and found in order.

mod aia;
mod anchor;
mod at_work;
mod audit;
mod bundles;
mod clock;
mod crl;
mod entropy;
pub mod folder;
mod health;
mod ledger;
pub mod ledger_folder;
mod metrics;
mod responder;
mod standing;
mod statuses;
pub mod witness;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ::ledger::SigningKey;
use attest::iak::Manufacturers;
use attest::trust::Anchors;
use attest::{Entropy as _, SealKey};
use hsm::HsmError;
use issuance::crl::delta_url;
use issuance::{CaKey, CrlScope, Issuer, SignFailure};
use policies::{PolicySet, Profiles};
use schema::{CrlPoint, Store, StoreError};
use wire::Exit;

use crate::config::{AiaTerms, Config, CrlTerms, Enrollment, LedgerTerms, OcspTerms};

pub use self::aia::{Aia, Wish};
pub use self::ledger::{Ledger, LedgerFault, Recorded, continued};
pub use anchor::{Anchor, AnchorFault};
pub use at_work::{AtWork, Held};
pub use audit::AuditFile;
pub use clock::{Clock, Moment, SystemClock, TimeSource};
pub use crl::{Alarm, Alarms, Concern, Shelf, Shelved, path_of, tag_of};
pub use entropy::{Lease, OsEntropy, SharedEntropy};
pub use health::{Halt, SignerHealth};
pub use metrics::{Metrics, Phase};
pub use responder::{Answer, Answers, Ocsp};
pub use statuses::{Hear, Statuses};
pub use witness::Witness;

/// The house: what every flow borrows.
pub struct House {
    /// Name of the CA.
    pub name: String,
    /// The CA certificate.
    pub issuer: Issuer,
    /// Its key.
    pub key: Arc<dyn CaKey>,
    /// The record.
    pub store: Store,
    /// Roots trusted for claims about TPMs.
    pub anchors: Anchors,
    /// Roots trusted for device manufacturers' claims: third-party issuance.
    pub manufacturers: Manufacturers,
    /// Rules.
    pub policy: PolicySet,
    /// Profiles.
    pub profiles: Profiles,
    /// Seals challenges.
    pub seal: SealKey,
    /// Terms of an enrollment.
    pub terms: Enrollment,
    /// Terms of CRLs.
    pub crl: CrlTerms,
    /// Published CRLs, to be served.
    pub shelf: Shelf,
    /// What is wrong with CRLs.
    pub alarms: Alarms,
    /// Challenges whose answers are being looked at.
    pub at_work: AtWork,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: SharedEntropy,
    /// Refusals.
    pub audit: AuditFile,
    /// Whether issuing stopped.
    pub halt: Halt,
    /// What is known of the signer.
    pub signer: SignerHealth,
    /// Numbers.
    pub metrics: Metrics,
    /// SHA-256 of the SubjectPublicKeyInfo of every CA of the chain and of the OCSP responder: never certified for a device.
    pub own_keys: HashSet<[u8; 32]>,
    /// SHA-256 of the SubjectPublicKeyInfo of each key whose manifests are believed.
    pub manifest_signers: HashSet<[u8; 32]>,
    /// Answers about revocation, when this server gives them.
    pub ocsp: Option<Ocsp>,
    /// The ledger, when it is signed here.
    pub ledger: Option<Ledger>,
    /// Intermediates that are fetched, when they are.
    pub aia: Option<Aia>,
    /// What is remembered of the record outside of it.
    pub anchor: Option<Anchor>,
    /// SHA-256 of the archived policy by which it decides.
    pub policy_archive: [u8; 32],
}

/// What a [`House`] is built from.
pub struct Parts {
    /// Name of the CA.
    pub name: String,
    /// The CA certificate.
    pub issuer: Issuer,
    /// Its key.
    pub key: Arc<dyn CaKey>,
    /// The record.
    pub store: Store,
    /// Roots trusted for claims about TPMs.
    pub anchors: Anchors,
    /// Roots trusted for device manufacturers' claims: third-party issuance.
    pub manufacturers: Manufacturers,
    /// Rules.
    pub policy: PolicySet,
    /// Profiles.
    pub profiles: Profiles,
    /// Seals challenges.
    pub seal: SealKey,
    /// Terms of CRLs.
    pub crl: CrlTerms,
    /// Terms of an enrollment.
    pub terms: Enrollment,
    /// Refusals.
    pub audit: AuditFile,
    /// Where the time comes from.
    pub time: Box<dyn TimeSource>,
    /// Where randomness comes from.
    pub entropy: Box<dyn attest::Entropy + Send>,
    /// How far the clock may stand behind the newest record.
    pub clock_tolerance: Duration,
    /// SHA-256 of the SubjectPublicKeyInfo of each key whose manifests are believed.
    pub manifest_signers: HashSet<[u8; 32]>,
    /// Key and terms of the OCSP responder.
    pub ocsp: Option<(Arc<dyn CaKey>, OcspTerms)>,
    /// Key and terms of the ledger.
    pub ledger: Option<(SigningKey, LedgerTerms)>,
    /// Terms of the job that fetches intermediates.
    pub aia: Option<AiaTerms>,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error("{0}")]
    Config(#[from] crate::config::ConfigError),
    /// Something is not as it must be: a person has to look.
    #[error("refusing to start: {0}")]
    Refused(String),
    /// Something is away; the same start may succeed later.
    #[error("not now: {0}")]
    NotNow(String),
    /// Sockets and the like.
    #[error("{0}")]
    Other(String),
}

impl StartError {
    /// Exit code of the process.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(error) => error.exit(),
            Self::Refused(_) => Exit::Refuses,
            Self::NotNow(_) => Exit::TryAgain,
            Self::Other(_) => Exit::Failed,
        }
    }
}

impl House {
    /// Put the parts together and see that key, clock, entropy, record and audit file are in order.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(parts: Parts) -> Result<Self, StartError> {
        let mut own_keys = own_keys(&parts.issuer)?;
        let ocsp = match parts.ocsp {
            None => None,
            Some((key, terms)) => {
                own_keys.insert(openssl::sha::sha256(key.spki()));
                Some(ocsp(key, terms, &parts.issuer, &parts.store)?)
            }
        };
        let latest = parts.store.latest_time().map_err(storage)?;
        let ledger = match parts.ledger {
            None => None,
            Some((key, terms)) => Some(Ledger::open(key, terms, &parts.store).map_err(not_the_ledger)?),
        };
        let aia = match parts.aia {
            None => None,
            Some(terms) => {
                let folder = terms.folder.display().to_string();
                Some(Aia::open(terms).map_err(|e| StartError::Other(format!("[aia] {folder}: {e}")))?)
            }
        };
        let mut house = Self {
            policy_archive: [0; 32],
            aia,
            name: parts.name,
            issuer: parts.issuer,
            key: parts.key,
            store: parts.store,
            anchors: parts.anchors,
            manufacturers: parts.manufacturers,
            policy: parts.policy,
            profiles: parts.profiles,
            seal: parts.seal,
            terms: parts.terms,
            crl: parts.crl,
            shelf: Shelf::default(),
            alarms: Alarms::default(),
            at_work: AtWork::default(),
            clock: Clock::new(parts.time, latest, parts.clock_tolerance),
            entropy: SharedEntropy::new(parts.entropy),
            audit: parts.audit,
            halt: Halt::default(),
            signer: SignerHealth::default(),
            metrics: Metrics::new(),
            own_keys,
            manifest_signers: parts.manifest_signers,
            ocsp,
            ledger,
            anchor: None,
        };
        house.metrics.issuer_ends(house.issuer.not_after().0);
        if house.clock.read().ran_back {
            return Err(StartError::Refused(format!(
                "the clock stands before the newest record ({}); put the clock right, or find out who moved it",
                latest.unwrap_or_default()
            )));
        }
        if house.key.spki() != house.issuer.spki() || house.key.algorithm() != house.issuer.algorithm() {
            return Err(StartError::Refused(
                "the key is not the one of the issuing CA's certificate".to_owned(),
            ));
        }
        let mut drawn = [0; 64];
        house
            .entropy
            .lease()
            .fill(&mut drawn)
            .map_err(|e| StartError::Refused(e.to_string()))?;
        house
            .audit
            .check()
            .map_err(|e| StartError::Refused(format!("the audit file cannot be written: {e}")))?;
        house
            .audit
            .adopt()
            .map_err(|e| StartError::Refused(format!("the audit file cannot be read: {e}")))?;
        house.place_crls()?;
        house.probe_signer().map_err(|e| match e {
            SignFailure::Key(away) => StartError::NotNow(away.to_string()),
            wrong => StartError::Refused(wrong.to_string()),
        })?;
        house.policy_archive = attest::sha256(&house.policy_text()?);
        Ok(house)
    }

    /// Places for the CRLs of the certificates to come; and no CRL may be out that the record does not know of: then the
    /// record is older than what was said.
    fn place_crls(&self) -> Result<(), StartError> {
        let issuer = &self.issuer;
        let url = |scope: CrlScope| match (&scope, &issuer.urls().crl) {
            (CrlScope::Point(url), _) | (CrlScope::Complete, Some(url)) => (url.clone(), scope),
            (CrlScope::Complete, None) => (String::new(), scope),
        };
        let places: Vec<(String, CrlScope)> = issuer.urls().crl_scopes().into_iter().map(url).collect();
        self.store.add_crl_points(issuer.key_id(), &places).map_err(storage)?;
        let points = self.store.crl_points(issuer.key_id()).map_err(storage)?;
        let deltas: Vec<String> = points.iter().filter_map(|point| delta_url(&point.url)).collect();
        let places = points.iter().map(|point| &point.url);
        if self.crl.delta.is_some()
            && let Some(taken) = places
                .clone()
                .chain(&issuer.urls().ca_issuers)
                .find(|url| deltas.contains(url))
        {
            return Err(StartError::Refused(format!(
                "{taken} is where the delta CRLs of another URL would be: take another crl_url, or no [crl.delta]"
            )));
        }
        let Some(folder) = &self.crl.folder else {
            return Ok(());
        };
        let last = self.store.last_crl_number(issuer.key_id()).map_err(storage)?;
        for url in places.chain(&deltas) {
            let out = folder::file_of(folder, url).and_then(|file| folder::number_in(&file, issuer));
            if let Some(out) = out
                && last.is_none_or(|last| out > last)
            {
                return Err(StartError::Refused(format!(
                    "CRL number {out} is published at {}; the record knows none after {}: it is older than what was said. Take \
                     a newer one; or go on with it: ca-cli db accept --crl (docs/how-to/backup.md)",
                    url,
                    last.map_or(0, issuance::CrlNumber::get)
                )));
            }
        }
        Ok(())
    }

    /// Where the delta CRLs of a place are, when there are any.
    #[must_use]
    pub fn delta_url(&self, point: &CrlPoint) -> Option<String> {
        self.crl.delta.and_then(|_| delta_url(&point.url))
    }

    /// Sign and verify a probe text, and remember how that went.
    ///
    /// # Errors
    /// [`SignFailure`].
    pub fn probe_signer(&self) -> Result<(), SignFailure> {
        let outcome = issuance::probe(self.key.as_ref());
        match &outcome {
            Ok(()) => self.signer.signed(self.clock.read().now.0),
            Err(SignFailure::Key(away)) => self.signer.failed(&away.to_string()),
            Err(wrong @ (SignFailure::Corrupt | SignFailure::BytesDiffer | SignFailure::WrongKey(_))) => {
                self.halt.set(&wrong.to_string());
            }
        }
        outcome
    }

    /// Open everything a configuration names.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(config: Config) -> Result<Self, StartError> {
        let token = open_token(&config)?;
        let (key, responder) = keys_in(&token, &config)?;
        failpoint::reach(failpoint::Point::StartToken);
        let store = Store::open(&config.database.url, &config.database.options).map_err(storage)?;
        failpoint::reach(failpoint::Point::StartStore);
        let anchor = config.anchor.clone().map(|terms| Anchor::new(terms, &token));
        if let Some(anchor) = &anchor {
            anchor.check(&store).map_err(anchored)?;
        }
        bundles::accept(&store, &config.bundles, attest::UnixTime(SystemClock.seconds()))?;
        let house = Self::new(Parts {
            name: config.server.name,
            issuer: config.issuer,
            key,
            store,
            anchors: config.anchors,
            manufacturers: config.manufacturers,
            policy: config.policy,
            profiles: config.profiles,
            seal: config.seal,
            terms: config.enrollment,
            crl: config.crl,
            audit: AuditFile::new(config.audit),
            time: Box::new(SystemClock),
            entropy: Box::new(attest::Watched::new(OsEntropy)),
            clock_tolerance: config.server.clock_tolerance,
            manifest_signers: config.manifest_signers,
            ocsp: responder.zip(config.ocsp.map(|ocsp| ocsp.terms)),
            ledger: config.ledger,
            aia: config.aia,
        })?;
        // The last thing before it may issue: a server that does not start stands on nothing.
        house.stand()?;
        if let Some(anchor) = &anchor {
            anchor.follow(&house.store).map_err(anchored)?;
        }
        Ok(Self { anchor, ..house })
    }
}

/// The issuing key, and that of the responder where there is one.
type Keys = (Arc<dyn CaKey>, Option<Arc<dyn CaKey>>);

/// Log in to the token and find the issuing key, proven to be the certificate's, and the responder's, if `[ocsp]` names one.
///
/// # Errors
/// [`StartError`].
pub fn open_keys(config: &Config) -> Result<Keys, StartError> {
    keys_in(&open_token(config)?, config)
}

fn open_token(config: &Config) -> Result<hsm::Token, StartError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(std::path::PathBuf::from);
    let (token, pin) = (config.hsm.token.clone(), config.hsm.pin.clone());
    hsm::Token::open_from(token, pin, credentials.as_deref()).map_err(signer)
}

fn keys_in(token: &hsm::Token, config: &Config) -> Result<Keys, StartError> {
    let key = token
        .ca_key(&config.hsm.key_id, config.issuer.spki(), config.issuer.algorithm())
        .map_err(signer)?;
    let responder = match &config.ocsp {
        None => None,
        Some(ocsp) => {
            let key = token
                .own_key(&ocsp.key_id, ocsp.algorithm)
                .map_err(|e| match signer(e) {
                    StartError::Refused(why) => StartError::Refused(format!("OCSP responder: {why}")),
                    other => other,
                })?;
            let key: Arc<dyn CaKey> = Arc::new(key);
            Some(key)
        }
    };
    Ok((Arc::new(key), responder))
}

/// A responder whose key is its own, and signs.
fn ocsp(key: Arc<dyn CaKey>, terms: OcspTerms, issuer: &Issuer, store: &Store) -> Result<Ocsp, StartError> {
    if key.spki() == issuer.spki() {
        return Err(StartError::Refused(
            "OCSP responder: its key is the issuing CA's; it needs one of its own".to_owned(),
        ));
    }
    issuance::probe(key.as_ref()).map_err(|e| match e {
        SignFailure::Key(away) => StartError::NotNow(away.to_string()),
        wrong => StartError::Refused(format!("OCSP responder: {wrong}")),
    })?;
    Ocsp::new(key, terms, issuer, store).map_err(|e| StartError::Other(e.to_string()))
}

/// A token that is not there yet may come; a PIN or a key that is wrong stays wrong.
fn signer(error: HsmError) -> StartError {
    match error {
        HsmError::Pin(_) | HsmError::Key(_) | HsmError::Attribute { .. } => StartError::Refused(error.to_string()),
        _ => StartError::NotNow(error.to_string()),
    }
}

fn anchored(fault: AnchorFault) -> StartError {
    match fault {
        AnchorFault::Store(error) => storage(error),
        AnchorFault::Token(error) => signer(error),
        other => StartError::Refused(other.to_string()),
    }
}

fn not_the_ledger(fault: LedgerFault) -> StartError {
    match fault {
        LedgerFault::Store(error) => storage(error),
        other => StartError::Refused(format!("ledger: {other}")),
    }
}

fn storage(error: StoreError) -> StartError {
    match error {
        StoreError::Unusable(_) => StartError::Refused(error.to_string()),
        StoreError::Unavailable(_) | StoreError::Unknown(_) => StartError::NotNow(error.to_string()),
    }
}

fn own_keys(issuer: &Issuer) -> Result<HashSet<[u8; 32]>, StartError> {
    use openssl::x509::X509;
    let mut keys = HashSet::from([attest::sha256(issuer.spki())]);
    for certificate in issuer.chain() {
        let spki = X509::from_der(certificate)
            .and_then(|c| c.public_key())
            .and_then(|k| k.public_key_to_der())
            .map_err(|e| StartError::Refused(format!("CA certificate: {e}")))?;
        keys.insert(attest::sha256(&spki));
    }
    Ok(keys)
}
