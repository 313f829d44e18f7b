//! Renewal: the certificate in TLS, signed for by the TPM, and the TPM's answer to a new challenge.
//!
//! Safe to repeat after an interruption at any point: the activation is remembered before it is sent, and what it gave
//! before it is put in its place.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use attest::rot::RotStatement;
use attest::tpm::{HashAlgorithm, TpmAlgId, TpmtPublic};
use wire::enrollment::{AgentInfo, EnrollmentResult};
use wire::problem::ProblemCode;
use wire::renewal::{CertificateId, RenewalRequest};
use wire::third_party::IakRenewalRequest;
use wire::{Bytes, EnrollmentId};

use crate::error::AgentError;
use crate::ledger;
use crate::pin::Pin;
use crate::proof::{Vendored, answer, certify};
use crate::received::{Expected, ExpectedIak, Unacceptable, binding_in};
use crate::server::{Scheme, Server, ServerError, Shown, patiently, serialise};
use crate::state::{Enrolled, RenewalJournal, Renewed, State, StateError};
use crate::stored::{self, Term};
use crate::tpm::{KeyAlg, KeyHome, KeySpec, Role, StoredKey, Tpm, TpmError, digest_for};
use crate::voucher::Voucher;

/// One renewal.
pub struct Renewal<'a> {
    /// The state directory.
    pub state: &'a State,
    /// On a new key of this kind; none: the key stays.
    pub rekey: Option<KeyAlg>,
    /// Also before it is due.
    pub force: bool,
    /// How long to go on trying while the CA cannot be reached.
    pub wait: Duration,
    /// Progress.
    pub say: &'a dyn Fn(&str),
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// A new certificate is stored.
    Done(Enrolled),
    /// There is time until then (seconds since 1970).
    NotDue(i64),
}

/// The certificate there is.
struct Held {
    enrolled: Enrolled,
    der: Vec<u8>,
    sha256: [u8; 32],
    term: Term,
}

impl Held {
    fn of(state: &State) -> Result<Self, AgentError> {
        let none = || AgentError::NotFound("this device has no certificate yet: ca-agent enroll".into());
        let enrolled = state.enrolled()?.ok_or_else(none)?;
        let certificate = stored::certificate(state, stored::IDENTITY)?.ok_or_else(none)?;
        let damaged = |detail: &str| StateError::Damaged {
            path: state.path(stored::IDENTITY),
            detail: detail.to_owned(),
        };
        let der = certificate.to_der().map_err(|e| damaged(&e.to_string()))?;
        Ok(Self {
            enrolled,
            sha256: openssl::sha::sha256(&der),
            der,
            term: Term::of(&certificate).ok_or_else(|| damaged("its time cannot be read"))?,
        })
    }

    fn due(&self) -> i64 {
        let [a, b, ..] = self.sha256;
        self.term.due(u16::from_be_bytes([a, b]))
    }
}

/// When the certificate is due for renewal, and when it ends, seconds since 1970.
///
/// # Errors
/// [`AgentError::NotFound`] when there is none.
pub fn due(state: &State) -> Result<(i64, i64), AgentError> {
    let held = Held::of(state)?;
    Ok((held.due(), held.term.not_after))
}

/// What the CA says about when to renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Now, though there would be time.
    pub now: bool,
    /// Ask again after so long.
    pub again: Duration,
}

