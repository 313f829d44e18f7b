//! Another TPM for a device: asked for by one person, decided by another, carried out in one transaction. And whose an EK
//! is, for ever.

use diesel::prelude::*;
use issuance::RecordError;
use wire::revocation::{RevocationReason, RevocationState};

use crate::change::{NewDecision, NewStep};
use crate::link::{Fault, Link, on};
use crate::read;
use crate::rows::{
    DeviceTpm, EkLink, EkOwner, EkShown, IakGone, KnownBy, NewReplacement, NewTpm, Page, ReplaceError, ReplacementRow,
    ReplacementState,
};
use crate::tables::{NewAudit, certificate, device, ek_owner, iak_gone, key_owner, replacement};
use crate::{keeping, revocation, seal};

/// Longest reason and comment, in characters; the tables hold the same.
const LONGEST: usize = 500;
/// Longest name of a person.
const LONGEST_NAME: usize = 255;

/// Row id, EK and IAK of a device.
type Bound = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// A row of `replacement`.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = replacement)]
struct Stored {
    id: i64,
    old_ek: Vec<u8>,
    new_ek: Option<Vec<u8>>,
    first_contact_for: Option<i64>,
    revocation: String,
    reason: String,
    requested_by: String,
    requested_at: i64,
    expires_at: i64,
    state: String,
    decided_by: Option<String>,
    decided_at: Option<i64>,
    comment: Option<String>,
    old_kind: String,
    new_kind: String,
}

impl Stored {
    fn into_row(self, device: String) -> Result<ReplacementRow, Fault> {
        let damaged = |what: &str| Fault::Failed(format!("replacement {}: {what}", self.id));
        Ok(ReplacementRow {
            old_kind: KnownBy::from_text(&self.old_kind).ok_or_else(|| damaged(&self.old_kind))?,
            new_tpm: match (self.new_ek, KnownBy::from_text(&self.new_kind), self.first_contact_for) {
                (Some(ek), Some(KnownBy::Ek), None) => NewTpm::Named(read::array(ek)?),
                (Some(iak), Some(KnownBy::Iak), None) => NewTpm::Iak(read::array(iak)?),
                (None, Some(KnownBy::Ek), Some(seconds)) => NewTpm::FirstContact(seconds),
                _ => return Err(damaged("which TPM")),
            },
            revocation: RevocationReason::from_text(&self.revocation).ok_or_else(|| damaged(&self.revocation))?,
            state: ReplacementState::from_text(&self.state).ok_or_else(|| damaged(&self.state))?,
            id: self.id,
            device,
            old_ek: read::array(self.old_ek)?,
            reason: self.reason,
            requested_by: self.requested_by,
            requested_at: self.requested_at,
            expires_at: self.expires_at,
            decided_by: self.decided_by,
            decided_at: self.decided_at,
            comment: self.comment,
        })
    }
}

