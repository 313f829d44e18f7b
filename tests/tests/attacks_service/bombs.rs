//! D03, D04, D14: what is too large, too deep, too many, or has no end.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use device_kit::der::{extension, octets, sequence, tlv};
use device_kit::rig::{Client, Rig};
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::{Verdict, evidence};
use device_kit::vendor::{EkContent, VendorCa};
use wire::problem::ProblemCode;

use crate::{cpu, house, resident, serves, sound};

/// Send these bytes; the status of the answer, or `None` when the connection ends without one.
pub(crate) fn status_of(client: &Client, request: &[u8]) -> Option<u16> {
    let mut stream = client.connect();
    // The server may end the connection before all is sent.
    let _ = stream.write_all(request);
    status(&mut stream)
}

fn status(stream: &mut impl std::io::Read) -> Option<u16> {
    let mut head = Vec::new();
    let mut byte = [0];
    while head.len() < 64 && stream.read(&mut byte).is_ok_and(|n| n == 1) && byte != *b"\n" {
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()?.split(' ').nth(1)?.parse().ok()
}

/// At most a second of wall clock in a debug build on a busy machine would be nothing; a bomb takes minutes.
const SOON: Duration = Duration::from_secs(10);

/// Processor time for one bomb: a tenth of a second, three times as much without optimisation.
const CHEAP: Duration = Duration::from_millis(300);

/// The server does this with little work.
fn cheaply<T>(rig: &Rig, what: &str, work: impl FnOnce() -> T) -> T {
    let before = cpu(rig);
    let outcome = work();
    let spent = cpu(rig).saturating_sub(before);
    assert!(spent <= CHEAP, "{what}: {spent:?} of processor time");
    outcome
}

#[test]
fn d03_chains_made_to_keep_a_verifier_busy() {
    let rig = house();
    let client = rig.client();
    let tpm = SoftTpm::p256(&rig.vendor);
    let content = EkContent::honest(&tpm.ek.key);
    let refused = |certificate: Vec<u8>, chain: Vec<Vec<u8>>| {
        let mut attack = tpm.request("device-ldevid", None, None);
        *evidence(&mut attack).ek_certificate = certificate.into();
        *evidence(&mut attack).ek_chain = chain.into_iter().map(Into::into).collect();
        cheaply(&rig, "a chain", || {
            rig.refuses_begin(&client, &attack, Verdict::attestation("EK_CHAIN"));
        });
    };
    // CAs that sign each other in a circle, under one name and several keys.
    let ca = VendorCa::ca_extensions(None);
    let stranger = VendorCa::root("Circle");
    let circle: Vec<VendorCa> = (0..15).map(|_| stranger.below("Circle", &ca)).collect();
    let made = circle[14].ek_certificate(&tpm.ek.spki, &content);
    refused(made, circle.iter().map(|c| c.certificate.clone()).collect());
    // One more than are looked at, the right one last.
    let mut line = vec![rig.vendor.below("Line 0", &ca)];
    for number in 1..20 {
        let next = line[number - 1].below(&format!("Line {number}"), &ca);
        line.push(next);
    }
    let made = line[19].ek_certificate(&tpm.ek.spki, &content);
    refused(made, line.iter().rev().map(|c| c.certificate.clone()).collect());
    // The twin: a line as long as is allowed.
    let made = line[2].ek_certificate(&tpm.ek.spki, &content);
    let mut honest = tpm.request("device-ldevid", None, None);
    *evidence(&mut honest).ek_certificate = made.into();
    *evidence(&mut honest).ek_chain = line[..3].iter().map(|c| c.certificate.clone().into()).collect();
    client.begin(&honest).unwrap();
    sound(&rig);
}

/// As many names as a body has room for.
#[test]
fn d03_an_endorsement_full_of_names() {
    let rig = house();
    let client = rig.client();
    let tpm = SoftTpm::p256(&rig.vendor);
    let names: Vec<u8> = (0..3_500)
        .flat_map(|n| tlv(0x82, format!("{n:05}.x").as_bytes()))
        .collect();
    let content = EkContent {
        san: Some(tlv(0x30, &names)),
        ..EkContent::honest(&tpm.ek.key)
    };
    let certificate = rig.vendor.ek_certificate(&tpm.ek.spki, &content);
    assert!(certificate.len() > 30_000);
    let mut attack = tpm.request("device-ldevid", None, None);
    *evidence(&mut attack).ek_certificate = certificate.into();
    let body = serde_json::to_vec(&attack).unwrap();
    let raw = cheaply(&rig, "names", || {
        client.post_raw("/v1/enrollments", "application/json", &body)
    });
    assert!(matches!(raw.status, 400 | 403), "{}", raw.status);
    client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
    sound(&rig);
}

#[test]
fn d04_nesting_and_lengths() {
    let rig = house();
    let client = rig.client();
    let tpm = SoftTpm::p256(&rig.vendor);
    let malformed = Verdict::of(ProblemCode::Malformed, "MALFORMED");
    let mut nested = vec![0x05, 0x00];
    while nested.len() < 40_000 {
        nested = tlv(0x30, &nested);
    }
    let depth_in_extension = {
        let content = EkContent {
            more: vec![extension("1.3.6.1.4.1.32473.1", false, &octets(&nested[..20_000]))],
            ..EkContent::honest(&tpm.ek.key)
        };
        rig.vendor.ek_certificate(&tpm.ek.spki, &content)
    };
    let open_ended = [0x30, 0x80].repeat(15_000);
    let lengths: [&[u8]; 6] = [
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x30, 0x7f],
        &[0x30, 0xff],
        &[0x1f, 0xff, 0xff, 0xff, 0x7f, 0x01, 0x00],
    ];
    let mut bombs: Vec<Vec<u8>> = lengths.iter().map(|l| l.to_vec()).collect();
    bombs.extend([nested, open_ended, sequence(&[&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]])]);
    for bomb in bombs {
        let mut attack = tpm.request("device-ldevid", None, None);
        *evidence(&mut attack).ek_certificate = bomb.clone().into();
        cheaply(&rig, "a nested certificate", || {
            rig.refuses_begin(&client, &attack, malformed)
        });
        // In the chain it is material that is of no use; the honest endorsement needs none.
        let mut request = tpm.request("device-ldevid", None, None);
        *evidence(&mut request).ek_chain = vec![bomb.into()];
        let body = serde_json::to_vec(&request).unwrap();
        let raw = cheaply(&rig, "a nested CA certificate", || {
            client.post_raw("/v1/enrollments", "application/json", &body)
        });
        assert!(matches!(raw.status, 201 | 400 | 403), "{}", raw.status);
    }
    // Depth inside of an extension nobody reads: nobody descends.
    let mut request = tpm.request("device-ldevid", None, None);
    *evidence(&mut request).ek_certificate = depth_in_extension.into();
    client.begin(&request).unwrap();
    serves(&rig);
    sound(&rig);
}

