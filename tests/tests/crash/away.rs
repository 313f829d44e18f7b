//! H05, S01: the token, the database or a neighbour goes away under load, and comes back or does not.

use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;

use device_kit::postgres::Cluster;
use device_kit::rig::{Rig, Wanted};
use wire::problem::ProblemCode;

use crate::load::{Enrollee, Journal, Step, all_persist, until};
use crate::record::holds;

/// The folder of the token is moved away while the server serves, and moved back.
#[test]
fn h05_the_token_goes_away_and_comes_back() {
    let wanted = Wanted::default()
        .set("hsm", "login_backoff", "200ms")
        // Its return is not waited for that long.
        .set("hsm", "probe_interval", "10m")
        .set("enrollment", "sign_deadline", "2s");
    let rig = Rig::with(&wanted);
    let (client, journal) = (rig.client(), Journal::default());
    let mut enrollees = Enrollee::allowed(&rig, 6);
    let [first, second, waiting @ ..] = enrollees.as_mut_slice() else {
        panic!("six");
    };
    first.begin(&client, &journal);
    assert_eq!(first.activate(&client, &journal), Step::Done);
    second.begin(&client, &journal);
    waiting[0].begin(&client, &journal);
    assert_eq!(rig.monitor("/readyz").0, 200);

    std::fs::rename(rig.path("tokens"), rig.path("tokens-away")).unwrap();
    // Whoever comes first finds it out. Its serial is burnt: nobody can tell whether it was signed.
    assert_eq!(second.activate(&client, &journal), Step::Again);
    assert_eq!(journal.heard(ProblemCode::SignerUnavailable.as_str()), 1);
    let (status, said) = rig.monitor("/readyz?verbose");
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("[-] signer"), "{said}");
    // All others are told so before anything is recorded.
    let rows = rig.rows();
    for number in 2..6 {
        waiting[0].activate(&client, &journal);
        waiting[1].begin(&client, &journal);
        let heard = journal.heard(ProblemCode::SignerUnavailable.as_str());
        assert_eq!(heard, 2 * number - 1, "both are told that the signer is away");
    }
    assert!(waiting[1].tries.is_empty());
    let certificates = |rows: &device_kit::rig::Rows| rows.get("certificate").copied();
    assert_eq!(
        certificates(&rig.rows()),
        certificates(&rows),
        "no serial is burnt in vain"
    );
    assert_eq!(rig.rows().get("enrollment"), rows.get("enrollment"));
    // What was issued is served.
    assert_eq!(first.activate(&client, &journal), Step::Done);

    std::fs::rename(rig.path("tokens-away"), rig.path("tokens")).unwrap();
    until("ready again", || rig.monitor("/readyz").0 == 200);
    all_persist(&[client], &mut enrollees, &journal);
    let orphans = holds(&rig, &mut enrollees, None);
    assert_eq!(orphans.len(), 1, "the one that found it out");
    assert_eq!(journal.heard("lost"), 0, "without a restart");
}

/// PostgreSQL is stopped as by a crash under load, three times, and started again.
#[test]
fn s01_postgres_goes_away_and_comes_back() {
    let cluster = Cluster::start().unwrap();
    let wanted = Wanted {
        database: cluster.database().unwrap(),
        ..Wanted::default()
    };
    let wanted = wanted
        .set("enrollment", "sign_deadline", "2s")
        .set("database", "connect_timeout", "1s");
    let mut rig = Rig::with(&wanted);
    let mut everybody = Vec::new();
    for enough in [2, 5, 9] {
        let mut enrollees = Enrollee::allowed(&rig, 16);
        let journal = Journal::default();
        std::thread::scope(|scope| {
            scope.spawn(|| all_persist(&[rig.client()], &mut enrollees, &journal));
            until("answers", || journal.answered.load(Ordering::SeqCst) >= enough);
            cluster.crash().unwrap();
            until("devices are told", || {
                journal.heard(ProblemCode::StorageUnavailable.as_str()) >= 6
            });
            let (status, said) = rig.monitor("/readyz?verbose");
            assert_eq!(status, 503, "{said}");
            assert!(said.contains("[-] database"), "{said}");
            cluster.up().unwrap();
        });
        until("ready again", || rig.monitor("/readyz").0 == 200);
        assert_eq!(
            journal.heard("lost"),
            0,
            "the server answers whatever befalls its database"
        );
        assert_eq!(journal.heard("internal"), 0);
        everybody.extend(enrollees);
        holds(&rig, &mut everybody, None);
    }
    assert!(rig.is_alive(), "without a restart");
}

/// Two servers on one database: one is killed under load, and every device ends at the other.
#[test]
fn s01_the_other_server_finishes() {
    let wanted = Wanted::postgres().set("enrollment", "sign_deadline", "2s");
    let rig = Rig::with(&wanted);
    let second = rig.replica("second");
    let mut enrollees = Enrollee::allowed(&rig, 24);
    let journal = Journal::default();
    // Questions of the one that will be killed: it is the other that has to believe the answers.
    let doomed = second.client();
    let (early, late) = enrollees.split_at_mut(8);
    for enrollee in early.iter_mut() {
        enrollee.begin(&doomed, &journal);
    }
    let clients = [doomed, rig.client()];
    let (killed, dead) = channel();
    std::thread::scope(|scope| {
        let (clients, journal) = (&clients, &journal);
        scope.spawn(|| all_persist(clients, late, journal));
        scope.spawn(move || {
            // Not before the other is gone.
            dead.recv().unwrap();
            all_persist(clients, early, journal);
        });
        until("answers", || journal.answered.load(Ordering::SeqCst) >= 4);
        second.strike();
        killed.send(()).unwrap();
    });
    assert!(journal.heard("lost") > 0, "it was killed under load");
    holds(&rig, &mut enrollees, None);
    assert_eq!(rig.monitor("/readyz").0, 200);
}
