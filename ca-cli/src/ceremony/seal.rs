//! The end: the record is closed, everything is listed, sealed and packed.

use std::path::{Path, PathBuf};

use attest::UnixTime;
use ceremony::archive::{SUMS, approval_subject, seal_subject, sums};
use ceremony::quorum::{KeyStore, Mode, Statement, Subject};
use ceremony::step::steps;
use ceremony::transcript::Entry;
use ceremony::{Event, Sha256, archive, tar};
use issuance::SignatureAlgorithm;

use super::journal::Journal;
use super::room::Room;
use super::run::program;
use super::throwaway::Throwaway;
use crate::exit::{Exit, Failure};
use crate::words;

/// Close the record of a ceremony whose steps are all done; what the participants seal.
pub(crate) fn close(room: &Room, mode: Mode) -> Result<Subject, Failure> {
    let plan = room.plan()?;
    let mut journal = Journal::open(room, &plan)?;
    let last = u32::try_from(steps(&plan).len()).unwrap_or(u32::MAX);
    if journal.last_done() != last {
        return Err(Failure::new(
            Exit::Conflict,
            format!("step {} of {last} is the last that is done", journal.last_done()),
        )
        .fix("go on with: ca-cli ceremony run --resume"));
    }
    if !journal.sealed() {
        journal.append(Entry::new(Event::Sealed, 0, "administrator"))?;
    }
    drop(journal);
    let listed = sums(&room.files()?);
    room.put(SUMS, listed.as_bytes())?;
    let subject = approval_subject(&plan, mode, program()?);
    Ok(seal_subject(&subject, Sha256::of(listed.as_bytes())))
}

/// Pack the archive beside the medium, once its seals make the quorum. Verified before it is written.
pub(crate) fn pack(room: &Room, to: &Path, rehearsal: bool) -> Result<PathBuf, Failure> {
    let bytes = tar::write(&room.files()?).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    archive::verify(&bytes, rehearsal).map_err(|e| Failure::new(Exit::No, e.to_string()))?;
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(to);
    let written = written.and_then(|mut file| {
        use std::io::Write as _;
        file.write_all(&bytes).and_then(|()| file.sync_all())
    });
    match written {
        Ok(()) => Ok(to.to_owned()),
        // The same archive again: a power cut came after it was written.
        Err(_) if std::fs::read(to).is_ok_and(|there| there == bytes) => Ok(to.to_owned()),
        Err(e) => Err(Failure::new(Exit::Conflict, format!("{}: {e}", to.display()))),
    }
}

/// A rehearsal's officer signs with a key in a file.
pub(crate) fn sign_in_rehearsal(
    subject: Subject,
    role: &str,
    person: &str,
    key: &Throwaway,
) -> Result<Vec<u8>, Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::new(Exit::Failed, e.to_string());
    let statement = Statement {
        subject,
        role: role.to_owned(),
        person: person.to_owned(),
        time: UnixTime(words::now()),
        store: KeyStore::File,
        algorithm: SignatureAlgorithm::EcdsaP256Sha256,
        spki: issuance::CaKey::spki(key).to_vec(),
    };
    let signature = key.sign_bytes(&statement.bytes().map_err(|e| failed(&e))?)?;
    let approval = statement.signed(signature).map_err(|e| failed(&e))?;
    approval.text().map_err(|e| failed(&e))
}
