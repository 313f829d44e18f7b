//! The way to a server's administration socket: HTTP over a Unix socket; the peer's uid is the identity.
#![cfg(feature = "online")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Body;
use ureq::http::{Response, StatusCode};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};
use wire::problem::Problem;

use crate::cli::Admin;
use crate::exit::{Exit, Failure};

/// Longest answer taken: a thousand devices with their certificates have room in it.
const LARGEST_ANSWER: u64 = 64 << 20;

/// A client of one server's administration socket.
pub(crate) struct Client {
    agent: ureq::Agent,
    socket: PathBuf,
}

impl Client {
    pub(crate) fn new(admin: &Admin) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        let socket = admin.admin.clone();
        Self {
            agent: ureq::Agent::with_parts(config, SocketConnector(socket.clone()), NoResolver),
            socket,
        }
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Failure> {
        let mut request = self.agent.get(format!("http://localhost{path}"));
        for (name, value) in query {
            request = request.query(*name, value);
        }
        self.answer(request.call())
    }

    pub(crate) fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Failure> {
        self.answer(self.agent.post(format!("http://localhost{path}")).send_json(body))
    }

    /// Bytes, at most so many.
    pub(crate) fn bytes(&self, path: &str, query: &[(&str, String)], limit: u64) -> Result<Vec<u8>, Failure> {
        let mut request = self.agent.get(format!("http://localhost{path}"));
        for (name, value) in query {
            request = request.query(*name, value);
        }
        let mut response = request.call().map_err(|e| unreachable_server(&self.socket, &e))?;
        let status = response.status();
        let bytes = response
            .body_mut()
            .with_config()
            .limit(limit)
            .read_to_vec()
            .map_err(|e| Failure::new(Exit::TryAgain, format!("the server's answer broke off: {e}")))?;
        if status.is_success() {
            Ok(bytes)
        } else {
            Err(not_done(status, &String::from_utf8_lossy(&bytes)))
        }
    }

    /// Whether the server is ready, and its own checks: one line for each, `[+] NAME ok` or `[-] NAME WHY`.
    pub(crate) fn readiness(&self) -> Result<String, Failure> {
        let answer = self.agent.get("http://localhost/readyz?verbose").call();
        // 503 is an answer like 200: the lines say what is wrong.
        match self.receive(answer)? {
            (StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE, text) => Ok(text),
            (status, text) => Err(not_done(status, &text)),
        }
    }

    fn answer<T: DeserializeOwned>(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<T, Failure> {
        let (status, text) = self.receive(answer)?;
        if !status.is_success() {
            return Err(not_done(status, &text));
        }
        serde_json::from_str(&text).map_err(|e| {
            Failure::new(Exit::Failed, format!("the server speaks another version: {e}"))
                .fix("run the ca-cli that came with the server")
        })
    }

    fn receive(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<(StatusCode, String), Failure> {
        let mut response = answer.map_err(|e| unreachable_server(&self.socket, &e))?;
        let text = response
            .body_mut()
            .with_config()
            .limit(LARGEST_ANSWER)
            .read_to_string()
            .map_err(|e| Failure::new(Exit::TryAgain, format!("the server's answer broke off: {e}")))?;
        Ok((response.status(), text))
    }
}

fn not_done(status: StatusCode, text: &str) -> Failure {
    serde_json::from_str::<Problem>(text).map_or_else(
        |_| Failure::new(Exit::Failed, format!("the server answered {status}")),
        |problem| refused(&problem),
    )
}

fn unreachable_server(socket: &Path, error: &ureq::Error) -> Failure {
    let kind = if let ureq::Error::Io(io) = error {
        Some(io.kind())
    } else {
        None
    };
    let exit = if kind == Some(std::io::ErrorKind::PermissionDenied) {
        Exit::NotAllowed
    } else {
        Exit::TryAgain
    };
    let fix = match kind {
        Some(std::io::ErrorKind::NotFound) => "is ca-server running? give its `server.admin` path with --admin",
        Some(std::io::ErrorKind::PermissionDenied) => {
            "run this as root, as the user of ca-server, or as one of its [operators]"
        }
        Some(std::io::ErrorKind::ConnectionRefused) => "the socket is there but nobody listens: start ca-server",
        _ => "look at the log of ca-server",
    };
    Failure::new(exit, format!("administration socket {}: {error}", socket.display())).fix(fix)
}

fn refused(problem: &Problem) -> Failure {
    let detail = problem
        .detail
        .as_deref()
        .map(|d| format!(": {}", crate::output::clean(d)))
        .unwrap_or_default();
    Failure::new(
        problem.code.into(),
        format!("{}{detail}", crate::output::clean(&problem.title)),
    )
}

/// Connects every request to one Unix socket, whatever its URL says.
#[derive(Debug)]
struct SocketConnector(PathBuf);

impl Connector for SocketConnector {
    type Out = SocketTransport;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Self::Out>, ureq::Error> {
        let stream = UnixStream::connect(&self.0)?;
        Ok(Some(SocketTransport {
            stream,
            buffers: LazyBuffers::new(16 << 10, 16 << 10),
        }))
    }
}

#[derive(Debug)]
struct SocketTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl SocketTransport {
    fn limit(timeout: NextTimeout) -> Option<Duration> {
        timeout.not_zero().map(|d| *d)
    }
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.set_write_timeout(Self::limit(timeout))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.set_read_timeout(Self::limit(timeout))?;
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // One request per process: a connection is never taken up again.
        false
    }
}

/// Nothing is ever looked up: the address is the socket.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(addresses)
    }
}
