//! A standby takes over while devices enroll.

use std::time::Instant;

use device_kit::postgres::Cluster;
use device_kit::rig::{Rig, Wanted};

use crate::device::{Device, under_load};
use crate::journal::{Journal, holds};
use crate::standby::{NAMES, waited_for};
use crate::three::Three;
use crate::until;

/// Whoever received most takes over.
fn most<'a>(one: &'a Cluster, other: &'a Cluster) -> (&'a Cluster, &'a Cluster) {
    let received = |standby: &Cluster| -> u64 {
        let lsn = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::bigint";
        standby.sql("postgres", lsn).unwrap().parse().unwrap()
    };
    if received(other) > received(one) {
        (other, one)
    } else {
        (one, other)
    }
}

/// F09, S04: the primary dies under load, a synchronous standby takes over, and nothing is lost; the old one comes back as a
/// primary, is not used, and then as the standby that is waited for; it takes over in its turn, and who was the primary
/// meanwhile is rewound to it.
#[test]
fn f09_a_standby_takes_over_and_nothing_is_lost() {
    let a = Cluster::start().unwrap();
    let url = a.database().unwrap();
    let name = Cluster::name_in(&url).to_owned();
    a.append_settings(NAMES).unwrap();
    // So that who has parted can be rewound.
    a.append_settings("wal_keep_size = '512MB'\n").unwrap();
    // Nobody is waited for before there is somebody: `pg_basebackup` brings the settings along.
    let b = a.standby("b", &[&a]).unwrap();
    let c = a.standby("c", &[&a, &b]).unwrap();
    b.follows("b", &[&a, &c]).unwrap();
    b.crash().unwrap();
    b.up().unwrap();
    a.reload().unwrap();
    waited_for(&a);
    let all = Cluster::url_of_all(&name, &[&a, &b, &c]);
    let wanted = Wanted {
        database: all.clone(),
        ..Wanted::default()
    };
    let three = Three::on(
        wanted
            .set("database", "synchronous", "required")
            // Who took over is remembered at once, however seldom all else is.
            .set("anchor", "every", "1h"),
    );
    let devices = three.with(0, |server| Device::allowed(&three.rig, server, 40));
    let more = |count: usize| three.answers(count);
    under_load(&three, &three.journal, devices, || {
        more(10);
        let begun = Instant::now();
        a.crash().unwrap();
        let (new, other) = most(&b, &c);
        new.promote().unwrap();
        let (promoted, before) = (begun.elapsed(), three.journal.received());
        until("devices are served again", || three.journal.received() > before);
        println!("promoted after {promoted:?}, served again after {:?}", begun.elapsed());
        more(10);
        three.look();
        until("the anchor remembers the new timeline", || {
            std::fs::read_to_string(three.rig.path("anchor.json")).is_ok_and(|anchor| anchor.contains("/2\""))
        });

        // The old one, first in everybody's list, writes again.
        let count = "SELECT count(*) FROM certificate";
        a.up().unwrap();
        let old = a.sql(&name, count).unwrap();
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast'";
        let _ = new.sql("postgres", cut).unwrap();
        for number in 0..3 {
            until("it is told from the new one", || {
                three.with(number, |server| {
                    server.log().contains("this PostgreSQL is an old primary")
                })
            });
            three.taken_out(number);
        }
        assert_eq!(a.sql(&name, count).unwrap(), old, "nothing was written there");
        // Whoever starts now is kept out, too: no standby confirms what is there; and where none is asked, the anchor knows.
        let settings = |value: &str| {
            [(
                "database".to_owned(),
                "synchronous".to_owned(),
                toml::Value::from(value),
            )]
        };
        for (value, exit, words) in [
            ("required", 7, ["no standby confirms", "synchronous"]),
            ("optional", 78, ["it is in an old primary", "ca-cli db accept"]),
        ] {
            three.rig.configure(&settings(value));
            let said = three.rig.refuses_to_start();
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            assert_eq!(said.status.code(), Some(exit), "{text}");
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }

        // Stopped, as it should have been: everybody goes on without a restart.
        a.crash().unwrap();
        more(10);
        three.look();

        // As a standby, made anew, it is the one that is waited for, and enough.
        a.copied_from(new, "a", &[other]).unwrap();
        let waits_for = |primary: &Cluster, name: &str| {
            let sync = "SELECT string_agg(application_name, ' ') FROM pg_stat_replication WHERE sync_state = 'sync'";
            until(&format!("{name} is waited for"), || {
                primary.sql("postgres", sync).unwrap() == name
            });
        };
        waits_for(new, "a");
        other.crash().unwrap();
        more(10);
        // It takes over again. The primary of meanwhile is rewound to it, and nothing is written before.
        new.crash().unwrap();
        a.promote().unwrap();
        let rewound = if std::ptr::eq(new, &b) { "b" } else { "c" };
        new.rewound_to(&a, rewound, &[other]).unwrap();
        waits_for(&a, rewound);
        more(10);
        other.up().unwrap();
        until("all three are one", || {
            a.sql(
                "postgres",
                "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'",
            )
            .unwrap()
                == "2"
        });
        more(6);
        three.look();
    });
    holds(&three.rig, &three.shim, &three.journal, &all);
}