/// Ask the CA whether to renew early (RFC 9773): people may have called this device. The moment in the window that it
/// suggests is fixed by the certificate, so whoever starts again does not draw again.
///
/// # Errors
/// [`AgentError`]; a CA that says nothing calls for nothing.
pub fn advice(state: &State) -> Result<Advice, AgentError> {
    let held = Held::of(state)?;
    let none = || AgentError::NotFound("the certificate cannot be named".into());
    let Pin::Known(root) = Pin::of(None, state)? else {
        return Err(AgentError::NotFound(
            "the pinned root is not in the state directory".into(),
        ));
    };
    let id = certificate_id(&held.der).ok_or_else(none)?;
    let (info, again) = Server::pinned(&held.enrolled.server, &root)?.renewal_info(&id)?;
    let time = |text: &str| text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).ok();
    let window = info.suggested_window;
    let (start, end) = time(&window.start).zip(time(&window.end)).ok_or_else(none)?;
    let [.., a, b] = held.sha256;
    let now = jiff::Timestamp::now().as_second();
    Ok(Advice {
        now: now >= moment(start, end, u16::from_be_bytes([a, b])),
        again: again.unwrap_or(ASK).clamp(SOONEST, LATEST),
    })
}

/// When a CA does not say when to ask again; and the bounds of what it may say (RFC 9773 §4.3).
const ASK: Duration = Duration::from_secs(21_600);
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(86_400);

/// A moment of a window; `fraction` is of 2^16.
fn moment(start: i64, end: i64, fraction: u16) -> i64 {
    let length = i128::from(end.saturating_sub(start).max(0));
    let into = (length * i128::from(fraction)) >> 16;
    start.saturating_add(i64::try_from(into).unwrap_or(i64::MAX))
}

/// How a certificate is named in renewal information.
fn certificate_id(der: &[u8]) -> Option<CertificateId> {
    use der::Decode as _;
    let read = x509_cert::Certificate::from_der(der).ok()?;
    let issuer = openssl::x509::X509::from_der(der).ok()?;
    Some(CertificateId {
        issuer_key_id: issuer.authority_key_id()?.as_slice().to_vec(),
        serial: read.tbs_certificate().serial_number().as_bytes().to_vec(),
    })
}

/// What became of an activation that was sent.
enum Sent {
    Stored(Enrolled),
    /// It came too late, or its outcome was lost: a new one is due.
    Void,
}

