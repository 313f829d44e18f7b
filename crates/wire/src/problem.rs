//! RFC 9457 problems: the only shape of an error on the wire.

use serde::{Deserialize, Serialize};

/// A stable, documented code. The names are API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// Cannot be parsed strictly.
    Malformed,
    /// Some attestation check failed; which one is never said to an outsider.
    AttestationRejected,
    /// Bound to another EK, or this EK to another identity, or another key is live.
    IdentityConflict,
    /// The challenge was used, or the enrollment is already final.
    StateConflict,
    /// What was issued is revoked or on hold, and is not handed out.
    CertificateRevoked,
    /// No certificate of a device was shown in TLS.
    CertificateRequired,
    /// The certificate to be renewed has ended.
    CertificateEnded,
    /// The certificate to be renewed was replaced by a newer one.
    CertificateReplaced,
    /// Where the certificate stands is final, or it is not on hold.
    RevocationConflict,
    /// Another replacement is open, or this one is decided or too old, or there is nothing to replace.
    ReplacementConflict,
    /// The lot was named before with another root, or this manifest is not open where this begins.
    ManifestConflict,
    /// A person has to decide about this TPM first.
    ReviewPending,
    /// The challenge is too old, or was tried too often.
    ChallengeExpired,
    /// The body is larger than this route takes.
    PayloadTooLarge,
    /// Only `application/json` is taken here.
    UnsupportedMedia,
    /// Too many requests, or too many tries on one challenge.
    RateLimited,
    /// The key parsed, but is not acceptable.
    KeyRejected,
    /// The CSR parsed, but asks for more than it may.
    CsrRejected,
    /// The request does not fit the profile.
    ProfileViolation,
    /// A policy rule refuses.
    PolicyDenied,
    /// No such thing.
    NotFound,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The caller may not do this.
    Forbidden,
    /// The HSM is away. Nothing is half done.
    SignerUnavailable,
    /// The database is away. Nothing is half done.
    StorageUnavailable,
    /// The server has more work than it takes on. Nothing is half done.
    Overloaded,
    /// Issuing stopped until a person looks.
    Halted,
    /// A defect of ours.
    Internal,
}

impl ProblemCode {
    /// Every code, in the order of the catalogue.
    pub const ALL: [Self; 28] = [
        Self::Malformed,
        Self::AttestationRejected,
        Self::IdentityConflict,
        Self::StateConflict,
        Self::CertificateRevoked,
        Self::CertificateRequired,
        Self::CertificateEnded,
        Self::CertificateReplaced,
        Self::RevocationConflict,
        Self::ReplacementConflict,
        Self::ManifestConflict,
        Self::ReviewPending,
        Self::ChallengeExpired,
        Self::PayloadTooLarge,
        Self::UnsupportedMedia,
        Self::RateLimited,
        Self::KeyRejected,
        Self::CsrRejected,
        Self::ProfileViolation,
        Self::PolicyDenied,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Forbidden,
        Self::SignerUnavailable,
        Self::StorageUnavailable,
        Self::Overloaded,
        Self::Halted,
        Self::Internal,
    ];

