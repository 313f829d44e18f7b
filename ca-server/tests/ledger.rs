//! The ledger of a server: it grows and is signed; a record that is older, or another one, is not gone on with.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod kit;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::{App, web};
use bundle::{Bundle, CHECKS, Root, Transcript, Trust, verify};
use ca_server::config::LedgerTerms;
use ca_server::flow::bundle::{BundleError, erase, export};
use ca_server::flow::enroll::{Activation, activate, begin};
use ca_server::flow::ledger::advance;
use ca_server::house::{House, LedgerFault, Parts, StartError};
use ca_server::http::{Front, status_gate, status_routes, whole};
use device_kit::soft_tpm::SoftTpm;
use issuance::AuditRecord;
use kit::{Ca, Mood, admin_audit, allow, manners};
use ledger::{
    CA_KEY, Checkpoint, Edge, Head, KeyName, NoteSignature, ProofFile, Resource, SignatureKind, SignedCheckpoint,
    SigningKey, TileNodes, Tiles, ca_key_line, consistency, entries, inclusion, leaf_hash,
};
use schema::Store;

const ORIGIN: &str = "pki.example.net/ledger";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(KeyName::new(ORIGIN).unwrap(), SignatureKind::Ed25519, &[seed; 32]).unwrap()
}

fn terms(ca: &Ca) -> LedgerTerms {
    LedgerTerms {
        head: ca.path("ledger.head"),
        folder: Some(ca.path("public/ledger")),
        every: Duration::from_secs(1),
        promise: Duration::from_secs(3600),
        ca_key: true,
        witnesses: Vec::new(),
        quorum: 0,
        witness_timeout: Duration::from_secs(5),
    }
}

fn parts(ca: &Ca, store: &Store, seed: u8) -> Parts {
    Parts {
        ledger: Some((key(seed), terms(ca))),
        ..ca.parts(store)
    }
}

fn house(ca: &Ca, store: &Store) -> Arc<House> {
    Arc::new(House::new(parts(ca, store, 1)).unwrap())
}

fn tell(store: &Store, count: usize) {
    for n in 0..count {
        let record = AuditRecord {
            detail: n.to_string(),
            ..admin_audit()
        };
        store.audit(&record).unwrap();
    }
}

fn go_on(house: &House) -> Result<bool, LedgerFault> {
    advance(house, house.ledger.as_ref().unwrap())
}

fn published(house: &House) -> Arc<SignedCheckpoint> {
    house.ledger.as_ref().unwrap().published().unwrap()
}

/// The tree over everything on record, computed anew.
fn recomputed(store: &Store, size: u64) -> Head {
    let mut edge = Edge::empty();
    for at in 0..size {
        let leaf = store.ledger_entries(at, 1).unwrap().remove(0);
        edge.grow(&[leaf_hash(&leaf)]).unwrap();
    }
    edge.head()
}

/// A database as a file, aside.
/// The database as it is, when nobody has it open.
fn copy(ca: &Ca, name: &str) -> PathBuf {
    closed(ca);
    let copy = ca.path(name);
    std::fs::copy(ca.path("ca.db"), &copy).unwrap();
    copy
}

/// Wait until this process has let go of the database: a pool may still open a connection while it is dropped.
fn closed(ca: &Ca) {
    let database = ca.path("ca.db").canonicalize().unwrap();
    let held = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        files
            .filter_map(|file| std::fs::read_link(file.unwrap().path()).ok())
            .any(|file| file.to_string_lossy().starts_with(&*database.to_string_lossy()))
    };
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while held() {
        assert!(std::time::Instant::now() < end, "the database is held");
        std::thread::yield_now();
    }
}

fn restore(ca: &Ca, copy: &PathBuf) {
    closed(ca);
    for behind in ["ca.db-wal", "ca.db-shm"] {
        let _ = std::fs::remove_file(ca.path(behind));
    }
    std::fs::copy(copy, ca.path("ca.db")).unwrap();
}

struct Folder(PathBuf);

impl Tiles for Folder {
    fn get(&self, tile: Resource) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(tile.to_string())).map_err(|e| e.to_string())
    }
}

