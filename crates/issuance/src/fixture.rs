//! A small hierarchy for the tests of this crate: one good spec of each kind.

use std::sync::Mutex;

use attest::rot::{
    Basis, CertifiedBinding, ID_HARDWARE_VERIFIED, ID_MANUFACTURER_VERIFIED, RotBinding, RotKind, RotStatement,
    TCG_HW_TYPE_TPM20, TCG_ON_EK_PERM_ID_SHA256, TCG_VERIFIED_TPM_FIXED, TCG_VERIFIED_TPM_RESIDENCY,
    TCG_VERIFIED_TPM_RESTRICTED,
};
use attest::{Entropy, EntropyError, UnixTime};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{ANY_POLICY, ID_KP_CLIENT_AUTH, ID_KP_OCSP_SIGNING, ID_KP_SERVER_AUTH};
use der::asn1::OctetString;
use policies::{Decision, KeyRole, ProfileKey, ProfileKind, Rdn, RdnKind, SanEntry, Subject, Validity};

use crate::lint::Promise;
use crate::tbs::TbsSpec;
use crate::testkey::{Answer, SoftKey};
use crate::{
    AuditRecord, CaKey, Draft, Intent, Issued, IssuedRecord, Issuer, IssuerUrls, Order, RecordError, Recorder, Serial,
    SignatureAlgorithm, issue, record,
};

/// 2026-11-22T12:00:00Z.
pub(crate) const NOW: i64 = 1_795_348_800;
pub(crate) const DAY: i64 = 86_400;
pub(crate) const YEAR: i64 = 365 * DAY;
pub(crate) const KINDS: [ProfileKind; 10] = [
    ProfileKind::Root,
    ProfileKind::Issuing,
    ProfileKind::Cross,
    ProfileKind::DeviceIak,
    ProfileKind::DeviceIdevid,
    ProfileKind::DeviceLdevid,
    ProfileKind::DeviceLak,
    ProfileKind::Service,
    ProfileKind::ServerTls,
    ProfileKind::Ocsp,
];

pub(crate) struct Counting(pub(crate) u8);
impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for (octet, n) in out.iter_mut().zip(0_u8..) {
            self.0 = self.0.wrapping_mul(13).wrapping_add(7);
            *octet = self.0 ^ n;
        }
        Ok(())
    }
}

pub(crate) fn serial(n: u8) -> Serial {
    Serial::draw(&mut Counting(n)).unwrap()
}

pub(crate) fn order() -> Order {
    Order {
        enrollment_id: [7; 16],
        request_sha256: [8; 32],
        device: None,
        evidence: None,
        transcript: None,
        renews: None,
        audit: AuditRecord {
            at: UnixTime(NOW),
            action: "test".into(),
            actor: "test".into(),
            subject: "test".into(),
            reason: "TEST".into(),
            detail: String::new(),
        },
        at: UnixTime(NOW),
    }
}

/// A recorder in memory that can refuse.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) intents: Mutex<Vec<Intent>>,
    pub(crate) issued: Mutex<Vec<IssuedRecord>>,
    pub(crate) refuse_intents: Option<RecordError>,
    pub(crate) refuse_issued: Option<RecordError>,
}

impl Recorder for Memory {
    fn intend(&self, _order: &Order, intents: &[Intent]) -> Result<(), RecordError> {
        if let Some(error) = &self.refuse_intents {
            return Err(error.clone());
        }
        self.intents.lock().unwrap().extend_from_slice(intents);
        Ok(())
    }
    fn issued(&self, _enrollment_id: &[u8; 16], issued: &[IssuedRecord]) -> Result<(), RecordError> {
        if let Some(error) = &self.refuse_issued {
            return Err(error.clone());
        }
        self.issued.lock().unwrap().extend_from_slice(issued);
        Ok(())
    }
}

fn subject(attributes: &[(RdnKind, &str)]) -> Subject {
    Subject(
        attributes
            .iter()
            .map(|(kind, value)| Rdn {
                kind: *kind,
                value: (*value).into(),
            })
            .collect(),
    )
}

pub(crate) fn rot(attestation: bool) -> RotStatement {
    let octets = |n: u8| OctetString::new(vec![n; 32]).unwrap();
    let name = |n: u8| OctetString::new([&[0, 0x0b][..], &[n; 32]].concat()).unwrap();
    RotStatement::Activation(RotBinding {
        version: 1,
        rot_kind: RotKind::Tpm,
        ek_spki_sha256: octets(1),
        ak_name: name(2),
        ik_name: name(if attestation { 2 } else { 3 }),
        evidence_sha256: octets(4),
        parent_rot: None,
    })
}

