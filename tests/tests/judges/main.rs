//! Validators and linters of others judge everything we sign: OpenSSL, GnuTLS, NSS, Java, Go, rustls-webpki, pkilint.
//!
//! Each must accept what is good, refuse what is revoked where it looks, and find nothing to complain of. Where one does
//! otherwise, docs/reference/judges.md says so with the reason, and this test compares.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on stops"
)]

mod answers;
mod known;
mod lints;
mod objects;
mod paths;

use known::compare;
use objects::Objects;

/// Every judge, about one CA.
fn judged(ca: &str, algorithm: &str, shards: u16) {
    judged_all(&Objects::of(ca, algorithm, shards, false));
}

fn judged_all(objects: &Objects) {
    let mut disagreements = Vec::new();
    for (judge, findings) in [
        ("OpenSSL", paths::openssl(objects)),
        ("GnuTLS", paths::gnutls(objects)),
        ("NSS", paths::nss(objects)),
        ("Java", paths::java(objects)),
        ("Go", paths::go(objects)),
        ("webpki", paths::webpki(objects)),
        ("OpenSSL OCSP", answers::openssl(objects)),
        ("GnuTLS OCSP", answers::gnutls(objects)),
        ("pkilint", lints::pkilint(objects)),
    ] {
        if let Some(findings) = findings {
            disagreements.extend(compare(judge, &objects.ca, &findings));
        }
    }
    assert!(
        disagreements.is_empty(),
        "compare with docs/reference/judges.md:\n{}",
        disagreements.join("\n")
    );
}

#[test]
fn what_a_p256_ca_with_sharded_crls_signs() {
    judged("p256", "ecdsa-p256-sha256", 2);
}

#[test]
fn what_a_p384_ca_signs() {
    judged("p384", "ecdsa-p384-sha384", 0);
}

#[test]
fn what_an_rsa_pss_ca_signs() {
    judged("rsa-pss", "rsa3072-pss-sha256", 0);
}

#[test]
fn what_an_rsa_pkcs1_ca_signs() {
    judged("rsa-pkcs1", "rsa3072-pkcs1-sha256", 0);
}

/// CRLs that name a delta (freshestCRL), and the delta itself.
#[test]
fn what_a_ca_with_delta_crls_signs() {
    judged_all(&Objects::of("p256-delta", "ecdsa-p256-sha256", 0, true));
}
