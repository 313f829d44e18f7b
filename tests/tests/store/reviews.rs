//! Reviews in the record: who is asked about, who decides, what an approval is for.

use schema::{Asked, NewReview, ReviewDecision, ReviewError, ReviewRow, ReviewState, Store};

use crate::kit::*;
use crate::raw::run;

const VALID: i64 = 1000;

fn new(ek: &str) -> NewReview {
    NewReview {
        ek_spki_sha256: digest(ek),
        ek_certificate_sha256: digest("certificate"),
        reason: "EK_CHAIN".to_owned(),
        issuer: "CN=Nobody".to_owned(),
        manufacturer: "id:00001014".to_owned(),
        tpm: "swtpm id:20191023".to_owned(),
        valid_for: VALID,
    }
}

fn ask(store: &Store, ek: &str, at: i64) -> Asked {
    store
        .ask_review(&new(ek), &audit(at, "enrollment.review.asked", ""))
        .unwrap()
}

fn decide(store: &Store, id: i64, who: &str, kind: Option<&'static str>, at: i64) -> Result<ReviewRow, ReviewError> {
    let decision = ReviewDecision {
        review: id,
        kind,
        comment: "seen".to_owned(),
        by_two: true,
    };
    let mut record = audit(at, "enrollment.review.decided", "d");
    record.actor = who.to_owned();
    store.decide_review(&decision, &record)
}

/// A device that `who` named with this EK.
fn named(store: &Store, name: &str, ek: &str, who: &str) {
    let mut device = open_device(name);
    device.first_contact_until = None;
    device.ek_spki_sha256 = Some(digest(ek));
    let mut record = audit(NOW, "device.allowed", name);
    record.actor = who.to_owned();
    store.allow_device(&device, &record).unwrap();
}

/// 32 octets, all the same, as SQL writes them.
fn octets(bench: &Bench, octet: u8) -> String {
    let hex = format!("{octet:02x}").repeat(32);
    if bench.is_postgres() {
        format!("decode('{hex}', 'hex')")
    } else {
        format!("x'{hex}'")
    }
}

