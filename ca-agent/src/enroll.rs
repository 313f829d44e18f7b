//! Enrollment, from the pinned root to the stored certificates.

use std::time::{Duration, Instant};

use attest::rot::RotBinding;
use der::Decode as _;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509StoreContext};
use wire::Bytes;
use wire::enrollment::{
    ActivationRequest, AgentInfo, EnrollmentChallenge, EnrollmentRequest, EnrollmentResult, EnrollmentState,
    KeyCertify, KeyRole, RotEvidence,
};
use wire::problem::ProblemCode;

use crate::cli;
use crate::error::AgentError;
use crate::server::{Server, ServerError, serialise};
use crate::state::{Enrolled, Journal, State};
use crate::tpm::{Chip, Endorsement, KeyHome, KeySpec, Role, StoredKey, Tpm, TpmError};
use crate::{csr, tpm};

/// IDevID, IAK (TCG TPM 2.0 Keys for Device Identity and Attestation, 7.2).
const IDEVID_HANDLE: u32 = 0x8102_0000;
const IAK_HANDLE: u32 = 0x8102_0001;

/// What the server sent is not what was asked for; nothing was stored.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unacceptable {
    /// Other certificates than the ones asked for.
    #[error("the server sent other certificates than the ones asked for")]
    Set,
    /// Not a certificate.
    #[error("the certificate for the {0} key cannot be read")]
    Unreadable(&'static str),
    /// Does not chain to the pinned root.
    #[error("the certificate for the {key} key does not chain to the pinned root: {detail}")]
    Chain {
        /// Which key.
        key: &'static str,
        /// What OpenSSL says.
        detail: String,
    },
    /// Another key.
    #[error("the certificate for the {0} key carries another key")]
    Key(&'static str),
    /// No binding, or to something else.
    #[error("the certificate for the {0} key is not bound to this TPM's keys")]
    Binding(&'static str),
}

/// What [`enroll`] tells as it goes.
pub type Say<'a> = &'a dyn Fn(&str);

/// One enrollment.
pub struct Enrollment<'a> {
    /// What was asked on the command line.
    pub wanted: &'a cli::Enroll,
    /// The state directory.
    pub state: &'a State,
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

impl Enrollment<'_> {
    /// Profiles for identity key and attestation key.
    fn profiles(&self) -> (String, Option<String>) {
        if self.wanted.manufacturer {
            ("device-idevid".into(), Some("device-iak".into()))
        } else {
            (self.wanted.profile.clone(), self.wanted.attestation_profile.clone())
        }
    }

    /// Enroll, or finish an enrollment that was begun. Safe to repeat after an interruption at any point: keys and the
    /// activation are remembered before they are used, and the server gives the same certificates for the same
    /// activation.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn run(&self, open: impl FnOnce() -> Result<Tpm, AgentError>) -> Result<Outcome, AgentError> {
        let (profile, attestation_profile) = self.profiles();
        if let Some(before) = self.state.enrolled()? {
            if (&before.profile, &before.attestation_profile) == (&profile, &attestation_profile) {
                return Ok(Outcome::Before(before));
            }
            return Err(AgentError::Usage {
                message: format!("this state directory holds a `{}` identity already", before.profile),
                fix: "one identity, one directory: name another --state-dir".into(),
            });
        }
        let root = self.root()?;
        let server = Server::pinned(&self.wanted.server, &root)?;
        let tpm = open()?;
        if let Some(done) = self.resume(&server, &tpm, &root)? {
            return Ok(Outcome::Done(done));
        }
        (self.say)("reading the endorsement");
        let choice = self.wanted.ek;
        let vendored = tpm.run(move |chip| Vendored::read(chip, choice))?;
        let ak = self.key(&tpm, Role::Attestation)?;
        let key = self.key(&tpm, Role::Identity)?;
        (self.say)("asking the CA for a challenge");
        let request = EnrollmentRequest {
            profile,
            attestation_profile,
            device: self.wanted.device.clone(),
            rot: RotEvidence::Tpm20 {
                ek_certificate: vendored.endorsement.certificate.clone().into(),
                ek_chain: vendored.chain.into_iter().map(Bytes).collect(),
                ek_public: vendored.ek_public.into(),
                ak_public: ak.public()?.raw().to_vec().into(),
            },
            agent: Some(AgentInfo {
                version: env!("CARGO_PKG_VERSION").into(),
            }),
        };
        let challenge = self.patiently(|| server.begin(&request))?;
        (self.say)("answering it in the TPM");
        let (id, ticket) = (challenge.id, challenge.ticket.clone());
        let endorsement = vendored.endorsement;
        let mut answer = tpm.run(move |chip| answer(chip, &endorsement, &ak, &key, &challenge))?;
        answer.ticket = ticket;
        let journal = Journal {
            server: self.wanted.server.clone(),
            id,
            body: serialise(&answer)?,
        };
        self.state.begin(&journal)?;
        (self.say)("proving the keys to the CA");
        let result = self.patiently(|| server.activate(id, &journal.body));
        if let Err(ServerError::Refused { .. }) = &result {
            // A refusal is final for this activation; the keys stay and the next run asks for a new challenge.
            self.state.end()?;
        }
        Ok(Outcome::Done(self.receive(result?, &tpm, &root)?))
    }

    /// The pinned root, DER: from the state directory, else from a file, else by its fingerprint at first contact.
    fn root(&self) -> Result<Vec<u8>, AgentError> {
        let pin = self.wanted.root_sha256.as_deref().map(fingerprint).transpose()?;
        let usage = |message: String, fix: &str| AgentError::Usage {
            message,
            fix: fix.into(),
        };
        let known = self
            .state
            .read("root.pem")?
            .map(|pem| X509::from_pem(&pem).and_then(|c| c.to_der()));
        let named = self.wanted.root.as_deref().map(|path| {
            let pem = std::fs::read(path).map_err(|e| usage(format!("{}: {e}", path.display()), "--root FILE, PEM"))?;
            let der = X509::from_pem(&pem).and_then(|c| c.to_der());
            der.map_err(|e| {
                usage(
                    format!("{}: {e}", path.display()),
                    "--root FILE, one certificate in PEM",
                )
            })
        });
        let root = match (known, named.transpose()?, pin) {
            (Some(known), named, pin) => {
                let known = known.map_err(|e| usage(format!("root.pem of the state directory: {e}"), "restore it"))?;
                let found = openssl::sha::sha256(&known);
                if named.is_some_and(|named| named != known) || pin.is_some_and(|pin| pin != found) {
                    let url = self.wanted.server.clone();
                    return Err(ServerError::WrongRoot {
                        url,
                        found: hex::encode(found),
                    }
                    .into());
                }
                return Ok(known);
            }
            (None, Some(named), _) => named,
            (None, None, Some(pin)) => {
                (self.say)("first contact: comparing the CA's root with the pinned fingerprint");
                self.patiently(|| Server::first_contact(&self.wanted.server, &pin))?
            }
            (None, None, None) => {
                return Err(usage(
                    "which CA to believe is not known yet".into(),
                    "--root-sha256 FINGERPRINT or --root FILE, from the operator of the CA",
                ));
            }
        };
        let pem = X509::from_der(&root).and_then(|c| c.to_pem());
        let pem = pem.map_err(|e| usage(format!("the root certificate cannot be read: {e}"), "ask for another"))?;
        self.state.write("root.pem", &pem)?;
        Ok(root)
    }

    /// Send an activation again that may have been answered: the very same bytes.
    fn resume(&self, server: &Server, tpm: &Tpm, root: &[u8]) -> Result<Option<Enrolled>, AgentError> {
        let Some(journal) = self.state.journal()? else {
            return Ok(None);
        };
        if journal.server != self.wanted.server {
            return Err(AgentError::Usage {
                message: format!("an enrollment with {} is not finished", journal.server),
                fix: "finish it first, or use another --state-dir".into(),
            });
        }
        (self.say)("finishing the enrollment that was begun");
        match self.patiently(|| server.activate(journal.id, &journal.body)) {
            Ok(result) => Ok(Some(self.receive(result, tpm, root)?)),
            // It never arrived, or came too late: nothing was issued for it, or what was is burnt. Begin anew with the
            // same keys; the server gives a device that has its certificate the same one again.
            Err(error @ ServerError::Refused { .. }) => match error.code() {
                Some(ProblemCode::ChallengeExpired | ProblemCode::StateConflict) => {
                    self.state.end()?;
                    Ok(None)
                }
                _ => {
                    self.state.end()?;
                    Err(error.into())
                }
            },
            Err(other) => Err(other.into()),
        }
    }

    /// The key for this role: the one made before, else a new one, remembered before it is used.
    fn key(&self, tpm: &Tpm, role: Role) -> Result<StoredKey, AgentError> {
        let (alg, handle, word) = match role {
            Role::Attestation => (
                self.wanted.ak_alg,
                self.wanted.ak_handle.unwrap_or(IAK_HANDLE),
                "attestation",
            ),
            Role::Identity => (
                self.wanted.key_alg,
                self.wanted.persistent.unwrap_or(IDEVID_HANDLE),
                "identity",
            ),
        };
        let home = if self.wanted.manufacturer {
            KeyHome::Manufacturer(handle)
        } else {
            KeyHome::Owner
        };
        let spec = KeySpec { role, alg, home };
        if let Some(key) = self.state.key(role)? {
            if key.fits(&spec) {
                (self.say)(&format!("using the {word} key made before"));
                return Ok(key);
            }
            return Err(AgentError::Usage {
                message: format!("the {word} key in the state directory is of another kind than asked for"),
                fix: "ask for the same kind as before, or use another --state-dir".into(),
            });
        }
        (self.say)(&format!("making the {word} key in the TPM ({alg})"));
        let key = tpm.run(move |chip| chip.make_key(&spec))?;
        self.state.set_key(role, &key)?;
        if let (Role::Identity, KeyHome::Owner, Some(handle)) = (role, home, self.wanted.persistent) {
            let copy = key.clone();
            tpm.run(move |chip| chip.persist(&copy, handle))?;
        }
        Ok(key)
    }

    /// Check what came, then store it: certificates first, the mark that all is done last.
    fn receive(&self, result: EnrollmentResult, tpm: &Tpm, root: &[u8]) -> Result<Enrolled, AgentError> {
        (self.say)("checking what the CA sent");
        let missing = || AgentError::NotFound("a key of this enrollment is not in the state directory".into());
        let ak = self.state.key(Role::Attestation)?.ok_or_else(missing)?;
        let key = self.state.key(Role::Identity)?.ok_or_else(missing)?;
        let choice = self.wanted.ek;
        let ek_public = tpm.run(move |chip| Vendored::read(chip, choice))?.ek_public;
        let (profile, attestation_profile) = self.profiles();
        let expected = Expected {
            ak,
            key,
            ek_public,
            root: root.to_vec(),
        };
        let received = expected.check(&result, &profile, attestation_profile.as_deref())?;
        self.state.write("chain.pem", &received.chain)?;
        if let Some(certificate) = &received.attestation {
            self.state.write("ak-cert.pem", certificate)?;
        }
        self.state.write("cert.pem", &received.identity)?;
        let enrolled = Enrolled {
            server: self.wanted.server.clone(),
            device: result.device,
            profile,
            attestation_profile,
            at: jiff::Timestamp::now().as_second(),
        };
        self.state.set_enrolled(&enrolled)?;
        self.state.end()?;
        Ok(enrolled)
    }

    /// Try again while the server says "later" or cannot be reached, up to the time that was asked for.
    fn patiently<T>(&self, mut call: impl FnMut() -> Result<T, ServerError>) -> Result<T, ServerError> {
        let until = Instant::now() + Duration::from_secs(self.wanted.wait);
        let mut pause = Duration::from_millis(250);
        loop {
            let error = match call() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let Some(least) = error.again_after() else {
                return Err(error);
            };
            let wait = if matches!(error, ServerError::Refused { .. }) {
                least.max(pause)
            } else {
                pause
            };
            if Instant::now() + wait > until {
                return Err(error);
            }
            (self.say)(&format!("{error}; trying again"));
            std::thread::sleep(wait);
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }
}

/// 64 hex digits, in any grouping.
fn fingerprint(text: &str) -> Result<[u8; 32], AgentError> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    let mut bytes = [0; 32];
    hex::decode_to_slice(&digits, &mut bytes).map_err(|_| AgentError::Usage {
        message: "the fingerprint is not 64 hex digits".into(),
        fix: "--root-sha256 with the SHA-256 of the root certificate, as `ca-cli init` prints it".into(),
    })?;
    Ok(bytes)
}

