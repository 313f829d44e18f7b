//! CRLs in the record: numbers that only grow, readings that see no less, places that are only overtaken.

use std::collections::BTreeSet;
use std::sync::Barrier;

use attest::UnixTime;
use device_kit::issuing::IssuingCa;
use issuance::crl::{Crl, CrlDraft, CrlSpec, PublishableCrl, RawCrl, compare, first};
use issuance::{CrlScope, Intent, Issuer, IssuerUrls, Recorder as _};
use schema::{CrlPoint, CrlTurn, DraftedCrl, Store, StoreError};
use wire::revocation::RevocationReason::{self, CertificateHold, KeyCompromise, Superseded};

use crate::kit::*;
use crate::raw::{lines, run};

pub(crate) const ONE: &str = "http://pki.example.net/1.crl";
pub(crate) const TWO: &str = "http://pki.example.net/2.crl";
pub(crate) const ALL: &str = "http://pki.example.net/all.crl";
pub(crate) const DAY: i64 = 86_400;

/// A CA, its store, and three places: everything, and two shards.
pub(crate) struct Scene {
    pub(crate) ca: IssuingCa,
    pub(crate) issuer: Issuer,
    pub(crate) store: Store,
}

impl Scene {
    pub(crate) fn on(bench: &Bench) -> Self {
        let ca = IssuingCa::new("Kit", NOW - DAY);
        let issuer = ca.issuer(IssuerUrls::default());
        let store = bench.open();
        let places = [
            (ALL.to_owned(), CrlScope::Complete),
            (ONE.to_owned(), CrlScope::Point(ONE.to_owned())),
            (TWO.to_owned(), CrlScope::Point(TWO.to_owned())),
        ];
        store.add_crl_points(issuer.key_id(), &places).unwrap();
        Self { ca, issuer, store }
    }

    pub(crate) fn key_id(&self) -> &[u8] {
        self.issuer.key_id()
    }

    pub(crate) fn place(&self, url: &str) -> CrlPoint {
        let all = self.store.crl_points(self.key_id()).unwrap();
        all.into_iter().find(|point| point.url == url).unwrap()
    }

    /// Issue a certificate that carries this URL, in `state`; its row id.
    pub(crate) fn issued(&self, name: &str, url: Option<&str>, state: &str) -> i64 {
        allow(&self.store, name);
        let (tbs, whole) = self.ca.issue(serial(name), url, NOW + 10 * DAY);
        let wanted = Intent {
            issuer_key_id: self.key_id().to_vec(),
            tbs,
            not_after: UnixTime(NOW + 10 * DAY),
            ..intent(name, "p", &format!("key of {name}"))
        };
        let order = order(name, name, name);
        self.store.intend(&order, std::slice::from_ref(&wanted)).unwrap();
        if state == "issued" {
            let mut record = signed(&wanted);
            record.certificate = whole;
            self.store.issued(&id(name), &[record]).unwrap();
        }
        self.store.certificate(wanted.serial.octets()).unwrap().unwrap().id
    }

    pub(crate) fn revoke(&self, certificate: i64, reason: RevocationReason, at: i64) {
        let about = audit(at, "certificate.revoked", "x");
        self.store.revoke(certificate, reason, "", &about).unwrap();
    }

    pub(crate) fn take(&self, url: &str, now: i64) -> CrlTurn {
        let place = self.place(url).id;
        self.store
            .take_crl_number(self.key_id(), place, now, None)
            .unwrap()
            .unwrap()
    }

    pub(crate) fn drafted(&self, turn: &CrlTurn, now: i64) -> Crl {
        let spec = CrlSpec {
            scope: turn.point.scope(),
            number: turn.number,
            this_update: UnixTime(now),
            next_update: UnixTime(now + DAY),
            revoked: turn.revoked.clone(),
            delta_url: None,
        };
        let linted = CrlDraft::new(spec, &self.issuer).unwrap().lint().unwrap();
        let drafted = DraftedCrl {
            this_update: now,
            next_update: now + DAY,
            entries: i64::try_from(turn.revoked.len()).unwrap(),
            steps: turn.steps,
            tbs_sha256: linted.tbs_sha256(),
            base: None,
        };
        self.store.draft_crl(turn.id, &drafted).unwrap();
        linted.sign(&self.ca).unwrap()
    }

