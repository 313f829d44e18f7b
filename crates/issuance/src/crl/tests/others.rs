//! What others read and verify.

use std::path::Path;
use std::process::Command;

use der::{Decode, Encode};
use openssl::pkey::PKey;
use openssl::x509::{CrlStatus, X509, X509Crl};
use policies::ProfileKind;
use rustls_pki_types::CertificateDer;
use webpki::{BorrowedCertRevocationList, CertRevocationList, EndEntityCert, RevocationOptionsBuilder};
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::crl::dp::IssuingDistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};

use super::*;
use crate::fixture::{NOW, leaf_spki, serial, spec, walk};
use crate::{Draft, Issued, SignatureAlgorithm};
use lint::example::{POINT, three};

/// Where the fixture's certificates point.
const URL: &str = "http://pki.example.com/issuing.crl";

fn leaf(hierarchy: &Hierarchy, n: u8) -> Issued {
    let draft = Draft::below(spec(ProfileKind::Service, &leaf_spki()), &hierarchy.issuer, serial(n)).unwrap();
    walk(draft, &hierarchy.key)
}

/// Leaf 1 is revoked, leaf 9 is not.
fn scopes(hierarchy: &Hierarchy) -> [Crl; 2] {
    [CrlScope::Complete, CrlScope::Point(URL.into())].map(|scope| made(hierarchy, crl_spec(300, scope, three())))
}

#[test]
fn the_openssl_crate_for_every_algorithm() {
    for algorithm in SignatureAlgorithm::ALL {
        let hierarchy = Hierarchy::new(algorithm);
        let key = PKey::public_key_from_der(hierarchy.issuer.spki()).unwrap();
        for crl in scopes(&hierarchy) {
            let read = X509Crl::from_der(crl.der()).unwrap();
            assert!(read.verify(&key).unwrap(), "{algorithm:?}");
            assert_eq!(read.to_der().unwrap(), crl.der());
            assert_eq!(read.get_revoked().unwrap().len(), 3);
            let status = |n| {
                let certificate = X509::from_der(leaf(&hierarchy, n).certificate()).unwrap();
                matches!(read.get_by_cert(&certificate), CrlStatus::Revoked(_))
            };
            assert!(status(1) && !status(9));
        }
        let other = PKey::public_key_from_der(Hierarchy::p256().issuer.spki()).unwrap();
        let read = X509Crl::from_der(scopes(&hierarchy)[0].der()).unwrap();
        assert!(!read.verify(&other).unwrap_or(false), "the oracle works");
    }
}

fn pem(path: &Path, certificate: &[u8]) {
    std::fs::write(path, X509::from_der(certificate).unwrap().to_pem().unwrap()).unwrap();
}

/// `openssl crl -verify`, and then `openssl verify -crl_check` of a leaf.
fn openssl(hierarchy: &Hierarchy, crl: &[u8], leaf: &[u8]) -> (bool, Result<(), String>) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    pem(&file("root.pem"), &hierarchy.issuer.chain()[1]);
    pem(&file("issuing.pem"), &hierarchy.issuer.chain()[0]);
    pem(&file("leaf.pem"), leaf);
    std::fs::write(file("crl.der"), crl).unwrap();
    let crl_pem = file("crl.pem");
    let out = Command::new("openssl")
        .args(["crl", "-inform", "DER", "-verify", "-in"])
        .arg(file("crl.der"))
        .arg("-CAfile")
        .arg(file("issuing.pem"))
        .arg("-out")
        .arg(&crl_pem)
        .output()
        .unwrap();
    let verified = String::from_utf8_lossy(&out.stderr).contains("verify OK");
    let out = Command::new("openssl")
        .args([
            "verify",
            "-x509_strict",
            "-crl_check",
            "-attime",
            &(NOW + 60).to_string(),
        ])
        .arg("-CAfile")
        .arg(file("root.pem"))
        .arg("-untrusted")
        .arg(file("issuing.pem"))
        .arg("-CRLfile")
        .arg(crl_pem)
        .arg(file("leaf.pem"))
        .output()
        .unwrap();
    let outcome = if out.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&out.stderr).into_owned())
    };
    (verified, outcome)
}

#[test]
fn the_openssl_program_for_every_algorithm() {
    for algorithm in SignatureAlgorithm::ALL {
        let hierarchy = Hierarchy::new(algorithm);
        let (bad, good) = (leaf(&hierarchy, 1), leaf(&hierarchy, 9));
        for crl in scopes(&hierarchy) {
            let (verified, outcome) = openssl(&hierarchy, crl.der(), good.certificate());
            assert!(verified, "{algorithm:?}");
            outcome.unwrap_or_else(|e| panic!("{algorithm:?} {}: {e}", crl.scope()));
            let (_, outcome) = openssl(&hierarchy, crl.der(), bad.certificate());
            assert!(outcome.unwrap_err().contains("certificate revoked"), "{algorithm:?}");
        }
    }
}