/// Write a wish down; the same wish of the same person again is a success.
pub(crate) fn request(
    link: &mut Link,
    wish: &NewReplacement,
    record: &NewAudit,
) -> Result<Result<ReplacementRow, ReplaceError>, Fault> {
    if let Some(why) = unfit(wish, record) {
        return Ok(Err(ReplaceError::Unfit(why)));
    }
    let Some((id, ek, iak)) = lock(link, &wish.device)? else {
        return Ok(Err(ReplaceError::NotFound));
    };
    let Some((old_ek, old_kind)) = known_by(ek, iak) else {
        return Ok(Err(ReplaceError::NotBound(wish.device.clone())));
    };
    if let Some(open) = open_of(link, id)? {
        if open.expires_at < record.at {
            let before = seal::row(link, "replacement", open.id)?;
            close(link, open.id, ReplacementState::Expired, "server", record.at, None)?;
            let expired = NewAudit {
                action: "replacement.expired".to_owned(),
                actor: "server".to_owned(),
                reason: "EXPIRED".to_owned(),
                detail: format!("replacement {}", open.id),
                ..record.changed(before, seal::row(link, "replacement", open.id)?)
            };
            keeping::audit(link, &[expired])?;
        } else {
            let same = open.requested_by == record.actor
                && open.new_tpm == wish.new_tpm
                && open.revocation == wish.revocation
                && open.reason == wish.reason;
            return Ok(if same {
                Ok(open)
            } else {
                Err(ReplaceError::Open {
                    id: open.id,
                    by: open.requested_by,
                })
            });
        }
    }
    if let Err(taken) = free(link, wish.new_tpm)? {
        return Ok(Err(taken));
    }
    let (new_ek, new_kind, first_contact_for) = match &wish.new_tpm {
        NewTpm::Named(ek) => (Some(ek.as_slice()), KnownBy::Ek, None),
        NewTpm::Iak(iak) => (Some(iak.as_slice()), KnownBy::Iak, None),
        NewTpm::FirstContact(seconds) => (None, KnownBy::Ek, Some(*seconds)),
    };
    let stored: Stored = on!(link, c => diesel::insert_into(replacement::table)
        .values((
            replacement::device_id.eq(id),
            replacement::old_ek.eq(&old_ek),
            replacement::new_ek.eq(new_ek),
            replacement::first_contact_for.eq(first_contact_for),
            replacement::revocation.eq(wish.revocation.as_str()),
            replacement::reason.eq(&wish.reason),
            replacement::requested_by.eq(&record.actor),
            replacement::requested_at.eq(record.at),
            replacement::expires_at.eq(wish.expires_at),
            replacement::state.eq(ReplacementState::Pending.as_str()),
            replacement::old_kind.eq(old_kind.as_str()),
            replacement::new_kind.eq(new_kind.as_str()),
        ))
        .returning(Stored::as_returning())
        .get_result(c))?;
    let after = seal::row(link, "replacement", stored.id)?;
    keeping::audit(link, &[record.changed(None, after)])?;
    Ok(Ok(stored.into_row(wish.device.clone())?))
}

/// Decide over a wish. An approval carries it out, here and now: what stands on the old TPM is revoked, its EKs go, and
/// the new TPM may come. The same decision of the same person again is a success.
pub(crate) fn decide(link: &mut Link, new: &NewDecision) -> Result<Result<ReplacementRow, ReplaceError>, Fault> {
    let Some(seen) = find(link, new.replacement)? else {
        return Ok(Err(ReplaceError::NotFound));
    };
    // The device first, as everyone locks; then the wish as it stands.
    let Some((id, ek, iak)) = lock(link, &seen.device)? else {
        return Ok(Err(ReplaceError::NotFound));
    };
    let Some(open) = find(link, new.replacement)? else {
        return Ok(Err(ReplaceError::NotFound));
    };
    let wanted = if new.approve {
        ReplacementState::Approved
    } else {
        ReplacementState::Rejected
    };
    let (who, now) = (new.audit.actor.as_str(), new.audit.at);
    if open.state != ReplacementState::Pending {
        let by = open.decided_by.clone().unwrap_or_default();
        return Ok(match open.state {
            state if state == wanted && by == who => Ok(open),
            ReplacementState::Expired => Err(ReplaceError::Expired),
            state => Err(ReplaceError::Decided(state, by)),
        });
    }
    if new.approve && open.requested_by == who {
        return Ok(Err(ReplaceError::SamePerson(open.requested_by)));
    }
    if new.approve && now > open.expires_at {
        return Ok(Err(ReplaceError::Expired));
    }
    if new.approve
        && let Err(taken) = free(link, open.new_tpm)?
    {
        return Ok(Err(taken));
    }
    let bound = known_by(ek, iak);
    let same = bound.is_some_and(|(key, kind)| key == open.old_ek && kind == open.old_kind);
    if new.approve && !same {
        if open.old_kind == KnownBy::Iak {
            return Ok(Err(ReplaceError::Changed));
        }
        return Err(Fault::Failed("a replacement of a TPM that is not bound".to_owned()));
    }
    let comment = Some(new.comment.as_str()).filter(|text| !text.is_empty());
    let before = seal::row(link, "replacement", open.id)?;
    close(link, open.id, wanted, who, now, comment)?;
    let after = seal::row(link, "replacement", open.id)?;
    keeping::audit(link, &[new.audit.changed(before, after)])?;
    if new.approve {
        carry_out(link, id, &open, new)?;
    }
    let done = find(link, new.replacement)?;
    Ok(done.ok_or(ReplaceError::NotFound))
}

