//! Enrollment, from the pinned root to the stored certificates.

use std::path::{Path, PathBuf};

use attest::tpm::TpmtPublic;
use openssl::x509::X509;
use wire::Bytes;
use wire::enrollment::{AgentInfo, EnrollmentRequest, EnrollmentResult, RotEvidence};
use wire::problem::ProblemCode;
use wire::third_party::{IakCredentials, IakEnrollmentRequest};

use crate::config::{Identity, Via, Wish};
use crate::error::AgentError;
use crate::ledger;
use crate::pin::Pin;
use crate::proof::{Vendored, answer, certify};
use crate::received::{Expected, ExpectedIak, Unacceptable};
use crate::server::{Server, ServerError, patiently, serialise};
use crate::state::{Enrolled, Journal, State, Vouching};
use crate::stored;
use crate::tpm::{KeyHome, KeySpec, Role, StoredKey, Tpm, TpmError};
use crate::voucher::{IAK_HANDLE, Voucher};

/// IDevID (TCG TPM 2.0 Keys for Device Identity and Attestation, 7.2).
const IDEVID_HANDLE: u32 = 0x8102_0000;

/// What [`Enrollment::run`] tells as it goes.
pub type Say<'a> = &'a dyn Fn(&str);

/// When a device that has a certificate enrolls again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Once it has ended, by this clock.
    WhenEnded,
    /// In any case: the CA does not renew it any more.
    Now,
}

/// One enrollment.
pub struct Enrollment<'a> {
    /// What it shall give.
    pub wish: &'a Wish,
    /// The state directory.
    pub state: &'a State,
    /// What becomes of a certificate that is there.
    pub again: Again,
    /// Progress.
    pub say: Say<'a>,
}

/// How it ended.
pub enum Outcome {
    /// Certificates are stored now.
    Done(Enrolled),
    /// They were stored before.
    Before(Enrolled),
}

/// What became of an activation that was sent.
enum Sent {
    /// Its certificates are stored.
    Stored(Enrolled),
    /// It came too late, or what was issued for it is burnt: a new one is due, with the same keys.
    Void,
    /// It was answered long ago, and that certificate has ended: the same.
    Ended(Unacceptable),
}

