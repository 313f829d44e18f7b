//! One CA, one storm: trial after trial, a fault in each, and the verdict over all of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use device_kit::clients::{Device, Journal, PATIENCE, Step, Want, now, until};
use device_kit::rig::{Rig, Wanted};
use issuance::ocsp::{CertId, CertIdForm, CertStatus, IssuerHashes, OcspRequest, RawOcspResponse};
use issuance::{Issuer, IssuerUrls, Serial, SignatureAlgorithm};
use openssl::x509::X509;
use serde_json::json;

use crate::checker;
use crate::fault::Fault;
use crate::house::House;
use crate::report;
use device_kit::dice::Dice;

/// Trials on each database when nobody asks for others: some seconds.
const TRIALS: usize = 24;
/// The same over three servers, which take longer to come back.
const TRIALS_OF_THREE: usize = 12;
/// Devices at work in a trial.
const AT_WORK: usize = 6;
/// How many trials, by `HOLDFAST_STORM_TRIALS`.
pub(crate) fn trials() -> usize {
    number("HOLDFAST_STORM_TRIALS").map_or(TRIALS, |count| usize::try_from(count).unwrap())
}

/// How many over three servers, by the same.
pub(crate) fn trials_of_three() -> usize {
    number("HOLDFAST_STORM_TRIALS").map_or(TRIALS_OF_THREE, |count| usize::try_from(count).unwrap())
}

/// The seed, by `HOLDFAST_STORM_SEED`.
pub(crate) fn seed() -> u64 {
    number("HOLDFAST_STORM_SEED").unwrap_or(1)
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: a number: {text}")))
}

/// A CA in a storm.
pub(crate) struct Storm {
    pub(crate) house: House,
    pub(crate) journal: Journal,
    pub(crate) database: String,
    pub(crate) engine: &'static str,
    pub(crate) dice: Dice,
    pub(crate) seed: u64,
    pub(crate) devices: Vec<Device>,
    pub(crate) made: usize,
    issuer: Issuer,
    faults: usize,
    /// By fault: trials, and those that came to it.
    played: BTreeMap<&'static str, [u64; 2]>,
    restarts: usize,
}

impl Storm {
    pub(crate) fn new(wanted: Wanted, engine: &'static str) -> Self {
        let mut storm = Self::still(wanted, engine, seed());
        storm.house.rig.start();
        storm
    }

    /// One whose server was never started.
    pub(crate) fn still(wanted: Wanted, engine: &'static str, seed: u64) -> Self {
        let database = wanted.database.clone();
        Self::over(House::of_one(wanted), database, engine, seed)
    }

    /// The same of one that publishes all there is.
    pub(crate) fn publishing(wanted: Wanted, engine: &'static str, seed: u64) -> Self {
        let database = wanted.database.clone();
        Self::over(House::of_a_publisher(wanted), database, engine, seed)
    }

    /// One over three servers, started.
    pub(crate) fn over_three(wanted: Wanted, engine: &'static str) -> Self {
        let database = wanted.database.clone();
        Self::over(House::of_three(wanted), database, engine, seed())
    }

    fn over(house: House, database: String, engine: &'static str, seed: u64) -> Self {
        let database = match database.strip_prefix("sqlite://") {
            Some(path) => house.rig.path(path).display().to_string(),
            None => database,
        };
        Self {
            journal: Journal::of(&house.rig),
            issuer: issuer(&house.rig),
            house,
            database,
            engine,
            dice: Dice::new(seed),
            seed,
            devices: Vec::new(),
            made: 0,
            faults: 0,
            played: BTreeMap::new(),
            restarts: 0,
        }
    }

    /// Play so many trials.
    pub(crate) fn run(&mut self, trials: usize) {
        println!("{}: seed {}, {trials} trials", self.engine, self.seed);
        let begun = Instant::now();
        for number in 1..=trials {
            let fault = Fault::drawn(&mut self.dice, self.house.is_proxied(), self.house.servers());
            self.trial(fault);
            if number % 50 == 0 || number == trials {
                println!(
                    "{}: {number} of {trials} trials, {} faults met, {} starts again, {} s",
                    self.engine,
                    self.faults,
                    self.restarts,
                    begun.elapsed().as_secs()
                );
            }
        }
    }

