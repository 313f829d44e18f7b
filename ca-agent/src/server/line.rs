//! One conversation over HTTPS: addresses, limits, and which answers are none of ours.

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::config::{Config, ConfigBuilder};
use ureq::tls::{TlsConfig, TlsConfigBuilder, TlsProvider};
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, TcpConnector};
use wire::problem::Problem;

use super::ServerError;
use super::mutual::Mutual;

/// Longest answer that is read.
const MAX_BODY: u64 = 1 << 20;
const CONNECT: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(60);

/// `https://HOST:PORT`, of an address that is that and nothing more.
fn base(url: &str) -> Result<&str, ServerError> {
    let refuse = |detail| ServerError::Url {
        url: url.to_owned(),
        detail,
    };
    let base = url.trim_end_matches('/');
    let host = base
        .strip_prefix("https://")
        .ok_or_else(|| refuse("it must begin with https://"))?;
    if host.is_empty() || host.contains(['/', '?', '#', '@']) || !host.is_ascii() || host.contains(char::is_whitespace)
    {
        return Err(refuse("it must be https://HOST:PORT and nothing more"));
    }
    Ok(base)
}

fn config(builder: ConfigBuilder<AgentScope>) -> Config {
    builder
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(WHOLE))
        .user_agent(concat!("ca-agent/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The way to one server.
#[derive(Debug)]
pub(super) struct Line {
    agent: ureq::Agent,
    /// `https://HOST:PORT`
    pub(super) base: String,
}

impl Line {
    /// To the server at `url`, which is `https://HOST:PORT` and nothing more.
    pub(super) fn to(
        url: &str,
        configure: impl FnOnce(TlsConfigBuilder) -> TlsConfigBuilder,
    ) -> Result<Self, ServerError> {
        let base = base(url)?;
        let tls = TlsConfig::builder().provider(TlsProvider::NativeTls);
        let config = config(ureq::Agent::config_builder().tls_config(configure(tls).build()));
        Ok(Self {
            agent: config.new_agent(),
            base: base.to_owned(),
        })
    }

    /// The same over TLS of our own.
    pub(super) fn over(url: &str, tls: Mutual) -> Result<Self, ServerError> {
        let base = base(url)?;
        let config = config(ureq::Agent::config_builder());
        let connector = ().chain(TcpConnector::default()).chain(tls);
        Ok(Self {
            agent: ureq::Agent::with_parts(config, connector, DefaultResolver::default()),
            base: base.to_owned(),
        })
    }
    /// A body, and the `Date` it came with.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Option<String>), ServerError> {
        let url = format!("{}{path}", self.base);
        tracing::debug!(%url, "GET");
        let response = self.agent.get(&url).call().map_err(|e| self.transport(e))?;
        let date = response
            .headers()
            .get("date")
            .and_then(|v| v.to_str().ok())
            .map(ToOwned::to_owned);
        Ok((self.read(response)?, date))
    }

    /// A body, and after how long to ask again.
    pub(super) fn get_again<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Option<Duration>), ServerError> {
        let url = format!("{}{path}", self.base);
        tracing::debug!(%url, "GET");
        let response = self.agent.get(&url).call().map_err(|e| self.transport(e))?;
        let after = response.headers().get("retry-after").and_then(|v| v.to_str().ok());
        let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Ok((self.read(response)?, after))
    }

    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T, ServerError> {
        let url = format!("{}{path}", self.base);
        tracing::debug!(%url, bytes = body.len(), "POST");
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
        tracing::debug!(status, "answered");
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
            200..=299 if !is_problem => wire::parse(&bytes).map_err(|e| strange(e.to_string())),
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
            ureq::Error::Other(error) if error.is::<rustls::Error>() => ServerError::Untrusted {
                url,
                detail: error.to_string(),
            },
            other => ServerError::Unreachable {
                url,
                detail: other.to_string(),
            },
        }
    }
}
