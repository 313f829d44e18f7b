//! Recording signatures: `intent` becomes `issued`, once.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary};
use issuance::{IssuedRecord, RecordError};
use ledger::{Event, Issuance};
use wire::EnrollmentId;

use crate::among::among;
use crate::change::Signatures;
use crate::fixed::CloseIntent;
use crate::ledger::entry;
use crate::link::{Fault, Link, insert, on};
use crate::revocation;
use crate::rows::Revocation;
use crate::tables::{
    NewAudit, NewEntry, certificate, enrollment, evidence, ledger_entry, revocation as revocation_table, transcript,
};

/// A certificate row of an enrollment.
struct Row {
    id: i64,
    open: bool,
    /// It has steps of a revocation.
    touched: bool,
    der: Option<Vec<u8>>,
    profile: String,
    profile_sha256: Vec<u8>,
    /// Digest of the evidence it was granted on.
    evidence: Option<Vec<u8>>,
    /// Digest of its transcript.
    transcript: Option<Vec<u8>>,
    created_at: i64,
}

/// Rows by (challenge, issuer, serial).
type Rows = HashMap<(Vec<u8>, Vec<u8>, Vec<u8>), Row>;

/// Record signatures inside the open transaction; one verdict for each job, in order.
///
/// `again`: an earlier transaction with the same signatures may have been committed; finding them is a success.
pub(crate) fn issued(
    link: &mut Link,
    jobs: &[&Signatures],
    again: bool,
) -> Result<Vec<Result<(), RecordError>>, Fault> {
    let rows = look(link, jobs, again)?;
    let touched: Vec<i64> = rows.values().filter(|row| row.touched).map(|row| row.id).collect();
    let steps = revocation::last(link, &touched)?;
    let mut taken = HashSet::new();
    let mut updates: Vec<(i64, &[u8])> = Vec::new();
    let mut leaves = Vec::new();
    let mut audits = Vec::new();
    let mut verdicts = Vec::with_capacity(jobs.len());
    for job in jobs {
        let found: Vec<(&Row, &[u8])> = job
            .issued
            .iter()
            .filter_map(|i| {
                let key = (
                    job.challenge.to_vec(),
                    i.issuer_key_id.clone(),
                    i.serial.octets().to_vec(),
                );
                rows.get(&key).map(|row| (row, i.certificate.as_slice()))
            })
            .collect();
        let complete = !found.is_empty() && found.len() == job.issued.len();
        let fresh = found.iter().map(|(row, _)| row.id).collect::<HashSet<_>>();
        let open = fresh.len() == found.len() && found.iter().all(|(row, _)| row.open && !taken.contains(&row.id));
        // The signature exists, so it is recorded; but nobody is handed a certificate that is not good any more.
        let verdict = if found
            .iter()
            .any(|(row, _)| steps.get(&row.id).is_some_and(Revocation::not_good))
        {
            Err(RecordError::Revoked)
        } else {
            Ok(())
        };
        if complete && open {
            taken.extend(fresh);
            updates.extend(found.iter().map(|(row, der)| (row.id, *der)));
            for ((row, der), record) in found.iter().zip(&job.issued) {
                leaves.push(leaf(row, der, record)?);
            }
            audits.push(told(job, &found));
            verdicts.push(verdict);
        } else if again && complete && found.iter().all(|(row, der)| row.der.as_deref() == Some(*der)) {
            verdicts.push(verdict);
        } else {
            verdicts.push(Err(RecordError::IntentClosed));
        }
    }
    // No entry, no certificate: the tables hold the same by themselves.
    insert!(link, ledger_entry::table, &leaves);
    if close(link, &updates)? != updates.len() {
        // Another server's recovery came between the look and the update.
        return Err(Fault::Raced("an intent was closed meanwhile".to_owned()));
    }
    crate::keeping::audit(link, &audits)?;
    Ok(verdicts)
}

