//! Errors on the wire: one exhaustive mapping for each flow.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use wire::problem::{Problem, ProblemCode};

use crate::flow::enroll::{ActivateError, BeginError, LookupError};
use crate::flow::manifest::ManifestError;
use crate::flow::renew::RenewError;
use crate::flow::replace::ReplaceError;
use crate::flow::review::ReviewError;
use crate::flow::revoke::RevokeError;
use crate::flow::{Failure, Trouble};

/// Wait proposed when something is away.
const SOON: Duration = Duration::from_secs(5);

/// Wait proposed when people have to decide.
const PEOPLE: Duration = Duration::from_secs(10);

/// The answer that carries a problem.
pub(super) fn response(base_url: &str, problem: Problem) -> HttpResponse {
    let wait = match problem.code {
        ProblemCode::ReviewPending => PEOPLE,
        _ => SOON,
    };
    response_after(base_url, problem, wait)
}

/// The same, with a wait of its own for those that say when to come back.
pub(super) fn response_after(base_url: &str, mut problem: Problem, wait: Duration) -> HttpResponse {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    problem.kind = format!("{base_url}{}", problem.kind);
    let mut answer = HttpResponse::build(status);
    answer.insert_header((header::CONTENT_TYPE, Problem::MEDIA_TYPE));
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    let later = [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::ACCEPTED,
    ];
    if later.contains(&status) {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        answer.insert_header((header::RETRY_AFTER, seconds.max(1).to_string()));
    }
    answer.json(problem)
}

/// Why an enrollment did not begin.
pub(super) fn begin(failure: &Failure<BeginError>) -> Problem {
    let problem = match &failure.error {
        BeginError::Malformed(detail) => Problem::new(ProblemCode::Malformed).with_detail(detail),
        BeginError::UnknownProfile(_) => Problem::new(ProblemCode::ProfileViolation),
        BeginError::Attestation(_) | BeginError::Advised { .. } => Problem::new(ProblemCode::AttestationRejected),
        BeginError::Waits(_) => Problem::new(ProblemCode::ReviewPending),
        BeginError::KeyRejected(_) => Problem::new(ProblemCode::KeyRejected),
        BeginError::Trouble(trouble) => self::trouble(trouble),
    };
    problem.with_incident(failure.incident.to_string())
}

/// Why an activation issued nothing.
pub(super) fn activate(failure: &Failure<ActivateError>) -> Problem {
    issue(&failure.error).with_incident(failure.incident.to_string())
}

/// Why nothing was renewed.
pub(super) fn renew(failure: &Failure<RenewError>) -> Problem {
    let problem = match &failure.error {
        RenewError::NoCertificate(detail) => Problem::new(ProblemCode::CertificateRequired).with_detail(*detail),
        RenewError::Ended => Problem::new(ProblemCode::CertificateEnded),
        RenewError::Issue(error) => issue(error),
    };
    problem.with_incident(failure.incident.to_string())
}

fn issue(error: &ActivateError) -> Problem {
    Problem::new(match error {
        ActivateError::Malformed(detail) => return Problem::new(ProblemCode::Malformed).with_detail(detail),
        ActivateError::Attestation { .. } => ProblemCode::AttestationRejected,
        ActivateError::Expired | ActivateError::Void => ProblemCode::ChallengeExpired,
        ActivateError::OneTryTooMany => ProblemCode::RateLimited,
        ActivateError::Replayed | ActivateError::Orphaned => ProblemCode::StateConflict,
        // Coarse, as all that was found in the evidence: another one has this identity.
        ActivateError::IdentityConflict(_) | ActivateError::Clock(_) => ProblemCode::IdentityConflict,
        ActivateError::KeyRejected(_) => ProblemCode::KeyRejected,
        ActivateError::CsrRejected(_) => ProblemCode::CsrRejected,
        ActivateError::Profile(_) => ProblemCode::ProfileViolation,
        ActivateError::Policy(_) => ProblemCode::PolicyDenied,
        ActivateError::Replaced => ProblemCode::CertificateReplaced,
        ActivateError::NotRenewable(_) => ProblemCode::StateConflict,
        ActivateError::Revoked(detail) => {
            return Problem::new(ProblemCode::CertificateRevoked).with_detail(detail);
        }
        ActivateError::Trouble(trouble) => return self::trouble(trouble),
    })
}

