//! The one thread that writes: many changes, one transaction, answers only after the commit (group commit).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use failpoint::{Point, pass};

use crate::change::{Change, Outcome};
use crate::connect::Place;
use crate::link::{Fault, Link};
use crate::{
    StoreError, StoreOptions, change, clock, erase, inventory, issued, keeping, manifest, order, renewal, replacement,
    review, revocation, standing,
};

/// After a refused connection, callers are told at once for this long; then the next one tries.
const BACK_OFF: Duration = Duration::from_millis(250);
/// How often a thread without a connection looks for one, though nobody asks it to write: whoever asks first need not wait, and
/// a server that says that it is not ready is not asked.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often one change looks again after losing a race.
const TRIES: usize = 5;

const QUEUED: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// A change on its way.
struct Job {
    change: Change,
    reply: SyncSender<Result<Outcome, StoreError>>,
    state: Arc<AtomicU8>,
}

/// The way to the writer. Dropping it ends the thread and waits for it.
pub(crate) struct Writer {
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    patience: Duration,
    broken_disk: Arc<OnceLock<String>>,
    away: Arc<Mutex<Option<String>>>,
}

impl Writer {
    /// Start the thread on a connection that is ready.
    pub(crate) fn start(place: Place, link: Link, options: &StoreOptions) -> Result<Self, StoreError> {
        let group = options.group.clamp(1, 1000);
        let moment = options.connect_timeout;
        // Longer than everything the thread itself waits for: connecting, one statement, one lock.
        let patience = moment * 2 + Duration::from_secs(20);
        let (queue, jobs) = channel();
        let broken_disk = Arc::new(OnceLock::new());
        let away = Arc::new(Mutex::new(None));
        let mut hand = Hand {
            since: place.generation(),
            place,
            link: Some(link),
            patience,
            moment,
            refused: None,
            broken_disk: Arc::clone(&broken_disk),
            away: Arc::clone(&away),
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || hand.serve(&jobs, group))
            .map_err(|e| StoreError::Unavailable(format!("no thread for the writer: {e}")))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            patience,
            broken_disk,
            away,
        })
    }

    /// Why nothing is written any more until a restart, if so.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken_disk.get().map(String::as_str)
    }

    /// Why there is no connection to write on, when it was last looked for.
    pub(crate) fn away(&self) -> Option<String> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The disk failed elsewhere: write nothing more.
    pub(crate) fn give_up(&self, text: &str) {
        tracing::error!(%text, "the disk failed under the database; nothing more is written until a restart");
        let _first = self.broken_disk.set(format!("the disk failed: {text}"));
    }

    /// Have a change written; durable on return.
    pub(crate) fn write(&self, change: Change) -> Result<Outcome, StoreError> {
        let (reply, answer) = sync_channel(1);
        let state = Arc::new(AtomicU8::new(QUEUED));
        let job = Job {
            change,
            reply,
            state: Arc::clone(&state),
        };
        let gone = || StoreError::Unavailable("the writer has ended".to_owned());
        self.queue.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        match answer.recv_timeout(self.patience) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => {
                // Whoever changes the state first decides whether it was begun.
                match state.compare_exchange(QUEUED, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => Err(StoreError::Unavailable("the writer is busy".to_owned())),
                    Err(_) => Err(StoreError::Unknown("the writer gave no answer in time".to_owned())),
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                if state.load(Ordering::Acquire) == QUEUED {
                    Err(gone())
                } else {
                    Err(StoreError::Unknown("the writer stopped in the middle".to_owned()))
                }
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // Its panics are caught inside; there is nothing to learn here.
            let _ended = thread.join();
        }
    }
}

/// How a transaction ended.
enum Ending {
    Committed(Vec<Outcome>),
    /// Nothing was written.
    NotWritten(Fault),
    /// COMMIT was sent and not confirmed.
    Unconfirmed(Fault),
}