/// Send a body that never ends, until the server ends the connection; its answer. What comes behind the answer is
/// thrown away for as long as a connection may take to close, a second, and not longer.
fn endless(stream: &mut (impl std::io::Read + std::io::Write), head: &str) -> Option<u16> {
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 65_536], b"\r\n"].concat();
    let start = Instant::now();
    if stream.write_all(head.as_bytes()).is_ok() {
        while stream.write_all(&chunk).is_ok() {
            assert!(start.elapsed() < SOON, "the server reads for ever: {head}");
        }
    }
    status(stream)
}

#[test]
fn d14_bodies_without_an_end_on_every_route() {
    let rig = Rig::running();
    let client = rig.client();
    serves(&rig);
    let before = resident(&rig);
    let id = "enr_000102030405060708090a0b0c0d0e0f";
    let routes = [
        ("POST", "/v1/enrollments".to_owned()),
        ("POST", format!("/v1/enrollments/{id}/activation")),
        ("POST", "/v1/enrollments/x/activation".to_owned()),
        ("POST", format!("/v1/enrollments/{id}")),
        ("GET", format!("/v1/enrollments/{id}")),
        ("POST", "/v1/issuers".to_owned()),
        ("PUT", "/nothing/here".to_owned()),
        ("GET", "/livez".to_owned()),
    ];
    std::thread::scope(|scope| {
        for (method, path) in &routes {
            let client = &client;
            scope.spawn(move || {
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                );
                if let Some(status) = endless(&mut client.connect(), &head) {
                    assert!((200..500).contains(&status), "{method} {path}: {status}");
                }
            });
        }
        scope.spawn(|| {
            let socket = UnixStream::connect(rig.server().admin()).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let head = "POST /v1/devices HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = endless(&mut { socket }, head);
        });
    });
    let after = resident(&rig);
    assert!(
        after < before + 32 * 1024,
        "memory: {before} KiB before, {after} KiB after"
    );
    serves(&rig);
    sound(&rig);
}

