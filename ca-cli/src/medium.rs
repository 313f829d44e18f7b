//! The ceremony's own medium: intents and outcomes as files, durable before the token is asked.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use issuance::{Intent, IssuedRecord, Order, RecordError, Recorder, Serial};

/// A folder that takes one `.intent.json` and one `.issued.json` for each certificate.
pub(crate) struct Medium {
    folder: PathBuf,
    /// Whether what stands there already may be written again, if it says the same.
    again: bool,
}

impl Medium {
    /// Make the folder; one that exists is refused, for it holds another ceremony.
    pub(crate) fn create(folder: &Path) -> std::io::Result<Self> {
        DirBuilder::new().mode(0o700).create(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            again: false,
        })
    }

    /// The folder of a ceremony that may have been interrupted. What stands there is never changed, but the same
    /// certificate may be intended again: a step that is repeated signs the same bytes, or none.
    pub(crate) fn resume(folder: &Path) -> std::io::Result<Self> {
        DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            again: true,
        })
    }

    /// Whether the file of this name says the same as `value`, the time and the actor left out. What was cut off in the
    /// middle says nothing, and nothing was asked of the token after it: it goes.
    fn stands(&self, name: &str, value: &serde_json::Value) -> bool {
        let path = self.folder.join(name);
        let Ok(bytes) = std::fs::read(&path) else { return false };
        let Ok(there) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
            let _ = std::fs::remove_file(&path);
            return false;
        };
        // An ECDSA signature over the same bytes is another one each time.
        let same = |key: &str| there.get(key) == value.get(key);
        ["schema", "plan_sha256", "serial", "issuer_key_id", "tbs"]
            .into_iter()
            .all(same)
    }

    /// The certificate of this serial whose outcome is written down.
    pub(crate) fn certificate(&self, serial: Serial) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.folder.join(format!("{}.issued.json", serial.hex()))).ok()?;
        let value: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        hex::decode(value.get("certificate")?.as_str()?).ok()
    }

    /// Write a new file and make it durable: content, then the folder's entry.
    fn put(&self, name: &str, value: &serde_json::Value) -> Result<(), RecordError> {
        let path = self.folder.join(name);
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = opened.map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => RecordError::SerialTaken,
            _ => RecordError::Unavailable(format!("{}: {e}", path.display())),
        })?;
        let unknown = |e: std::io::Error| RecordError::Unknown(format!("{}: {e}", path.display()));
        file.write_all(format!("{value:#}\n").as_bytes()).map_err(unknown)?;
        file.sync_all().map_err(unknown)?;
        File::open(&self.folder).and_then(|f| f.sync_all()).map_err(unknown)
    }
}

impl Recorder for Medium {
    fn intend(&self, order: &Order, intents: &[Intent]) -> Result<(), RecordError> {
        for intent in intents {
            let value = serde_json::json!({
                "schema": "holdfast.ceremony-intent.v1",
                "ceremony": hex::encode(order.enrollment_id),
                "plan_sha256": hex::encode(order.request_sha256),
                "at": order.at.0,
                "action": order.audit.action,
                "actor": order.audit.actor,
                "serial": intent.serial.hex(),
                "issuer_key_id": hex::encode(&intent.issuer_key_id),
                "profile": intent.profile,
                "profile_sha256": hex::encode(intent.profile_sha256),
                "rules": intent.decision.rules,
                "tbs": hex::encode(&intent.tbs),
            });
            let name = format!("{}.intent.json", intent.serial.hex());
            if !(self.again && self.stands(&name, &value)) {
                self.put(&name, &value)?;
            }
        }
        Ok(())
    }