/// What the thread holds.
struct Hand {
    place: Place,
    link: Option<Link>,
    /// The generation it is of.
    since: i64,
    /// How long callers wait.
    patience: Duration,
    /// How long to wait for a database that went away during a COMMIT.
    moment: Duration,
    refused: Option<(Instant, StoreError)>,
    /// Set once: the disk failed.
    broken_disk: Arc<OnceLock<String>>,
    /// Why there is no connection, for whoever asks.
    away: Arc<Mutex<Option<String>>>,
}

impl Hand {
    fn serve(&mut self, jobs: &Receiver<Job>, group: usize) {
        loop {
            let next = match self.refused {
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => jobs.recv_timeout(LOOK_AGAIN),
            };
            let first = match next {
                Ok(first) => first,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    if let Ok(link) = self.connected() {
                        self.link = Some(link);
                    }
                    continue;
                }
            };
            let mut batch = vec![first];
            while batch.len() < group {
                match jobs.try_recv() {
                    Ok(job) => batch.push(job),
                    Err(_) => break,
                }
            }
            batch.retain(|job| {
                job.state
                    .compare_exchange(QUEUED, TAKEN, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
            });
            let whole = catch_unwind(AssertUnwindSafe(|| self.write(batch)));
            if whole.is_err() {
                // The jobs and their reply channels are gone: their callers hear "unknown". The connection may stand
                // in the middle of a transaction.
                tracing::error!("the store's writer panicked; it goes on with a new connection");
                self.link = None;
            }
        }
    }

    /// Write a batch and answer everyone in it.
    fn write(&mut self, batch: Vec<Job>) {
        if batch.is_empty() {
            return;
        }
        let mut ending = self.attempt(&batch, false);
        if let Ending::NotWritten(Fault::Lost(_)) = ending {
            // An idle connection that died, for example at a restart of the server: nothing was sent for good.
            ending = self.attempt(&batch, false);
        }
        match ending {
            Ending::Committed(outcomes) => {
                for (job, outcome) in batch.into_iter().zip(outcomes) {
                    answer(job, Ok(outcome));
                }
            }
            Ending::NotWritten(fault @ (Fault::Away(_) | Fault::Lost(_) | Fault::Disk(_))) => {
                let text = self.place.redact(&fault.text());
                for job in batch {
                    answer(job, Err(StoreError::Unavailable(text.clone())));
                }
            }
            // Someone in the batch is at fault, or in a race: each alone, so that no one fails for a neighbour.
            Ending::NotWritten(_) => self.each(batch, false),
            Ending::Unconfirmed(_) => {
                self.reconnect();
                self.each(batch, true);
            }
        }
    }

    /// Write each change of a batch alone, as long as its caller still waits.
    fn each(&mut self, batch: Vec<Job>, again: bool) {
        let begun = Instant::now();
        for job in batch {
            if begun.elapsed() < self.patience / 2 {
                self.alone(job, again);
            } else {
                let text = "the database is too slow".to_owned();
                let error = if again {
                    StoreError::Unknown(text)
                } else {
                    StoreError::Unavailable(text)
                };
                answer(job, Err(error));
            }
        }
    }

