//! What runs beside the requests: one thread for the signer, one for recovery, one for CRLs, one for the ledger,
//! one for the OCSP responder, one for intermediates.

mod aia;
pub mod crl;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::flow::ledger::advance;
use crate::flow::ocsp::{DelegateFault, Standing, renew};
use crate::flow::recover::{Which, recover};
use crate::house::{AnchorFault, House, LedgerFault};

/// Shortest wait between probes while the signer is away.
const SOON: Duration = Duration::from_secs(1);

/// The jobs, until dropped.
pub struct Jobs {
    threads: Vec<(&'static str, Sender<()>, JoinHandle<()>)>,
}

/// The job that ends last: the others record what they have to say before it is signed.
const LAST: &str = "ledger";

impl Jobs {
    /// Start them.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(house: &Arc<House>, probe_interval: Duration) -> std::io::Result<Self> {
        let mut jobs = Self { threads: Vec::new() };
        jobs.spawn("probe", house, move |house, stop| probe(house, stop, probe_interval))?;
        jobs.spawn("reconcile", house, reconcile)?;
        jobs.spawn("watch", house, watch)?;
        jobs.spawn("crl", house, crl::run)?;
        if house.ledger.is_some() {
            jobs.spawn(LAST, house, ledger)?;
        }
        if house.anchor.is_some() {
            jobs.spawn("anchor", house, anchor)?;
        }
        if house.ocsp.is_some() {
            jobs.spawn("responder", house, responder)?;
        }
        if house.aia.is_some() {
            jobs.spawn("aia", house, aia::run)?;
        }
        Ok(jobs)
    }

    fn spawn(
        &mut self,
        name: &'static str,
        house: &Arc<House>,
        work: impl Fn(&House, &Receiver<()>) + Send + 'static,
    ) -> std::io::Result<()> {
        let (stop, stopped) = channel();
        let house = Arc::clone(house);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || persist(&house, &stopped, work))?;
        self.threads.push((name, stop, thread));
        Ok(())
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let (last, others) = self.threads.drain(..).partition(|(name, ..)| *name == LAST);
        let all: [Vec<_>; 2] = [others, last];
        for jobs in all {
            let (stops, threads): (Vec<_>, Vec<_>) = jobs.into_iter().map(|(_, stop, thread)| (stop, thread)).unzip();
            drop::<Vec<Sender<()>>>(stops);
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a job ended in a panic");
                }
            }
        }
    }
}

/// A job that panics begins anew: a server that issues and publishes no CRL is half alive.
fn persist(house: &House, stop: &Receiver<()>, work: impl Fn(&House, &Receiver<()>)) {
    while catch_unwind(AssertUnwindSafe(|| work(house, stop))).is_err() {
        house.metrics.panicked();
        tracing::error!(
            job = std::thread::current().name(),
            "a job ended in a panic; it begins anew"
        );
        if !wait(stop, AGAIN) {
            return;
        }
    }
}

/// Pause before a job that panicked begins anew.
const AGAIN: Duration = Duration::from_secs(1);

/// Whether to go on after waiting for `time`.
fn wait(stop: &Receiver<()>, time: Duration) -> bool {
    matches!(stop.recv_timeout(time), Err(RecvTimeoutError::Timeout))
}

/// While certificates are issued no probe is needed; while the signer is away, probe often enough to notice its return.
fn probe(house: &House, stop: &Receiver<()>, interval: Duration) {
    let seconds = i64::try_from(interval.as_secs()).unwrap_or(i64::MAX);
    // A request may find at any moment that the signer is away: look for that more often than it is probed.
    let tick = SOON.min(interval);
    let mut waited = Duration::ZERO;
    while wait(stop, tick) {
        waited += tick;
        let away = house.signer.away().is_some();
        if !away && waited < interval {
            continue;
        }
        waited = Duration::ZERO;
        let now = house.clock.read().now.0;
        let fresh = house
            .signer
            .last_signed()
            .is_some_and(|at| now.saturating_sub(at) < seconds / 2);
        if away || !fresh {
            let _ = house.probe_signer();
        }
    }
}

/// The database must stay the one it was: a primary that was overtaken, or a standby that took over without everything, ends
/// issuing. While it is away there is nothing to be said of it.
fn watch(house: &House, stop: &Receiver<()>) {
    while wait(stop, SOON) {
        if let Ok(Some(why)) = house.store.watch() {
            house.halt.set(&why);
        }
    }
}

/// Longest pause between two turns while witnesses are away.
const UNWITNESSED: Duration = Duration::from_secs(30);

/// How soon the anchors follow a standby that took over.
const TICK: Duration = Duration::from_millis(100);

