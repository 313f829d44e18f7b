//! A device that enrolls, renews, and is revoked, and goes on until it knows how each of these ended.

use device_kit::rig::{Client, Raw, Rig};
use device_kit::soft_tpm::SoftTpm;
use serde_json::json;
use wire::EnrollmentId;
use wire::enrollment::{EnrollmentChallenge, EnrollmentResult};

use crate::journal::{Journal, now};

/// Profile of all these devices.
const PROFILE: &str = "device-ldevid";

/// How one call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// What was wanted is there.
    Done,
    /// Not yet.
    Again,
    /// The server says that a person must look, and start it again.
    Halted,
    /// There was no answer.
    Lost,
}

/// A question of the server, and our answer to it, which is always sent in the same bytes.
struct Try {
    id: EnrollmentId,
    path: String,
    body: Vec<u8>,
    renewal: bool,
}

/// What is wanted of a device now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Nothing: it has what it came for.
    Nothing,
    /// Its first certificate.
    Enroll,
    /// The next one.
    Renew,
    /// That its certificate ends.
    Revoke,
}

/// A device, and where it stands.
pub(crate) struct Device {
    name: String,
    tpm: SoftTpm,
    /// Its certificate and serial.
    standing: Option<(Vec<u8>, String)>,
    current: Option<Try>,
    pub(crate) want: Want,
    /// It is in the inventory.
    listed: bool,
    /// It is revoked over the administration socket, which costs less than a program.
    pub(crate) by_socket: bool,
    /// What will be wanted next, the last first.
    pub(crate) plan: Vec<Want>,
    /// Nothing more will be asked of it.
    pub(crate) retired: bool,
}

impl Device {
    /// A new one, of the inventory.
    pub(crate) fn allowed(rig: &Rig, name: String) -> Self {
        let device = Self::strange(rig, name);
        rig.allow(&device.name, &device.tpm);
        Self { listed: true, ..device }
    }

    /// A new one, not yet of the inventory.
    pub(crate) fn strange(rig: &Rig, name: String) -> Self {
        let tpm = SoftTpm::p256(&rig.vendor);
        Self {
            name,
            tpm,
            standing: None,
            current: None,
            want: Want::Enroll,
            listed: false,
            by_socket: false,
            plan: Vec::new(),
            retired: false,
        }
    }

    /// Serial of its certificate.
    pub(crate) fn serial(&self) -> Option<&str> {
        self.standing.as_ref().map(|(_, serial)| serial.as_str())
    }

    /// One step towards what is wanted.
    pub(crate) fn step(&mut self, rig: &Rig, journal: &Journal) -> Step {
        match self.want {
            Want::Nothing => Step::Done,
            Want::Revoke if self.by_socket => self.revoke_by_socket(rig, journal),
            Want::Revoke => self.revoke(rig, journal),
            Want::Enroll if !self.listed => self.list(rig, journal),
            Want::Enroll | Want::Renew => {
                let renewal = self.want == Want::Renew;
                let client = match &self.standing {
                    Some((certificate, _)) if renewal => rig.client().showing(certificate, &self.tpm.identity),
                    _ => rig.client(),
                };
                match &self.current {
                    None => self.begin(&client, renewal, journal),
                    Some(_) => self.activate(&client, journal),
                }
            }
        }
    }

    /// Into the inventory. That it is there already says that an answer was lost.
    fn list(&mut self, rig: &Rig, journal: &Journal) -> Step {
        let body = json!({"name": self.name, "ek_spki_sha256": hex::encode(self.tpm.ek.sha256())});
        match rig
            .server()
            .try_admin_call("POST", "/v1/devices", body.to_string().as_bytes())
        {
            Ok((201 | 409, _)) => {
                self.listed = true;
                Step::Again
            }
            Ok((status, _)) => self.refused(status, journal),
            Err(_) => Step::Lost,
        }
    }

    fn refused(&self, status: u16, journal: &Journal) -> Step {
        journal.note(&json!({"kind": "answer", "device": self.name, "status": status, "code": "socket"}));
        Step::Again
    }

    fn revoke_by_socket(&mut self, rig: &Rig, journal: &Journal) -> Step {
        let Some((_, serial)) = &self.standing else {
            self.want = Want::Nothing;
            return Step::Done;
        };
        let began = now();
        let path = format!("/v1/certificates/{serial}/revocation");
        match rig
            .server()
            .try_admin_call("POST", &path, b"{\"reason\":\"cessationOfOperation\"}")
        {
            Ok((200, _)) => {
                journal.note(&json!({"kind": "revoked", "serial": serial, "began": began, "ended": now()}));
                self.want = Want::Nothing;
                self.retired = true;
                Step::Done
            }
            Ok((status, _)) => self.refused(status, journal),
            Err(_) => Step::Lost,
        }
    }

    fn begin(&mut self, client: &Client, renewal: bool, journal: &Journal) -> Step {
        let (path, body) = match renewal {
            true => ("/v1/renewals", b"{}".to_vec()),
            false => {
                let request = self.tpm.request(PROFILE, None, None);
                ("/v1/enrollments", serde_json::to_vec(&request).unwrap())
            }
        };
        let Ok(raw) = client.try_post(path, &body) else {
            return Step::Lost;
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
        self.want = Want::Nothing;
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
        match (raw.status, problem.code.as_str()) {
            (503, "halted") => Step::Halted,
            (503, _) => Step::Again,
            (409, _) => {
                // The serial of this attempt is burnt: a new question.
                if let Some(current) = self.current.take() {
                    let enrollment = hex::encode(current.id.0);
                    journal.note(&json!({"kind": "burnt", "device": self.name, "enrollment": enrollment}));
                }
                Step::Again
            }
            _ => {
                // The checker calls it by its name.
                self.current = None;
                Step::Again
            }
        }
    }

    /// `ca-cli revoke`, as an operator types it.
    fn revoke(&mut self, rig: &Rig, journal: &Journal) -> Step {
        let Some((_, serial)) = &self.standing else {
            self.want = Want::Nothing;
            return Step::Done;
        };
        let began = now();
        let output = rig.cli(&[
            "revoke",
            serial,
            "--reason",
            "cessationOfOperation",
            "--no-input",
            "-o",
            "json",
        ]);
        if !output.status.success() {
            return Step::Lost;
        }
        journal.note(&json!({"kind": "revoked", "serial": serial, "began": began, "ended": now()}));
        self.want = Want::Nothing;
        self.retired = true;
        Step::Done
    }
}