/// What a certificate on a manufacturer's word says: its binding and its policies.
pub(crate) fn by_iak(attestation: bool) -> (Option<RotStatement>, Vec<ObjectIdentifier>) {
    let octets = |n: u8| OctetString::new(vec![n; 32]).unwrap();
    let name = |n: u8| OctetString::new([&[0, 0x0b][..], &[n; 32]].concat()).unwrap();
    let property = if attestation {
        TCG_VERIFIED_TPM_RESTRICTED
    } else {
        TCG_VERIFIED_TPM_FIXED
    };
    let binding = CertifiedBinding {
        version: 2,
        rot_kind: RotKind::Tpm,
        basis: Basis::IakCertified,
        iak_certificate_sha256: octets(5),
        iak_spki_sha256: octets(6),
        iak_name: name(2),
        ik_name: name(3),
        evidence_sha256: octets(4),
        ek_spki_sha256: Some(octets(1)),
    };
    let policies = vec![TCG_VERIFIED_TPM_RESIDENCY, property, ID_MANUFACTURER_VERIFIED];
    (Some(RotStatement::Certified(binding)), policies)
}

/// A good spec of this kind for this key.
pub(crate) fn spec(kind: ProfileKind, spki: &[u8]) -> TbsSpec {
    let device = || {
        vec![
            SanEntry::HardwareModuleName(TCG_HW_TYPE_TPM20, b"00001014:2f6d:04d5".to_vec()),
            SanEntry::PermanentIdentifier("ab".repeat(32), TCG_ON_EK_PERM_ID_SHA256),
        ]
    };
    let never = |nb| Validity {
        not_before: UnixTime(nb),
        not_after: Validity::NEVER,
    };
    let lasting = |nb: i64, n: i64| Validity {
        not_before: UnixTime(nb),
        not_after: UnixTime(nb + n - 1),
    };
    let name = |cn| subject(&[(RdnKind::Organization, "Example Örg"), (RdnKind::CommonName, cn)]);
    let device_name = || {
        subject(&[
            (RdnKind::Organization, "Example Örg"),
            (RdnKind::SerialNumber, "pump-0017"),
        ])
    };
    let none: Vec<ObjectIdentifier> = Vec::new();
    let tls = vec![ID_KP_SERVER_AUTH, ID_KP_CLIENT_AUTH];
    let (file, lifetime, eku, role, subject, san, validity, policies, rot) = match kind {
        ProfileKind::Root => (
            "root",
            Some(20 * YEAR),
            none.clone(),
            KeyRole::Identity,
            name("Example Root"),
            vec![],
            lasting(NOW, 20 * YEAR),
            none,
            None,
        ),
        ProfileKind::Issuing => (
            "issuing",
            Some(10 * YEAR),
            none.clone(),
            KeyRole::Identity,
            name("Example Issuing 1"),
            vec![],
            lasting(NOW, 10 * YEAR),
            vec![ANY_POLICY],
            None,
        ),
        ProfileKind::Cross => (
            "cross",
            Some(10 * YEAR),
            none.clone(),
            KeyRole::Identity,
            name("Example Root 2"),
            vec![],
            lasting(NOW, 10 * YEAR),
            vec![ANY_POLICY],
            None,
        ),
        ProfileKind::DeviceIak => (
            "device-iak",
            None,
            none,
            KeyRole::Attestation,
            device_name(),
            device(),
            never(NOW),
            vec![
                TCG_VERIFIED_TPM_RESIDENCY,
                TCG_VERIFIED_TPM_RESTRICTED,
                ID_HARDWARE_VERIFIED,
            ],
            Some(self::rot(true)),
        ),
        ProfileKind::DeviceIdevid => (
            "device-idevid",
            None,
            none,
            KeyRole::Identity,
            device_name(),
            device(),
            never(NOW),
            vec![TCG_VERIFIED_TPM_RESIDENCY, TCG_VERIFIED_TPM_FIXED, ID_HARDWARE_VERIFIED],
            Some(self::rot(false)),
        ),
        ProfileKind::DeviceLdevid => (
            "device-ldevid",
            Some(YEAR),
            vec![ID_KP_CLIENT_AUTH],
            KeyRole::Identity,
            device_name(),
            device(),
            lasting(NOW, YEAR),
            vec![TCG_VERIFIED_TPM_RESIDENCY, TCG_VERIFIED_TPM_FIXED, ID_HARDWARE_VERIFIED],
            Some(self::rot(false)),
        ),
        ProfileKind::DeviceLak => (
            "device-lak",
            Some(YEAR),
            none,
            KeyRole::Attestation,
            device_name(),
            device(),
            lasting(NOW, YEAR),
            vec![
                TCG_VERIFIED_TPM_RESIDENCY,
                TCG_VERIFIED_TPM_RESTRICTED,
                ID_HARDWARE_VERIFIED,
            ],
            Some(self::rot(true)),
        ),
        ProfileKind::Service => (
            "service",
            Some(7 * DAY),
            tls,
            KeyRole::Identity,
            Subject::default(),
            vec![
                SanEntry::Dns("api.example.com".into()),
                SanEntry::Uri("spiffe://example.com/api".into()),
            ],
            lasting(NOW, 7 * DAY),
            vec![TCG_VERIFIED_TPM_RESIDENCY, TCG_VERIFIED_TPM_FIXED, ID_HARDWARE_VERIFIED],
            Some(self::rot(false)),
        ),
        ProfileKind::ServerTls => (
            "server-tls",
            Some(90 * DAY),
            vec![ID_KP_SERVER_AUTH],
            KeyRole::Identity,
            Subject::default(),
            vec![SanEntry::Dns("ca.example.com".into()), SanEntry::Ip(vec![127, 0, 0, 1])],
            lasting(NOW, 90 * DAY),
            none,
            None,
        ),
        ProfileKind::Ocsp => (
            "ocsp",
            Some(7 * DAY),
            vec![ID_KP_OCSP_SIGNING],
            KeyRole::Identity,
            name("OCSP responder"),
            vec![],
            lasting(NOW, 7 * DAY),
            none,
            None,
        ),
    };
    let keys = if kind.is_ca() || kind == ProfileKind::Ocsp {
        vec![
            ProfileKey::P256,
            ProfileKey::P384,
            ProfileKey::Rsa3072,
            ProfileKey::Rsa4096,
        ]
    } else {
        vec![
            ProfileKey::P256,
            ProfileKey::P384,
            ProfileKey::Rsa2048,
            ProfileKey::Rsa3072,
        ]
    };
    TbsSpec {
        profile: file.into(),
        profile_sha256: [1; 32],
        promise: Promise {
            kind,
            lifetime,
            extended_key_usage: eku,
            keys,
            rehearsal: false,
        },
        key_role: role,
        subject,
        san,
        spki: spki.to_vec(),
        validity,
        policies,
        rot,
        decision: Decision {
            rules: vec!["test".into()],
            reasons: vec!["test".into()],
            policy_sha256: [2; 32],
        },
    }
}

