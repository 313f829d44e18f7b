//! A rehearsal through the public doors: plan, approval, and the same corridor as every leaf.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Mutex;

use attest::UnixTime;
use issuance::{
    AuditRecord, CaKey, Draft, DraftError, Intent, Issued, IssuedRecord, Issuer, IssuerUrls, KeyError, Linted, Order,
    RecordError, Recorder, Serial, SignatureAlgorithm, ToSign, issue, record,
};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::x509::X509;
use policies::{CaPlan, CeremonyPlan, Grant, GrantKind, Profiles, Quorum, SanEntry, ServerTlsPlan};

const NOW: UnixTime = UnixTime(1_795_348_800);

struct Soft {
    key: PKey<Private>,
    spki: Vec<u8>,
}

impl Soft {
    fn new() -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let spki = key.public_key_to_der().unwrap();
        Self { key, spki }
    }
}

impl CaKey for Soft {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::EcdsaP256Sha256
    }
    fn spki(&self) -> &[u8] {
        &self.spki
    }
    fn sign(&self, what: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
        let mut signer =
            Signer::new(MessageDigest::sha256(), &self.key).map_err(|e| KeyError::Unknown(e.to_string()))?;
        signer
            .sign_oneshot_to_vec(what.bytes())
            .map_err(|e| KeyError::Unknown(e.to_string()))
    }
}

#[derive(Default)]
struct Medium(Mutex<Vec<Intent>>);

impl Recorder for Medium {
    fn intend(&self, _order: &Order, intents: &[Intent]) -> Result<(), RecordError> {
        self.0.lock().unwrap().extend_from_slice(intents);
        Ok(())
    }
    fn issued(&self, _enrollment_id: &[u8; 16], _issued: &[IssuedRecord]) -> Result<(), RecordError> {
        Ok(())
    }
}

fn walk(linted: Linted, key: &dyn CaKey) -> Issued {
    let audit = AuditRecord {
        at: NOW,
        action: "ceremony.issued".into(),
        actor: "test".into(),
        subject: "rehearsal".into(),
        reason: "REHEARSAL".into(),
        detail: String::new(),
    };
    let order = Order {
        enrollment_id: [1; 16],
        request_sha256: [2; 32],
        device: None,
        evidence: None,
        transcript: None,
        renews: None,
        audit,
        at: NOW,
    };
    let medium = Medium::default();
    let recorded = record(vec![linted], &order, &medium).unwrap();
    let signed = recorded.into_iter().map(|r| r.sign(key).unwrap()).collect();
    issue(signed, &order.enrollment_id, &medium).unwrap().pop().unwrap()
}

struct Os;
impl attest::Entropy for Os {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), attest::EntropyError> {
        openssl::rand::rand_bytes(out).map_err(|_| attest::EntropyError)
    }
}

fn serial() -> Serial {
    Serial::draw(&mut Os).unwrap()
}

struct Keys {
    root: Soft,
    issuing: Soft,
    server: Soft,
}

fn plan() -> (Keys, [Grant; 3]) {
    let keys = Keys {
        root: Soft::new(),
        issuing: Soft::new(),
        server: Soft::new(),
    };
    let ca = |name: &str, key: &Soft| CaPlan {
        common_name: name.into(),
        spki: key.spki.clone(),
    };
    let plan = CeremonyPlan {
        organization: "Example".into(),
        root: ca("Example Root", &keys.root),
        issuing: ca("Example Issuing 1", &keys.issuing),
        server_tls: ServerTlsPlan {
            names: vec![SanEntry::Dns("localhost".into()), SanEntry::Ip(vec![127, 0, 0, 1])],
            spki: keys.server.spki.clone(),
        },
    };
    let grants = plan
        .approve(&Profiles::builtin().unwrap(), Quorum::Rehearsal, NOW)
        .unwrap();
    (keys, grants)
}

