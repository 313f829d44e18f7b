//! What only shows on real sockets: TLS, time-outs, endless bodies, ambiguous framing, the administration socket, and
//! the end.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod kit;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ca_server::config::{Limits, Rate, Server, Tls};
use ca_server::house::House;
use ca_server::http::{Addresses, Manners, Serving, acceptor};
use device_kit::soft_tpm::SoftTpm;
use kit::{Ca, allow, pem, secret_file};
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVersion};
use openssl::x509::X509;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use wire::enrollment::EnrollmentChallenge;

struct Running {
    ca: Ca,
    house: Arc<House>,
    addresses: Addresses,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn limits() -> Limits {
    Limits {
        body: 65_536,
        concurrency: 8,
        queue: 8,
        queue_deadline: Duration::from_secs(5),
        rate_per_source: Rate::Off,
        rate_total: Rate::Off,
        connections: 100,
        handshake_timeout: Duration::from_secs(3),
        header_timeout: Duration::from_secs(3),
        body_timeout: Duration::from_secs(3),
        keep_alive: Duration::from_secs(5),
    }
}

impl Running {
    fn start() -> Self {
        let ca = Ca::rehearse();
        let store = ca.store();
        let house = ca.house(&store);
        let chain = [pem(&ca.tls_certificate), pem(&ca.chain[0])].concat();
        std::fs::write(ca.path("tls.pem"), chain).unwrap();
        secret_file(&ca.path("tls.key"), &ca.tls_key.private_key_to_pem_pkcs8().unwrap());
        let tls = Tls {
            certificate: ca.path("tls.pem"),
            key: ca.path("tls.key"),
        };
        let server = Server {
            name: "Example Devices CA".to_owned(),
            rehearsal: true,
            public: "127.0.0.1:0".parse().unwrap(),
            metrics: Some("127.0.0.1:0".parse().unwrap()),
            status: Some("127.0.0.1:0".parse().unwrap()),
            published: None,
            admin: Some(ca.path("admin.sock")),
            base_url: None,
            shutdown_grace: Duration::from_secs(10),
            workers: Some(2),
            clock_tolerance: Duration::from_secs(300),
        };
        let manners = Manners {
            published: None,
            limits: limits(),
            base_url: String::new(),
            signer_stale: Duration::from_secs(90),
            operators: ca_server::config::Operators::default(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let shared = Arc::clone(&house);
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let serving = Serving::start(shared, manners, &server, acceptor(&tls).unwrap())
                    .await
                    .unwrap();
                tell.send(serving.addresses.clone()).unwrap();
                let end = async {
                    let _ = stopped.await;
                };
                serving.until(end).await.unwrap();
            });
        });
        Self {
            addresses: told.recv().unwrap(),
            ca,
            house,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addresses.public).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn try_tls(&self, highest: SslVersion) -> Result<SslStream<TcpStream>, String> {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_max_proto_version(Some(highest)).unwrap();
        let root = X509::from_der(self.ca.chain.last().unwrap()).unwrap();
        connector.cert_store_mut().add_cert(root).unwrap();
        connector
            .build()
            .connect("localhost", self.tcp())
            .map_err(|error| error.to_string())
    }

    fn tls(&self) -> SslStream<TcpStream> {
        self.try_tls(SslVersion::TLS1_3).unwrap()
    }

    /// Send `text`, and read until the server closes.
    fn say(&self, text: &str) -> String {
        let mut stream = self.tls();
        stream.write_all(text.as_bytes()).unwrap();
        rest(&mut stream)
    }

