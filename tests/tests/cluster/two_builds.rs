//! F17: two builds side by side: the version before, and this one.
//!
//! ```text
//! make upgrade FROM=REVISION
//! ```

use std::path::PathBuf;

use device_kit::postgres::Cluster;
use device_kit::rig::{Rig, Surroundings, Wanted, binary};

use crate::device::{Device, under_load};
use crate::journal::{Journal, holds};
use crate::three::Three;
use crate::upgrade::{db_ends, rollback};

/// Where the programs of the version before are.
fn before() -> PathBuf {
    let folder = std::env::var_os("HOLDFAST_BEFORE").map(PathBuf::from);
    folder.expect("HOLDFAST_BEFORE names a folder with another build: make upgrade FROM=REVISION")
}

/// This build, in the surroundings of a rig that runs another one.
fn now(around: &Surroundings) -> Surroundings {
    let programs = binary("ca-server").parent().map(PathBuf::from);
    Surroundings {
        programs,
        ..around.clone()
    }
}

const NEWEST: &str = "SELECT max(version) FROM __diesel_schema_migrations";

/// The numbers of two migrations, if they are not the same.
fn apart(before: &str, now: &str) -> Option<u32> {
    (before != now).then(|| before.parse().unwrap())
}

/// The version before makes a CA with three servers; while devices ask, this one comes, goes again, with its tables, and comes
/// again. Nobody hears anything but success and later, and nothing is lost.
#[test]
#[ignore = "needs another build: make upgrade FROM=REVISION"]
fn two_builds_in_traffic() {
    let cluster = Cluster::start().unwrap();
    let database = cluster.database().unwrap();
    let name = Cluster::name_in(&database).to_owned();
    let three = Three::on(Wanted {
        database: database.clone(),
        programs: Some(before()),
        ..Wanted::default()
    });
    let (rig, before, now) = (&three.rig, three.rig.around.clone(), now(&three.rig.around));
    let newest = || cluster.sql(&name, NEWEST).unwrap();
    let old = newest();
    let devices = three.with(0, |server| Device::allowed(rig, server, 40));
    let more = |count: usize| {
        three.answers(count);
        three.look();
    };
    under_load(&three, &three.journal, devices, || {
        more(6);
        three.exchanged(0, &now);
        let new = newest();
        println!("migrations: {old}, then {new}");
        more(6);
        // One of the version before starts on the newer tables, too.
        three.kill(1);
        assert!(three.start_as(1, &before));
        three.in_again(1);
        more(6);
        three.exchanged(1, &now);
        three.exchanged(2, &now);
        more(6);
        for number in 0..3 {
            three.exchanged(number, &before);
            more(3);
        }
        if let Some(to) = apart(&old, &new) {
            db_ends(
                rig,
                &now,
                &rollback(&database, &to.to_string()),
                0,
                new.trim_start_matches('0'),
            );
            assert_eq!(newest(), old);
            more(6);
            db_ends(rig, &now, &["migrate", "--database", &database], 0, "");
            assert_eq!(newest(), new);
        }
        more(6);
        for number in 0..3 {
            three.exchanged(number, &now);
        }
        more(6);
    });
    for number in 0..3 {
        three.with(number, |server| {
            assert!(server.metric("ca_panics_total") < 1.0, "{}", server.log());
            assert!(!server.log().contains("defect"), "{}", server.log());
        });
    }
    holds(rig, &three.shim, &three.journal, &database);
}

/// One server on SQLite: the one ends before the other begins.
#[test]
#[ignore = "needs another build: make upgrade FROM=REVISION"]
fn two_builds_on_sqlite() {
    let mut rig = Rig::initialised(&Wanted {
        programs: Some(before()),
        ..Wanted::default()
    });
    let shim = rig.shim();
    let (before, now) = (rig.around.clone(), now(&rig.around));
    let file = rig.path("ca.db").display().to_string();
    let url = format!("sqlite://{file}");
    let journal = Journal::of(&rig);
    let enrolled = |rig: &mut Rig, version: &Surroundings| {
        rig.around = version.clone();
        rig.start();
        for mut device in Device::allowed(rig, rig.server(), 1) {
            device.persist(rig, &journal);
        }
        let newest = rig.sql(NEWEST);
        assert_eq!(rig.stop(), Some(0));
        newest
    };
    let old = enrolled(&mut rig, &before);
    let new = enrolled(&mut rig, &now);
    assert_eq!(enrolled(&mut rig, &before), new, "it works on newer tables");
    if let Some(to) = apart(&old, &new) {
        db_ends(&rig, &now, &rollback(&url, &to.to_string()), 0, "");
        assert_eq!(enrolled(&mut rig, &before), old);
    }
    assert_eq!(enrolled(&mut rig, &now), new);
    rig.start();
    holds(&rig, &shim, &journal, &file);
}
