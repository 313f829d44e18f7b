//! Evidence bundles: what a certificate stands on, handed out as one archive, or erased.

use bundle::{Bundle, LedgerProof, Transcript};
use issuance::AuditRecord;
use schema::{CertificateRow, CertificateState, Erasure, StoreError};
use wire::evidence::ErasedEvidence;

use super::failure::Trouble;
use super::ledger;
use crate::house::House;

/// Longest reason, in characters.
const LONGEST: usize = 500;
/// Most certificates above an EK, or above IAK and IDevID; a path that was believed has fewer.
const MAX_PATH: usize = 16;

/// Why there is no bundle, or it is not erased.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// There is no such certificate.
    #[error("there is no certificate of this serial")]
    NotFound,
    /// It stands on no evidence, or none that is there.
    #[error("{0}")]
    Nothing(&'static str),
    /// Not now.
    #[error("{0}")]
    Conflict(&'static str),
    /// A reason that is none.
    #[error("reason: 1 to {LONGEST} characters, no control characters")]
    Reason,
    /// Not the caller's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<StoreError> for BundleError {
    fn from(error: StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

fn bug(why: impl core::fmt::Display) -> BundleError {
    Trouble::Bug(why.to_string()).into()
}

/// The bundle of an issued certificate, with the proof of the tree that is signed now.
///
/// # Errors
/// [`BundleError`].
pub fn export(house: &House, actor: &str, serial: &[u8]) -> Result<Vec<u8>, BundleError> {
    let row = house.store.certificate(serial)?.ok_or(BundleError::NotFound)?;
    let (CertificateState::Issued, Some(certificate)) = (row.state, row.certificate.clone()) else {
        return Err(BundleError::NotFound);
    };
    let evidence = house.store.evidence(&row.enrollment_id)?;
    let evidence = evidence.ok_or(BundleError::Nothing("it stands on no evidence, or it was erased"))?;
    let transcript = house.store.transcript(&row.enrollment_id)?;
    let transcript = transcript.ok_or(BundleError::Nothing("it was issued before there were transcripts"))?;
    let told = Transcript::parse(&transcript.bytes).map_err(bug)?;
    let bundle = Bundle {
        policy: policy(house, &told)?,
        certificate,
        issuers: house.issuer.chain().to_vec(),
        evidence: evidence.bytes,
        path: path(&transcript.path).ok_or_else(|| bug("a path that is none"))?,
        transcript: transcript.bytes,
        ledger: proof(house, &row)?,
    };
    let archive = bundle.write().map_err(bug)?;
    let sha256 = hex::encode(attest::sha256(&archive));
    house
        .store
        .audit(&audit(house, actor, "evidence.exported", &row, "ADMIN", &sha256))?;
    Ok(archive)
}

/// The text that the transcript names; there is none where policies were not archived yet.
fn policy(house: &House, told: &Transcript) -> Result<Option<Vec<u8>>, BundleError> {
    let Some(named) = &told.policy else { return Ok(None) };
    let mut digest = [0; 32];
    hex::decode_to_slice(named, &mut digest).map_err(bug)?;
    if digest == house.policy_archive {
        return house.policy_text().map(Some).map_err(bug);
    }
    let text = house.store.archived(&digest)?;
    text.map(Some)
        .ok_or_else(|| bug("the policy that decided is not archived"))
}

fn proof(house: &House, row: &CertificateRow) -> Result<Option<LedgerProof>, BundleError> {
    if house.ledger.is_none() {
        return Ok(None);
    }
    let entry = house.store.ledger_entry(row.id)?;
    let entry = entry.ok_or(BundleError::Nothing("it was issued before there was a ledger"))?;
    let waits = BundleError::Conflict("its entry is in no signed tree yet: ask again in a second");
    let Some(place) = entry.position else {
        return Err(waits);
    };
    let proof = ledger::proof(house, place)?.ok_or(waits)?;
    Ok(Some(LedgerProof {
        entry: entry.bytes,
        proof: proof.to_string().into_bytes(),
    }))
}

/// What [`bundle::path_bytes`] wrote.
pub(super) fn path(mut rest: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut path = Vec::new();
    while !rest.is_empty() && path.len() < MAX_PATH {
        let (length, after) = rest.split_first_chunk()?;
        let (der, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        path.push(der.to_vec());
        rest = after;
    }
    rest.is_empty().then_some(path)
}

/// Erase what the certificates of an enrollment stand on, once none of them is good.
///
/// # Errors
/// [`BundleError`].
pub fn erase(house: &House, actor: &str, serial: &[u8], reason: &str) -> Result<ErasedEvidence, BundleError> {
    let length = reason.chars().count();
    if !(1..=LONGEST).contains(&length) || reason.contains(char::is_control) {
        return Err(BundleError::Reason);
    }
    let row = house.store.certificate(serial)?.ok_or(BundleError::NotFound)?;
    let now = house.clock.read().now;
    let record = audit(house, actor, "evidence.erased", &row, "ADMIN", reason);
    match house.store.erase_evidence(&row.enrollment_id, now.0, &record)? {
        Erasure::Nothing => return Err(BundleError::Nothing("it stands on no evidence")),
        Erasure::Needed => {
            let why = "a certificate that is good stands on it: revoke it, or wait until its time is over";
            return Err(BundleError::Conflict(why));
        }
        Erasure::Done => {}
    }
    let of = house.store.enrollment(&row.enrollment_id)?;
    let certificates = of.map(|row| row.certificates).unwrap_or_default();
    Ok(ErasedEvidence {
        serials: certificates.iter().map(|c| hex::encode(&c.serial)).collect(),
    })
}

fn audit(house: &House, actor: &str, action: &str, row: &CertificateRow, reason: &str, detail: &str) -> AuditRecord {
    let serial = hex::encode(&row.serial);
    AuditRecord {
        at: house.clock.read().now,
        action: action.to_owned(),
        actor: actor.to_owned(),
        subject: row.device.clone().unwrap_or_else(|| serial.clone()),
        reason: reason.to_owned(),
        detail: format!("{} {serial}: {detail}", row.profile),
    }
}
