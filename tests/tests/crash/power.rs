//! F06, F07: syncs and writes that fail, and the power that goes away at any moment.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use device_kit::dice::Dice;
use device_kit::rig::{Broken, Done, Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::vendor::VendorCa;

use crate::disk::{believed_after_a_restart, fails_under_load};
use crate::load::{Enrollee, Journal, PROFILE, Step, all_persist, crowd};
use crate::record::holds;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// A CA whose whole memory lies in one folder.
fn on_one_disk() -> Rig {
    let wanted = Wanted {
        database: "sqlite://disk/ca.db".into(),
        ..Wanted::default()
    };
    let rig = Rig::initialised(
        &wanted
            .set("enrollment", "sign_deadline", "2s")
            .set("audit", "file", "disk/audit.jsonl")
            .set("ledger", "head", "disk/ledger.head")
            .set("ledger", "folder", "disk/ledger")
            .set("anchor", "file", "disk/anchor.json")
            .set("anchor", "every", "1s"),
    );
    std::fs::create_dir(rig.path("disk")).unwrap();
    rig
}

/// F06: a sync or a write fails, once the disk is read-only, full, or broken. What was not durable is not answered, and
/// the disk is not believed again before a restart: what a failed sync left in the cache may never reach it.
fn fails(broken: Broken, errno: i32) {
    let mut rig = on_one_disk();
    let disk = rig.disk("disk");
    rig.start();
    let journal = Journal::default();
    let mut enrollees = Enrollee::allowed(&rig, 12);
    fails_under_load(&rig, &journal, &mut enrollees, || {
        disk.breaks(broken, "ca.db-wal", errno);
    });
    assert!(disk.heals() > 0, "something failed");
    believed_after_a_restart(&mut rig, &journal, &mut enrollees);
}

#[test]
fn f06_a_sync_fails() {
    fails(Broken::Sync, EIO);
}

#[test]
fn f06_a_write_is_torn() {
    fails(Broken::Torn, EIO);
}

#[test]
fn f06_the_disk_becomes_read_only() {
    fails(Broken::Write, EROFS);
}

/// F20: a refusal that cannot be recorded is none: "later", whatever is wrong with the file; what is granted goes on.
#[test]
fn f20_the_file_of_refusals_fails() {
    let mut rig = on_one_disk();
    let disk = rig.disk("disk");
    rig.start();
    let stranger = SoftTpm::p256(&VendorCa::root("Somebody"));
    let body = serde_json::to_vec(&stranger.request(PROFILE, None, None)).unwrap();
    let refused = || rig.client().try_post("/v1/enrollments", &body).unwrap().status;
    assert_eq!(refused(), 403);
    let refusals = || {
        std::fs::read_to_string(rig.path("disk/audit.jsonl"))
            .unwrap()
            .lines()
            .count()
    };
    let lines = refusals();
    for (broken, errno) in [
        (Broken::Write, EIO),
        (Broken::Write, ENOSPC),
        (Broken::Write, EROFS),
        (Broken::Torn, ENOSPC),
    ] {
        disk.breaks(broken, "audit.jsonl", errno);
        assert_eq!(refused(), 503, "{broken:?} {errno}");
        let mut known = Enrollee::allowed(&rig, 1);
        all_persist(&[rig.client()], &mut known, &Journal::default());
        assert!(disk.heals() > 0, "{broken:?} {errno}");
        assert_eq!(refused(), 403, "{broken:?} {errno}: and again");
    }
    assert_eq!(refusals(), lines + 4);
}

/// F07: at drawn moments the power goes. On what the disk has then, everything is that anybody heard of.
#[test]
fn f07_the_power_fails_at_any_moment() {
    let mut rig = on_one_disk();
    let disk = rig.disk("disk");
    rig.start();
    let mut everybody = Enrollee::allowed(&rig, 16);
    let journal = Journal::default();
    crowd(6, &mut everybody, |enrollee| {
        enrollee.persist(&[rig.client()], &journal);
        disk.mark(&format!("issued {}", hex::encode(enrollee.tries.last().unwrap().id.0)));
        Step::Done
    });
    for record in rig.certificates().iter().filter(|r| r.state == "issued").take(3) {
        // Who is revoked is not told the same again.
        everybody.retain(|enrollee| hex::encode(enrollee.tries.last().unwrap().id.0) != record.enrollment);
        let _ = rig.cli_json(&["revoke", &record.serial, "--reason", "superseded"]);
        disk.mark(&format!("revoked {}", record.serial));
    }
    let mut more = Enrollee::allowed(&rig, 8);
    crowd(4, &mut more, |enrollee| {
        enrollee.persist(&[rig.client()], &journal);
        disk.mark(&format!("issued {}", hex::encode(enrollee.tries.last().unwrap().id.0)));
        Step::Done
    });
    everybody.extend(more);
    rig.kill();
    let done = disk.done();
    let marks = done.iter().filter(|one| matches!(one, Done::Mark(_))).count();
    assert_eq!(marks, everybody.len() + 3 + 3);

    let state = rig.path("state");
    let seed = std::env::var("HOLDFAST_CRASH_SEEDS").map_or(1, |text| text.parse().unwrap());
    let mut dice = Dice::new(seed);
    println!("HOLDFAST_CRASH_SEEDS={seed}: {} entries", done.len());
    for trial in 0..90 {
        let moment = usize::try_from(dice.throw(done.len() as u64 + 1)).unwrap();
        // Nothing of what was not synced, all of it, or any of it.
        disk.after_power_loss(&done[..moment], &mut keeping(trial, &mut dice), &state);
        let lost = missing(&rig, &done[..moment], &state);
        assert!(lost.is_empty(), "seed {seed}, trial {trial}, entry {moment}: {lost:?}");
    }
    // It is seen when a disk lies: without its syncs of the log, something that somebody heard of is not there.
    let lying: Vec<Done> = done
        .iter()
        .filter(|one| !matches!(one, Done::Ends(_, path) if path.ends_with("ca.db-wal")))
        .cloned()
        .collect();
    disk.after_power_loss(&lying, &mut || false, &state);
    assert!(!missing(&rig, &lying, &state).is_empty(), "a disk that lies is noticed");

    // The house itself opens on it, tells the same again, and goes on.
    rig.without_disk();
    let mut moments: Vec<usize> = (0..4)
        .map(|_| usize::try_from(dice.throw(done.len() as u64)).unwrap())
        .collect();
    moments.sort_unstable();
    for (trial, moment) in moments.into_iter().enumerate().rev() {
        let heard = heard(&done[..moment], "issued ");
        everybody.retain(|enrollee| heard.contains(&hex::encode(enrollee.tries.last().unwrap().id.0)));
        disk.after_power_loss(&done[..moment], &mut keeping(trial, &mut dice), &state);
        disk.becomes(&state);
        rig.start();
        let mut more = Enrollee::allowed(&rig, 2);
        all_persist(&[rig.client()], &mut more, &Journal::default());
        let before = everybody.len();
        everybody.extend(more);
        holds(&rig, &mut everybody, None);
        everybody.truncate(before);
        rig.kill();
    }
}

fn keeping(trial: usize, dice: &mut Dice) -> impl FnMut() -> bool + use<'_> {
    move || match trial % 3 {
        0 => false,
        1 => true,
        _ => dice.throw(2) == 0,
    }
}

