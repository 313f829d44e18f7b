//! F19: no descriptors, no memory, a panic. Whatever a server cannot do then it says, or it ends; no worker is left half alive.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use device_kit::clients::{now, until};
use device_kit::rig::{Rig, Wanted};
use device_kit::trial::played;
use failpoint::Point;
use serde_json::json;

use crate::checker;
use crate::kill::{Blow, again};
use crate::play::Storm;

/// The soft limit of a running process.
fn limit(pid: u32, which: &str) {
    let pid = pid.to_string();
    let output = Command::new("prlimit").args(["--pid", &pid, which]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A number of `/proc/PID/status`, KiB.
fn status(storm: &Storm, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", storm.house.rig.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Everything that a server does is done again: devices get what they ask for, revocations are told by a CRL that the job
/// published, the tree is signed.
fn all_of_it_works(storm: &mut Storm) {
    storm.supplied(2);
    storm.up();
    storm.work_is_given();
    storm.loaded(Blow::Anywhere(0));
    storm.everybody_persists();
    let since = now();
    until("the job publishes, and knows every step", || {
        storm.house.rig.sql(
            "SELECT count(*) FROM crl_point p LEFT JOIN crl_delta d ON d.crl_point_id = p.id \
             WHERE coalesce(d.steps, p.steps) >= (SELECT count(*) FROM revocation)",
        ) == "1"
    });
    storm.house.rig.every_leaf_is_signed();
    assert!(now() - since < 60.0);
}

/// F19: no more descriptors than a few, while more connect than there are. Once they are gone, everything works in the same
/// process.
#[test]
fn f19_no_descriptors_are_left() {
    let mut storm = Storm::still(Wanted::default(), "SQLite", 1);
    storm.supplied(4);
    storm.up();
    let pid = storm.house.rig.pid();
    let held = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    for spare in [24, 8, 2, 0] {
        limit(pid, &format!("--nofile={}:", held + spare));
        let idle: Vec<_> = (0..spare + 4)
            .filter_map(|_| TcpStream::connect(storm.house.rig.public()).ok())
            .collect();
        storm.work_is_given();
        std::thread::scope(|scope| {
            // Who waits to be let in waits until there is room again.
            let _room = scope.spawn(move || {
                std::thread::sleep(Duration::from_secs(2));
                limit(pid, "--nofile=1024:");
                drop(idle);
            });
            storm.loaded(Blow::Anywhere(0));
        });
        storm.journal.note(&json!({"kind": "fault", "what": "no-descriptors"}));
        assert!(storm.house.rig.is_alive(), "{}", storm.house.rig.log());
        storm.everybody_persists();
    }
    assert_eq!(storm.house.rig.pid(), pid);
    assert!(
        storm.house.rig.server().metric("ca_panics_total") < 1.0,
        "{}",
        storm.house.rig.log()
    );
    all_of_it_works(&mut storm);
    storm.all_is_well();
    played("f19_no_descriptors_are_left", 4);
}

/// F19: a start with fewer descriptors than it takes, one fewer each time. It ends and says why, or it says that it listens,
/// and is heard on every listener.
#[test]
fn f19_a_start_is_whole_or_none() {
    let mut rig = Rig::with(&Wanted::default().with_crls(1));
    let held = std::fs::read_dir(format!("/proc/{}/fd", rig.pid())).unwrap().count();
    rig.kill();
    let (mut whole, mut none) = (0, 0);
    for descriptors in held - 32..=held + 8 {
        rig.around.before = Some(format!("ulimit -Sn {descriptors}"));
        let logged = rig.log().len();
        if rig.try_start() {
            whole += 1;
            limit(rig.pid(), "--nofile=1024:");
            assert_eq!(rig.monitor("/livez").0, 200);
            assert_eq!(rig.server().fetch("/nothing").0, 404);
            assert_eq!(rig.client().get("/v1/issuers", "application/json").status, 200);
            assert_eq!(rig.admin_call("GET", "/v1/orphans", b"").0, 200);
            rig.kill();
        } else {
            none += 1;
            assert!(rig.log().len() > logged, "it ended without a word");
        }
    }
    println!("with few descriptors: {none} did not start, {whole} did");
    assert!(whole > 0 && none > 0);
    played("f19_a_start_is_whole_or_none", whole + none);
}

/// Connections that begin a TLS record of the greatest length and never end it: a buffer of 16 KiB for each.
fn greedy(storm: &Storm) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..400 {
        let Ok(mut stream) = TcpStream::connect(storm.house.rig.public()) else {
            break;
        };
        let _ = stream.write_all(&[0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3]);
        all.push(stream);
    }
    all
}

/// F19: no more memory than it has, and a little. Who asks for more than there is ends at once (Rust's allocator aborts), or
/// the server lives on less: never a part of it.
#[test]
fn f19_no_memory_is_left() {
    let mut storm = Storm::still(Wanted::postgres(), "PostgreSQL", 1);
    let (mut ended, mut lived) = (0, 0);
    for spare in [32 * 1024, 4 * 1024, 1024, 256, 64, 0] {
        storm.supplied(2);
        storm.up();
        limit(
            storm.house.rig.pid(),
            &format!("--data={}:", (status(&storm, "VmData:") + spare) * 1024),
        );
        let greedy = greedy(&storm);
        storm.work_is_given();
        storm.loaded(Blow::Anywhere(0));
        drop(greedy);
        storm.journal.note(&json!({"kind": "fault", "what": "no-memory"}));
        if storm.house.rig.is_alive() {
            lived += 1;
            limit(storm.house.rig.pid(), "--data=unlimited:");
            all_of_it_works(&mut storm);
        } else {
            ended += 1;
        }
        storm.house.rig.kill();
    }
    println!("without memory: {ended} ended, {lived} lived");
    assert!(ended > 0, "nobody missed it");
    all_of_it_works(&mut storm);
    storm.all_is_well();
    played("f19_no_memory_is_left", 6);
}

/// Where a panic ends the process, since it is the start.
fn at_the_start(point: Point) -> bool {
    point.name().starts_with("start.")
}

/// F19: a panic at each point that a running server comes by, in one process. Whoever asked hears that it was a defect, once;
/// jobs begin anew, locks are not poisoned, and afterwards all of it works.
#[test]
fn f19_a_panic_at_every_point() {
    let mut storm = Storm::publishing(Wanted::default(), "SQLite", 1);
    storm.supplied(3);
    // Those of the start come by once more in the job.
    let delegate = |point: &Point| point.name().starts_with("delegate.");
    let points: Vec<Point> = again()
        .into_iter()
        .filter(|p| !at_the_start(*p) && !delegate(p))
        .collect();
    let pass = |point: Point| match point {
        Point::AnchorTaken | Point::AnchorFiled | Point::AnchorHeld | Point::FileWritten | Point::FileReplaced => 40,
        Point::OrphanCommit | Point::OrphanCommitted => 1,
        _ => 2,
    };
    let orders: Vec<String> = points
        .iter()
        .map(|p| format!("{}:panic:{}", p.name(), pass(*p)))
        .collect();
    let logged = storm.log_length();
    storm.ordered(&orders.join(","));
    storm.house.rig.start();
    storm.ordered("");
    let pid = storm.house.rig.pid();
    let begun = Instant::now();
    let missing = |storm: &Storm| {
        let log = storm.log_after(logged);
        let missed = |point: &&Point| !log.contains(&format!("failpoint {} Panic\n", point.name()));
        points.iter().filter(missed).copied().collect::<Vec<_>>()
    };
    while !missing(&storm).is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "never came by {:?}",
            missing(&storm)
        );
        storm.work_is_given();
        storm.loaded(Blow::Anywhere(0));
        storm.everybody_persists();
        storm.journal.note(&json!({"kind": "fault", "what": "panic"}));
    }
    assert_eq!(storm.house.rig.pid(), pid);
    let caught = storm.house.rig.server().metric("ca_panics_total");
    println!("{} panics, {caught} of them counted", points.len());
    all_of_it_works(&mut storm);
    storm.relying_parties_look();
    storm.settled();
    let verdict = checker::check(&storm, None);
    // Each who met one heard of a defect, and nothing else is wrong.
    let heard = |(name, what): &&(String, String)| name == "I20" && what.starts_with("a client heard 500");
    let (told, wrong): (Vec<_>, Vec<_>) = verdict.violations.iter().partition(heard);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(!told.is_empty() && told.len() <= points.len(), "{told:#?}");
    played("f19_a_panic_at_every_point", points.len());
}