both! {
    fn a_stranger_leaves_nothing_and_who_was_named_waits_once(bench) {
        let store = bench.open();
        assert_eq!(ask(&store, "stranger", NOW), Asked::Unnamed);
        assert_eq!(store.reviews(ReviewState::Pending, None, 10).unwrap().items.len(), 0);
        named(&store, "d1", "e1", "alice");
        let Asked::Pending(id) = ask(&store, "e1", NOW) else { panic!("it waits") };
        assert_eq!(ask(&store, "e1", NOW + 1), Asked::Pending(id));
        let row = store.review(id).unwrap().unwrap();
        assert_eq!((row.device.as_str(), row.named_by.as_str(), row.state.as_str()), ("d1", "alice", "pending"));
        assert_eq!(store.reviews(ReviewState::Pending, None, 10).unwrap().items.len(), 1);
    }

    fn an_approval_is_for_one_ek_by_another_person_in_time(bench) {
        let store = bench.open();
        named(&store, "d1", "e1", "alice");
        named(&store, "d2", "e2", "alice");
        let Asked::Pending(id) = ask(&store, "e1", NOW) else { panic!("it waits") };
        let Asked::Pending(late) = ask(&store, "e2", NOW) else { panic!("it waits") };
        assert!(matches!(decide(&store, id, "alice", Some("hardware"), NOW), Err(ReviewError::SamePerson(_))));
        assert!(matches!(decide(&store, 99, "bob", Some("hardware"), NOW), Err(ReviewError::NotFound)));
        assert!(matches!(decide(&store, late, "bob", Some("hardware"), NOW + VALID + 1), Err(ReviewError::Expired)));
        assert_eq!(decide(&store, id, "bob", Some("hardware"), NOW + 1).unwrap().state, "approved");
        assert_eq!(decide(&store, id, "bob", Some("hardware"), NOW + 2).unwrap().decided_at, Some(NOW + 1), "again");
        assert!(matches!(decide(&store, id, "carol", Some("hardware"), NOW + 2), Err(ReviewError::Decided { .. })));
        assert_eq!(ask(&store, "e1", NOW + 9 * VALID), Asked::Approved("hardware".to_owned()), "it stands");
        assert_eq!(ask(&store, "e2", NOW + 2), Asked::Pending(late), "the other EK still waits");
        // What nobody decided about in time is asked anew, under another number.
        let Asked::Pending(anew) = ask(&store, "e2", NOW + VALID + 1) else { panic!("it waits") };
        assert_ne!(anew, late);
        assert_eq!(store.review(late).unwrap().unwrap().state, "expired");
        assert!(matches!(decide(&store, late, "bob", Some("hardware"), NOW + VALID + 1), Err(ReviewError::Expired)));
        // Taken back, also by who named it.
        assert_eq!(decide(&store, id, "alice", None, NOW + 3).unwrap().state, "rejected");
        assert_eq!(ask(&store, "e1", NOW + 4), Asked::Rejected);
        assert!(matches!(decide(&store, id, "bob", Some("hardware"), NOW + 4), Err(ReviewError::Decided { .. })));
    }

    fn each_advisory_is_asked_about_for_itself(bench) {
        let store = bench.open();
        named(&store, "d1", "e1", "alice");
        let about = |reason: &str, at| {
            let new = NewReview { reason: reason.to_owned(), ..new("e1") };
            store.ask_review(&new, &audit(at, "enrollment.review.asked", "")).unwrap()
        };
        let number = |asked: Asked| match asked {
            Asked::Pending(id) => id,
            other => panic!("{other:?}"),
        };
        let vendor = number(about("EK_CHAIN", NOW));
        let first = number(about("advisory:ONE", NOW));
        let second = number(about("advisory:TWO", NOW));
        assert_eq!(store.reviews(ReviewState::Pending, None, 10).unwrap().items.len(), 3);
        // Another reason about the vendor finds what waits already.
        assert_eq!(about("EK_CA_UNTRUSTED", NOW), Asked::Pending(vendor));
        assert_eq!(store.accepted_advisories(&digest("e1")).unwrap(), Vec::<String>::new());
        decide(&store, first, "bob", Some("hardware"), NOW).unwrap();
        assert_eq!(store.accepted_advisories(&digest("e1")).unwrap(), ["ONE"]);
        assert_eq!(about("advisory:ONE", NOW), Asked::Approved("hardware".to_owned()));
        assert_eq!(about("advisory:TWO", NOW), Asked::Pending(second), "nobody spoke of it");
        assert_eq!(about("EK_CHAIN", NOW), Asked::Pending(vendor), "nor of its vendor");
        decide(&store, vendor, "bob", Some("virtual"), NOW).unwrap();
        assert_eq!(store.accepted_advisories(&digest("e1")).unwrap(), ["ONE"], "the vendor is no advisory");
        assert_eq!(store.accepted_advisories(&digest("e2")).unwrap(), Vec::<String>::new(), "of another EK");
        decide(&store, first, "bob", None, NOW + 1).unwrap();
        assert_eq!(store.accepted_advisories(&digest("e1")).unwrap(), Vec::<String>::new());
        assert_eq!(about("advisory:ONE", NOW + 1), Asked::Rejected);
        // The tables hold it, too.
        for (reason, fits) in [("advisory:TWO", false), ("EK_OTHER", false), ("advisory:THREE", true)] {
            let sql = format!("INSERT INTO review (ek_spki_sha256, ek_certificate_sha256, device, named_by, reason, issuer, \
              manufacturer, tpm, asked_at, expires_at, state) SELECT ek_spki_sha256, ek_certificate_sha256, device, named_by, \
              '{reason}', issuer, manufacturer, tpm, asked_at, expires_at, 'pending' FROM review WHERE id = {second}");
            assert_eq!(run(bench, &sql).is_ok(), fits, "{reason}");
        }
    }

    fn what_wider_decisions_would_admit_is_counted(bench) {
        let store = bench.open();
        assert_eq!(store.tpms_of_manufacturer("id:00001014").unwrap(), Vec::<(String, String, u64)>::new());
        assert_eq!(store.still_expected().unwrap(), 0);
        run(bench, &format!("INSERT INTO manifest (root, signer_sha256, kind, lot, header, seal, entries, all_or_nothing, imported_by, \
          imported_at, state, lines_read, lines_refused, tree, last_serial) VALUES ({0}, {0}, 'lot', 'L', 'h', 's', 2, 0, 'alice', \
          {NOW}, 'open', 0, 0, {0}, '')", octets(bench, 1))).unwrap();
        for (position, serial, ek, gone) in [(0, "GW-1", 2, 0), (0, "GW-1", 3, 0), (1, "GW-2", 4, 0), (2, "GW-3", 5, 1)] {
            run(bench, &format!("INSERT INTO expected (manifest_id, position, serial, ek_spki_sha256, gone) \
              SELECT id, {position}, '{serial}', {}, {gone} FROM manifest", octets(bench, ek))).unwrap();
        }
        // Nothing of a manifest that is being read is expected.
        assert_eq!(store.still_expected().unwrap(), 0);
        run(bench, "UPDATE manifest SET lines_read = 2, state = 'complete'").unwrap();
        // A device with two EKs is one, and one that went is none.
        assert_eq!(store.still_expected().unwrap(), 2);
        named(&store, "GW-1", "its EK", "alice");
        assert_eq!(store.still_expected().unwrap(), 1, "one has come");
        run(bench, "UPDATE manifest SET state = 'withdrawn'").unwrap();
        assert_eq!(store.still_expected().unwrap(), 0);
    }

    fn of_many_approvals_at_once_one_is_first(bench) {
        let store = bench.open();
        named(&store, "d1", "e1", "alice");
        let Asked::Pending(id) = ask(&store, "e1", NOW) else { panic!("it waits") };
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let people: Vec<_> = (0..8)
                .map(|n| scope.spawn({ let store = &store; move || decide(store, id, &format!("person-{n}"), Some("hardware"), NOW) }))
                .collect();
            people.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|one| one.is_ok()).count(), 1, "{outcomes:?}");
    }

    fn rows_of_reviews_defend_themselves(bench) {
        let store = bench.open();
        named(&store, "d1", "e1", "alice");
        named(&store, "d2", "e2", "alice");
        let Asked::Pending(id) = ask(&store, "e1", NOW) else { panic!("it waits") };
        let Asked::Pending(open) = ask(&store, "e2", NOW) else { panic!("it waits") };
        decide(&store, id, "bob", Some("hardware"), NOW).unwrap();
        let approve = "state = 'approved', decided_by = 'x', comment = 'c'";
        for (sql, word) in [
            (format!("UPDATE review SET ek_spki_sha256 = ek_certificate_sha256, state = 'rejected' WHERE id = {id}"), "final"),
            (format!("UPDATE review SET decided_by = 'x' WHERE id = {id}"), "final"),
            (format!("UPDATE review SET device = 'x', {approve}, kind = 'hardware', decided_at = {NOW} WHERE id = {open}"), "final"),
            (format!("UPDATE review SET {approve}, decided_at = {NOW} WHERE id = {open}"), "check"),
            (format!("UPDATE review SET {approve}, kind = 'hardware', decided_at = {} WHERE id = {open}", NOW + VALID + 1), "check"),
            (format!("UPDATE review SET state = 'rejected', decided_by = 'x', decided_at = {NOW} WHERE id = {open}"), "check"),
            ("DELETE FROM review".to_owned(), "kept"),
            (format!("INSERT INTO review (ek_spki_sha256, ek_certificate_sha256, device, named_by, reason, issuer, manufacturer, tpm, \
              asked_at, expires_at, state, kind, decided_by, decided_at, comment) SELECT ek_certificate_sha256, ek_certificate_sha256, \
              device, named_by, reason, issuer, manufacturer, tpm, asked_at, expires_at, 'approved', 'hardware', 'x', asked_at, 'c' \
              FROM review WHERE id = {open}"), "asked for first"),
            (format!("INSERT INTO review (ek_spki_sha256, ek_certificate_sha256, device, named_by, reason, issuer, manufacturer, tpm, \
              asked_at, expires_at, state) SELECT ek_spki_sha256, ek_certificate_sha256, device, named_by, reason, issuer, \
              manufacturer, tpm, asked_at, expires_at, 'pending' FROM review WHERE id = {open}"), "unique"),
        ] {
            let refusal = run(bench, &sql).expect_err(&sql);
            assert!(refusal.to_lowercase().contains(word), "{sql}\n{refusal}");
        }
    }
}
