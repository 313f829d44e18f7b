//! One CA, one storm: trial after trial, a fault in each, and the verdict over all of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use device_kit::proxy::Proxy;
use device_kit::rig::{Rig, Shim, Wanted};
use issuance::ocsp::{CertId, CertIdForm, CertStatus, IssuerHashes, OcspRequest, RawOcspResponse};
use issuance::{Issuer, IssuerUrls, Serial, SignatureAlgorithm};
use openssl::x509::X509;
use serde_json::json;

use crate::checker;
use crate::device::{Device, Step, Want};
use crate::dice::Dice;
use crate::fault::Fault;
use crate::journal::{Journal, now};
use crate::report;

/// Trials on each database when nobody asks for others: some seconds.
const TRIALS: usize = 24;
/// Devices at work in a trial.
const AT_WORK: usize = 6;
/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// How many trials, by `HOLDFAST_STORM_TRIALS`.
pub(crate) fn trials() -> usize {
    number("HOLDFAST_STORM_TRIALS").map_or(TRIALS, |count| usize::try_from(count).unwrap())
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
    pub(crate) rig: Rig,
    pub(crate) shim: Shim,
    pub(crate) journal: Journal,
    pub(crate) database: String,
    pub(crate) engine: &'static str,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) dice: Dice,
    seed: u64,
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
        storm.rig.start();
        storm
    }

    /// One whose server was never started.
    pub(crate) fn still(wanted: Wanted, engine: &'static str, seed: u64) -> Self {
        let wanted = wanted.with_crls(0);
        let real = wanted.database.clone();
        let mut wanted = wanted
            .set("enrollment", "sign_deadline", "1s")
            .set("hsm", "login_backoff", "100ms")
            .set("hsm", "probe_interval", "1s");
        let mut proxy = None;
        if real.starts_with("postgres") {
            let before = Proxy::before(&real);
            wanted.database = before.url(&real);
            wanted = wanted.set("database", "connect_timeout", "1s");
            proxy = Some(before);
        }
        let mut rig = Rig::initialised(&wanted);
        let shim = rig.shim();
        let database = match real.strip_prefix("sqlite://") {
            Some(path) => rig.path(path).display().to_string(),
            None => real,
        };
        Self {
            journal: Journal::at(rig.path("journal.jsonl")),
            issuer: issuer(&rig),
            rig,
            shim,
            database,
            engine,
            proxy,
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
        let begun = Instant::now();
        for number in 1..=trials {
            let fault = Fault::drawn(&mut self.dice, self.proxy.is_some());
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
        match fault {
            Fault::Token(pass, order) => self.shim.order(pass, order),
            Fault::Cut(pass, cut) => self.proxy.as_ref().unwrap().cut(pass, cut),
            Fault::Strike(..) | Fault::CutAll(_) => {}
        }
        let halted = self.under_load(fault);
        let is_met = self.met(fault);
        let [trials, met] = self.played.entry(fault.word()).or_default();
        *trials += 1;
        if is_met {
            *met += 1;
            self.faults += 1;
            self.journal.note(&json!({"kind": "fault", "what": fault.word()}));
        }
        self.shim.withdraw();
        if let Some(proxy) = &self.proxy {
            proxy.withdraw();
        }
        if halted || !self.rig.is_alive() {
            self.start_again();
        }
        self.everybody_persists();
        self.relying_parties_look();
    }

    /// Whether it came to the fault: a storm may end before the fifth signature.
    fn met(&self, fault: Fault) -> bool {
        match fault {
            Fault::Strike(..) | Fault::CutAll(_) => true,
            Fault::Token(..) => !self.shim.waits(),
            Fault::Cut(..) => !self.proxy.as_ref().unwrap().waits(),
        }
    }

    fn start_again(&mut self) {
        self.rig.kill();
        self.rig.start();
        self.restarts += 1;
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
            let device = Device::allowed(&self.rig, format!("storm-{}", self.made));
            self.devices.push(device);
        }
    }

    /// Everybody at once, until the fault has come or the work is done; whether the server halted.
    fn under_load(&mut self, fault: Fault) -> bool {
        let (rig, journal) = (&self.rig, &self.journal);
        let at_work: Vec<&mut Device> = self.devices.iter_mut().filter(|d| d.want != Want::Nothing).collect();
        let queue = Mutex::new(at_work);
        let (sent, busy, halted) = (AtomicUsize::new(0), AtomicUsize::new(AT_WORK), AtomicBool::new(false));
        let proxy = self.proxy.as_ref();
        std::thread::scope(|scope| {
            for _ in 0..AT_WORK {
                scope.spawn(|| {
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        let next = || queue.lock().unwrap().pop();
                        while let Some(device) = next() {
                            for _ in 0..6 {
                                sent.fetch_add(1, Ordering::SeqCst);
                                match device.step(rig, journal) {
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
                    rig.server().strike();
                }
                Fault::CutAll(count) => {
                    wait(count);
                    proxy.unwrap().cut_all();
                }
                Fault::Token(..) | Fault::Cut(..) => {}
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
                    match device.step(&self.rig, &self.journal) {
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
                self.rig.log()
            );
            if halted || !self.rig.is_alive() {
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
        self.crl_is_read().unwrap();
        for hex in asked {
            self.status_is_asked(&hex).unwrap();
        }
    }

    /// A relying party reads the CRL.
    pub(crate) fn crl_is_read(&self) -> Result<(), ureq::Error> {
        let began = now();
        let mut answer = silent()
            .get(format!("http://{}/crl/all.crl", self.rig.server().status()))
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
            .post(format!("http://{}/ocsp", self.rig.server().status()))
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
        while self.rig.open_intents() > 0 {
            assert!(begun.elapsed() < PATIENCE, "intents stay open: {}", self.rig.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!self.rig.log().contains("defect"), "{}", self.rig.log());
    }

    /// Nothing is open any more; what the independent reader says.
    pub(crate) fn verdict(&mut self) {
        self.settled();
        println!("{}: seed {}, {} trials' verdict", self.engine, self.seed, self.faults);
        let verdict = checker::check(self, None);
        println!("{}", verdict.text);
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