    /// Write one change in a transaction of its own. `again`: a transaction with it may have been committed before.
    fn alone(&mut self, job: Job, mut again: bool) {
        let mut last = String::new();
        for tried in 0..TRIES {
            if again && !job.change.repeatable() {
                break;
            }
            match self.attempt(std::slice::from_ref(&job), again) {
                Ending::Committed(outcomes) => {
                    if let Some(outcome) = outcomes.into_iter().next() {
                        answer(job, Ok(outcome));
                    }
                    return;
                }
                Ending::NotWritten(fault) => {
                    // Once more in any case: a server that speaks another language hides its deadlocks from us.
                    let retry = match &fault {
                        Fault::Lost(_) | Fault::Raced(_) | Fault::Unique(_) => true,
                        Fault::Failed(_) => tried == 0,
                        Fault::Away(_) | Fault::Disk(_) => false,
                    };
                    if let (Change::Intend(_), Fault::Unique(name)) = (&job.change, &fault) {
                        // Looking again would not find a serial: only the index knows all of them.
                        if order::is_serial(name) {
                            answer(job, Ok(Outcome::Recorded(Err(issuance::RecordError::SerialTaken))));
                            return;
                        }
                    }
                    last = self.place.redact(&fault.text());
                    if !retry {
                        break;
                    }
                }
                Ending::Unconfirmed(fault) => {
                    last = self.place.redact(&fault.text());
                    again = true;
                }
            }
        }
        let error = if again {
            StoreError::Unknown(last)
        } else {
            StoreError::Unavailable(last)
        };
        answer(job, Err(error));
    }

    /// One transaction.
    fn attempt(&mut self, batch: &[Job], again: bool) -> Ending {
        if let Some(text) = self.broken_disk.get() {
            return Ending::NotWritten(Fault::Disk(text.clone()));
        }
        let mut link = match self.connected() {
            Ok(link) => link,
            Err(e) => return Ending::NotWritten(Fault::Away(e.to_string())),
        };
        let written = link
            .begin()
            .map_err(Fault::from)
            .and_then(|()| fill(&mut link, batch, again))
            .and_then(|outcomes| Ok(come_by(batch, |[before, _]| before).map(|()| outcomes)?));
        let ending = match written {
            Ok(outcomes) => match link.run("COMMIT") {
                Ok(()) => match come_by(batch, |[_, after]| after) {
                    Ok(()) => Ending::Committed(outcomes),
                    // As a connection that ends before the answer to COMMIT is heard.
                    Err(unheard) => Ending::Unconfirmed(Fault::Lost(unheard.to_string())),
                },
                Err(e) => Ending::Unconfirmed(e.into()),
            },
            Err(fault) => Ending::NotWritten(fault),
        };
        match &ending {
            Ending::Committed(_) => self.link = Some(link),
            Ending::NotWritten(Fault::Away(_) | Fault::Lost(_)) => {}
            Ending::NotWritten(Fault::Disk(text)) | Ending::Unconfirmed(Fault::Disk(text)) => {
                // After a failed write or sync the page cache may show what the disk does not hold: stop, never go on.
                tracing::error!(%text, "the disk failed under the database; nothing more is written until a restart");
                let _first = self.broken_disk.set(format!("the disk failed: {text}"));
            }
            Ending::NotWritten(_) => {
                if link.run("ROLLBACK").is_ok() {
                    self.link = Some(link);
                }
            }
            // Dropping the connection rolls back what was not committed.
            Ending::Unconfirmed(_) => {}
        }
        ending
    }

