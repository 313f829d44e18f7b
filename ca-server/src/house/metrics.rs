//! Numbers for the operator. Never a device, a serial number or an EK in a label.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use rustix::time::{ClockId, clock_gettime};

/// Step of an enrollment that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Decode and verify the endorsement.
    Endorse,
    /// Make and seal the challenge.
    Challenge,
    /// Open the ticket and verify the answer.
    Answer,
    /// Inventory and policy.
    Decide,
    /// Draft and lint.
    Lint,
    /// Record the intent.
    Record,
    /// Sign in the HSM and verify.
    Sign,
    /// Record the outcome.
    Store,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Endorse => "endorse",
            Self::Challenge => "challenge",
            Self::Answer => "answer",
            Self::Decide => "decide",
            Self::Lint => "lint",
            Self::Record => "record",
            Self::Sign => "sign",
            Self::Store => "store",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProfileLabel {
    profile: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabel {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OcspLabel {
    answer: &'static str,
    from: &'static str,
}

/// The numbers.
pub struct Metrics {
    registry: Registry,
    enrollments: Family<StepLabel, Counter>,
    refusals: Family<ReasonLabel, Counter>,
    issued: Family<ProfileLabel, Counter>,
    answers: Family<AnswerLabel, Counter>,
    phases: Family<PhaseLabel, Histogram, fn() -> Histogram>,
    phases_cpu: Family<PhaseLabel, Counter<f64, AtomicU64>>,
    orphans: Counter,
    crls: Family<ResultLabel, Counter>,
    crl_alarms: Family<AlarmLabel, Counter>,
    crl_alarmed: Gauge,
    crl_next_update: Gauge,
    crl_entries: Gauge,
    panics: Counter,
    hsm_up: Gauge,
    halted: Gauge,
    in_flight: Gauge,
    issuer_not_after: Gauge,
    ocsp: Family<OcspLabel, Counter>,
    ocsp_unknown: Counter,
    ocsp_responder_not_after: Gauge,
    ledger_size: Gauge,
    ledger_waiting: Gauge,
    ledger_witnesses: Gauge,
    tpm_clocks: Family<RuleLabel, Counter>,
}

fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("ca");
        let enrollments = Family::default();
        let refusals = Family::default();
        let issued = Family::default();
        let answers = Family::default();
        let phases = Family::<PhaseLabel, Histogram, fn() -> Histogram>::new_with_constructor(buckets);
        let phases_cpu = Family::default();
        let orphans = Counter::default();
        let crls = Family::default();
        let crl_alarms = Family::default();
        let crl_alarmed = Gauge::default();
        let crl_next_update = Gauge::default();
        let crl_entries = Gauge::default();
        registry.register("crls", "Turns to publish a CRL, by how they ended", crls.clone());
        registry.register("crl_alarms", "Alarms raised about CRLs", crl_alarms.clone());
        registry.register("crl_alarmed", "CRLs with an alarm now", crl_alarmed.clone());
        registry.register(
            "crl_next_update_timestamp_seconds",
            "When the first of the published CRLs ends; 0 without any",
            crl_next_update.clone(),
        );
        registry.register("crl_entries", "Entries of all published CRLs", crl_entries.clone());
        let panics = Counter::default();
        let hsm_up = Gauge::default();
        let halted = Gauge::default();
        let in_flight = Gauge::default();
        let issuer_not_after = Gauge::default();
        registry.register("enrollments", "Enrollment steps by result", enrollments.clone());
        registry.register("refusals", "Refusals by audit reason", refusals.clone());
        registry.register("certificates_issued", "Certificates issued", issued.clone());
        registry.register("http_answers", "Answers by route and status", answers.clone());
        registry.register("enrollment_phase_seconds", "Time of each step", phases.clone());
        registry.register(
            "enrollment_phase_cpu_seconds",
            "Processor time of each step on its own thread; the store's writer has a thread of its own",
            phases_cpu.clone(),
        );
        registry.register("orphans", "Intents whose signature is unknown", orphans.clone());
        registry.register("panics", "Defects that were caught", panics.clone());
        registry.register("hsm_up", "1 when the signer answered last", hsm_up.clone());
        registry.register("halted", "1 when issuing is stopped", halted.clone());
        registry.register(
            "issuer_not_after_timestamp_seconds",
            "Last second of the issuing CA",
            issuer_not_after.clone(),
        );
        let ocsp = Family::default();
        let ocsp_unknown = Counter::default();
        let ocsp_responder_not_after = Gauge::default();
        registry.register(
            "ocsp_answers",
            "OCSP answers by what they say and where from",
            ocsp.clone(),
        );
        registry.register(
            "ocsp_serials_not_on_record",
            "Questions that name this CA and a serial that is not on record",
            ocsp_unknown.clone(),
        );
        registry.register(
            "ocsp_responder_not_after_timestamp_seconds",
            "Last second of the OCSP responder's certificate",
            ocsp_responder_not_after.clone(),
        );
        let ledger_size = Gauge::default();
        let ledger_waiting = Gauge::default();
        let ledger_witnesses = Gauge::default();
        registry.register(
            "ledger_size",
            "Entries of the ledger that are signed",
            ledger_size.clone(),
        );
        registry.register(
            "ledger_waiting_seconds",
            "Age of the oldest entry that has no place in the ledger yet",
            ledger_waiting.clone(),
        );
        registry.register(
            "ledger_witnesses",
            "Witnesses that have signed the checkpoint which they were shown last",
            ledger_witnesses.clone(),
        );
        let tpm_clocks = Family::default();
        registry.register(
            "tpm_clock_alarms",
            "TPMs whose clock or counters went back, by the rule that was applied",
            tpm_clocks.clone(),
        );
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs", build);
        registry.register("requests_in_flight", "Requests worked on", in_flight.clone());
        Self {
            registry,
            enrollments,
            refusals,
            issued,
            answers,
            phases,
            phases_cpu,
            orphans,
            crls,
            crl_alarms,
            crl_alarmed,
            crl_next_update,
            crl_entries,
            panics,
            hsm_up,
            halted,
            in_flight,
            issuer_not_after,
            ocsp,
            ocsp_unknown,
            ocsp_responder_not_after,
            ledger_size,
            ledger_waiting,
            ledger_witnesses,
            tpm_clocks,
        }
    }

    /// Until when the issuing CA may sign.
    pub fn issuer_ends(&self, at: i64) {
        self.issuer_not_after.set(at);
    }

    /// An OCSP answer was given: what it says, and whether it was signed now, cached, or not signed at all.
    pub fn ocsp_answered(&self, answer: &'static str, from: &'static str) {
        self.ocsp.get_or_create(&OcspLabel { answer, from }).inc();
    }

    /// Somebody asked about a serial of this CA's form that is not on record.
    pub fn ocsp_not_on_record(&self) {
        self.ocsp_unknown.inc();
    }

    /// Until when the OCSP responder may sign.
    pub fn responder_ends(&self, at: i64) {
        self.ocsp_responder_not_after.set(at);
    }

    /// Time `work` as `phase`.
    pub fn timed<T>(&self, phase: Phase, work: impl FnOnce() -> T) -> T {
        let (start, cpu) = (Instant::now(), thread_time());
        let result = work();
        let (took, cpu) = (start.elapsed(), thread_time().saturating_sub(cpu));
        let label = PhaseLabel { phase: phase.as_str() };
        self.phases.get_or_create(&label).observe(took.as_secs_f64());
        self.phases_cpu.get_or_create(&label).inc_by(cpu.as_secs_f64());
        result
    }

    /// A step of an enrollment ended.
    pub fn step(&self, step: &'static str, result: &'static str) {
        self.enrollments.get_or_create(&StepLabel { step, result }).inc();
    }

    /// A refusal was recorded; `reason` is one of a fixed set.
    pub fn refused(&self, reason: &str) {
        let reason = reason.to_owned();
        self.refusals.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A certificate was issued; profiles are a fixed set.
    pub fn issued(&self, profile: &str) {
        let profile = profile.to_owned();
        self.issued.get_or_create(&ProfileLabel { profile }).inc();
    }

    /// A request was answered; `route` is the pattern, never the path.
    pub fn answered(&self, route: &'static str, status: u16) {
        self.answers.get_or_create(&AnswerLabel { route, status }).inc();
    }

    /// Intents became orphans.
    pub fn orphaned(&self, count: usize) {
        self.orphans.inc_by(count as u64);
    }

    /// A turn to publish a CRL ended; `result` is one of a fixed set.
    pub fn crl(&self, result: &'static str) {
        self.crls.get_or_create(&ResultLabel { result }).inc();
    }

    /// An alarm about a CRL was raised.
    pub fn crl_alarm(&self, reason: &'static str) {
        self.crl_alarms.get_or_create(&AlarmLabel { reason }).inc();
    }

    /// How the published CRLs stand: alarms now, when the first of them ends, entries of all.
    pub fn crls_stand(&self, alarms: usize, next_update: Option<i64>, entries: i64) {
        self.crl_alarmed.set(i64::try_from(alarms).unwrap_or(i64::MAX));
        self.crl_next_update.set(next_update.unwrap_or(0));
        self.crl_entries.set(entries);
    }

    /// So many witnesses have signed the last checkpoint.
    pub fn witnesses(&self, count: usize) {
        self.ledger_witnesses.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// So many entries of the ledger are signed.
    pub fn ledger(&self, size: u64) {
        self.ledger_size.set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    /// So old is the oldest entry that has no place yet, seconds.
    pub fn ledger_waits(&self, seconds: i64) {
        self.ledger_waiting.set(seconds);
    }

    /// So often a TPM's clock went back since the start, under each rule.
    pub fn tpm_clocks(&self, alarms: [(&'static str, u64); 3]) {
        for (rule, count) in alarms {
            let counter = self.tpm_clocks.get_or_create(&RuleLabel { rule });
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    /// A panic was caught.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Panics so far.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// A request is worked on until the guard falls.
    #[must_use]
    pub fn working(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// OpenMetrics text.
    #[must_use]
    pub fn render(&self, signer_up: bool, halted: bool) -> String {
        self.hsm_up.set(i64::from(signer_up));
        self.halted.set(i64::from(halted));
        let mut out = String::new();
        match text::encode(&mut out, &self.registry) {
            Ok(()) => out,
            Err(_) => String::new(),
        }
    }
}

/// Processor time of this thread so far.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// One request under way.
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