#[test]
fn it_grows_is_signed_by_both_keys_and_lies_in_the_folder() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = house(&ca, &store);
    assert!(house.ledger.as_ref().unwrap().published().is_none());
    assert!(go_on(&house).unwrap(), "the empty tree is signed, too");
    let empty = published(&house);
    assert_eq!(empty.head(), &Head::empty());
    let mut before = empty;
    for more in [3, 300, 1] {
        tell(&store, more);
        assert!(go_on(&house).unwrap());
        assert!(!go_on(&house).unwrap(), "nothing new");
        let signed = published(&house);
        assert_eq!(*signed.head(), recomputed(&store, signed.head().size));
        // The ledger's key, and the issuing CA's under its own type.
        assert!(signed.note().signed_by(key(1).verifier()).is_ok());
        let line = ca_key_line(key(1).verifier().name(), house.issuer.spki(), Vec::new());
        let of_ca: Vec<&NoteSignature> = signed.note().signatures().iter().filter(|l| l.id == line.id).collect();
        assert_eq!(of_ca.len(), 1);
        let vouched = |text: &str| issuance::vouched(&house.issuer, CA_KEY, text, &of_ca[0].signature);
        assert!(vouched(signed.note().text()));
        assert!(!vouched(before.note().text()));
        // The folder alone is enough for anyone.
        let folder = Folder(ca.path("public/ledger"));
        let note = std::fs::read(folder.0.join("checkpoint")).unwrap();
        assert_eq!(note, std::fs::read(ca.path("ledger.head")).unwrap());
        let read = SignedCheckpoint::parse(&note, key(1).verifier()).unwrap();
        let head = *read.head();
        assert_eq!(&head, signed.head());
        let nodes = TileNodes::new(folder, head.size);
        let proof = consistency(&nodes, before.head().size, head.size).unwrap().unwrap();
        proof.verify(before.head(), &head).unwrap();
        for index in 0..head.size {
            let bundle = Resource::entries_at(head.size, index / 256).unwrap();
            let Resource::Entries { width, .. } = bundle else {
                panic!()
            };
            let bytes = std::fs::read(ca.path("public/ledger").join(bundle.to_string())).unwrap();
            let leaf = entries(&bytes, width).unwrap()[usize::try_from(index % 256).unwrap()].to_vec();
            let proof = inclusion(&nodes, index, head.size).unwrap().unwrap();
            proof.verify(&leaf_hash(&leaf), &head).unwrap();
        }
        before = signed;
    }
}

#[test]
fn without_the_ca_key_a_checkpoint_is_still_good() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = house(&ca, &store);
    ca.key.set(Mood::Away);
    tell(&store, 1);
    assert!(go_on(&house).unwrap());
    let signed = published(&house);
    assert_eq!((signed.head().size, signed.note().signatures().len()), (1, 1));
    assert!(house.signer.away().is_some());
    assert_eq!(house.halt.reason(), None);
}

/// A device with an identity and an attestation key; the serials of both certificates.
fn enrolled(house: &House, tpm: &SoftTpm) -> Vec<Vec<u8>> {
    let request = tpm.request("device-idevid", Some("device-iak"), None);
    let challenge = begin(house, "192.0.2.1", request).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    let Activation::Done(result) = activate(house, "192.0.2.1", challenge.id, &answer).unwrap() else {
        panic!("under way")
    };
    let serials = result.certificates.iter().map(|c| hex::decode(&c.serial).unwrap());
    serials.collect()
}

/// What refuses in a bundle that was exported.
fn faults(ca: &Ca, archive: &[u8]) -> Vec<(&'static str, String)> {
    let bundle = Bundle::read(archive).unwrap();
    let trust = Trust {
        tpm_roots: vec![ca.vendor.certificate.clone()],
        ledgers: vec![key(1).verifier().clone()],
        ..Trust::default()
    };
    let checks = verify(&bundle, &bundle.certificate, &trust);
    assert_eq!(checks.len(), CHECKS.len());
    let refused = checks
        .into_iter()
        .filter_map(|check| Some((check.id, check.found.err()?)));
    refused.collect()
}

