//! What a database must be before it may hold the records of a CA.

use std::os::unix::fs::PermissionsExt as _;

use device_kit::postgres::{self, Cluster};
use schema::{Store, StoreError};

use crate::kit::*;
use crate::raw::{lines, run};

/// The words of a refusal to start.
fn unusable(url: &str) -> String {
    match Store::open(url, &options()) {
        Err(StoreError::Unusable(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_known_places_are_opened() {
    for url in [
        "",
        "ca.db",
        "mysql://host/db",
        "sqlite://",
        "sqlite://:memory:",
        "file:ca.db",
    ] {
        unusable(url);
    }
    let directory = tempfile::tempdir().unwrap();
    let missing = format!("sqlite://{}/not/there/ca.db", directory.path().display());
    assert!(unusable(&missing).contains("not/there"));
}

#[test]
fn a_file_has_one_process() {
    let bench = Bench::sqlite();
    let store = bench.open();
    assert!(unusable(&bench.url).contains("held by another process"));
    let clone = store.clone();
    drop(store);
    assert!(
        unusable(&bench.url).contains("held by another process"),
        "a clone holds it too"
    );
    drop(clone);
    bench.open();
}

#[test]
fn a_file_is_private_and_durable() {
    let bench = Bench::sqlite();
    let store = bench.open();
    allow(&store, "x");
    for end in ["", "-wal", "-shm", ".lock"] {
        let mode = std::fs::metadata(format!("{}{end}", bench.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{end}");
    }
    assert_eq!(
        lines(&bench, "SELECT journal_mode AS line FROM pragma_journal_mode"),
        ["wal"]
    );
}

#[test]
fn a_damaged_file_is_not_served() {
    let bench = Bench::sqlite();
    let store = bench.open();
    for n in 0..200 {
        allow(&store, &format!("device-with-a-rather-long-name-{n:04}"));
    }
    drop(store);
    let whole = std::fs::read(bench.path()).unwrap();
    assert!(whole.len() > 20 * 4096);
    // A page in the middle is lost.
    let mut torn = whole.clone();
    let page = torn.len() / 4096 / 2 * 4096;
    torn[page..page + 4096].fill(0);
    std::fs::write(bench.path(), torn).unwrap();
    assert!(unusable(&bench.url).contains("damaged"));
    std::fs::write(bench.path(), vec![0x55; 8192]).unwrap();
    assert!(unusable(&bench.url).contains("damaged"));
    std::fs::write(bench.path(), whole).unwrap();
    assert!(
        bench
            .open()
            .device_by_name("device-with-a-rather-long-name-0199")
            .unwrap()
            .is_some()
    );
}

both! {
    fn tables_of_a_newer_holdfast_are_left_alone(bench) {
        drop(bench.open());
        drop(bench.open());
        run(bench, "INSERT INTO __diesel_schema_migrations (version) VALUES ('99999999999999')").unwrap();
        assert!(unusable(&bench.url).contains("newer Holdfast"));
        run(bench, "DELETE FROM __diesel_schema_migrations WHERE version = '99999999999999'").unwrap();
        bench.open();
    }
}

both! {
    fn f17_each_migration_says_who_may_work_beside_it(bench) {
        drop(bench.open());
        let ours = lines(bench, "SELECT max(version) AS line FROM __diesel_schema_migrations").remove(0);
        let ours: u32 = ours.parse().unwrap();
        run(bench, "INSERT INTO __diesel_schema_migrations (version) VALUES ('00000000009000')").unwrap();
        let says = |oldest: u32| {
            run(bench, "DELETE FROM __holdfast_oldest WHERE version = 9000").unwrap();
            run(bench, &format!("INSERT INTO __holdfast_oldest (version, oldest) VALUES (9000, {oldest})")).unwrap();
        };
        for oldest in [1, ours] {
            says(oldest);
            allow(&bench.open(), &format!("device-{oldest}"));
        }
        says(ours + 1);
        let refused = unusable(&bench.url);
        assert!(refused.contains(&format!("wants servers that know migration {}", ours + 1)), "{refused}");
        assert!(run(bench, "INSERT INTO __holdfast_oldest (version, oldest) VALUES (9001, 9002)").is_err());
    }
}

/// A server that lost its connections looks at the tables before it works on them again.
#[test]
fn f17_tables_that_changed_under_a_server_are_not_worked_on() {
    let bench = Bench::postgres();
    let store = bench.open();
    allow(&store, "one");
    let ours = lines(&bench, "SELECT max(version) AS line FROM __diesel_schema_migrations").remove(0);
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast' AND datname = current_database()";
    for (change, undo, word) in [
        (
            "INSERT INTO __diesel_schema_migrations (version) VALUES ('00000000009000')".to_owned(),
            "DELETE FROM __diesel_schema_migrations WHERE version = '00000000009000'".to_owned(),
            "made by a newer Holdfast",
        ),
        (
            format!("DELETE FROM __diesel_schema_migrations WHERE version = '{ours}'"),
            format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{ours}')"),
            "was taken back",
        ),
    ] {
        run(&bench, &change).unwrap();
        run(&bench, cut).unwrap();
        let told = store.device_by_name("one");
        assert!(
            matches!(&told, Err(StoreError::Unavailable(why)) if why.contains(word)),
            "{told:?}"
        );
        let told = store.latest_time();
        assert!(
            matches!(&told, Err(StoreError::Unavailable(why)) if why.contains(word)),
            "{told:?}"
        );
        run(&bench, &undo).unwrap();
        assert!(store.device_by_name("one").unwrap().is_some(), "it goes on by itself");
    }
}

#[test]
fn servers_that_start_together_migrate_once() {
    for _ in 0..3 {
        let bench = Bench::postgres();
        let stores: Vec<Store> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| bench.open())).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        allow(&stores[0], "x");
        assert!(stores[5].device_by_name("x").unwrap().is_some());
    }
}

#[test]
fn a_postgres_that_forgets_is_refused() {
    let cluster = postgres::shared().unwrap();
    for (sql, word) in [
        (
            "ALTER DATABASE %d SET synchronous_commit = off",
            "synchronous_commit off",
        ),
        (
            "CREATE DATABASE %d_ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
            "SQL_ASCII",
        ),
    ] {
        let bench = Bench::postgres();
        let statement = sql.replace("%d", bench.database());
        cluster.sql("postgres", &statement).unwrap();
        let name = if word == "SQL_ASCII" {
            format!("{}_ascii", bench.database())
        } else {
            bench.database().to_owned()
        };
        assert!(unusable(&cluster.url(&name)).contains(word));
    }
}

#[test]
fn a_postgres_without_fsync_is_refused() {
    let cluster = Cluster::start().unwrap();
    let url = cluster.database().unwrap();
    for setting in ["fsync", "full_page_writes"] {
        cluster.crash().unwrap();
        cluster.append_settings(&format!("{setting} = off\n")).unwrap();
        cluster.up().unwrap();
        assert!(unusable(&url).contains(&format!("{setting} off")));
        cluster.crash().unwrap();
        cluster.append_settings(&format!("{setting} = on\n")).unwrap();
        cluster.up().unwrap();
    }
    Store::open(&url, &options()).unwrap();
}

#[test]
fn a_password_is_never_said() {
    let directory = tempfile::tempdir().unwrap();
    let host = directory.path().display();
    for (url, secret) in [
        (format!("postgres://me:s3cr%65t@/db?host={host}"), "s3cr"),
        (format!("postgres://me:hunter2@/db?host={host}&nonsense=1"), "hunter2"),
        (format!("postgres://me@/db?host={host}&password=hunter2"), "hunter2"),
        ("postgres://me:hunter2@[::bad/db".to_owned(), "hunter2"),
        ("postgres://me:hun/ter2@host:port:5/db".to_owned(), "ter2"),
    ] {
        let Err(error) = Store::open(&url, &options()) else {
            panic!("{url}")
        };
        let said = format!("{error} {error:?}");
        assert!(matches!(error, StoreError::Unavailable(_)), "{said}");
        assert!(!said.contains(secret), "{said}");
    }
    let bench = Bench::postgres();
    assert_eq!(format!("{:?}", bench.open()), "Store");
}
