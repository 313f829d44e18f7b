//! OCSP answers per second: release builds of the real server on SoftHSM, and `openssl ocsp` as responder in the same run,
//! with the same load on the same machine.
//!
//! ```text
//! cargo bench -p tests --bench ocsp -- [--seconds N] [--clients N] [--postgres]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a program for people that measures: what fails must stop it"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use issuance::ocsp::{CertId, CertIdForm, IssuerHashes, Nonce, OcspRequest};
use issuance::{Issuer, IssuerUrls, Serial, SignatureAlgorithm};

/// What to measure.
#[derive(Parser)]
struct Arguments {
    /// How long each run takes.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Clients at once.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Certificates that are asked about.
    #[arg(long, default_value_t = 64)]
    certificates: usize,
    /// Also on PostgreSQL.
    #[arg(long)]
    postgres: bool,
    /// Passed by cargo.
    #[arg(long)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    println!("{:<46}{:>10}{:>12}", "", "per s", "x openssl");
    let floor = openssl(&arguments);
    row("openssl ocsp -index, one connection each", floor, floor);
    let mut engines = vec![("SQLite", Wanted::default())];
    if arguments.postgres {
        engines.push(("PostgreSQL", Wanted::postgres()));
    }
    for (name, wanted) in engines {
        let (at, plain, nonces) = ours(&arguments, &wanted);
        let (_rig, at) = at;
        // Every certificate is asked about once: then all answers are kept.
        load(
            &arguments,
            arguments.clients,
            at,
            &plain,
            true,
            Some(Duration::from_millis(500)),
        );
        row(
            &format!("{name}, cached, connections kept"),
            load(&arguments, arguments.clients, at, &plain, true, None),
            floor,
        );
        row(
            &format!("{name}, cached, one connection each"),
            load(&arguments, arguments.clients, at, &plain, false, None),
            floor,
        );
        row(
            &format!("{name}, signed for each (nonce), connections kept"),
            load(&arguments, arguments.clients, at, &nonces, true, None),
            floor,
        );
    }
    println!("\naim: cached at least 20 x openssl ocsp (connections kept)");
}

fn row(name: &str, per_second: f64, floor: f64) {
    println!("{name:<46}{per_second:>10.0}{:>12.1}", per_second / floor);
}

/// A POST, whole.
fn http(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Answers per second. Each must be a success of the protocol, a basic response.
fn load(
    arguments: &Arguments,
    clients: usize,
    at: SocketAddr,
    requests: &[Vec<u8>],
    keep: bool,
    only: Option<Duration>,
) -> f64 {
    let (stop, count, next) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let time = only.unwrap_or(Duration::from_secs(arguments.seconds));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut kept: Option<TcpStream> = None;
                let mut buffer = vec![0; 8192];
                while !stop.load(Ordering::Relaxed) {
                    let request = &requests[next.fetch_add(1, Ordering::Relaxed) % requests.len()];
                    let mut stream = match kept.take() {
                        Some(stream) => stream,
                        None => {
                            let Ok(stream) = TcpStream::connect(at) else { continue };
                            stream.set_nodelay(true).expect("a socket");
                            stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
                            stream
                        }
                    };
                    if stream.write_all(request).is_err() || !answer(&mut stream, &mut buffer) {
                        // A queue that was full, or a server that is slow: not an answer.
                        continue;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    if keep {
                        kept = Some(stream);
                    }
                }
            });
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

/// How long an answer may take; one that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(2);

/// One answer: to its told length, or to the end of the connection. `false` when none came.
fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    let mut got = 0;
    loop {
        let Ok(read) = stream.read(&mut buffer[got..]) else {
            return false;
        };
        got += read;
        let text = &buffer[..got];
        let head = text.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        let Some(head) = head else {
            if read == 0 {
                return false;
            }
            continue;
        };
        let told = String::from_utf8_lossy(&text[..head]).to_lowercase();
        assert!(told.contains(" 200 "), "{told}");
        let length = told
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if length.map_or(read == 0, |length| got >= head + length) {
            // OCSPResponse with responseStatus successful.
            let body = &text[head..];
            assert!(
                body.len() > 200 && body.windows(3).take(8).any(|w| w == b"\x0a\x01\x00"),
                "{body:?}"
            );
            return true;
        }
        if read == 0 && length.is_some() {
            return false;
        }
    }
}

type Running = ((Rig, SocketAddr), Vec<Vec<u8>>, Vec<Vec<u8>>);

