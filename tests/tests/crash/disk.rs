//! S01: the disk under SQLite is full, or fails.

use std::sync::atomic::Ordering;

use device_kit::rig::{Rig, Wanted};
use device_kit::small_disk::SmallDisk;
use rustix::process::{Resource, Rlimit, prlimit};
use wire::problem::ProblemCode;

use crate::load::{Enrollee, Journal, Step, all_persist, until};
use crate::record::holds;

/// Devices enroll; at `enough` answers the disk fails; everybody is told to come later until it is put right.
pub(crate) fn fails_under_load(rig: &Rig, journal: &Journal, enrollees: &mut [Enrollee], fail: impl FnOnce()) {
    let (client, before) = (rig.client(), rig.server().metric("ca_certificates_issued_total"));
    let half = enrollees.len() / 2;
    let (early, late) = enrollees.split_at_mut(half);
    all_persist(&[rig.client()], early, journal);
    for enrollee in late.iter_mut() {
        enrollee.begin(&client, journal);
    }
    fail();
    until("the disk says no", || {
        for enrollee in late.iter_mut() {
            // What still fits is issued.
            if enrollee.tries.last().unwrap().answer.is_none() {
                enrollee.activate(&client, journal);
            }
        }
        journal.heard(ProblemCode::StorageUnavailable.as_str()) > late.len()
    });
    let answered = journal.answered.load(Ordering::SeqCst);
    let issued = rig.server().metric("ca_certificates_issued_total") - before;
    assert!(
        (issued - f64::from(u32::try_from(answered).unwrap())).abs() < 0.5,
        "{issued} issued, {answered} answered"
    );
}

/// The disk has recovered, and is not believed before a restart, which finds everything that was answered.
pub(crate) fn believed_after_a_restart(rig: &mut Rig, journal: &Journal, enrollees: &mut [Enrollee]) {
    let (status, said) = rig.monitor("/readyz?verbose");
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("[-] database"), "{said}");
    let pending = enrollees.iter_mut().find(|e| e.tries.last().unwrap().answer.is_none());
    assert_ne!(pending.unwrap().activate(&rig.client(), journal), Step::Done);
    assert_eq!(rig.stop(), Some(0));
    rig.start();
    all_persist(&[rig.client()], enrollees, journal);
    holds(rig, enrollees, None);
    assert_eq!(rig.monitor("/readyz").0, 200);
}

/// No byte is free: nothing is issued that is not recorded, and with room again the server goes on.
#[test]
fn s01_the_disk_is_full() {
    let wanted = Wanted {
        database: "sqlite://small/ca.db".into(),
        ..Wanted::default()
    };
    let mut rig = Rig::initialised(&wanted.set("enrollment", "sign_deadline", "2s"));
    let Some(small) = SmallDisk::wanted(&rig.path("small")) else {
        return;
    };
    rig.start();
    let journal = Journal::default();
    let mut enrollees = Enrollee::allowed(&rig, 12);
    fails_under_load(&rig, &journal, &mut enrollees, || small.fill());
    small.free();
    all_persist(&[rig.client()], &mut enrollees, &journal);
    holds(&rig, &mut enrollees, None);
    assert_eq!(rig.monitor("/readyz").0, 200);
    assert!(rig.is_alive(), "without a restart");
    rig.kill();
}

/// A write fails half way: nothing more is written, the server says that it is not ready, and a restart finds
/// everything that was answered.
#[test]
fn s01_a_write_fails() {
    let mut rig = Rig::initialised(&Wanted::default().set("enrollment", "sign_deadline", "2s"));
    // A write beyond a limit is refused with an error, not with a signal.
    rig.around.before = Some("trap '' XFSZ".into());
    rig.start();
    let journal = Journal::default();
    let mut enrollees = Enrollee::allowed(&rig, 12);
    let limit = |size: Option<u64>| {
        let limit = Rlimit {
            current: size,
            maximum: None,
        };
        prlimit(Some(rig.server().process()), Resource::Fsize, limit).unwrap();
    };
    let log = std::fs::metadata(rig.path("ca.db-wal")).unwrap().len();
    assert!(
        std::fs::metadata(rig.path("server.log")).unwrap().len() < log,
        "only the database is hit"
    );
    fails_under_load(&rig, &journal, &mut enrollees, || limit(Some(log + 5000)));
    limit(None);
    believed_after_a_restart(&mut rig, &journal, &mut enrollees);
}