#[test]
fn an_enrollment_leaves_a_bundle_that_outlives_the_server() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = house(&ca, &store);
    let mut tpm = SoftTpm::p256(&ca.vendor);
    let below = ca.vendor.intermediate("Kit Vendor CA");
    let content = device_kit::vendor::EkContent::honest(&tpm.ek.key);
    tpm.ek_certificate = below.ek_certificate(&tpm.ek.spki, &content);
    // Only the device has this one: without it in the bundle nobody finds the way.
    tpm.ek_chain = vec![below.certificate.clone()];
    allow(&store, "gw-1", Some(tpm.ek.sha256()), None);
    let serials = enrolled(&house, &tpm);
    assert_eq!(serials.len(), 2);
    let early = export(&house, "uid:0", &serials[0]);
    assert!(
        matches!(early, Err(BundleError::Conflict(_))),
        "in no tree yet: {early:?}"
    );
    assert!(go_on(&house).unwrap());
    for serial in &serials {
        let archive = export(&house, "uid:0", serial).unwrap();
        assert_eq!(faults(&ca, &archive), Vec::new());
        let bundle = Bundle::read(&archive).unwrap();
        assert_eq!(bundle.path, [ca.vendor.certificate.clone(), below.certificate.clone()]);
        let told = Transcript::parse(&bundle.transcript).unwrap();
        assert_eq!((told.device.as_str(), told.decisions.len()), ("gw-1", 2));
        assert!(!told.decisions[0].rules.is_empty());
        let Root::EkActivation(word) = told.root else { panic!() };
        assert_eq!(word.activation.ak_name, hex::encode(tpm.ak.name()));
        // Who took it out, and which one.
        let records = store.audit_entries(&schema::AuditFilter::default(), 1).unwrap();
        assert_eq!(
            (records[0].action.as_str(), records[0].actor.as_str()),
            ("evidence.exported", "uid:0")
        );
        assert!(records[0].detail.contains(&hex::encode(attest::sha256(&archive))));
    }
    assert!(matches!(export(&house, "uid:0", &[1; 16]), Err(BundleError::NotFound)));
}

#[test]
fn what_was_erased_is_gone_and_the_ledger_proves_as_before() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = house(&ca, &store);
    let tpm = SoftTpm::p256(&ca.vendor);
    allow(&store, "gw-1", Some(tpm.ek.sha256()), None);
    let serials = enrolled(&house, &tpm);
    assert!(go_on(&house).unwrap());
    let kept = export(&house, "uid:0", &serials[0]).unwrap();
    let erased = |reason: &str| erase(&house, "uid:0", &serials[0], reason);
    assert!(matches!(erased(""), Err(BundleError::Reason)));
    for serial in &serials {
        // One of two that is good is enough to keep it.
        assert!(matches!(erased("asked"), Err(BundleError::Conflict(_))));
        let reason = wire::revocation::RevocationReason::CessationOfOperation;
        ca_server::flow::revoke::revoke(&house, "uid:0", serial, reason, None).unwrap();
    }
    assert_eq!(
        erased("asked").unwrap().serials,
        serials.iter().map(hex::encode).collect::<Vec<_>>()
    );
    assert!(erased("asked").is_ok(), "again is a success");
    let gone = export(&house, "uid:0", &serials[1]);
    assert!(matches!(gone, Err(BundleError::Nothing(_))), "{gone:?}");
    let count = |action: &str| {
        let all = store.audit_entries(&schema::AuditFilter::default(), 100).unwrap();
        all.iter().filter(|record| record.action == action).count()
    };
    assert_eq!(count("evidence.erased"), 1);
    // Everything of before is in every later tree; a bundle that somebody kept is as good as it was.
    assert!(go_on(&house).unwrap());
    let signed = published(&house);
    assert_eq!(*signed.head(), recomputed(&store, signed.head().size));
    assert_eq!(faults(&ca, &kept), Vec::new());
    let enrollment = store.certificate(&serials[0]).unwrap().unwrap().enrollment_id;
    assert!(store.evidence(&enrollment).unwrap().is_none());
    assert!(store.transcript(&enrollment).unwrap().is_none());
}

#[test]
fn without_the_ca_key_a_bundle_says_so() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = house(&ca, &store);
    let tpm = SoftTpm::p256(&ca.vendor);
    allow(&store, "gw-1", Some(tpm.ek.sha256()), None);
    let serials = enrolled(&house, &tpm);
    ca.key.set(Mood::Away);
    assert!(go_on(&house).unwrap());
    let found = faults(&ca, &export(&house, "uid:0", &serials[0]).unwrap());
    assert!(
        matches!(found.as_slice(), [("signature", why)] if why.contains("not signed by the CA's key")),
        "{found:?}"
    );
}

fn refused(ca: &Ca, store: &Store, seed: u8) -> String {
    match House::new(parts(ca, store, seed)).err() {
        Some(error @ StartError::Refused(_)) => {
            assert_eq!(error.exit().code(), 78);
            error.to_string()
        }
        other => panic!("{other:?}"),
    }
}

/// A ledger of five, and the database as it was at three.
fn cut() -> (Ca, PathBuf) {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = house(&ca, &store);
    tell(&store, 3);
    go_on(&house).unwrap();
    drop((house, store));
    let old = copy(&ca, "old.db");
    let store = ca.store();
    let house = self::house(&ca, &store);
    tell(&store, 2);
    go_on(&house).unwrap();
    assert_eq!(published(&house).head().size, 5);
    (ca, old)
}

