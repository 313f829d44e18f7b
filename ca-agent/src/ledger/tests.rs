//! A ledger that keeps its word, and those that do not. Real trees, real signatures, as files.

use std::path::Path;

use ledger::{Checkpoint, Inclusion, Issuance, KeyName, SignatureKind, SigningKey, bundle, node_hash, tile_bytes};
use wire::enrollment::{EnrollmentState, IssuedCertificate, KeyRole, LedgerReceipt};

use super::*;

const NOW: i64 = 1_800_000_000;

fn key(seed: u8) -> SigningKey {
    let name = KeyName::new("ledger.example").unwrap();
    SigningKey::from_seed(name, SignatureKind::Ed25519, &[seed; 32]).unwrap()
}

fn entry(certificate: &[u8]) -> Vec<u8> {
    let issuance = Issuance {
        issuer: vec![7; 20],
        serial: vec![0x5a, 1],
        certificate: openssl::sha::sha256(certificate),
        evidence: None,
        profile: "device-ldevid".to_owned(),
        profile_sha256: [9; 32],
        transcript: None,
    };
    Entry::new(NOW, Event::Issued(issuance)).to_bytes().unwrap()
}

/// The tree of these entries, up to 256 of them, as the files of a server; signed by this key.
fn publish(folder: &Path, entries: &[Vec<u8>], key: &SigningKey) {
    let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let width = leaves.len();
    let put = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    };
    put(&format!("tile/0/000.p/{width}"), &tile_bytes(&leaves));
    put(&format!("tile/entries/000.p/{width}"), &bundle(entries).unwrap());
    put("checkpoint", signed(&leaves, key).note().to_string().as_bytes());
}

fn signed(leaves: &[ledger::Hash], key: &SigningKey) -> SignedCheckpoint {
    let head = Head {
        size: leaves.len() as u64,
        root: tree(leaves),
    };
    Checkpoint::new(key.verifier().name().clone(), head).sign(key).unwrap()
}

fn tree(leaves: &[ledger::Hash]) -> ledger::Hash {
    match leaves {
        [] => ledger::empty_root(),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&tree(left), &tree(right))
        }
    }
}

/// A device with one certificate, and the folder of its CA's ledger.
struct Site {
    folder: tempfile::TempDir,
    state: State,
    named: Named,
}

const OURS: &[u8] = b"our certificate";

fn others(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| entry(format!("other {number}").as_bytes()))
        .collect()
}

fn with_ours(count: usize) -> Vec<Vec<u8>> {
    [others(count), vec![entry(OURS)]].concat()
}

impl Site {
    /// The promise is changed before it comes.
    fn promised(change: impl FnOnce(&mut Promise, &mut Vec<u8>), by: &SigningKey) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state")).unwrap();
        let mut bytes = entry(OURS);
        let mut promise = Promise {
            origin: key(1).verifier().name().clone(),
            leaf: leaf_hash(&bytes),
            by: NOW + 60,
        };
        change(&mut promise, &mut bytes);
        let receipt = LedgerReceipt {
            entry: bytes.into(),
            promise: promise.sign(by).unwrap().to_string(),
        };
        remember(&state, &result(Some(receipt)), NOW).unwrap();
        let named = Named {
            from: folder.path().join("ledger").display().to_string(),
            key: key(1).verifier().clone(),
        };
        Self { folder, state, named }
    }

    fn new() -> Self {
        Self::promised(|_, _| {}, &key(1))
    }

    fn ledger(&self) -> std::path::PathBuf {
        self.folder.path().join("ledger")
    }

    fn show(&self, entries: &[Vec<u8>]) {
        publish(&self.ledger(), entries, &key(1));
    }

    fn look(&self, now: i64) -> Watch {
        look(&self.named, &self.state, now).unwrap()
    }

    fn breach(&self, now: i64) -> Option<Breach> {
        self.look(now).alarm.map(|alarm| alarm.what)
    }
}