/// Revoke what stands on the old TPM, and let the new one in.
fn carry_out(link: &mut Link, id: i64, wish: &ReplacementRow, new: &NewDecision) -> Result<(), Fault> {
    let now = new.audit.at;
    let certificates: Vec<(i64, String, Vec<u8>)> = on!(link, c => certificate::table
        .filter(certificate::device_id.eq(id))
        .filter(certificate::not_after.ge(now))
        .order(certificate::id)
        .select((certificate::id, certificate::profile, certificate::serial))
        .load(c))?;
    let ids: Vec<i64> = certificates.iter().map(|row| row.0).collect();
    let steps = revocation::last(link, &ids)?;
    for (certificate, profile, serial) in certificates {
        let before = steps.get(&certificate).filter(|s| s.state == RevocationState::Revoked);
        let final_already = before.is_some_and(|s| {
            wish.revocation != RevocationReason::KeyCompromise || s.reason == RevocationReason::KeyCompromise
        });
        if final_already {
            continue;
        }
        let step = NewStep {
            certificate,
            reason: Some(wish.revocation),
            comment: wish.reason.clone(),
            audit: NewAudit {
                action: "certificate.revoked".to_owned(),
                reason: wish.revocation.as_str().to_owned(),
                detail: format!(
                    "{profile} {}: replacement {}: {}",
                    hex::encode(&serial),
                    wish.id,
                    wish.reason
                ),
                ..new.audit.clone()
            },
        };
        if let Err(refused) = revocation::step(link, &step)? {
            return Err(Fault::Raced(refused.to_string()));
        }
    }
    if let NewTpm::Named(ek) = &wish.new_tpm {
        own(link, id, ek, now, EkShown::Named)?;
    }
    // The schema holds that this is the replacement that was approved, and keeps what is taken away here.
    let (new_ek, new_iak, window) = match &wish.new_tpm {
        NewTpm::Named(ek) => (Some(ek.as_slice()), None, None),
        NewTpm::Iak(iak) => (None, Some(iak.as_slice()), None),
        NewTpm::FirstContact(seconds) => (None, None, Some(now.saturating_add(*seconds))),
    };
    let none = None::<&str>;
    on!(link, c => diesel::update(device::table.find(id))
        .set((
            device::ek_spki_sha256.eq(new_ek),
            device::first_contact_until.eq(window),
            device::ek_certificate_sha256.eq(None::<&[u8]>),
            device::manufacturer.eq(none),
            device::model.eq(none),
            device::version.eq(none),
            device::assurance.eq(none),
            device::anchor.eq(none),
            device::iak_spki_sha256.eq(new_iak),
        ))
        .execute(c))?;
    Ok(())
}

/// An EK is this device's from now on.
pub(crate) fn own(link: &mut Link, device: i64, ek: &[u8], since: i64, shown: EkShown) -> Result<(), Fault> {
    on!(link, c => diesel::insert_into(ek_owner::table)
        .values((
            ek_owner::ek_spki_sha256.eq(ek),
            ek_owner::device_id.eq(device),
            ek_owner::since.eq(since),
            ek_owner::shown.eq(shown.as_str()),
        ))
        .execute(c))?;
    Ok(())
}