    /// The code as it stands in [`Problem::code`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::AttestationRejected => "attestation_rejected",
            Self::IdentityConflict => "identity_conflict",
            Self::StateConflict => "state_conflict",
            Self::CertificateRevoked => "certificate_revoked",
            Self::CertificateRequired => "certificate_required",
            Self::CertificateEnded => "certificate_ended",
            Self::CertificateReplaced => "certificate_replaced",
            Self::RevocationConflict => "revocation_conflict",
            Self::ReplacementConflict => "replacement_conflict",
            Self::ManifestConflict => "manifest_conflict",
            Self::ReviewPending => "review_pending",
            Self::ChallengeExpired => "challenge_expired",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMedia => "unsupported_media",
            Self::RateLimited => "rate_limited",
            Self::KeyRejected => "key_rejected",
            Self::CsrRejected => "csr_rejected",
            Self::ProfileViolation => "profile_violation",
            Self::PolicyDenied => "policy_denied",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Forbidden => "forbidden",
            Self::SignerUnavailable => "signer_unavailable",
            Self::StorageUnavailable => "storage_unavailable",
            Self::Overloaded => "overloaded",
            Self::Halted => "halted",
            Self::Internal => "internal",
        }
    }

    /// The code of this text, if there is one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// HTTP status; one per code.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::AttestationRejected
            | Self::PolicyDenied
            | Self::Forbidden
            | Self::CertificateRequired
            | Self::CertificateEnded => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::IdentityConflict
            | Self::StateConflict
            | Self::CertificateRevoked
            | Self::CertificateReplaced
            | Self::RevocationConflict
            | Self::ReplacementConflict
            | Self::ManifestConflict => 409,
            Self::ReviewPending => 202,
            Self::ChallengeExpired => 410,
            Self::PayloadTooLarge => 413,
            Self::UnsupportedMedia => 415,
            Self::KeyRejected | Self::CsrRejected | Self::ProfileViolation => 422,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::SignerUnavailable | Self::StorageUnavailable | Self::Overloaded | Self::Halted => 503,
        }
    }

    /// The code in words; the same for every occurrence (RFC 9457 §3.1.4).
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be parsed",
            Self::AttestationRejected => "The attestation was not accepted",
            Self::IdentityConflict => "The identity belongs to someone else, or another key is live",
            Self::StateConflict => "The challenge was used before",
            Self::CertificateRevoked => "The certificate is revoked or on hold",
            Self::CertificateRequired => "A certificate of this CA must be shown in TLS",
            Self::CertificateEnded => "The certificate has ended",
            Self::CertificateReplaced => "The certificate was replaced by a newer one",
            Self::RevocationConflict => "The certificate does not stand where this begins",
            Self::ReviewPending => "A person has to decide about this TPM",
            Self::ManifestConflict => "The manifest does not stand where this begins",
            Self::ReplacementConflict => "The replacement does not stand where this begins",
            Self::ChallengeExpired => "The challenge is no longer valid",
            Self::PayloadTooLarge => "The body is too large",
            Self::UnsupportedMedia => "Only application/json is taken here",
            Self::RateLimited => "Too many requests",
            Self::KeyRejected => "The key is not acceptable",
            Self::CsrRejected => "The certificate request asks for more than it may",
            Self::ProfileViolation => "The request does not fit the profile",
            Self::PolicyDenied => "Policy does not allow this",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "This method is not offered here",
            Self::Forbidden => "The caller may not do this",
            Self::SignerUnavailable => "The signer is not available",
            Self::StorageUnavailable => "Storage is not available",
            Self::Overloaded => "The server is busy",
            Self::Halted => "Issuing is stopped until a person looks",
            Self::Internal => "The server made a mistake",
        }
    }

    /// Whether trying again makes sense.
    #[must_use]
    pub fn retry(self) -> Retry {
        match self {
            Self::RateLimited
            | Self::ReviewPending
            | Self::SignerUnavailable
            | Self::StorageUnavailable
            | Self::Overloaded
            | Self::Internal => Retry::Later,
            Self::Forbidden
            | Self::PolicyDenied
            | Self::ProfileViolation
            | Self::ChallengeExpired
            | Self::NotFound
            | Self::CertificateRevoked
            | Self::CertificateRequired
            | Self::CertificateEnded
            | Self::CertificateReplaced
            | Self::Halted => Retry::AfterFix,
            Self::Malformed
            | Self::AttestationRejected
            | Self::IdentityConflict
            | Self::StateConflict
            | Self::RevocationConflict
            | Self::ReplacementConflict
            | Self::ManifestConflict
            | Self::PayloadTooLarge
            | Self::UnsupportedMedia
            | Self::KeyRejected
            | Self::CsrRejected
            | Self::MethodNotAllowed => Retry::Never,
        }
    }

    /// What it means and what to do, for the page behind [`Problem::kind`].
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Malformed => {
                "The body is not strict JSON of the documented shape, or bytes in it are not the structure they must be. Sending it again will not help."
            }
            Self::AttestationRejected => {
                "Some check of the attestation failed. Which one is only told to an operator: give him the incident id."
            }
            Self::IdentityConflict => {
                "The name is bound to another TPM, this TPM to another name, or the device has a live identity on another key. An operator must decide."
            }
            Self::StateConflict => {
                "The challenge was answered before, with another answer or with an unknown outcome. Begin a new enrollment."
            }
            Self::CertificateRevoked => {
                "What this device was issued was revoked, or is on hold, and is not handed out. After a revocation begin a new enrollment, on a new key if the old one was compromised; a hold must be released by an operator."
            }
            Self::CertificateRequired => {
                "A renewal is asked for over TLS with the certificate that is to be renewed, in a full handshake (no resumption). None was shown, or one that this CA did not issue to a device."
            }
            Self::CertificateEnded => {
                "What has ended cannot be renewed. Enroll again: the TPM proves the device anew, nobody has to do anything."
            }
            Self::CertificateReplaced => {
                "A certificate is renewed once. A newer one stands for this device: use it; if it was lost, enroll again on the same key to get it back."
            }
            Self::RevocationConflict => {
                "A revocation is final: only keyCompromise may take the place of another reason, and only what is on hold can be released."
            }
            Self::ReviewPending => {
                "Nobody has decided about the maker of this TPM, or about a known weakness of it. People see it with `ca-cli enrollment review`. Ask again after Retry-After: the same request, as often as it takes."
            }
            Self::ManifestConflict => {
                "A signer names a lot once. A manifest is read from its first line to its last; what is complete, refused or withdrawn is not read on."
            }
            Self::ReplacementConflict => {
                "A device has one open replacement at a time; what is decided is final, and what nobody approved in time is asked for anew. A device without a TPM has nothing to replace."
            }
            Self::ChallengeExpired => "The challenge is too old or was tried too often. Begin a new enrollment.",
            Self::PayloadTooLarge => "The body is larger than this route takes.",
            Self::UnsupportedMedia => "Send Content-Type: application/json, without a Content-Encoding.",
            Self::RateLimited => {
                "Too many requests from this source, or too many wrong answers to one challenge. Wait as long as Retry-After says."
            }
            Self::KeyRejected => {
                "The key parsed, but may not be certified: for example it is a CA's own, or an endorsement or attestation key offered as identity key."
            }
            Self::CsrRejected => {
                "The certificate request asks for names or extensions beyond what the inventory entitles the device to. Ask for nothing but the key."
            }
            Self::ProfileViolation => "There is no such profile, or the request does not fit it.",
            Self::PolicyDenied => "A rule of the CA refuses. An operator sees which one under the incident id.",
            Self::NotFound => "There is no such route, enrollment, certificate or device.",
            Self::MethodNotAllowed => "The route exists; the Allow header lists its methods.",
            Self::Forbidden => "The caller may not do this.",
            Self::SignerUnavailable => {
                "The HSM does not answer. Nothing is half done; try again when Retry-After has passed."
            }
            Self::StorageUnavailable => {
                "The database or the audit record does not take writes. Nothing is half done; try again when Retry-After has passed."
            }
            Self::Overloaded => {
                "The server has more work than it takes on. Nothing is half done; try again when Retry-After has passed."
            }
            Self::Halted => {
                "The server found something that must never happen and stopped issuing. A person has to look; see the server's log."
            }
            Self::Internal => "A defect of the server. The incident id finds it in the log.",
        }
    }
}