/// Our server, and requests without and with nonces.
fn ours(arguments: &Arguments, wanted: &Wanted) -> Running {
    let wanted = wanted
        .clone()
        .set("server", "status", "127.0.0.1:0")
        .set("ocsp", "key_id", "02")
        .set("ocsp", "fresh_rate", "off");
    let rig = Rig::with(&wanted);
    let pem = std::fs::read(rig.path("ca/chain.pem")).expect("the chain");
    let chain = openssl::x509::X509::stack_from_pem(&pem).expect("the chain");
    let chain: Vec<Vec<u8>> = chain.iter().map(|c| c.to_der().expect("the chain")).collect();
    let issuer = Issuer::from_chain(&chain, SignatureAlgorithm::EcdsaP256Sha256, IssuerUrls::default());
    let hashes = IssuerHashes::of(&issuer.expect("the chain"));
    let client = rig.client();
    let (mut plain, mut nonces) = (Vec::new(), Vec::new());
    for n in 0..arguments.certificates {
        let tpm = SoftTpm::p256(&rig.vendor);
        let name = format!("device-{n}");
        rig.allow(&name, &tpm);
        let result = client
            .enroll(&tpm, &tpm.request("device-ldevid", None, None))
            .expect("enrolled");
        let serial = hex::decode(&result.certificates[0].serial).expect("a serial");
        let id = CertId {
            form: CertIdForm::Sha1Null,
            serial: Serial::from_octets(serial.try_into().expect("a serial")).expect("a serial"),
        };
        plain.push(http("/ocsp", &OcspRequest::encode(id, &hashes, None)));
        let nonce = Nonce::new(&[0x5a; 32]);
        nonces.push(http("/ocsp", &OcspRequest::encode(id, &hashes, nonce.as_ref())));
    }
    let log = rig.server().log();
    let at = log.rsplit_once("status=").expect("a status listener").1;
    let end = at
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
        .unwrap_or(at.len());
    let at = at[..end].parse().expect("an address");
    ((rig, at), plain, nonces)
}

/// Ends a program with the measurement.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `openssl ocsp` as responder, with a delegate's P-256 key in a file and as many certificates in its index.
fn openssl(arguments: &Arguments) -> f64 {
    let dir = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| {
        let out = Command::new("openssl")
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .expect("openssl");
        assert!(
            out.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    };
    let key = |name: &str| run(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", name]);
    key("ca.key");
    key("ocsp.key");
    run(&[
        "req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=CA", "-days", "30", "-out", "ca.pem",
    ]);
    run(&[
        "req", "-new", "-key", "ocsp.key", "-subj", "/CN=OCSP", "-out", "ocsp.csr",
    ]);
    std::fs::write(
        dir.path().join("ext"),
        "extendedKeyUsage=OCSPSigning\nnoCheck=ignored\n",
    )
    .expect("a file");
    run(&[
        "x509",
        "-req",
        "-in",
        "ocsp.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-set_serial",
        "7",
        "-days",
        "30",
        "-extfile",
        "ext",
        "-out",
        "ocsp.pem",
    ]);
    let mut index = String::new();
    let mut requests = Vec::new();
    for n in 0..arguments.certificates {
        let serial = format!("4{n:031X}");
        index.push_str(&format!("V\t401231235959Z\t\t{serial}\tunknown\t/CN=device-{n}\n"));
        run(&[
            "ocsp",
            "-issuer",
            "ca.pem",
            "-serial",
            &format!("0x{serial}"),
            "-no_nonce",
            "-reqout",
            "req.der",
        ]);
        requests.push(http("/", &read(&dir.path().join("req.der"))));
    }
    std::fs::write(dir.path().join("index.txt"), index).expect("a file");
    std::fs::write(dir.path().join("index.txt.attr"), "unique_subject = no\n").expect("a file");
    let free = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port");
    let child = Command::new("openssl")
        .args([
            "ocsp",
            "-index",
            "index.txt",
            "-CA",
            "ca.pem",
            "-rsigner",
            "ocsp.pem",
            "-rkey",
            "ocsp.key",
        ])
        .args(["-nmin", "720", "-port", &free.port().to_string()])
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let _child = Killed(child);
    // A connection without a request would end its service: the first one asks.
    let patience = Instant::now();
    let first = || {
        let mut stream = TcpStream::connect(free).ok()?;
        stream.write_all(&requests[0]).ok()?;
        answer(&mut stream, &mut vec![0; 8192]).then_some(())
    };
    while first().is_none() {
        assert!(
            patience.elapsed() < Duration::from_secs(10),
            "openssl ocsp does not listen"
        );
        std::thread::yield_now();
    }
    // One process with one connection at a time: more clients than a few only wait in its queue.
    load(arguments, arguments.clients.min(4), free, &requests, false, None)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("a file")
}
