//! The ledger on record: a leaf with everything that is written, places given once, a tree that only grows.

use std::collections::BTreeSet;

use ::ledger::{Edge, Entry, Event, Hash, Head, Resource, TileNodes, Tiles, audit_digest, leaf_hash, tile_bytes};
use issuance::Recorder as _;
use schema::{Growth, LedgerState, Store};
use wire::revocation::RevocationReason;

use crate::kit::*;
use crate::raw::{lines, run};

/// Grow until nothing waits; the tree.
fn grown(store: &Store) -> Head {
    loop {
        match store.grow_ledger(1000).unwrap() {
            Growth::Built { head, added: 0 } => return head,
            Growth::Built { .. } => {}
            Growth::Broken(why) => panic!("{why}"),
        }
    }
}

/// Every leaf that has a place, in order.
fn leaves(store: &Store) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let part = store.ledger_entries(all.len() as u64, 256).unwrap();
        if part.is_empty() {
            return all;
        }
        all.extend(part);
    }
}

/// The tree over leaves, computed anew.
fn over(leaves: &[Vec<u8>]) -> Head {
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    let mut edge = Edge::empty();
    edge.grow(&hashes).unwrap();
    edge.head()
}

/// Tiles as the store has them.
struct Kept<'a>(&'a Store);

impl Tiles for Kept<'_> {
    fn get(&self, tile: Resource) -> Result<Vec<u8>, String> {
        let Resource::Tile { level, index, width } = tile else {
            return Err("no tile".to_owned());
        };
        let row = self
            .0
            .ledger_tile(level, index)
            .map_err(|e| e.to_string())?
            .ok_or("none")?;
        Ok(tile_bytes(row.get(..usize::from(width)).ok_or("not so wide")?))
    }
}

/// Every audit leaf holds exactly the records that point to it.
fn audits_agree(store: &Store) -> usize {
    let mut records = 0;
    for (position, leaf) in (0_u64..).zip(leaves(store)) {
        let Event::Audit { records: count, digest } = Entry::parse(&leaf).unwrap().event else {
            continue;
        };
        let held = store.ledger_records(position).unwrap().unwrap();
        assert_eq!(held.records.len(), count as usize);
        let told = audit_digest(&held.salt, held.records.iter().map(|r| r.line()));
        assert_eq!(told, digest, "leaf {position}");
        records += held.records.len();
    }
    records
}