impl core::fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The same request will never succeed.
    Never,
    /// Later, unchanged.
    Later,
    /// After a person changed something.
    AfterFix,
}

/// `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// URI reference of the documentation of the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words; the same for every occurrence.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: ProblemCode,
    /// What to try.
    pub retry: Retry,
    /// What happened this time, when the caller may know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Id under which an operator finds the reason, `inc_` and 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
}

impl Problem {
    /// The media type of a problem.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// The bare problem of this code.
    #[must_use]
    pub fn new(code: ProblemCode) -> Self {
        Self {
            kind: format!("/problems/{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            retry: code.retry(),
            detail: None,
            incident: None,
        }
    }

    /// With what happened this time.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With the id under which an operator finds the reason.
    #[must_use]
    pub fn with_incident(mut self, incident: impl Into<String>) -> Self {
        self.incident = Some(incident.into());
        self
    }
}

impl core::fmt::Display for Problem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.title)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(incident) = &self.incident {
            write!(f, " ({incident})")?;
        }
        Ok(())
    }
}

impl core::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_code_is_its_json() {
        for code in ProblemCode::ALL {
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(ProblemCode::from_text(code.as_str()), Some(code));
        }
        assert_eq!(ProblemCode::from_text("Malformed"), None);
    }

    #[test]
    fn all_lists_every_code_once() {
        let set: std::collections::HashSet<_> = ProblemCode::ALL.into_iter().collect();
        assert_eq!(set.len(), ProblemCode::ALL.len());
    }

    #[test]
    fn the_catalogue() {
        let lines: String = ProblemCode::ALL
            .into_iter()
            .map(|c| format!("{} {} {:?}\n", c.status(), c, c.retry()))
            .collect();
        assert_eq!(
            lines,
            "400 malformed Never\n\
             403 attestation_rejected Never\n\
             409 identity_conflict Never\n\
             409 state_conflict Never\n\
             409 certificate_revoked AfterFix\n\
             403 certificate_required AfterFix\n\
             403 certificate_ended AfterFix\n\
             409 certificate_replaced AfterFix\n\
             409 revocation_conflict Never\n\
             409 replacement_conflict Never\n\
             409 manifest_conflict Never\n\
             202 review_pending Later\n\
             410 challenge_expired AfterFix\n\
             413 payload_too_large Never\n\
             415 unsupported_media Never\n\
             429 rate_limited Later\n\
             422 key_rejected Never\n\
             422 csr_rejected Never\n\
             422 profile_violation AfterFix\n\
             403 policy_denied AfterFix\n\
             404 not_found AfterFix\n\
             405 method_not_allowed Never\n\
             403 forbidden AfterFix\n\
             503 signer_unavailable Later\n\
             503 storage_unavailable Later\n\
             503 overloaded Later\n\
             503 halted AfterFix\n\
             500 internal Later\n"
        );
    }

    #[test]
    fn a_bare_problem_says_nothing_of_its_occurrence() {
        let json = serde_json::to_string(&Problem::new(ProblemCode::AttestationRejected)).unwrap();
        assert_eq!(
            json,
            "{\"type\":\"/problems/attestation_rejected\",\"title\":\"The attestation was not accepted\",\
             \"status\":403,\"code\":\"attestation_rejected\",\"retry\":\"never\"}"
        );
    }

    #[test]
    fn members_of_later_versions_are_ignored() {
        let json = r#"{"type":"x","title":"t","status":403,"code":"forbidden","retry":"never","new":1}"#;
        let problem: Problem = serde_json::from_str(json).unwrap();
        assert_eq!(problem.code, ProblemCode::Forbidden);
    }
}