fn result(ledger: Option<LedgerReceipt>) -> EnrollmentResult {
    EnrollmentResult {
        id: wire::EnrollmentId([1; 16]),
        state: EnrollmentState::Issued,
        device: "gw-1".to_owned(),
        certificates: vec![IssuedCertificate {
            profile: "device-ldevid".to_owned(),
            key: KeyRole::Identity,
            serial: "5a01".to_owned(),
            certificate: OURS.to_vec().into(),
            ledger,
        }],
        chain: Vec::new(),
    }
}

#[test]
fn a_promise_is_open_until_it_is_kept() {
    let site = Site::new();
    site.show(&others(3));
    let watch = site.look(NOW + 10);
    assert_eq!((watch.word(), watch.open(), watch.alarm), ("open", 1, None));
    // Asked for in a file server, and by the server's own proof: both prove it.
    site.show(&with_ours(3));
    let watch = site.look(NOW + 20);
    assert_eq!(watch.word(), "kept");
    assert_eq!(watch.promises[0].standing, Standing::Kept { at: NOW + 20, index: 3 });
    // It stays so, whatever the hour, while the tree goes on.
    site.show(&[with_ours(3), others(2)].concat());
    assert_eq!(site.look(NOW + 9_000_000).word(), "kept");
}

#[test]
fn a_proof_of_the_server_is_enough_and_must_be_of_the_tree() {
    let all = with_ours(1);
    let leaves: Vec<_> = all.iter().map(|entry| leaf_hash(entry)).collect();
    let proof = |leaves: &[ledger::Hash]| ProofFile {
        inclusion: Inclusion {
            index: 1,
            path: vec![leaves[0]],
        },
        checkpoint: signed(leaves, &key(1)).note().clone(),
    };
    let site = Site::new();
    site.show(&others(1));
    let put = |file: &ProofFile| {
        // The server has the tiles of every tree that it signed.
        publish(&site.folder.path().join("later"), &all, &key(1));
        for name in ["tile/0/000.p/2", "tile/entries/000.p/2"] {
            std::fs::copy(site.folder.path().join("later").join(name), site.ledger().join(name)).unwrap();
        }
        std::fs::create_dir_all(site.ledger().join("proof")).unwrap();
        std::fs::write(site.ledger().join("proof/5a01"), file.to_string()).unwrap();
    };
    put(&proof(&leaves));
    assert_eq!(site.look(NOW).word(), "kept");
    // A proof in another tree than the one that is shown to everybody: signed twice.
    let site = Site::new();
    site.show(&others(1));
    std::fs::create_dir_all(site.ledger().join("proof")).unwrap();
    let forked = [leaf_hash(b"nobody saw this"), leaves[1]];
    publish(&site.folder.path().join("later"), &all, &key(1));
    std::fs::copy(
        site.folder.path().join("later/tile/0/000.p/2"),
        site.ledger().join("tile/0/000.p/2"),
    )
    .unwrap();
    std::fs::write(site.ledger().join("proof/5a01"), proof(&forked).to_string()).unwrap();
    assert_eq!(site.breach(NOW), Some(Breach::Forked));
}

#[test]
fn a_broken_promise_is_an_alarm_that_stays() {
    let site = Site::new();
    site.show(&others(3));
    assert_eq!(site.breach(NOW + 60 + GRACE), None, "clocks differ");
    let alarm = site.look(NOW + 61 + GRACE).alarm.unwrap();
    assert_eq!((alarm.what, alarm.at), (Breach::Broken, NOW + 61 + GRACE));
    assert!(alarm.why.contains("5a01"), "{alarm:?}");
    // What comes too late does not undo it.
    site.show(&with_ours(3));
    assert_eq!(site.look(NOW + 1000).alarm, Some(alarm));
}

