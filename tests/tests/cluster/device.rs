//! A device that enrolls, renews and is revoked, at whatever server it is led to, and goes on until it knows how each ended.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use device_kit::rig::{Client, Raw, Rig, Server};
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::fresh_name;
use serde_json::json;
use wire::EnrollmentId;
use wire::enrollment::{EnrollmentChallenge, EnrollmentResult};

use crate::PATIENCE;
use crate::journal::{Journal, now};

/// Profile of all these devices.
pub(crate) const PROFILE: &str = "device-ldevid";

/// Devices that ask at once.
const WORKERS: usize = 6;

/// Where devices and people come in. Every call may lead to another server.
pub(crate) trait Door: Sync {
    /// A new connection.
    fn client(&self) -> Client;
    /// `ca-cli revoke`, as an operator types it; whether it was answered.
    fn revoke(&self, serial: &str) -> bool;
}

/// A question of a server, and our answer to it, which is always sent in the same bytes.
struct Try {
    id: EnrollmentId,
    path: String,
    body: Vec<u8>,
    renewal: bool,
}

/// A device, and where it stands.
pub(crate) struct Device {
    name: String,
    tpm: SoftTpm,
    /// Its certificate and serial.
    standing: Option<(Vec<u8>, String)>,
    current: Option<Try>,
}

impl Device {
    /// `count` new ones, of the inventory by this server's word.
    pub(crate) fn allowed(rig: &Rig, server: &Server, count: usize) -> Vec<Self> {
        let one = |_| {
            let (name, tpm) = (fresh_name(), SoftTpm::p256(&rig.vendor));
            server.allow(&name, &tpm);
            Self {
                name,
                tpm,
                standing: None,
                current: None,
            }
        };
        (0..count).map(one).collect()
    }

    /// Its serial, once it has one.
    pub(crate) fn serial(&self) -> Option<&str> {
        self.standing.as_ref().map(|(_, serial)| serial.as_str())
    }

    /// A certificate: the first, or the next one.
    pub(crate) fn persist(&mut self, door: &impl Door, journal: &Journal) {
        let (begun, renewal) = (Instant::now(), self.standing.is_some());
        loop {
            let client = match &self.standing {
                Some((certificate, _)) if renewal => door.client().showing(certificate, &self.tpm.identity),
                _ => door.client(),
            };
            let done = match &self.current {
                None => {
                    self.begin(&client, renewal, journal);
                    false
                }
                Some(_) => self.activate(&client, journal),
            };
            if done {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{} got nothing in {PATIENCE:?}", self.name);
            if self.current.is_none() {
                // The pace of one who was told: later.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn begin(&mut self, client: &Client, renewal: bool, journal: &Journal) {
        let (path, body) = match renewal {
            true => ("/v1/renewals", b"{}".to_vec()),
            false => {
                let request = self.tpm.request(PROFILE, None, None);
                ("/v1/enrollments", serde_json::to_vec(&request).unwrap())
            }
        };
        let Ok(raw) = client.try_post(path, &body) else {
            return lost(journal);
        };
        if raw.status != 201 {
            return self.heard(&raw, journal);
        }
        let challenge: EnrollmentChallenge = serde_json::from_slice(&raw.body).unwrap();
        let answer = match &self.standing {
            Some((certificate, _)) if renewal => {
                let answer = self.tpm.answer_renewal(&challenge, certificate, &self.tpm.identity);
                serde_json::to_vec(&answer.unwrap()).unwrap()
            }
            _ => serde_json::to_vec(&self.tpm.answer(&challenge).unwrap()).unwrap(),
        };
        self.current = Some(Try {
            id: challenge.id,
            path: format!("{path}/{}/activation", challenge.id),
            body: answer,
            renewal,
        });
    }

    fn activate(&mut self, client: &Client, journal: &Journal) -> bool {
        let Some(current) = &self.current else { return false };
        let Ok(raw) = client.try_post(&current.path, &current.body) else {
            lost(journal);
            return false;
        };
        if raw.status != 200 {
            self.heard(&raw, journal);
            std::thread::sleep(Duration::from_millis(20));
            return false;
        }
        let result: EnrollmentResult = serde_json::from_slice(&raw.body).unwrap();
        let enrollment = hex::encode(current.id.0);
        for certificate in &result.certificates {
            journal.note(&json!({
                "kind": "issued", "device": &result.device, "asked_by": self.name, "enrollment": enrollment,
                "renewal": current.renewal, "certificate": hex::encode(&certificate.certificate.0),
                "leaf": certificate.ledger.as_ref().map(|receipt| hex::encode(&receipt.entry.0)), "ended": now(),
            }));
        }
        assert_eq!(result.device, self.name);
        let [certificate] = result.certificates.as_slice() else {
            panic!("{}: one certificate: {result:?}", self.name);
        };
        self.standing = Some((certificate.certificate.0.clone(), certificate.serial.clone()));
        self.current = None;
        journal.received.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Anything but success: written down, and what follows from it.
    fn heard(&mut self, raw: &Raw, journal: &Journal) {
        if raw.status == 202 {
            return;
        }
        let problem = raw.problem();
        journal.note(&json!({
            "kind": "answer", "device": self.name, "status": raw.status, "code": problem.code.as_str(),
            "retry_after": raw.header("retry-after"), "ended": now(),
        }));
        if raw.status == 503 {
            return;
        }
        // The serial of this attempt is burnt: a new question. Anything else the checker calls by its name.
        if let Some(current) = self.current.take()
            && raw.status == 409
        {
            let enrollment = hex::encode(current.id.0);
            journal.note(&json!({"kind": "burnt", "device": self.name, "enrollment": enrollment}));
        }
    }

    /// Its certificate ends, says an operator.
    pub(crate) fn revoked(&self, door: &impl Door, journal: &Journal) {
        let Some(serial) = self.serial() else { return };
        let (begun, began) = (Instant::now(), now());
        while !door.revoke(serial) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{} is not revoked in {PATIENCE:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        journal.note(&json!({"kind": "revoked", "serial": serial, "began": began, "ended": now()}));
    }
}

fn lost(journal: &Journal) {
    journal.lost.fetch_add(1, Ordering::SeqCst);
}

/// All devices at work, six at a time: they enroll, then renew again and again; of some the certificate is revoked, and they
/// are done. Until `meanwhile` returns.
pub(crate) fn under_load(door: &impl Door, journal: &Journal, devices: Vec<Device>, meanwhile: impl FnOnce()) {
    let (done, queue) = (AtomicBool::new(false), Mutex::new(VecDeque::from(devices)));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (done, queue) = (&done, &queue);
                scope.spawn(move || {
                    let mut turn = worker;
                    while !done.load(Ordering::SeqCst) {
                        let Some(mut device) = queue.lock().unwrap().pop_front() else {
                            return;
                        };
                        device.persist(door, journal);
                        turn += 1;
                        let plenty = queue.lock().unwrap().len() > 2 * WORKERS;
                        if turn % 5 == 0 && plenty {
                            device.revoked(door, journal);
                        } else {
                            queue.lock().unwrap().push_back(device);
                        }
                    }
                })
            })
            .collect();
        // Whatever becomes of it, the others end.
        let ends = Ends(&done);
        meanwhile();
        drop(ends);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
