//! One kept connection and nothing else: a load must cost little of its own on the machine that it shares.

#![expect(clippy::indexing_slicing, reason = "a head was found in what is sliced")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use openssl::ssl::SslStream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::enrollment::{EnrollmentChallenge, EnrollmentRequest, EnrollmentResult};

use super::Client;
use crate::soft_tpm::SoftTpm;

/// A TLS 1.3 connection over which one request follows the other, as a device on a line keeps it.
///
/// It understands the answers of `ca-server` alone: a status, headers, a body of a told length.
pub struct Kept {
    stream: SslStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Kept {
    /// Connect.
    ///
    /// # Panics
    /// When there is no connection.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        let stream = client.connect();
        stream.get_ref().set_nodelay(true).expect("a socket");
        Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        }
    }

    /// Both calls, honestly.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn enroll(&mut self, tpm: &SoftTpm, request: &EnrollmentRequest) -> EnrollmentResult {
        let challenge = self.begin(request);
        let answer = tpm.answer(&challenge).expect("the credential is for this TPM");
        self.post(&format!("/v1/enrollments/{}/activation", challenge.id), &answer)
    }

    /// `POST /v1/enrollments`.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn begin(&mut self, request: &EnrollmentRequest) -> EnrollmentChallenge {
        self.post("/v1/enrollments", request)
    }

    /// `POST` of a body as JSON; the body of a success.
    ///
    /// # Panics
    /// When it is none.
    pub fn post<B: Serialize, T: DeserializeOwned>(&mut self, path: &str, body: &B) -> T {
        let body = serde_json::to_vec(body).expect("JSON");
        self.buffer.clear();
        write!(
            self.buffer,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .expect("memory");
        self.buffer.extend_from_slice(&body);
        self.stream.write_all(&self.buffer).expect("a request");
        let (status, at) = self.answer();
        let body = &self.buffer[at..];
        assert!(
            (200..300).contains(&status),
            "{status} {}",
            String::from_utf8_lossy(body)
        );
        serde_json::from_slice(body).expect("the body of a success")
    }

    /// Read one answer into the buffer: its status, and where the body begins.
    fn answer(&mut self) -> (u16, usize) {
        self.buffer.clear();
        let mut part = [0; 16 * 1024];
        let mut whole = None;
        loop {
            let read = self.stream.read(&mut part).expect("an answer");
            assert!(read > 0, "the server hung up");
            self.buffer.extend_from_slice(&part[..read]);
            if whole.is_none()
                && let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n")
            {
                let head = std::str::from_utf8(&self.buffer[..end]).expect("a head in ASCII");
                let status = head.get(9..12).and_then(|s| s.parse().ok()).expect("a status");
                let length = head
                    .lines()
                    .find_map(|l| {
                        l.split_once(": ")
                            .filter(|(n, _)| n.eq_ignore_ascii_case("content-length"))
                    })
                    .and_then(|(_, value)| value.parse::<usize>().ok())
                    .expect("a length");
                whole = Some((status, end + 4, end + 4 + length));
            }
            if let Some((status, at, end)) = whole
                && self.buffer.len() >= end
            {
                assert_eq!(self.buffer.len(), end, "nothing follows an answer");
                return (status, at);
            }
        }
    }
}