    fn admin(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = UnixStream::connect(self.addresses.admin.as_ref().unwrap()).unwrap();
        let kind = if body.is_empty() {
            ""
        } else {
            "content-type: application/json\r\n"
        };
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n{kind}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).unwrap();
        let answer = rest(&mut stream);
        (status(&answer), serde_json::from_str(content(&answer)).unwrap())
    }

    fn end(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Everything until the end; a reset is an end.
fn rest(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => panic!("the server neither answers nor closes"),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status(answer: &str) -> u16 {
    answer
        .get(9..12)
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no status: {answer:?}"))
}

fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn tls_is_1_3_with_the_servers_own_chain() {
    let running = Running::start();
    let stream = running.tls();
    assert_eq!(stream.ssl().version_str(), "TLSv1.3");
    let refused = running.try_tls(SslVersion::TLS1_2).unwrap_err();
    assert!(refused.contains("protocol version"), "{refused}");
}

// D07
#[test]
fn who_says_nothing_is_not_waited_for() {
    let running = Running::start();
    let start = Instant::now();
    let mut silent = running.tcp();
    assert_eq!(rest(&mut silent), "", "no handshake");
    let mut half = running.tls();
    half.write_all(b"POST /v1/enrollments HTTP/1.1\r\nhost: x\r\nx-")
        .unwrap();
    let answer = rest(&mut half);
    assert!(
        answer.is_empty() || status(&answer) == 408,
        "no end of the head: {answer}"
    );
    let mut body = running.tls();
    body.write_all(
        b"POST /v1/enrollments HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    )
    .unwrap();
    let answer = rest(&mut body);
    assert_eq!(status(&answer), 400, "no end of the body: {answer}");
    assert!(answer.contains("took too long"));
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

// D14
#[test]
fn an_endless_body_is_cut_off() {
    let running = Running::start();
    for path in [
        "/v1/enrollments",
        "/v1/enrollments/enr_00000000000000000000000000000000/activation",
        "/v1/issuers",
    ] {
        let mut stream = running.tls();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = [b"4000\r\n".as_slice(), &[b' '; 0x4000], b"\r\n"].concat();
        let start = Instant::now();
        while stream.write_all(&chunk).is_ok() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{path}: the server reads for ever"
            );
        }
    }
}

/// A body that announces no length is counted as it comes.
#[test]
fn a_chunked_body_has_the_same_limit() {
    let running = Running::start();
    for (size, expected) in [(65_536, 400), (65_537, 413)] {
        let mut stream = running.tls();
        let head = format!(
            "POST /v1/enrollments HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{size:x}\r\n"
        );
        let body = [head.as_bytes(), &vec![b' '; size], b"\r\n0\r\n\r\n"].concat();
        stream.write_all(&body).unwrap();
        let answer = rest(&mut stream);
        assert_eq!(status(&answer), expected, "{size} bytes: {answer}");
    }
}

#[test]
fn an_endless_head_is_cut_off() {
    let running = Running::start();
    let mut stream = running.tls();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n").unwrap();
    let start = Instant::now();
    while stream
        .write_all(b"x-filler: 0123456789012345678901234567890123456789\r\n")
        .is_ok()
    {
        assert!(start.elapsed() < Duration::from_secs(60), "the server reads for ever");
    }
}

// D08
#[test]
fn ambiguous_framing_is_refused() {
    let running = Running::start();
    let post = |head: &str, body: &str| {
        let text = format!(
            "POST /v1/enrollments HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n{head}\r\n\r\n{body}"
        );
        running.say(&text)
    };
    let smuggled = "GET /v1/issuers HTTP/1.1\r\nhost: x\r\n\r\n";
    for head in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "content-length: 4\r\ncontent-length: 5",
        "content-length: +5",
        "content-length: 5, 5",
        "content-length: 0x5",
        "content-length: -1",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: xchunked",
        "content-length : 5",
    ] {
        let answer = post(head, &format!("0\r\n\r\n{smuggled}"));
        assert!(
            !answer.contains("root_sha256"),
            "{head}: the second request was answered:\n{answer}"
        );
        assert!((400..500).contains(&status(&answer)), "{head}: {answer}");
    }
}

#[test]
fn the_administration_socket_is_for_its_owner() {
    let running = Running::start();
    let path = running.addresses.admin.clone().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ek = "ab".repeat(32);
    let body = json!({ "name": "gw-1", "ek_spki_sha256": ek, "batch": "lot 7", "reason": "first lot" }).to_string();
    let (status, device) = running.admin("POST", "/v1/devices", &body);
    assert_eq!((status, device["state"].as_str()), (201, Some("allowed")), "{device}");
    let (status, _) = running.admin("POST", "/v1/devices", &body);
    assert_eq!(status, 201, "the same again is a success");
    let other = json!({ "name": "gw-1", "ek_spki_sha256": "cd".repeat(32) }).to_string();
    let (status, problem) = running.admin("POST", "/v1/devices", &other);
    assert_eq!((status, problem["code"].as_str()), (409, Some("identity_conflict")));
    let taken = json!({ "name": "gw-2", "ek_spki_sha256": ek }).to_string();
    let (status, problem) = running.admin("POST", "/v1/devices", &taken);
    assert_eq!((status, problem["code"].as_str()), (409, Some("identity_conflict")));
    assert!(problem["detail"].as_str().unwrap().contains("gw-1"), "people are told");
    for bad in [
        json!({ "name": "", "ek_spki_sha256": ek }),
        json!({ "name": "a/b", "ek_spki_sha256": ek }),
        json!({ "name": "gw-3" }),
        json!({ "name": "gw-3", "ek_spki_sha256": "AB".repeat(32) }),
        json!({ "name": "gw-3", "ek_spki_sha256": "ab" }),
        json!({ "name": "gw-3", "first_contact_until": 1, "dns_names": ["*.example"] }),
        json!({ "name": "gw-3", "first_contact_until": 1, "spiffe_id": "http://x" }),
        json!({ "name": "gw-3", "first_contact_until": 1, "reason": "a\nb" }),
        json!({ "name": "gw-3", "first_contact_until": "1" }),
        json!({ "name": "gw-3", "first_contact_until": 1, "more": 1 }),
    ] {
        let (status, problem) = running.admin("POST", "/v1/devices", &bad.to_string());
        assert_eq!((status, problem["code"].as_str()), (400, Some("malformed")), "{bad}");
    }
    let (status, _) = running.admin(
        "POST",
        "/v1/devices",
        &json!({ "name": "gw-3", "first_contact_until": 1 }).to_string(),
    );
    assert_eq!(status, 201, "what the bad ones were but for one thing");

    let (_, page) = running.admin("GET", "/v1/devices?limit=1", "");
    assert_eq!(page["items"][0]["name"], "gw-1");
    let next = page["next"].as_str().unwrap();
    let (_, page) = running.admin("GET", &format!("/v1/devices?limit=1&cursor={next}"), "");
    assert_eq!(page["items"][0]["name"], "gw-3");
    assert_eq!(page["items"][0]["state"], "expected");
    let (_, page) = running.admin("GET", "/v1/devices?batch=lot%207", "");
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=x",
        "nam=x",
        "q=a&q=b",
        "expires_before=1.5",
    ] {
        assert_eq!(
            running.admin("GET", &format!("/v1/devices?{query}"), "").0,
            400,
            "{query}"
        );
    }
    assert_eq!(running.admin("GET", "/v1/devices/nobody", "").0, 404);
    assert_eq!(running.admin("GET", "/v1/devices/nobody/tree", "").0, 404);
    assert_eq!(running.admin("DELETE", "/v1/devices", "").0, 405);
    assert_eq!(
        running.admin("POST", "/v1/enrollments", "{}").0,
        404,
        "devices have their own door"
    );
    let (_, audit) = running.admin("GET", "/v1/audit?subject=gw-1", "");
    assert_eq!(audit["items"][0]["action"], "device.allowed");
    assert_eq!(audit["items"][0]["detail"], "first lot");
    let uid = std::fs::metadata(&path)
        .map(|m| std::os::unix::fs::MetadataExt::uid(&m))
        .unwrap();
    assert_eq!(audit["items"][0]["actor"], format!("uid:{uid}"));
    assert_eq!(running.admin("GET", "/v1/orphans", "").1, json!({ "items": [] }));
    assert_eq!(running.admin("GET", "/v1/issuers", "").1["name"], "Example Devices CA");
}