pub(crate) fn urls() -> IssuerUrls {
    IssuerUrls {
        ca_issuers: Some("http://pki.example.com/issuing.crt".into()),
        ocsp: Some("http://ocsp.example.com/issuing".into()),
        crl: Some("http://pki.example.com/issuing.crl".into()),
        crl_shards: None,
    }
}

/// The whole corridor.
pub(crate) fn walk(draft: Draft, key: &dyn CaKey) -> Issued {
    let memory = Memory::default();
    let recorded = record(vec![draft.lint().unwrap()], &order(), &memory).unwrap();
    let signed = recorded.into_iter().map(|r| r.sign(key).unwrap()).collect();
    issue(signed, &order().enrollment_id, &memory).unwrap().pop().unwrap()
}

/// A root and an issuing CA with their keys.
pub(crate) struct Hierarchy {
    pub(crate) root: Issuer,
    pub(crate) key: SoftKey,
    pub(crate) issuer: Issuer,
}

impl Hierarchy {
    pub(crate) fn new(algorithm: SignatureAlgorithm) -> Self {
        let root_key = SoftKey::numbered(algorithm, 0);
        let draft = Draft::root(spec(ProfileKind::Root, &root_key.spki), &root_key, serial(1)).unwrap();
        let root = walk(draft, &root_key).certificate().to_vec();
        let below_root = IssuerUrls {
            ca_issuers: Some("http://pki.example.com/root.crt".into()),
            ..IssuerUrls::default()
        };
        let root_issuer = Issuer::from_chain(std::slice::from_ref(&root), algorithm, below_root).unwrap();
        let key = SoftKey::numbered(algorithm, 1);
        let draft = Draft::below(spec(ProfileKind::Issuing, &key.spki), &root_issuer, serial(2)).unwrap();
        let issuing = walk(draft, &root_key).certificate().to_vec();
        let issuer = Issuer::from_chain(&[issuing, root], algorithm, urls()).unwrap();
        Self {
            root: root_issuer,
            key,
            issuer,
        }
    }
    pub(crate) fn p256() -> Self {
        Self::new(SignatureAlgorithm::EcdsaP256Sha256)
    }
    pub(crate) fn answering(mut self, answer: Answer) -> Self {
        self.key = self.key.answering(answer);
        self
    }
}

/// A fresh end-entity key's SubjectPublicKeyInfo.
pub(crate) fn leaf_spki() -> Vec<u8> {
    crate::testkey::ec(openssl::nid::Nid::X9_62_PRIME256V1)
        .public_key_to_der()
        .unwrap()
}
