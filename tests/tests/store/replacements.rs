//! Another TPM for a device: two people, one transaction, and a history that stays.

use issuance::{RecordError, Recorder as _};
use schema::{
    AuditFilter, EkLink, EkShown, KnownBy, NewDeviceError, NewReplacement, NewTpm, ReplaceError, ReplacementState,
    Store,
};
use wire::revocation::RevocationReason;

use crate::kit::*;
use crate::raw::{lines, run};
use crate::third_party::{by_iak, iak};

fn wish(device: &str, new: NewTpm) -> NewReplacement {
    NewReplacement {
        device: device.to_owned(),
        new_tpm: new,
        revocation: RevocationReason::Superseded,
        reason: "board swap".to_owned(),
        expires_at: NOW + 1000,
    }
}

fn by(person: &str, at: i64) -> issuance::AuditRecord {
    issuance::AuditRecord {
        actor: person.to_owned(),
        ..audit(at, "device.replacement", "x")
    }
}

/// A device with a certificate that is issued, one that is an intent, and one that is revoked already.
fn enrolled(store: &Store, device: &str, tpm: &str) {
    allow(store, device);
    let label = |what: &str| format!("{device} {what}");
    for profile in ["p", "q"] {
        let one = intent(&label(profile), profile, &label(profile));
        let challenge = label(profile);
        store
            .intend(&order(&challenge, device, tpm), std::slice::from_ref(&one))
            .unwrap();
        if profile == "p" {
            store.issued(&id(&challenge), &[signed(&one)]).unwrap();
        }
    }
}

fn revoked(store: &Store, device: &str) -> Vec<Option<RevocationReason>> {
    let rows = store.certificates_of(device).unwrap();
    rows.iter()
        .rev()
        .map(|row| row.not_good().map(|step| step.reason))
        .collect()
}

