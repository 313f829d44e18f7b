//! The status listener: what it serves, and how it lets itself be cached.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod kit;

use std::sync::Arc;

use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::{App, web};
use ca_server::config::{Limits, Rate};
use ca_server::house::{House, Parts};
use ca_server::http::{Front, Manners, status_gate, status_routes, whole};
use issuance::{Issuer, IssuerUrls, SignatureAlgorithm};
use kit::{Ca, limits, manners};

const CERTIFICATE: &str = "/ca/issuing.cer";

/// A house whose certificates carry URLs.
fn house(ca: &Ca) -> Arc<House> {
    let urls = IssuerUrls {
        ca_issuers: Some(format!("http://pki.example.net{CERTIFICATE}")),
        ..IssuerUrls::default()
    };
    let issuer = Issuer::from_chain(&ca.chain, SignatureAlgorithm::EcdsaP256Sha256, urls).unwrap();
    let parts = Parts {
        issuer,
        ..ca.parts(&ca.store())
    };
    Arc::new(House::new(parts).unwrap())
}

macro_rules! serve {
    ($house:expr, $limits:expr) => {
        test::init_service(
            App::new()
                .app_data(web::Data::new(Front::new(
                    $house,
                    Manners {
                        limits: $limits,
                        ..manners()
                    },
                )))
                .wrap(from_fn(whole))
                .wrap(from_fn(status_gate))
                .configure(status_routes),
        )
        .await
    };
}

macro_rules! call {
    ($service:expr, $request:expr) => {{
        let peer = "192.0.2.1:4000".parse().unwrap();
        let response = test::call_service($service, $request.peer_addr(peer).to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, test::read_body(response).await)
    }};
}

#[actix_web::test]
async fn the_issuing_cas_certificate_lies_under_its_url() {
    let ca = Ca::rehearse();
    let house = house(&ca);
    let service = serve!(Arc::clone(&house), limits());
    let (status, headers, body) = call!(&service, TestRequest::get().uri(CERTIFICATE));
    assert_eq!(status, StatusCode::OK);
    assert_eq!(Some(&body.to_vec()), ca.chain.first());
    assert_eq!(headers.get(header::CONTENT_TYPE).unwrap(), "application/pkix-cert");
    assert_eq!(
        headers.get(header::CACHE_CONTROL).unwrap(),
        "public, max-age=86400, no-transform"
    );
    let tag = headers.get(header::ETAG).unwrap().to_str().unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.len() == 34, "{tag}");
    for (said, expected) in [
        (tag.clone(), StatusCode::NOT_MODIFIED),
        (format!("\"x\", W/{tag}"), StatusCode::NOT_MODIFIED),
        ("*".to_owned(), StatusCode::NOT_MODIFIED),
        ("\"x\"".to_owned(), StatusCode::OK),
        (tag.replace('"', ""), StatusCode::OK),
    ] {
        let request = TestRequest::get()
            .uri(CERTIFICATE)
            .insert_header((header::IF_NONE_MATCH, said.as_str()));
        let (status, headers, body) = call!(&service, request);
        assert_eq!(status, expected, "{said}");
        assert_eq!(headers.get(header::ETAG).unwrap(), tag.as_str());
        assert_eq!(body.is_empty(), expected == StatusCode::NOT_MODIFIED);
    }
    let text = house.metrics.render(true, false);
    let counted = "ca_http_answers_total{route=\"ca-certificate\",status=\"304\"} 3";
    assert!(text.contains(counted), "{text}");
}

#[actix_web::test]
async fn nothing_else_is_there() {
    let ca = Ca::rehearse();
    let service = serve!(house(&ca), limits());
    for path in [
        "//",
        "/trust/",
        "/trust/x",
        "/trust/ledger.vkey",
        "/verify/00",
        "/ledger/leaf/0",
        "/ca/issuing.cer?x",
        "/ca/issuing%2ecer",
        "//ca/issuing.cer",
        "/metrics",
        "/v1/issuers",
        "/v1/devices",
    ] {
        let (status, ..) = call!(&service, TestRequest::get().uri(path));
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let (status, headers, _) = call!(&service, TestRequest::default().method(method).uri(CERTIFICATE));
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(headers.get(header::ALLOW).unwrap(), "GET, HEAD");
    }
    // The trust page is there without a ledger, too.
    for path in ["/", "/trust", "/trust/roots.pem", "/trust/chain.pem", "/livez"] {
        let (status, ..) = call!(&service, TestRequest::get().uri(path));
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    let (status, ..) = call!(&service, TestRequest::post().uri("/trust"));
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (status, ..) = call!(&service, TestRequest::get().uri("/livez"));
    assert_eq!(status, StatusCode::OK);
}

#[actix_web::test]
async fn who_asks_too_often_waits() {
    let ca = Ca::rehearse();
    let once = Rate::Per(1.try_into().unwrap(), std::time::Duration::from_secs(60));
    let limits = Limits {
        rate_per_source: once,
        ..limits()
    };
    let service = serve!(house(&ca), limits);
    let (status, ..) = call!(&service, TestRequest::get().uri(CERTIFICATE));
    assert_eq!(status, StatusCode::OK);
    let (status, headers, _) = call!(&service, TestRequest::get().uri(CERTIFICATE));
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(headers.contains_key(header::RETRY_AFTER));
}

/// What a ceremony published is served as it lies there now, and nothing beside it.
#[actix_web::test]
async fn what_ceremonies_published_lies_below_ca() {
    let ca = Ca::rehearse();
    let house = house(&ca);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("published");
    std::fs::create_dir(&folder).unwrap();
    for (name, content) in [
        ("root.cer", "cer"),
        ("root.crl", "one"),
        ("key.pem", "secret"),
        (".x.cer", "hidden"),
    ] {
        std::fs::write(folder.join(name), content).unwrap();
    }
    std::fs::write(dir.path().join("outside.cer"), "outside").unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside.cer"), folder.join("link.cer")).unwrap();
    let front = Front::new(
        house,
        Manners {
            published: Some(folder.clone()),
            ..manners()
        },
    );
    let service = test::init_service(
        App::new()
            .app_data(web::Data::new(front))
            .wrap(from_fn(whole))
            .wrap(from_fn(status_gate))
            .configure(status_routes),
    )
    .await;
    let (status, headers, body) = call!(&service, TestRequest::get().uri("/ca/root.cer"));
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"cer"[..]));
    assert_eq!(headers.get("content-type").unwrap(), "application/pkix-cert");
    let (_, headers, body) = call!(&service, TestRequest::get().uri("/ca/root.crl"));
    assert_eq!(
        (&body[..], headers.get("content-type").unwrap().as_bytes()),
        (&b"one"[..], &b"application/pkix-crl"[..])
    );
    std::fs::write(folder.join("root.crl"), "two").unwrap();
    let (_, _, body) = call!(&service, TestRequest::get().uri("/ca/root.crl"));
    assert_eq!(&body[..], b"two");
    for path in [
        "/ca/key.pem",
        "/ca/.x.cer",
        "/ca/link.cer",
        "/ca/../outside.cer",
        "/ca/%2e%2e/outside.cer",
        "/ca/..%2foutside.cer",
        "/ca/none.cer",
        "/ca/",
        "/root.cer",
    ] {
        let (status, _, _) = call!(&service, TestRequest::get().uri(path));
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
}