    fn issued(&self, enrollment_id: &[u8; 16], issued: &[IssuedRecord]) -> Result<(), RecordError> {
        for record in issued {
            if !self
                .folder
                .join(format!("{}.intent.json", record.serial.hex()))
                .exists()
            {
                return Err(RecordError::IntentClosed);
            }
            let value = serde_json::json!({
                "schema": "holdfast.ceremony-issued.v1",
                "ceremony": hex::encode(enrollment_id),
                "serial": record.serial.hex(),
                "certificate": hex::encode(&record.certificate),
            });
            let name = format!("{}.issued.json", record.serial.hex());
            if !(self.again && self.stands(&name, &value)) {
                self.put(&name, &value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU32, Ordering};

    use attest::{Entropy, EntropyError, UnixTime};
    use issuance::{AuditRecord, CaKey, Draft, KeyError, Linted, SignatureAlgorithm, ToSign};
    use openssl::pkey::{PKey, Private};
    use policies::{CaPlan, CeremonyPlan, Profiles, Quorum, SanEntry, ServerTlsPlan};

    use super::*;

    const ID: [u8; 16] = [7; 16];

    struct Random;
    impl Entropy for Random {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
        }
    }

    /// A key in memory that counts what it is asked, and dies at it if told so.
    struct Key {
        key: PKey<Private>,
        spki: Vec<u8>,
        asked: AtomicU32,
        dies: bool,
    }

    impl Key {
        fn new(dies: bool) -> Self {
            let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap();
            let key = PKey::from_ec_key(openssl::ec::EcKey::generate(&group).unwrap()).unwrap();
            let spki = key.public_key_to_der().unwrap();
            let asked = AtomicU32::new(0);
            Self { key, spki, asked, dies }
        }
    }

    impl CaKey for Key {
        fn algorithm(&self) -> SignatureAlgorithm {
            SignatureAlgorithm::EcdsaP256Sha256
        }
        fn spki(&self) -> &[u8] {
            &self.spki
        }
        fn sign(&self, what: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.dies {
                return Err(KeyError::Unknown("the cable".into()));
            }
            let digest = openssl::hash::MessageDigest::sha256();
            let mut signer = openssl::sign::Signer::new(digest, &self.key).unwrap();
            Ok(signer.sign_oneshot_to_vec(what.bytes()).unwrap())
        }
    }

    /// A root ready to be recorded.
    fn linted(key: &Key) -> Linted {
        let plan = CeremonyPlan {
            organization: "Example".into(),
            root: CaPlan {
                common_name: "Root".into(),
                spki: key.spki.clone(),
            },
            issuing: CaPlan {
                common_name: "Issuing".into(),
                spki: Key::new(false).spki,
            },
            server_tls: ServerTlsPlan {
                names: vec![SanEntry::Dns("localhost".into())],
                spki: Key::new(false).spki,
            },
        };
        let profiles = Profiles::builtin().unwrap();
        let [root, _, _] = plan
            .approve(&profiles, Quorum::Rehearsal, UnixTime(1_795_305_600))
            .unwrap();
        let draft = Draft::self_signed(root, key, Serial::draw(&mut Random).unwrap()).unwrap();
        draft.lint().unwrap()
    }

    fn order() -> Order {
        let at = UnixTime(1_795_305_600);
        Order {
            enrollment_id: ID,
            request_sha256: [8; 32],
            device: None,
            evidence: None,
            transcript: None,
            renews: None,
            audit: AuditRecord {
                at,
                action: "rehearsal.root".into(),
                actor: "uid 0".into(),
                subject: hex::encode(ID),
                reason: "ceremony-rehearsal".into(),
                detail: String::new(),
            },
            at,
        }
    }

    /// Kinds of files in the folder.
    fn kinds(folder: &Path) -> BTreeSet<String> {
        let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name());
        names
            .map(|n| n.to_str().unwrap().split_once('.').unwrap().1.to_owned())
            .collect()
    }

    fn set<const N: usize>(kinds: [&str; N]) -> BTreeSet<String> {
        kinds.map(str::to_owned).into()
    }

    /// Passes intents on, and is cut off before the outcome.
    struct CutOff(Medium);
    impl Recorder for CutOff {
        fn intend(&self, order: &Order, intents: &[Intent]) -> Result<(), RecordError> {
            self.0.intend(order, intents)
        }
        fn issued(&self, _: &[u8; 16], _: &[IssuedRecord]) -> Result<(), RecordError> {
            Err(RecordError::Unknown("the power".into()))
        }
    }

    #[test]
    fn a_folder_that_exists_is_another_ceremonys() {
        let dir = tempfile::tempdir().unwrap();
        let error = Medium::create(dir.path()).err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        Medium::create(&dir.path().join("new")).unwrap();
    }

    #[test]
    fn intent_and_outcome_stand_side_by_side_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("ceremony");
        let medium = Medium::create(&folder).unwrap();
        let key = Key::new(false);
        let recorded = issuance::record(vec![linted(&key)], &order(), &medium).unwrap();
        assert_eq!(
            kinds(&folder),
            set(["intent.json"]),
            "the intent is there before the key is asked"
        );
        assert_eq!(key.asked.load(Ordering::Relaxed), 0);
        let signed: Vec<_> = recorded.into_iter().map(|r| r.sign(&key).unwrap()).collect();
        let issued = issuance::issue(signed, &ID, &medium).unwrap();
        assert_eq!(kinds(&folder), set(["intent.json", "issued.json"]));
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            let value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let certificate = hex::encode(issued[0].certificate());
            match value["schema"].as_str().unwrap() {
                "holdfast.ceremony-intent.v1" => assert!(certificate.contains(value["tbs"].as_str().unwrap())),
                "holdfast.ceremony-issued.v1" => assert_eq!(value["certificate"], certificate),
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let medium = Medium::create(&dir.path().join("ceremony")).unwrap();
        let key = Key::new(false);
        let intents = Intents::default();
        let recorded = issuance::record(vec![linted(&key)], &order(), &intents).unwrap();
        let intent = intents.0.into_inner().unwrap();
        medium.intend(&order(), &intent).unwrap();
        assert!(matches!(
            medium.intend(&order(), &intent),
            Err(RecordError::SerialTaken)
        ));
        let signed: Vec<_> = recorded.into_iter().map(|r| r.sign(&key).unwrap()).collect();
        let outcome = [IssuedRecord {
            serial: intent[0].serial,
            issuer_key_id: intent[0].issuer_key_id.clone(),
            certificate: vec![1],
        }];
        medium.issued(&ID, &outcome).unwrap();
        assert!(matches!(
            issuance::issue(signed, &ID, &medium),
            Err(RecordError::SerialTaken)
        ));
    }

    /// Keeps intents and forgets them.
    #[derive(Default)]
    struct Intents(std::sync::Mutex<Vec<Intent>>);
    impl Recorder for Intents {
        fn intend(&self, _: &Order, intents: &[Intent]) -> Result<(), RecordError> {
            self.0.lock().unwrap().extend_from_slice(intents);
            Ok(())
        }
        fn issued(&self, _: &[u8; 16], _: &[IssuedRecord]) -> Result<(), RecordError> {
            Ok(())
        }
    }

    #[test]
    fn an_outcome_without_an_intent_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("ceremony");
        let medium = Medium::create(&folder).unwrap();
        let key = Key::new(false);
        let recorded = issuance::record(vec![linted(&key)], &order(), &Intents::default()).unwrap();
        let signed: Vec<_> = recorded.into_iter().map(|r| r.sign(&key).unwrap()).collect();
        assert!(matches!(
            issuance::issue(signed, &ID, &medium),
            Err(RecordError::IntentClosed)
        ));
        assert_eq!(kinds(&folder), set([]));
    }

    #[test]
    fn what_is_cut_off_between_intent_and_outcome_leaves_the_intent() {
        let dir = tempfile::tempdir().unwrap();
        // In the token's call.
        let folder = dir.path().join("token");
        let medium = Medium::create(&folder).unwrap();
        let key = Key::new(true);
        let recorded = issuance::record(vec![linted(&key)], &order(), &medium).unwrap();
        assert!(recorded.into_iter().all(|r| r.sign(&key).is_err()));
        assert_eq!(key.asked.load(Ordering::Relaxed), 1, "asked once, never again");
        assert_eq!(kinds(&folder), set(["intent.json"]));
        // After it.
        let folder = dir.path().join("after");
        let medium = CutOff(Medium::create(&folder).unwrap());
        let key = Key::new(false);
        let recorded = issuance::record(vec![linted(&key)], &order(), &medium).unwrap();
        let signed: Vec<_> = recorded.into_iter().map(|r| r.sign(&key).unwrap()).collect();
        assert!(issuance::issue(signed, &ID, &medium).is_err());
        assert_eq!(kinds(&folder), set(["intent.json"]));
    }
}