both! {
    fn two_people_replace_a_tpm(bench) {
        let store = bench.open();
        enrolled(&store, "x", "old");
        let new = NewTpm::Named(digest("new"));
        let asked = store.request_replacement(&wish("x", new), &by("alice", NOW)).unwrap();
        assert_eq!((asked.state, asked.old_ek, asked.new_tpm), (ReplacementState::Pending, digest("old"), new));
        // Nothing happened yet, and asking twice is asking once.
        assert_eq!(revoked(&store, "x"), [None, None]);
        assert_eq!(store.request_replacement(&wish("x", new), &by("alice", NOW + 1)).unwrap(), asked);
        let done = store.decide_replacement(asked.id, true, "seen", &by("bob", NOW + 2)).unwrap();
        assert_eq!((done.state, done.decided_by.as_deref()), (ReplacementState::Approved, Some("bob")));
        assert_eq!(done.comment.as_deref(), Some("seen"));
        assert_eq!(revoked(&store, "x"), [Some(RevocationReason::Superseded); 2]);
        // The intent that was under way is not answered.
        let late = store.issued(&id("x q"), &[signed(&intent("x q", "q", "x q"))]);
        assert_eq!(late, Err(RecordError::Revoked));
        // The same again is the same.
        assert_eq!(store.decide_replacement(asked.id, true, "", &by("bob", NOW + 3)).unwrap(), done);
        let row = store.device_by_name("x").unwrap().unwrap();
        assert_eq!((row.ek_spki_sha256, row.tpm), (Some(digest("new")), None));
        // The old one comes back under no name, nor is it allowed again.
        for (challenge, name) in [("c1", "x"), ("c2", "y")] {
            if name == "y" {
                allow(&store, "y");
            }
            let back = store.intend(&order(challenge, name, "old"), &[intent(challenge, "r", challenge)]);
            assert_eq!(back, Err(RecordError::EkReplaced("x".to_owned())));
        }
        let mut z = open_device("z");
        z.ek_spki_sha256 = Some(digest("old"));
        let refused = store.allow_device(&z, &audit(NOW, "device.allowed", "z"));
        assert!(matches!(&refused, Err(NewDeviceError::EkReplaced(name)) if name == "x"), "{refused:?}");
        // The new one enrolls, with new keys.
        let fresh = intent("n", "p", "new key");
        store.intend(&order("c3", "x", "new"), std::slice::from_ref(&fresh)).unwrap();
        store.issued(&id("c3"), &[signed(&fresh)]).unwrap();
        assert!(store.live_identity("x", "p", NOW).unwrap().is_some());
        // Both are in the history, with what was proven about the old one.
        let eks = store.eks_of("x").unwrap();
        let told: Vec<_> = eks.iter().map(|ek| (ek.ek_spki_sha256, ek.shown, ek.replacement)).collect();
        assert_eq!(
            told,
            [(digest("old"), EkShown::FirstContact, Some(done.id)), (digest("new"), EkShown::Named, None)]
        );
        assert_eq!(eks[0].tpm.as_ref().unwrap().model, "ST33");
        let subject = Some("x".to_owned());
        let actions: Vec<_> = store.audit_entries(&AuditFilter { subject }, 9).unwrap();
        assert!(actions.iter().any(|record| record.actor == "bob" && record.action == "certificate.revoked"));
        // And back again, to a third, by others.
        let third = store
            .request_replacement(&wish("x", NewTpm::FirstContact(60)), &by("bob", NOW + 5))
            .unwrap();
        store.decide_replacement(third.id, true, "", &by("alice", NOW + 6)).unwrap();
        let row = store.device_by_name("x").unwrap().unwrap();
        assert_eq!((row.ek_spki_sha256, row.first_contact_until), (None, Some(NOW + 66)));
        for (challenge, tpm) in [("d1", "old"), ("d2", "new")] {
            let back = store.intend(&order(challenge, "x", tpm), &[intent(challenge, "r", challenge)]);
            assert_eq!(back, Err(RecordError::EkReplaced("x".to_owned())), "{tpm}");
        }
        store.intend(&order("d3", "x", "third"), &[intent("d3", "p", "third key")]).unwrap();
        assert_eq!(store.eks_of("x").unwrap().len(), 3);
        assert_eq!(store.replacements(Some("x"), None, 9).unwrap().items.len(), 2);
        assert_eq!(store.replacements(None, None, 1).unwrap().next, Some(third.id));
    }

    fn who_may_decide(bench) {
        let store = bench.open();
        enrolled(&store, "x", "old");
        let new = NewTpm::FirstContact(60);
        let ask = |person: &str, at| store.request_replacement(&wish("x", new), &by(person, at));
        let one = ask("alice", NOW).unwrap();
        let own = store.decide_replacement(one.id, true, "", &by("alice", NOW));
        assert!(matches!(&own, Err(ReplaceError::SamePerson(who)) if who == "alice"), "{own:?}");
        // Another wish waits, of the same person too.
        assert!(matches!(ask("bob", NOW), Err(ReplaceError::Open { id, .. }) if id == one.id));
        let other = NewReplacement { reason: "another".to_owned(), ..wish("x", new) };
        let second = store.request_replacement(&other, &by("alice", NOW));
        assert!(matches!(second, Err(ReplaceError::Open { .. })), "{second:?}");
        // Taken back, and asked for anew.
        let back = store.decide_replacement(one.id, false, "", &by("alice", NOW + 1)).unwrap();
        assert_eq!(back.state, ReplacementState::Rejected);
        let late = store.decide_replacement(one.id, true, "", &by("bob", NOW + 2));
        assert!(matches!(late, Err(ReplaceError::Decided(ReplacementState::Rejected, _))), "{late:?}");
        let two = ask("alice", NOW + 2).unwrap();
        // One second too late; in time, all else being equal, it is carried out.
        let late = store.decide_replacement(two.id, true, "", &by("bob", NOW + 1001));
        assert!(matches!(late, Err(ReplaceError::Expired)), "{late:?}");
        assert_eq!(revoked(&store, "x"), [None, None]);
        store.decide_replacement(two.id, true, "", &by("bob", NOW + 1000)).unwrap();
        let again = store.decide_replacement(two.id, true, "", &by("carol", NOW + 1000));
        assert!(matches!(again, Err(ReplaceError::Decided(ReplacementState::Approved, _))), "{again:?}");
        let rejected = store.decide_replacement(two.id, false, "", &by("bob", NOW + 1000));
        assert!(matches!(rejected, Err(ReplaceError::Decided(..))), "{rejected:?}");
        // Nothing is bound now.
        assert!(matches!(ask("alice", NOW + 500), Err(ReplaceError::NotBound(_))));
        assert!(matches!(store.decide_replacement(99, true, "", &by("bob", NOW)), Err(ReplaceError::NotFound)));
        let nobody = store.request_replacement(&wish("nobody\0", new), &by("bob", NOW));
        assert!(matches!(nobody, Err(ReplaceError::NotFound)), "{nobody:?}");
    }

    fn what_expired_makes_room(bench) {
        let store = bench.open();
        enrolled(&store, "x", "old");
        let new = NewTpm::FirstContact(60);
        let one = store.request_replacement(&wish("x", new), &by("alice", NOW)).unwrap();
        let later = NewReplacement { expires_at: NOW + 5000, ..wish("x", new) };
        let two = store.request_replacement(&later, &by("bob", NOW + 1001)).unwrap();
        assert_ne!(one.id, two.id);
        let one = store.replacement(one.id).unwrap().unwrap();
        assert_eq!((one.state, one.decided_by.as_deref()), (ReplacementState::Expired, Some("server")));
        let late = store.decide_replacement(one.id, true, "", &by("bob", NOW + 1001));
        assert!(matches!(late, Err(ReplaceError::Expired)), "{late:?}");
    }

    fn wishes_that_are_none(bench) {
        let store = bench.open();
        enrolled(&store, "x", "old");
        enrolled(&store, "y", "other");
        let new = NewTpm::FirstContact(60);
        let long = "r".repeat(501);
        let base = wish("x", new);
        for unfit in [
            NewReplacement { reason: " ".to_owned(), ..base.clone() },
            NewReplacement { reason: long, ..base.clone() },
            NewReplacement { reason: "a\nb".to_owned(), ..base.clone() },
            NewReplacement { revocation: RevocationReason::CertificateHold, ..base.clone() },
            NewReplacement { revocation: RevocationReason::CaCompromise, ..base.clone() },
            NewReplacement { expires_at: NOW, ..base.clone() },
            NewReplacement { new_tpm: NewTpm::FirstContact(0), ..base.clone() },
        ] {
            let refused = store.request_replacement(&unfit, &by("alice", NOW));
            assert!(matches!(refused, Err(ReplaceError::Unfit(_))), "{unfit:?} {refused:?}");
        }
        for (ek, of) in [("other", "y"), ("old", "x")] {
            let taken = store.request_replacement(&wish("x", NewTpm::Named(digest(ek))), &by("alice", NOW));
            assert!(matches!(&taken, Err(ReplaceError::EkTaken(name)) if name == of), "{taken:?}");
        }
        // Taken between wish and approval.
        let asked = store
            .request_replacement(&wish("x", NewTpm::Named(digest("new"))), &by("alice", NOW))
            .unwrap();
        let mut z = open_device("z");
        z.ek_spki_sha256 = Some(digest("new"));
        store.allow_device(&z, &audit(NOW, "device.allowed", "z")).unwrap();
        let taken = store.decide_replacement(asked.id, true, "", &by("bob", NOW + 1));
        assert!(matches!(&taken, Err(ReplaceError::EkTaken(name)) if name == "z"), "{taken:?}");
        assert_eq!(revoked(&store, "x"), [None, None]);
        assert_eq!(store.replacement(asked.id).unwrap().unwrap().state, ReplacementState::Pending);
    }

    fn a_compromised_tpm_blocks_its_keys(bench) {
        let store = bench.open();
        enrolled(&store, "x", "old");
        let rows = store.certificates_of("x").unwrap();
        let first = rows.last().unwrap().id;
        store.revoke(first, RevocationReason::Superseded, "", &audit(NOW, "r", "x")).unwrap();
        let compromised = NewReplacement {
            revocation: RevocationReason::KeyCompromise,
            ..wish("x", NewTpm::Named(digest("new")))
        };
        let asked = store.request_replacement(&compromised, &by("alice", NOW)).unwrap();
        store.decide_replacement(asked.id, true, "", &by("bob", NOW + 1)).unwrap();
        assert_eq!(revoked(&store, "x"), [Some(RevocationReason::KeyCompromise); 2]);
        let again = store.intend(&order("c", "x", "new"), &[intent("c", "p", "x p")]);
        assert_eq!(again, Err(RecordError::KeyBlocked));
    }

    fn two_eks_of_one_tpm_are_one_device(bench) {
        let store = bench.open();
        enrolled(&store, "x", "ecc");
        enrolled(&store, "y", "other");
        let ak = digest("ak of ecc");
        let link = |ek: &str, device: &str, ak| EkLink {
            device: device.to_owned(),
            ek_spki_sha256: digest(ek),
            ak_spki_sha256: ak,
            evidence: b"evidence".to_vec(),
        };
        let at = by("device:x", NOW);
        // An AK that nobody saw, one of another device, an EK of another device.
        let closed = Err(RecordError::DeviceNotOpen("x".to_owned()));
        assert_eq!(store.link_ek(&link("rsa", "x", digest("?")), &at), closed);
        let of_x = Err(RecordError::TpmOfAnother("x".to_owned()));
        assert_eq!(store.link_ek(&link("rsa", "y", ak), &at), of_x);
        let of_y = Err(RecordError::EkBoundElsewhere("y".to_owned()));
        assert_eq!(store.link_ek(&link("other", "x", ak), &at), of_y);
        store.link_ek(&link("rsa", "x", ak), &at).unwrap();
        store.link_ek(&link("rsa", "x", ak), &at).unwrap();
        assert_eq!(store.device_by_ek(&digest("rsa")).unwrap().unwrap().name, "x");
        let owner = store.ek_owner(&digest("rsa")).unwrap().unwrap();
        assert_eq!((owner.device.as_str(), owner.shown), ("x", EkShown::SameAk));
        // Neither is another device's.
        let mut z = open_device("z");
        z.ek_spki_sha256 = Some(digest("rsa"));
        let refused = store.allow_device(&z, &audit(NOW, "device.allowed", "z"));
        assert!(matches!(&refused, Err(NewDeviceError::EkTaken(name)) if name == "x"), "{refused:?}");
        allow(&store, "w");
        let elsewhere = store.intend(&order("c1", "w", "rsa"), &[intent("c1", "p", "c1")]);
        assert_eq!(elsewhere, Err(RecordError::EkBoundElsewhere("x".to_owned())));
        // By either the device is served, and stays bound to the first.
        store.intend(&order("c2", "x", "rsa"), &[intent("c2", "r", "c2")]).unwrap();
        assert_eq!(store.device_by_name("x").unwrap().unwrap().ek_spki_sha256, Some(digest("ecc")));
        // Both go together; and so does the AK.
        let asked = store
            .request_replacement(&wish("x", NewTpm::FirstContact(60)), &by("alice", NOW))
            .unwrap();
        store.decide_replacement(asked.id, true, "", &by("bob", NOW + 1)).unwrap();
        for tpm in ["ecc", "rsa"] {
            let back = store.intend(&order(tpm, "x", tpm), &[intent(tpm, "s", tpm)]);
            assert_eq!(back, Err(RecordError::EkReplaced("x".to_owned())), "{tpm}");
        }
        let mut hidden = order("c3", "x", "a third EK of it");
        hidden.device.as_mut().unwrap().ak_spki_sha256 = ak;
        assert_eq!(
            store.intend(&hidden, &[intent("c3", "s", "c3")]),
            Err(RecordError::EkReplaced("x".to_owned()))
        );
        // Without that AK it would have been taken: it came first.
        store.intend(&order("c4", "x", "a third EK of it"), &[intent("c4", "s", "c4")]).unwrap();
    }

    fn an_ak_lives_in_one_tpm(bench) {
        let store = bench.open();
        enrolled(&store, "x", "ecc");
        allow(&store, "y");
        let mut second = order("c", "y", "rsa");
        second.device.as_mut().unwrap().ak_spki_sha256 = digest("ak of ecc");
        let refused = store.intend(&second, &[intent("c", "p", "c")]);
        assert_eq!(refused, Err(RecordError::TpmOfAnother("x".to_owned())));
        // It alone refused.
        store.intend(&order("c", "y", "rsa"), &[intent("c", "p", "c")]).unwrap();
        store.block_key(&digest("ak of z"), "leaked", &audit(NOW, "key.blocked", "k")).unwrap();
        allow(&store, "z");
        let blocked = store.intend(&order("d", "z", "z"), &[intent("d", "p", "d")]);
        assert_eq!(blocked, Err(RecordError::KeyBlocked));
    }

    fn a_tpm_that_is_known_by_its_iak_is_replaced(bench) {
        let store = bench.open();
        allow(&store, "x");
        allow(&store, "y");
        let enroll = |challenge: &str, device: &str, key: &str| {
            let one = intent(challenge, challenge, challenge);
            store.intend(&by_iak(challenge, device, iak(key, None)), std::slice::from_ref(&one))?;
            store.issued(&id(challenge), &[signed(&one)])
        };
        let approve = |device: &str, new: NewTpm, at: i64| {
            let asked = store.request_replacement(&wish(device, new), &by("alice", at)).unwrap();
            store.decide_replacement(asked.id, true, "", &by("bob", at + 1)).unwrap()
        };
        let gone = || {
            let gone = store.iaks_gone("x").unwrap();
            gone.into_iter().map(|one| one.iak_spki_sha256).collect::<Vec<_>>()
        };
        enroll("a", "x", "iak-1").unwrap();
        let first = approve("x", NewTpm::Iak(digest("iak-2")), NOW);
        assert_eq!((first.old_ek, first.old_kind), (digest("iak-1"), KnownBy::Iak));
        assert_eq!(first.new_tpm, NewTpm::Iak(digest("iak-2")));
        assert_eq!(revoked(&store, "x"), [Some(RevocationReason::Superseded)]);
        let row = store.device_by_name("x").unwrap().unwrap();
        assert_eq!((row.ek_spki_sha256, row.iak_spki_sha256), (None, Some(digest("iak-2"))));
        assert_eq!(gone(), [digest("iak-1")]);
        assert_eq!(store.iak_gone(&digest("iak-1")).unwrap().unwrap().replacement, first.id);
        // The old one comes back under no name, nor is it allowed again, nor takes it another's place.
        for (challenge, name) in [("b1", "x"), ("b2", "y")] {
            assert_eq!(enroll(challenge, name, "iak-1"), Err(RecordError::EkReplaced("x".to_owned())), "{name}");
        }
        let mut z = open_device("z");
        z.iak_spki_sha256 = Some(digest("iak-1"));
        let refused = store.allow_device(&z, &audit(NOW, "device.allowed", "z"));
        assert!(matches!(&refused, Err(NewDeviceError::IakReplaced(name)) if name == "x"), "{refused:?}");
        enroll("c", "y", "iak-y").unwrap();
        let ask = |new: NewTpm| store.request_replacement(&wish("y", new), &by("alice", NOW));
        let refused = ask(NewTpm::Iak(digest("iak-1")));
        assert!(matches!(&refused, Err(ReplaceError::IakReplaced(name)) if name == "x"), "{refused:?}");
        let refused = ask(NewTpm::Iak(digest("iak-2")));
        assert!(matches!(&refused, Err(ReplaceError::IakTaken(name)) if name == "x"), "{refused:?}");
        // The new one is the device; and so on, from the one way of being known to the other.
        enroll("d", "x", "iak-2").unwrap();
        approve("x", NewTpm::FirstContact(60), NOW + 10);
        let row = store.device_by_name("x").unwrap().unwrap();
        assert_eq!((row.iak_spki_sha256, row.first_contact_until), (None, Some(NOW + 71)));
        assert_eq!(enroll("e1", "x", "iak-2"), Err(RecordError::EkReplaced("x".to_owned())));
        enroll("e2", "x", "iak-3").unwrap();
        approve("x", NewTpm::Named(digest("tpm")), NOW + 20);
        store.intend(&order("f", "x", "tpm"), &[intent("f", "f", "f")]).unwrap();
        let last = approve("x", NewTpm::Iak(digest("iak-4")), NOW + 30);
        assert_eq!((last.old_ek, last.old_kind), (digest("tpm"), KnownBy::Ek));
        let row = store.device_by_name("x").unwrap().unwrap();
        assert_eq!((row.ek_spki_sha256, row.iak_spki_sha256), (None, Some(digest("iak-4"))));
        enroll("g", "x", "iak-4").unwrap();
        let back = store.intend(&order("h", "x", "tpm"), &[intent("h", "h", "h")]);
        assert_eq!(back, Err(RecordError::EkReplaced("x".to_owned())));
        assert_eq!(gone(), ["iak-1", "iak-2", "iak-3"].map(digest));
        // An EK that became known is how the TPM goes: who asked before asks anew.
        let asked = ask(NewTpm::FirstContact(60)).unwrap();
        store.intend(&by_iak("i", "y", iak("iak-y", Some("ek-y"))), &[intent("i", "i", "i")]).unwrap();
        let refused = store.decide_replacement(asked.id, true, "", &by("bob", NOW + 1));
        assert!(matches!(refused, Err(ReplaceError::Changed)), "{refused:?}");
        store.decide_replacement(asked.id, false, "", &by("bob", NOW + 1)).unwrap();
        assert_eq!(ask(NewTpm::FirstContact(60)).unwrap().old_kind, KnownBy::Ek);
    }

    fn the_tables_keep_an_iak_and_what_went_with_its_tpm(bench) {
        let store = bench.open();
        allow(&store, "x");
        let one = intent("a", "a", "a");
        store.intend(&by_iak("a", "x", iak("iak-1", None)), std::slice::from_ref(&one)).unwrap();
        store.issued(&id("a"), &[signed(&one)]).unwrap();
        let asked = store
            .request_replacement(&wish("x", NewTpm::Iak(digest("iak-2"))), &by("alice", NOW))
            .unwrap();
        let blob = |text: &str| {
            let hex = hex::encode(digest(text));
            if bench.is_postgres() { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") }
        };
        let refuse = |sql: &str, word: &str| {
            let refusal = run(bench, &format!("BEGIN; {sql}; COMMIT")).expect_err(sql).to_lowercase();
            assert!(refusal.contains(&word.to_lowercase()), "{sql}\n{refusal}");
        };
        let change = |to: &str| format!("UPDATE device SET iak_spki_sha256 = {to} WHERE name = 'x'");
        let approve = "UPDATE replacement SET state = 'approved', decided_by = 'bob', decided_at = requested_at";
        // Nobody approved it; another one than the approved; what stands on the old one is good.
        refuse(&change(&blob("iak-2")), "keeps its IAK");
        refuse(&change("NULL"), "keeps its IAK");
        refuse(&format!("{approve}; {}", change(&blob("iak-2"))), "revoked before");
        refuse("UPDATE replacement SET old_kind = 'ek'", "final");
        refuse("UPDATE replacement SET new_kind = 'ek'", "final");
        let again = |old: &str, new: &str| format!(
            "UPDATE replacement SET state = 'rejected', decided_by = 'bob', decided_at = requested_at; \
             INSERT INTO replacement (device_id, old_ek, new_ek, revocation, reason, requested_by, requested_at, \
             expires_at, state, old_kind, new_kind) SELECT device_id, old_ek, new_ek, revocation, reason, requested_by, \
             requested_at, expires_at, 'pending', {old}, {new} FROM replacement"
        );
        refuse(&again("'ek'", "'iak'"), "that is bound");
        refuse(&again("'iak'", "'other'"), "check");
        store.decide_replacement(asked.id, true, "", &by("bob", NOW + 1)).unwrap();
        refuse("UPDATE iak_gone SET replacement_id = replacement_id", "final");
        refuse("DELETE FROM iak_gone", "kept");
        refuse(&change(&blob("iak-3")), "keeps its IAK");
        // Nothing stands on this one: another TPM than the approved one, or none; one that went.
        let mut y = open_device("y");
        y.iak_spki_sha256 = Some(digest("iak-y"));
        store.allow_device(&y, &audit(NOW, "device.allowed", "y")).unwrap();
        store
            .request_replacement(&wish("y", NewTpm::Iak(digest("iak-z"))), &by("alice", NOW))
            .unwrap();
        let approve = format!("{approve} WHERE state = 'pending'");
        let change = |to: &str| format!("UPDATE device SET iak_spki_sha256 = {to} WHERE name = 'y'");
        refuse(&format!("{approve}; {}", change(&blob("iak-3"))), "keeps its IAK");
        refuse(&format!("{approve}; {}", change("NULL")), "keeps its IAK");
        let open = "UPDATE device SET iak_spki_sha256 = NULL, first_contact_until = 1 WHERE name = 'y'";
        refuse(&format!("{approve}; {open}"), "keeps its IAK");
        run(bench, &format!("BEGIN; {approve}; {}; COMMIT", change(&blob("iak-z")))).unwrap();
        let gone: Vec<_> = ["x", "y"].map(|name| store.iaks_gone(name).unwrap().remove(0).iak_spki_sha256).into();
        assert_eq!(gone, ["iak-1", "iak-y"].map(digest));
        let insert = format!(
            "INSERT INTO device (name, held, dns_names, created_at, iak_spki_sha256) SELECT 'z', held, '[]', 0, {} FROM device WHERE name = 'x'",
            blob("iak-1")
        );
        refuse(&insert, "went with its TPM");
        if bench.is_postgres() {
            refuse("TRUNCATE iak_gone", "kept");
        }
    }

    fn two_approvals_at_once_are_one(bench) {
        let store = bench.open();
        for round in 0..8 {
            let name = format!("x{round}");
            enrolled(&store, &name, &format!("old {round}"));
            let asked = store
                .request_replacement(&wish(&name, NewTpm::FirstContact(60)), &by("alice", NOW))
                .unwrap();
            let second = if bench.is_postgres() { bench.open() } else { store.clone() };
            let barrier = std::sync::Barrier::new(2);
            let decide = |store: &Store, who: &str| {
                barrier.wait();
                store.decide_replacement(asked.id, true, "", &by(who, NOW + 1))
            };
            let outcomes = std::thread::scope(|scope| {
                let other = scope.spawn(|| decide(&second, "carol"));
                [decide(&store, "bob"), other.join().unwrap()]
            });
            assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "{outcomes:?}");
            let lost = outcomes.into_iter().find_map(Result::err).unwrap();
            assert!(matches!(lost, ReplaceError::Decided(ReplacementState::Approved, _)), "{lost:?}");
            assert_eq!(revoked(&store, &name), [Some(RevocationReason::Superseded); 2]);
        }
    }

    fn the_tables_hold_it_by_themselves(bench) {
        let store = bench.open();
        enrolled(&store, "x", "old");
        let asked = store
            .request_replacement(&wish("x", NewTpm::Named(digest("new"))), &by("alice", NOW))
            .unwrap();
        let new = hex::encode(digest("new"));
        let blob = |hex: &str| {
            if bench.is_postgres() { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") }
        };
        let own = |device: &str| format!(
            "INSERT INTO ek_owner (ek_spki_sha256, device_id, since, shown) SELECT {}, id, 0, 'named' FROM device \
             WHERE name = '{device}'",
            blob(&new)
        );
        let change = |device: &str, ek: &str| format!(
            "UPDATE device SET ek_spki_sha256 = {}, ek_certificate_sha256 = NULL, manufacturer = NULL, model = NULL, \
             version = NULL, assurance = NULL, anchor = NULL WHERE name = '{device}'",
            blob(ek)
        );
        let refuse = |sql: &str, word: &str| {
            let refusal = run(bench, &format!("BEGIN; {sql}; COMMIT")).expect_err(sql).to_lowercase();
            assert!(refusal.contains(word), "{sql}\n{refusal}");
        };
        // Nobody approved it; the one who asked cannot; nor too late; nor is it changed on the way.
        refuse(&format!("{}; {}", own("x"), change("x", &new)), "keeps its name and its ek");
        let approve = |who: &str, at: i64| {
            format!("UPDATE replacement SET state = 'approved', decided_by = '{who}', decided_at = {at}")
        };
        refuse(&approve("alice", NOW + 1), "check");
        refuse(&approve("bob", NOW + 1001), "check");
        refuse(&format!("{}, requested_by = 'carol'", approve("bob", NOW + 1)), "final");
        refuse("UPDATE replacement SET reason = 'other'", "final");
        refuse("DELETE FROM replacement", "kept");
        refuse("DELETE FROM ek_owner", "kept");
        refuse("UPDATE ek_owner SET since = 1", "final");
        refuse(&format!("UPDATE ek_owner SET replacement_id = {}", asked.id), "final");
        refuse(
            "INSERT INTO replacement (device_id, old_ek, first_contact_for, revocation, reason, requested_by, \
             requested_at, expires_at, state, decided_by, decided_at) SELECT device_id, old_ek, 60, revocation, reason, \
             requested_by, requested_at, expires_at, 'approved', 'bob', requested_at FROM replacement",
            "asked for first",
        );
        refuse(
            "INSERT INTO replacement (device_id, old_ek, first_contact_for, revocation, reason, requested_by, \
             requested_at, expires_at, state) SELECT device_id, old_ek, 60, revocation, reason, \
             requested_by, requested_at, expires_at, 'pending' FROM replacement",
            "unique",
        );
        // Approved, but what stands on the old one is good; and another TPM than the approved one.
        let approved = approve("bob", NOW + 1);
        refuse(&format!("{approved}; {}; {}", own("x"), change("x", &new)), "revoked before");
        assert_eq!(store.replacement(asked.id).unwrap().unwrap().state, ReplacementState::Pending);
        // All is right: carried out.
        store.decide_replacement(asked.id, true, "", &by("bob", NOW + 1)).unwrap();
        refuse("UPDATE replacement SET state = 'rejected'", "final");
        refuse("UPDATE ek_owner SET replacement_id = NULL WHERE replacement_id IS NOT NULL", "final");
        refuse(&change("x", &hex::encode(digest("old"))), "keeps its name and its ek");
        // Nothing stands on this one: another TPM than the approved one; one that is not recorded as its own.
        let mut y = open_device("y");
        y.ek_spki_sha256 = Some(digest("old y"));
        store.allow_device(&y, &audit(NOW, "device.allowed", "y")).unwrap();
        store.request_replacement(&wish("y", NewTpm::Named(digest("new y"))), &by("alice", NOW)).unwrap();
        let (new, other) = (hex::encode(digest("new y")), hex::encode(digest("other")));
        let own = |ek: &str| format!(
            "INSERT INTO ek_owner (ek_spki_sha256, device_id, since, shown) SELECT {}, id, 0, 'named' FROM device \
             WHERE name = 'y'",
            blob(ek)
        );
        let approved = format!("{approved} WHERE state = 'pending'");
        refuse(&format!("{approved}; {}; {}", own(&other), change("y", &other)), "keeps its name and its ek");
        refuse(&format!("{approved}; {}", change("y", &new)), "belongs to it for ever");
        run(bench, &format!("BEGIN; {approved}; {}; {}; COMMIT", own(&new), change("y", &new))).unwrap();
        let shown = lines(bench, "SELECT shown AS line FROM ek_owner ORDER BY id");
        assert_eq!(shown, ["first_contact", "named", "named", "named"]);
        if bench.is_postgres() {
            for table in ["replacement", "ek_owner"] {
                refuse(&format!("TRUNCATE {table} CASCADE"), "kept");
            }
        }
    }
}