/// What the vendor left in the TPM.
struct Vendored {
    endorsement: Endorsement,
    /// `TPMT_PUBLIC` of the EK.
    ek_public: Vec<u8>,
    /// The vendor's CA certificates in NV, DER.
    chain: Vec<Vec<u8>>,
}

impl Vendored {
    fn read(chip: &mut Chip, choice: tpm::EkChoice) -> Result<Self, TpmError> {
        let endorsement = chip.choose_endorsement(choice)?;
        let ek = chip.load_ek(&endorsement)?;
        chip.unload_ek(&ek);
        let chain = chip.endorsement_chain()?;
        Ok(Self {
            endorsement,
            ek_public: ek.public.raw().to_vec(),
            chain,
        })
    }
}

/// Everything the TPM has to do for one activation. The ticket is added by the caller.
fn answer(
    chip: &mut Chip,
    endorsement: &Endorsement,
    ak: &StoredKey,
    key: &StoredKey,
    challenge: &EnrollmentChallenge,
) -> Result<ActivationRequest, TpmError> {
    let question = &challenge.challenge;
    let nonce = <[u8; 32]>::try_from(question.nonce.0.as_slice()).map_err(|_| TpmError::Malformed {
        what: "the nonce of the challenge",
    })?;
    let secret = chip.activate(endorsement, ak, &question.credential_blob.0, &question.secret.0)?;
    let csr = csr::make(chip, key)?;
    let qualifying = attest::tpm::qualifying_data(&challenge.id.0, &nonce, &csr);
    let certified = chip.certify(key, ak, &qualifying)?;
    Ok(ActivationRequest {
        ticket: Bytes::default(),
        secret: secret.to_vec().into(),
        key_public: key.public()?.raw().to_vec().into(),
        key_certify: KeyCertify {
            attest: certified.attest.into(),
            signature: certified.signature.into(),
        },
        csr: csr.into(),
    })
}

