//! Manifests in the record: parts in step, duplicates within and across lots, what a transfer and a repair move.

use issuance::Recorder as _;
use schema::{ManifestError, ManifestPart, ManifestRow, ManifestState, NewExpected, NewManifest, Store};

use crate::kit::*;
use crate::raw::run;

fn new(kind: &'static str, lot: &str, entries: u64) -> NewManifest {
    NewManifest {
        root: digest(lot),
        signer_sha256: digest("signer"),
        kind,
        lot: lot.to_owned(),
        header: format!("header of {lot}"),
        seal: "seal".to_owned(),
        entries,
        all_or_nothing: false,
        tree: vec![0; 40],
    }
}

fn begin(store: &Store, new: &NewManifest) -> Result<ManifestRow, ManifestError> {
    store.open_manifest(new, &audit(NOW, "manifest.begun", &new.lot))
}

/// A device; `ek` and `was` stand for hashes, several between spaces.
fn device(serial: &str, ek: &str, was: &str) -> Result<NewExpected, String> {
    let hashes = |text: &str| text.split_whitespace().map(digest).collect();
    Ok(NewExpected {
        serial: serial.to_owned(),
        ek: hashes(ek),
        was: hashes(was),
        iak: Vec::new(),
        idevid: Vec::new(),
    })
}

fn part(of: &ManifestRow, from: u64, lines: Vec<Result<NewExpected, String>>) -> ManifestPart {
    ManifestPart {
        manifest: of.id,
        from,
        lines,
        tree: vec![1; 40],
        root: of.root,
        last_serial: "last".to_owned(),
    }
}

fn read(store: &Store, part: ManifestPart) -> Result<ManifestRow, ManifestError> {
    store.read_manifest(part, &audit(NOW, "manifest.read", "lot"))
}

/// The same with certificates of its IAK and its IDevID.
fn named(serial: &str, ek: &str, iak: &str, idevid: &str) -> Result<NewExpected, String> {
    let hashes = |text: &str| text.split_whitespace().map(digest).collect();
    Ok(NewExpected {
        iak: hashes(iak),
        idevid: hashes(idevid),
        ..device(serial, ek, "")?
    })
}

/// A whole manifest in one part; the reasons of its refused lines.
fn whole(
    store: &Store,
    kind: &'static str,
    lot: &str,
    lines: Vec<Result<NewExpected, String>>,
) -> (ManifestRow, Vec<String>) {
    let count = u64::try_from(lines.len()).unwrap();
    let row = begin(store, &new(kind, lot, count)).unwrap();
    let row = read(store, part(&row, 0, lines)).unwrap();
    let refused = store.refused_lines(row.id, None, 100).unwrap().items;
    (row, refused.into_iter().map(|(_, why)| why).collect())
}

fn serial_of(store: &Store, ek: &str) -> Option<String> {
    store.expected(&digest(ek)).unwrap().map(|e| e.serial)
}

