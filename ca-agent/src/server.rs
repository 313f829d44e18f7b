//! The way to the CA: TLS by the pinned root only, strict bodies, problems in words.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use wire::EnrollmentId;
use wire::enrollment::{EnrollmentChallenge, EnrollmentRequest, EnrollmentResult, EnrollmentState, Issuers};
use wire::problem::{Problem, ProblemCode, Retry};

use crate::report::{Exit, Report};

/// Longest answer that is read.
const MAX_BODY: u64 = 1 << 20;
const CONNECT: Duration = Duration::from_secs(10);
/// How often, and after which pause, an activation that is being worked on is asked for.
const PATIENCE: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);
const WHOLE: Duration = Duration::from_secs(60);

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
            Self::Unreachable { .. } => report("E-SERVER-UNREACHABLE", Exit::Again).fix(
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
            Self::Strange { .. } => report("E-SERVER-STRANGE", Exit::Failure)
                .because("something else is listening there, or it speaks another version")
                .fix("look at --server"),
        }
    }
}

fn refused(problem: &Problem, retry_after: Option<Duration>) -> Report {
    let exit = match problem.code {
        ProblemCode::AttestationRejected
        | ProblemCode::PolicyDenied
        | ProblemCode::KeyRejected
        | ProblemCode::CsrRejected
        | ProblemCode::ProfileViolation => Exit::No,
        ProblemCode::Forbidden => Exit::NotAllowed,
        ProblemCode::NotFound => Exit::NotFound,
        ProblemCode::IdentityConflict | ProblemCode::StateConflict => Exit::Conflict,
        ProblemCode::RateLimited
        | ProblemCode::SignerUnavailable
        | ProblemCode::StorageUnavailable
        | ProblemCode::Overloaded
        | ProblemCode::Halted
        | ProblemCode::ChallengeExpired => Exit::Again,
        ProblemCode::Malformed
        | ProblemCode::PayloadTooLarge
        | ProblemCode::UnsupportedMedia
        | ProblemCode::MethodNotAllowed
        | ProblemCode::Internal => Exit::Failure,
    };
    let report = Report::new(problem.code.as_str(), exit, &problem.title).because(
        problem
            .detail
            .clone()
            .unwrap_or_else(|| problem.code.explanation().to_owned()),
    );
    let report = match (&problem.retry, retry_after) {
        (Retry::Later, Some(wait)) => report.when(format!("in {} or later", crate::error::in_words(wait))),
        (Retry::Later, None) => report.when("later"),
        (Retry::AfterFix, _) => report.when("after somebody changed something"),
        (Retry::Never, _) => report.when("never: the same request will always be refused"),
    };
    match &problem.incident {
        Some(incident) => report
            .fix(format!("tell the operator of the CA this incident id: {incident}"))
            .note("the server tells the reason to operators only"),
        None if exit == Exit::Again => report.fix("run the same command again: it goes on where it stopped"),
        None => report,
    }
}

/// A CA server.
#[derive(Debug)]
pub struct Server {
    agent: ureq::Agent,
    base: String,
}

impl Server {
    /// Reach the server at `url`; only certificates below `root` (DER) are believed.
    ///
    /// # Errors
    /// [`ServerError::Url`].
    pub fn pinned(url: &str, root: &[u8]) -> Result<Self, ServerError> {
        let root = Certificate::from_der(root).to_owned();
        Self::with_tls(url, |tls| tls.root_certs(RootCerts::new_with_certs(&[root])))
    }

    /// Ask whoever answers at `url` for the CA's certificates, and believe only the root whose SHA-256 is `pin`.
    /// Gives the root, DER. Nothing else of that conversation is used.
    ///
    /// # Errors
    /// [`ServerError::WrongRoot`] when it is another.
    pub fn first_contact(url: &str, pin: &[u8; 32]) -> Result<Vec<u8>, ServerError> {
        let stranger = Self::with_tls(url, |tls| tls.disable_verification(true))?;
        let issuers = stranger.issuers()?;
        let root = issuers.chain.last().map(|c| c.0.as_slice()).unwrap_or_default();
        let found = openssl::sha::sha256(root);
        if found == *pin && openssl::x509::X509::from_der(root).is_ok() {
            Ok(root.to_vec())
        } else {
            Err(ServerError::WrongRoot {
                url: stranger.base,
                found: hex::encode(found),
            })
        }
    }

    fn with_tls(
        url: &str,
        configure: impl FnOnce(ureq::tls::TlsConfigBuilder) -> ureq::tls::TlsConfigBuilder,
    ) -> Result<Self, ServerError> {
        let refuse = |detail| ServerError::Url {
            url: url.to_owned(),
            detail,
        };
        let base = url.trim_end_matches('/');
        let host = base
            .strip_prefix("https://")
            .ok_or_else(|| refuse("it must begin with https://"))?;
        if host.is_empty()
            || host.contains(['/', '?', '#', '@'])
            || !host.is_ascii()
            || host.contains(char::is_whitespace)
        {
            return Err(refuse("it must be https://HOST:PORT and nothing more"));
        }
        let tls = TlsConfig::builder().provider(TlsProvider::NativeTls);
        let config = ureq::Agent::config_builder()
            .tls_config(configure(tls).build())
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .user_agent(concat!("ca-agent/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.new_agent(),
            base: base.to_owned(),
        })
    }

