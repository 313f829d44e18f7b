//! A device that enrolls, renews and is revoked, at whatever server it is led to, and goes on until it knows how each of
//! these ended.

use std::time::{Duration, Instant};

use serde_json::json;
use wire::EnrollmentId;
use wire::enrollment::{EnrollmentChallenge, EnrollmentResult};

use super::journal::{Journal, now};
use super::{Door, PATIENCE};
use crate::rig::{Client, Raw, Rig, Server};
use crate::soft_tpm::SoftTpm;
use crate::trial::fresh_name;

/// Profile of all these devices.
pub const PROFILE: &str = "device-ldevid";

/// How one call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What was wanted is there.
    Done,
    /// Not yet.
    Again,
    /// The server says that a person must look, and start it again.
    Halted,
    /// There was no answer.
    Lost,
}

/// What is wanted of a device now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing: it has what it came for.
    Nothing,
    /// Its first certificate.
    Enroll,
    /// The next one.
    Renew,
    /// That its certificate ends.
    Revoke,
}

/// A question of a server, and our answer to it, which is always sent in the same bytes.
struct Try {
    id: EnrollmentId,
    path: String,
    body: Vec<u8>,
    renewal: bool,
}

/// A device, and where it stands.
pub struct Device {
    name: String,
    tpm: SoftTpm,
    /// Its certificate and serial.
    standing: Option<(Vec<u8>, String)>,
    current: Option<Try>,
    /// It is in the inventory.
    listed: bool,
    /// What is wanted now.
    pub want: Want,
    /// What will be wanted next, the last first.
    pub plan: Vec<Want>,
    /// It is revoked over an administration socket, which costs less than a program.
    pub by_socket: bool,
    /// Nothing more will be asked of it.
    pub retired: bool,
}

impl Device {
    /// A new one, not yet of the inventory; it sees to that itself.
    #[must_use]
    pub fn strange(rig: &Rig, name: String) -> Self {
        let tpm = SoftTpm::p256(&rig.vendor);
        Self {
            name,
            tpm,
            standing: None,
            current: None,
            listed: false,
            want: Want::Enroll,
            plan: Vec::new(),
            by_socket: false,
            retired: false,
        }
    }

    /// `count` new ones, of the inventory by this server's word.
    #[must_use]
    pub fn allowed(rig: &Rig, server: &Server, count: usize) -> Vec<Self> {
        let one = |_| {
            let device = Self::strange(rig, fresh_name());
            server.allow(&device.name, &device.tpm);
            Self { listed: true, ..device }
        };
        (0..count).map(one).collect()
    }

