//! Officers' approvals: [`RawApproval`] as read -> [`Approval`], whose signature holds -> [`Approved`], when enough
//! distinct people approved the same thing.

mod approval;

pub use approval::{Approval, ApprovalError, KeyStore, RawApproval, Statement};

use attest::UnixTime;

use crate::Sha256;
use crate::plan::Officer;

/// The real one, or a rehearsal: an approval of one is none of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The real one.
    Ceremony,
    /// Its outputs are marked, and keys in files will do.
    Rehearsal,
}

impl Mode {
    /// `ceremony` or `rehearsal`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ceremony => "ceremony",
            Self::Rehearsal => "rehearsal",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::Ceremony, Self::Rehearsal]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

/// What is approved: everything that decides what will happen in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Name of the ceremony.
    pub ceremony: String,
    /// Which of the two.
    pub mode: Mode,
    /// The plan, byte for byte.
    pub plan: Sha256,
    /// The printed script.
    pub script: Sha256,
    /// The program that will run it.
    pub program: Sha256,
    /// The list of files of the medium that is brought in; `None` where nothing is brought in.
    pub medium: Option<Sha256>,
}

/// Why approvals do not add up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// A field of the statement is another one.
    #[error("{role} approved another {what}: {approved}, here is {found}")]
    Other {
        /// Whose approval.
        role: String,
        /// `ceremony`, `mode`, `plan`, `script`, `program` or `medium`.
        what: &'static str,
        /// In the approval.
        approved: String,
        /// Here.
        found: String,
    },
    /// The role is not in the plan.
    #[error("`{0}` is no officer of this plan")]
    UnknownOfficer(String),
    /// The key is not the one the plan names for this officer.
    #[error("{role} approved with another key than the plan names: {found}")]
    OtherKey {
        /// Whose approval.
        role: String,
        /// SHA-256 of the key's SubjectPublicKeyInfo.
        found: Sha256,
    },
    /// A key in a file.
    #[error("{0} approved with a key in a file: outside of a rehearsal the key is in a token")]
    FileKey(String),
    /// Made after the moment it is used at.
    #[error("the approval of {role} is of {time}, which is yet to come")]
    Future {
        /// Whose approval.
        role: String,
        /// When it says.
        time: String,
    },
    /// One role twice.
    #[error("{0} approved twice, which counts once")]
    SameRole(String),
    /// One person in two roles.
    #[error("`{person}` approved as {first} and as {second}: one person counts once")]
    SamePerson {
        /// The name.
        person: String,
        /// A role.
        first: String,
        /// The other.
        second: String,
    },
    /// One key under two names.
    #[error("{first} and {second} approved with the same key")]
    SameKey {
        /// A role.
        first: String,
        /// The other.
        second: String,
    },
    /// Not enough.
    #[error("{have} of {needed} officers approved")]
    TooFew {
        /// Approvals that count.
        have: usize,
        /// Wanted.
        needed: usize,
    },
}

/// A subject with its quorum. Made only by [`Approved::by`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    subject: Subject,
    approvals: Vec<Approval>,
}

impl Approved {
    /// The proof that `required` distinct people with distinct keys, all officers of the plan, approved exactly this
    /// subject before `now`. One approval that does not fit refuses all: somebody is mistaken, or lies.
    ///
    /// In a rehearsal a key in a file stands for the officer's own, so its digest is not compared with the plan's.
    ///
    /// # Errors
    /// [`QuorumError`].
    pub fn by(
        subject: Subject,
        required: usize,
        officers: &[Officer],
        approvals: Vec<Approval>,
        now: UnixTime,
    ) -> Result<Self, QuorumError> {
        for (at, approval) in approvals.iter().enumerate() {
            one(&subject, officers, approval, now)?;
            let earlier = approvals.get(..at).unwrap_or_default();
            earlier.iter().try_for_each(|other| distinct(other, approval))?;
        }
        if approvals.is_empty() || approvals.len() < required {
            return Err(QuorumError::TooFew {
                have: approvals.len(),
                needed: required.max(1),
            });
        }
        Ok(Self { subject, approvals })
    }

    /// What was approved.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Who approved.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }
}

fn one(subject: &Subject, officers: &[Officer], approval: &Approval, now: UnixTime) -> Result<(), QuorumError> {
    let statement = approval.statement();
    let role = || statement.role.clone();
    let Some(officer) = officers.iter().find(|officer| officer.role == statement.role) else {
        return Err(QuorumError::UnknownOfficer(role()));
    };
    let approved = &statement.subject;
    let medium = |medium: Option<Sha256>| medium.map_or_else(|| "none".to_owned(), |m| m.to_string());
    let fields = [
        ("ceremony", approved.ceremony.clone(), subject.ceremony.clone()),
        (
            "mode",
            approved.mode.as_str().to_owned(),
            subject.mode.as_str().to_owned(),
        ),
        ("plan", approved.plan.to_string(), subject.plan.to_string()),
        ("script", approved.script.to_string(), subject.script.to_string()),
        ("program", approved.program.to_string(), subject.program.to_string()),
        ("medium", medium(approved.medium), medium(subject.medium)),
    ];
    for (what, approved, found) in fields {
        if approved != found {
            return Err(QuorumError::Other {
                role: role(),
                what,
                approved,
                found,
            });
        }
    }
    match (&statement.store, subject.mode) {
        (KeyStore::File, Mode::Ceremony) => return Err(QuorumError::FileKey(role())),
        (KeyStore::File, Mode::Rehearsal) => {}
        (KeyStore::Token(_), _) if approval.key_sha256() == officer.key => {}
        (KeyStore::Token(_), _) => {
            return Err(QuorumError::OtherKey {
                role: role(),
                found: approval.key_sha256(),
            });
        }
    }
    if statement.time > now {
        return Err(QuorumError::Future {
            role: role(),
            time: crate::calendar::show(statement.time),
        });
    }
    Ok(())
}

fn distinct(first: &Approval, second: &Approval) -> Result<(), QuorumError> {
    let (a, b) = (first.statement(), second.statement());
    if a.role == b.role {
        return Err(QuorumError::SameRole(a.role.clone()));
    }
    if folded(&a.person) == folded(&b.person) {
        return Err(QuorumError::SamePerson {
            person: b.person.clone(),
            first: a.role.clone(),
            second: b.role.clone(),
        });
    }
    if first.key_sha256() == second.key_sha256() {
        return Err(QuorumError::SameKey {
            first: a.role.clone(),
            second: b.role.clone(),
        });
    }
    Ok(())
}

/// A person's name without what a second spelling of it might differ in: case, order of its parts, dots and commas.
fn folded(person: &str) -> Vec<String> {
    let mut parts: Vec<String> = person
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .map(str::to_lowercase)
        .collect();
    parts.sort();
    parts
}

#[cfg(test)]
mod tests;
