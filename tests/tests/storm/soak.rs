//! One server for a long time under faults that it lives through: what it holds afterwards is what it held before.

use std::time::{Duration, Instant};

use device_kit::rig::Wanted;

use crate::fault::Fault;
use crate::play::{Storm, number, seed};
use crate::report;

/// What a server holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Resident, KiB.
    memory: u64,
    descriptors: u64,
    threads: u64,
    /// On the token.
    sessions: u64,
    /// To the database.
    connections: u64,
}

/// Trials of a warm-up, at least.
const WARM: u32 = 4;

/// How much more it may be at the end than after the warm-up: nothing that grows with the work.
const MORE: Held = Held {
    memory: 16 * 1024,
    descriptors: 8,
    threads: 4,
    sessions: 2,
    connections: 2,
};

impl Held {
    fn of(storm: &Storm) -> Self {
        let pid = storm.house.rig.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
        };
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let connections = storm.house.rig.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        Self {
            memory: of("VmRSS:"),
            descriptors: descriptors as u64,
            threads: of("Threads:"),
            sessions: storm.house.shim(0).sessions(pid) as u64,
            connections: connections.parse().unwrap(),
        }
    }

    /// Back to `base`, within what is allowed. Memory: a quarter and 16 MiB, which the allocator keeps.
    fn is_back(self, base: Self) -> bool {
        self.memory <= base.memory + base.memory / 4 + MORE.memory
            && self.descriptors <= base.descriptors + MORE.descriptors
            && self.threads <= base.threads + MORE.threads
            && self.sessions <= base.sessions + MORE.sessions
            && self.connections <= base.connections + MORE.connections
    }

    fn row(self, when: &str) -> String {
        format!(
            "| {when} | {} MiB | {} | {} | {} | {} |\n",
            self.memory / 1024,
            self.descriptors,
            self.threads,
            self.sessions,
            self.connections
        )
    }
}

/// How long, by `HOLDFAST_STORM_SOAK` (seconds); a moment when nobody asks for more.
fn time() -> Duration {
    Duration::from_secs(number("HOLDFAST_STORM_SOAK").unwrap_or(6))
}

/// F25, I19 on PostgreSQL.
#[test]
fn f25_what_a_soak_leaves() {
    let time = time();
    let mut storm = Storm::new(Wanted::postgres(), "PostgreSQL");
    let pid = storm.house.rig.pid();
    let begun = Instant::now();
    let warm = begun + (time / 4).min(Duration::from_secs(120));
    let mut text = "| after | memory | descriptors | threads | sessions on the token | connections to PostgreSQL |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    let mut trials = 0;
    let mut trial = |storm: &mut Storm| {
        let fault = loop {
            let fault = Fault::drawn(&mut storm.dice, true, 1);
            if fault.spares() {
                break fault;
            }
        };
        storm.trial(fault);
        trials += 1;
    };
    // Not before every pool had its peak.
    for done in 0.. {
        if done >= WARM && Instant::now() >= warm {
            break;
        }
        trial(&mut storm);
    }
    let base = Held::of(&storm);
    text += &base.row(&format!("the warm-up, {} s", begun.elapsed().as_secs()));
    let mut told = Instant::now();
    while begun.elapsed() < time {
        trial(&mut storm);
        if told.elapsed() > Duration::from_secs(300) {
            told = Instant::now();
            text += &Held::of(&storm).row(&format!("{} s", begun.elapsed().as_secs()));
        }
    }
    // Idle connections go when their time is over.
    let ended = Instant::now();
    let mut held = Held::of(&storm);
    while !held.is_back(base) && ended.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(500));
        held = Held::of(&storm);
    }
    text += &held.row(&format!("{trials} trials, {} s", begun.elapsed().as_secs()));
    report::kept(&format!("soak-{}.md", seed()), &text);
    assert_eq!(
        storm.house.rig.pid(),
        pid,
        "one server lived through all of it: {}",
        storm.house.rig.log()
    );
    assert!(held.is_back(base), "{base:?}, then {held:?}");
    storm.all_is_well();
}
