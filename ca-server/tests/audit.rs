//! Every act of people and of the server, each done once for real: exactly one audit record of it, which says who, what, why,
//! and what it was and became; and it is in the ledger. The list is docs/reference/audit.md.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod kit;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ::ledger::{Entry, Event, Hash, KeyName, SignatureKind, SigningKey, TileNodes, audit_digest, inclusion, leaf_hash};
use ca_server::config::LedgerTerms;
use ca_server::flow::enroll::{Activation, activate, begin};
use ca_server::flow::replace::Wish;
use ca_server::flow::{auditor, bundle, device, ledger, manifest as manifests, replace, revoke};
use ca_server::house::{House, Parts};
use device_kit::soft_tpm::SoftTpm;
use issuance::AuditRecord;
use kit::Ca;
use manifest::{Header, Kind};
use schema::{Asked, AuditFilter, AuditRow, ManifestPart, NewExpected, NewManifest, NewReview, NewTpm, Store};
use wire::revocation::RevocationReason;

const WHO: &str = "carla";
const OTHER: &str = "dora";
const TABLE: &str = include_str!("../../docs/reference/audit.md");

fn key() -> SigningKey {
    let name = KeyName::new("pki.example.net/ledger").unwrap();
    SigningKey::from_seed(name, SignatureKind::Ed25519, &[1; 32]).unwrap()
}

fn parts(ca: &Ca, store: &Store) -> Parts {
    let terms = LedgerTerms {
        head: ca.path("ledger.head"),
        folder: None,
        every: Duration::from_secs(1),
        promise: Duration::from_secs(3600),
        ca_key: true,
        witnesses: Vec::new(),
        quorum: 0,
        witness_timeout: Duration::from_secs(5),
    };
    Parts {
        ledger: Some((key(), terms)),
        ..ca.parts(store)
    }
}

/// A server as it starts.
fn standing(parts: Parts) -> House {
    let house = House::new(parts).unwrap();
    house.stand().unwrap();
    house
}

fn all(store: &Store) -> Vec<AuditRow> {
    let mut all = store.audit_entries(&AuditFilter::default(), 10_000).unwrap();
    all.reverse();
    all
}

/// What was written since.
struct Since<'a> {
    store: &'a Store,
    seen: usize,
    done: BTreeMap<String, AuditRow>,
}

impl Since<'_> {
    /// The act, and exactly these records.
    fn act<T>(&mut self, actions: &[&str], act: impl FnOnce() -> T) -> T {
        let outcome = act();
        let rows = all(self.store);
        let news: Vec<&AuditRow> = rows.iter().skip(self.seen).collect();
        let found: Vec<&str> = news.iter().map(|row| row.action.as_str()).collect();
        assert_eq!(found, actions);
        for row in news {
            assert!(
                !row.actor.is_empty() && !row.subject.is_empty() && !row.reason.is_empty(),
                "{row:?}"
            );
            self.done.insert(row.action.clone(), row.clone());
        }
        self.seen = rows.len();
        outcome
    }
}

