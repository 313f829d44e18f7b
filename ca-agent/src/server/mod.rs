//! The way to the CA: TLS by the pinned root only, strict bodies, problems in words.

mod error;
mod line;
mod mutual;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use serde::Serialize;
use ureq::tls::{Certificate, RootCerts};
use wire::EnrollmentId;
use wire::enrollment::{EnrollmentChallenge, EnrollmentRequest, EnrollmentResult, EnrollmentState, Issuers};
use wire::renewal::{CertificateId, RenewalInfo, RenewalRequest};
use wire::third_party::{IakChallenge, IakEnrollmentRequest, IakRenewalRequest};

pub use error::ServerError;
use line::Line;
use mutual::Mutual;
pub use mutual::{Scheme, Shown, Sign};

/// How often, and after which pause, an activation that is being worked on is asked for.
const PATIENCE: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// A CA server.
#[derive(Debug)]
pub struct Server {
    line: Line,
}

impl Server {
    /// Reach the server at `url`; only certificates below `root` (DER) are believed.
    ///
    /// # Errors
    /// [`ServerError::Url`].
    pub fn pinned(url: &str, root: &[u8]) -> Result<Self, ServerError> {
        let root = Certificate::from_der(root).to_owned();
        let line = Line::to(url, |tls| tls.root_certs(RootCerts::new_with_certs(&[root])))?;
        Ok(Self { line })
    }

    /// The same, and show a certificate in TLS.
    ///
    /// # Errors
    /// [`ServerError::Url`].
    pub fn showing(url: &str, root: &[u8], shown: Shown) -> Result<Self, ServerError> {
        let line = Line::over(url, Mutual::new(url, root, shown)?)?;
        Ok(Self { line })
    }

    /// Ask whoever answers at `url` for the CA's certificates, and believe only the root whose SHA-256 is `pin`.
    /// Gives the root, DER. Nothing else of that conversation is used.
    ///
    /// # Errors
    /// [`ServerError::WrongRoot`] when it is another.
    pub fn first_contact(url: &str, pin: &[u8; 32]) -> Result<Vec<u8>, ServerError> {
        let line = Line::to(url, |tls| tls.disable_verification(true))?;
        let stranger = Self { line };
        let issuers = stranger.issuers()?;
        let root = issuers.chain.last().map(|c| c.0.as_slice()).unwrap_or_default();
        let found = openssl::sha::sha256(root);
        if found == *pin && openssl::x509::X509::from_der(root).is_ok() {
            Ok(root.to_vec())
        } else {
            Err(ServerError::WrongRoot {
                url: stranger.line.base,
                found: hex::encode(found),
            })
        }
    }

    /// The CA's certificates.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn issuers(&self) -> Result<Issuers, ServerError> {
        self.line.get("/v1/issuers").map(|(body, _)| body)
    }

    /// The server's clock (`Date`), seconds since 1970, and ours when it was read.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn clock(&self) -> Result<Option<(i64, i64)>, ServerError> {
        let (_, date): (Issuers, _) = self.line.get("/v1/issuers")?;
        let server = date.and_then(|text| jiff::fmt::rfc2822::parse(&text).ok());
        Ok(server.map(|time| (time.timestamp().as_second(), jiff::Timestamp::now().as_second())))
    }

    /// `POST /v1/enrollments`.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn begin(&self, request: &EnrollmentRequest) -> Result<EnrollmentChallenge, ServerError> {
        let body = serialise(request)?;
        self.line.post("/v1/enrollments", &body)
    }

    /// `POST /v1/enrollments/{id}/activation` with a body that was serialised before, byte for byte. While another
    /// server works on the same body, the answer is awaited by asking again.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn activate(&self, id: EnrollmentId, body: &str) -> Result<EnrollmentResult, ServerError> {
        self.answer(&format!("/v1/enrollments/{id}/activation"), body)
    }

    /// `POST /v1/renewals`, on a connection that shows the certificate.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn begin_renewal(&self, request: &RenewalRequest) -> Result<EnrollmentChallenge, ServerError> {
        let body = serialise(request)?;
        self.line.post("/v1/renewals", &body)
    }

    /// `POST /v1/renewals/{id}/activation`, as [`Server::activate`].
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn activate_renewal(&self, id: EnrollmentId, body: &str) -> Result<EnrollmentResult, ServerError> {
        self.answer(&format!("/v1/renewals/{id}/activation"), body)
    }

    /// `POST /v1/iak-enrollments`.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn begin_by_iak(&self, request: &IakEnrollmentRequest) -> Result<IakChallenge, ServerError> {
        let body = serialise(request)?;
        self.line.post("/v1/iak-enrollments", &body)
    }

    /// `POST /v1/iak-enrollments/{id}/certification`, as [`Server::activate`].
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn certify(&self, id: EnrollmentId, body: &str) -> Result<EnrollmentResult, ServerError> {
        self.answer(&format!("/v1/iak-enrollments/{id}/certification"), body)
    }

    /// `POST /v1/iak-renewals`, on a connection that shows the certificate.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn begin_renewal_by_iak(&self, request: &IakRenewalRequest) -> Result<IakChallenge, ServerError> {
        let body = serialise(request)?;
        self.line.post("/v1/iak-renewals", &body)
    }

    /// `POST /v1/iak-renewals/{id}/certification`, as [`Server::activate`].
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn certify_renewal(&self, id: EnrollmentId, body: &str) -> Result<EnrollmentResult, ServerError> {
        self.answer(&format!("/v1/iak-renewals/{id}/certification"), body)
    }

    fn answer(&self, path: &str, body: &str) -> Result<EnrollmentResult, ServerError> {
        for _ in 0..PATIENCE {
            let result: EnrollmentResult = self.line.post(path, body)?;
            if result.state != EnrollmentState::Verifying {
                return Ok(result);
            }
            std::thread::sleep(PAUSE);
        }
        Err(ServerError::Unreachable {
            url: self.line.base.clone(),
            detail: "it is still working on this enrollment".into(),
        })
    }

    /// `GET /v1/renewal-info/{certificate}`, and after how long to ask again.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn renewal_info(&self, id: &CertificateId) -> Result<(RenewalInfo, Option<Duration>), ServerError> {
        self.line.get_again(&format!("/v1/renewal-info/{id}"))
    }

    /// `GET /v1/enrollments/{id}`.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn enrollment(&self, id: EnrollmentId) -> Result<EnrollmentResult, ServerError> {
        self.line.get(&format!("/v1/enrollments/{id}")).map(|(body, _)| body)
    }
}

/// Try again while the server says "later" or cannot be reached, for as long as `wait`; `say` tells of it.
///
/// # Errors
/// What the last try came to.
pub fn patiently<T>(
    wait: Duration,
    say: &dyn Fn(&str),
    mut call: impl FnMut() -> Result<T, ServerError>,
) -> Result<T, ServerError> {
    let until = Instant::now() + wait;
    let mut pause = Duration::from_millis(250);
    loop {
        let error = match call() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(least) = error.again_after() else {
            return Err(error);
        };
        let wait = if matches!(error, ServerError::Refused { .. }) {
            least.max(pause)
        } else {
            pause
        };
        if Instant::now() + wait > until {
            return Err(error);
        }
        say(&format!("{error}; trying again"));
        std::thread::sleep(wait);
        pause = (pause * 2).min(Duration::from_secs(10));
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