    /// Its serial, once it has one.
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        self.standing.as_ref().map(|(_, serial)| serial.as_str())
    }

    /// One step towards what is wanted.
    pub fn step(&mut self, door: &dyn Door, journal: &Journal) -> Step {
        let step = match self.want {
            Want::Nothing => Step::Done,
            Want::Revoke => self.revoke(door, journal),
            Want::Enroll if !self.listed => self.list(door, journal),
            Want::Enroll | Want::Renew => {
                let renewal = self.want == Want::Renew;
                let client = match &self.standing {
                    Some((certificate, _)) if renewal => door.client().showing(certificate, &self.tpm.identity),
                    _ => door.client(),
                };
                match &self.current {
                    None => self.begin(&client, renewal, journal),
                    Some(_) => self.activate(&client, journal),
                }
            }
        };
        if step == Step::Lost {
            journal.one_lost();
        }
        step
    }

    /// A certificate: the first, or the next one. Whoever halts is left to others.
    pub fn persist(&mut self, door: &dyn Door, journal: &Journal) {
        self.want = if self.standing.is_some() {
            Want::Renew
        } else {
            Want::Enroll
        };
        self.goes_on(door, journal);
    }

    /// Its certificate ends, says an operator.
    pub fn revoked(&mut self, door: &dyn Door, journal: &Journal) {
        self.want = Want::Revoke;
        self.goes_on(door, journal);
    }

    fn goes_on(&mut self, door: &dyn Door, journal: &Journal) {
        let begun = Instant::now();
        loop {
            let asked = self.current.is_some();
            if self.step(door, journal) == Step::Done {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} in {PATIENCE:?}: not {:?}",
                self.name,
                self.want
            );
            if asked || self.current.is_none() {
                // The pace of one who was told: later.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Into the inventory. That it is there already says that an answer was lost.
    fn list(&mut self, door: &dyn Door, journal: &Journal) -> Step {
        let body = json!({"name": self.name, "ek_spki_sha256": hex::encode(self.tpm.ek.sha256())});
        match door.ask("/v1/devices", body.to_string().as_bytes()) {
            Some(201 | 409) => {
                self.listed = true;
                Step::Again
            }
            Some(status) => self.refused(status, journal),
            None => Step::Lost,
        }
    }

    fn refused(&self, status: u16, journal: &Journal) -> Step {
        journal.note(&json!({"kind": "answer", "device": self.name, "status": status, "code": "socket"}));
        Step::Again
    }

    fn revoke(&mut self, door: &dyn Door, journal: &Journal) -> Step {
        let Some((_, serial)) = &self.standing else {
            self.want = Want::Nothing;
            return Step::Done;
        };
        let began = now();
        if self.by_socket {
            let path = format!("/v1/certificates/{serial}/revocation");
            match door.ask(&path, b"{\"reason\":\"cessationOfOperation\"}") {
                Some(200) => {}
                Some(status) => return self.refused(status, journal),
                None => return Step::Lost,
            }
        } else if !door.revoke(serial) {
            return Step::Lost;
        }
        journal.note(&json!({"kind": "revoked", "serial": serial, "began": began, "ended": now()}));
        self.want = Want::Nothing;
        self.retired = true;
        Step::Done
    }

    fn begin(&mut self, client: &Client, renewal: bool, journal: &Journal) -> Step {
        let (path, body) = if renewal {
            ("/v1/renewals", b"{}".to_vec())
        } else {
            let request = self.tpm.request(PROFILE, None, None);
            ("/v1/enrollments", serde_json::to_vec(&request).expect("JSON"))
        };
        let Ok(raw) = client.try_post(path, &body) else {
            return Step::Lost;
        };
        if raw.status != 201 {
            return self.heard(&raw, journal);
        }
        let challenge: EnrollmentChallenge = serde_json::from_slice(&raw.body).expect("a challenge");
        let answer = match &self.standing {
            Some((certificate, _)) if renewal => self.tpm.answer_renewal(&challenge, certificate, &self.tpm.identity),
            _ => self.tpm.answer(&challenge),
        };
        self.current = Some(Try {
            id: challenge.id,
            path: format!("{path}/{}/activation", challenge.id),
            body: serde_json::to_vec(&answer.expect("a challenge for this TPM")).expect("JSON"),
            renewal,
        });
        Step::Again
    }

    fn activate(&mut self, client: &Client, journal: &Journal) -> Step {
        let Some(current) = &self.current else {
            return Step::Again;
        };
        let Ok(raw) = client.try_post(&current.path, &current.body) else {
            return Step::Lost;
        };
        if raw.status != 200 {
            return self.heard(&raw, journal);
        }
        let result: EnrollmentResult = serde_json::from_slice(&raw.body).expect("a result");
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
        self.want = Want::Nothing;
        journal.one_received();
        Step::Done
    }

    /// Anything but success: written down, and what follows from it.
    fn heard(&mut self, raw: &Raw, journal: &Journal) -> Step {
        if raw.status == 202 {
            return Step::Again;
        }
        let problem = raw.problem();
        journal.note(&json!({
            "kind": "answer", "device": self.name, "status": raw.status, "code": problem.code.as_str(),
            "retry_after": raw.header("retry-after"), "ended": now(),
        }));
        if raw.status == 503 {
            return match problem.code.as_str() {
                "halted" => Step::Halted,
                _ => Step::Again,
            };
        }
        if raw.status == 500 {
            // A defect, and nobody knows what came of it; the same answer may say. The checker calls it by its name.
            return Step::Again;
        }
        // The serial of this attempt is burnt: a new question. Anything else the checker calls by its name.
        if let Some(current) = self.current.take()
            && raw.status == 409
        {
            let enrollment = hex::encode(current.id.0);
            journal.note(&json!({"kind": "burnt", "device": self.name, "enrollment": enrollment}));
        }
        Step::Again
    }
}
