//! F17: the next version comes while the one before is at work, and goes again.

use std::process::{Child, Output, Stdio};

use device_kit::holder::Holder;
use device_kit::postgres::Cluster;
use device_kit::rig::{Rig, Surroundings, Wanted};
use serde_json::json;

use crate::device::{Device, under_load};
use crate::journal::holds;
use crate::next::Versions;
use crate::three::Three;
use crate::until;

/// `ca-cli db …` of a version.
fn db(rig: &Rig, version: &Surroundings, arguments: &[&str]) -> Output {
    rig.command_of(version, "ca-cli")
        .arg("db")
        .args(arguments)
        .output()
        .unwrap()
}

/// The same, which ends with this, and says that.
pub(crate) fn db_ends(rig: &Rig, version: &Surroundings, arguments: &[&str], code: i32, word: &str) {
    let said = db(rig, version, arguments);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    assert_eq!(said.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(text.contains(word), "{arguments:?}: {text}");
}

/// Arguments of `ca-cli db` that take migrations back.
pub(crate) fn rollback<'a>(database: &'a str, to: &'a str) -> [&'a str; 7] {
    let reason = "back to the version before";
    ["rollback", "--database", database, "--to", to, "--reason", reason]
}

/// A process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Migrations that are there, above those of this version.
const MORE: &str = "SELECT coalesce(string_agg(version, ' ' ORDER BY version), '') FROM __diesel_schema_migrations WHERE version > '00000000000999'";

