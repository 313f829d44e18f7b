//! Another TPM for a device: asked for by one person, decided by another. Written down before it is answered; an approval
//! is carried out in the transaction that records it.

use issuance::AuditRecord;
use schema::{KnownBy, NewReplacement, NewTpm, ReplacementRow};
use wire::replacement::{Replacement, ReplacementPage, ReplacementState};
use wire::revocation::RevocationReason;

use super::failure::Trouble;
use crate::house::House;

/// Longest comment, in characters; the tables hold the same.
const LONGEST: usize = 500;
/// How long a wish can be approved when nothing is said, and at most: seconds.
const VALID: i64 = 3 * 86_400;
const LONGEST_VALID: i64 = 30 * 86_400;
/// Longest first-contact window: seconds.
const LONGEST_WINDOW: i64 = 30 * 86_400;

/// What one person asks for.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// Name of the device.
    pub device: &'a str,
    /// The new TPM.
    pub new_tpm: NewTpm,
    /// Why the certificates of the old one are revoked.
    pub revocation: RevocationReason,
    /// Why, in words.
    pub reason: &'a str,
    /// It can be approved for so many seconds.
    pub valid_for: Option<i64>,
}

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// No such device or replacement.
    #[error("there is no such device or replacement")]
    NotFound,
    /// The wish, or the comment, is none.
    #[error("{0}")]
    Malformed(String),
    /// Who asked may not approve.
    #[error("{0}")]
    SamePerson(String),
    /// The new TPM is another device's, or was replaced before.
    #[error("{0}")]
    Taken(String),
    /// Another one is open, this one is decided or too old, or there is nothing to replace.
    #[error("{0}")]
    Conflict(String),
    /// Not the caller's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<schema::StoreError> for ReplaceError {
    fn from(error: schema::StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<schema::ReplaceError> for ReplaceError {
    fn from(error: schema::ReplaceError) -> Self {
        use schema::ReplaceError as Error;
        let text = error.to_string();
        match error {
            Error::NotFound => Self::NotFound,
            Error::Unfit(_) => Self::Malformed(text),
            Error::SamePerson(_) => Self::SamePerson(text),
            Error::EkTaken(_) | Error::EkReplaced(_) | Error::IakTaken(_) | Error::IakReplaced(_) => Self::Taken(text),
            Error::Decided(state, by) => Self::Conflict(format!("it is {} already, by `{by}`", state.as_str())),
            Error::NotBound(_) | Error::Open { .. } | Error::Expired | Error::Changed => Self::Conflict(text),
            Error::Store(error) => error.into(),
        }
    }
}

/// Ask for another TPM. The same wish of the same person again is a success.
///
/// # Errors
/// [`ReplaceError`].
pub fn request(house: &House, person: &str, wish: &Wish<'_>) -> Result<Replacement, ReplaceError> {
    let now = house.clock.read().now.0;
    let between = |name: &str, seconds: i64, longest: i64| {
        if (1..=longest).contains(&seconds) {
            Ok(seconds)
        } else {
            Err(ReplaceError::Malformed(format!("{name}: 1 to {longest} seconds")))
        }
    };
    let valid_for = between("valid_for", wish.valid_for.unwrap_or(VALID), LONGEST_VALID)?;
    if let NewTpm::FirstContact(seconds) = wish.new_tpm {
        between("first_contact_for", seconds, LONGEST_WINDOW)?;
    }
    let new = NewReplacement {
        device: wish.device.to_owned(),
        new_tpm: wish.new_tpm,
        revocation: wish.revocation,
        reason: wish.reason.to_owned(),
        expires_at: now.saturating_add(valid_for),
    };
    let detail = format!("{}, {}: {}", tpm(&wish.new_tpm), wish.revocation, wish.reason);
    let audit = audit(now, "device.replacement.requested", person, wish.device, detail);
    let row = house.store.request_replacement(&new, &audit)?;
    tracing::warn!(
        device = wish.device,
        person,
        replacement = row.id,
        "a replacement is asked for"
    );
    Ok(shown(row, now))
}

/// Approve or reject. The same decision of the same person again is a success.
///
/// # Errors
/// [`ReplaceError`].
pub fn decide(
    house: &House,
    person: &str,
    id: i64,
    approve: bool,
    comment: Option<&str>,
) -> Result<Replacement, ReplaceError> {
    let comment = comment.unwrap_or_default();
    if comment.chars().count() > LONGEST || comment.contains(char::is_control) {
        let what = format!("comment: at most {LONGEST} characters, no control characters");
        return Err(ReplaceError::Malformed(what));
    }
    let row = house.store.replacement(id)?.ok_or(ReplaceError::NotFound)?;
    let now = house.clock.read().now.0;
    let (action, verb) = if approve {
        ("device.replacement.approved", "a replacement is approved")
    } else {
        ("device.replacement.rejected", "a replacement is rejected")
    };
    let detail = format!(
        "replacement {id} of `{}`, {} {}, {}, {}: {}{}{comment}",
        row.requested_by,
        match row.old_kind {
            KnownBy::Ek => "EK",
            KnownBy::Iak => "IAK",
        },
        hex::encode(row.old_ek),
        tpm(&row.new_tpm),
        row.revocation,
        row.reason,
        if comment.is_empty() { "" } else { "; " },
    );
    let audit = audit(now, action, person, &row.device, detail);
    let decided = house.store.decide_replacement(id, approve, comment, &audit)?;
    tracing::warn!(device = %row.device, person, replacement = id, "{verb}");
    Ok(shown(decided, now))
}

/// One replacement.
///
/// # Errors
/// [`ReplaceError::NotFound`], [`ReplaceError::Trouble`].
pub fn find(house: &House, id: i64) -> Result<Replacement, ReplaceError> {
    let row = house.store.replacement(id)?.ok_or(ReplaceError::NotFound)?;
    Ok(shown(row, house.clock.read().now.0))
}

/// Replacements, newest first: of one device, or of all.
///
/// # Errors
/// [`Trouble`].
pub fn list(house: &House, device: Option<&str>, before: Option<i64>, limit: u32) -> Result<ReplacementPage, Trouble> {
    let now = house.clock.read().now.0;
    let page = house.store.replacements(device, before, limit)?;
    Ok(ReplacementPage {
        items: page.items.into_iter().map(|row| shown(row, now)).collect(),
        next: page.next.map(|next| next.to_string()),
    })
}

fn tpm(new: &NewTpm) -> String {
    match new {
        NewTpm::Named(ek) => format!("new EK {}", hex::encode(ek)),
        NewTpm::Iak(iak) => format!("new IAK {}", hex::encode(iak)),
        NewTpm::FirstContact(seconds) => format!("first contact for {seconds} s"),
    }
}

fn audit(now: i64, action: &str, person: &str, device: &str, detail: String) -> AuditRecord {
    AuditRecord {
        at: attest::UnixTime(now),
        action: action.to_owned(),
        actor: person.to_owned(),
        subject: device.to_owned(),
        reason: "ADMIN".to_owned(),
        detail,
    }
}

/// As people see it: one that nobody approved in time is expired, also before anything says so in the record.
fn shown(row: ReplacementRow, now: i64) -> Replacement {
    let (ek, iak, window) = match row.new_tpm {
        NewTpm::Named(ek) => (Some(hex::encode(ek)), None, None),
        NewTpm::Iak(iak) => (None, Some(hex::encode(iak)), None),
        NewTpm::FirstContact(seconds) => (None, None, Some(seconds)),
    };
    let old = |kind| (row.old_kind == kind).then(|| hex::encode(row.old_ek));
    Replacement {
        id: row.id,
        device: row.device,
        state: match row.state {
            schema::ReplacementState::Pending if now > row.expires_at => ReplacementState::Expired,
            schema::ReplacementState::Pending => ReplacementState::Pending,
            schema::ReplacementState::Approved => ReplacementState::Approved,
            schema::ReplacementState::Rejected => ReplacementState::Rejected,
            schema::ReplacementState::Expired => ReplacementState::Expired,
        },
        old_ek_spki_sha256: old(KnownBy::Ek),
        old_iak_spki_sha256: old(KnownBy::Iak),
        ek_spki_sha256: ek,
        iak_spki_sha256: iak,
        first_contact_for: window,
        revocation: row.revocation,
        reason: row.reason,
        requested_by: row.requested_by,
        requested_at: row.requested_at,
        expires_at: row.expires_at,
        decided_by: row.decided_by,
        decided_at: row.decided_at,
        comment: row.comment,
    }
}
