//! Kills and nothing else, as many as there is time for: at every fail-point, inside of the token, or anywhere.
//!
//! Nobody waits for the end of a trial: who lost his answer asks the next server, which is killed in its turn. Every few
//! hundred kills the last server stays, everybody gets what he came for, and the independent reader looks at all of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use device_kit::rig::{Order, Wanted};
use failpoint::Point;
use serde_json::json;

use crate::checker;
use crate::play::Storm;
use crate::report::Report;
use device_kit::clients::now;
use device_kit::clients::{Device, Step, Want};
use device_kit::dice::Dice;

/// Where orders stand.
const VARIABLE: &str = "HOLDFAST_FAILPOINT";
/// Kills between two looks of the reader.
const LOOK: usize = 400;
/// Devices at work in a trial.
const AT_WORK: usize = 3;
/// Migrations of an empty database, of which one is in the middle of a kill.
const MIGRATIONS: u64 = 20;

/// A way to die.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blow {
    /// At a fail-point, after so many came by it.
    At(Point, u64),
    /// Wherever the server is when it comes by a fail-point for the so many-th time.
    Anywhere(u64),
    /// Inside of `C_Sign`, after so many signatures: before the token sees the bytes, or after it signed.
    Token(usize, Order),
    /// SIGKILL from outside, so many microseconds into the load.
    Outside(u64),
    /// SIGTERM, so long into the load.
    End(Duration),
}

impl Blow {
    /// What a throw gives; two of three are at a point that is drawn.
    fn drawn(dice: &mut Dice) -> Self {
        match dice.throw(12) {
            0..8 => Self::At(dice.one(&again()), dice.throw(2)),
            8 => Self::Anywhere(dice.throw(120)),
            9 => Self::Token(dice.below(3), dice.one(&[Order::KillAtEntry, Order::KillAtReturn])),
            _ => Self::Outside(dice.throw(60_000)),
        }
    }

    fn order(self) -> String {
        match self {
            Self::At(point, pass) => format!("{}:kill:{pass}", point.name()),
            Self::Anywhere(pass) => format!("*:kill:{pass}"),
            Self::Token(..) | Self::Outside(_) | Self::End(_) => String::new(),
        }
    }

    /// Where it was meant to strike.
    fn meant(self) -> &'static str {
        match self {
            Self::At(point, _) => point.name(),
            Self::Anywhere(_) => "any point",
            Self::Token(_, Order::KillAtEntry) => "C_Sign, before",
            Self::Token(..) => "C_Sign, after",
            Self::Outside(_) => "any moment",
            Self::End(_) => "SIGTERM",
        }
    }
}

/// The points that a server comes by more than once in the life of a database.
pub(crate) fn again() -> Vec<Point> {
    let all = Point::ALL.iter().copied();
    all.filter(|point| *point != Point::StartMigrate && !is_of_a_witness(*point))
        .collect()
}

/// Whether a witness comes by it, and no server.
pub(crate) fn is_of_a_witness(point: Point) -> bool {
    matches!(point, Point::CosignJudged | Point::CosignKept | Point::CosignSigned)
}

/// How many kills struck, by where.
pub(crate) type Struck = BTreeMap<String, u64>;

impl Storm {
    /// A CA whose first starts are killed in the middle of a migration.
    pub(crate) fn killed_while_it_migrates(
        wanted: Wanted,
        engine: &'static str,
        seed: u64,
        struck: &mut Struck,
    ) -> Self {
        let mut storm = Self::publishing(wanted, engine, seed);
        for _ in 0..2 {
            let pass = storm.dice.throw(MIGRATIONS / 2);
            let at = storm.strike(Blow::At(Point::StartMigrate, pass)).unwrap();
            assert_eq!(at, Point::StartMigrate.name());
            *struck.entry(at).or_default() += 1;
        }
        storm
    }

    /// Start a server that will die, and load it until it does; where it died by its own account. `None`: it came to the
    /// end of the load and was killed there.
    pub(crate) fn strike(&mut self, blow: Blow) -> Option<String> {
        if let Blow::At(Point::DelegateRecorded | Point::DelegateSigned | Point::DelegateIssued, _) = blow {
            self.delegate_is_revoked();
        }
        if let Blow::At(Point::OrphanCommit | Point::OrphanCommitted, _) = blow {
            self.strike_once(Blow::At(Point::CorridorRecorded, 0));
        }
        self.strike_once(blow)
    }

