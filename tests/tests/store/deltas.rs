//! Delta CRLs in the record: beside exactly their base, overtaken and overtaking, on tables that hold it by themselves.

use attest::UnixTime;
use issuance::Crl;
use issuance::crl::{CrlDraft, DeltaSpec, Mark, PublishableDelta, RawCrl, Released, compare_delta};
use schema::{CrlTurn, DraftedCrl};
use wire::revocation::RevocationReason::{CertificateHold, Superseded};

use crate::crls::{ALL, DAY, ONE, Scene, TWO};
use crate::kit::*;
use crate::raw::run;

impl Scene {
    fn read(&self, der: &[u8]) -> Crl {
        RawCrl::decode(der.to_vec()).unwrap().verify(&self.issuer).unwrap()
    }

    fn delta_drafted(&self, turn: &CrlTurn, now: i64) -> Crl {
        let base = self.read(turn.previous.as_ref().unwrap());
        let released = turn.left.iter().filter_map(|(serial, known)| {
            let at = known.released?;
            Some(Released { serial: *serial, at })
        });
        let spec = DeltaSpec {
            base: &base,
            number: turn.number,
            this_update: UnixTime(now),
            next_update: UnixTime(now + DAY),
            revoked: turn.revoked.clone(),
            released: released.collect(),
        };
        let linted = CrlDraft::delta(spec, &self.issuer).unwrap().lint().unwrap();
        let drafted = DraftedCrl {
            this_update: now,
            next_update: now + DAY,
            entries: i64::try_from(linted.entries()).unwrap(),
            steps: turn.steps,
            tbs_sha256: linted.tbs_sha256(),
            base: Some(base.number()),
        };
        self.store.draft_crl(turn.id, &drafted).unwrap();
        linted.sign(&self.ca).unwrap()
    }

    fn delta_compared(&self, turn: &CrlTurn, crl: Crl, now: i64) -> PublishableDelta {
        let base = self.read(turn.previous.as_ref().unwrap());
        let previous = turn.previous_delta.as_ref().map(|der| self.read(der));
        let known = |serial| turn.left.get(&serial).copied();
        compare_delta(&base, previous.as_ref(), crl, UnixTime(now), known).unwrap()
    }

    fn publish_delta(&self, url: &str, now: i64) -> Crl {
        let turn = self.take(url, now);
        let publishable = self.delta_compared(&turn, self.delta_drafted(&turn, now), now);
        assert!(self.store.publish_delta(turn.id, &publishable, now).unwrap());
        publishable.into_crl()
    }
}

fn marks(crl: &Crl) -> Vec<Mark> {
    crl.entries().iter().map(|entry| entry.mark).collect()
}

