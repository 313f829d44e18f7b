//! Revocation: steps that are only ever added; the last one of a certificate counts.

use std::collections::HashMap;

use diesel::prelude::*;
use wire::revocation::{RevocationReason, RevocationState};

use crate::among::among;
use crate::change::NewStep;
use crate::crl;
use crate::link::{Fault, Link, on};
use crate::rows::{Page, Revocation, RevocationRow, RevokeError};
use crate::seal;
use crate::tables::{blocked_key, certificate, device, revocation};

/// A row of `revocation`.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = revocation)]
struct Stored {
    id: i64,
    certificate_id: i64,
    step: i64,
    state: String,
    reason: String,
    at: i64,
    since: i64,
    actor: String,
    comment: String,
}

impl Stored {
    fn into_step(self) -> Result<Revocation, Fault> {
        let unknown = |what: &str| Fault::Failed(format!("revocation `{what}`"));
        Ok(Revocation {
            state: RevocationState::from_text(&self.state).ok_or_else(|| unknown(&self.state))?,
            reason: RevocationReason::from_text(&self.reason).ok_or_else(|| unknown(&self.reason))?,
            at: self.at,
            since: self.since,
            actor: self.actor,
            comment: self.comment,
        })
    }
}

/// Take a step, inside the open transaction.
pub(crate) fn step(link: &mut Link, new: &NewStep) -> Result<Result<Revocation, RevokeError>, Fault> {
    let found: Option<(Vec<u8>, Option<i64>)> = on!(link, c => certificate::table
        .find(new.certificate)
        .select((certificate::spki_sha256, certificate::device_id))
        .first(c)
        .optional())?;
    let Some((spki_sha256, owner)) = found else {
        return Ok(Err(RevokeError::NotFound));
    };
    if let Link::Postgres(c) = link {
        // As orders do: whoever certifies a key of this device comes before this step or after it, and then sees that
        // the key is blocked. Then the certificate: two steps of one certificate follow each other.
        if let Some(owner) = owner {
            let owner = device::table.find(owner).select(device::id);
            let _locked: Vec<i64> = owner.for_no_key_update().load(c)?;
        }
        let itself = certificate::table.find(new.certificate).select(certificate::id);
        let _locked: Vec<i64> = itself.for_no_key_update().load(c)?;
    }
    let before: Option<Stored> = on!(link, c => revocation::table
        .filter(revocation::certificate_id.eq(new.certificate))
        .order(revocation::step.desc())
        .select(Stored::as_select())
        .first(c)
        .optional())?;
    let was = before.as_ref().map(|last| last.id);
    let number = before.as_ref().map_or(1, |last| last.step.saturating_add(1));
    let before = before.map(Stored::into_step).transpose()?;
    let (state, reason, since) = match decide(before.as_ref(), new.reason, new.audit.at) {
        Next::Stands(last) => return Ok(Ok(last.clone())),
        Next::Refused(why) => return Ok(Err(why)),
        Next::Step(state, reason, since) => (state, reason, since),
    };
    if number == 1 {
        crl::enter(link, new.certificate)?;
    }
    if reason == RevocationReason::KeyCompromise {
        on!(link, c => diesel::insert_into(blocked_key::table)
            .values((
                blocked_key::spki_sha256.eq(&spki_sha256),
                blocked_key::reason.eq(reason.as_str()),
                blocked_key::created_at.eq(new.audit.at),
            ))
            .on_conflict(blocked_key::spki_sha256)
            .do_nothing()
            .execute(c))?;
    }
    let taken = Revocation {
        state,
        reason,
        at: new.audit.at,
        since,
        actor: new.audit.actor.chars().take(255).collect(),
        comment: new.comment.clone(),
    };
    let row: i64 = on!(link, c => diesel::insert_into(revocation::table)
        .values((
            revocation::certificate_id.eq(new.certificate),
            revocation::step.eq(number),
            revocation::state.eq(state.as_str()),
            revocation::reason.eq(reason.as_str()),
            revocation::at.eq(taken.at),
            revocation::since.eq(since),
            revocation::actor.eq(&taken.actor),
            revocation::comment.eq(&taken.comment),
        ))
        .returning(revocation::id)
        .get_result(c))?;
    let (issuer, serial): (Vec<u8>, Vec<u8>) = on!(link, c => certificate::table
        .find(new.certificate)
        .select((certificate::issuer_key_id, certificate::serial))
        .first(c))?;
    let event = ::ledger::Event::Status {
        issuer,
        serial,
        state: state.as_str().to_owned(),
        reason: reason.as_str().to_owned(),
    };
    let leaf = crate::ledger::entry::of_event(new.audit.at, event, None)?;
    crate::ledger::entry::write(link, &leaf)?;
    let before = match was {
        Some(id) => seal::row(link, "revocation", id)?,
        None => None,
    };
    let after = seal::row(link, "revocation", row)?;
    crate::keeping::audit(link, &[new.audit.changed(before, after)])?;
    Ok(Ok(taken))
}