#[test]
fn what_came_without_a_promise_is_looked_for_all_the_same() {
    let site = Site::new();
    site.state.set_ledger(&Watch::default()).unwrap();
    remember(&site.state, &result(None), NOW).unwrap();
    site.show(&others(1));
    assert_eq!(site.breach(NOW + 3600), None);
    assert_eq!(site.breach(NOW + UNPROMISED + GRACE + 1), Some(Breach::Broken));
    let site = Site::new();
    site.state.set_ledger(&Watch::default()).unwrap();
    remember(&site.state, &result(None), NOW).unwrap();
    site.show(&with_ours(1));
    assert_eq!(site.look(NOW).word(), "kept");
}

#[test]
fn a_fork_and_a_cut_are_named() {
    let site = Site::new();
    site.show(&with_ours(3));
    assert_eq!(site.look(NOW).word(), "kept");
    let before = site.look(NOW).seen;
    let mut other = with_ours(3);
    other[0] = entry(b"rewritten");
    for (name, entries) in [
        ("as long", other.clone()),
        ("longer", [other.clone(), others(1)].concat()),
    ] {
        let site = Site::new();
        site.show(&with_ours(3));
        site.look(NOW);
        site.show(&entries);
        let watch = site.look(NOW + 5);
        let alarm = watch.alarm.unwrap();
        assert_eq!(alarm.what, Breach::Forked, "{name}");
        // Both notes are kept: together they are the proof; and what was seen stays what was seen.
        assert_eq!((&alarm.seen, &watch.seen), (&before, &before), "{name}");
        assert_ne!(alarm.shown, before, "{name}");
        site.show(&with_ours(3));
        assert_eq!(
            site.breach(NOW + 10),
            Some(Breach::Forked),
            "{name}: it is not forgotten"
        );
    }
    // Rolled back: the tiles of then are gone.
    std::fs::remove_dir_all(site.ledger()).unwrap();
    site.show(&others(3));
    assert_eq!(site.breach(NOW + 5), Some(Breach::Cut));
}

/// A cache shows the checkpoint of a minute ago: what was seen is there still, and nothing is wrong.
#[test]
fn a_checkpoint_of_a_minute_ago_is_no_alarm() {
    let site = Site::new();
    site.show(&others(2));
    let old = std::fs::read(site.ledger().join("checkpoint")).unwrap();
    site.show(&with_ours(2));
    let newest = site.look(NOW).seen;
    std::fs::write(site.ledger().join("checkpoint"), &old).unwrap();
    let watch = site.look(NOW + 5);
    assert_eq!((watch.alarm, watch.seen), (None, newest));
    // A shorter tree that is not the beginning of it is.
    let leaves = [leaf_hash(b"a"), leaf_hash(b"b")];
    let note = signed(&leaves, &key(1)).note().to_string();
    std::fs::write(site.ledger().join("checkpoint"), note).unwrap();
    assert_eq!(site.breach(NOW + 6), Some(Breach::Forked));
}

#[test]
fn a_promise_of_somebody_else_or_of_something_else_is_none() {
    for (name, site) in [
        ("another key", Site::promised(|_, _| {}, &key(2))),
        (
            "another leaf",
            Site::promised(|promise, _| promise.leaf = [0; 32], &key(1)),
        ),
        (
            "another certificate",
            Site::promised(
                |promise, bytes| {
                    *bytes = entry(b"another");
                    promise.leaf = leaf_hash(bytes);
                },
                &key(1),
            ),
        ),
    ] {
        site.show(&with_ours(1));
        assert_eq!(site.breach(NOW), Some(Breach::Forged), "{name}");
    }
}

#[test]
fn what_cannot_be_read_is_said_and_accuses_nobody() {
    let site = Site::new();
    let watch = site.look(NOW + 9_000);
    assert!(watch.away.is_some() && watch.alarm.is_none() && watch.looked_at.is_none());
    assert_eq!(watch.open(), 1, "and nothing is forgotten");
    publish(&site.ledger(), &with_ours(1), &key(2));
    let watch = site.look(NOW);
    assert!(
        watch.away.is_some() && watch.alarm.is_none(),
        "of another key: {watch:?}"
    );
    site.show(&with_ours(1));
    let watch = site.look(NOW);
    assert_eq!((watch.away.as_deref(), watch.word()), (None, "kept"));
}