fn look(link: &mut Link, jobs: &[&Signatures], again: bool) -> Result<Rows, Fault> {
    let challenges: Vec<&[u8]> = jobs.iter().map(|j| j.challenge.as_slice()).collect();
    type Loaded = (
        (Vec<u8>, Vec<u8>, Vec<u8>),
        i64,
        String,
        (String, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>),
        i64,
        bool,
    );
    let loaded: Vec<Loaded> = on!(link, c => certificate::table
        .inner_join(enrollment::table)
        .left_join(evidence::table.on(evidence::enrollment_id.eq(enrollment::id)))
        .left_join(transcript::table.on(transcript::enrollment_id.eq(enrollment::id)))
        .filter(among(enrollment::challenge, challenges.iter().copied()))
        .select((
            (enrollment::challenge, certificate::issuer_key_id, certificate::serial),
            certificate::id,
            certificate::state,
            (
                certificate::profile,
                certificate::profile_sha256,
                evidence::digest.nullable(),
                transcript::digest.nullable(),
            ),
            certificate::created_at,
            diesel::dsl::exists(
                revocation_table::table.filter(revocation_table::certificate_id.eq(certificate::id)),
            ),
        ))
        .load(c))?;
    let mut ders: HashMap<i64, Vec<u8>> = HashMap::new();
    if again {
        let ids: Vec<i64> = loaded.iter().map(|row| row.1).collect();
        let found: Vec<(i64, Option<Vec<u8>>)> = on!(link, c => certificate::table
            .filter(among(certificate::id, ids.iter().copied()))
            .select((certificate::id, certificate::der))
            .load(c))?;
        ders.extend(found.into_iter().filter_map(|(id, der)| der.map(|der| (id, der))));
    }
    Ok(loaded
        .into_iter()
        .map(
            |(key, id, state, (profile, profile_sha256, evidence, transcript), created_at, touched)| {
                let row = Row {
                    id,
                    touched,
                    open: state == "intent",
                    der: ders.remove(&id),
                    profile,
                    profile_sha256,
                    evidence,
                    transcript,
                    created_at,
                };
                (key, row)
            },
        )
        .collect())
}

/// The conditional update; how many rows it found still open.
fn close(link: &mut Link, updates: &[(i64, &[u8])]) -> Result<usize, Fault> {
    if updates.is_empty() {
        return Ok(0);
    }
    match link {
        Link::Sqlite(c) => {
            let mut count = 0;
            for (id, der) in updates {
                count += CloseIntent { id: *id, der }.execute(c)?;
            }
            Ok(count)
        }
        Link::Postgres(c) => Ok(diesel::sql_query(
            "UPDATE certificate AS c SET state = 'issued', certificate = v.der \
             FROM unnest($1, $2) AS v (id, der) WHERE c.id = v.id AND c.state = 'intent'",
        )
        .bind::<Array<BigInt>, _>(updates.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(updates.iter().map(|(_, der)| *der).collect::<Vec<_>>())
        .execute(c)?),
    }
}

/// The leaf that hands a certificate out. Its time is the order's, as that of the audit record.
fn leaf(row: &Row, der: &[u8], record: &IssuedRecord) -> Result<NewEntry, Fault> {
    let issuance = Issuance {
        issuer: record.issuer_key_id.clone(),
        serial: record.serial.octets().to_vec(),
        certificate: attest::sha256(der),
        evidence: row.evidence.clone().map(crate::read::array).transpose()?,
        profile: row.profile.clone(),
        profile_sha256: crate::read::array(row.profile_sha256.clone())?,
        transcript: row.transcript.clone().map(crate::read::array).transpose()?,
    };
    // The order's time, the issuer's key and the evidence are also known to who recorded it: the promise is made of them.
    entry::of_event(row.created_at, Event::Issued(issuance), Some(row.id))
}

/// The audit record. Its time is the order's: the store has no clock of its own.
fn told(job: &Signatures, found: &[(&Row, &[u8])]) -> NewAudit {
    let list: Vec<String> = found
        .iter()
        .zip(&job.issued)
        .map(|((row, _), i)| format!("{} {}", row.profile, i.serial.hex()))
        .collect();
    NewAudit {
        at: found.iter().map(|(row, _)| row.created_at).max().unwrap_or_default(),
        action: "enrollment.issued".to_owned(),
        actor: "server".to_owned(),
        subject: EnrollmentId(job.challenge).to_string(),
        reason: "ISSUED".to_owned(),
        detail: list.join(", "),
        before: None,
        after: None,
    }
}