/// Why nothing was found.
pub(super) fn lookup(error: &LookupError) -> Problem {
    match error {
        LookupError::NotFound => Problem::new(ProblemCode::NotFound),
        LookupError::Revoked(detail) => Problem::new(ProblemCode::CertificateRevoked).with_detail(detail),
        LookupError::Trouble(trouble) => {
            tracing::warn!(%trouble, "a lookup failed");
            self::trouble(trouble)
        }
    }
}

/// Why a certificate was not revoked, held or released.
pub(super) fn revoke(error: &RevokeError) -> Problem {
    match error {
        RevokeError::NotFound => Problem::new(ProblemCode::NotFound),
        RevokeError::Comment => Problem::new(ProblemCode::Malformed).with_detail(error.to_string()),
        RevokeError::Conflict(detail) => Problem::new(ProblemCode::RevocationConflict).with_detail(detail),
        RevokeError::Trouble(trouble) => {
            tracing::warn!(%trouble, "revocation");
            self::trouble(trouble)
        }
    }
}

/// Why a TPM was not replaced.
pub(super) fn replace(error: &ReplaceError) -> Problem {
    let code = match error {
        ReplaceError::NotFound => return Problem::new(ProblemCode::NotFound),
        ReplaceError::Malformed(_) => ProblemCode::Malformed,
        ReplaceError::SamePerson(_) => ProblemCode::Forbidden,
        ReplaceError::Taken(_) => ProblemCode::IdentityConflict,
        ReplaceError::Conflict(_) => ProblemCode::ReplacementConflict,
        ReplaceError::Trouble(trouble) => {
            tracing::warn!(%trouble, "replacement");
            return self::trouble(trouble);
        }
    };
    Problem::new(code).with_detail(error.to_string())
}

/// Why nothing was decided about a TPM.
pub(super) fn review(error: &ReviewError) -> Problem {
    let code = match error {
        ReviewError::NotFound => return Problem::new(ProblemCode::NotFound),
        ReviewError::Reason => ProblemCode::Malformed,
        ReviewError::SamePerson(_) => ProblemCode::Forbidden,
        ReviewError::Conflict(_) => ProblemCode::StateConflict,
        ReviewError::Trouble(trouble) => {
            tracing::warn!(%trouble, "review");
            return self::trouble(trouble);
        }
    };
    Problem::new(code).with_detail(error.to_string())
}

/// Why a manifest was not read.
pub(super) fn manifest(error: &ManifestError) -> Problem {
    let code = match error {
        ManifestError::NotFound => return Problem::new(ProblemCode::NotFound),
        ManifestError::Malformed(_) => ProblemCode::Malformed,
        ManifestError::Signer(_) => ProblemCode::Forbidden,
        ManifestError::Conflict(_) => ProblemCode::ManifestConflict,
        ManifestError::Trouble(trouble) => {
            tracing::warn!(%trouble, "manifest");
            return self::trouble(trouble);
        }
    };
    Problem::new(code).with_detail(error.to_string())
}

/// What is nobody's request's fault. The text stays in the log.
pub(super) fn trouble(trouble: &Trouble) -> Problem {
    Problem::new(match trouble {
        Trouble::Storage(_) | Trouble::Audit(_) => ProblemCode::StorageUnavailable,
        Trouble::Signer(_) | Trouble::SerialsTaken | Trouble::Unfinished(_) => ProblemCode::SignerUnavailable,
        Trouble::Clock | Trouble::Halted(_) => ProblemCode::Halted,
        Trouble::Bug(_) => ProblemCode::Internal,
    })
}
