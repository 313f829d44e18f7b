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
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_and_nothing_more() {
        let root = [0x30, 0x00];
        for good in ["https://ca.example", "https://ca.example:8443/", "https://[::1]:8443"] {
            assert!(Server::pinned(good, &root).is_ok(), "{good}");
        }
        for bad in [
            "http://ca.example",
            "ca.example",
            "https://",
            "https://ca.example/v1",
            "https://user@ca.example",
            "https://ca.example?x",
        ] {
            assert!(
                matches!(Server::pinned(bad, &root), Err(ServerError::Url { .. })),
                "{bad}"
            );
        }
    }

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

    #[test]
    fn a_handshake_that_is_hung_up_may_be_tried_again() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            // Read what comes, so that the end is an end and not a reset.
            let (mut stream, _) = listener.accept().unwrap();
            std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
        });
        let root = device_kit::vendor::VendorCa::root("root").certificate;
        let error = Server::pinned(&url, &root).unwrap().issuers().unwrap_err();
        server.join().unwrap();
        assert!(matches!(error, ServerError::Unreachable { .. }), "{error}");
    }

    #[test]
    fn a_closed_port_may_be_tried_again() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Server::pinned(&url, &[]).unwrap().issuers().unwrap_err();
        assert!(matches!(error, ServerError::Unreachable { .. }), "{error}");
        assert_eq!(error.report().exit as u8, 7);
        assert!(error.again_after().is_some());
    }

    /// A TLS server that gives these answers, one for each connection, and tells what it was sent. Gives its URL and
    /// its certificate, DER.
    fn answering(answers: Vec<String>) -> (String, Vec<u8>, std::sync::mpsc::Receiver<String>) {
        use openssl::asn1::Asn1Time;
        use openssl::pkey::PKey;
        use openssl::x509::X509;
        use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
        use std::io::{Read as _, Write as _};
        let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(openssl::ec::EcKey::generate(&group).unwrap()).unwrap();
        let mut certificate = X509::builder().unwrap();
        certificate.set_version(2).unwrap();
        certificate.set_pubkey(&key).unwrap();
        certificate
            .set_not_before(&Asn1Time::days_from_now(0).unwrap())
            .unwrap();
        certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        let san = SubjectAlternativeName::new()
            .dns("localhost")
            .build(&certificate.x509v3_context(None, None))
            .unwrap();
        certificate.append_extension(san).unwrap();
        certificate
            .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
            .unwrap();
        certificate.sign(&key, openssl::hash::MessageDigest::sha256()).unwrap();
        let certificate = certificate.build();
        let mut acceptor = openssl::ssl::SslAcceptor::mozilla_modern_v5(openssl::ssl::SslMethod::tls()).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor.set_certificate(&certificate).unwrap();
        let acceptor = acceptor.build();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for answer in answers {
                let Ok(mut stream) = acceptor.accept(listener.accept().unwrap().0) else {
                    continue;
                };
                let mut request = Vec::new();
                let mut part = [0; 4096];
                let whole = |request: &[u8]| {
                    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
                    let (head, body) = text.split_once("\r\n\r\n")?;
                    let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest);
                    let length: usize = length.lines().next()?.trim().parse().ok()?;
                    (body.len() >= length).then_some(())
                };
                while whole(&request).is_none() {
                    let count = stream.read(&mut part).unwrap();
                    request.extend_from_slice(&part[..count]);
                }
                let request = String::from_utf8(request).unwrap();
                let body = request.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
                let _ = tell.send(body.unwrap_or_default());
                stream.write_all(answer.as_bytes()).unwrap();
                let _ = stream.shutdown();
            }
        });
        (url, certificate.to_der().unwrap(), told)
    }

    fn answer(status: &str, kind: &str, more: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n{body}",
            body.len()
        )
    }

    #[test]
    fn an_activation_that_is_worked_on_is_asked_for_again_with_the_same_bytes() {
        let result = |state: &str| format!(r#"{{"id":"enr_{}","state":"{state}","device":"gw-1"}}"#, "0".repeat(32));
        let (url, root, told) = answering(vec![
            answer(
                "202 Accepted",
                "application/json",
                "Retry-After: 1\r\n",
                &result("verifying"),
            ),
            answer("200 OK", "application/json", "", &result("issued")),
        ]);
        let server = Server::pinned(&url, &root).unwrap();
        let got = server.activate(EnrollmentId([0; 16]), r#"{"the":"body"}"#).unwrap();
        assert_eq!(got.state, EnrollmentState::Issued);
        let bodies: Vec<String> = told.iter().collect();
        assert_eq!(bodies, [r#"{"the":"body"}"#; 2]);
    }

    #[test]
    fn what_is_no_answer_of_ours_is_told_apart() {
        let problem = serde_json::to_string(&Problem::new(ProblemCode::Overloaded)).unwrap();
        let (url, root, _told) = answering(vec![
            answer(
                "503 Service Unavailable",
                "application/problem+json",
                "Retry-After: 7\r\n",
                &problem,
            ),
            answer("502 Bad Gateway", "text/html", "", "<html>"),
            answer(
                "200 OK",
                "application/json",
                "",
                r#"{"name":"x","root_sha256":"","chain":[],"more":1}"#,
            ),
            answer("302 Found", "text/html", "Location: https://elsewhere.example/\r\n", ""),
            "gibberish\r\n\r\n".to_owned(),
        ]);
        let ask = || Server::pinned(&url, &root).unwrap().issuers().unwrap_err();
        let busy = ask();
        assert_eq!(busy.code(), Some(ProblemCode::Overloaded));
        assert_eq!(busy.again_after(), Some(Duration::from_secs(7)));
        assert!(matches!(ask(), ServerError::Unreachable { .. }));
        assert!(matches!(ask(), ServerError::Strange { status: 200, .. }));
        assert!(matches!(ask(), ServerError::Strange { status: 302, .. }));
        assert!(matches!(ask(), ServerError::Strange { .. }));
        // A root that signed nothing here.
        let (other, ..) = answering(vec![answer("200 OK", "application/json", "", "{}")]);
        let stranger = Server::pinned(&other, &root).unwrap().issuers().unwrap_err();
        assert!(matches!(stranger, ServerError::Untrusted { .. }), "{stranger}");
        // Asked without trust, it is still not the pinned one.
        let empty = answer(
            "200 OK",
            "application/json",
            "",
            r#"{"name":"x","root_sha256":"","chain":[]}"#,
        );
        let (liar, ..) = answering(vec![empty]);
        let wrong = Server::first_contact(&liar, &openssl::sha::sha256(&[])).unwrap_err();
        assert!(matches!(wrong, ServerError::WrongRoot { .. }), "{wrong}");
    }
}