fn enrolled(house: &House, tpm: &SoftTpm) -> Vec<u8> {
    let challenge = begin(house, "192.0.2.1", tpm.request("device-ldevid", None, None)).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    match activate(house, "192.0.2.1", challenge.id, &answer) {
        Ok(Activation::Done(result)) => hex::decode(&result.certificates[0].serial).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A lot of one device, as a factory's manifest begins and ends.
fn lot(ek: [u8; 32]) -> (NewManifest, ManifestPart) {
    let header = Header::new(Kind::Lot, "lot-1", "Factory", None, 1_700_000_000).unwrap();
    let root = attest::sha256(b"lot-1");
    let new = NewManifest {
        root,
        signer_sha256: [7; 32],
        kind: "lot",
        lot: "lot-1".to_owned(),
        header: String::from_utf8(header.line().unwrap()).unwrap(),
        seal: "seal".to_owned(),
        entries: 1,
        all_or_nothing: true,
        tree: vec![0; 40],
    };
    let line = NewExpected {
        serial: "gw-9".to_owned(),
        ek: vec![ek],
        was: Vec::new(),
        iak: Vec::new(),
        idevid: Vec::new(),
    };
    let part = ManifestPart {
        manifest: 0,
        from: 0,
        lines: vec![Ok(line)],
        tree: vec![0; 40],
        root,
        last_serial: "gw-9".to_owned(),
    };
    (new, part)
}

fn by(who: &str, action: &str, subject: &str) -> AuditRecord {
    AuditRecord {
        at: attest::UnixTime(kit::jiff_now()),
        action: action.to_owned(),
        actor: who.to_owned(),
        subject: subject.to_owned(),
        reason: "ADMIN".to_owned(),
        detail: "why".to_owned(),
    }
}

fn allow(store: &Store, name: &str, tpm: &SoftTpm) {
    let device = schema::AllowDevice {
        name: name.to_owned(),
        ek_spki_sha256: Some(tpm.ek.sha256()),
        iak_spki_sha256: None,
        ek_kind: None,
        first_contact_until: None,
        dns_names: Vec::new(),
        spiffe_id: None,
        batch: None,
    };
    store.allow_device(&device, &by(WHO, "device.allowed", name)).unwrap();
}

/// Records whose act changes no row: something was shown, signed or only noted.
const CHANGES_NOTHING: [&str; 6] = [
    "enrollment.granted",
    "enrollment.issued",
    "evidence.exported",
    "refusals.recorded",
    "crl.requested",
    "enrollment.refused",
];

#[test]
fn each_act_has_one_record_that_the_ledger_proves() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let mut since = Since {
        store: &store,
        seen: 0,
        done: BTreeMap::new(),
    };
    let house = since.act(&["policy.changed", "trust.changed", "issuer.changed"], || {
        standing(parts(&ca, &store))
    });
    let tpm = SoftTpm::p256(&ca.vendor);
    let (spare, third) = (SoftTpm::p256(&ca.vendor), SoftTpm::p256(&ca.vendor));
    since.act(&["device.allowed"], || {
        allow(&store, "gw-1", &tpm);
    });
    let serial = since.act(&["enrollment.granted", "enrollment.issued"], || enrolled(&house, &tpm));
    // A stranger: refused, in the file, and the file in the ledger.
    since.act(&[], || {
        begin(&house, "192.0.2.1", spare.request("nothing", None, None))
            .map(drop)
            .unwrap_or_default();
        let challenge = begin(&house, "192.0.2.1", spare.request("device-ldevid", None, None)).unwrap();
        let answer = third.answer(&challenge);
        assert!(answer.is_err());
    });
    since.act(&["device.held"], || {
        device::hold(&house, WHO, "gw-1", true, "why").unwrap()
    });
    since.act(&[], || device::hold(&house, WHO, "gw-1", true, "why").unwrap());
    since.act(&["enrollment.refused"], || {
        let challenge = begin(&house, "192.0.2.1", tpm.request("device-ldevid", None, None)).unwrap();
        let answer = tpm.answer(&challenge).unwrap();
        assert!(activate(&house, "192.0.2.1", challenge.id, &answer).is_err());
    });
    since.act(&["refusals.recorded"], || {
        house
            .audit
            .seal(|record| store.audit(record), house.clock.read().now)
            .unwrap()
    });
    since.act(&["device.released"], || {
        device::hold(&house, WHO, "gw-1", false, "why").unwrap()
    });
    since.act(&["device.renewal.called"], || {
        device::call_renewal(&house, WHO, "gw-1", None, "why").unwrap()
    });
    let hold = RevocationReason::CertificateHold;
    since.act(&["certificate.held"], || {
        revoke::revoke(&house, WHO, &serial, hold, Some("why")).unwrap()
    });
    since.act(&["certificate.released"], || {
        revoke::release(&house, WHO, &serial, Some("why")).unwrap()
    });
    ledger::advance(&house, house.ledger.as_ref().unwrap()).unwrap();
    since.act(&["evidence.exported"], || bundle::export(&house, WHO, &serial).unwrap());
    let wish = |tpm: &SoftTpm| Wish {
        device: "gw-1",
        new_tpm: NewTpm::Named(tpm.ek.sha256()),
        revocation: RevocationReason::Superseded,
        reason: "why",
        valid_for: Some(60),
    };
    let asked = since.act(&["device.replacement.requested"], || {
        replace::request(&house, WHO, &wish(&spare)).unwrap()
    });
    since.act(&["device.replacement.rejected"], || {
        replace::decide(&house, OTHER, asked.id, false, Some("why")).unwrap()
    });
    since.act(&["device.replacement.requested"], || {
        replace::request(&house, WHO, &wish(&spare)).unwrap()
    });
    ca.hands.forward(61);
    let asked = since.act(&["replacement.expired", "device.replacement.requested"], || {
        replace::request(&house, WHO, &wish(&spare)).unwrap()
    });
    since.act(&["device.replacement.approved", "certificate.revoked"], || {
        replace::decide(&house, OTHER, asked.id, true, Some("why")).unwrap()
    });
    since.act(&["evidence.erased"], || {
        bundle::erase(&house, WHO, &serial, "why").unwrap()
    });
    let (new, mut part) = lot(third.ek.sha256());
    part.manifest = since.act(&["manifest.begun"], || {
        store
            .open_manifest(&new, &by(WHO, "manifest.begun", "lot-1"))
            .unwrap()
            .id
    });
    let number = part.manifest;
    since.act(&["manifest.complete"], || {
        store.read_manifest(part, &by(WHO, "manifest.read", "lot-1")).unwrap()
    });
    since.act(&["device.arrived", "enrollment.granted", "enrollment.issued"], || {
        enrolled(&house, &third)
    });
    since.act(&["manifest.withdrawn"], || {
        manifests::withdraw(&house, WHO, number, "why").unwrap()
    });
    let unknown = SoftTpm::p256(&ca.vendor);
    since.act(&["device.allowed"], || {
        allow(&store, "gw-2", &unknown);
    });
    let new = NewReview {
        ek_spki_sha256: unknown.ek.sha256(),
        ek_certificate_sha256: [3; 32],
        reason: "EK_CHAIN".to_owned(),
        issuer: "CN=Unknown".to_owned(),
        manufacturer: "id:49465800".to_owned(),
        tpm: "a b".to_owned(),
        valid_for: 60,
    };
    let ask = |at: i64| {
        let record = AuditRecord {
            at: attest::UnixTime(at),
            ..by("server", "enrollment.review.asked", "")
        };
        match store.ask_review(&new, &record).unwrap() {
            Asked::Pending(id) => id,
            other => panic!("{other:?}"),
        }
    };
    let now = ca.hands.now();
    since.act(&["enrollment.review.asked"], || ask(now));
    let review = since.act(&["review.expired", "enrollment.review.asked"], || ask(now + 61));
    ca.hands.forward(61);
    let decide = |kind| ca_server::flow::review::decide(&house, OTHER, review, kind, "why", true).unwrap();
    since.act(&["enrollment.review.approved"], || {
        decide(Some(wire::review::TpmKind::Software))
    });
    since.act(&["enrollment.review.rejected"], || decide(None));
    since.act(&["key.blocked"], || {
        store
            .block_key(&[5; 32], "leaked", &by(WHO, "key.blocked", "05"))
            .unwrap();
        store
            .block_key(&[5; 32], "leaked", &by(WHO, "key.blocked", "05"))
            .unwrap();
    });
    // The bundle of the one certificate whose evidence is still there is taken out on the way.
    since.act(&["evidence.exported"], || proven(&house, &store));
    // Who, what, why; what it was and became.
    for (action, row) in &since.done {
        let changes = !CHANGES_NOTHING.contains(&action.as_str());
        assert_eq!(row.after.is_some(), changes, "{action}: after");
        assert!(row.before != row.after || !changes, "{action}: it changed nothing");
        assert!(!row.detail.is_empty(), "{action}");
        let listed = TABLE.lines().any(|line| line.starts_with(&format!("| `{action}` |")));
        assert!(listed, "docs/reference/audit.md: `{action}` is missing");
    }
    for action in [
        "device.held",
        "device.released",
        "evidence.erased",
        "device.replacement.approved",
    ] {
        assert!(since.done[action].before.is_some(), "{action}: before");
    }
    // The row as it became is the row that a backup has.
    let held = &since.done["device.replacement.approved"];
    assert_ne!(held.before, held.after);
    drop(house);
    // The same again stands on the same, and says nothing; something else is said first.
    since.act(&[], || standing(parts(&ca, &store)));
    let other = policies::Profiles::builtin()
        .unwrap()
        .with_organization("Other")
        .unwrap();
    since.act(&["policy.changed"], || {
        let changed = Parts {
            profiles: other,
            ..parts(&ca, &store)
        };
        standing(changed)
    });
    let row = &since.done["policy.changed"];
    let text = store.archived(&row.after.unwrap()).unwrap().unwrap();
    let (_, profiles) = policies::ArchivedPolicy::parse(&text).unwrap().load().unwrap();
    assert_eq!(profiles.organization(), Some("Other"));
    let before = store.archived(&row.before.unwrap()).unwrap().unwrap();
    assert_eq!(attest::sha256(&before), row.before.unwrap());
    since.act(&["trust.changed"], || {
        let changed = Parts {
            manifest_signers: [[1; 32]].into(),
            profiles: policies::Profiles::builtin()
                .unwrap()
                .with_organization("Other")
                .unwrap(),
            ..parts(&ca, &store)
        };
        standing(changed)
    });
}

/// Every record is one of those that its leaf was made of, and the leaf is in the signed tree; and what is said to be stood
/// on was said before the first certificate.
fn proven(house: &House, store: &Store) {
    ledger::advance(house, house.ledger.as_ref().unwrap()).unwrap();
    let head = *house.ledger.as_ref().unwrap().published().unwrap().head();
    let tiles = ca_server::house::Recorded::of(store);
    let mut records = 0;
    let mut stands = BTreeSet::new();
    for place in 0..head.size {
        let bytes = store.ledger_entries(place, 1).unwrap().remove(0);
        let proof = inclusion(&TileNodes::new(&tiles, head.size), place, head.size)
            .unwrap()
            .unwrap();
        proof.verify(&leaf_hash(&bytes), &head).unwrap();
        let behind = auditor::behind(house, WHO, place).unwrap();
        assert_eq!(behind.entry.0, bytes);
        match Entry::parse(&bytes).unwrap().event {
            Event::Audit { records: count, digest } => {
                let held = store.ledger_records(place).unwrap().unwrap();
                assert_eq!(held.records.len(), count as usize);
                assert_eq!(
                    audit_digest(&held.salt, held.records.iter().map(AuditRow::line)),
                    digest
                );
                // A record that says something else in any member is not what the leaf was made of.
                for other in others(&held.records[0]) {
                    let mut lines = held.records.clone();
                    lines[0] = other;
                    assert_ne!(audit_digest(&held.salt, lines.iter().map(AuditRow::line)), digest);
                }
                records += held.records.len();
            }
            Event::Changed { what, after, .. } => {
                assert_eq!(attest::sha256(&behind.text.unwrap().0), after);
                stands.insert(what);
            }
            Event::Issued(_) => assert_eq!(stands.len(), 3, "issued before it was said by what"),
            Event::Status { state, .. } => assert!(behind.steps.iter().any(|step| step.state == state)),
        }
    }
    assert!(records >= 30);
}

/// The record with each member changed.
fn others(row: &AuditRow) -> Vec<AuditRow> {
    let change = |change: &dyn Fn(&mut AuditRow)| {
        let mut other = row.clone();
        change(&mut other);
        assert_ne!(&other, row);
        other
    };
    let flip = |hash: Option<Hash>| Some(hash.map_or([1; 32], |hash| hash.map(|byte| byte ^ 1)));
    vec![
        change(&|row| row.record.at.0 += 1),
        change(&|row| row.record.action.push('x')),
        change(&|row| row.record.actor.push('x')),
        change(&|row| row.record.subject.push('x')),
        change(&|row| row.record.reason.push('x')),
        change(&|row| row.record.detail.push('x')),
        change(&|row| row.before = flip(row.before)),
        change(&|row| row.after = flip(row.after)),
    ]
}