/// The CRL of one shard says nothing about a certificate of another: a critical issuingDistributionPoint is what makes
/// relying parties notice.
#[test]
fn the_crl_of_another_shard_is_no_answer() {
    let hierarchy = Hierarchy::p256();
    let good = leaf(&hierarchy, 9);
    let other = made(&hierarchy, crl_spec(300, CrlScope::Point(POINT.into()), three()));
    let (verified, outcome) = openssl(&hierarchy, other.der(), good.certificate());
    assert!(verified);
    let refusal = outcome.unwrap_err();
    assert!(refusal.contains("different CRL scope"), "{refusal}");
    assert_eq!(
        webpki_says(&hierarchy, other.der(), good.certificate()),
        Err(webpki::Error::UnknownRevocationStatus)
    );
}

fn webpki_says(hierarchy: &Hierarchy, crl: &[u8], leaf: &[u8]) -> Result<(), webpki::Error> {
    let chain = hierarchy.issuer.chain();
    let root = CertificateDer::from(chain[1].as_slice());
    let anchor = webpki::anchor_from_trusted_cert(&root).unwrap();
    let crl = CertRevocationList::from(BorrowedCertRevocationList::from_der(crl)?);
    let crls = [&crl];
    let options = RevocationOptionsBuilder::new(&crls)
        .unwrap()
        .with_depth(webpki::RevocationCheckDepth::EndEntity)
        .with_expiration_policy(webpki::ExpirationPolicy::Enforce)
        .build();
    let der = CertificateDer::from(leaf);
    let end = EndEntityCert::try_from(&der)?;
    let time = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs((NOW + 60).unsigned_abs()));
    end.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &[anchor],
        &[CertificateDer::from(chain[0].as_slice())],
        time,
        webpki::KeyUsage::client_auth(),
        Some(options),
        None,
    )
    .map(|_| ())
}

#[test]
fn webpki_for_every_algorithm() {
    for algorithm in SignatureAlgorithm::ALL {
        let hierarchy = Hierarchy::new(algorithm);
        let (bad, good) = (leaf(&hierarchy, 1), leaf(&hierarchy, 9));
        for crl in scopes(&hierarchy) {
            assert_eq!(
                webpki_says(&hierarchy, crl.der(), good.certificate()),
                Ok(()),
                "{algorithm:?}"
            );
            assert_eq!(
                webpki_says(&hierarchy, crl.der(), bad.certificate()),
                Err(webpki::Error::CertRevoked),
                "{algorithm:?}"
            );
        }
    }
}

#[test]
fn x509_cert_reads_the_same() {
    let hierarchy = Hierarchy::p256();
    let all: Vec<Revoked> = (1..)
        .zip(RevocationReason::ALL)
        .map(|(n, why)| revoked(n, why))
        .collect();
    let ours = made(&hierarchy, crl_spec(70_000, CrlScope::Point(POINT.into()), all));
    let theirs = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(ours.der()).unwrap();
    assert_eq!(theirs.to_der().unwrap(), ours.der());
    let tbs = theirs.tbs_cert_list;
    assert_eq!(tbs.issuer.to_der().unwrap(), ours.issuer_name());
    assert_eq!(tbs.this_update.to_unix_duration().as_secs(), NOW.unsigned_abs());
    let listed = tbs.revoked_certificates.unwrap();
    assert_eq!(listed.len(), ours.entries().len());
    for (theirs, ours) in listed.iter().zip(ours.entries()) {
        assert_eq!(theirs.serial_number.as_bytes(), ours.serial.octets());
        assert_eq!(
            theirs.revocation_date.to_unix_duration().as_secs(),
            ours.at.0.unsigned_abs()
        );
        let reason = theirs.crl_entry_extensions.iter().flatten().next();
        let code = reason.map_or(0, |e| e.extn_value.as_bytes()[2]);
        assert_eq!(ours.mark, Mark::Revoked(entry::reason_of(code).unwrap()));
    }
    let extensions = tbs.crl_extensions.unwrap();
    let point = extensions
        .iter()
        .find(|e| e.extn_id == const_oid::db::rfc5280::ID_CE_ISSUING_DISTRIBUTION_POINT)
        .unwrap();
    assert!(point.critical);
    let point = IssuingDistributionPoint::from_der(point.extn_value.as_bytes()).unwrap();
    assert!(!point.only_contains_user_certs && !point.only_contains_ca_certs && !point.indirect_crl);
    let Some(DistributionPointName::FullName(names)) = point.distribution_point else {
        panic!("no full name")
    };
    let [GeneralName::UniformResourceIdentifier(url)] = names.as_slice() else {
        panic!("not one URI: {names:?}")
    };
    assert_eq!(url.as_str(), POINT);
}