/// What certificates must fit.
struct Expected {
    ak: StoredKey,
    key: StoredKey,
    ek_public: Vec<u8>,
    root: Vec<u8>,
}

/// Certificates that fit, PEM.
struct Received {
    identity: Vec<u8>,
    attestation: Option<Vec<u8>>,
    chain: Vec<u8>,
}

impl Expected {
    fn check(
        &self,
        result: &EnrollmentResult,
        profile: &str,
        ak_profile: Option<&str>,
    ) -> Result<Received, AgentError> {
        let count = 1 + usize::from(ak_profile.is_some());
        if result.state != EnrollmentState::Issued || result.certificates.len() != count {
            return Err(Unacceptable::Set.into());
        }
        let find = |role: KeyRole, profile: &str| {
            let found = result
                .certificates
                .iter()
                .find(|c| c.key == role && c.profile == profile);
            found.map(|c| c.certificate.0.as_slice()).ok_or(Unacceptable::Set)
        };
        let mut chain = Vec::new();
        for der in &result.chain {
            let pem = X509::from_der(&der.0).and_then(|c| c.to_pem());
            chain.extend(pem.map_err(|_| Unacceptable::Unreadable("CA's"))?);
        }
        let issuers: Vec<&[u8]> = result.chain.iter().map(|c| c.0.as_slice()).collect();
        let identity = self.certificate(find(KeyRole::Identity, profile)?, Role::Identity, &issuers)?;
        let attestation = ak_profile
            .map(|profile| self.certificate(find(KeyRole::Attestation, profile)?, Role::Attestation, &issuers))
            .transpose()?;
        Ok(Received {
            identity,
            attestation,
            chain,
        })
    }