/// The socket's mode is opened, so that exactly the peer's uid is what refuses.
#[test]
fn another_user_of_this_host_is_refused() {
    use std::os::unix::process::CommandExt as _;
    let running = Running::start();
    let path = running.addresses.admin.clone().unwrap();
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    open(running.ca.directory.path(), 0o755);
    open(&path, 0o666);
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).unwrap()) != 0 {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let curl = |uid: u32| {
        let output = std::process::Command::new("curl")
            .uid(uid)
            .args([
                "--silent",
                "--unix-socket",
                path.to_str().unwrap(),
                "http://admin/v1/orphans",
            ])
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(curl(65_534)["code"], "forbidden");
    assert_eq!(curl(0)["items"], json!([]));
}

#[test]
fn a_device_and_its_tree_as_people_see_them() {
    let running = Running::start();
    let tpm = SoftTpm::p256(&running.ca.vendor);
    allow(&running.house.store, "gw-1", Some(tpm.ek.sha256()), None);
    let request = tpm.request("device-ldevid", None, None);
    let challenge = ca_server::flow::enroll::begin(&running.house, "test", request).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    ca_server::flow::enroll::activate(&running.house, "test", challenge.id, &answer).unwrap();
    let (status, tree) = running.admin("GET", "/v1/devices/gw-1/tree", "");
    assert_eq!(status, 200);
    let tree: wire::admin::DeviceTree = serde_json::from_value(tree).unwrap();
    assert_eq!(tree.device.state, "active");
    assert_eq!(tree.issuers.len(), 2);
    assert_eq!(tree.evidence.len(), 1);
    assert_eq!(tree.evidence[0].serials, [tree.device.certificates[0].serial.clone()]);
    assert_eq!(
        hex::encode(openssl::sha::sha256(&tree.evidence[0].bytes.0)),
        tree.evidence[0].sha256
    );
    let tpm_facts = tree.device.tpm.unwrap();
    assert_eq!(tpm_facts.assurance, "software");
    assert_eq!(tpm_facts.manufacturer, "id:49465800");
}

#[test]
fn at_the_end_who_is_inside_is_served() {
    let mut running = Running::start();
    let tpm = SoftTpm::p256(&running.ca.vendor);
    allow(&running.house.store, "gw-1", Some(tpm.ek.sha256()), None);
    let post = |path: &str, body: String| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let body = serde_json::to_string(&tpm.request("device-ldevid", None, None)).unwrap();
    let answer = running.say(&post("/v1/enrollments", body));
    assert_eq!(status(&answer), 201, "{answer}");
    let challenge: EnrollmentChallenge = serde_json::from_str(content(&answer)).unwrap();
    let body = serde_json::to_string(&tpm.answer(&challenge).unwrap()).unwrap();
    let path = format!("/v1/enrollments/{}/activation", challenge.id);
    let request = post(&path, body);

    let key = Arc::clone(&running.ca.key);
    let held = key.hold();
    let mut stream = running.tls();
    stream.write_all(request.as_bytes()).unwrap();
    while key.count() == 0 {
        std::thread::yield_now();
    }
    let stop = running.stop.take().unwrap();
    stop.send(()).unwrap();
    // The listener closes first; who is inside is still there.
    while TcpStream::connect(running.addresses.public).is_ok() {
        std::thread::yield_now();
    }
    drop(held);
    let answer = rest(&mut stream);
    assert_eq!(status(&answer), 200, "{answer}");
    running.thread.take().unwrap().join().unwrap();
    assert!(
        !running.addresses.admin.as_ref().unwrap().exists(),
        "the socket is gone"
    );
}

#[test]
fn metrics_have_their_own_door() {
    let running = Running::start();
    let mut stream = TcpStream::connect(running.addresses.metrics.unwrap()).unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let answer = rest(&mut stream);
    assert_eq!(status(&answer), 200, "{answer}");
}
