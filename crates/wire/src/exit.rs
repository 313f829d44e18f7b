//! Exit codes, the same for every command of the house. The numbers are API.

use serde::{Serialize, Serializer};

use crate::problem::ProblemCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done, or the answer is yes.
    Done = 0,
    /// Failed for a reason below no other number.
    Failed = 1,
    /// Usage or configuration; clap's own, too.
    Usage = 2,
    /// The answer is no: refused, not valid, a check is red.
    No = 3,
    /// There is no such thing.
    NotFound = 4,
    /// Something is there already.
    Conflict = 5,
    /// Another user, another group, another password.
    NotAllowed = 6,
    /// The same command may succeed later.
    TryAgain = 7,
    /// Of many, some failed.
    Partly = 8,
    /// Stopped by a person, or a prompt would be needed.
    Stopped = 9,
    /// The server will not run: a person has to look, and a supervisor must not start it again.
    Refuses = 78,
}

impl Exit {
    /// Every code, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::No,
        Self::NotFound,
        Self::Conflict,
        Self::NotAllowed,
        Self::TryAgain,
        Self::Partly,
        Self::Stopped,
        Self::Refuses,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in the words of every help text.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or the answer is yes",
            Self::Failed => "another failure",
            Self::Usage => "usage or configuration",
            Self::No => "the answer is no: refused, not valid, a check is red",
            Self::NotFound => "not found",
            Self::Conflict => "conflict: something is there already",
            Self::NotAllowed => "not allowed",
            Self::TryAgain => "try again",
            Self::Partly => "partly done",
            Self::Stopped => "stopped, or a prompt would be needed",
            Self::Refuses => "refuses to start",
        }
    }

    /// The table of these codes, as a help text ends with it.
    #[must_use]
    pub fn table(codes: &[Self]) -> String {
        let line = |exit: &Self| format!("\n{:>4}  {}", exit.code(), exit.meaning());
        codes
            .iter()
            .fold("Exit codes:".to_owned(), |text, exit| text + &line(exit))
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// How a command ends that a server answered with a problem.
impl From<ProblemCode> for Exit {
    fn from(code: ProblemCode) -> Self {
        match code {
            ProblemCode::Malformed | ProblemCode::PayloadTooLarge => Self::Usage,
            ProblemCode::AttestationRejected
            | ProblemCode::PolicyDenied
            | ProblemCode::KeyRejected
            | ProblemCode::CsrRejected
            | ProblemCode::ProfileViolation
            | ProblemCode::CertificateEnded => Self::No,
            ProblemCode::NotFound => Self::NotFound,
            ProblemCode::IdentityConflict
            | ProblemCode::StateConflict
            | ProblemCode::CertificateRevoked
            | ProblemCode::CertificateReplaced
            | ProblemCode::RevocationConflict
            | ProblemCode::ReplacementConflict
            | ProblemCode::ManifestConflict => Self::Conflict,
            ProblemCode::Forbidden | ProblemCode::CertificateRequired => Self::NotAllowed,
            ProblemCode::RateLimited
            | ProblemCode::ReviewPending
            | ProblemCode::SignerUnavailable
            | ProblemCode::StorageUnavailable
            | ProblemCode::Overloaded
            | ProblemCode::Halted
            | ProblemCode::ChallengeExpired => Self::TryAgain,
            ProblemCode::UnsupportedMedia | ProblemCode::MethodNotAllowed | ProblemCode::Internal => Self::Failed,
        }
    }
}

/// As its number.
impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are API: scripts and unit files compare them.
    #[test]
    fn the_numbers_are_the_documented_ones() {
        let page = include_str!("../../../docs/reference/errors.md");
        let rows: Vec<(u8, &str)> = page
            .lines()
            .skip_while(|line| !line.starts_with("## Exit codes"))
            .take_while(|line| !line.starts_with("### "))
            .filter_map(|line| {
                let mut cells = line.split('|').map(str::trim).skip(1);
                Some((cells.next()?.parse().ok()?, cells.next()?))
            })
            .collect();
        let ours = Exit::ALL.map(|exit| (exit.code(), exit.meaning()));
        assert_eq!(rows, ours);
    }

    #[test]
    fn tables_are_plain_and_fit_a_terminal() {
        let text = Exit::table(&Exit::ALL);
        assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(
            text.starts_with("Exit codes:\n   0  done, or the answer is yes\n"),
            "{text}"
        );
        assert!(text.ends_with("\n  78  refuses to start"), "{text}");
    }

    #[test]
    fn problems_end_commands_by_who_must_act() {
        for code in ProblemCode::ALL {
            let exit = Exit::from(code);
            // 202, 429 and 503 are the only "later" of the server, beside a challenge that a new one replaces.
            let later = matches!(code.status(), 202 | 429 | 503) || code == ProblemCode::ChallengeExpired;
            assert_eq!(exit == Exit::TryAgain, later, "{code}");
            assert_ne!(exit, Exit::Done, "{code}");
        }
        assert_eq!(Exit::from(ProblemCode::AttestationRejected).code(), 3);
        assert_eq!(Exit::from(ProblemCode::IdentityConflict).code(), 5);
        assert_eq!(Exit::from(ProblemCode::Forbidden).code(), 6);
    }

    #[test]
    fn json_has_the_number() {
        assert_eq!(serde_json::to_string(&Exit::ALL[10]).ok().as_deref(), Some("78"));
    }
}