    pub(crate) fn compared(&self, turn: &CrlTurn, crl: Crl, now: i64) -> PublishableCrl {
        match &turn.previous {
            None => first(crl, UnixTime(now)).unwrap(),
            Some(der) => {
                let previous = RawCrl::decode(der.clone()).unwrap().verify(&self.issuer).unwrap();
                let known = |serial| turn.left.get(&serial).copied();
                let publishable = compare(&previous, crl, UnixTime(now), known).unwrap();
                match &turn.previous_delta {
                    None => publishable,
                    Some(der) => {
                        let delta = RawCrl::decode(der.clone()).unwrap().verify(&self.issuer).unwrap();
                        publishable.besides(&delta, known).unwrap()
                    }
                }
            }
        }
    }

    /// Take a number, sign, publish.
    pub(crate) fn publish(&self, url: &str, now: i64) -> Crl {
        let turn = self.take(url, now);
        let crl = self.drafted(&turn, now);
        let publishable = self.compared(&turn, crl, now);
        assert!(self.store.publish_crl(turn.id, &publishable, now).unwrap());
        publishable.into_crl()
    }
}

fn listed(crl: &Crl) -> Vec<(String, RevocationReason, i64)> {
    let mark = |mark| match mark {
        issuance::crl::Mark::Revoked(reason) => reason,
        issuance::crl::Mark::Removed => panic!("not in a complete CRL"),
    };
    crl.entries()
        .iter()
        .map(|e| (e.serial.hex(), mark(e.mark), e.at.0))
        .collect()
}