    /// One certificate: below the pinned root, for our key, bound to our TPM. Gives it as PEM.
    fn certificate(&self, der: &[u8], role: Role, issuers: &[&[u8]]) -> Result<Vec<u8>, AgentError> {
        let (word, key) = match role {
            Role::Attestation => ("attestation", &self.ak),
            Role::Identity => ("identity", &self.key),
        };
        let certificate = X509::from_der(der).map_err(|_| Unacceptable::Unreadable(word))?;
        self.chains(&certificate, issuers)
            .map_err(|detail| Unacceptable::Chain { key: word, detail })?;
        let public = key.public()?;
        let spki = public.spki().map_err(|_| Unacceptable::Key(word))?;
        let certified = certificate.public_key().and_then(|k| k.public_key_to_der());
        if certified.ok() != Some(spki) {
            return Err(Unacceptable::Key(word).into());
        }
        if self.bound(der, &public.name()).is_none() {
            return Err(Unacceptable::Binding(word).into());
        }
        Ok(certificate.to_pem().map_err(|_| Unacceptable::Unreadable(word))?)
    }

    fn chains(&self, certificate: &X509, issuers: &[&[u8]]) -> Result<(), String> {
        let verify = || -> Result<Result<(), String>, openssl::error::ErrorStack> {
            let mut store = X509StoreBuilder::new()?;
            store.add_cert(X509::from_der(&self.root)?)?;
            let store = store.build();
            let mut untrusted = Stack::new()?;
            for der in issuers {
                untrusted.push(X509::from_der(der)?)?;
            }
            let mut context = X509StoreContext::new()?;
            context.init(&store, certificate, &untrusted, |c| {
                Ok(if c.verify_cert()? {
                    Ok(())
                } else {
                    Err(c.error().to_string())
                })
            })
        };
        verify().map_err(|e| e.to_string())?
    }

    /// The RoT binding names our EK, our AK and this key.
    fn bound(&self, der: &[u8], name: &[u8]) -> Option<()> {
        let certificate = x509_cert::Certificate::from_der(der).ok()?;
        let extension = certificate
            .tbs_certificate()
            .extensions()?
            .iter()
            .find(|e| e.extn_id == attest::rot::ID_ROT_BINDING)?;
        let binding = RotBinding::from_der(extension.extn_value.as_bytes()).ok()?;
        let ek = attest::tpm::TpmtPublic::parse(&self.ek_public).ok()?.spki().ok()?;
        let ak = self.ak.public().ok()?.name();
        let fits = binding.ek_spki_sha256.as_bytes() == openssl::sha::sha256(&ek)
            && binding.ak_name.as_bytes() == ak
            && binding.ik_name.as_bytes() == name;
        fits.then_some(())
    }
}