/// The anchors follow the record, when another PostgreSQL took over, and once more at the end. What fails is told once.
fn anchor(house: &House, stop: &Receiver<()>) {
    let Some(anchor) = &house.anchor else { return };
    // None yet: PostgreSQL's is remembered at the start, too.
    let (mut failing, mut followed) = (false, 0);
    loop {
        let (mut on, mut waited) = (true, Duration::ZERO);
        while on && waited < anchor.every {
            let tick = TICK.min(anchor.every.saturating_sub(waited));
            on = wait(stop, tick);
            waited += tick;
            // Who took over is remembered at once: a server that starts at the old primary next must know.
            if house.store.timeline() != followed {
                break;
            }
        }
        let timeline = house.store.timeline();
        // The token may know, from another server, of what this database does not have.
        match anchor.check(&house.store).and_then(|()| anchor.follow(&house.store)) {
            Ok(()) => (failing, followed) = (false, timeline),
            Err(older @ AnchorFault::Older { .. }) => house.halt.set(&older.to_string()),
            Err(error) if !failing => {
                tracing::error!(%error, "the anchor does not follow the record");
                failing = true;
            }
            Err(_) => {}
        }
        if !on {
            return;
        }
    }
}

/// How often it is looked whether the OCSP responder needs a new certificate, or lost the one it has.
const RESPONDER: Duration = Duration::from_secs(30);

/// A new certificate for the OCSP responder before the last one ends; often, while there is none.
fn responder(house: &House, stop: &Receiver<()>) {
    let Some(ocsp) = &house.ocsp else { return };
    let mut waited = Duration::ZERO;
    while wait(stop, SOON) {
        waited += SOON;
        if ocsp.responder().is_some() && waited < RESPONDER {
            continue;
        }
        waited = Duration::ZERO;
        match renew(house, ocsp) {
            Ok(Standing::Goes | Standing::Taken | Standing::Made) => {}
            Err(DelegateFault::Later(why)) => tracing::warn!(why, "the OCSP responder has no new certificate yet"),
            Err(DelegateFault::Refused(why)) => tracing::error!(why, "the OCSP responder gets no new certificate"),
        }
    }
}

/// The ledger grows and is signed. What fails is tried again, and told once; what waits for half of the time that was
/// promised is told, too.
fn ledger(house: &House, stop: &Receiver<()>) {
    let Some(ledger) = &house.ledger else { return };
    let promised = i64::try_from(ledger.terms.promise.as_secs()).unwrap_or(i64::MAX);
    let (mut failing, mut late) = (false, false);
    let mut pause = ledger.terms.every;
    loop {
        match advance(house, ledger) {
            Ok(_) => (failing, pause) = (false, ledger.terms.every),
            Err(error) => {
                // Each turn signs anew: while witnesses are away, ask them less and less often.
                if matches!(error, LedgerFault::Unwitnessed { .. }) {
                    pause = (pause * 2).min(UNWITNESSED.max(ledger.terms.every));
                }
                if !failing {
                    tracing::error!(%error, "the ledger does not go on");
                }
                failing = true;
            }
        }
        if let Ok(oldest) = house.store.ledger_waiting() {
            let age = oldest.map_or(0, |at| house.clock.read().now.0.saturating_sub(at).max(0));
            house.metrics.ledger_waits(age);
            if age > promised / 2 && !late {
                tracing::error!(
                    age,
                    promised,
                    "entries of the ledger wait: promises are about to be broken"
                );
            }
            late = age > promised / 2;
        }
        if !wait(stop, pause) {
            // What was recorded until now is signed before the end.
            let _ = advance(house, ledger);
            break;
        }
    }
}

/// How often the ledger hears how many refusals are in the audit file.
const REFUSALS: Duration = Duration::from_secs(3600);

/// Overdue intents become orphans, counters of expired challenges go; the newest record, of whatever server, moves the clock's memory.
fn reconcile(house: &House, stop: &Receiver<()>) {
    let pause = (house.terms.sign_deadline / 2).clamp(SOON, Duration::from_secs(30));
    let mut unsaid = Duration::ZERO;
    let said = || {
        let now = house.clock.read().now;
        if let Err(error) = house.audit.seal(|record| house.store.audit(record), now) {
            tracing::warn!(%error, "refusals are in the audit file, and not yet in the ledger");
        }
    };
    // What a server of before left unsaid.
    said();
    while wait(stop, pause) {
        unsaid += pause;
        if unsaid >= REFUSALS {
            unsaid = Duration::ZERO;
            said();
        }
        failpoint::reach(failpoint::Point::ReconcileLooked);
        match house.store.latest_time() {
            Ok(Some(latest)) => house.clock.saw(latest),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the newest record cannot be read"),
        }
        // A challenge that expired needs no counter: with an hour to spare for clocks that differ.
        let ttl = i64::try_from(house.terms.challenge_ttl.as_secs()).unwrap_or(i64::MAX);
        let expired = house.clock.read().now.0.saturating_sub(ttl).saturating_sub(3600);
        if let Err(error) = house.store.forget_attempts(expired) {
            tracing::warn!(%error, "old counters stay");
        }
        if let Err(error) = recover(house, Which::Overdue) {
            tracing::warn!(%error, "recovery has to wait");
        }
    }
    said();
}