    /// Who does what, the fault in the midst of it, and everything set right again.
    pub(crate) fn trial(&mut self, fault: Fault) {
        self.give_work();
        let at = self.dice.below(self.house.servers());
        match fault {
            Fault::Point(point, pass) => self.house.starts_with(at, &format!("{}:kill:{pass}", point.name())),
            _ => self.house.comes_in(at),
        }
        match fault {
            Fault::Token(pass, order) => self.house.shim(at).order(pass, order),
            Fault::Cut(pass, cut) => self.house.proxy(at).cut(pass, cut),
            Fault::Strike(..) | Fault::StrikeAll(..) | Fault::CutAll(_) | Fault::Point(..) => {}
        }
        let halted = self.under_load(fault, at);
        if let Fault::Point(..) = fault {
            self.house.dies(at);
        }
        let is_met = self.met(fault, at);
        let [trials, met] = self.played.entry(fault.word()).or_default();
        *trials += 1;
        if is_met {
            *met += 1;
            self.faults += 1;
            self.journal.note(&json!({"kind": "fault", "what": fault.word()}));
        }
        self.house.withdraw();
        if self.house.is_dark(halted) {
            self.start_again();
        }
        self.everybody_persists();
        if let Some(three) = &self.house.three {
            // Two served until now, or one. An order that was not met is with the server until it ends.
            let also = matches!(fault, Fault::Point(..)).then_some(at);
            if (0..3).any(|n| also == Some(n) || !three.is_alive(n) || three.is_halted(n)) {
                self.restarts += self.house.start_again(also);
            }
        }
        self.relying_parties_look();
    }

    /// Whether it came to the fault: a storm may end before the fifth signature.
    fn met(&self, fault: Fault, at: usize) -> bool {
        match fault {
            Fault::Strike(..) | Fault::StrikeAll(..) | Fault::CutAll(_) => true,
            Fault::Token(..) => !self.house.shim(at).waits(),
            Fault::Cut(..) => !self.house.proxy(at).waits(),
            Fault::Point(..) => !self.house.three.as_ref().unwrap().is_alive(at),
        }
    }

    fn start_again(&mut self) {
        self.restarts += self.house.start_again(None);
    }

    /// New devices enroll, old ones renew or are revoked.
    fn give_work(&mut self) {
        self.devices.retain(|device| !device.retired);
        let mut free: Vec<usize> = (0..self.devices.len()).collect();
        while free.len() > AT_WORK / 2 {
            let drawn = self.dice.below(free.len());
            free.swap_remove(drawn);
        }
        for index in &free {
            let revoke = self.dice.throw(3) == 0;
            self.devices[*index].want = if revoke { Want::Revoke } else { Want::Renew };
        }
        for _ in free.len()..AT_WORK {
            self.made += 1;
            let device = Device::strange(&self.house.rig, format!("storm-{}", self.made));
            self.devices.push(device);
        }
    }

