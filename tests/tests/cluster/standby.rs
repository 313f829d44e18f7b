//! PostgreSQL with standbys, looked at through the store alone.

use std::time::{Duration, Instant};

use attest::UnixTime;
use device_kit::postgres::Cluster;
use device_kit::rig::{Rig, Wanted};
use issuance::AuditRecord;
use schema::vault::Shortfall;
use schema::{Store, StoreError, StoreOptions};

use crate::until;

/// Every one of them may be the standby that is waited for, whichever writes.
pub(crate) const NAMES: &str = "synchronous_standby_names = 'FIRST 1 (a, b, c)'\n";

/// A primary that waits for its standby, which is there.
fn pair() -> (Cluster, Cluster, String) {
    let a = Cluster::start().unwrap();
    let url = a.database().unwrap();
    let b = a.standby("b", &[]).unwrap();
    a.append_settings(NAMES).unwrap();
    a.reload().unwrap();
    waited_for(&a);
    (a, b, url)
}

/// A standby is the one that is waited for.
pub(crate) fn waited_for(primary: &Cluster) {
    until("a standby is waited for", || {
        let count = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        primary.sql("postgres", count).unwrap() == "1"
    });
}

fn required() -> StoreOptions {
    StoreOptions {
        readers: 2,
        connect_timeout: Duration::from_secs(2),
        synchronous: true,
        ..StoreOptions::default()
    }
}

fn record(subject: &str) -> AuditRecord {
    AuditRecord {
        at: UnixTime(1_800_000_000),
        action: "test".to_owned(),
        actor: "test".to_owned(),
        subject: subject.to_owned(),
        reason: String::new(),
        detail: String::new(),
    }
}

fn subjects(store: &Store) -> Result<Vec<String>, StoreError> {
    let filter = schema::AuditFilter::default();
    Ok(store
        .audit_entries(&filter, 9)?
        .into_iter()
        .map(|r| r.subject.clone())
        .collect())
}

/// S04: each setting that lets PostgreSQL answer before a standby has it, alone, is refused by the real server at its start,
/// and stops writing when it comes later.
#[test]
fn s04_a_postgres_that_does_not_wait_is_refused() {
    let (a, _b, url) = pair();
    let name = Cluster::name_in(&url).to_owned();
    let wanted = Wanted {
        database: url.clone(),
        ..Wanted::default()
    };
    let mut rig = Rig::with(&wanted.set("database", "synchronous", "required"));
    assert_eq!(rig.stop(), Some(0));
    let refused = |word: &str| {
        let said = rig.refuses_to_start();
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(78), "{word}: {text}");
        assert!(text.contains(word), "{word}: {text}");
    };
    for value in ["local", "remote_write"] {
        let set = format!("ALTER DATABASE {name} SET synchronous_commit = {value}");
        a.sql("postgres", &set).unwrap();
        refused(&format!("synchronous_commit is {value}"));
    }
    a.sql("postgres", &format!("ALTER DATABASE {name} RESET synchronous_commit"))
        .unwrap();
    a.append_settings("synchronous_standby_names = ''\n").unwrap();
    a.reload().unwrap();
    until("nobody is waited for", || {
        a.sql("postgres", "SHOW synchronous_standby_names").unwrap().is_empty()
    });
    refused("synchronous_standby_names is empty");
    // All of it is PostgreSQL's own business where it is not required.
    rig.configure(&[("database".into(), "synchronous".into(), "optional".into())]);
    rig.start();
    assert_eq!(rig.stop(), Some(0));

    rig.configure(&[("database".into(), "synchronous".into(), "required".into())]);
    a.append_settings(NAMES).unwrap();
    a.reload().unwrap();
    waited_for(&a);
    rig.start();
    assert_eq!(rig.monitor("/readyz").0, 200);
    a.append_settings("synchronous_standby_names = ''\n").unwrap();
    a.reload().unwrap();
    until("it is noticed", || {
        let (status, said) = rig.monitor("/readyz?verbose");
        status == 503 && said.contains("synchronous_standby_names is empty")
    });
    a.append_settings(NAMES).unwrap();
    a.reload().unwrap();
    until("it is set right", || rig.monitor("/readyz").0 == 200);
}