/// Who goes on sending hears why, and is listened to for a second after that.
#[test]
fn d14_what_comes_behind_a_refusal_is_not_read_for_long() {
    let rig = house();
    let mut stream = rig.client().connect();
    let head = "POST /v1/enrollments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // The answer comes before the body has.
    assert_eq!(status(&mut stream), Some(413));
    let start = Instant::now();
    let mut taken = 0_u64;
    // A client that is slow, and does not stop: a connection that is only closed for reading would take all of it.
    while stream.write_all(&[b' '; 1024]).is_ok() && stream.flush().is_ok() {
        taken += 1024;
        assert!(
            start.elapsed() < Duration::from_millis(2_500),
            "{taken} bytes, and it reads on"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(stream);
    serves(&rig);
    sound(&rig);
}

#[test]
fn d14_lengths_that_are_announced() {
    let rig = house();
    let client = rig.client();
    let id = "enr_000102030405060708090a0b0c0d0e0f";
    for path in ["/v1/enrollments".to_owned(), format!("/v1/enrollments/{id}/activation")] {
        for length in ["65537", "10737418240", "4294967297", "18446744073709551615"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{"
            );
            assert_eq!(status_of(&client, head.as_bytes()), Some(413), "{length}");
        }
        for length in ["99999999999999999999999999", "-1", "+5", "0x10", "1e3", "", "5, 6"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{}}"
            );
            let status = status_of(&client, head.as_bytes());
            assert!(matches!(status, None | Some(400 | 413)), "{length:?}: {status:?}");
        }
        // Exactly as much as is taken, and one more.
        for (size, code) in [(65_536, ProblemCode::Malformed), (65_537, ProblemCode::PayloadTooLarge)] {
            let raw = client.post_raw(&path, "application/json", &vec![b' '; size]);
            assert_eq!(raw.problem().code, code, "{size}");
        }
    }
    serves(&rig);
    sound(&rig);
}

#[test]
fn d14_headers_without_an_end() {
    let rig = house();
    let client = rig.client();
    let before = resident(&rig);
    let mut stream = client.connect();
    stream
        .write_all(b"POST /v1/enrollments HTTP/1.1\r\nHost: localhost\r\n")
        .unwrap();
    let line = format!("X-Filler: {}\r\n", "x".repeat(8_000));
    let mut sent = 0_u64;
    while sent < 100_000_000 && stream.write_all(line.as_bytes()).is_ok() {
        sent += line.len() as u64;
    }
    assert!(sent < 100_000_000, "the server reads on");
    let status = status(&mut stream);
    assert!(status.is_none_or(|s| (400..500).contains(&s)), "{status:?}");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let after = resident(&rig);
    assert!(
        after < before + 32 * 1024,
        "memory: {before} KiB before, {after} KiB after"
    );
    serves(&rig);
    sound(&rig);
}