both! {
    fn a_delta_says_what_differs(bench) {
        let scene = Scene::on(bench);
        let a = scene.issued("a", Some(ONE), "issued");
        let b = scene.issued("b", Some(ONE), "issued");
        scene.revoke(a, CertificateHold, NOW);
        scene.publish(ONE, NOW);
        assert_eq!(scene.place(ONE).delta, None);
        scene.revoke(b, Superseded, NOW + 1);
        let two = scene.publish_delta(ONE, NOW + 2);
        assert_eq!(marks(&two), [Mark::Revoked(Superseded)]);
        let place = scene.place(ONE);
        let out = place.delta.unwrap();
        assert_eq!((out.base.get(), out.published.number, out.published.entries), (1, two.number(), 1));
        assert_eq!((out.published.steps, place.steps(), place.published.unwrap().steps), (2, 2, 1));
        let (number, der) = scene.store.published_delta(place.id).unwrap().unwrap();
        assert_eq!((number, der.as_slice()), (two.number(), two.der()));
        scene.store.release(a, "", &audit(NOW + 3, "certificate.released", "x")).unwrap();
        let three = scene.publish_delta(ONE, NOW + 4);
        assert!(marks(&three).contains(&Mark::Removed) && three.entries().len() == 2);
        // Other places have their own.
        assert!(scene.store.published_delta(scene.place(TWO).id).unwrap().is_none());
        assert_eq!(scene.place(ALL).delta, None);
    }

    /// Who compared with what is not out any more does not publish, complete or delta.
    fn r02_only_beside_what_it_was_compared_with(bench) {
        let scene = Scene::on(bench);
        let a = scene.issued("a", Some(ONE), "issued");
        scene.publish(ONE, NOW);
        // Two deltas at once.
        let (slow, fast) = (scene.take(ONE, NOW + 1), scene.take(ONE, NOW + 1));
        let [late, soon] = [&slow, &fast].map(|turn| scene.delta_compared(turn, scene.delta_drafted(turn, NOW + 1), NOW + 1));
        assert!(scene.store.publish_delta(fast.id, &soon, NOW + 1).unwrap());
        assert!(!scene.store.publish_delta(slow.id, &late, NOW + 1).unwrap());
        // A delta, and a complete CRL that was compared without it: the later number wins, and each says all it must.
        scene.revoke(a, Superseded, NOW + 2);
        let complete = scene.take(ONE, NOW + 3);
        let whole = scene.compared(&complete, scene.drafted(&complete, NOW + 3), NOW + 3);
        let delta = scene.publish_delta(ONE, NOW + 3);
        assert!(!scene.store.publish_crl(complete.id, &whole, NOW + 3).unwrap());
        assert_eq!(scene.place(ONE).delta.unwrap().published.number, delta.number());
        // A delta on the base of before.
        let late = scene.take(ONE, NOW + 4);
        let on_one = scene.delta_compared(&late, scene.delta_drafted(&late, NOW + 4), NOW + 4);
        let whole = scene.publish(ONE, NOW + 5);
        assert!(!scene.store.publish_delta(late.id, &on_one, NOW + 5).unwrap());
        assert_eq!((whole.entries().len(), scene.place(ONE).delta.unwrap().base.get()), (1, 1));
        assert_eq!(scene.publish_delta(ONE, NOW + 6).base(), Some(whole.number()));
    }

    fn who_makes_a_complete_crl_is_left_alone_by_who_makes_deltas(bench) {
        let scene = Scene::on(bench);
        let place = scene.place(ONE).id;
        scene.publish(ONE, NOW);
        let _at_work = scene.take(ONE, NOW + 1);
        let take = |now, since| scene.store.take_crl_number(scene.key_id(), place, now, Some(since)).unwrap();
        assert!(take(NOW + 2, NOW - 30).is_none());
        scene.publish_delta(ONE, NOW + 3);
        assert!(take(NOW + 4, NOW - 30).is_some(), "what a delta overtook is nobody's work");
    }

    fn the_tables_of_deltas_defend_themselves(bench) {
        let scene = Scene::on(bench);
        let a = scene.issued("a", Some(ONE), "issued");
        scene.publish(ONE, NOW);
        scene.revoke(a, Superseded, NOW);
        let place = scene.place(ONE).id;
        let drafted = |this_update: i64, steps: i64, base: u64| {
            let turn = scene.take(ONE, NOW);
            let drafted = DraftedCrl {
                this_update,
                next_update: NOW + DAY,
                entries: 1,
                steps,
                tbs_sha256: [1; 32],
                base: issuance::CrlNumber::new(base).filter(|base| base.get() > 0),
            };
            scene.store.draft_crl(turn.id, &drafted).unwrap();
            turn.id
        };
        let columns = "number, this_update, next_update, entries, steps";
        let insert = |crl: i64, base: &str| {
            run(bench, &format!(
                "INSERT INTO crl_delta (crl_point_id, crl_id, base, {columns}, published_at, der) \
                 SELECT {place}, id, {base}, {columns}, 0, tbs_sha256 FROM crl WHERE id = {crl}"
            ))
        };
        let update = |crl: i64, column: &str, value: &str| {
            let set = ["number", "this_update", "next_update", "entries", "steps", "base"].map(|name| {
                let value = if name == column { value.to_owned() } else { format!("(SELECT {name} FROM crl WHERE id = {crl})") };
                format!("{name} = {value}")
            });
            run(bench, &format!("UPDATE crl_delta SET crl_id = {crl}, {} WHERE crl_point_id = {place}", set.join(", ")))
        };
        let complete = |crl: i64| {
            let set = ["number", "this_update", "next_update", "entries", "steps"]
                .map(|name| format!("{name} = (SELECT {name} FROM crl WHERE id = {crl})"));
            run(bench, &format!("UPDATE crl_point SET crl_id = {crl}, {} WHERE id = {place}", set.join(", ")))
        };
        let before = drafted(NOW + 5, 1, 0);
        let (same_moment, whole) = (drafted(NOW, 1, 1), drafted(NOW + 5, 1, 0));
        let older = drafted(NOW + 5, 1, 1);
        let first = drafted(NOW + 5, 1, 1);
        let (earlier, poorer, next) = (drafted(NOW + 4, 1, 1), drafted(NOW + 5, 0, 1), drafted(NOW + 6, 1, 1));
        let elsewhere = drafted(NOW + 6, 1, 2);
        let mut refused = vec![
            ("stands on the published", insert(same_moment, "1")),
            ("stands on the published", insert(elsewhere, "2")),
            ("written down before", insert(whole, "1")),
            ("check", run(bench, &format!("UPDATE crl SET base = number, tbs_sha256 = {} , this_update = 1, next_update = 2, \
                entries = 0, steps = 0 WHERE id = {}", if bench.is_postgres() { "'\\x0101010101010101010101010101010101010101010101010101010101010101'" }
                else { "zeroblob(32)" }, scene.take(ONE, NOW).id))),
        ];
        insert(first, "1").unwrap();
        refused.extend([
            ("unique", insert(next, "1")),
            ("replaced by a newer", update(older, "", "")),
            ("replaced by a newer", update(earlier, "", "")),
            ("replaced by a newer", update(poorer, "", "")),
            ("written down before", update(next, "number", "99")),
            ("written down before", update(next, "this_update", "this_update + 7")),
            ("written down before", update(next, "next_update", "next_update + 7")),
            ("written down before", update(next, "entries", "7")),
            ("written down before", update(next, "steps", "7")),
            ("stands on the published", update(elsewhere, "", "")),
            ("kept", run(bench, "DELETE FROM crl_delta")),
            ("newer than the delta", complete(before)),
            ("written down before", complete(next)),
        ]);
        for (n, (word, refusal)) in refused.into_iter().enumerate() {
            let text = refusal.expect_err(word).to_lowercase();
            assert!(text.contains(word), "{n}: {word}\n{text}");
        }
        // The same moves are free where they are meant to be.
        update(next, "", "").unwrap();
        complete(drafted(NOW + 6, 1, 0)).unwrap();
        if bench.is_postgres() {
            let refusal = run(bench, "TRUNCATE crl_delta").unwrap_err();
            assert!(refusal.contains("kept"), "{refusal}");
        }
    }
}