/// S04: a primary that crashed while it waited for its standby shows, once it is up again, what no standby has. Nobody is told
/// of it before a standby has it.
#[test]
fn s04_what_no_standby_has_is_not_told() {
    let (a, b, url) = pair();
    let store = Store::open(&url, &required()).unwrap();
    store.audit(&record("before")).unwrap();
    b.crash().unwrap();
    let name = Cluster::name_in(&url).to_owned();
    let asked = "SELECT count(*) FROM audit WHERE subject = 'doubtful'";
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| store.audit(&record("doubtful")));
        until("it waits for its standby", || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            a.sql("postgres", waiting).unwrap() != "0"
        });
        a.crash().unwrap();
        a.up().unwrap();
        assert_eq!(a.sql(&name, asked).unwrap(), "1", "it is there, past the server");
        let told = writing.join().unwrap();
        assert!(matches!(told, Err(StoreError::Unknown(_))), "{told:?}");
    });
    let told = subjects(&store);
    assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
    let begun = Instant::now();
    let opened = Store::open(&url, &required());
    assert!(
        matches!(&opened, Err(StoreError::Unavailable(why)) if why.contains("no standby confirms")),
        "{opened:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(30), "and that is said in time");
    b.up().unwrap();
    until("a standby has it", || {
        subjects(&store).is_ok_and(|told| told.contains(&"doubtful".to_owned()))
    });
    assert_eq!(b.sql(&name, asked).unwrap(), "1");
    store.audit(&record("after")).unwrap();
}

/// F09: a standby took over, and the old primary comes back, no different but for its timeline. Who saw the new one does not go
/// back; who remembers it does not either.
#[test]
fn f09_an_old_primary_that_comes_back_is_not_used() {
    let a = Cluster::start().unwrap();
    let url = a.database().unwrap();
    let name = Cluster::name_in(&url).to_owned();
    let b = a.standby("b", &[]).unwrap();
    let all = Cluster::url_of_all(&name, &[&a, &b]);
    let options = StoreOptions {
        synchronous: false,
        ..required()
    };
    let store = Store::open(&all, &options).unwrap();
    store.audit(&record("one")).unwrap();
    let before = store.mark().unwrap();
    assert_eq!(store.watch().unwrap(), None);
    until("the standby has it", || {
        b.sql(&name, "SELECT count(*) FROM audit")
            .is_ok_and(|count| count == "1")
    });
    a.crash().unwrap();
    b.promote().unwrap();
    let after = store.mark().unwrap();
    assert_eq!(
        (after.entry, after.sha256),
        (before.entry, before.sha256),
        "nothing is lost"
    );
    assert!(after.is_after(&before), "and yet it is later: {after:?}");
    assert_eq!(store.watch().unwrap(), None);

    // The first in the list is the old one again, and every connection is made anew.
    a.up().unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast'";
    let _ = b.sql("postgres", cut).unwrap();
    let told = store.audit(&record("two"));
    assert!(
        matches!(&told, Err(StoreError::Unavailable(why)) if why.contains("an old primary")),
        "{told:?}"
    );
    assert!(subjects(&store).is_err());
    assert_eq!(a.sql(&name, "SELECT count(*) FROM audit").unwrap(), "1");
    // One that starts now knows nothing of that, but for what is remembered.
    let fresh = Store::open(&a.url(&name), &options).unwrap();
    let shortfall = fresh.behind(&after).unwrap();
    assert_eq!(shortfall, Some(Shortfall::Timeline { seen: 2, found: 1 }));
    assert_eq!(fresh.behind(&before).unwrap(), None);
    drop(fresh);

    // Stopped, as it should have been: the store goes on by itself.
    a.crash().unwrap();
    until("it goes on", || store.audit(&record("three")).is_ok());
    assert_eq!(subjects(&store).unwrap(), ["three", "one"]);
}

/// F09: connections to the old primary that are still open end as soon as the new one was seen.
#[test]
fn f09_nothing_is_read_of_the_old_primary_once_the_new_one_was_seen() {
    let a = Cluster::start().unwrap();
    let url = a.database().unwrap();
    let name = Cluster::name_in(&url).to_owned();
    let b = a.standby("b", &[]).unwrap();
    // The new one first: whoever connects anew is led there, once it writes.
    let all = Cluster::url_of_all(&name, &[&b, &a]);
    let options = StoreOptions {
        synchronous: false,
        ..required()
    };
    let store = Store::open(&all, &options).unwrap();
    store.audit(&record("one")).unwrap();
    assert_eq!(subjects(&store).unwrap(), ["one"]);
    until("the standby has it", || {
        b.sql(&name, "SELECT count(*) FROM audit")
            .is_ok_and(|count| count == "1")
    });
    // Both write now. The reader's connection is still the old one's; the writer's ends.
    b.promote().unwrap();
    let newest = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast' \
                  AND query = 'COMMIT'";
    assert_eq!(a.sql("postgres", newest).unwrap(), "t", "the writer's");
    store.audit(&record("two")).unwrap();
    assert_eq!(a.sql(&name, "SELECT count(*) FROM audit").unwrap(), "1");
    assert_eq!(subjects(&store).unwrap(), ["two", "one"], "not of the old one");
}
