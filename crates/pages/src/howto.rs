//! How to verify, in commands that a test runs.

use core::fmt::Write as _;

use maud::{Markup, html};

use crate::LEVELS;
use crate::facts::Trust;
use crate::frame::code;

/// So many CRLs are fetched by the commands; more are not what one copies by hand.
const FETCHED: usize = 16;

/// What is fetched, and compared.
fn fetch(trust: &Trust<'_>) -> String {
    let mut text = String::new();
    if let Some(base) = &trust.base {
        for file in ["roots.pem", "chain.pem"] {
            let _ = writeln!(text, "curl -fsS -o {file} {}", shell(&format!("{base}/trust/{file}")));
        }
    }
    text.push_str("openssl x509 -in roots.pem -noout -fingerprint -sha256    # as above? only then go on\n");
    for (place, crl) in trust.lists.crls.iter().take(FETCHED).enumerate() {
        let to = if place == 0 { ">" } else { ">>" };
        let _ = writeln!(
            text,
            "curl -fsS {} | openssl crl -inform DER {to} crl.pem",
            shell(&crl.url)
        );
    }
    text
}

/// A word that a shell takes as it is.
pub(crate) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-@%+=,".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

const OPENSSL: &str = "openssl verify -x509_strict -purpose sslclient -crl_check -CRLfile crl.pem \\
    -CAfile roots.pem -untrusted chain.pem device.pem
openssl x509 -in device.pem -noout -ext certificatePolicies
";

const BUNDLE: &str = "python3 -B bundle.py device.pem device.bundle.tar --trust trust
";

pub(crate) fn section(trust: &Trust<'_>) -> Markup {
    html! {
        section #verify aria-labelledby="verify-title" {
            h2 #verify-title { "How to verify" }
            p {
                "A chain says that the certificate is ours; its policy says where the key lives. Ask for both: "
                "the root also stands above keys in software TPMs, if a site permits them."
            }
            (levels())
            div .card {
                h3 { "First: the files, and the comparison" }
                (code("do-fetch", "Commands: fetch and compare", &fetch(trust)))
            }
            div .card {
                h3 { "OpenSSL" }
                p { "The certificate of a device, at a desk." }
                (code("do-openssl", "Commands for OpenSSL", OPENSSL))
            }
            div .card {
                h3 { "Go" }
                p { "Go’s " code { "Verify" } " asks for no CRL and no policy; this does." }
                (code("do-go", "Program in Go", include_str!("snippets/check.go")))
            }
            div .card {
                h3 { "Python" }
                p { "A TLS server that lets only devices in: standard library alone." }
                (code("do-python", "Program in Python", include_str!("snippets/server.py")))
            }
            div .card {
                h3 { "rustls" }
                p { "The same in Rust. An issuing CA that a device does not send is not fetched." }
                (code("do-rustls", "Program in Rust", include_str!("snippets/server.rs.txt")))
            }
            div .card {
                h3 { "nginx" }
                p { "nginx checks CRLs along the whole chain, so " code { "crl.pem" } " needs those of the root, too." }
                (code("do-nginx", "Configuration for nginx", include_str!("snippets/nginx.conf")))
            }
            div .card {
                h3 { "Years later, without us" }
                p {
                    "Whoever has the device’s evidence bundle checks all of it again, with a program that has nothing of ours "
                    "in it but its text: " code { "docs/verify/bundle.py" } " of the source."
                }
                (code("do-bundle", "Commands for a bundle", BUNDLE))
            }
        }
    }
}

/// The table of levels.
fn levels() -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Policy" } th scope="col" { "The key lives in" } } }
            tbody {
                @for (oid, words) in LEVELS { tr { th scope="row" .hash { (oid) } td data-of="Lives in" { (words) } } }
            }
        }
    }
}
