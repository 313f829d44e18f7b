//! A device's view of the server: typed calls, and any bytes one likes.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVersion};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use wire::EnrollmentId;
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentRequest, EnrollmentResult};
use wire::problem::Problem;
use wire::renewal::RenewalRequest;

use crate::keys::SoftKey;
use crate::soft_tpm::SoftTpm;

/// An answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub problem: Problem,
}

/// Any answer.
#[derive(Clone, Debug)]
pub struct Raw {
    /// HTTP status.
    pub status: u16,
    /// Content-Type.
    pub content_type: String,
    /// All headers, names in lower case, without Date.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Raw {
    /// The header of this name (in lower case), when it is there.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as a problem.
    ///
    /// # Panics
    /// When it is none: every error is a problem.
    #[must_use]
    pub fn problem(&self) -> Problem {
        assert_eq!(
            self.content_type,
            "application/problem+json",
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        serde_json::from_slice(&self.body).expect("a problem")
    }
}

/// A device's view of the server.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    root: Vec<u8>,
    url: String,
}

impl Client {
    /// A client that trusts `root` (DER) and nothing else.
    #[must_use]
    pub fn new(root: &[u8], url: String) -> Self {
        Self::with(root, url, None)
    }

    /// The same, and it shows this certificate (DER) in TLS, whose key it has.
    ///
    /// # Panics
    /// When the key is not OpenSSL's.
    #[must_use]
    pub fn showing(&self, certificate: &[u8], key: &SoftKey) -> Self {
        let key = key.openssl().expect("a key of OpenSSL's");
        let key = key.private_key_to_pem_pkcs8().expect("a key");
        let key = PrivateKey::from_pem(&key).expect("a key");
        let shown = ClientCert::new_with_certs(&[Certificate::from_der(certificate).to_owned()], key);
        Self::with(&self.root, self.url.clone(), Some(shown))
    }

    fn with(root: &[u8], url: String, shown: Option<ClientCert>) -> Self {
        let trusted = Certificate::from_der(root).to_owned();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(RootCerts::Specific(Arc::new(vec![trusted])))
            .client_cert(shown)
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self {
            agent: config.into(),
            root: root.to_vec(),
            url,
        }
    }

    /// A TLS 1.3 connection of one's own, for what no HTTP library sends. Reads and writes end after half a minute.
    ///
    /// # Panics
    /// When there is no connection.
    #[must_use]
    pub fn connect(&self) -> SslStream<TcpStream> {
        self.connect_from([127, 0, 0, 1])
    }

    /// The same from another address of this machine.
    ///
    /// # Panics
    /// When there is no connection.
    #[must_use]
    pub fn connect_from(&self, source: [u8; 4]) -> SslStream<TcpStream> {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let port = self
            .url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a port");
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddr::from((source, 0))).expect("an address of this machine");
        connect(&socket, &SocketAddr::from(([127, 0, 0, 1], port))).expect("a connection");
        let stream = TcpStream::from(socket);
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).expect("a time-out");
        stream.set_write_timeout(patience).expect("a time-out");
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
        connector
            .set_min_proto_version(Some(SslVersion::TLS1_3))
            .expect("TLS 1.3");
        let root = openssl::x509::X509::from_der(&self.root).expect("a root");
        connector.cert_store_mut().add_cert(root).expect("a root");
        connector.build().connect("localhost", stream).expect("a handshake")
    }

    /// `POST /v1/enrollments`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn begin(&self, request: &EnrollmentRequest) -> Result<EnrollmentChallenge, Refused> {
        self.post("/v1/enrollments", request)
    }

    /// `POST /v1/enrollments/{id}/activation`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn activate(&self, id: EnrollmentId, request: &ActivationRequest) -> Result<EnrollmentResult, Refused> {
        self.post(&format!("/v1/enrollments/{id}/activation"), request)
    }

    /// `POST /v1/renewals`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn begin_renewal(&self) -> Result<EnrollmentChallenge, Refused> {
        self.post("/v1/renewals", &RenewalRequest::default())
    }

    /// `POST /v1/renewals/{id}/activation`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn activate_renewal(&self, id: EnrollmentId, request: &ActivationRequest) -> Result<EnrollmentResult, Refused> {
        self.post(&format!("/v1/renewals/{id}/activation"), request)
    }

    /// Both calls of a renewal, honestly: this certificate (DER), which the client shows, to be on this key.
    ///
    /// # Errors
    /// [`Refused`].
    ///
    /// # Panics
    /// When the credential is not for this TPM.
    pub fn renew(&self, tpm: &SoftTpm, certificate: &[u8], key: &SoftKey) -> Result<EnrollmentResult, Refused> {
        let challenge = self.begin_renewal()?;
        let answer = tpm.answer_renewal(&challenge, certificate, key);
        self.activate_renewal(challenge.id, &answer.expect("the credential is for this TPM"))
    }

    /// Both calls, honestly.
    ///
    /// # Errors
    /// [`Refused`].
    ///
    /// # Panics
    /// When the credential is not for this TPM.
    pub fn enroll(&self, tpm: &SoftTpm, request: &EnrollmentRequest) -> Result<EnrollmentResult, Refused> {
        let challenge = self.begin(request)?;
        let answer = tpm.answer(&challenge).expect("the credential is for this TPM");
        self.activate(challenge.id, &answer)
    }

    /// `POST` of a body as JSON.
    ///
    /// # Errors
    /// [`Refused`].
    ///
    /// # Panics
    /// When a success has a body of another shape.
    pub fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Refused> {
        let body = serde_json::to_vec(body).expect("JSON");
        let raw = self.post_raw(path, "application/json", &body);
        if (200..300).contains(&raw.status) {
            return Ok(serde_json::from_slice(&raw.body).expect("the body of a success"));
        }
        Err(Refused {
            status: raw.status,
            problem: raw.problem(),
        })
    }

    /// `POST` of any bytes under any content type.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn post_raw(&self, path: &str, content_type: &str, body: &[u8]) -> Raw {
        let request = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("content-type", content_type);
        raw(request.send(body))
    }

    /// `POST` of JSON to a server that may go away at any moment: its answer, or why there is none.
    ///
    /// # Errors
    /// What the connection came to.
    pub fn try_post(&self, path: &str, body: &[u8]) -> Result<Raw, String> {
        let request = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/json");
        request.send(body).and_then(try_raw).map_err(|e| e.to_string())
    }

    /// Send a `POST` of JSON and read no answer: whoever drops the connection hangs up. A server that sees that before
    /// it began may leave the work undone.
    ///
    /// # Panics
    /// When it cannot be sent.
    #[must_use]
    pub fn post_unheard(&self, path: &str, body: &[u8]) -> SslStream<TcpStream> {
        use std::io::Write as _;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = self.connect();
        stream.write_all(&[head.as_bytes(), body].concat()).expect("a request");
        stream.flush().expect("a request");
        stream
    }

    /// `GET`, with an `Accept` header when it is not empty.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get(&self, path: &str, accept: &str) -> Raw {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if !accept.is_empty() {
            request = request.header("accept", accept);
        }
        raw(request.call())
    }
}

fn raw(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Raw {
    answer.and_then(try_raw).expect("an answer")
}

fn try_raw(mut answer: ureq::http::Response<ureq::Body>) -> Result<Raw, ureq::Error> {
    let content_type = answer
        .headers()
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let headers = answer
        .headers()
        .iter()
        .filter(|(name, _)| name.as_str() != "date")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    Ok(Raw {
        status: answer.status().as_u16(),
        content_type,
        headers,
        body: answer.body_mut().read_to_vec()?,
    })
}