/// What is asked for, in the light of the last step.
#[derive(Debug)]
enum Next<'a> {
    /// It is so already.
    Stands(&'a Revocation),
    /// State, reason, since.
    Step(RevocationState, RevocationReason, i64),
    Refused(RevokeError),
}

/// `reason`: why it is revoked or held; none: it is released. The tables hold the same by themselves.
fn decide(last: Option<&Revocation>, reason: Option<RevocationReason>, now: i64) -> Next<'_> {
    use RevocationReason::{CertificateHold, KeyCompromise};
    use RevocationState::{OnHold, Released, Revoked};
    match (last, reason) {
        (Some(r), Some(CertificateHold)) if r.state == OnHold => Next::Stands(r),
        (Some(r), Some(reason)) if r.state == Revoked && r.reason == reason => Next::Stands(r),
        (Some(r), None) if r.state == Released => Next::Stands(r),
        (Some(r), Some(KeyCompromise)) if r.state == Revoked => Next::Step(Revoked, KeyCompromise, r.since),
        (Some(r), Some(_)) if r.state == Revoked => Next::Refused(RevokeError::Final(r.reason)),
        (Some(r), Some(reason)) if r.state == OnHold => Next::Step(Revoked, reason, r.since),
        (Some(r), None) if r.state == OnHold => Next::Step(Released, r.reason, now),
        (_, Some(CertificateHold)) => Next::Step(OnHold, CertificateHold, now),
        (_, Some(reason)) => Next::Step(Revoked, reason, now),
        (_, None) => Next::Refused(RevokeError::NotOnHold),
    }
}

/// The last step of each certificate that has any.
pub(crate) fn last(link: &mut Link, certificates: &[i64]) -> Result<HashMap<i64, Revocation>, Fault> {
    let mut found = HashMap::new();
    for part in certificates.chunks(1000) {
        let rows: Vec<Stored> = on!(link, c => revocation::table
            .filter(among(revocation::certificate_id, part.iter().copied()))
            .order((revocation::certificate_id, revocation::step))
            .select(Stored::as_select())
            .load(c))?;
        for row in rows {
            found.insert(row.certificate_id, row.into_step()?);
        }
    }
    Ok(found)
}

pub(crate) fn history(link: &mut Link, certificate: i64) -> Result<Vec<Revocation>, Fault> {
    let rows: Vec<Stored> = on!(link, c => revocation::table
        .filter(revocation::certificate_id.eq(certificate))
        .order(revocation::step)
        .select(Stored::as_select())
        .load(c))?;
    rows.into_iter().map(Stored::into_step).collect()
}

pub(crate) fn list(link: &mut Link, after: Option<i64>, limit: u32) -> Result<Page<RevocationRow>, Fault> {
    type Joined = (Stored, Vec<u8>, Vec<u8>, Option<String>, String);
    let size = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
    let rows: Vec<Joined> = on!(link, c => revocation::table
        .inner_join(certificate::table)
        .left_join(device::table.on(device::id.nullable().eq(certificate::device_id)))
        .filter(revocation::id.gt(after.unwrap_or(0)))
        .order(revocation::id)
        .limit(i64::from(limit.max(1)) + 1)
        .select((
            Stored::as_select(),
            certificate::serial,
            certificate::issuer_key_id,
            device::name.nullable(),
            certificate::profile,
        ))
        .load(c))?;
    let more = rows.len() > size;
    let mut items = rows
        .into_iter()
        .map(|(row, serial, issuer_key_id, device, profile)| {
            Ok(RevocationRow {
                id: row.id,
                serial,
                issuer_key_id,
                device,
                profile,
                step: row.into_step()?,
            })
        })
        .collect::<Result<Vec<_>, Fault>>()?;
    items.truncate(size);
    let next = if more { items.last().map(|row| row.id) } else { None };
    Ok(Page { items, next })
}