impl Renewal<'_> {
    /// Renew, or finish a renewal that was begun.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn run(&self, open: impl FnOnce() -> Result<Tpm, AgentError>) -> Result<Outcome, AgentError> {
        if let Some(renewed) = self.state.renewed()? {
            (self.say)("putting the new certificate in its place");
            return Ok(Outcome::Done(self.settle(&renewed)?));
        }
        let held = Held::of(self.state)?;
        let now = jiff::Timestamp::now().as_second();
        let begun = self.state.renewal()?;
        let begun = begun.filter(|journal| journal.certificate_sha256 == hex::encode(held.sha256));
        if begun.is_none() && !self.force && now < held.due() && now <= held.term.not_after {
            return Ok(Outcome::NotDue(held.due()));
        }
        if begun.is_none() && now > held.term.not_after {
            return Err(AgentError::Ended);
        }
        let Pin::Known(root) = Pin::of(None, self.state)? else {
            return Err(AgentError::NotFound(
                "the pinned root is not in the state directory".into(),
            ));
        };
        let tpm = Arc::new(open()?);
        let trouble = Arc::new(Mutex::new(None));
        let server = Server::showing(&held.enrolled.server, &root, self.shown(&held, &tpm, &trouble)?)?;
        let outcome = self.converse(&server, &tpm, &held, &root, begun);
        // What looks like TLS from outside may be the TPM that did not sign.
        let signing = trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (outcome, signing) {
            (Err(AgentError::Server(_)), Some(error)) => Err(error.into()),
            (outcome, _) => outcome.map(Outcome::Done),
        }
    }

    fn converse(
        &self,
        server: &Server,
        tpm: &Tpm,
        held: &Held,
        root: &[u8],
        begun: Option<RenewalJournal>,
    ) -> Result<Enrolled, AgentError> {
        if let Some(journal) = begun {
            (self.say)("finishing the renewal that was begun");
            if let Sent::Stored(done) = self.activate(server, held, &journal, root)? {
                return Ok(done);
            }
        }
        for _ in 0..2 {
            let journal = match binding_in(&held.der) {
                Some(RotStatement::Certified(_)) => self.begin_by_iak(server, tpm, held)?,
                _ => self.begin(server, tpm, held)?,
            };
            if let Sent::Stored(done) = self.activate(server, held, &journal, root)? {
                return Ok(done);
            }
            (self.say)("the CA cannot use this answer any more; asking for another challenge");
        }
        Err(AgentError::Void)
    }

    /// The certificate to show, and its key behind it.
    fn shown(&self, held: &Held, tpm: &Arc<Tpm>, trouble: &Arc<Mutex<Option<TpmError>>>) -> Result<Shown, AgentError> {
        let key = self.stored_key(Role::Identity)?;
        let scheme = scheme(&key.public()?)?;
        let (tpm, trouble) = (Arc::clone(tpm), Arc::clone(trouble));
        let sign = move |message: &[u8]| {
            let (key, message) = (key.clone(), message.to_vec());
            tpm.run(move |chip| chip.sign(&key, &message)).map_err(|error| {
                let text = error.to_string();
                *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                text
            })
        };
        Ok(Shown {
            certificate: held.der.clone(),
            scheme,
            sign: Arc::new(sign),
        })
    }

    fn stored_key(&self, role: Role) -> Result<StoredKey, AgentError> {
        let missing = || AgentError::NotFound("a key of this identity is not in the state directory".into());
        self.state.key(role)?.ok_or_else(missing)
    }

    /// [`Self::begin`] on the word of the manufacturer's IAK, which vouched for this certificate.
    fn begin_by_iak(&self, server: &Server, tpm: &Tpm, held: &Held) -> Result<RenewalJournal, AgentError> {
        let dir = held.enrolled.iak_dir.as_ref();
        let dir =
            dir.ok_or_else(|| AgentError::NotFound("where the manufacturer's IAK is, is not remembered".into()))?;
        let iak = Voucher::key(dir, tpm)?;
        let key = self.key(tpm)?;
        (self.say)("asking the CA for a challenge");
        let request = IakRenewalRequest {
            chain: Vec::new(),
            agent: Some(AgentInfo {
                version: env!("CARGO_PKG_VERSION").into(),
            }),
        };
        let challenge = self.patiently(|| server.begin_renewal_by_iak(&request))?;
        (self.say)("letting the IAK certify the key");
        let (id, ticket, certificate) = (challenge.id, challenge.ticket.clone(), held.sha256);
        let mut answer = tpm.run(move |chip| certify(chip, &iak, None, &key, &challenge, Some(&certificate)))?;
        answer.ticket = ticket;
        self.remember(held, id, true, serialise(&answer)?)
    }

    /// The key of the certificate that is to come.
    fn key(&self, tpm: &Tpm) -> Result<StoredKey, AgentError> {
        match self.rekey {
            None => self.stored_key(Role::Identity),
            Some(alg) => self.new_key(tpm, alg),
        }
    }

    /// Remember an activation before it is sent.
    fn remember(&self, held: &Held, id: EnrollmentId, iak: bool, body: String) -> Result<RenewalJournal, AgentError> {
        let journal = RenewalJournal {
            certificate_sha256: hex::encode(held.sha256),
            rekey: self.rekey.is_some(),
            iak,
            id,
            body,
        };
        self.state.set_renewal(Some(&journal))?;
        Ok(journal)
    }

    /// Everything up to an activation that is ready to be sent, and remembered.
    fn begin(&self, server: &Server, tpm: &Tpm, held: &Held) -> Result<RenewalJournal, AgentError> {
        (self.say)("reading the endorsement");
        let gone = || TpmError::KeyGone {
            place: "the endorsement key of this certificate".into(),
        };
        let binding = binding_in(&held.der).ok_or_else(gone)?;
        let ek = binding.ek_spki_sha256().and_then(|ek| <[u8; 32]>::try_from(ek).ok());
        let ek = ek.ok_or_else(gone)?;
        let vendored = tpm.run(move |chip| Vendored::with_ek(chip, &ek))?.ok_or_else(gone)?;
        let ak = self.stored_key(Role::Attestation)?;
        let key = self.key(tpm)?;
        (self.say)("asking the CA for a challenge");
        let request = RenewalRequest {
            ek_chain: vendored.chain.into_iter().map(Bytes).collect(),
            agent: Some(AgentInfo {
                version: env!("CARGO_PKG_VERSION").into(),
            }),
        };
        let challenge = self.patiently(|| server.begin_renewal(&request))?;
        (self.say)("answering it in the TPM");
        let (id, ticket) = (challenge.id, challenge.ticket.clone());
        let (endorsement, certificate) = (vendored.endorsement, held.sha256);
        let mut answer = tpm.run(move |chip| answer(chip, &endorsement, &ak, &key, &challenge, Some(&certificate)))?;
        answer.ticket = ticket;
        self.remember(held, id, false, serialise(&answer)?)
    }

    /// The key that is to come: the one made before, else a new one, remembered before it is used.
    fn new_key(&self, tpm: &Tpm, alg: KeyAlg) -> Result<StoredKey, AgentError> {
        let usage = |message: &str| AgentError::Usage {
            message: message.to_owned(),
            fix: "leave --rekey out: the key stays, and the certificate is new".into(),
        };
        if matches!(self.stored_key(Role::Identity)?, StoredKey::Persistent { .. }) {
            return Err(usage("the identity key is persistent in the TPM: its handle is taken"));
        }
        let spec = KeySpec {
            role: Role::Identity,
            alg,
            home: KeyHome::Owner,
        };
        if let Some(key) = self.state.next_key()?.map(StoredKey::Loadable)
            && key.fits(&spec)
        {
            return Ok(key);
        }
        (self.say)(&format!("making a new identity key in the TPM ({alg})"));
        match tpm.run(move |chip| chip.make_key(&spec))? {
            StoredKey::Loadable(key) => {
                self.state.set_next_key(Some(&key))?;
                Ok(StoredKey::Loadable(key))
            }
            StoredKey::Persistent { .. } => Err(usage("this TPM made a persistent key")),
        }
    }

    /// Send the activation, the very same bytes whenever it is sent.
    fn activate(
        &self,
        server: &Server,
        held: &Held,
        journal: &RenewalJournal,
        root: &[u8],
    ) -> Result<Sent, AgentError> {
        (self.say)("proving the keys to the CA");
        let send = || match journal.iak {
            false => server.activate_renewal(journal.id, &journal.body),
            true => server.certify_renewal(journal.id, &journal.body),
        };
        let error = match self.patiently(send) {
            Ok(result) => {
                return match self.receive(held, journal, &result, root) {
                    Ok(enrolled) => Ok(Sent::Stored(enrolled)),
                    Err(AgentError::Received(Unacceptable::Ended { .. })) => {
                        self.state.set_renewal(None)?;
                        Ok(Sent::Void)
                    }
                    Err(other) => Err(other),
                };
            }
            Err(error) => error,
        };
        match error.code() {
            Some(ProblemCode::ChallengeExpired | ProblemCode::StateConflict) => {
                self.state.set_renewal(None)?;
                Ok(Sent::Void)
            }
            // A refusal is final for this activation; the keys stay.
            Some(_) if error.again_after().is_none() => {
                self.state.set_renewal(None)?;
                Err(error.into())
            }
            _ => Err(error.into()),
        }
    }

    /// Check what came, remember it whole, then put it in its place.
    fn receive(
        &self,
        held: &Held,
        journal: &RenewalJournal,
        result: &EnrollmentResult,
        root: &[u8],
    ) -> Result<Enrolled, AgentError> {
        (self.say)("checking what the CA sent");
        let missing = || AgentError::NotFound("the new key is not in the state directory".into());
        let key = match journal.rekey {
            false => self.stored_key(Role::Identity)?,
            true => StoredKey::Loadable(self.state.next_key()?.ok_or_else(missing)?),
        };
        let binding = binding_in(&held.der).ok_or(Unacceptable::Binding("identity"))?;
        let unbound = || Unacceptable::Binding("identity");
        let digest = |octets: &[u8]| <[u8; 32]>::try_from(octets).map_err(|_| unbound());
        // What vouched before vouches again; it may not become the other way of proving.
        let (ek_spki_sha256, iak, ak) = match &binding {
            RotStatement::Activation(binding) => (
                digest(binding.ek_spki_sha256.as_bytes())?,
                None,
                self.stored_key(Role::Attestation)?.public()?,
            ),
            RotStatement::Certified(binding) => {
                let iak = ExpectedIak {
                    certificate_sha256: digest(binding.iak_certificate_sha256.as_bytes())?,
                    name: binding.iak_name.as_bytes().to_vec(),
                };
                ([0; 32], Some(iak), key.public()?)
            }
        };
        let expected = Expected {
            ak,
            key: key.public()?,
            ek_spki_sha256,
            iak,
            root,
            profile: &held.enrolled.profile,
            attestation_profile: None,
        };
        let received = expected.check(result)?;
        ledger::remember(self.state, result, jiff::Timestamp::now().as_second())?;
        let text = |pem: Vec<u8>| String::from_utf8(pem).map_err(|_| Unacceptable::Unreadable("identity"));
        let renewed = Renewed {
            identity: text(received.identity)?,
            chain: text(received.chain)?,
            rekey: journal.rekey,
        };
        self.state.set_renewed(Some(&renewed))?;
        self.settle(&renewed)
    }

    /// Put what came in its place. Repeated after an interruption, it ends the same.
    fn settle(&self, renewed: &Renewed) -> Result<Enrolled, AgentError> {
        let none = || AgentError::NotFound("this device has no certificate yet: ca-agent enroll".into());
        let before = self.state.enrolled()?.ok_or_else(none)?;
        // Without a next key, it is in its place already.
        if renewed.rekey
            && let Some(key) = self.state.next_key()?
        {
            self.state.set_key(Role::Identity, &StoredKey::Loadable(key))?;
        }
        self.state.write("chain.pem", renewed.chain.as_bytes())?;
        self.state.write(stored::IDENTITY, renewed.identity.as_bytes())?;
        let enrolled = Enrolled {
            at: jiff::Timestamp::now().as_second(),
            ..before
        };
        self.state.set_enrolled(&enrolled)?;
        self.state.set_renewal(None)?;
        self.state.set_next_key(None)?;
        self.state.set_renewed(None)?;
        Ok(enrolled)
    }

    fn patiently<T>(&self, call: impl FnMut() -> Result<T, ServerError>) -> Result<T, ServerError> {
        patiently(self.wait, self.say, call)
    }
}

/// What TLS 1.3 calls the signatures of this key (RFC 8446 §4.2.3).
fn scheme(public: &TpmtPublic) -> Result<Scheme, TpmError> {
    let (hash, pss) = digest_for(public)?;
    match (public.algorithm() == TpmAlgId::RSA, pss, hash) {
        (false, _, HashAlgorithm::Sha256) => Ok(Scheme::P256),
        (false, _, HashAlgorithm::Sha384) => Ok(Scheme::P384),
        (true, true, HashAlgorithm::Sha256) => Ok(Scheme::PssSha256),
        (true, true, HashAlgorithm::Sha384) => Ok(Scheme::PssSha384),
        (true, true, HashAlgorithm::Sha512) => Ok(Scheme::PssSha512),
        _ => Err(TpmError::Unsupported {
            what: "a handshake of TLS 1.3 with this key's signatures (RSASSA)".into(),
        }),
    }
}