/// A second EK of a device's TPM; again is a success.
pub(crate) fn link(link: &mut Link, new: &EkLink, record: &NewAudit) -> Result<Result<(), RecordError>, Fault> {
    let closed = || RecordError::DeviceNotOpen(new.device.clone());
    let Some((id, Some(_), _)) = lock(link, &new.device)? else {
        return Ok(Err(closed()));
    };
    match ak_owner(link, &new.ak_spki_sha256)? {
        Some(owner) if owner.replacement.is_some() => return Ok(Err(RecordError::EkReplaced(owner.device))),
        Some(owner) if owner.device == new.device => {}
        Some(owner) => return Ok(Err(RecordError::TpmOfAnother(owner.device))),
        None => return Ok(Err(closed())),
    }
    if let Some(owner) = owner(link, &new.ek_spki_sha256)? {
        return Ok(match owner.replacement {
            Some(_) => Err(RecordError::EkReplaced(owner.device)),
            None if owner.device == new.device => Ok(()),
            None => Err(RecordError::EkBoundElsewhere(owner.device)),
        });
    }
    let row: i64 = on!(link, c => diesel::insert_into(ek_owner::table)
        .values((
            ek_owner::ek_spki_sha256.eq(new.ek_spki_sha256.as_slice()),
            ek_owner::device_id.eq(id),
            ek_owner::since.eq(record.at),
            ek_owner::shown.eq(EkShown::SameAk.as_str()),
            ek_owner::ak_spki_sha256.eq(new.ak_spki_sha256.as_slice()),
            ek_owner::evidence.eq(new.evidence.as_slice()),
        ))
        .returning(ek_owner::id)
        .get_result(c))?;
    let after = seal::row(link, "ek_owner", row)?;
    keeping::audit(link, &[record.changed(None, after)])?;
    Ok(Ok(()))
}

/// Whether a new TPM is nobody's.
fn free(link: &mut Link, tpm: NewTpm) -> Result<Result<(), ReplaceError>, Fault> {
    let ek = match tpm {
        NewTpm::Named(ek) => ek,
        NewTpm::FirstContact(_) => return Ok(Ok(())),
        NewTpm::Iak(iak) => {
            if let Some(gone) = iak_gone(link, &iak)? {
                return Ok(Err(ReplaceError::IakReplaced(gone.device)));
            }
            let taken = read::device_by_iak(link, &iak)?;
            return Ok(taken.map_or(Ok(()), |other| Err(ReplaceError::IakTaken(other.name))));
        }
    };
    Ok(match owner(link, &ek)? {
        None => Ok(()),
        Some(owner) if owner.replacement.is_some() => Err(ReplaceError::EkReplaced(owner.device)),
        Some(owner) => Err(ReplaceError::EkTaken(owner.device)),
    })
}

/// What both engines and the tables would not take.
fn unfit(wish: &NewReplacement, record: &NewAudit) -> Option<&'static str> {
    let reason = wish.reason.chars().count();
    if wish.reason.trim().is_empty() || reason > LONGEST || wish.reason.contains(char::is_control) {
        Some("reason: 1 to 500 characters, no control characters")
    } else if !revokes(wish.revocation) {
        Some("a TPM that is replaced is revoked, not held; and it is no CA")
    } else if matches!(wish.new_tpm, NewTpm::FirstContact(seconds) if seconds < 1) {
        Some("a window is open for a second at least")
    } else if wish.expires_at <= record.at {
        Some("it would expire before it can be approved")
    } else if record.actor.is_empty() || record.actor.chars().count() > LONGEST_NAME {
        Some("who asks has a name of at most 255 characters")
    } else {
        None
    }
}

/// Whether certificates of a replaced TPM are revoked for this reason.
fn revokes(reason: RevocationReason) -> bool {
    use RevocationReason as Reason;
    match reason {
        Reason::Unspecified
        | Reason::KeyCompromise
        | Reason::AffiliationChanged
        | Reason::Superseded
        | Reason::CessationOfOperation
        | Reason::PrivilegeWithdrawn => true,
        Reason::CaCompromise | Reason::CertificateHold | Reason::AaCompromise => false,
    }
}