both! {
    fn a_certificate_has_its_leaf_before_it_is_issued(bench) {
        let store = bench.open();
        allow(&store, "x");
        let a = intent("s1", "p", "k1");
        store.intend(&order("c1", "x", "tpm-x"), std::slice::from_ref(&a)).unwrap();
        let row = store.certificate(a.serial.octets()).unwrap().unwrap();
        assert_eq!(store.ledger_entry(row.id).unwrap(), None, "an intent hands nothing out");
        // The tables themselves: no entry, no certificate.
        let refusal = run(bench, "UPDATE certificate SET state = 'issued', certificate = tbs").unwrap_err();
        assert!(refusal.contains("no entry in the ledger"), "{refusal}");
        let given = signed(&a);
        store.issued(&id("c1"), std::slice::from_ref(&given)).unwrap();
        let entry = store.ledger_entry(row.id).unwrap().unwrap();
        assert_eq!(entry.position, None);
        let said = Entry::parse(&entry.bytes).unwrap();
        assert_eq!(said.at, NOW);
        let Event::Issued(issuance) = said.event else { panic!("{said:?}") };
        assert_eq!(issuance.serial, a.serial.octets());
        assert_eq!(issuance.issuer, a.issuer_key_id);
        assert_eq!(issuance.certificate, openssl::sha::sha256(&given.certificate));
        assert_eq!(issuance.evidence, Some(digest("evidence c1")));
        assert_eq!((issuance.profile.as_str(), issuance.profile_sha256), ("p", digest("p")));
        // Nothing of the device.
        assert!(!String::from_utf8(entry.bytes.clone()).unwrap().contains("\"x\""));
        assert!(store.ledger_waiting().unwrap().is_some());
        let head = grown(&store);
        let placed = store.ledger_entry(row.id).unwrap().unwrap();
        let position = placed.position.unwrap();
        assert_eq!(store.ledger_entries(position, 1).unwrap(), std::slice::from_ref(&placed.bytes));
        assert_eq!(store.ledger_waiting().unwrap(), None);
        let all = leaves(&store);
        assert_eq!(over(&all), head);
        let nodes = TileNodes::new(Kept(&store), head.size);
        let proof = ::ledger::inclusion(&nodes, position, head.size).unwrap().unwrap();
        proof.verify(&leaf_hash(&placed.bytes), &head).unwrap();
        // Allowed, granted, issued: three audit records, and each is held.
        assert_eq!(audits_agree(&store), 3);
        assert_eq!(lines(bench, "SELECT action AS line FROM audit WHERE entry_id IS NULL"), Vec::<String>::new());
    }

    fn a_certificate_of_the_ca_itself_has_a_leaf_without_evidence(bench) {
        let store = bench.open();
        let a = intent("s1", "ocsp", "k1");
        store.intend(&ceremony("c1"), std::slice::from_ref(&a)).unwrap();
        store.issued(&id("c1"), &[signed(&a)]).unwrap();
        let row = store.certificate(a.serial.octets()).unwrap().unwrap();
        let entry = store.ledger_entry(row.id).unwrap().unwrap();
        let Event::Issued(issuance) = Entry::parse(&entry.bytes).unwrap().event else { panic!() };
        assert_eq!(issuance.evidence, None);
    }

    fn revoking_has_a_leaf_and_saying_it_twice_has_none(bench) {
        let store = bench.open();
        allow(&store, "x");
        let a = intent("s1", "p", "k1");
        store.intend(&order("c1", "x", "tpm-x"), std::slice::from_ref(&a)).unwrap();
        store.issued(&id("c1"), &[signed(&a)]).unwrap();
        let row = store.certificate(a.serial.octets()).unwrap().unwrap();
        let told = audit(NOW + 5, "certificate.revoked", "s1");
        for reason in [RevocationReason::CertificateHold, RevocationReason::KeyCompromise] {
            for _ in 0..2 {
                store.revoke(row.id, reason, "why", &told).unwrap();
            }
        }
        grown(&store);
        let steps: Vec<(String, String)> = leaves(&store)
            .iter()
            .filter_map(|leaf| match Entry::parse(leaf).unwrap().event {
                Event::Status { serial, state, reason, .. } if serial == a.serial.octets() => Some((state, reason)),
                _ => None,
            })
            .collect();
        let text = |reason: RevocationReason| reason.as_str().to_owned();
        assert_eq!(
            steps,
            [
                ("on_hold".to_owned(), text(RevocationReason::CertificateHold)),
                ("revoked".to_owned(), text(RevocationReason::KeyCompromise)),
            ]
        );
        audits_agree(&store);
    }

    fn a_refused_order_leaves_no_leaf(bench) {
        let store = bench.open();
        let count = || lines(bench, "SELECT CAST(count(*) AS TEXT) AS line FROM ledger_entry");
        let before = count();
        store.intend(&order("c1", "nobody", "tpm-x"), &[intent("s1", "p", "k1")]).unwrap_err();
        store.issued(&id("c1"), &[signed(&intent("s1", "p", "k1"))]).unwrap_err();
        assert_eq!(count(), before);
    }

    fn the_tree_grows_over_tiles_in_any_steps(bench) {
        let store = bench.open();
        let mut seen = vec![Head::empty()];
        for (turn, more) in [1, 254, 1, 1, 300, 7].into_iter().enumerate() {
            for n in 0..more {
                store.audit(&audit(NOW, "test", &format!("{turn}.{n}"))).unwrap();
            }
            // A limit below what waits: the rest comes next time.
            if more > 100 {
                assert!(matches!(store.grow_ledger(100).unwrap(), Growth::Built { added: 100, .. }));
            }
            seen.push(grown(&store));
        }
        let all = leaves(&store);
        assert_eq!(all.len(), 564);
        let head = seen[6];
        let nodes = TileNodes::new(Kept(&store), head.size);
        for older in &seen {
            let then = usize::try_from(older.size).unwrap();
            assert_eq!(over(&all[..then]), *older);
            let proof = ::ledger::consistency(&nodes, older.size, head.size).unwrap().unwrap();
            proof.verify(older, &head).unwrap();
        }
        assert_eq!(store.ledger().unwrap(), LedgerState { head, signed: None });
        // Opened again: the same.
        drop(store);
        assert_eq!(grown(&bench.open()), head);
    }

    fn servers_grow_one_tree_at_once(bench) {
        let servers: Vec<Store> = (0..if bench.is_postgres() { 3 } else { 1 }).map(|_| bench.open()).collect();
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let store = &servers[thread % servers.len()];
                scope.spawn(move || {
                    for n in 0..60 {
                        store.audit(&audit(NOW, "test", &format!("{thread}.{n}"))).unwrap();
                        if n % 7 == thread {
                            let grown = store.grow_ledger(13).unwrap();
                            assert!(matches!(grown, Growth::Built { .. }), "{grown:?}");
                        }
                    }
                });
            }
        });
        let head = grown(&servers[0]);
        let all = leaves(&servers[0]);
        assert_eq!(over(&all), head);
        // Each leaf once: many records may be in one.
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(audits_agree(&servers[0]), 360);
        let missing = lines(bench, "SELECT CAST(count(*) AS TEXT) AS line FROM ledger_entry WHERE position IS NULL");
        assert_eq!(missing, ["0"]);
    }

    fn checkpoints_replace_only_the_one_they_were_made_after(bench) {
        let store = bench.open();
        for n in 0..5 {
            store.audit(&audit(NOW, "test", &n.to_string())).unwrap();
        }
        assert_eq!(grown(&store).size, 5);
        assert!(!store.sign_ledger(Some(0), 3, "none", NOW).unwrap(), "nothing is signed yet");
        assert!(!store.sign_ledger(None, 6, "beyond", NOW).unwrap(), "longer than the tree");
        assert!(store.sign_ledger(None, 3, "three", NOW).unwrap());
        assert!(!store.sign_ledger(None, 4, "late", NOW).unwrap());
        assert!(!store.sign_ledger(Some(2), 4, "late", NOW).unwrap());
        assert!(store.sign_ledger(Some(3), 5, "five", NOW).unwrap());
        // Smaller, and made after the right one: the table itself.
        assert!(store.sign_ledger(Some(5), 4, "back", NOW).is_err());
        assert_eq!(store.ledger().unwrap().signed, Some((5, "five".to_owned())));
    }

    fn what_is_in_the_ledger_is_not_rewritten(bench) {
        let store = bench.open();
        for n in 0..3 {
            store.audit(&audit(NOW, "test", &n.to_string())).unwrap();
        }
        grown(&store);
        store.sign_ledger(None, 3, "three", NOW).unwrap();
        store.audit(&audit(NOW, "test", "waits")).unwrap();
        let root = "(SELECT hashes FROM ledger_tile ORDER BY id LIMIT 1)";
        for (sql, word) in [
            ("UPDATE ledger_entry SET bytes = salt WHERE position = 1", "final"),
            ("UPDATE ledger_entry SET position = 9 WHERE position = 1", "final"),
            ("UPDATE ledger_entry SET position = NULL WHERE position = 1", "final"),
            ("UPDATE ledger_entry SET bytes = salt, position = 3 WHERE position IS NULL", "final"),
            ("UPDATE ledger_entry SET salt = NULL, position = 3 WHERE position IS NULL", "final"),
            ("UPDATE ledger_entry SET position = 1 WHERE position IS NULL", "unique"),
            ("DELETE FROM ledger_entry", "kept"),
            ("UPDATE ledger_tile SET hashes = substr(hashes, 33)", "only grow"),
            ("UPDATE ledger_tile SET hashes = substr(hashes, 1, 64)", "only grow"),
            ("UPDATE ledger_tile SET level = 1", "only grow"),
            ("DELETE FROM ledger_tile", "kept"),
            ("UPDATE ledger SET size = 2, signed_size = 2", "only grows"),
            ("UPDATE ledger SET signed_size = 2", "only grows"),
            ("UPDATE ledger SET signed_size = NULL, checkpoint = NULL, signed_at = NULL", "only grows"),
            (&format!("UPDATE ledger SET root = substr({root}, 1, 32)"), "only grows"),
            ("UPDATE ledger SET signed_size = 4", "check"),
            ("DELETE FROM ledger", "kept"),
            ("UPDATE audit SET entry_id = NULL", "final"),
        ] {
            let refusal = run(bench, sql).expect_err(sql).to_lowercase();
            assert!(refusal.contains(word), "{sql}\n{refusal}");
        }
        if bench.is_postgres() {
            for table in ["ledger_entry", "ledger_tile", "ledger"] {
                let refusal = run(bench, &format!("TRUNCATE {table} CASCADE")).unwrap_err();
                assert!(refusal.contains("kept"), "{refusal}");
            }
        }
        run(bench, "UPDATE ledger_entry SET position = 3 WHERE position IS NULL").unwrap();
    }

    /// Past the triggers, as a restored or edited file would be: nothing grows on a tree that is none.
    fn a_tree_that_does_not_add_up_does_not_grow(bench) {
        let table = |name: &str, table: &str| {
            if bench.is_postgres() {
                format!("ALTER TABLE {table} DISABLE TRIGGER {name}")
            } else {
                format!("DROP TRIGGER {name}")
            }
        };
        let store = bench.open();
        for n in 0..3 {
            store.audit(&audit(NOW, "test", &n.to_string())).unwrap();
        }
        let head = grown(&store);
        run(bench, &table("ledger_tile_grows", "ledger_tile")).unwrap();
        run(bench, &table("ledger_grows", "ledger")).unwrap();
        store.audit(&audit(NOW, "test", "more")).unwrap();
        let stuck = || {
            let grown = store.grow_ledger(9).unwrap();
            assert!(matches!(grown, Growth::Broken(_)), "{grown:?}");
            assert!(store.ledger_waiting().unwrap().is_some());
        };
        let tile = tile_bytes(&store.ledger_tile(0, 0).unwrap().unwrap());
        let blob = |bytes: &[u8]| {
            let hex = hex::encode(bytes);
            if bench.is_postgres() { format!("'\\x{hex}'") } else { format!("X'{hex}'") }
        };
        let write = |bytes: &[u8]| run(bench, &format!("UPDATE ledger_tile SET hashes = {}", blob(bytes))).unwrap();
        // A bit; one hash less; one more.
        let mut bad = tile.clone();
        bad[40] ^= 1;
        for bytes in [&bad[..], &tile[..64], &[&tile[..], &tile[..32]].concat()] {
            write(bytes);
            stuck();
        }
        write(&tile);
        // A row that is older than its tiles.
        run(bench, "UPDATE ledger SET size = 2").unwrap();
        stuck();
        run(bench, "UPDATE ledger SET size = 3").unwrap();
        assert_eq!(store.ledger().unwrap().head, head);
        assert!(matches!(store.grow_ledger(9).unwrap(), Growth::Built { added: 1, .. }));
    }
}