both! {
    fn each_place_lists_its_own(bench) {
        let scene = Scene::on(bench);
        let a = scene.issued("a", Some(ONE), "issued");
        let b = scene.issued("b", Some(TWO), "issued");
        let bare = scene.issued("bare", None, "issued");
        let open = scene.issued("open", Some(ONE), "intent");
        let lost = scene.issued("lost", Some(TWO), "intent");
        scene.issued("good", Some(ONE), "issued");
        assert_eq!(scene.store.crl_steps(scene.key_id()).unwrap().of(&scene.place(ALL)), 0);
        scene.revoke(a, Superseded, NOW + 1);
        scene.revoke(b, CertificateHold, NOW + 2);
        scene.revoke(bare, Superseded, NOW + 3);
        scene.revoke(open, KeyCompromise, NOW + 4);
        scene.store.recover(NOW, NOW).unwrap();
        scene.revoke(lost, Superseded, NOW + 5);
        let entry = |name: &str, reason, at: i64| (serial(name).hex(), reason, NOW + at);
        let sorted = |mut all: Vec<_>| {
            all.sort_by(|x: &(String, RevocationReason, i64), y| x.0.cmp(&y.0));
            all
        };
        let of_one = [entry("a", Superseded, 1), entry("open", KeyCompromise, 4)];
        let of_two = [entry("b", CertificateHold, 2), entry("lost", Superseded, 5)];
        let of_none = [entry("bare", Superseded, 3)];
        assert_eq!(listed(&scene.publish(ONE, NOW + 6)), sorted(of_one.to_vec()));
        assert_eq!(listed(&scene.publish(TWO, NOW + 6)), sorted(of_two.to_vec()));
        let all = [&of_one[..], &of_two[..], &of_none[..]].concat();
        assert_eq!(listed(&scene.publish(ALL, NOW + 6)), sorted(all));
        let steps = scene.store.crl_steps(scene.key_id()).unwrap();
        for (url, count) in [(ONE, 2), (TWO, 2), (ALL, 5)] {
            let place = scene.place(url);
            assert_eq!(steps.of(&place), count, "{url}");
            assert_eq!(place.published.unwrap().steps, count, "{url}");
        }
        // Another issuer's store of numbers begins at one, and has nothing to list.
        scene.store.add_crl_points(&[9; 20], &[(ALL.to_owned(), CrlScope::Complete)]).unwrap();
        let other = scene.store.crl_points(&[9; 20]).unwrap().remove(0).id;
        let turn = scene.store.take_crl_number(&[9; 20], other, NOW, None).unwrap().unwrap();
        assert_eq!((turn.number.get(), turn.revoked.len(), turn.steps), (1, 0, 0));
    }

    fn a_released_hold_leaves_and_a_compromise_keeps_its_date(bench) {
        let scene = Scene::on(bench);
        let a = scene.issued("a", Some(ONE), "issued");
        let b = scene.issued("b", Some(ONE), "issued");
        scene.revoke(a, CertificateHold, NOW + 1);
        scene.revoke(b, Superseded, NOW + 1);
        assert_eq!(scene.publish(ONE, NOW + 2).entries().len(), 2);
        scene.store.release(a, "", &audit(NOW + 3, "certificate.released", "x")).unwrap();
        scene.revoke(b, KeyCompromise, NOW + 4);
        let crl = scene.publish(ONE, NOW + 5);
        assert_eq!(listed(&crl), [(serial("b").hex(), KeyCompromise, NOW + 1)]);
        scene.revoke(a, CertificateHold, NOW + 6);
        assert_eq!(scene.publish(ONE, NOW + 7).entries().len(), 2);
    }

    /// RFC 5280 §3.3: one CRL beyond the end, and not one less.
    fn r01_an_entry_leaves_after_it_was_shown_expired(bench) {
        let scene = Scene::on(bench);
        let a = scene.issued("a", Some(ONE), "issued");
        scene.revoke(a, Superseded, NOW);
        let end = NOW + 10 * DAY;
        for (now, entries) in [(end - 1, 1), (end, 1), (end + 1, 1), (end + 2, 0), (end + 3, 0)] {
            // Whatever is tidied up in between.
            scene.store.forget_attempts(now).unwrap();
            scene.store.recover(now, now).unwrap();
            if !bench.is_postgres() {
                run(bench, "VACUUM").unwrap();
            }
            assert_eq!(scene.publish(ONE, now).entries().len(), entries, "{now}");
        }
    }

    fn r02_numbers_grow_whatever_becomes_of_them(bench) {
        let scene = Scene::on(bench);
        let one = scene.take(ONE, NOW);
        let two = scene.take(TWO, NOW);
        let _signed_and_lost = scene.drafted(&two, NOW);
        drop(scene.store.clone());
        let three = scene.take(ONE, NOW);
        assert_eq!([one.number, two.number, three.number].map(|n| n.get()), [1, 2, 3]);
        let taken = scene.store.crl_numbers(scene.key_id(), 10).unwrap();
        let seen: Vec<_> = taken.iter().map(|t| (t.number.get(), t.tbs_sha256.is_some())).collect();
        assert_eq!(seen, [(3, false), (2, true), (1, false)]);
        assert_eq!(scene.store.last_crl_number(scene.key_id()).unwrap().unwrap().get(), 3);
        // Written down once.
        let again = DraftedCrl {
            this_update: NOW,
            next_update: NOW + 1,
            entries: 0,
            steps: 0,
            tbs_sha256: [1; 32],
            base: None,
        };
        assert!(scene.store.draft_crl(two.id, &again).is_err());
        assert!(scene.store.draft_crl(999, &again).is_err());
    }

    fn r02_what_was_overtaken_is_not_published(bench) {
        let scene = Scene::on(bench);
        let a = scene.issued("a", Some(ONE), "issued");
        let slow = scene.take(ONE, NOW);
        let late = scene.drafted(&slow, NOW);
        let late = scene.compared(&slow, late, NOW);
        scene.revoke(a, Superseded, NOW);
        let fast = scene.publish(ONE, NOW);
        assert!(!scene.store.publish_crl(slow.id, &late, NOW).unwrap(), "it was compared with nothing");
        let (number, der) = scene.store.published_crl(scene.place(ONE).id).unwrap().unwrap();
        assert_eq!((number, der.as_slice()), (fast.number(), fast.der()));
        // The same with a comparison behind it.
        let (slow, other) = (scene.take(ONE, NOW + 1), scene.take(ONE, NOW + 1));
        let [late, soon] = [&slow, &other].map(|turn| scene.compared(turn, scene.drafted(turn, NOW + 1), NOW + 1));
        assert!(scene.store.publish_crl(other.id, &soon, NOW + 1).unwrap());
        assert!(!scene.store.publish_crl(slow.id, &late, NOW + 1).unwrap());
        assert_eq!(scene.place(ONE).published.unwrap().number, soon.crl().number());
        // Under another's number nothing is published.
        let refusal = scene.store.publish_crl(slow.id, &soon, NOW + 1).unwrap_err();
        assert!(refusal.to_string().contains("number"), "{refusal}");
    }

    fn who_is_at_work_is_left_alone(bench) {
        let scene = Scene::on(bench);
        let (key_id, one, two) = (scene.key_id(), scene.place(ONE).id, scene.place(TWO).id);
        let take = |place, now, since| scene.store.take_crl_number(key_id, place, now, since).unwrap();
        let first = take(one, NOW, Some(NOW - 30)).unwrap();
        assert!(take(one, NOW + 5, Some(NOW - 25)).is_none());
        assert!(take(two, NOW + 5, Some(NOW - 25)).is_some(), "another place");
        let next = take(one, NOW + 31, Some(NOW)).unwrap();
        assert_eq!(next.number.get(), first.number.get() + 2, "who is left alone costs no number");
        scene.publish(ONE, NOW + 40);
        assert!(take(one, NOW + 41, Some(NOW)).is_some(), "what was overtaken is nobody's work");
    }

    fn a_url_keeps_its_kind(bench) {
        let scene = Scene::on(bench);
        let other = [(ONE.to_owned(), CrlScope::Complete)];
        let refusal = scene.store.add_crl_points(scene.key_id(), &other).unwrap_err();
        assert!(matches!(&refusal, StoreError::Unusable(text) if text.contains(ONE)), "{refusal}");
        // A place that nobody made, but a revoked certificate carries, is made.
        let a = scene.issued("a", Some("http://old.example.net/x.crl"), "issued");
        scene.revoke(a, Superseded, NOW);
        scene.store.add_crl_points(scene.key_id(), &[]).unwrap();
        assert_eq!(scene.publish("http://old.example.net/x.crl", NOW).entries().len(), 1);
    }

    fn the_tables_of_crls_defend_themselves(bench) {
        let scene = Scene::on(bench);
        let a = scene.issued("a", Some(ONE), "issued");
        let b = scene.issued("b", Some(ONE), "issued");
        scene.revoke(a, Superseded, NOW);
        let drafted = |this_update: i64, steps: i64| {
            let turn = scene.take(ONE, NOW);
            let drafted = DraftedCrl {
                this_update,
                next_update: NOW + DAY,
                entries: 1,
                steps,
                tbs_sha256: [1; 32],
                base: None,
            };
            scene.store.draft_crl(turn.id, &drafted).unwrap();
            turn.id
        };
        let before = drafted(NOW, 1);
        scene.publish(ONE, NOW);
        let (next, earlier, poorer) = (drafted(NOW, 1), drafted(NOW - 1, 1), drafted(NOW, 0));
        let burnt = scene.take(ONE, NOW + 2);
        let place = scene.place(ONE).id;
        let publish = |crl: i64, column: &str, value: &str| {
            let columns = ["number", "this_update", "next_update", "entries", "steps"].map(|name| {
                let value = if name == column { value.to_owned() } else { format!("(SELECT {name} FROM crl WHERE id = {crl})") };
                format!("{name} = {value}")
            });
            let also = if ["url", "complete"].contains(&column) { format!(", {column} = {value}") } else { String::new() };
            run(bench, &format!("UPDATE crl_point SET crl_id = {crl}, {}{also} WHERE id = {place}", columns.join(", ")))
        };
        let entry = |issuer: &str, serial: &str, end: &str| {
            run(bench, &format!(
                "INSERT INTO crl_entry (certificate_id, issuer_key_id, serial, not_after) \
                 SELECT id, {issuer}, {serial}, {end} FROM certificate WHERE id = {b}"
            ))
        };
        let number = |number: &str| {
            run(bench, &format!(
                "INSERT INTO crl (issuer_key_id, number, crl_point_id, created_at) \
                 SELECT issuer_key_id, {number}, id, 0 FROM crl_point WHERE id = {place}"
            ))
        };
        let refused = [
            ("in the list of its crl", run(bench, &format!(
                "INSERT INTO revocation (certificate_id, step, state, reason, at, since, actor, comment) \
                 VALUES ({b}, 1, 'revoked', 'superseded', 0, 0, '', '')"
            ))),
            ("what the certificate says", entry("profile_sha256", "serial", "not_after")),
            ("what the certificate says", entry("issuer_key_id", "issuer_key_id", "not_after")),
            ("what the certificate says", entry("issuer_key_id", "serial", "not_after + 1")),
            ("final", run(bench, "UPDATE crl_entry SET crl_url = NULL")),
            ("kept", run(bench, "DELETE FROM crl_entry")),
            ("numbers of crls grow", run(bench, "UPDATE crl_sequence SET number = number - 1")),
            ("numbers of crls grow", run(bench, "UPDATE crl_sequence SET number = number")),
            ("kept", run(bench, "DELETE FROM crl_sequence")),
            ("numbers of crls grow", number(&burnt.number.get().to_string())),
            ("numbers of crls grow", number(&(burnt.number.get() + 1).to_string())),
            ("numbers of crls grow", number("1")),
            ("crl: rows are final", run(bench, "UPDATE crl SET tbs_sha256 = NULL WHERE tbs_sha256 IS NOT NULL")),
            ("crl: rows are final", run(bench, &format!("UPDATE crl SET entries = 0 WHERE id = {next}"))),
            ("crl: rows are final", run(bench, &format!("UPDATE crl SET number = 99 WHERE id = {}", burnt.id))),
            ("kept", run(bench, "DELETE FROM crl")),
            ("a newer one only", publish(before, "", "")),
            ("a newer one only", publish(earlier, "", "")),
            ("a newer one only", publish(poorer, "", "")),
            ("published", run(bench, "UPDATE crl_point SET crl_id = NULL, number = NULL, this_update = NULL, \
                next_update = NULL, entries = NULL, steps = NULL, published_at = NULL, der = NULL")),
            ("written down before", publish(next, "number", "99")),
            ("written down before", publish(next, "this_update", "this_update + 7")),
            ("written down before", publish(next, "next_update", "next_update + 7")),
            ("written down before", publish(next, "entries", "7")),
            ("written down before", publish(next, "steps", "7")),
            ("the place stays", publish(next, "url", "'x'")),
            ("the place stays", publish(next, "complete", "1")),
            ("kept", run(bench, "DELETE FROM crl_point")),
            ("unique", run(bench, "INSERT INTO crl_point (issuer_key_id, url, complete) SELECT issuer_key_id, url, 0 \
                FROM crl_point")),
            ("before something is published", run(bench, "INSERT INTO crl_point (issuer_key_id, url, complete, crl_id, \
                number, this_update, next_update, entries, steps, published_at, der) SELECT issuer_key_id, 'new', 0, \
                crl_id, number, this_update, next_update, entries, steps, published_at, der FROM crl_point \
                WHERE crl_id IS NOT NULL")),
        ];
        for (n, (word, refusal)) in refused.into_iter().enumerate() {
            let text = refusal.expect_err(word);
            assert!(text.to_lowercase().contains(word), "{n}: {word}\n{text}");
        }
        // The same moves are free where they are meant to be.
        entry("issuer_key_id", "serial", "not_after").unwrap();
        publish(next, "", "").unwrap();
        if bench.is_postgres() {
            for table in ["crl_entry", "crl", "crl_point"] {
                let refusal = run(bench, &format!("TRUNCATE {table} CASCADE")).unwrap_err();
                assert!(refusal.contains("kept"), "{refusal}");
            }
        }
    }

    /// What was revoked before there were CRLs is in them.
    fn revocations_of_before_are_entered_at_the_start(bench) {
        let scene = Scene::on(bench);
        let a = scene.issued("a", Some(ONE), "issued");
        scene.revoke(a, Superseded, NOW);
        let triggers = if bench.is_postgres() {
            "ALTER TABLE crl_entry DISABLE TRIGGER crl_entry_kept"
        } else {
            "DROP TRIGGER crl_entry_kept"
        };
        run(bench, triggers).unwrap();
        run(bench, "DELETE FROM crl_entry").unwrap();
        let Scene { ca, issuer, store } = scene;
        drop(store);
        let scene = Scene { ca, issuer, store: bench.open() };
        assert_eq!(scene.publish(ONE, NOW).entries().len(), 1);
        assert_eq!(lines(bench, "SELECT crl_url AS line FROM crl_entry"), [ONE]);
    }

    /// Two publishers and a revoker at once: numbers in order, and each CRL lists all that lesser numbers list.
    fn r02_publishers_at_once_see_no_less(bench) {
        const ROUNDS: usize = 25;
        let scene = Scene::on(bench);
        let servers = if bench.is_postgres() { vec![bench.open(), bench.open()] } else { vec![scene.store.clone(); 2] };
        let all: Vec<i64> = (0..2 * ROUNDS).map(|n| scene.issued(&format!("n{n}"), Some(ONE), "issued")).collect();
        let place = scene.place(ONE).id;
        let (barrier, scene) = (Barrier::new(3), &scene);
        let published = std::thread::scope(|scope| {
            let publishers: Vec<_> = servers
                .iter()
                .map(|store| scope.spawn(|| {
                    barrier.wait();
                    (0..ROUNDS)
                        .filter_map(|_| {
                            let turn = store.take_crl_number(scene.key_id(), place, NOW, None).unwrap().unwrap();
                            let crl = scene.drafted(&turn, NOW);
                            // Not one doubt: whoever has the greater number has seen no less.
                            let publishable = scene.compared_or_overtaken(&turn, crl)?;
                            let done = store.publish_crl(turn.id, &publishable, NOW).unwrap();
                            done.then(|| publishable.into_crl())
                        })
                        .collect::<Vec<Crl>>()
                }))
                .collect();
            barrier.wait();
            for certificate in &all {
                scene.revoke(*certificate, Superseded, NOW);
            }
            let mut published: Vec<Crl> = publishers.into_iter().flat_map(|p| p.join().unwrap()).collect();
            published.sort_by_key(Crl::number);
            published
        });
        assert!(published.len() > 1);
        for pair in published.windows(2) {
            let serials = |crl: &Crl| crl.entries().iter().map(|e| e.serial).collect::<BTreeSet<_>>();
            assert!(pair[0].number() < pair[1].number());
            assert!(serials(&pair[0]).is_subset(&serials(&pair[1])));
        }
        let last = scene.store.last_crl_number(scene.key_id()).unwrap().unwrap();
        assert_eq!(usize::try_from(last.get()).unwrap(), 2 * ROUNDS, "none twice, none left out");
        assert_eq!(scene.publish(ONE, NOW).entries().len(), all.len());
    }
}

impl Scene {
    /// Like [`Scene::compared`]; `None` when a greater number is published already.
    fn compared_or_overtaken(&self, turn: &CrlTurn, crl: Crl) -> Option<PublishableCrl> {
        if turn
            .point
            .published
            .is_some_and(|published| published.number > turn.number)
        {
            return None;
        }
        Some(self.compared(turn, crl, NOW))
    }
}