/// Row id and EK of a device, locked until the end of the transaction.
fn lock(link: &mut Link, name: &str) -> Result<Option<Bound>, Fault> {
    if name.contains('\0') {
        return Ok(None);
    }
    let found = device::table.filter(device::name.eq(name)).select((
        device::id,
        device::ek_spki_sha256,
        device::iak_spki_sha256,
    ));
    Ok(match link {
        Link::Sqlite(c) => found.first(c).optional()?,
        Link::Postgres(c) => found.for_no_key_update().first(c).optional()?,
    })
}

/// What a TPM is known by: its EK, else its manufacturer's IAK.
fn known_by(ek: Option<Vec<u8>>, iak: Option<Vec<u8>>) -> Option<(Vec<u8>, KnownBy)> {
    let iak = iak.map(|iak| (iak, KnownBy::Iak));
    ek.map(|ek| (ek, KnownBy::Ek)).or(iak)
}

/// Whose an IAK was, when it went with its TPM.
pub(crate) fn iak_gone(link: &mut Link, iak: &[u8; 32]) -> Result<Option<IakGone>, Fault> {
    let found: Option<(String, i64)> = on!(link, c => iak_gone::table
        .inner_join(device::table)
        .filter(iak_gone::iak_spki_sha256.eq(iak.as_slice()))
        .select((device::name, iak_gone::replacement_id))
        .first(c)
        .optional())?;
    Ok(found.map(|(device, replacement)| IakGone {
        iak_spki_sha256: *iak,
        device,
        replacement,
    }))
}

/// The IAKs that went with a device's TPMs, oldest first.
pub(crate) fn iaks_gone(link: &mut Link, name: &str) -> Result<Vec<IakGone>, Fault> {
    if name.contains('\0') {
        return Ok(Vec::new());
    }
    let rows: Vec<(Vec<u8>, String, i64)> = on!(link, c => iak_gone::table
        .inner_join(device::table)
        .filter(device::name.eq(name))
        .order(iak_gone::replacement_id)
        .select((iak_gone::iak_spki_sha256, device::name, iak_gone::replacement_id))
        .load(c))?;
    rows.into_iter()
        .map(|(iak, device, replacement)| {
            Ok(IakGone {
                iak_spki_sha256: read::array(iak)?,
                device,
                replacement,
            })
        })
        .collect()
}

fn close(
    link: &mut Link,
    id: i64,
    state: ReplacementState,
    by: &str,
    at: i64,
    comment: Option<&str>,
) -> Result<(), Fault> {
    let comment: Option<String> = comment.map(|text| text.chars().take(LONGEST).collect());
    on!(link, c => diesel::update(replacement::table.find(id))
        .set((
            replacement::state.eq(state.as_str()),
            replacement::decided_by.eq(by),
            replacement::decided_at.eq(at),
            replacement::comment.eq(comment),
        ))
        .execute(c))?;
    Ok(())
}

/// Replacements with the names of their devices; filter, order and limit are added behind.
macro_rules! replacements {
    ($link:expr, $from:ident => $rest:expr) => {{
        let rows: Vec<(Stored, String)> = on!($link, c => {
            let $from = replacement::table.inner_join(device::table).select((Stored::as_select(), device::name));
            $rest.load(c)
        })?;
        rows.into_iter().map(|(row, name)| row.into_row(name)).collect::<Result<Vec<_>, Fault>>()
    }};
}

fn open_of(link: &mut Link, device: i64) -> Result<Option<ReplacementRow>, Fault> {
    Ok(replacements!(link, all => all
        .filter(replacement::device_id.eq(device))
        .filter(replacement::state.eq(ReplacementState::Pending.as_str())))?
    .pop())
}

/// One by its row id.
pub(crate) fn find(link: &mut Link, id: i64) -> Result<Option<ReplacementRow>, Fault> {
    Ok(replacements!(link, all => all.filter(replacement::id.eq(id)))?.pop())
}