fn issuer(chain: &[&Issued]) -> Issuer {
    let chain: Vec<Vec<u8>> = chain.iter().map(|i| i.certificate().to_vec()).collect();
    Issuer::from_chain(&chain, SignatureAlgorithm::EcdsaP256Sha256, IssuerUrls::default()).unwrap()
}

#[test]
fn root_issuing_and_server() {
    let (keys, [root, issuing, server]) = plan();
    let root = walk(
        Draft::self_signed(root, &keys.root, serial()).unwrap().lint().unwrap(),
        &keys.root,
    );
    let above = issuer(&[&root]);
    let issuing = walk(
        Draft::new(issuing, &above, serial()).unwrap().lint().unwrap(),
        &keys.root,
    );
    let below = issuer(&[&issuing, &root]);
    let server = walk(
        Draft::new(server, &below, serial()).unwrap().lint().unwrap(),
        &keys.issuing,
    );

    assert!(above.is_rehearsal() && below.is_rehearsal());
    let parse = |i: &Issued| X509::from_der(i.certificate()).unwrap();
    let [root, issuing, server] = [&root, &issuing, &server].map(parse);
    for (child, parent) in [(&root, &root), (&issuing, &root), (&server, &issuing)] {
        assert!(child.verify(&parent.public_key().unwrap()).unwrap());
        assert_eq!(parent.issued(child), openssl::x509::X509VerifyResult::OK);
    }
    assert_eq!(server.subject_alt_names().unwrap().len(), 2);
    assert_eq!(issuing.pathlen(), Some(0));
    assert_eq!(root.pathlen(), None);
}

#[test]
fn each_grant_has_one_door() {
    let (keys, [root, ..]) = plan();
    let first = walk(
        Draft::self_signed(root, &keys.root, serial()).unwrap().lint().unwrap(),
        &keys.root,
    );
    let above = issuer(&[&first]);
    let (_, [root, issuing, server]) = plan();
    let outcome = Draft::new(root, &above, serial());
    assert!(matches!(outcome, Err(DraftError::WrongGrant(GrantKind::Root))));
    let outcome = Draft::self_signed(issuing, &keys.root, serial());
    assert!(matches!(outcome, Err(DraftError::WrongGrant(GrantKind::Issuing))));
    let outcome = Draft::self_signed(server, &keys.root, serial());
    assert!(matches!(outcome, Err(DraftError::WrongGrant(GrantKind::EndEntity(_)))));
}

#[test]
fn no_ca_below_an_issuing_ca() {
    let (keys, [root, issuing, _]) = plan();
    let root = walk(
        Draft::self_signed(root, &keys.root, serial()).unwrap().lint().unwrap(),
        &keys.root,
    );
    let issuing = walk(
        Draft::new(issuing, &issuer(&[&root]), serial())
            .unwrap()
            .lint()
            .unwrap(),
        &keys.root,
    );
    let below = issuer(&[&issuing, &root]);
    // Another plan, so that only the place in the chain is wrong.
    let keys = Keys {
        root: Soft::new(),
        issuing: Soft::new(),
        server: Soft::new(),
    };
    let ca = |name: &str, key: &Soft| CaPlan {
        common_name: name.into(),
        spki: key.spki.clone(),
    };
    let plan = CeremonyPlan {
        organization: "Example".into(),
        root: ca("Other Root", &keys.root),
        issuing: ca("Other Issuing", &keys.issuing),
        server_tls: ServerTlsPlan {
            names: vec![SanEntry::Dns("localhost".into())],
            spki: keys.server.spki.clone(),
        },
    };
    let [_, issuing, _] = plan
        .approve(&Profiles::builtin().unwrap(), Quorum::Rehearsal, NOW)
        .unwrap();
    let refused = Draft::new(issuing, &below, serial()).unwrap().lint();
    let Err(DraftError::Lints(findings)) = refused else {
        panic!("{refused:?}")
    };
    let lints: Vec<_> = findings.iter().map(|f| f.lint).collect();
    assert_eq!(lints, ["basic_constraints"]);
}
