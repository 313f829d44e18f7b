//! Devices that enroll, and go on until they have what they came for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use device_kit::rig::{Client, Raw, Rig};
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::fresh_name;
use wire::EnrollmentId;
use wire::enrollment::{EnrollmentChallenge, EnrollmentResult, EnrollmentState};
use wire::problem::ProblemCode;

/// Nothing here takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Profile of all these devices.
pub(crate) const PROFILE: &str = "device-ldevid";

/// Ask until it is so.
pub(crate) fn until(what: &str, so: impl FnMut() -> bool) {
    let mut so = so;
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One question the server asked, and what was sent in answer.
pub(crate) struct Try {
    /// Enrollment.
    pub(crate) id: EnrollmentId,
    /// The activation, byte for byte.
    pub(crate) body: Vec<u8>,
    /// The answer to it, once one came.
    pub(crate) answer: Option<Vec<u8>>,
    /// Its serials are burnt, says the server.
    pub(crate) burnt: bool,
}

/// A device, and all it ever sent and heard.
pub(crate) struct Enrollee {
    /// Its name.
    pub(crate) name: String,
    /// Its TPM.
    pub(crate) tpm: SoftTpm,
    /// Oldest first.
    pub(crate) tries: Vec<Try>,
}

/// What all devices together have done and heard.
#[derive(Default)]
pub(crate) struct Journal {
    /// Activations that were sent.
    pub(crate) begun: AtomicUsize,
    /// Activations that were answered with certificates.
    pub(crate) answered: AtomicUsize,
    /// Refusals by code, and connections that ended without an answer.
    heard: Mutex<BTreeMap<String, usize>>,
}

impl Journal {
    fn note(&self, what: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        *heard.entry(what.to_owned()).or_default() += 1;
    }

    /// How often this code, or `lost`, was heard.
    pub(crate) fn heard(&self, what: &str) -> usize {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(what).copied().unwrap_or_default()
    }
}

/// How one call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The device has its certificate.
    Done,
    /// The server says: later, or begin anew.
    Again,
    /// There was no answer.
    Lost,
}

impl Enrollee {
    /// `count` devices of the inventory that have not begun.
    pub(crate) fn allowed(rig: &Rig, count: usize) -> Vec<Self> {
        let one = |_| {
            let (name, tpm) = (fresh_name(), SoftTpm::p256(&rig.vendor));
            rig.allow(&name, &tpm);
            Self {
                name,
                tpm,
                tries: Vec::new(),
            }
        };
        (0..count).map(one).collect()
    }

    /// The question that still stands.
    pub(crate) fn current(&mut self) -> Option<&mut Try> {
        self.tries.last_mut().filter(|last| !last.burnt)
    }

    /// Ask for a question, when there is none.
    pub(crate) fn begin(&mut self, client: &Client, journal: &Journal) -> Step {
        if self.current().is_some() {
            return Step::Again;
        }
        let body = serde_json::to_vec(&self.tpm.request(PROFILE, None, None)).unwrap();
        let raw = match client.try_post("/v1/enrollments", &body) {
            Ok(raw) => raw,
            Err(_) => return lost(journal),
        };
        if raw.status != 201 {
            return later(&raw, journal);
        }
        let challenge: EnrollmentChallenge = serde_json::from_slice(&raw.body).unwrap();
        let answer = self.tpm.answer(&challenge).unwrap();
        self.tries.push(Try {
            id: challenge.id,
            body: serde_json::to_vec(&answer).unwrap(),
            answer: None,
            burnt: false,
        });
        Step::Again
    }

    /// Send the answer to the question that stands: always the same bytes.
    ///
    /// # Panics
    /// When a second answer differs from the first, or is none the documents know.
    pub(crate) fn activate(&mut self, client: &Client, journal: &Journal) -> Step {
        let name = self.name.clone();
        let Some(current) = self.current() else {
            return Step::Again;
        };
        journal.begun.fetch_add(1, Ordering::SeqCst);
        let raw = match client.try_post(&format!("/v1/enrollments/{}/activation", current.id), &current.body) {
            Ok(raw) => raw,
            Err(_) => return lost(journal),
        };
        match raw.status {
            200 => {
                match &current.answer {
                    Some(before) => assert_eq!(before, &raw.body, "{name}: the same request, another answer"),
                    None => current.answer = Some(raw.body),
                }
                journal.answered.fetch_add(1, Ordering::SeqCst);
                Step::Done
            }
            202 => {
                let result: EnrollmentResult = serde_json::from_slice(&raw.body).unwrap();
                assert_eq!(result.state, EnrollmentState::Verifying);
                assert!(result.certificates.is_empty());
                Step::Again
            }
            409 => {
                assert_eq!(raw.problem().code, ProblemCode::StateConflict, "{name}");
                assert!(current.answer.is_none(), "{name} had an answer to what is burnt now");
                current.burnt = true;
                Step::Again
            }
            _ => later(&raw, journal),
        }
    }

    /// Begin, answer, ask again, begin anew, at whichever of these servers, until there is a certificate.
    pub(crate) fn persist(&mut self, clients: &[Client], journal: &Journal) {
        let begun = Instant::now();
        loop {
            for client in clients {
                self.begin(client, journal);
                if self.activate(client, journal) == Step::Done {
                    return;
                }
                assert!(
                    begun.elapsed() < PATIENCE,
                    "{} got no certificate within a minute",
                    self.name
                );
                // The pace of one who was told: later.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn lost(journal: &Journal) -> Step {
    journal.note("lost");
    Step::Lost
}

/// Anything but "later" is wrong here: these devices do nothing wrong.
fn later(raw: &Raw, journal: &Journal) -> Step {
    let problem = raw.problem();
    assert_eq!(raw.status, 503, "{problem:?}");
    assert!(raw.header("retry-after").is_some(), "{problem:?}");
    journal.note(problem.code.as_str());
    Step::Again
}

/// All of `enrollees` at work at once, `threads` at a time, each device in one thread at a time.
pub(crate) fn crowd(threads: usize, enrollees: &mut [Enrollee], each: impl Fn(&mut Enrollee) -> Step + Sync) {
    let queue = Mutex::new(enrollees.iter_mut());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(enrollee) = next else { return };
                    if each(enrollee) == Step::Lost {
                        return;
                    }
                }
            });
        }
    });
}

/// Everybody persists.
pub(crate) fn all_persist(clients: &[Client], enrollees: &mut [Enrollee], journal: &Journal) {
    crowd(6, enrollees, |enrollee| {
        enrollee.persist(clients, journal);
        Step::Done
    });
}