both! {
    fn parts_come_in_step_and_nothing_is_expected_before_the_end(bench) {
        let store = bench.open();
        let row = begin(&store, &new("lot", "a", 3)).unwrap();
        assert_eq!((row.state, row.lines_read), (ManifestState::Open, 0));
        let first = part(&row, 0, vec![device("s1", "e1", ""), Err("no line".into())]);
        assert!(matches!(read(&store, part(&row, 1, vec![device("s1", "e1", "")])), Err(ManifestError::OutOfStep(0))));
        let row = read(&store, first.clone()).unwrap();
        assert_eq!((row.lines_read, row.lines_refused, row.state), (2, 1, ManifestState::Open));
        assert_eq!(serial_of(&store, "e1"), None, "it is open");
        // Heard again: nothing is written twice.
        assert_eq!(read(&store, first).unwrap().lines_read, 2);
        let over = part(&row, 2, vec![device("s3", "e3", ""), device("s4", "e4", "")]);
        assert!(matches!(read(&store, over), Err(ManifestError::OutOfStep(2))));
        // Found again by what it is, also by another open store.
        let again = begin(&store, &new("lot", "a", 3)).unwrap();
        assert_eq!((again.id, again.lines_read, again.last_serial.as_str()), (row.id, 2, "last"));
        let row = read(&store, part(&row, 2, vec![device("s3", "e3 e3b", "")])).unwrap();
        assert_eq!(row.state, ManifestState::Complete);
        assert_eq!(serial_of(&store, "e1").as_deref(), Some("s1"));
        assert_eq!(serial_of(&store, "e3b").as_deref(), Some("s3"));
        assert_eq!(store.refused_lines(row.id, None, 10).unwrap().items, [(1, "no line".to_owned())]);
        let late = read(&store, part(&row, 3, vec![device("s4", "e4", "")]));
        assert!(matches!(late, Err(ManifestError::Closed(ManifestState::Complete))));
        let mut other = new("lot", "a", 3);
        other.root = digest("another root");
        assert!(matches!(begin(&store, &other), Err(ManifestError::LotTaken { .. })));
        other.signer_sha256 = digest("another signer");
        assert!(begin(&store, &other).is_ok(), "his lots are his own");
    }

    fn another_root_or_a_bad_line_where_none_may_be_is_nothing(bench) {
        let store = bench.open();
        let row = begin(&store, &new("lot", "forged", 1)).unwrap();
        let mut forged = part(&row, 0, vec![device("s1", "e1", "")]);
        forged.root = digest("something else");
        assert_eq!(read(&store, forged).unwrap().state, ManifestState::Refused);
        let mut all = new("lot", "all", 2);
        all.all_or_nothing = true;
        let row = begin(&store, &all).unwrap();
        all.all_or_nothing = false;
        assert!(matches!(begin(&store, &all), Err(ManifestError::OtherTerms(..))));
        let row = read(&store, part(&row, 0, vec![device("s2", "e2", ""), Err("bad".into())])).unwrap();
        assert_eq!(row.state, ManifestState::Refused);
        assert_eq!((serial_of(&store, "e1"), serial_of(&store, "e2")), (None, None));
        assert!(matches!(
            store.withdraw_manifest(row.id, &audit(NOW, "manifest.withdrawn", "all")),
            Err(ManifestError::Closed(ManifestState::Refused))
        ));
        // Nothing of it is in the way of a better one.
        let (row, refused) = whole(&store, "lot", "all", vec![device("s2", "e2", ""), device("s3", "e3", "")]);
        assert_eq!((row.state, refused.len()), (ManifestState::Complete, 0));
    }

    fn what_comes_twice_is_refused_with_its_reason(bench) {
        let store = bench.open();
        allow(&store, "here");
        store.intend(&order("c1", "here", "tpm-here"), &[intent("x1", "p", "k1")]).unwrap();
        let (_, refused) = whole(&store, "lot", "a", vec![device("s1", "e1", ""), device("s2", "e2", ""), device("s3", "e1", "")]);
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].contains("another line of this manifest has it"), "{refused:?}");
        let cases = [
            (device("s4", "e2", ""), "`s2` of lot `a` has it"),
            (device("s1", "e1", ""), "only a transfer names it again"),
            (device("s2", "e9", ""), "`s2` is in lot `a` with another EK"),
            (device("s5", "tpm-here", ""), "it is device `here`'s"),
            (device("here", "e8", ""), "`here` is a device of the inventory"),
        ];
        for (n, (line, word)) in cases.into_iter().enumerate() {
            let (_, refused) = whole(&store, "lot", &format!("b{n}"), vec![line]);
            assert!(refused.len() == 1 && refused[0].contains(word), "{word}: {refused:?}");
        }
        // What is only being read counts, too: two lots at once do not both get a device.
        let open = begin(&store, &new("lot", "open", 2)).unwrap();
        read(&store, part(&open, 0, vec![device("s6", "e6", "")])).unwrap();
        let (_, refused) = whole(&store, "lot", "late", vec![device("s7", "e6", "")]);
        assert!(refused[0].contains("`s6` of lot `open`"), "{refused:?}");
    }

    fn transfers_and_repairs_move_what_they_name(bench) {
        let store = bench.open();
        whole(&store, "lot", "a", vec![device("s1", "e1", ""), device("s2", "e2", "")]);
        let (sold, refused) = whole(&store, "transfer", "sold", vec![device("s1", "e1", "")]);
        assert_eq!(refused, [""; 0]);
        let lot = || store.expected(&digest("e1")).unwrap().unwrap().lot;
        assert_eq!(lot(), "sold");
        store.withdraw_manifest(sold.id, &audit(NOW, "manifest.withdrawn", "sold")).unwrap();
        assert_eq!(lot(), "a", "as if it had not been said");
        let (rma, refused) = whole(&store, "repair", "rma", vec![device("s2", "new", "e2")]);
        assert_eq!(refused, [""; 0]);
        assert_eq!((serial_of(&store, "e2"), serial_of(&store, "new").as_deref()), (None, Some("s2")));
        for (n, (kind, line, word)) in [
            ("transfer", device("s2", "e2", ""), "it went with a repair"),
            ("transfer", device("s9", "e2", ""), "it went with a repair"),
            ("repair", device("s2", "x", "y"), "`s2` is in lot `rma` with another EK"),
            ("repair", device("s1", "x", "new"), "which went: `s2`"),
        ]
        .into_iter()
        .enumerate()
        {
            let (_, refused) = whole(&store, kind, &format!("c{n}"), vec![line]);
            assert!(refused.len() == 1 && refused[0].contains(word), "{word}: {refused:?}");
        }
        // Repaired once more.
        let (_, refused) = whole(&store, "repair", "rma-2", vec![device("s2", "newer", "new")]);
        assert_eq!(refused, [""; 0]);
        assert_eq!((serial_of(&store, "new"), serial_of(&store, "newer").as_deref()), (None, Some("s2")));
        store.withdraw_manifest(rma.id, &audit(NOW, "manifest.withdrawn", "rma")).unwrap();
        assert_eq!(serial_of(&store, "new"), None, "a later repair stands");
    }

    fn who_arrives_is_a_device_with_every_ek_of_its_line(bench) {
        let store = bench.open();
        whole(&store, "lot", "a", vec![device("s1", "e1 e1b", "")]);
        let record = audit(NOW, "device.arrived", "s1");
        assert!(store.arrive(&digest("nobody"), &record).unwrap().is_none());
        let row = store.arrive(&digest("e1b"), &record).unwrap().unwrap();
        assert_eq!((row.name.as_str(), row.batch.as_deref()), ("s1", Some("a")));
        for ek in ["e1", "e1b"] {
            assert_eq!(store.ek_owner(&digest(ek)).unwrap().unwrap().device, "s1");
        }
        assert_eq!(store.arrive(&digest("e1b"), &record).unwrap().unwrap().name, "s1", "again");
    }

    fn certificates_that_are_named_are_found_and_are_of_one_device(bench) {
        let store = bench.open();
        let lines = vec![
            named("s1", "e1 e1b", "i1", "d1"),
            named("s2", "e2", "i2 i2b", ""),
            named("s3", "e3", "", "i1"),
            device("s4", "e4", ""),
        ];
        let open = begin(&store, &new("lot", "a", 5)).unwrap();
        read(&store, part(&open, 0, lines)).unwrap();
        let serial = |certificate: &str| store.named_by_certificate(&digest(certificate)).unwrap();
        assert_eq!((serial("i1"), store.manifest_entry("s1").unwrap()), (None, None), "it is open");
        let (a, refused) = {
            let row = read(&store, part(&open, 4, vec![named("s5", "e5", "d1", "")])).unwrap();
            (row.id, store.refused_lines(row.id, None, 9).unwrap().items)
        };
        // One certificate, one line: in the same part, and in a later one.
        let of: Vec<i64> = refused.iter().map(|(position, _)| *position).collect();
        assert_eq!(of, [2, 4], "{refused:?}");
        assert!(refused.iter().all(|(_, why)| why.contains("another line of this manifest has it")), "{refused:?}");
        let entry = store.manifest_entry("s1").unwrap().unwrap();
        assert_eq!((entry.manifest, entry.position, entry.lot.as_str()), (a, 0, "a"));
        assert_eq!((entry.ek, entry.iak, entry.idevid), (vec![digest("e1"), digest("e1b")], vec![digest("i1")], vec![digest("d1")]));
        let entry = store.manifest_entry("s2").unwrap().unwrap();
        assert_eq!((entry.iak, entry.idevid), (vec![digest("i2"), digest("i2b")], vec![]));
        assert_eq!((serial("i2b").as_deref(), serial("d1").as_deref(), serial("nobody")), (Some("s2"), Some("s1"), None));
        assert_eq!(store.manifest_entry("s3").unwrap(), None, "its line was refused");
        assert_eq!(store.manifest_entry("s\0").unwrap(), None);
        let (_, refused) = whole(&store, "lot", "b", vec![named("s9", "e9", "i2", "")]);
        assert!(refused[0].contains("`s2` of lot `a` has it"), "{refused:?}");
        // The newest line stands for a device, alone; taken back, the one before.
        let (sold, refused) = whole(&store, "transfer", "sold", vec![named("s1", "e1 e1b", "new", "")]);
        assert_eq!(refused, [""; 0]);
        let entry = store.manifest_entry("s1").unwrap().unwrap();
        assert_eq!((entry.manifest, entry.ek, entry.iak, entry.idevid), (sold.id, vec![digest("e1"), digest("e1b")], vec![digest("new")], vec![]));
        store.withdraw_manifest(sold.id, &audit(NOW, "manifest.withdrawn", "sold")).unwrap();
        assert_eq!(store.manifest_entry("s1").unwrap().unwrap().iak, [digest("i1")]);
        assert_eq!(serial("new"), None);
        // Rows defend themselves.
        let insert = |manifest: i64| format!(
            "INSERT INTO expected_identity (manifest_id, position, serial, kind, certificate_sha256) \
             SELECT {manifest}, 7, 'thief', 'iak', root FROM manifest WHERE id = {a}"
        );
        let open = begin(&store, &new("lot", "c", 2)).unwrap().id;
        for (sql, word) in [
            (insert(a), "being read"),
            (insert(open).replace("'iak'", "'other'"), "check"),
            ("UPDATE expected_identity SET serial = 'thief'".to_owned(), "final"),
            ("DELETE FROM expected_identity".to_owned(), "kept"),
        ] {
            let refusal = run(bench, &sql).expect_err(&sql);
            assert!(refusal.to_lowercase().contains(word), "{sql}\n{refusal}");
        }
        run(bench, &insert(open)).unwrap();
        assert!(run(bench, &insert(open)).expect_err("twice").to_lowercase().contains("unique"));
    }

    fn rows_of_manifests_defend_themselves(bench) {
        let store = bench.open();
        let (done, _) = whole(&store, "lot", "a", vec![device("s1", "e1", ""), Err("bad".into())]);
        let open = begin(&store, &new("lot", "b", 2)).unwrap();
        let insert = |manifest: i64| format!(
            "INSERT INTO expected (manifest_id, position, serial, ek_spki_sha256, gone) \
             SELECT {manifest}, 7, 'thief', root, 0 FROM manifest WHERE id = {}", open.id
        );
        let (a, b) = (done.id, open.id);
        let cases = [
            (insert(a), "being read"),
            (format!("UPDATE manifest SET state = 'open' WHERE id = {a}"), "final"),
            (format!("UPDATE manifest SET root = signer_sha256 WHERE id = {b}"), "final"),
            (format!("UPDATE manifest SET lines_read = 0, lines_refused = 0 WHERE id = {a}"), "final"),
            (format!("UPDATE manifest SET state = 'complete' WHERE id = {b}"), "check"),
            (format!("UPDATE manifest SET state = 'complete', lines_read = 2, lines_refused = 1, all_or_nothing = 1 WHERE id = {b}"), ""),
            ("DELETE FROM manifest".to_owned(), "kept"),
            ("UPDATE expected SET serial = 'thief'".to_owned(), "final"),
            ("DELETE FROM expected".to_owned(), "kept"),
            ("UPDATE refused_line SET reason = 'none'".to_owned(), "final"),
            ("DELETE FROM refused_line".to_owned(), "kept"),
            ("INSERT INTO expected (manifest_id, position, serial, ek_spki_sha256, gone) SELECT 99, 7, 's', root, 0 FROM manifest".to_owned(), ""),
            ("INSERT INTO manifest (root, signer_sha256, kind, lot, header, seal, entries, all_or_nothing, imported_by, imported_at, \
              state, lines_read, lines_refused, tree, last_serial) SELECT root, signer_sha256, kind, 'new', header, seal, entries, \
              all_or_nothing, imported_by, 0, 'complete', entries, 0, tree, '' FROM manifest".to_owned(), "before it is complete"),
            ("INSERT INTO manifest (root, signer_sha256, kind, lot, header, seal, entries, all_or_nothing, imported_by, imported_at, \
              state, lines_read, lines_refused, tree, last_serial) SELECT root, signer_sha256, kind, lot, header, seal, entries, \
              all_or_nothing, imported_by, 0, 'open', 0, 0, tree, '' FROM manifest".to_owned(), "unique"),
        ];
        for (sql, word) in cases {
            let refusal = run(bench, &sql).expect_err(&sql);
            assert!(refusal.to_lowercase().contains(word), "{sql}\n{refusal}");
        }
        run(bench, &insert(b)).unwrap();
    }
}