/// Newest first: those of one device, or all; from `before` on.
pub(crate) fn list(
    link: &mut Link,
    name: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> Result<Page<ReplacementRow>, Fault> {
    if name.is_some_and(|name| name.contains('\0')) {
        return Ok(Page {
            items: Vec::new(),
            next: None,
        });
    }
    let limit = limit.max(1);
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut items = match name {
        Some(name) => replacements!(link, all => all
            .filter(device::name.eq(name))
            .filter(replacement::id.lt(before.unwrap_or(i64::MAX)))
            .order(replacement::id.desc())
            .limit(i64::from(limit).saturating_add(1))),
        None => replacements!(link, all => all
            .filter(replacement::id.lt(before.unwrap_or(i64::MAX)))
            .order(replacement::id.desc())
            .limit(i64::from(limit).saturating_add(1))),
    }?;
    let more = items.len() > size;
    items.truncate(size);
    let next = if more { items.last().map(|row| row.id) } else { None };
    Ok(Page { items, next })
}

/// A row of `ek_owner`.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = ek_owner)]
struct StoredOwner {
    ek_spki_sha256: Vec<u8>,
    since: i64,
    shown: String,
    replacement_id: Option<i64>,
    ek_certificate_sha256: Option<Vec<u8>>,
    manufacturer: Option<String>,
    model: Option<String>,
    version: Option<String>,
    assurance: Option<String>,
    anchor: Option<String>,
}

impl StoredOwner {
    fn into_row(self, device: String) -> Result<EkOwner, Fault> {
        let tpm = match (
            self.ek_certificate_sha256,
            self.manufacturer,
            self.model,
            self.version,
            self.assurance,
            self.anchor,
        ) {
            (Some(ek), Some(manufacturer), Some(model), Some(version), Some(assurance), Some(anchor)) => {
                Some(DeviceTpm {
                    ek_certificate_sha256: read::array(ek)?,
                    manufacturer,
                    model,
                    version,
                    assurance,
                    anchor,
                })
            }
            _ => None,
        };
        Ok(EkOwner {
            ek_spki_sha256: read::array(self.ek_spki_sha256)?,
            device,
            since: self.since,
            shown: EkShown::from_text(&self.shown).ok_or_else(|| Fault::Failed(format!("ek `{}`", self.shown)))?,
            replacement: self.replacement_id,
            tpm,
        })
    }
}

/// Whose an EK is, or was.
pub(crate) fn owner(link: &mut Link, ek: &[u8; 32]) -> Result<Option<EkOwner>, Fault> {
    let found: Option<(StoredOwner, String)> = on!(link, c => ek_owner::table
        .inner_join(device::table)
        .filter(ek_owner::ek_spki_sha256.eq(ek.as_slice()))
        .select((StoredOwner::as_select(), device::name))
        .first(c)
        .optional())?;
    found.map(|(row, name)| row.into_row(name)).transpose()
}

/// Every EK that is, or was, a device's, oldest first.
pub(crate) fn of_device(link: &mut Link, name: &str) -> Result<Vec<EkOwner>, Fault> {
    if name.contains('\0') {
        return Ok(Vec::new());
    }
    let rows: Vec<(StoredOwner, String)> = on!(link, c => ek_owner::table
        .inner_join(device::table)
        .filter(device::name.eq(name))
        .order(ek_owner::id)
        .select((StoredOwner::as_select(), device::name))
        .load(c))?;
    rows.into_iter().map(|(row, name)| row.into_row(name)).collect()
}

/// The EK under which this AK was activated first, and whose that is, when it is known.
pub(crate) fn ak_owner(link: &mut Link, ak: &[u8; 32]) -> Result<Option<EkOwner>, Fault> {
    let found: Option<(StoredOwner, String)> = on!(link, c => key_owner::table
        .inner_join(ek_owner::table.on(ek_owner::ek_spki_sha256.nullable().eq(key_owner::ek_spki_sha256)))
        .inner_join(device::table.on(device::id.eq(ek_owner::device_id)))
        .filter(key_owner::spki_sha256.eq(ak.as_slice()))
        .select((StoredOwner::as_select(), device::name))
        .first(c)
        .optional())?;
    found.map(|(row, name)| row.into_row(name)).transpose()
}