/// F09, S04, I14: a standby takes over that did not get everything, since nobody waited for it. The running server halts, and no
/// other starts, until a person says that it goes on; and then not on the old primary.
#[test]
fn f09_what_a_standby_did_not_get_is_noticed() {
    let a = Cluster::start().unwrap();
    let url = a.database().unwrap();
    let name = Cluster::name_in(&url).to_owned();
    let b = a.standby("b", &[]).unwrap();
    let all = Cluster::url_of_all(&name, &[&a, &b]);
    let wanted = Wanted {
        database: all.clone(),
        ..Wanted::default()
    };
    let mut rig = Rig::with(
        &wanted
            .set("anchor", "every", "1s")
            .set("database", "connect_timeout", "2s"),
    );
    let journal = Journal::of(&rig);
    let enroll = |rig: &Rig| {
        for mut device in Device::allowed(rig, rig.server(), 2) {
            device.persist(rig, &journal);
        }
    };
    enroll(&rig);
    let count = "SELECT count(*) FROM ledger_entry";
    until("the standby has it", || {
        b.sql(&name, count).is_ok_and(|there| there == rig.sql(count))
    });
    b.crash().unwrap();
    enroll(&rig);
    let anchor = rig.path("anchor.json");
    until("the anchor has it", || {
        let newest = rig.sql("SELECT max(id) FROM ledger_entry");
        std::fs::read_to_string(&anchor).is_ok_and(|line| line.contains(&format!("\"entry\":{newest},")))
    });
    // One turn of the server's own memory.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    a.crash().unwrap();
    b.up().unwrap();
    b.promote().unwrap();
    until("it halts", || rig.monitor("/readyz?verbose").1.contains("[-] halt"));
    let (_, said) = rig.monitor("/readyz?verbose");
    assert!(said.contains("older than what this server saw of it"), "{said}");
    assert!(said.contains("ca-cli db accept"), "{said}");
    rig.kill();
    let refused = |rig: &Rig, word: &str| {
        let said = rig.refuses_to_start();
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(78), "{text}");
        assert!(text.contains(word) && text.contains("ca-cli db accept"), "{text}");
    };
    refused(&rig, "which was seen, is not in it");
    let head = rig.path("ledger.head").display().to_string();
    let accepted = rig.cli(&[
        "db",
        "accept",
        "--database",
        &b.url(&name),
        "--anchor",
        &anchor.display().to_string(),
        "--ledger-head",
        &head,
        "--reason",
        "primary lost, ticket 9",
    ]);
    assert!(
        accepted.status.success(),
        "{}",
        String::from_utf8_lossy(&accepted.stderr)
    );
    // The signed tree is lost with it: another one begins, under another name.
    let ledger = |key: &str, value: &str| ("ledger".to_owned(), key.to_owned(), toml::Value::from(value));
    rig.configure(&[
        ledger("origin", "pki.example.net/second"),
        ledger("head", "second.head"),
        ledger("folder", "second"),
    ]);
    rig.start();
    enroll(&rig);
    assert_eq!(rig.stop(), Some(0));
    // Split brain: the old primary writes again.
    b.crash().unwrap();
    a.up().unwrap();
    refused(&rig, "which ended");
}