    /// Everybody at once, until the fault has come or the work is done; whether somebody was told that a server halted.
    fn under_load(&mut self, fault: Fault, at: usize) -> bool {
        let (house, journal) = (&self.house, &self.journal);
        let at_work: Vec<&mut Device> = self.devices.iter_mut().filter(|d| d.want != Want::Nothing).collect();
        let queue = Mutex::new(at_work);
        let (sent, busy, halted) = (AtomicUsize::new(0), AtomicUsize::new(AT_WORK), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..AT_WORK {
                scope.spawn(|| {
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        let next = || queue.lock().unwrap().pop();
                        while let Some(device) = next() {
                            for _ in 0..7 {
                                sent.fetch_add(1, Ordering::SeqCst);
                                match device.step(&*house.door(), journal) {
                                    Step::Again => {}
                                    Step::Done | Step::Lost => break,
                                    Step::Halted => {
                                        halted.store(true, Ordering::SeqCst);
                                        return;
                                    }
                                }
                            }
                        }
                    }))
                    .map_err(|_| journal.note(&json!({"kind": "answer", "status": 0, "code": "a client stopped"})));
                    busy.fetch_sub(1, Ordering::SeqCst);
                });
            }
            let wait = |count: usize| {
                while sent.load(Ordering::SeqCst) < count && busy.load(Ordering::SeqCst) > 0 {
                    std::thread::sleep(Duration::from_micros(300));
                }
            };
            match fault {
                Fault::Strike(count, later) => {
                    wait(count);
                    std::thread::sleep(Duration::from_micros(later));
                    house.strike(at);
                }
                Fault::StrikeAll(count, later) => {
                    wait(count);
                    std::thread::sleep(Duration::from_micros(later));
                    (0..house.servers()).for_each(|at| house.strike(at));
                }
                Fault::CutAll(count) => {
                    wait(count);
                    house.proxy(at).cut_all();
                }
                Fault::Token(..) | Fault::Cut(..) | Fault::Point(..) => {}
            }
        });
        halted.into_inner()
    }

    /// Whoever has not what he came for asks again, and begins anew where he must.
    pub(crate) fn everybody_persists(&mut self) {
        let begun = Instant::now();
        loop {
            let mut halted = false;
            for device in self.devices.iter_mut().filter(|d| d.want != Want::Nothing) {
                for _ in 0..4 {
                    match device.step(&*self.house.door(), &self.journal) {
                        Step::Again => {}
                        Step::Done | Step::Lost => break,
                        Step::Halted => {
                            halted = true;
                            break;
                        }
                    }
                }
            }
            if self.devices.iter().all(|device| device.want == Want::Nothing) {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "not everybody has what he came for: {}",
                self.house.rig.logs()
            );
            if self.house.is_dark(halted) {
                self.start_again();
            }
            // The pace of one who was told: later.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// CRL and OCSP, as they are shown now.
    pub(crate) fn relying_parties_look(&mut self) {
        let asked: Vec<String> = self
            .devices
            .iter()
            .rev()
            .filter_map(|d| Some(d.serial()?.to_owned()))
            .take(3)
            .collect();
        // A balancer may lead to one that is gone, for a moment.
        until("the CRL is shown", || self.crl_is_read().is_ok());
        for hex in asked {
            until("OCSP answers", || self.status_is_asked(&hex).is_ok());
        }
    }

    /// A relying party reads the CRL.
    pub(crate) fn crl_is_read(&self) -> Result<(), ureq::Error> {
        let began = now();
        let mut answer = silent()
            .get(format!("http://{}/crl/all.crl", self.house.status()))
            .call()?;
        if answer.status() == 200 {
            let der = hex::encode(answer.body_mut().read_to_vec()?);
            let url = "http://pki.example.net/crl/all.crl";
            self.journal
                .note(&json!({"kind": "crl", "url": url, "began": began, "ended": now(), "der": der}));
        }
        Ok(())
    }

    /// A relying party asks about a certificate.
    pub(crate) fn status_is_asked(&self, hex: &str) -> Result<(), ureq::Error> {
        let octets: [u8; 16] = hex::decode(hex).unwrap().try_into().unwrap();
        let serial = Serial::from_octets(octets).unwrap();
        let id = CertId {
            form: CertIdForm::Sha256,
            serial,
        };
        let question = OcspRequest::encode(id, &IssuerHashes::of(&self.issuer), None);
        let began = now();
        let answer = silent()
            .post(format!("http://{}/ocsp", self.house.status()))
            .header("content-type", "application/ocsp-request")
            .send(&question)?
            .body_mut()
            .read_to_vec()?;
        let said = RawOcspResponse::decode(answer).and_then(|raw| raw.verify(&self.issuer));
        let word = match said.map(|answer| answer.status(serial)) {
            Ok(Some(CertStatus::Good)) => "good",
            Ok(Some(CertStatus::Revoked { .. })) => "revoked",
            Ok(_) => "unknown",
            Err(_) => "later",
        };
        self.journal
            .note(&json!({"kind": "ocsp", "serial": hex, "began": began, "ended": now(), "status": word}));
        Ok(())
    }

    /// Nothing is left open.
    pub(crate) fn settled(&self) {
        let begun = Instant::now();
        while self.house.rig.open_intents() > 0 {
            assert!(
                begun.elapsed() < PATIENCE,
                "intents stay open: {}",
                self.house.rig.logs()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = self.house.rig.logs();
        assert!(!log.contains("defect"), "{log}");
    }

    /// Nothing is open any more; what the independent reader says.
    pub(crate) fn verdict(&mut self) {
        self.settled();
        let verdict = checker::check(self, None);
        println!(
            "{}: seed {}, the reader counted\n{}",
            self.engine, self.seed, verdict.text
        );
        report::faults(self.engine, self.seed, &self.played, &verdict.violations);
        assert!(verdict.violations.is_empty(), "{:#?}", verdict.violations);
        checker::holds_elsewhere(self);
        checker::finds_what_is_done_to_it(self);
    }
}

/// What an error status says is heard as well.
fn silent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn issuer(rig: &Rig) -> Issuer {
    let pem = std::fs::read(rig.path("ca/chain.pem")).unwrap();
    let chain = X509::stack_from_pem(&pem).unwrap();
    let chain: Vec<Vec<u8>> = chain.iter().map(|c| c.to_der().unwrap()).collect();
    Issuer::from_chain(&chain, SignatureAlgorithm::EcdsaP256Sha256, IssuerUrls::default()).unwrap()
}
