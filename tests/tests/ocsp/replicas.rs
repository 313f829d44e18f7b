//! Several servers of one CA: what one of them revoked, none of them calls good, from the answer on.

use std::sync::atomic::{AtomicBool, Ordering};

use device_kit::rig::{Rig, Wanted};
use issuance::ocsp::{CertStatus, OcspError, OcspRefusal};

use crate::kit::{Leaf, answering, ask, issuer, post, request, said, status};

/// Both replicas keep a `good` in their caches; the revocation is answered by the first; the second is asked at once. And
/// all the while both are asked without a pause: after the answer none says good.
#[test]
fn no_replica_says_good_after_a_revocation_was_answered() {
    let rig = Rig::with(&answering(Wanted::postgres()));
    let second = rig.replica("second");
    let issuer = issuer(&rig);
    let (one, two) = (status(rig.server()), status(&second));
    assert_ne!(one, two);
    for round in 0..20 {
        let leaf = Leaf::of(&rig, &format!("device-{round}"));
        for at in [one, two] {
            assert_eq!(said(at, &issuer, &leaf), Ok(CertStatus::Good));
        }
        let answered = AtomicBool::new(false);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking: Vec<_> = [one, two, one, two]
                .into_iter()
                .map(|at| {
                    let (issuer, leaf, answered, done) = (&issuer, &leaf, &answered, &done);
                    scope.spawn(move || {
                        let mut after = 0;
                        while !done.load(Ordering::SeqCst) || after == 0 {
                            let late = answered.load(Ordering::SeqCst);
                            let status = said(at, issuer, leaf).unwrap();
                            assert!(
                                !late || status != CertStatus::Good,
                                "good after the answer, round {round}"
                            );
                            after += usize::from(late);
                        }
                        after
                    })
                })
                .collect();
            let _ = rig.cli_json(&["revoke", &leaf.hex, "--reason", "superseded"]);
            answered.store(true, Ordering::SeqCst);
            for at in [two, one, two] {
                assert!(matches!(said(at, &issuer, &leaf), Ok(CertStatus::Revoked { .. })));
            }
            done.store(true, Ordering::SeqCst);
            for asked in asking {
                assert!(asked.join().unwrap() > 0);
            }
        });
    }
    assert!(second.metric("ca_ocsp_answers_total") > 20.0);
}

/// Servers of one CA have one delegate: the second takes what the first made.
#[test]
fn replicas_share_their_delegate() {
    let rig = Rig::with(&answering(Wanted::postgres()));
    let second = rig.replica("second");
    let made = rig.sql("SELECT count(*) FROM certificate WHERE profile = 'ocsp' AND state = 'issued'");
    assert_eq!(made, "1");
    let delegate = |log: &str| {
        let line = log
            .lines()
            .find(|line| line.contains("the OCSP responder"))
            .unwrap()
            .to_owned();
        line.rsplit_once("serial=").unwrap().1[..32].to_owned()
    };
    assert_eq!(delegate(&rig.server().log()), delegate(&second.log()));
}

/// The database is away: nobody knows anything, though an answer was signed a moment ago. It comes back: so does the answer.
#[test]
fn without_a_database_nothing_is_good() {
    let cluster = device_kit::postgres::Cluster::start().expect("PostgreSQL");
    let wanted = Wanted {
        database: cluster.database().unwrap(),
        ..Wanted::default()
    };
    let rig = Rig::with(&answering(wanted.set("database", "connect_timeout", "1s")));
    let (issuer, at) = (issuer(&rig), status(rig.server()));
    let leaf = Leaf::of(&rig, "device");
    assert_eq!(said(at, &issuer, &leaf), Ok(CertStatus::Good));
    cluster.crash().unwrap();
    let later = Err(OcspError::Refused(OcspRefusal::TryLater));
    assert_eq!(said(at, &issuer, &leaf), later);
    cluster.up().unwrap();
    let back = (0..100).any(|_| said(at, &issuer, &leaf) == Ok(CertStatus::Good));
    assert!(back, "the record is back");
}

/// The token is away: what was signed before is used, what was not is for later; nothing revoked is called good.
#[test]
fn without_a_token() {
    let rig = Rig::with(&answering(Wanted::default()));
    let (issuer, at) = (issuer(&rig), status(rig.server()));
    let [kept, fresh] = ["kept", "fresh"].map(|name| Leaf::of(&rig, name));
    let before = ask(at, &issuer, &kept).unwrap();
    let (here, away) = (rig.path("tokens"), rig.path("tokens.away"));
    std::fs::rename(&here, &away).unwrap();
    let later = Err(OcspError::Refused(OcspRefusal::TryLater));
    // SoftHSM may go on for as long as it has its files open; a token that was taken away is away at the next restart.
    let without = said(at, &issuer, &fresh);
    assert!(without == later || without == Ok(CertStatus::Good), "{without:?}");
    assert_eq!(post(at, &request(&issuer, &kept, None)), before.der());
    let _ = rig.cli_json(&["revoke", &kept.hex, "--reason", "superseded"]);
    let after = said(at, &issuer, &kept);
    assert!(
        after == later || matches!(after, Ok(CertStatus::Revoked { .. })),
        "{after:?}"
    );
    std::fs::rename(&away, &here).unwrap();
}
