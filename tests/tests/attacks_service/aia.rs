//! Intermediates that a server fetches: by a job, from listed hosts; and never because a device says so.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::vendor::{EkContent, VendorCa, ca_issuers};

/// A server that counts who comes, and gives everybody the same answer.
struct Canary {
    address: SocketAddr,
    seen: Arc<AtomicUsize>,
}

impl Canary {
    fn sings(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 1024];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(&answer);
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

fn http(status: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A TPM whose EK certificate says that its issuer is at `url`.
fn tpm(issuer: &VendorCa, url: &str) -> SoftTpm {
    let mut tpm = SoftTpm::p256(issuer);
    let content = EkContent {
        more: vec![ca_issuers(url)],
        ..EkContent::honest(&tpm.ek.key)
    };
    tpm.ek_certificate = issuer.ek_certificate(&tpm.ek.spki, &content);
    tpm
}

fn with_job(wanted: Wanted, hosts: &[&str], mirror: &[(&str, SocketAddr)], every: &str) -> Wanted {
    let resolve: Vec<String> = mirror
        .iter()
        .map(|(host, address)| format!("{host}={address}"))
        .collect();
    wanted
        .set("aia", "hosts", hosts.to_vec())
        .set("aia", "folder", "trust/fetched")
        .set("aia", "every", every)
        .set("aia", "resolve", resolve)
}

fn begin(rig: &Rig, tpm: &SoftTpm) -> u16 {
    let body = serde_json::to_vec(&tpm.request("device-ldevid", None, None)).unwrap();
    rig.client()
        .post_raw("/v1/enrollments", "application/json", &body)
        .status
}

/// Until it is so.
fn until(what: &str, so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Two intermediates are missing: the job climbs, and the next attempt finds both. After a restart they are there.
#[test]
fn d01_a_missing_intermediate_is_fetched_by_a_job_and_never_in_a_request() {
    // The vendor is that of the rig: its intermediates are made when there is one.
    let mut rig = Rig::initialised(&Wanted::default());
    let root = &rig.vendor;
    let upper = root.below("Kit Upper", &VendorCa::ca_extensions(None));
    let mut extensions = VendorCa::ca_extensions(None);
    extensions.push(ca_issuers("http://pki.upper.example/upper.crt"));
    let lower = upper.below("Kit Lower", &extensions);
    let above = Canary::sings(http("200 OK", "", &upper.certificate));
    let pem = openssl::x509::X509::from_der(&lower.certificate)
        .unwrap()
        .to_pem()
        .unwrap();
    let below = Canary::sings(http("200 OK", "", &pem));
    let hosts = ["pki.upper.example", "pki.lower.example"];
    let mirror = [(hosts[0], above.address), (hosts[1], below.address)];
    let url = "http://pki.lower.example/lower.crt";
    let [first, second] = [(); 2].map(|()| tpm(&lower, url));

    // A job that sleeps: the request itself asks nobody.
    rig.configure(&with_job(Wanted::default(), &hosts, &mirror, "1h").settings);
    rig.start();
    rig.allow("FIRST", &first);
    rig.allow("SECOND", &second);
    assert_eq!(begin(&rig, &first), 403);
    let _ = rig.stop();
    assert_eq!((below.seen(), above.seen()), (0, 0));

    rig.configure(&with_job(Wanted::default(), &hosts, &mirror, "100ms").settings);
    rig.start();
    assert_eq!(begin(&rig, &first), 403);
    let kept = || std::fs::read_dir(rig.path("trust/fetched")).map_or(0, Iterator::count);
    until("both are fetched", || kept() == 2);
    rig.client()
        .enroll(&first, &first.request("device-ldevid", None, None))
        .unwrap();
    assert_eq!((below.seen(), above.seen()), (1, 1));
    // Nothing of it is trusted: a stranger's chain that ends in them is as refused as before.
    let forged = tpm(&VendorCa::root("Kit Lower"), url);
    rig.allow("FORGED", &forged);
    assert_eq!(begin(&rig, &forged), 403);

    let _ = rig.stop();
    rig.start();
    rig.client()
        .enroll(&second, &second.request("device-ldevid", None, None))
        .unwrap();
    assert_eq!((below.seen(), above.seen()), (1, 1), "they were kept");
}

/// Whatever a certificate says, the server knocks where the operator said, and nowhere else.
#[test]
fn d01_what_a_device_says_makes_the_server_knock_nowhere() {
    let canary = Canary::sings(http("200 OK", "", b"\x30\x00"));
    let port = canary.address.port();
    let elsewhere = format!("Location: http://127.0.0.1:{port}/b.crt\r\n");
    let mirror = Canary::sings(http("302 Found", &elsewhere, b""));
    // Names of this machine are on the list, as a careless operator writes them: their addresses are not public.
    let hosts = ["pki.example", "localhost", "localhost.localdomain"];
    let rig = Rig::with(&with_job(
        Wanted::default(),
        &hosts,
        &[("pki.example", mirror.address)],
        "100ms",
    ));
    for url in [
        format!("http://127.0.0.1:{port}/a.crt"),
        format!("http://localhost:{port}/a.crt"),
        format!("http://[::1]:{port}/a.crt"),
        format!("http://pki.example@127.0.0.1:{port}/a.crt"),
        format!("http://pki.example:{port}/a.crt"),
        format!("http://pki.example.evil.invalid:{port}/a.crt"),
        "http://localhost/a.crt".to_owned(),
        "https://localhost/a.crt".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ldap://localhost/cn=ca".to_owned(),
    ] {
        let stranger = tpm(&VendorCa::root(&url), &url);
        assert_eq!(begin(&rig, &stranger), 403, "{url}");
    }
    // One after the other: when the last one was worked on, so were those before it. It points elsewhere.
    let last = tpm(&VendorCa::root("Last"), "http://pki.example/last.crt");
    assert_eq!(begin(&rig, &last), 403);
    until("the job came to the last one", || {
        rig.log().contains("points elsewhere")
    });
    assert_eq!((mirror.seen(), canary.seen()), (1, 0));
    // Again, and it rests.
    assert_eq!(begin(&rig, &last), 403);
    let marker = tpm(&VendorCa::root("Marker"), "http://pki.example/marker.crt");
    assert_eq!(begin(&rig, &marker), 403);
    until("the job came to the marker", || mirror.seen() == 2);
    assert_eq!(canary.seen(), 0);
    assert_eq!(std::fs::read_dir(rig.path("trust/fetched")).unwrap().count(), 0);
}

/// Without `[aia]` nothing is fetched, whatever certificates say.
#[test]
fn d01_without_aia_nobody_is_asked() {
    let rig = Rig::running();
    let canary = Canary::sings(http("200 OK", "", b"\x30\x00"));
    let url = format!("http://127.0.0.1:{}/a.crt", canary.address.port());
    assert_eq!(begin(&rig, &tpm(&VendorCa::root("Nobody"), &url)), 403);
    assert_eq!(canary.seen(), 0);
    for (hosts, why) in [
        (vec![], "name the hosts"),
        (vec!["127.0.0.1"], "by its name"),
        (vec!["*"], "by its name"),
    ] {
        let rig = Rig::initialised(&with_job(Wanted::default(), &hosts, &[], "1s"));
        let refused = rig.refuses_to_start();
        assert_eq!(refused.status.code(), Some(2), "{hosts:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why), "{hosts:?}");
    }
}
