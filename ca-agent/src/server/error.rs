//! What a server, or the way to it, does not do; and what is said about it.

use std::time::Duration;

use wire::Exit;
use wire::problem::{Problem, ProblemCode, Retry};

use crate::report::Report;
use crate::words;

/// The server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Not an address this agent speaks to.
    #[error("`{url}` is not an address of a CA: {detail}")]
    Url {
        /// As given.
        url: String,
        /// Why not.
        detail: &'static str,
    },
    /// No answer. Whether the request arrived is not known.
    #[error("no answer from {url}: {detail}")]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        detail: String,
    },
    /// The server's certificate does not chain to the pinned root, or is for another name.
    #[error("{url} does not prove that it belongs to the pinned CA: {detail}")]
    Untrusted {
        /// Where.
        url: String,
        /// What TLS said.
        detail: String,
    },
    /// The root is not the one that was pinned on the command line.
    #[error("the root certificate of {url} is not the pinned one")]
    WrongRoot {
        /// Where.
        url: String,
        /// SHA-256 of what it sent, lower-case hex.
        found: String,
    },
    /// A problem document.
    #[error("{problem}")]
    Refused {
        /// The problem.
        problem: Box<Problem>,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// An answer that is none of a Holdfast server.
    #[error("{url} answers {status}, which is no answer of a Holdfast server: {detail}")]
    Strange {
        /// Where.
        url: String,
        /// HTTP status.
        status: u16,
        /// What is wrong with it.
        detail: String,
    },
}

impl ServerError {
    /// The code of the problem, when the server refused.
    #[must_use]
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Refused { problem, .. } => Some(problem.code),
            _ => None,
        }
    }

    /// Whether the very same request may succeed later, and how long to wait at least.
    #[must_use]
    pub fn again_after(&self) -> Option<Duration> {
        match self {
            Self::Unreachable { .. } => Some(Duration::from_secs(1)),
            Self::Refused { problem, retry_after } if problem.retry == Retry::Later => {
                Some(retry_after.unwrap_or(Duration::from_secs(2)))
            }
            _ => None,
        }
    }

    /// What is said about it.
    #[must_use]
    pub fn report(&self) -> Report {
        let report = |code: &str, exit| Report::new(code, exit, self.to_string());
        match self {
            Self::Url { .. } => report("E-SERVER-URL", Exit::Usage).fix("--server https://ca.example:8443"),
            Self::Unreachable { .. } => report("E-SERVER-UNREACHABLE", Exit::TryAgain).fix(
                "look at the network and the server, then run the same command again: it goes on where it stopped",
            ),
            Self::Untrusted { .. } => report("E-SERVER-UNTRUSTED", Exit::NotAllowed)
                .because("its certificate is not below the pinned root, is for another name, or this clock is wrong")
                .fix("ca-agent doctor compares the clocks")
                .fix("if the CA has a new root: ask its operator for the fingerprint, and use a new --state-dir"),
            Self::WrongRoot { found, .. } => report("E-SERVER-PIN", Exit::NotAllowed)
                .because(format!("it sent a root with SHA-256 {found}"))
                .fix("compare the fingerprint with the operator of the CA; somebody may be in between"),
            Self::Refused { problem, retry_after } => refused(problem, *retry_after),
            Self::Strange { .. } => report("E-SERVER-STRANGE", Exit::Failed)
                .because("something else is listening there, or it speaks another version")
                .fix("look at --server"),
        }
    }
}

fn refused(problem: &Problem, retry_after: Option<Duration>) -> Report {
    let exit = Exit::from(problem.code);
    let report = Report::new(problem.code.as_str(), exit, &problem.title).because(
        problem
            .detail
            .clone()
            .unwrap_or_else(|| problem.code.explanation().to_owned()),
    );
    let report = match (&problem.retry, retry_after) {
        (Retry::Later, Some(wait)) => report.when(format!("in {} or later", words::span(wait))),
        (Retry::Later, None) => report.when("later"),
        (Retry::AfterFix, _) => report.when("after somebody changed something"),
        (Retry::Never, _) => report.when("never: the same request will always be refused"),
    };
    let report = match problem.code {
        ProblemCode::AttestationRejected => {
            report.fix("ca-agent doctor says what can be seen from here; ca-agent identify prints the line that lets this device in")
        }
        ProblemCode::ReviewPending => {
            report.fix("wait: --wait 1h, or ca-agent run; at the CA they type: ca-cli enrollment review")
        }
        _ => report,
    };
    match &problem.incident {
        Some(incident) => report
            .fix(format!("tell the operator of the CA this incident id: {incident}"))
            .note("the server tells the reason to operators only"),
        None if exit == Exit::TryAgain => report.fix("run the same command again: it goes on where it stopped"),
        None => report,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_become_exit_codes_and_advice() {
        let report = |code, retry_after| {
            let problem = Box::new(Problem::new(code).with_incident("inc_0123"));
            ServerError::Refused { problem, retry_after }.report()
        };
        for (code, exit) in [
            (ProblemCode::AttestationRejected, 3),
            (ProblemCode::PolicyDenied, 3),
            (ProblemCode::NotFound, 4),
            (ProblemCode::IdentityConflict, 5),
            (ProblemCode::Forbidden, 6),
            (ProblemCode::RateLimited, 7),
            (ProblemCode::SignerUnavailable, 7),
            (ProblemCode::Internal, 1),
        ] {
            let report = report(code, None);
            assert_eq!(report.exit as u8, exit, "{code}");
            assert_eq!(report.code, code.as_str());
            assert!(report.to_string().contains("inc_0123"));
        }
        let text = report(ProblemCode::Overloaded, Some(Duration::from_secs(90))).to_string();
        assert!(text.contains("in 1 min or later"), "{text}");
    }
}