/// What was heard of by then.
fn heard(done: &[Done], what: &str) -> BTreeSet<String> {
    let marks = done.iter().filter_map(|one| match one {
        Done::Mark(mark) => mark.strip_prefix(what),
        _ => None,
    });
    marks.map(str::to_owned).collect()
}

/// What somebody heard of and a database does not hold; or that it is no database.
fn missing(rig: &Rig, done: &[Done], state: &Path) -> Vec<String> {
    let (issued, revoked) = (heard(done, "issued "), heard(done, "revoked "));
    let database = state.join("ca.db");
    if !database.exists() {
        return issued.into_iter().chain(revoked).collect();
    }
    let told = rig.path("told.db");
    let _ = std::fs::remove_file(&told);
    let output = Command::new("sqlite3")
        .arg("-batch")
        .arg(&database)
        .arg(
            "PRAGMA integrity_check; PRAGMA foreign_key_check; \
             SELECT 'issued ' || lower(hex(e.challenge)) FROM certificate c JOIN enrollment e ON e.id = c.enrollment_id \
             WHERE c.state = 'issued' AND length(c.certificate) > 0; \
             SELECT 'revoked ' || lower(hex(c.serial)) FROM certificate c JOIN revocation r ON r.certificate_id = c.id;",
        )
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: BTreeSet<&str> = text.lines().collect();
    if !output.status.success() || text.lines().next() != Some("ok") {
        // Nothing was made yet: then nobody heard of anything either.
        let empty = String::from_utf8_lossy(&output.stderr).contains("no such table");
        if !(empty && issued.is_empty() && revoked.is_empty()) {
            return vec![text, String::from_utf8_lossy(&output.stderr).into_owned()];
        }
    }
    let gone = issued.iter().map(|id| format!("issued {id}"));
    let back = revoked.iter().map(|serial| format!("revoked {serial}"));
    gone.chain(back).filter(|line| !lines.contains(line.as_str())).collect()
}
