//! A house on a temporary directory: a rehearsal hierarchy in software keys that can be told to fail, SQLite, a clock
//! with hands, and a vendor whose TPMs are software.

#![expect(unreachable_pub, reason = "a module of several test binaries")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the kit's own mistakes end the test"
)]
#![allow(dead_code, reason = "each test binary uses its own part of the kit")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use attest::trust::{AnchorSource, Anchors};
use attest::{AnchorKind, Entropy, EntropyError, SealKey, UnixTime};
use ca_server::config::{CrlTerms, Enrollment, Limits, Operators, Rate};
use ca_server::house::{AuditFile, House, OsEntropy, Parts, StartError, TimeSource};
use ca_server::http::Manners;
use device_kit::keys::{Secret, Shape, SoftKey};
use device_kit::vendor::VendorCa;
use issuance::{
    AuditRecord, CaKey, Draft, Intent, IssuedRecord, Issuer, IssuerUrls, KeyError, Order, RecordError, Recorder,
    Serial, SignatureAlgorithm, ToSign,
};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::x509::X509;
use policies::{CaPlan, CeremonyPlan, Mode, PolicySet, Profiles, Quorum, SanEntry, ServerTlsPlan};
use schema::{AllowDevice, Store, StoreOptions};
use tempfile::TempDir;

/// How the signer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    Works = 0,
    Away = 1,
    /// Signs, and loses the answer.
    Unknown = 2,
    /// Answers with a signature over something else.
    Corrupt = 3,
    /// A defect.
    Panics = 4,
}

/// A CA key outside any token, because a token cannot be told to fail at will.
pub struct MoodyKey {
    key: PKey<Private>,
    spki: Vec<u8>,
    mood: AtomicU8,
    pub signatures: AtomicUsize,
    door: Arc<Mutex<()>>,
}

impl MoodyKey {
    pub fn generate() -> Self {
        let key = p256();
        Self {
            spki: key.public_key_to_der().unwrap(),
            key,
            mood: AtomicU8::new(0),
            signatures: AtomicUsize::new(0),
            door: Arc::default(),
        }
    }
    pub fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }
    pub fn count(&self) -> usize {
        self.signatures.load(Ordering::SeqCst)
    }
    /// Whoever asks for a signature waits until the guard falls.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.signatures.store(0, Ordering::SeqCst);
        self.door.lock().unwrap()
    }
    /// Until someone asks for a signature.
    pub async fn asked(&self) {
        while self.count() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl CaKey for MoodyKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::EcdsaP256Sha256
    }
    fn spki(&self) -> &[u8] {
        &self.spki
    }
    fn sign(&self, what: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
        let mood = self.mood.load(Ordering::SeqCst);
        if mood == Mood::Away as u8 {
            return Err(KeyError::Unavailable("told to be away".to_owned()));
        }
        self.signatures.fetch_add(1, Ordering::SeqCst);
        assert!(mood != Mood::Panics as u8, "told to panic");
        let _door = self.door.lock().unwrap();
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).unwrap();
        let signature = match mood {
            m if m == Mood::Corrupt as u8 => signer.sign_oneshot_to_vec(b"something else"),
            _ => signer.sign_oneshot_to_vec(what.bytes()),
        };
        if mood == Mood::Unknown as u8 {
            return Err(KeyError::Unknown("told to lose the answer".to_owned()));
        }
        Ok(signature.unwrap())
    }
}

/// A clock whose hands a test moves.
#[derive(Clone)]
pub struct Hands(pub Arc<AtomicI64>);