    fn strike_once(&mut self, blow: Blow) -> Option<String> {
        let logged = self.log_length();
        self.ordered(&blow.order());
        if let Blow::Token(pass, order) = blow {
            self.house.shim(0).order(pass, order);
        }
        if self.house.rig.try_start() {
            self.work_is_given();
            self.loaded(blow);
            self.background(blow);
        }
        let of_token = matches!(blow, Blow::Token(..)) && !self.house.shim(0).waits();
        self.house.shim(0).withdraw();
        self.house.rig.kill();
        self.ordered("");
        let log = self.log_after(logged);
        assert!(!log.contains("defect"), "{log}");
        let died = log
            .lines()
            .find_map(|line| line.strip_prefix("failpoint ")?.strip_suffix(" Kill"));
        let at = match (died, blow) {
            (Some(point), _) => Some(point.to_owned()),
            (None, Blow::Token(..)) if of_token => Some(blow.meant().to_owned()),
            (None, Blow::Outside(_)) => Some(blow.meant().to_owned()),
            (None, _) => None,
        };
        let what = at.as_deref().unwrap_or("after the load");
        self.journal
            .note(&json!({"kind": "fault", "what": format!("kill, {what}")}));
        at
    }

    pub(crate) fn ordered(&mut self, order: &str) {
        let environment = &mut self.house.rig.around.environment;
        environment.retain(|(name, _)| name != VARIABLE);
        if !order.is_empty() {
            environment.push((VARIABLE.to_owned(), order.to_owned()));
        }
    }

    pub(crate) fn log_length(&self) -> u64 {
        std::fs::metadata(self.house.rig.path("server.log")).map_or(0, |file| file.len())
    }

    pub(crate) fn log_after(&self, length: u64) -> String {
        let log = self.house.rig.log();
        log.get(usize::try_from(length).unwrap()..)
            .unwrap_or_default()
            .to_owned()
    }

    /// The responder's certificate is revoked: whoever starts next makes another.
    fn delegate_is_revoked(&mut self) {
        self.up();
        let serial = if self.database.starts_with("postgres") {
            "encode(serial, 'hex')"
        } else {
            "lower(hex(serial))"
        };
        let serial = self.house.rig.sql(&format!(
            "SELECT {serial} FROM certificate WHERE device_id IS NULL AND state = 'issued' ORDER BY id DESC LIMIT 1"
        ));
        let began = now();
        let path = format!("/v1/certificates/{serial}/revocation");
        let (status, _) = self.house.rig.admin_call("POST", &path, b"{\"reason\":\"superseded\"}");
        assert_eq!(status, 200, "the responder's certificate {serial}");
        self.journal
            .note(&json!({"kind": "revoked", "serial": serial, "began": began, "ended": now()}));
        self.house.rig.kill();
    }

    /// A server without orders, when there is none.
    pub(crate) fn up(&mut self) {
        self.ordered("");
        if !self.house.rig.is_alive() {
            self.house.rig.start();
        }
    }

    /// One enrolls, one renews, one is revoked; whoever waits for something since the last server comes first.
    pub(crate) fn work_is_given(&mut self) {
        self.devices.retain(|device| !device.retired);
        let at_work = |device: &Device| device.want != Want::Nothing;
        let mut free: Vec<usize> = (0..self.devices.len())
            .filter(|i| !at_work(&self.devices[*i]))
            .collect();
        for want in [Want::Revoke, Want::Renew] {
            if !free.is_empty() {
                let drawn = free.swap_remove(self.dice.below(free.len()));
                self.devices[drawn].want = want;
            }
        }
        let busy = self.devices.iter().filter(|device| at_work(device)).count();
        for _ in busy..AT_WORK.max(busy.min(4) + 1) {
            self.made += 1;
            let mut device = Device::strange(&self.house.rig, format!("storm-{}", self.made));
            device.by_socket = true;
            device.plan = vec![Want::Renew];
            self.devices.push(device);
        }
    }