/// F17: three servers at work; the next version's migrations are killed between two of them and inside of one, go on, and are
/// taken back and made again, with servers of both versions side by side; a migration that the version before cannot live with
/// waits until it is gone. Nobody hears anything but success and later, and nothing is lost.
#[test]
fn f17_the_next_version_comes_and_goes_in_traffic() {
    let cluster = Cluster::start().unwrap();
    let database = cluster.database().unwrap();
    let name = Cluster::name_in(&database).to_owned();
    let three = Three::on(Wanted {
        database: database.clone(),
        ..Wanted::default()
    });
    let newest = cluster
        .sql(&name, "SELECT max(version) FROM __diesel_schema_migrations")
        .unwrap();
    let versions = Versions::of(&three.rig, newest.parse().unwrap());
    let (this, next) = (three.rig.around.clone(), versions.surroundings("next", ""));
    let last = versions.surroundings("last", "");
    let rig = &three.rig;
    let applied = || cluster.sql(&name, MORE).unwrap();
    let both = "00000000001000 00000000001001";
    let back = versions.ours.to_string();
    let rollback = rollback(&database, &back);
    let migrate = ["migrate", "--database", &database];
    let devices = three.with(0, |server| Device::allowed(rig, server, 40));
    let more = |count: usize| {
        three.answers(count);
        three.look();
    };
    let exchanged = |number: usize, version: &Surroundings| three.exchanged(number, version);
    under_load(&three, &three.journal, devices, || {
        more(6);
        // The first of the next version dies between its two migrations.
        assert_eq!(three.stop(0), Some(0));
        assert!(!three.start_as(0, &versions.surroundings("next", "start.migrate:kill:1")));
        let log = || std::fs::read_to_string(rig.path("ca1.log")).unwrap();
        assert_eq!(applied(), "00000000001000", "{}", log());
        more(6);
        // And inside of the second, while it holds a table that all the others ask.
        let mut dies = Ends(
            rig.command_of(&versions.surroundings("slow", ""), "ca-server")
                .arg("--config")
                .arg(rig.path("ca1.toml"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let inside = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        until("it is inside", || cluster.sql("postgres", inside).unwrap() == "1");
        dies.0.kill().unwrap();
        drop(dies);
        more(6);
        assert_eq!(applied(), "00000000001000");
        // It goes on where it was.
        assert!(three.start_as(0, &next));
        three.in_again(0);
        assert_eq!(applied(), both);
        more(6);
        // One of the version before starts on the newer tables, too.
        three.kill(1);
        three.start(1);
        three.in_again(1);
        more(6);

        // Nobody takes away what a server at work needs, or rows.
        db_ends(rig, &next, &rollback, 7, "need migration 1001");
        exchanged(0, &this);
        cluster.sql(&name, "INSERT INTO next_thing (id) VALUES (1)").unwrap();
        db_ends(rig, &next, &rollback, 5, "table next_thing");
        cluster.sql(&name, "DELETE FROM next_thing").unwrap();
        db_ends(rig, &this, &rollback, 1, "of a newer Holdfast");
        // Somebody reads for long: it waits for him, and nobody for it.
        let reader = Holder::of(&database, "SELECT count(*) FROM certificate");
        std::thread::scope(|scope| {
            let rolled = scope.spawn(|| db_ends(rig, &next, &rollback, 0, "1001, 1000"));
            let wants = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'";
            until("it wants the table", || cluster.sql(&name, wants).unwrap() == "1");
            more(12);
            assert!(!rolled.is_finished(), "it waits for who reads");
            drop(reader);
        });
        assert_eq!(applied(), "");
        more(6);
        db_ends(rig, &next, &migrate, 0, "1000, 1001");
        assert_eq!(applied(), both);
        more(6);

        // The next version takes over, one by one.
        exchanged(0, &next);
        more(3);
        db_ends(
            rig,
            &last,
            &migrate,
            7,
            "for servers that know less than migration 1002",
        );
        exchanged(1, &next);
        exchanged(2, &next);
        more(6);
        db_ends(rig, &last, &migrate, 7, "(migration 1001)");
        assert_eq!(applied(), both);
        for number in 0..3 {
            assert_eq!(three.stop(number), Some(0));
        }
        db_ends(rig, &last, &migrate, 0, "1002");
        let refused = three.refuses(0);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{text}");
        assert!(
            text.contains("wants servers that know migration 1002") && text.contains("upgrade.md"),
            "{text}"
        );
        for number in 0..3 {
            assert!(three.start_as(number, &last));
            three.in_again(number);
        }
        more(6);
    });
    let said = "SELECT count(*) FROM audit WHERE action = 'database.rolled_back'";
    assert_eq!(rig.sql(said), "2");
    for number in 0..3 {
        three.with(number, |server| {
            assert!(server.metric("ca_panics_total") < 1.0, "{}", server.log());
            assert!(!server.log().contains("defect"), "{}", server.log());
        });
    }
    holds(rig, &three.shim, &three.journal, &database);
}

/// F17: the same of one server on SQLite, which ends before the other version begins.
#[test]
fn f17_the_next_version_comes_and_goes_on_sqlite() {
    let mut rig = Rig::initialised(&Wanted::default());
    let database = format!("sqlite://{}", rig.path("ca.db").display());
    let url = database.as_str();
    let tables = |rig: &Rig| {
        rig.sql("SELECT group_concat(name || coalesce(sql, ''), ';') FROM (SELECT * FROM sqlite_schema ORDER BY name)")
    };
    let applied =
        |rig: &Rig| rig.sql("SELECT count(*) FROM __diesel_schema_migrations WHERE version > '00000000000999'");
    rig.start();
    let journal = crate::journal::Journal::of(&rig);
    let enroll = |rig: &Rig| {
        for mut device in Device::allowed(rig, rig.server(), 1) {
            device.persist(rig, &journal);
        }
    };
    enroll(&rig);
    assert_eq!(rig.stop(), Some(0));
    let newest: u32 = rig
        .sql("SELECT max(version) FROM __diesel_schema_migrations")
        .parse()
        .unwrap();
    let versions = Versions::of(&rig, newest);
    let (this, next) = (Surroundings::default(), versions.surroundings("next", ""));
    let whole = tables(&rig);

    // Half way, and this version goes on with it.
    rig.around = versions.surroundings("next", "start.migrate:kill:1");
    assert!(!rig.try_start());
    assert_eq!(applied(&rig), "1");
    rig.around = this.clone();
    rig.start();
    enroll(&rig);
    let to = newest.to_string();
    let rolled = rollback(url, &to);
    db_ends(&rig, &next, &rolled, 1, "held by another process");
    assert_eq!(rig.stop(), Some(0));
    rig.around = next.clone();
    rig.start();
    enroll(&rig);
    assert_eq!((rig.stop(), applied(&rig).as_str()), (Some(0), "2"));

    // Back, killed half way, and on.
    let half = versions.surroundings("next", "start.migrate:kill:1");
    assert!(!db(&rig, &half, &rolled).status.success());
    assert_eq!(applied(&rig), "1");
    db_ends(&rig, &next, &rolled, 0, "1000");
    assert_eq!(tables(&rig), whole, "as it was");
    // The real ones, too.
    db_ends(&rig, &this, &rollback(url, "22"), 0, "24, 23");
    db_ends(&rig, &this, &rollback(url, "21"), 1, "no way back");
    let said = db(&rig, &this, &["migrate", "--database", url, "-o", "json"]);
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["run"], json!([23, 24]), "{said}");
    assert_eq!(tables(&rig), whole);
    rig.around = this.clone();
    rig.start();
    enroll(&rig);
    assert_eq!(rig.stop(), Some(0));
    db_ends(&rig, &this, &["verify", "--database", url], 0, "It holds together.");

    // One that this version cannot live with.
    let last = versions.surroundings("last", "");
    db_ends(&rig, &last, &["migrate", "--database", url], 0, "1002");
    let refused = rig.refuses_to_start();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{text}");
    assert!(text.contains("wants servers that know migration 1002"), "{text}");
}