    /// The CA's certificates.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn issuers(&self) -> Result<Issuers, ServerError> {
        self.get("/v1/issuers").map(|(body, _)| body)
    }

    /// The server's clock (`Date`), seconds since 1970, and ours when it was read.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn clock(&self) -> Result<Option<(i64, i64)>, ServerError> {
        let (_, date): (Issuers, _) = self.get("/v1/issuers")?;
        let server = date.and_then(|text| jiff::fmt::rfc2822::parse(&text).ok());
        Ok(server.map(|time| (time.timestamp().as_second(), jiff::Timestamp::now().as_second())))
    }

    /// `POST /v1/enrollments`.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn begin(&self, request: &EnrollmentRequest) -> Result<EnrollmentChallenge, ServerError> {
        let body = serialise(request)?;
        self.post("/v1/enrollments", &body)
    }

    /// `POST /v1/enrollments/{id}/activation` with a body that was serialised before, byte for byte. While another
    /// server works on the same body, the answer is awaited by asking again.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn activate(&self, id: EnrollmentId, body: &str) -> Result<EnrollmentResult, ServerError> {
        let path = format!("/v1/enrollments/{id}/activation");
        for _ in 0..PATIENCE {
            let result: EnrollmentResult = self.post(&path, body)?;
            if result.state != EnrollmentState::Verifying {
                return Ok(result);
            }
            std::thread::sleep(PAUSE);
        }
        Err(ServerError::Unreachable {
            url: self.base.clone(),
            detail: "it is still working on this enrollment".into(),
        })
    }

    /// `GET /v1/enrollments/{id}`.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn enrollment(&self, id: EnrollmentId) -> Result<EnrollmentResult, ServerError> {
        self.get(&format!("/v1/enrollments/{id}")).map(|(body, _)| body)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Option<String>), ServerError> {
        let url = format!("{}{path}", self.base);
        let response = self.agent.get(&url).call().map_err(|e| self.transport(e))?;
        let date = response
            .headers()
            .get("date")
            .and_then(|v| v.to_str().ok())
            .map(ToOwned::to_owned);
        Ok((self.read(response)?, date))
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T, ServerError> {
        let url = format!("{}{path}", self.base);
        let response = self
            .agent
            .post(&url)
            .content_type("application/json")
            .send(body)
            .map_err(|e| self.transport(e))?;
        self.read(response)
    }

    fn read<T: DeserializeOwned>(&self, mut response: ureq::http::Response<ureq::Body>) -> Result<T, ServerError> {
        let status = response.status().as_u16();
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|v| v.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let is_problem = header("content-type").starts_with(Problem::MEDIA_TYPE);
        let retry_after = header("retry-after").trim().parse().ok().map(Duration::from_secs);
        let bytes = response
            .body_mut()
            .with_config()
            .limit(MAX_BODY)
            .read_to_vec()
            .map_err(|e| self.transport(e))?;
        let strange = |detail: String| ServerError::Strange {
            url: self.base.clone(),
            status,
            detail,
        };
        match status {
            200..=299 => wire::parse(&bytes).map_err(|e| strange(e.to_string())),
            _ if is_problem => {
                // A problem may have members that this version does not know (RFC 9457, 3.2).
                let problem = serde_json::from_slice(&bytes).map_err(|e| strange(e.to_string()))?;
                Err(ServerError::Refused {
                    problem: Box::new(problem),
                    retry_after,
                })
            }
            // A balancer in front says that nobody is behind it.
            502..=504 => Err(ServerError::Unreachable {
                url: self.base.clone(),
                detail: format!("status {status} from something in between"),
            }),
            _ => Err(strange("not a problem document".into())),
        }
    }

    fn transport(&self, error: ureq::Error) -> ServerError {
        let url = self.base.clone();
        match error {
            ureq::Error::NativeTls(error) => {
                let detail = error.to_string();
                // The other end hung up inside the handshake, as a balancer does that has nobody behind it. OpenSSL has
                // no better word for it than these, in two spellings.
                if detail.to_ascii_lowercase().contains("unexpected eof") {
                    ServerError::Unreachable { url, detail }
                } else {
                    ServerError::Untrusted { url, detail }
                }
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::RequireHttpsOnly(_) => ServerError::Url {
                url,
                detail: "it cannot be read as one",
            },
            ureq::Error::BodyExceedsLimit(_) | ureq::Error::Protocol(_) => ServerError::Strange {
                url,
                status: 0,
                detail: error.to_string(),
            },
            other => ServerError::Unreachable {
                url,
                detail: other.to_string(),
            },
        }
    }
}

/// JSON text of a body.
///
/// # Errors
/// Never for the bodies of this house.
pub fn serialise(body: &impl Serialize) -> Result<String, ServerError> {
    serde_json::to_string(body).map_err(|_| ServerError::Url {
        url: String::new(),
        detail: "the body cannot be written as JSON",
    })
}

#[cfg(test)]
mod tests;
