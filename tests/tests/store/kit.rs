//! Stores to test and orders to put into them.

use attest::ek::EkTemplate;
use attest::{Assurance, EkFacts, Entropy, EntropyError, EvidenceRecord, UnixTime};
use device_kit::postgres::{self, Cluster};
use issuance::{
    AuditRecord, ClockReading, ClockRule, Decision, DeviceBinding, Intent, IssuedRecord, KeyRole, Order, Serial,
    TranscriptRecord,
};
use schema::{AllowDevice, Store, StoreOptions};
use tempfile::TempDir;

/// When most tests happen.
pub(crate) const NOW: i64 = 1_800_000_000;

/// A database of one engine, empty at first.
pub(crate) struct Bench {
    pub(crate) url: String,
    _directory: Option<TempDir>,
}

impl Bench {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/ca.db", directory.path().display());
        Self {
            url,
            _directory: Some(directory),
        }
    }

    pub(crate) fn postgres() -> Self {
        Self {
            url: postgres::shared().unwrap().database().unwrap(),
            _directory: None,
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }

    /// Name of the PostgreSQL database.
    pub(crate) fn database(&self) -> &str {
        Cluster::name_in(&self.url)
    }

    /// Path of the SQLite file.
    pub(crate) fn path(&self) -> &str {
        self.url.strip_prefix("sqlite://").unwrap()
    }

    pub(crate) fn open(&self) -> Store {
        Store::open(&self.url, &options()).unwrap()
    }
}

pub(crate) fn options() -> StoreOptions {
    StoreOptions {
        readers: 4,
        ..StoreOptions::default()
    }
}

/// One test, two engines.
macro_rules! both {
    ($($(#[$attribute:meta])* fn $name:ident($bench:ident) $body:block)+) => { $(
        mod $name {
            use super::*;
            $(#[$attribute])*
            fn on_engine($bench: &$crate::kit::Bench) $body
            #[test]
            fn sqlite() {
                on_engine(&$crate::kit::Bench::sqlite());
            }
            #[test]
            fn postgres() {
                on_engine(&$crate::kit::Bench::postgres());
            }
        }
    )+ };
}
pub(crate) use both;

/// 32 bytes that belong to a text.
pub(crate) fn digest(text: &str) -> [u8; 32] {
    openssl::sha::sha256(text.as_bytes())
}

/// 16 bytes that belong to a text.
pub(crate) fn id(text: &str) -> [u8; 16] {
    digest(text)[..16].try_into().unwrap()
}

struct Fixed([u8; 32]);

impl Entropy for Fixed {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        out.copy_from_slice(&self.0[..out.len()]);
        Ok(())
    }
}

pub(crate) fn serial(text: &str) -> Serial {
    Serial::draw(&mut Fixed(digest(text))).unwrap()
}

pub(crate) fn audit(at: i64, action: &str, subject: &str) -> AuditRecord {
    AuditRecord {
        at: UnixTime(at),
        action: action.to_owned(),
        actor: "test".to_owned(),
        subject: subject.to_owned(),
        reason: "TEST".to_owned(),
        detail: String::new(),
    }
}

pub(crate) fn ek(text: &str) -> EkFacts {
    EkFacts {
        certificate_sha256: digest(&format!("certificate of {text}")),
        spki_sha256: digest(text),
        template: EkTemplate::L2,
        manufacturer: "id:53544D20".to_owned(),
        model: "ST33".to_owned(),
        version: "id:00010002".to_owned(),
        authority_key_id: "aa".to_owned(),
        serial: "01".to_owned(),
        anchor: "st-root".to_owned(),
        anchor_sha256: digest("st-root"),
        assurance: Assurance::HardwareVerified,
        passed: Vec::new(),
        path: Vec::new(),
    }
}

/// A TPM's clock a second after its first start, asked for now.
pub(crate) fn first_second() -> ClockReading {
    ClockReading {
        info: device_kit::soft_tpm::FIRST_SECOND,
        asked_at: UnixTime(NOW),
        rule: ClockRule::Hold,
    }
}

/// An order of a device with a TPM.
pub(crate) fn order(challenge: &str, device: &str, tpm: &str) -> Order {
    Order {
        enrollment_id: id(challenge),
        request_sha256: digest(&format!("request {challenge}")),
        device: Some(DeviceBinding {
            name: device.to_owned(),
            root: attest::Root::Ek(ek(tpm)),
            ak_spki_sha256: digest(&format!("ak of {tpm}")),
            clock: first_second(),
        }),
        transcript: Some(TranscriptRecord {
            digest: digest(&format!("transcript {challenge}")),
            bytes: format!("transcript {challenge}").into_bytes(),
            path: vec![1],
        }),
        renews: None,
        evidence: Some(EvidenceRecord {
            digest: digest(&format!("evidence {challenge}")),
            bytes: format!("evidence {challenge}").into_bytes(),
        }),
        audit: audit(NOW, "enrollment.granted", challenge),
        at: UnixTime(NOW),
    }
}

/// The endorsement of an order that has one.
pub(crate) fn ek_of(order: &mut Order) -> &mut attest::EkFacts {
    match &mut order.device.as_mut().unwrap().root {
        attest::Root::Ek(ek) => ek,
        attest::Root::Iak(_) => panic!("it stands on an IAK"),
    }
}

/// The same without a device.
pub(crate) fn ceremony(challenge: &str) -> Order {
    Order {
        device: None,
        evidence: None,
        transcript: None,
        ..order(challenge, "-", "-")
    }
}

/// An intent on a key, with a serial that belongs to `label`.
pub(crate) fn intent(label: &str, profile: &str, key: &str) -> Intent {
    Intent {
        serial: serial(label),
        issuer_key_id: digest("issuer")[..20].to_vec(),
        tbs: format!("tbs of {label}").into_bytes(),
        profile: profile.to_owned(),
        profile_sha256: digest(profile),
        key_role: KeyRole::Identity,
        spki_sha256: digest(key),
        decision: Decision {
            rules: vec!["r-1".to_owned()],
            reasons: vec!["because".to_owned()],
            policy_sha256: digest("policy"),
        },
        not_before: UnixTime(NOW),
        not_after: UnixTime(NOW + 86_400),
    }
}

/// The signature of an intent.
pub(crate) fn signed(intent: &Intent) -> IssuedRecord {
    IssuedRecord {
        serial: intent.serial,
        issuer_key_id: intent.issuer_key_id.clone(),
        certificate: [b"0\x82".as_slice(), &intent.tbs, b" and its signature"].concat(),
    }
}

/// A device that any TPM may claim for an hour.
pub(crate) fn open_device(name: &str) -> AllowDevice {
    AllowDevice {
        iak_spki_sha256: None,
        name: name.to_owned(),
        ek_spki_sha256: None,
        ek_kind: None,
        first_contact_until: Some(NOW + 3600),
        dns_names: Vec::new(),
        spiffe_id: None,
        batch: None,
    }
}

pub(crate) fn allow(store: &Store, name: &str) {
    store
        .allow_device(&open_device(name), &audit(NOW - 1, "device.allowed", name))
        .unwrap();
}