    /// Give the database a moment to come back: what it did with a COMMIT is worth waiting for.
    fn reconnect(&mut self) {
        let begun = Instant::now();
        while self.link.is_none() && self.broken_disk.get().is_none() && begun.elapsed() < self.moment {
            match self.place.write_link() {
                Ok((since, link)) => (self.link, self.since) = (Some(link), since),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn connected(&mut self) -> Result<Link, StoreError> {
        if let Some(why) = self.place.closed() {
            return Err(StoreError::Unavailable(why));
        }
        if let Some(link) = self.link.take()
            && self.since >= self.place.generation()
        {
            return Ok(link);
        }
        if let Some((when, error)) = &self.refused
            && when.elapsed() < BACK_OFF
        {
            return Err(error.clone());
        }
        match self.place.write_link() {
            Ok((since, link)) => {
                self.refused = None;
                *self.away.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.since = since;
                Ok(link)
            }
            Err(error) => {
                *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                self.refused = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

fn answer(job: Job, outcome: Result<Outcome, StoreError>) {
    // A caller that stopped waiting hears nothing; it was told "unknown".
    let _heard = job.reply.try_send(outcome);
}

/// The places before and after the COMMIT of each change.
fn come_by(batch: &[Job], side: impl Fn([Point; 2]) -> Point) -> Result<(), failpoint::Injected> {
    batch.iter().try_for_each(|job| {
        pass(side(match &job.change {
            Change::Intend(_) => [Point::RecordCommit, Point::RecordCommitted],
            Change::Issued(_) => [Point::IssueCommit, Point::IssueCommitted],
            Change::Revocation(_) => [Point::RevokeCommit, Point::RevokeCommitted],
            Change::Recover { .. } => [Point::OrphanCommit, Point::OrphanCommitted],
            _ => [Point::ChangeCommit, Point::ChangeCommitted],
        }))
    })
}

/// Everything inside the transaction.
fn fill(link: &mut Link, batch: &[Job], again: bool) -> Result<Vec<Outcome>, Fault> {
    let mut outcomes: Vec<Option<Outcome>> = batch.iter().map(|_| None).collect();
    let changes = || batch.iter().map(|job| &job.change).enumerate();
    let orders: Vec<(usize, &change::NewOrder)> = changes()
        .filter_map(|(i, c)| {
            if let Change::Intend(o) = c {
                Some((i, &**o))
            } else {
                None
            }
        })
        .collect();
    let signed: Vec<(usize, &change::Signatures)> = changes()
        .filter_map(|(i, c)| if let Change::Issued(s) = c { Some((i, s)) } else { None })
        .collect();
    let mut put = |index: usize, outcome: Outcome| {
        if let Some(slot) = outcomes.get_mut(index) {
            *slot = Some(outcome);
        }
    };
    if !orders.is_empty() {
        let list: Vec<_> = orders.iter().map(|(_, o)| *o).collect();
        for ((index, _), verdict) in orders.iter().zip(order::intend(link, &list, again)?) {
            let (verdict, alarm) = verdict;
            put(*index, Outcome::Attested(verdict, alarm));
        }
    }
    if !signed.is_empty() {
        let list: Vec<_> = signed.iter().map(|(_, s)| *s).collect();
        for ((index, _), verdict) in signed.iter().zip(issued::issued(link, &list, again)?) {
            put(*index, Outcome::Recorded(verdict));
        }
    }
    for (index, job) in batch.iter().enumerate() {
        let outcome = match &job.change {
            Change::Intend(_) | Change::Issued(_) => continue,
            Change::Attested(new) => {
                let (verdict, alarm) = clock::attested(link, new)?;
                Outcome::Attested(verdict, alarm)
            }
            Change::Attempt { challenge, audit } => Outcome::Count(keeping::attempt(link, challenge, audit)?),
            Change::ForgetAttempts { before } => Outcome::Count(keeping::forget_attempts(link, *before)?),
            Change::Allow { device, audit } => Outcome::Device(inventory::allow(link, device, audit)?.map(Box::new)),
            Change::Erase { challenge, now, audit } => Outcome::Erased(erase::erase(link, challenge, *now, audit)?),
            Change::Hold { device, held, audit } => Outcome::Found(inventory::hold(link, device, *held, audit)?),
            Change::Block {
                spki_sha256,
                reason,
                audit,
            } => {
                keeping::block(link, spki_sha256, reason, audit)?;
                Outcome::Done
            }
            Change::Revocation(step) => Outcome::Revocation(revocation::step(link, step)?),
            Change::Replace { wish, audit } => {
                Outcome::Replacement(replacement::request(link, wish, audit)?.map(Box::new))
            }
            Change::Decide(decision) => Outcome::Replacement(replacement::decide(link, decision)?.map(Box::new)),
            Change::CallRenewal { device, within, audit } => {
                Outcome::Found(renewal::call(link, device, *within, audit)?)
            }
            Change::Manifest { new, audit } => Outcome::Manifest(manifest::open(link, new, audit)?.map(Box::new)),
            Change::Part { part, audit } => Outcome::Manifest(manifest::part(link, part, audit)?.map(Box::new)),
            Change::Withdraw { manifest: id, audit } => {
                Outcome::Manifest(manifest::withdraw(link, *id, audit)?.map(Box::new))
            }
            Change::Arrive { ek, iak, audit } => {
                Outcome::Arrived(manifest::arrive(link, ek, iak.as_ref(), audit)?.map(|r| r.map(Box::new)))
            }
            Change::Ask { new, audit } => Outcome::Asked(review::ask(link, new, audit)?),
            Change::Review { decision, audit } => {
                Outcome::Reviewed(review::decide(link, decision, audit)?.map(Box::new))
            }
            Change::Link { link: new, audit } => Outcome::Recorded(replacement::link(link, new, audit)?),
            Change::Recover { older_than, now } => Outcome::Orphans(keeping::recover(link, *older_than, *now)?),
            Change::Stand(grounds) => Outcome::Stood(standing::stand(link, grounds)?),
            Change::Audit(audit) => {
                keeping::audit(link, std::slice::from_ref(audit))?;
                Outcome::Done
            }
            #[cfg(test)]
            Change::Panic => panic!("asked to"),
        };
        put(index, outcome);
    }
    // Every change has its outcome: each index was put exactly once.
    Ok(outcomes.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::NewAudit;

    fn audit(subject: &str) -> Change {
        Change::Audit(NewAudit {
            at: 1,
            action: "test".to_owned(),
            actor: "test".to_owned(),
            subject: subject.to_owned(),
            reason: String::new(),
            detail: String::new(),
            before: None,
            after: None,
        })
    }

    fn writer(directory: &tempfile::TempDir) -> Writer {
        let options = StoreOptions::default();
        let url = format!("sqlite://{}/ca.db", directory.path().display());
        let place = Place::parse(&url, &options).unwrap();
        drop(place.claim().unwrap());
        let link = place.prepare().unwrap();
        Writer::start(place, link, &options).unwrap()
    }

    #[test]
    fn a_panic_leaves_nobody_waiting_and_the_writer_alive() {
        let directory = tempfile::tempdir().unwrap();
        let writer = writer(&directory);
        assert!(matches!(writer.write(Change::Panic), Err(StoreError::Unknown(_))));
        assert!(matches!(writer.write(audit("after")), Ok(Outcome::Done)));
    }

    #[test]
    fn nobody_waits_for_ever_and_what_was_not_begun_is_withdrawn() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(&directory);
        writer.patience = Duration::from_secs(2);
        let url = format!("sqlite://{}/ca.db", directory.path().display());
        let (_, mut other) = Place::parse(&url, &StoreOptions::default())
            .unwrap()
            .write_link()
            .unwrap();
        other.begin().unwrap();
        assert!(matches!(writer.write(audit("begun")), Err(StoreError::Unknown(_))));
        assert!(matches!(
            writer.write(audit("waiting")),
            Err(StoreError::Unavailable(_))
        ));
        other.run("ROLLBACK").unwrap();
        // The thread goes on with what it had begun; only then it can take the next one.
        writer.patience = Duration::from_secs(60);
        assert!(matches!(writer.write(audit("after")), Ok(Outcome::Done)));
        let told = crate::read::audit_entries(&mut other, &crate::AuditFilter::default(), 9).unwrap();
        let subjects: Vec<_> = told.iter().map(|r| r.subject.as_str()).collect();
        assert_eq!(subjects, ["after", "begun"]);
    }

    #[test]
    fn a_dropped_writer_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let first = writer(&directory);
        assert!(matches!(first.write(audit("one")), Ok(Outcome::Done)));
        drop(first);
        let second = writer(&directory);
        assert!(matches!(second.write(audit("two")), Ok(Outcome::Done)));
    }
}