/// The database of yesterday: whichever of the two memories is left says so.
#[test]
fn a_ledger_that_was_cut_at_the_end_is_refused_at_the_start() {
    for gone in ["ledger.head", "public/ledger/checkpoint"] {
        let (ca, old) = cut();
        restore(&ca, &old);
        std::fs::remove_file(ca.path(gone)).unwrap();
        let why = refused(&ca, &ca.store(), 1);
        assert!(
            why.contains("had 5 entries") && why.contains("the record has 3"),
            "{why}"
        );
    }
}

/// The same database, with other entries in the place of the lost ones: as long as the first, then longer.
#[test]
fn a_fork_is_refused_at_the_start() {
    for more in [2, 7] {
        let (ca, old) = cut();
        restore(&ca, &old);
        let store = ca.store();
        tell(&store, more);
        store.grow_ledger(100).unwrap();
        let why = refused(&ca, &store, 1);
        assert!(why.contains("the first 5 entries") && why.contains("forked"), "{why}");
    }
}

/// While it runs: its memory knows of a longer tree, or of another one. Nothing is signed, and issuing halts.
#[test]
fn a_fork_or_a_rollback_halts_issuing() {
    for (size, word) in [(9, "older than what was said"), (2, "forked")] {
        let ca = Ca::rehearse();
        let store = ca.store();
        let house = house(&ca, &store);
        tell(&store, 3);
        go_on(&house).unwrap();
        let before = store.ledger().unwrap();
        let other = Head { size, root: [7; 32] };
        let known = Checkpoint::new(KeyName::new(ORIGIN).unwrap(), other)
            .sign(&key(1))
            .unwrap();
        std::fs::write(ca.path("ledger.head"), known.note().to_string()).unwrap();
        tell(&store, 1);
        let fault = go_on(&house).unwrap_err();
        assert!(
            matches!(&fault, LedgerFault::Broken(why) if why.contains(word)),
            "{fault}"
        );
        assert!(house.halt.reason().unwrap().contains(word));
        assert_eq!(store.ledger().unwrap().signed, before.signed);
        assert_eq!(published(&house).head().size, 3);
    }
}

#[test]
fn another_key_or_a_damaged_memory_is_refused() {
    let (ca, _) = cut();
    let store = ca.store();
    assert!(refused(&ca, &store, 2).contains("not of this ledger's key"));
    let file = ca.path("ledger.head");
    let good = std::fs::read(&file).unwrap();
    // In the text, and in the ledger's own signature; the lines of others say nothing here.
    let text = good.windows(2).position(|pair| pair == b"\n\n").unwrap();
    for at in [0, text / 2, text + 50, text + 90] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&file, bad).unwrap();
        assert!(refused(&ca, &store, 1).contains("no checkpoint of this ledger"));
    }
    std::fs::write(&file, &good).unwrap();
    assert!(House::new(parts(&ca, &store, 1)).is_ok());
}

/// After a restore that is meant: a new name and key, a new memory; the old name's promises are not this one's.
#[test]
fn a_new_ledger_begins_with_a_restored_record() {
    let (ca, old) = cut();
    restore(&ca, &old);
    let store = ca.store();
    let name = KeyName::new("pki.example.net/ledger2").unwrap();
    let key = SigningKey::from_seed(name, SignatureKind::Ed25519, &[2; 32]).unwrap();
    let verifier = key.verifier().clone();
    let terms = LedgerTerms {
        head: ca.path("ledger2.head"),
        folder: Some(ca.path("public/ledger2")),
        ..terms(&ca)
    };
    let parts = Parts {
        ledger: Some((key, terms)),
        ..ca.parts(&store)
    };
    let house = House::new(parts).unwrap();
    tell(&store, 1);
    assert!(go_on(&house).unwrap());
    let signed = published(&house);
    assert_eq!(signed.head().size, 4);
    assert!(signed.note().signed_by(&verifier).is_ok());
    assert_eq!(store.ledger().unwrap().signed.unwrap().0, 4);
}

/// Nothing is signed that this server could not remember.
#[test]
fn without_a_memory_nothing_is_signed() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = house(&ca, &store);
    std::fs::create_dir(ca.path("ledger.head")).unwrap();
    assert!(matches!(go_on(&house), Err(LedgerFault::Memory(_))));
    assert_eq!(store.ledger().unwrap().signed, None);
    assert_eq!(house.halt.reason(), None, "a disk may come back");
    std::fs::remove_dir(ca.path("ledger.head")).unwrap();
    assert!(go_on(&house).unwrap());
}