    /// Everybody at once, relying parties among them, until the work is done or the server is gone.
    pub(crate) fn loaded(&mut self, blow: Blow) {
        let (rig, journal) = (&self.house.rig, &self.journal);
        let asked: Vec<String> = self
            .devices
            .iter()
            .filter_map(|d| Some(d.serial()?.to_owned()))
            .take(2)
            .collect();
        let mut devices = std::mem::take(&mut self.devices);
        let (at_work, resting): (Vec<_>, Vec<_>) = devices.drain(..).partition(|d| d.want != Want::Nothing);
        let queue = Mutex::new(at_work);
        let done = Mutex::new(resting);
        let gone = AtomicBool::new(false);
        let storm = &*self;
        std::thread::scope(|scope| {
            for _ in 0..AT_WORK {
                scope.spawn(|| {
                    while !gone.load(Ordering::SeqCst) {
                        let Some(mut device) = queue.lock().unwrap().pop() else {
                            break;
                        };
                        for _ in 0..10 {
                            match device.step(rig, journal) {
                                Step::Again => {}
                                Step::Done if device.retired => break,
                                Step::Done => match device.plan.pop() {
                                    Some(next) => device.want = next,
                                    None => break,
                                },
                                Step::Lost | Step::Halted => {
                                    gone.store(true, Ordering::SeqCst);
                                    break;
                                }
                            }
                        }
                        done.lock().unwrap().push(device);
                    }
                });
            }
            scope.spawn(|| {
                let publish = || {
                    rig.server()
                        .try_admin_call("POST", "/v1/crls/publications", b"{}")
                        .is_ok()
                };
                let heard = publish()
                    && asked.iter().all(|serial| storm.status_is_asked(serial).is_ok())
                    && storm.crl_is_read().is_ok();
                if !heard {
                    gone.store(true, Ordering::SeqCst);
                }
            });
            if let Blow::End(later) = blow {
                std::thread::sleep(later);
                let process = rig.server().process();
                rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
            }
            if let Blow::Outside(later) = blow {
                std::thread::sleep(Duration::from_micros(later));
                rig.server().strike();
            }
        });
        self.devices = done.into_inner().unwrap();
        self.devices.extend(queue.into_inner().unwrap());
    }

