//! Death of the process while it writes, again and again: what was acknowledged is there.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use issuance::{RecordError, Recorder as _};
use schema::{CertificateState, Store};

use crate::kit::*;

/// Names the database to the child.
const URL: &str = "STORE_CHILD_URL";
/// Distinguishes the orders of one life from those of the next.
const LIFE: &str = "STORE_CHILD_LIFE";

fn label(life: &str, thread: usize, n: usize) -> String {
    format!("{life}-{thread}-{n}")
}

/// One life of the child: eight threads enroll devices until someone ends it, and say what was acknowledged.
///
/// Alone, without a parent that names a database, it has nothing to do.
#[test]
fn child() {
    let (Ok(url), Ok(life)) = (std::env::var(URL), std::env::var(LIFE)) else {
        return;
    };
    let store = Store::open(&url, &options()).unwrap();
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, life, stopped) = (&store, &life, &stopped);
            scope.spawn(move || {
                let mut n = 0;
                while !stopped.load(Ordering::Relaxed) {
                    if let Err(error) = enroll(store, &label(life, thread, n)) {
                        say(&format!("refused {error}"));
                        stopped.store(true, Ordering::Relaxed);
                    }
                    n += 1;
                }
            });
        }
    });
    // Only a broken disk leads here.
    let after = store.intend(&ceremony("after"), &[intent("after", "root", "after")]);
    say(&format!("after {after:?}"));
    store.orphans().unwrap();
    say("reads go on");
    say(&format!("ping {:?}", store.ping()));
}

fn enroll(store: &Store, label: &str) -> Result<(), RecordError> {
    if let Err(e) = store.allow_device(&open_device(label), &audit(NOW, "device.allowed", label)) {
        return Err(RecordError::Unavailable(e.to_string()));
    }
    say(&format!("allowed {label}"));
    let intent = intent(label, "p", label);
    store.intend(&order(label, label, label), std::slice::from_ref(&intent))?;
    say(&format!("intended {label}"));
    store.issued(&id(label), &[signed(&intent)])?;
    say(&format!("issued {label}"));
    Ok(())
}

/// One line in one write: a kill cannot leave half of it.
fn say(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

fn start(bench: &Bench, life: &str, shell: Option<&str>) -> (Child, BufReader<ChildStdout>) {
    let binary = std::env::current_exe().unwrap();
    let mut command = match shell {
        Some(script) => {
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(&binary);
            command
        }
        None => Command::new(&binary),
    };
    let mut child = command
        .args(["crash::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(URL, &bench.url)
        .env(LIFE, life)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// What a child said, by verb.
#[derive(Default)]
struct Said {
    allowed: BTreeSet<String>,
    intended: BTreeSet<String>,
    issued: BTreeSet<String>,
    rest: Vec<String>,
}

impl Said {
    fn note(&mut self, line: &str) -> bool {
        let Some((verb, what)) = line.split_once(' ') else {
            return false;
        };
        let set = match verb {
            "allowed" => &mut self.allowed,
            "intended" => &mut self.intended,
            "issued" => &mut self.issued,
            _ => {
                self.rest.push(line.to_owned());
                return false;
            }
        };
        set.insert(what.to_owned())
    }

    /// Everything that was acknowledged is on record; what was not may be.
    fn hold_against(&self, store: &Store) {
        for label in &self.allowed {
            assert!(store.device_by_name(label).unwrap().is_some(), "{label} was allowed");
        }
        for label in &self.intended {
            let row = store
                .enrollment(&id(label))
                .unwrap()
                .unwrap_or_else(|| panic!("{label} was recorded"));
            assert_eq!(row.certificates.len(), 1);
            assert_eq!(row.certificates[0].tbs, intent(label, "p", label).tbs);
            assert_eq!(
                store.evidence(&id(label)).unwrap().unwrap().bytes,
                format!("evidence {label}").into_bytes()
            );
        }
        for label in &self.issued {
            let row = store.enrollment(&id(label)).unwrap().unwrap();
            assert_eq!(
                row.certificates[0].state,
                CertificateState::Issued,
                "{label} was answered"
            );
            assert_eq!(
                row.certificates[0].certificate,
                Some(signed(&intent(label, "p", label)).certificate)
            );
        }
    }
}

both! {
    fn what_was_acknowledged_survives_a_kill(bench) {
        let mut said = Said::default();
        let mut orphans = 0;
        for life in 0..8_usize {
            let (mut child, output) = start(bench, &life.to_string(), None);
            let mut lines = output.lines();
            // Die in the middle, each time somewhere else.
            let enough = 40 + 37 * life;
            let mut heard = 0;
            for line in lines.by_ref() {
                heard += usize::from(said.note(&line.unwrap()));
                if heard >= enough {
                    break;
                }
            }
            child.kill().unwrap();
            // What it had said before it died was acknowledged too.
            for line in lines {
                said.note(&line.unwrap());
            }
            child.wait().unwrap();
            assert!(heard >= enough, "the child ended by itself: {:?}", said.rest);

            let store = bench.open();
            said.hold_against(&store);
            for orphan in store.recover(NOW, NOW + 1).unwrap() {
                orphans += 1;
                let label = orphan.device.unwrap();
                assert!(!said.issued.contains(&label), "{label} was answered");
                assert_eq!(orphan.enrollment_id, id(&label));
                // The device is free for another try.
                let retry = format!("{label}-again");
                let next = intent(&retry, "p", &retry);
                store.intend(&order(&retry, &label, &label), std::slice::from_ref(&next)).unwrap();
                store.issued(&id(&retry), &[signed(&next)]).unwrap();
            }
        }
        let store = bench.open();
        assert_eq!(store.orphans().unwrap().len(), orphans);
        assert!(said.issued.len() > 100);
    }
}

#[test]
fn after_a_failed_write_nothing_more_is_written() {
    let bench = Bench::sqlite();
    drop(bench.open());
    // A file that cannot grow past a limit: the system refuses the write in the middle of a transaction.
    let script = "trap '' XFSZ; ulimit -f 1500; exec \"$0\" \"$@\"";
    let (mut child, output) = start(&bench, "limited", Some(script));
    let mut said = Said::default();
    for line in output.lines() {
        said.note(&line.unwrap());
    }
    let ended = child.wait().unwrap();
    assert!(ended.success(), "{:?}", said.rest);
    assert!(said.rest.iter().any(|l| l.starts_with("refused")), "{:?}", said.rest);
    let after = said.rest.iter().find(|l| l.starts_with("after")).unwrap();
    assert!(
        after.contains("Unavailable") && after.contains("the disk failed"),
        "{after}"
    );
    assert!(said.rest.iter().any(|l| l == "reads go on"));
    let ping = said.rest.iter().find(|l| l.starts_with("ping")).unwrap();
    assert!(
        ping.contains("the disk failed"),
        "who asks whether it serves is told: {ping}"
    );
    assert!(!said.issued.is_empty());
    // A restart, with room again.
    let store = bench.open();
    said.hold_against(&store);
    store.recover(NOW, NOW).unwrap();
    enroll(&store, "after-the-restart").unwrap();
}
