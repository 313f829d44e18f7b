//! A rehearsal: the plan as it is, on a software token, with scripted answers. What comes of it is marked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ceremony::archive::{STAND_IN, approval_subject};
use ceremony::quorum::Mode;
use ceremony::step::{CERTIFICATE, CRL};
use ceremony::{Plan, Sha256};
use issuance::SignatureAlgorithm;

use super::access::Access;
use super::people::Scripted;
use super::room::Room;
use super::run::{Run, program};
use super::seal;
use super::throwaway::Throwaway;
use crate::exit::Failure;

/// Somebody who stands in for an officer: a key in a file.
pub(crate) struct StandIn {
    /// Role, as in the plan.
    pub(crate) role: String,
    /// Key.
    pub(crate) key: Throwaway,
}

impl StandIn {
    /// One with a new key; its digest goes into a plan of a demonstration.
    pub(crate) fn draw(role: &str) -> Result<Self, Failure> {
        Ok(Self {
            role: role.to_owned(),
            key: Throwaway::draw(SignatureAlgorithm::EcdsaP256Sha256)?,
        })
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(crate) fn sha256(&self) -> Sha256 {
        Sha256::of(issuance::CaKey::spki(&self.key))
    }
}

/// What a rehearsal made.
pub(crate) struct Outcome {
    /// The certificate, DER.
    pub(crate) certificate: Option<Vec<u8>>,
    /// The CRL, DER.
    pub(crate) crl: Option<Vec<u8>>,
    /// The sealed archive.
    pub(crate) archive: PathBuf,
    /// What the token said of the key that was made: (attribute, value).
    pub(crate) attributes: Vec<(String, String)>,
}

/// What is rehearsed, where, and on which token.
pub(crate) struct Rehearsal<'a> {
    /// The plan.
    pub(crate) plan: &'a Plan,
    /// What goes in, by the name of the input.
    pub(crate) inputs: &'a BTreeMap<String, Vec<u8>>,
    /// The medium to make, or to go on with.
    pub(crate) medium: &'a Path,
    /// The archive to make.
    pub(crate) archive: &'a Path,
    /// Certificate of the CA that stands in for the issuer, DER: of a plan for a real one.
    pub(crate) stand_in: Option<&'a [u8]>,
    /// The token.
    pub(crate) access: Access,
    /// Where the sheets of shares are kept.
    pub(crate) shares: &'a Path,
    /// As many officers as are required.
    pub(crate) officers: &'a [StandIn],
}

impl Rehearsal<'_> {
    /// From the first step to the sealed archive; `say` gets a line for each step.
    pub(crate) fn perform(&self, resume: bool, say: &dyn Fn(&str)) -> Result<Outcome, Failure> {
        let room = if resume && Room::open(self.medium).is_ok() {
            Room::open(self.medium)?
        } else {
            Room::create(self.medium, self.plan, self.inputs, true)?
        };
        if let Some(der) = self.stand_in {
            room.put(STAND_IN, der)?;
        }
        let subject = approval_subject(self.plan, Mode::Rehearsal, program()?);
        self.sign(&room, "approvals", &subject)?;
        let mut people = Scripted {
            say,
            secrets: self.shares,
        };
        // After an interruption before the first record there is nothing to go on with.
        let begun = resume
            && room
                .get(ceremony::archive::TRANSCRIPT)?
                .is_some_and(|t| t.contains(&b'\n'));
        let over = begun && self.sealed(&room)?;
        let mut attributes = Vec::new();
        if !over {
            let mut run = Run::open(&room, Mode::Rehearsal, self.access.clone(), &mut people, begun)?;
            run.finish()?;
            attributes = run.attributes();
        }
        let subject = seal::close(&room, Mode::Rehearsal)?;
        self.sign(&room, "seals", &subject)?;
        let archive = seal::pack(&room, self.archive, true)?;
        Ok(Outcome {
            certificate: room.get(&format!("outputs/{CERTIFICATE}"))?,
            crl: room.get(&format!("outputs/{CRL}"))?,
            archive,
            attributes,
        })
    }

    fn sealed(&self, room: &Room) -> Result<bool, Failure> {
        Ok(super::journal::Journal::open(room, self.plan)?.sealed())
    }

    /// As many signatures as are required, each made once.
    fn sign(&self, room: &Room, folder: &str, subject: &ceremony::quorum::Subject) -> Result<(), Failure> {
        for (index, officer) in self.officers.iter().enumerate().take(self.plan.quorum().required) {
            let name = format!("{folder}/{}.txt", index + 1);
            if room.get(&name)?.is_some() {
                continue;
            }
            let person = format!("Rehearsal person {}", index + 1);
            let text = seal::sign_in_rehearsal(subject.clone(), &officer.role, &person, &officer.key)?;
            room.put(&name, &text)?;
        }
        Ok(())
    }
}

/// Officers of a plan, each with a key in a file of mode 0600 below `secrets`; those that are there are taken.
pub(crate) fn stand_ins(plan: &Plan, secrets: &Path) -> Result<Vec<StandIn>, Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut all = Vec::new();
    for (index, officer) in plan.quorum().officers.iter().enumerate() {
        let path = secrets.join(format!("officer-{}.key", index + 1));
        let key = match std::fs::read(&path).ok().and_then(|pem| Throwaway::read(&pem).ok()) {
            Some(key) => key,
            None => {
                let drawn = Throwaway::draw(SignatureAlgorithm::EcdsaP256Sha256)?;
                let file = std::fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&path);
                let pem = drawn.pem()?;
                file.and_then(|mut f| f.write_all(&pem).and_then(|()| f.sync_all()))
                    .with_context(|| path.display().to_string())?;
                drawn
            }
        };
        all.push(StandIn {
            role: officer.role.clone(),
            key,
        });
    }
    Ok(all)
}