    /// Jobs come by when it is their time: a second, or two.
    fn background(&mut self, blow: Blow) {
        let Blow::At(point, _) = blow else { return };
        let of_a_job = matches!(
            point,
            Point::ReconcileLooked
                | Point::OrphanCommit
                | Point::OrphanCommitted
                | Point::DelegateRecorded
                | Point::DelegateSigned
                | Point::DelegateIssued
                | Point::LedgerGrowCommit
                | Point::LedgerGrown
                | Point::CheckpointSigned
                | Point::CheckpointRemembered
                | Point::CheckpointSwapCommit
                | Point::CheckpointSwapped
                | Point::CheckpointPublished
                | Point::CheckpointWitnessed
                | Point::CheckpointTiled
                | Point::FileWritten
                | Point::FileReplaced
                | Point::DeltaDue
                | Point::DeltaSwapCommit
                | Point::DeltaSwapCommitted
                | Point::AnchorTaken
                | Point::AnchorFiled
                | Point::AnchorHeld
        );
        let begun = Instant::now();
        while of_a_job && self.house.rig.is_alive() && begun.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// At each place where storage may fail, it does, once, under one server that lives: nobody hears more than *later*.
    fn every_storage_error(&mut self) {
        let fails = |point: &&Point| {
            let name = point.name();
            let told = ["commit", "committed", "ledger.grown", "checkpoint.swapped"];
            told.iter().any(|end| name.ends_with(end))
        };
        let points: Vec<Point> = Point::ALL.iter().filter(fails).copied().collect();
        assert_eq!(points.len(), 20, "{points:?}");
        // A start whose recovery is not confirmed ends, and is begun again; the job goes on.
        let pass = |point| u8::from(matches!(point, Point::OrphanCommit | Point::OrphanCommitted));
        let order = |point: &Point| format!("{}:error:{}", point.name(), pass(*point));
        let orders: Vec<String> = points.iter().map(order).collect();
        let logged = self.log_length();
        self.supplied(2);
        self.ordered(&orders.join(","));
        self.house.rig.start();
        let begun = Instant::now();
        let missing = |storm: &Self| {
            let log = storm.log_after(logged);
            let missed = |point: &&Point| !log.contains(&format!("failpoint {} Error\n", point.name()));
            points.iter().filter(missed).copied().collect::<Vec<_>>()
        };
        while !missing(self).is_empty() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "never came by {:?}",
                missing(self)
            );
            self.work_is_given();
            self.loaded(Blow::Anywhere(0));
            self.everybody_persists();
        }
        assert!(self.house.rig.is_alive());
        self.house.rig.kill();
    }

    /// Waits that are longer than the time within which an intent must be signed: it is an orphan by then, and stays one.
    fn long_waits(&mut self) {
        self.supplied(2);
        self.ordered(
            "corridor.recorded:pause=3500,record.committed:pause=200,issue.commit:pause=200,revoke.committed:pause=200,\
             crl.drafted:pause=200,ledger.grown:pause=200,checkpoint.remembered:pause=200",
        );
        let orphans = "SELECT count(*) FROM certificate WHERE state = 'orphan'";
        self.house.rig.start();
        let before: u64 = self.house.rig.sql(orphans).parse().unwrap();
        self.work_is_given();
        self.loaded(Blow::Anywhere(0));
        self.everybody_persists();
        let after: u64 = self.house.rig.sql(orphans).parse().unwrap();
        assert!(after > before, "an intent that waits too long is an orphan");
        self.house.rig.kill();
    }

    /// The last server stays: everybody gets what he came for, and the reader looks.
    pub(crate) fn all_is_well(&mut self) {
        self.up();
        self.everybody_persists();
        self.relying_parties_look();
        self.settled();
        let verdict = checker::check(self, None);
        if !verdict.violations.is_empty() {
            self.keep_for_people();
        }
        println!("{}: {}", self.engine, verdict.text.replace('\n', "; "));
        assert!(verdict.violations.is_empty(), "{:#?}", verdict.violations);
    }

    /// Leave what was found where `HOLDFAST_STORM_KEEP` says.
    fn keep_for_people(&self) {
        if let Some(folder) = std::env::var_os("HOLDFAST_STORM_KEEP") {
            let to = std::path::Path::new(&folder).join(format!("{}-{}", self.engine, std::process::id()));
            let copied = std::process::Command::new("cp")
                .arg("-a")
                .arg(self.house.rig.path(""))
                .arg(&to)
                .status();
            println!("kept in {}: {copied:?}", to.display());
        }
    }

    /// Enough devices with a certificate that one can be renewed and one revoked.
    pub(crate) fn supplied(&mut self, needed: usize) {
        let free = |storm: &Self| {
            let good = |d: &&Device| !d.retired && d.want == Want::Nothing && d.serial().is_some();
            storm.devices.iter().filter(good).count()
        };
        if free(self) >= needed {
            return;
        }
        self.up();
        while self.devices.iter().filter(|d| !d.retired).count() < needed * 2 {
            self.made += 1;
            let mut device = Device::strange(&self.house.rig, format!("storm-{}", self.made));
            device.by_socket = true;
            self.devices.push(device);
        }
        self.everybody_persists();
        self.house.rig.kill();
    }
}

/// So many kills on one engine, a new CA every few hundred.
pub(crate) fn kills(wanted: impl Fn() -> Wanted, engine: &'static str, seed: u64, count: usize) {
    let begun = Instant::now();
    let mut report = Report::new(engine, seed);
    let mut struck = Struck::new();
    let mut killed = 0;
    let mut batch = 0;
    while killed < count {
        let mut storm = Storm::killed_while_it_migrates(wanted(), engine, seed.wrapping_add(batch << 32), &mut struck);
        killed += 2;
        for _ in 0..LOOK.min(count.saturating_sub(killed)) {
            storm.supplied(2);
            let blow = Blow::drawn(&mut storm.dice);
            let at = storm.strike(blow).unwrap_or_else(|| "after the load".to_owned());
            *struck.entry(at).or_default() += 1;
            killed += 1;
        }
        storm.all_is_well();
        batch += 1;
        println!(
            "{engine}: {killed} of {count} kills, {} s, no violation",
            begun.elapsed().as_secs()
        );
        report.so_far(&struck);
    }
    report.close();
}

/// Each point once, by its name; then errors and long waits at them; then the reader.
pub(crate) fn every_point(wanted: Wanted, engine: &'static str) {
    let mut struck = Struck::new();
    let mut storm = Storm::killed_while_it_migrates(wanted, engine, 1, &mut struck);
    for point in again() {
        storm.supplied(2);
        let at = storm.strike(Blow::At(point, 0));
        assert_eq!(
            at.as_deref(),
            Some(point.name()),
            "the server never came by: {}",
            storm.house.rig.log()
        );
    }
    storm.every_storage_error();
    storm.long_waits();
    storm.all_is_well();
}