impl Enrollment<'_> {
    /// Profiles for identity key and attestation key.
    fn profiles(&self) -> (String, Option<String>) {
        match &self.wish.identity {
            Identity::Manufacturer => ("device-idevid".into(), Some("device-iak".into())),
            Identity::Owner {
                profile,
                attestation_profile,
            } => (profile.clone(), attestation_profile.clone()),
        }
    }

    /// Enroll, or finish an enrollment that was begun, or, once a certificate has ended, enroll the same keys again.
    /// Safe to repeat after an interruption at any point: keys and the activation are remembered before they are used,
    /// and the server gives the same certificates for the same activation.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn run(&self, open: impl FnOnce() -> Result<Tpm, AgentError>) -> Result<Outcome, AgentError> {
        let (profile, attestation_profile) = self.profiles();
        if let Some(before) = self.state.enrolled()? {
            if (&before.profile, &before.attestation_profile) != (&profile, &attestation_profile) {
                return Err(AgentError::Usage {
                    message: format!("this state directory holds a `{}` identity already", before.profile),
                    fix: format!(
                        "{} as before; or, one identity, one directory: another --state-dir",
                        before.asked_for()
                    ),
                });
            }
            if self.again == Again::WhenEnded && !stored::ended(self.state)? {
                // Stored, but interrupted before the activation was forgotten.
                self.state.end()?;
                return Ok(Outcome::Before(before));
            }
            (self.say)("the certificate is of no more use: enrolling the same keys again");
        }
        let begun = self.begun()?;
        let root = self.root()?;
        let server = Server::pinned(&self.wish.server, &root)?;
        let tpm = open()?;
        if let Some(journal) = begun {
            (self.say)("finishing the enrollment that was begun");
            match self.activate(&server, &journal, &root)? {
                Sent::Stored(done) => return Ok(Outcome::Done(done)),
                Sent::Void | Sent::Ended(_) => {}
            }
        }
        let journal = self.begin_via(&server, &tpm)?;
        if let Sent::Stored(done) = self.activate(&server, &journal, &root)? {
            self.show_others(&server, &tpm, &journal, &done);
            return Ok(Outcome::Done(done));
        }
        (self.say)("the CA cannot use this answer any more; asking for another challenge");
        let journal = self.begin_via(&server, &tpm)?;
        match self.activate(&server, &journal, &root)? {
            Sent::Stored(done) => Ok(Outcome::Done(done)),
            Sent::Void => Err(AgentError::Void),
            Sent::Ended(what) => Err(what.into()),
        }
    }

    /// An activation of an earlier run that may have been answered; it must be of the same wish.
    fn begun(&self) -> Result<Option<Journal>, AgentError> {
        let Some(journal) = self.state.journal()? else {
            return Ok(None);
        };
        let (profile, attestation_profile) = self.profiles();
        let wish = (&self.wish.server, &profile, &attestation_profile);
        if (&journal.server, &journal.profile, &journal.attestation_profile) == wish {
            return Ok(Some(journal));
        }
        Err(AgentError::Usage {
            message: format!(
                "an enrollment for `{}` with {} is not finished",
                journal.profile, journal.server
            ),
            fix: "finish it first, with the arguments it was begun with; or use another --state-dir".into(),
        })
    }

    /// The pinned root, DER. It is remembered once a server has proven to stand below it: a wrong one leaves nothing.
    fn root(&self) -> Result<Vec<u8>, AgentError> {
        let root = match Pin::of(self.wish.pin.as_ref(), self.state)? {
            Pin::Known(root) => return Ok(root),
            Pin::Named(root) => root,
            Pin::Fingerprint(pin) => {
                (self.say)("first contact: comparing the CA's root with the pinned fingerprint");
                self.patiently(|| Server::first_contact(&self.wish.server, &pin))?
            }
        };
        let server = Server::pinned(&self.wish.server, &root)?;
        self.patiently(|| server.issuers())?;
        let pem = X509::from_der(&root).and_then(|c| c.to_pem());
        let pem = pem.map_err(|e| AgentError::Usage {
            message: format!("the root certificate cannot be read: {e}"),
            fix: "ask the operator of the CA for another".into(),
        })?;
        self.state.write("root.pem", &pem)?;
        Ok(root)
    }

    /// Where the papers of the manufacturer's IAK are, when it is to vouch: as asked for, else as before.
    fn iak_dir(&self) -> Result<Option<PathBuf>, AgentError> {
        let before = self.state.enrolled()?.and_then(|enrolled| enrolled.iak_dir);
        match &self.wish.via {
            Some(Via::Ek) => Ok(None),
            Some(Via::Iak(Some(dir))) => Ok(Some(dir.clone())),
            None => Ok(before),
            Some(Via::Iak(None)) => before.map(Some).ok_or_else(|| AgentError::Usage {
                message: "where the manufacturer's IAK certificate is, is not known".into(),
                fix: "--iak-dir DIR, or `iak_dir` under [enroll] in agent.toml".into(),
            }),
        }
    }

    /// By the endorsement key, or on the word of the manufacturer's IAK.
    fn begin_via(&self, server: &Server, tpm: &Tpm) -> Result<Journal, AgentError> {
        match self.iak_dir()? {
            None => self.begin(server, tpm),
            Some(dir) => self.begin_by_iak(server, tpm, &dir),
        }
    }

    /// [`Self::begin`] on the word of the manufacturer's IAK.
    fn begin_by_iak(&self, server: &Server, tpm: &Tpm, dir: &Path) -> Result<Journal, AgentError> {
        let (profile, attestation_profile) = self.profiles();
        (self.say)("reading what the manufacturer left");
        let voucher = Voucher::read(dir, tpm)?;
        let lak = match attestation_profile {
            Some(_) => Some(self.key(tpm, Role::Attestation)?),
            None => None,
        };
        let key = self.key(tpm, Role::Identity)?;
        (self.say)("asking the CA for a challenge");
        let public = voucher.key.public()?.raw().to_vec();
        let request = IakEnrollmentRequest {
            profile: profile.clone(),
            attestation_profile: attestation_profile.clone(),
            device: self.wish.device.clone(),
            iak: IakCredentials {
                certificate: voucher.certificate.clone().into(),
                idevid: voucher.idevid.map(Bytes),
                chain: voucher.chain.into_iter().map(Bytes).collect(),
                public: public.clone().into(),
            },
            agent: Some(AgentInfo {
                version: env!("CARGO_PKG_VERSION").into(),
            }),
        };
        let challenge = self.patiently(|| server.begin_by_iak(&request))?;
        (self.say)("letting the IAK certify the keys");
        let (id, ticket, iak) = (challenge.id, challenge.ticket.clone(), voucher.key);
        let mut answer = tpm.run(move |chip| certify(chip, &iak, lak.as_ref(), &key, &challenge, None))?;
        answer.ticket = ticket;
        let journal = Journal {
            server: self.wish.server.clone(),
            profile,
            attestation_profile,
            ek_public: Bytes::default(),
            iak: Some(Vouching {
                dir: dir.to_owned(),
                public: public.into(),
                certificate_sha256: hex::encode(openssl::sha::sha256(&voucher.certificate)),
            }),
            id,
            body: serialise(&answer)?,
        };
        self.state.begin(&journal)?;
        Ok(journal)
    }

    /// Everything up to an activation that is ready to be sent, and remembered.
    fn begin(&self, server: &Server, tpm: &Tpm) -> Result<Journal, AgentError> {
        let (profile, attestation_profile) = self.profiles();
        (self.say)("reading the endorsement");
        let choice = self.wish.ek;
        let vendored = tpm.run(move |chip| Vendored::read(chip, choice))?;
        let ak = self.key(tpm, Role::Attestation)?;
        let key = self.key(tpm, Role::Identity)?;
        (self.say)("asking the CA for a challenge");
        let request = self.request(&vendored, &ak, self.wish.device.clone())?;
        let challenge = self.patiently(|| server.begin(&request))?;
        (self.say)("answering it in the TPM");
        let (id, ticket) = (challenge.id, challenge.ticket.clone());
        let endorsement = vendored.endorsement;
        let mut answer = tpm.run(move |chip| answer(chip, &endorsement, &ak, &key, &challenge, None))?;
        answer.ticket = ticket;
        let journal = Journal {
            server: self.wish.server.clone(),
            profile,
            attestation_profile,
            ek_public: vendored.ek_public.into(),
            iak: None,
            id,
            body: serialise(&answer)?,
        };
        self.state.begin(&journal)?;
        Ok(journal)
    }

    fn request(
        &self,
        vendored: &Vendored,
        ak: &StoredKey,
        device: Option<String>,
    ) -> Result<EnrollmentRequest, TpmError> {
        let (profile, attestation_profile) = self.profiles();
        Ok(EnrollmentRequest {
            profile,
            attestation_profile,
            device,
            rot: RotEvidence::Tpm20 {
                ek_certificate: vendored.endorsement.certificate.clone().into(),
                ek_chain: vendored.chain.iter().cloned().map(Bytes).collect(),
                ek_public: vendored.ek_public.clone().into(),
                ak_public: ak.public()?.raw().to_vec().into(),
            },
            agent: Some(AgentInfo {
                version: env!("CARGO_PKG_VERSION").into(),
            }),
        })
    }

    /// Show the CA the other EKs of this TPM, each with the attestation key that it knows now: they are this device, too.
    /// The identity is there, so the CA issues nothing; and nothing here depends on it.
    fn show_others(&self, server: &Server, tpm: &Tpm, journal: &Journal, done: &Enrolled) {
        let used = journal.ek_public.0.clone();
        let others = match tpm.run(move |chip| Vendored::others(chip, &used)) {
            Ok(others) => others,
            Err(error) => return tracing::warn!(%error, "the other endorsements could not be read"),
        };
        for other in others {
            let words = other.endorsement.words();
            match self.show(server, tpm, other, &done.device) {
                Ok(()) => tracing::info!("the CA knows {words}, too"),
                Err(error) => tracing::warn!(%error, "the CA was not shown {words}"),
            }
        }
    }

    fn show(&self, server: &Server, tpm: &Tpm, other: Vendored, device: &str) -> Result<(), AgentError> {
        let missing = || AgentError::NotFound("a key of this enrollment is not in the state directory".into());
        let ak = self.state.key(Role::Attestation)?.ok_or_else(missing)?;
        let key = self.state.key(Role::Identity)?.ok_or_else(missing)?;
        let challenge = server.begin(&self.request(&other, &ak, Some(device.to_owned()))?)?;
        let (id, ticket) = (challenge.id, challenge.ticket.clone());
        let mut answer = tpm.run(move |chip| answer(chip, &other.endorsement, &ak, &key, &challenge, None))?;
        answer.ticket = ticket;
        server.activate(id, &serialise(&answer)?)?;
        Ok(())
    }

    /// Send the activation, the very same bytes whenever it is sent.
    fn activate(&self, server: &Server, journal: &Journal, root: &[u8]) -> Result<Sent, AgentError> {
        (self.say)("proving the keys to the CA");
        let send = || match journal.iak {
            None => server.activate(journal.id, &journal.body),
            Some(_) => server.certify(journal.id, &journal.body),
        };
        let error = match self.patiently(send) {
            Ok(result) => {
                return match self.receive(journal, result, root) {
                    Ok(enrolled) => Ok(Sent::Stored(enrolled)),
                    Err(AgentError::Received(what @ Unacceptable::Ended { .. })) => {
                        self.state.end()?;
                        Ok(Sent::Ended(what))
                    }
                    Err(other) => Err(other),
                };
            }
            Err(error) => error,
        };
        match error.code() {
            Some(ProblemCode::ChallengeExpired | ProblemCode::StateConflict) => {
                self.state.end()?;
                Ok(Sent::Void)
            }
            // A refusal is final for this activation; the keys stay, and the next run asks for a new challenge.
            Some(_) if error.again_after().is_none() => {
                self.state.end()?;
                Err(error.into())
            }
            _ => Err(error.into()),
        }
    }

    /// The key for this role: the one made before, else a new one, remembered before it is used.
    fn key(&self, tpm: &Tpm, role: Role) -> Result<StoredKey, AgentError> {
        let (alg, named, place, word) = match role {
            Role::Attestation => (self.wish.ak_alg, self.wish.ak_handle, IAK_HANDLE, "attestation"),
            Role::Identity => (self.wish.key_alg, self.wish.persistent, IDEVID_HANDLE, "identity"),
        };
        let named = named.map(|handle| handle.0);
        let home = match self.wish.identity {
            Identity::Manufacturer => KeyHome::Manufacturer(named.unwrap_or(place)),
            Identity::Owner { .. } => KeyHome::Owner,
        };
        let spec = KeySpec { role, alg, home };
        let key = match self.state.key(role)? {
            Some(key) if key.fits(&spec) => {
                (self.say)(&format!("using the {word} key made before"));
                key
            }
            Some(_) => {
                return Err(AgentError::Usage {
                    message: format!("the {word} key in the state directory is of another kind than asked for"),
                    fix: "ask for the same kind as before, or use another --state-dir".into(),
                });
            }
            None => {
                (self.say)(&format!("making the {word} key in the TPM ({alg})"));
                let key = tpm.run(move |chip| chip.make_key(&spec))?;
                self.state.set_key(role, &key)?;
                key
            }
        };
        if let (KeyHome::Owner, Some(handle)) = (home, named) {
            let copy = key.clone();
            tpm.run(move |chip| chip.persist(&copy, handle))?;
        }
        Ok(key)
    }

    /// Check what came, then store it: certificates first, the mark that all is done last.
    fn receive(&self, journal: &Journal, result: EnrollmentResult, root: &[u8]) -> Result<Enrolled, AgentError> {
        (self.say)("checking what the CA sent");
        let public = |role| -> Result<TpmtPublic, AgentError> {
            let missing = || AgentError::NotFound("a key of this enrollment is not in the state directory".into());
            Ok(self.state.key(role)?.ok_or_else(missing)?.public()?)
        };
        let malformed = |what| TpmError::Malformed { what };
        let (ek_spki_sha256, iak) = match &journal.iak {
            None => {
                let ek = TpmtPublic::parse(&journal.ek_public.0).ok();
                let ek = ek.and_then(|ek| ek.spki().ok()).ok_or_else(|| malformed("the EK"))?;
                (openssl::sha::sha256(&ek), None)
            }
            Some(vouching) => {
                let public = TpmtPublic::parse(&vouching.public.0).map_err(|_| malformed("the IAK"))?;
                let mut certificate_sha256 = [0; 32];
                hex::decode_to_slice(&vouching.certificate_sha256, &mut certificate_sha256)
                    .map_err(|_| malformed("the IAK's certificate"))?;
                let iak = ExpectedIak {
                    certificate_sha256,
                    name: public.name(),
                };
                ([0; 32], Some((iak, public)))
            }
        };
        let ak = match (&iak, &journal.attestation_profile) {
            // No other attestation key is there; nothing is compared with it.
            (Some((_, public)), None) => public.clone(),
            _ => public(Role::Attestation)?,
        };
        let expected = Expected {
            ak,
            key: public(Role::Identity)?,
            ek_spki_sha256,
            iak: iak.map(|(iak, _)| iak),
            root,
            profile: &journal.profile,
            attestation_profile: journal.attestation_profile.as_deref(),
        };
        let received = expected.check(&result)?;
        ledger::remember(self.state, &result, jiff::Timestamp::now().as_second())?;
        self.state.write("chain.pem", &received.chain)?;
        if let Some(certificate) = &received.attestation {
            self.state.write(stored::ATTESTATION, certificate)?;
        }
        self.state.write(stored::IDENTITY, &received.identity)?;
        let enrolled = Enrolled {
            server: journal.server.clone(),
            device: result.device,
            profile: journal.profile.clone(),
            attestation_profile: journal.attestation_profile.clone(),
            iak_dir: journal.iak.as_ref().map(|vouching| vouching.dir.clone()),
            at: jiff::Timestamp::now().as_second(),
        };
        self.state.set_enrolled(&enrolled)?;
        self.state.end()?;
        Ok(enrolled)
    }

    fn patiently<T>(&self, call: impl FnMut() -> Result<T, ServerError>) -> Result<T, ServerError> {
        patiently(self.wish.wait, self.say, call)
    }
}