impl Hands {
    pub fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
    pub fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
    pub fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl TimeSource for Hands {
    fn seconds(&self) -> i64 {
        self.now()
    }
}

struct Nowhere;

impl Recorder for Nowhere {
    fn intend(&self, _: &Order, _: &[Intent]) -> Result<(), RecordError> {
        Ok(())
    }
    fn issued(&self, _: &[u8; 16], _: &[IssuedRecord]) -> Result<(), RecordError> {
        Ok(())
    }
}

/// The hierarchy and what stands around it.
pub struct Ca {
    pub directory: TempDir,
    pub key: Arc<MoodyKey>,
    pub chain: Vec<Vec<u8>>,
    pub tls_certificate: Vec<u8>,
    pub tls_key: PKey<Private>,
    pub vendor: VendorCa,
    pub hands: Hands,
}

pub fn p256() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

impl Ca {
    /// A rehearsal, in software keys.
    pub fn rehearse() -> Self {
        let now = jiff_now();
        let root = MoodyKey::generate();
        let key = MoodyKey::generate();
        let tls_key = p256();
        let plan = CeremonyPlan {
            organization: "Example".to_owned(),
            root: CaPlan {
                common_name: "Root".to_owned(),
                spki: root.spki.clone(),
            },
            issuing: CaPlan {
                common_name: "Issuing".to_owned(),
                spki: key.spki.clone(),
            },
            server_tls: ServerTlsPlan {
                names: vec![SanEntry::Dns("localhost".to_owned()), SanEntry::Ip(vec![127, 0, 0, 1])],
                spki: tls_key.public_key_to_der().unwrap(),
            },
        };
        let profiles = Profiles::builtin().unwrap();
        let [root_grant, issuing_grant, tls_grant] = plan.approve(&profiles, Quorum::Rehearsal, UnixTime(now)).unwrap();
        let issue = |draft: Draft, key: &MoodyKey| {
            let order = Order {
                enrollment_id: [1; 16],
                request_sha256: [0; 32],
                device: None,
                evidence: None,
                transcript: None,
                renews: None,
                audit: AuditRecord {
                    at: UnixTime(now),
                    action: "rehearsal".to_owned(),
                    actor: "kit".to_owned(),
                    subject: String::new(),
                    reason: String::new(),
                    detail: String::new(),
                },
                at: UnixTime(now),
            };
            let recorded = issuance::record(vec![draft.lint().unwrap()], &order, &Nowhere).unwrap();
            let signed = recorded.into_iter().map(|r| r.sign(key).unwrap()).collect();
            let issued = issuance::issue(signed, &[1; 16], &Nowhere).unwrap();
            issued[0].certificate().to_vec()
        };
        let serial = || Serial::draw(&mut OsEntropy).unwrap();
        let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
        let root_der = issue(Draft::self_signed(root_grant, &root, serial()).unwrap(), &root);
        let root_issuer =
            Issuer::from_chain(std::slice::from_ref(&root_der), algorithm, IssuerUrls::default()).unwrap();
        let issuing_der = issue(Draft::new(issuing_grant, &root_issuer, serial()).unwrap(), &root);
        let chain = vec![issuing_der, root_der];
        let issuer = Issuer::from_chain(&chain, algorithm, IssuerUrls::default()).unwrap();
        let tls_certificate = issue(Draft::new(tls_grant, &issuer, serial()).unwrap(), &key);
        key.signatures.store(0, Ordering::SeqCst);
        Self {
            directory: tempfile::tempdir().unwrap(),
            key: Arc::new(key),
            chain,
            tls_certificate,
            tls_key,
            vendor: VendorCa::root("Kit TPM Root"),
            hands: Hands(Arc::new(AtomicI64::new(now))),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn anchors(&self) -> Anchors {
        let source = AnchorSource {
            name: "kit".to_owned(),
            certificate: self.vendor.certificate.clone(),
            kind: AnchorKind::Software,
            manufacturers: vec!["id:49465800".to_owned()],
            enforce_expiry: true,
        };
        Anchors::new(vec![source], Vec::new()).unwrap()
    }

    pub fn store(&self) -> Store {
        let url = format!("sqlite://{}", self.path("ca.db").display());
        Store::open(&url, &StoreOptions::default()).unwrap()
    }

    pub fn issuer(&self) -> Issuer {
        Issuer::from_chain(&self.chain, SignatureAlgorithm::EcdsaP256Sha256, IssuerUrls::default()).unwrap()
    }

    /// The usual parts; a test changes one.
    pub fn parts(&self, store: &Store) -> Parts {
        Parts {
            name: "Example Devices CA".to_owned(),
            issuer: self.issuer(),
            key: Arc::clone(&self.key) as Arc<dyn CaKey>,
            store: store.clone(),
            anchors: self.anchors(),
            manufacturers: attest::iak::Manufacturers::none().unwrap(),
            policy: PolicySet::builtin(Mode::Rehearsal).unwrap(),
            profiles: Profiles::builtin().unwrap(),
            seal: SealKey::new(&[7; 32], &[]),
            terms: Enrollment {
                challenge_ttl: Duration::from_secs(120),
                max_attempts: 3,
                sign_deadline: Duration::from_secs(30),
                review: false,
                review_quarantined: false,
                renewal_info: Duration::from_secs(60),
            },
            crl: terms(),
            audit: AuditFile::new(self.path("audit.jsonl")),
            time: Box::new(self.hands.clone()),
            entropy: Box::new(attest::Watched::new(OsEntropy)),
            clock_tolerance: Duration::from_secs(300),
            manifest_signers: std::collections::HashSet::new(),
            ocsp: None,
            ledger: None,
            aia: None,
        }
    }

    /// A server on `store`.
    pub fn house(&self, store: &Store) -> Arc<House> {
        Arc::new(House::new(self.parts(store)).unwrap())
    }

    pub fn refused(&self, parts: Parts) -> StartError {
        House::new(parts).err().unwrap()
    }

    /// The issuing CA's own key in the shape of a TPM's.
    pub fn key_in(&self, shape: Shape) -> SoftKey {
        SoftKey::from_secret(shape, Secret::OpenSsl(self.key.key.clone()))
    }

    /// Every line of the audit file.
    pub fn audited(&self) -> Vec<serde_json::Value> {
        std::fs::read_to_string(self.path("audit.jsonl"))
            .unwrap_or_default()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub fn last_reason(&self) -> String {
        self.audited().last().unwrap()["reason"].as_str().unwrap().to_owned()
    }
}

pub fn jiff_now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Put a device with this EK into the inventory.
pub fn allow(store: &Store, name: &str, ek_spki_sha256: Option<[u8; 32]>, first_contact_until: Option<i64>) {
    let device = AllowDevice {
        ek_kind: None,
        iak_spki_sha256: None,
        name: name.to_owned(),
        ek_spki_sha256,
        first_contact_until,
        dns_names: Vec::new(),
        spiffe_id: None,
        batch: None,
    };
    store.allow_device(&device, &admin_audit()).unwrap();
}

pub fn admin_audit() -> AuditRecord {
    AuditRecord {
        at: UnixTime(1),
        action: "device.allowed".to_owned(),
        actor: "kit".to_owned(),
        subject: String::new(),
        reason: "ADMIN".to_owned(),
        detail: String::new(),
    }
}

/// A source that gives back what a test put in, then real randomness.
pub struct Scripted {
    pub script: std::collections::VecDeque<Vec<u8>>,
}

impl Entropy for Scripted {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        match self.script.front() {
            Some(next) if next.len() == out.len() => {
                out.copy_from_slice(next);
                self.script.pop_front();
                Ok(())
            }
            _ => OsEntropy.fill(out),
        }
    }
}

pub fn pem(der: &[u8]) -> Vec<u8> {
    X509::from_der(der).unwrap().to_pem().unwrap()
}

/// Write a file only its owner may read.
pub fn secret_file(path: &Path, content: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// CRLs of a day, every six hours, and at once after a revocation.
pub fn terms() -> CrlTerms {
    CrlTerms {
        every: Duration::from_secs(21_600),
        valid: Duration::from_secs(86_400),
        after_revocation: Duration::from_secs(1),
        max_age: Duration::from_secs(600),
        folder: None,
        delta: None,
    }
}

/// Limits no test runs into by accident.
pub fn limits() -> Limits {
    Limits {
        body: 65_536,
        concurrency: 8,
        queue: 8,
        queue_deadline: Duration::from_millis(200),
        rate_per_source: Rate::Off,
        rate_total: Rate::Off,
        connections: 100,
        handshake_timeout: Duration::from_secs(5),
        header_timeout: Duration::from_secs(5),
        body_timeout: Duration::from_secs(5),
        keep_alive: Duration::from_secs(5),
    }
}

pub fn manners() -> Manners {
    Manners {
        limits: limits(),
        published: None,
        base_url: "https://ca.example".to_owned(),
        signer_stale: Duration::from_secs(90),
        operators: Operators::default(),
    }
}
