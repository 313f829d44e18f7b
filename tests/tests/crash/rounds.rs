//! S01: the server is killed at a drawn moment of progress, again and again.

use std::sync::atomic::Ordering;

use device_kit::dice::Dice;
use device_kit::rig::{Rig, Server, Spy, Wanted};

use crate::load::{Enrollee, Journal, Step, all_persist, crowd, until};
use crate::record::holds;

/// Rounds that are played when nobody asks for others.
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];
/// Devices of a round: more than any moment asks for.
const DEVICES: usize = 24;

/// When to kill. Each after a number of activations that is drawn.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Sent by devices.
    Sent(usize),
    /// Heard by devices.
    Heard(usize),
    /// Recorded as intents.
    Recorded(u64),
    /// Signed.
    Signed(u64),
    /// Signed, and the token keeps the answer back.
    HeldBack(usize),
}

impl Moment {
    /// Five seeds in a row see all five.
    fn of(seed: u64) -> Self {
        let number = 1 + Dice::new(seed).throw(10);
        let small = usize::try_from(number).unwrap();
        match seed % 5 {
            0 => Self::HeldBack(small),
            1 => Self::Sent(small),
            2 => Self::Heard(small),
            3 => Self::Recorded(number),
            _ => Self::Signed(number),
        }
    }

    /// Wait for it.
    fn wait(self, rig: &Rig, journal: &Journal, before: Counts, spy: &Spy) {
        let phase = |name: &str, count: u64, before: u64| {
            until(name, || rig.server().phase(name) >= before + count);
        };
        match self {
            Self::Sent(count) => until("sent", || journal.begun.load(Ordering::SeqCst) >= count),
            Self::Heard(count) => until("heard", || journal.answered.load(Ordering::SeqCst) >= count),
            Self::Recorded(count) => phase("record", count, before.recorded),
            Self::Signed(count) => phase("sign", count, before.signed),
            Self::HeldBack(_) => {
                spy.wait_until_held();
                // The one that was signed, and those behind it.
                until("intents are open", || rig.open_intents() >= 2);
            }
        }
    }
}

/// What the server counted before a round.
#[derive(Clone, Copy)]
struct Counts {
    recorded: u64,
    signed: u64,
}

impl Counts {
    fn of(server: &Server) -> Self {
        Self {
            recorded: server.phase("record"),
            signed: server.phase("sign"),
        }
    }
}

fn seeds() -> Vec<u64> {
    let Ok(text) = std::env::var("HOLDFAST_CRASH_SEEDS") else {
        return SEEDS.to_vec();
    };
    text.split(',')
        .map(|word| word.trim().parse().expect("a number"))
        .collect()
}

/// Play the rounds on one CA.
/// The CA's key signs nothing but certificates: no checkpoints of the ledger, which are on nobody's record.
fn only_certificates(wanted: Wanted) -> Wanted {
    wanted.set("ledger", "ca_key", false)
}

fn play(engine: &str, wanted: Wanted) {
    let mut rig = Rig::initialised(&wanted.set("enrollment", "sign_deadline", "2s"));
    let spy = rig.spy();
    rig.start();
    let mut everybody = Vec::new();
    let mut orphans = 0;
    let seeds = seeds();
    for seed in &seeds {
        let moment = Moment::of(*seed);
        println!("{engine}: round of seed {seed}: killed after {moment:?}");
        let mut enrollees = Enrollee::allowed(&rig, DEVICES);
        killed_under_load(&rig, &spy, moment, &mut enrollees);
        rig.kill();
        spy.release();
        rig.start();
        // Whoever lost an answer asks for it again; whoever had not begun begins.
        all_persist(&[rig.client()], &mut enrollees, &Journal::default());
        everybody.extend(enrollees);
        let now = holds(&rig, &mut everybody, Some(&spy)).len();
        if let Moment::HeldBack(_) = moment {
            assert!(now > orphans, "what was signed and not answered is an orphan");
        }
        println!("{engine}: {} certificates, {now} orphans", everybody.len());
        orphans = now;
    }
    // What a person sees.
    let doctor = rig.cli(&["doctor", "-o", "json"]);
    let said = String::from_utf8_lossy(&doctor.stdout);
    let expected = match orphans {
        0 => "no signature without a record".to_owned(),
        n => format!("{n} serials whose signature may exist unrecorded"),
    };
    assert!(said.contains(&expected), "{expected}: {said}");
}

fn killed_under_load(rig: &Rig, spy: &Spy, moment: Moment, enrollees: &mut [Enrollee]) {
    let journal = Journal::default();
    let before = Counts::of(rig.server());
    if let Moment::HeldBack(count) = moment {
        spy.hold_after(count);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            crowd(6, enrollees, |enrollee| {
                let client = rig.client();
                match enrollee.begin(&client, &journal) {
                    Step::Lost => Step::Lost,
                    _ => enrollee.activate(&client, &journal),
                }
            });
        });
        moment.wait(rig, &journal, before, spy);
        rig.server().strike();
    });
    assert!(journal.heard("lost") > 0, "the server was killed under load");
    assert_eq!(journal.heard("internal"), 0);
}

#[test]
fn s01_killed_at_any_moment_on_sqlite() {
    play("SQLite", only_certificates(Wanted::default()));
}

#[test]
fn s01_killed_at_any_moment_on_postgres() {
    play("PostgreSQL", only_certificates(Wanted::postgres()));
}
