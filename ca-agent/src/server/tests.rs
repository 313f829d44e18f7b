//! Against a TLS server that says what it is told to.

use wire::problem::{Problem, ProblemCode};

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