/// Killed after each stage of a publication: the next server finishes it.
#[test]
fn a_publication_that_was_cut_off_is_finished() {
    for stage in 0..4 {
        let ca = Ca::rehearse();
        let store = ca.store();
        let house = house(&ca, &store);
        tell(&store, 2);
        go_on(&house).unwrap();
        tell(&store, 300);
        let folder = ca.path("public/ledger/checkpoint");
        let old = std::fs::read(&folder).unwrap();
        let memory = std::fs::read(ca.path("ledger.head")).unwrap();
        match stage {
            // Grown, not signed.
            0 => drop(store.grow_ledger(1000).unwrap()),
            // Signed and remembered, not swapped in.
            1 => {
                store.grow_ledger(1000).unwrap();
                let head = store.ledger().unwrap().head;
                let signed = Checkpoint::new(KeyName::new(ORIGIN).unwrap(), head)
                    .sign(&key(1))
                    .unwrap();
                house.ledger.as_ref().unwrap().remember(&signed).unwrap();
            }
            // Swapped in, not in the folder.
            2 => {
                go_on(&house).unwrap();
                std::fs::write(&folder, &old).unwrap();
            }
            // Another server did all of it: this one remembers less.
            _ => {
                go_on(&house).unwrap();
                std::fs::write(ca.path("ledger.head"), &memory).unwrap();
            }
        }
        drop(house);
        let next = self::house(&ca, &store);
        go_on(&next).unwrap();
        let signed = published(&next);
        assert_eq!(signed.head().size, 302, "stage {stage}");
        assert_eq!(*signed.head(), recomputed(&store, 302));
        assert_eq!(std::fs::read(&folder).unwrap(), signed.note().to_string().into_bytes());
    }
}

#[actix_web::test]
async fn it_is_served() {
    let ca = Ca::rehearse();
    let store = ca.store();
    let house = house(&ca, &store);
    let service = test::init_service(
        App::new()
            .app_data(web::Data::new(Front::new(Arc::clone(&house), manners())))
            .wrap(from_fn(whole))
            .wrap(from_fn(status_gate))
            .configure(status_routes),
    )
    .await;
    macro_rules! call {
        ($method:expr, $path:expr) => {{
            let request = TestRequest::default().method($method).uri($path);
            let request = request.peer_addr("192.0.2.1:4000".parse().unwrap()).to_request();
            let response = test::call_service(&service, request).await;
            let (status, headers) = (response.status(), response.headers().clone());
            (status, headers, test::read_body(response).await.to_vec())
        }};
        ($path:expr) => {
            call!(Method::GET, $path)
        };
    }
    assert_eq!(
        call!("/ledger/checkpoint").0,
        StatusCode::NOT_FOUND,
        "nothing is signed yet"
    );
    tell(&store, 300);
    go_on(&house).unwrap();
    let (status, headers, note) = call!("/ledger/checkpoint");
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers.get(header::CONTENT_TYPE).unwrap(), "text/plain; charset=utf-8");
    let signed = SignedCheckpoint::parse(&note, key(1).verifier()).unwrap();
    assert_eq!(signed.head().size, 300);
    // Byte for byte what the folder has.
    for path in [
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
    ] {
        let (status, headers, body) = call!(&format!("/ledger/{path}"));
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(body, std::fs::read(ca.path("public/ledger").join(path)).unwrap());
        assert_eq!(headers.get(header::CONTENT_TYPE).unwrap(), "application/octet-stream");
    }
    // A narrower tile of before is there, too; a wider one, or another way to write it, is not.
    assert_eq!(call!("/ledger/tile/0/001.p/7").2.len(), 7 * 32);
    // Recorded, and even built, but not signed.
    tell(&store, 1);
    store.grow_ledger(9).unwrap();
    for path in [
        "tile/0/001.p/45",
        "tile/entries/001.p/45",
        "tile/0/002.p/1",
        "tile/2/000.p/1",
        "tile/0/1",
        "tile/0/x000/000",
        "tile/0/000?x",
        "proof/00",
        "proof/zz",
        "",
        "x",
    ] {
        assert_eq!(call!(&format!("/ledger/{path}")).0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(
        call!(Method::POST, "/ledger/checkpoint").0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert!(ProofFile::parse(&note).is_err());
}
