//! What the server says, and what it does not.

use device_kit::rig::Server;

use crate::kit::{Stand, until};

struct Said {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Said {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

fn asked(server: &Server, method: &str, path: &str, tag: Option<&str>) -> Said {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .into();
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", server.status()));
    if let Some(tag) = tag {
        request = request.header("if-none-match", tag);
    }
    let mut answer = agent.run(request.body(()).unwrap()).unwrap();
    let headers = answer.headers().iter();
    let headers = headers
        .map(|(key, value)| (key.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    Said {
        status: answer.status().as_u16(),
        headers,
        body: answer.body_mut().read_to_string().unwrap(),
    }
}

#[test]
fn pages_are_closed_in_themselves_and_kept_by_caches() {
    let stand = Stand::new();
    let server = stand.server();
    let serial = &stand.devices[0].serial;
    for path in ["/", "/trust", "/ledger/leaf/0", &format!("/verify/{serial}")] {
        let said = asked(server, "GET", path, None);
        assert_eq!(said.status, 200, "{path}");
        assert_eq!(said.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = said.header("content-security-policy").unwrap();
        let (style, _) = said.body.split_once("</style>").unwrap();
        let (_, style) = style.split_once("<style>").unwrap();
        let digest = openssl::base64::encode_block(&openssl::sha::sha256(style.as_bytes()));
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
            )
        );
        for (header, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "public, max-age=60, no-transform"),
        ] {
            assert_eq!(said.header(header), Some(value), "{path} {header}");
        }
        for word in [
            "<script",
            " style=",
            " onload",
            "javascript:",
            "<img",
            "<link",
            "@import",
            "url(",
        ] {
            assert!(!said.body.contains(word), "{path}: {word}");
        }
        assert!(said.body.contains("<strong>REHEARSAL</strong>"), "{path}");
        let head = asked(server, "HEAD", path, None);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(asked(server, "POST", path, None).status, 405, "{path}");
    }
    let leaf = asked(server, "GET", "/ledger/leaf/0", None);
    let tag = leaf.header("etag").unwrap().to_owned();
    // While the tree stands still the page does; else it is another page.
    let again = asked(server, "GET", "/ledger/leaf/0", Some(&tag));
    assert!(again.status == 304 || again.header("etag") != Some(tag.as_str()));
}

#[test]
fn of_what_is_not_in_the_tree_nothing_is_said() {
    let stand = Stand::new();
    let server = stand.server();
    let serial = &stand.devices[0].serial;
    let nothing = asked(server, "GET", &format!("/verify/{}", "00".repeat(16)), None);
    assert_eq!(nothing.status, 404);
    for path in [
        "/verify/".to_owned(),
        "/verify/zz".to_owned(),
        "/verify".to_owned(),
        "/verify?serial=%3Cb%3E".to_owned(),
        "/ledger/leaf/".to_owned(),
        "/ledger/leaf/00".to_owned(),
        "/ledger/leaf/-1".to_owned(),
        "/ledger/leaf/99999999999999999999".to_owned(),
        "/ledger/leaf/9223372036854775807".to_owned(),
        "/ledger/leaf/1000000".to_owned(),
        format!("/verify/{}", serial.to_uppercase()),
        format!("/verify/{serial}00"),
        format!("/verify/{serial}/"),
    ] {
        let said = asked(server, "GET", &path, None);
        assert_eq!((said.status, &said.body), (404, &nothing.body), "{path}");
    }
    let typed = asked(
        server,
        "GET",
        &format!("/verify?serial=0x{}", serial.to_uppercase()),
        None,
    );
    assert_eq!(
        (typed.status, typed.header("location")),
        (303, Some(format!("/verify/{serial}").as_str()))
    );
}

#[test]
fn the_pages_say_what_is_so_and_no_more() {
    let stand = Stand::new();
    let serial = &stand.devices[0].serial;
    let page = stand.page(&format!("/verify/{serial}"));
    assert!(
        page.contains("Good now") && page.contains(&hex::encode(openssl::sha::sha256(&stand.devices[0].certificate.0)))
    );
    // Neither the device's name nor its EK is public.
    let (code, said) = stand.rig.admin_call("GET", "/v1/devices/GW-1", &[]);
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(code, 200, "{said}");
    let device: serde_json::Value = serde_json::from_str(&said).unwrap();
    let ek = device["ek_spki_sha256"].as_str().unwrap_or_else(|| panic!("{said}"));
    for path in [
        "/trust".to_owned(),
        format!("/verify/{serial}"),
        "/ledger/leaf/0".to_owned(),
    ] {
        let page = stand.page(&path);
        assert!(!page.contains("GW-1") && !page.contains(ek), "{path}");
    }
    let out = stand
        .rig
        .command("ca-cli")
        .args(["revoke", serial, "--reason", "keyCompromise"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let page = stand.page(&format!("/verify/{serial}"));
    assert!(page.contains("Now revoked") && page.contains("keyCompromise"));
    // The trust page says the fingerprint in three ways, and everything that the files hold.
    let trust = stand.page("/trust");
    let root = std::fs::read(stand.rig.path("ca/root.pem")).unwrap();
    let der = openssl::x509::X509::from_pem(&root).unwrap().to_der().unwrap();
    let sha256 = openssl::sha::sha256(&der);
    assert!(trust.contains(&hex::encode(sha256)));
    for group in display::groups(&sha256).split_whitespace() {
        assert!(trust.contains(&format!("<li>{group}</li>")));
    }
    let words: Vec<&str> = trust
        .split("class=\"words\">")
        .nth(1)
        .unwrap()
        .split("</ol>")
        .next()
        .unwrap()
        .split("<li>")
        .collect();
    let words: Vec<&str> = words[1..].iter().map(|word| word.trim_end_matches("</li>")).collect();
    assert_eq!(display::from_words(&words), Some(sha256));
    let pem = String::from_utf8(until(stand.server(), "/trust/roots.pem")).unwrap();
    assert_eq!(
        openssl::x509::X509::from_pem(pem.as_bytes()).unwrap().to_der().unwrap(),
        der
    );
    let key = String::from_utf8(until(stand.server(), "/trust/ledger.vkey")).unwrap();
    assert!(trust.contains(key.trim()));
    assert!(trust.contains("http://pki.example.net/"), "URLs of certificates");
}

/// `ca-cli trust page`: what the server shows, as files.
#[test]
fn the_trust_page_as_files_is_that_of_the_server() {
    let stand = Stand::new();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("site");
    let run = |from: &str| {
        let output = std::process::Command::new(device_kit::rig::binary("ca-cli"))
            .args(["trust", "page", "--from", from, "--out"])
            .arg(&out)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert_eq!(run(&stand.url("/")).0, Some(0));
    for (file, path) in [
        ("trust/roots.pem", "/trust/roots.pem"),
        ("trust/chain.pem", "/trust/chain.pem"),
        ("trust/ledger.vkey", "/trust/ledger.vkey"),
    ] {
        assert_eq!(
            std::fs::read(out.join(file)).unwrap(),
            until(stand.server(), path),
            "{file}"
        );
    }
    // The page says when it was written, and the tree of then: it is looked at until both are of one moment.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let before = stand.page("/trust");
        assert_eq!(run(&stand.url("")).0, Some(0));
        let page = std::fs::read_to_string(out.join("index.html")).unwrap();
        if page == before {
            break;
        }
        assert!(std::time::Instant::now() < end, "never the same");
    }
    // Every file that the page links to beside itself is there, and nothing else.
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    let beside = page
        .split("href=\"trust/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let mut beside: Vec<&str> = beside.collect();
    beside.sort_unstable();
    let files = std::fs::read_dir(out.join("trust")).unwrap();
    let mut files: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, beside);
    // Nothing is written where nothing was read, and only over http.
    std::fs::remove_dir_all(&out).unwrap();
    assert_eq!(run(&stand.url("/nowhere")).0, Some(4));
    assert_eq!(run("https://pki.example.net").0, Some(2));
    assert!(!out.exists());
}
