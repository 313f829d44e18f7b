//! What others read and verify.

use std::path::Path;
use std::process::Command;

use openssl::x509::X509;
use policies::ProfileKind;
use wire::revocation::RevocationReason;

use super::*;
use crate::fixture::{Hierarchy, NOW, leaf_spki, serial, spec, walk};
use crate::testkey::SoftKey;
use crate::{Draft, Issued, SignatureAlgorithm};

fn leaf(hierarchy: &Hierarchy, n: u8) -> Issued {
    let draft = Draft::below(spec(ProfileKind::Service, &leaf_spki()), &hierarchy.issuer, serial(n)).unwrap();
    walk(draft, &hierarchy.key)
}

pub(super) fn pem(path: &Path, certificate: &[u8]) {
    std::fs::write(path, X509::from_der(certificate).unwrap().to_pem().unwrap()).unwrap();
}

/// `openssl ocsp -respin` about a certificate: all it prints.
fn openssl(hierarchy: &Hierarchy, response: &[u8], leaf: &[u8], digest: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    pem(&file("root.pem"), &hierarchy.issuer.chain()[1]);
    pem(&file("issuing.pem"), &hierarchy.issuer.chain()[0]);
    pem(&file("leaf.pem"), leaf);
    std::fs::write(file("response.der"), response).unwrap();
    // The times of the fixture are not those of the machine: the responder's chain is verified at a moment, the answer's
    // times are given years of leeway.
    let out = Command::new("openssl")
        .args(["ocsp", digest, "-no_nonce", "-attime", &(NOW + 60).to_string()])
        .args(["-validity_period", "999999999", "-issuer"])
        .arg(file("issuing.pem"))
        .arg("-cert")
        .arg(file("leaf.pem"))
        .arg("-CAfile")
        .arg(file("root.pem"))
        .arg("-verify_other")
        .arg(file("issuing.pem"))
        .arg("-respin")
        .arg(file("response.der"))
        .output()
        .unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

fn about(mut answer: OcspAnswer, leaf: &Issued, form: CertIdForm) -> OcspAnswer {
    answer.id = CertId {
        form,
        serial: leaf.serial(),
    };
    answer
}

#[test]
fn the_openssl_program_for_every_algorithm() {
    for own in SignatureAlgorithm::ALL {
        let house = House::with(Hierarchy::p256(), SoftKey::new(own));
        let leaf = leaf(&house.hierarchy, 9);
        for (form, digest) in [
            (CertIdForm::Sha1Null, "-sha1"),
            (CertIdForm::Sha1, "-sha1"),
            (CertIdForm::Sha256, "-sha256"),
            (CertIdForm::Sha256Null, "-sha256"),
        ] {
            let response = made(&house, ocsp_spec(vec![about(good(1), &leaf, form)]));
            let text = openssl(&house.hierarchy, response.der(), leaf.certificate(), digest);
            assert!(text.contains("Response verify OK"), "{own:?} {form:?}: {text}");
            assert!(text.contains("leaf.pem: good"), "{own:?} {form:?}: {text}");
        }
        let compromised = about(revoked(1, RevocationReason::KeyCompromise), &leaf, CertIdForm::Sha256);
        let response = made(&house, ocsp_spec(vec![compromised]));
        let text = openssl(&house.hierarchy, response.der(), leaf.certificate(), "-sha256");
        assert!(text.contains("Response verify OK"), "{text}");
        assert!(text.contains("leaf.pem: revoked"), "{text}");
        assert!(text.contains("Reason: keyCompromise"), "{text}");
        assert!(text.contains("Revocation Time: Nov 21 12:00:00 2026 GMT"), "{text}");
        assert!(text.contains("This Update: Nov 22 12:00:00 2026 GMT"), "{text}");
        assert!(text.contains("Next Update: Nov 23 00:00:00 2026 GMT"), "{text}");
    }
}

/// The oracle refuses: an answer of another CA's responder, one about another certificate, a changed octet.
#[test]
fn the_openssl_program_says_no() {
    let (house, other) = (House::p256(), House::p256());
    let leaf = leaf(&house.hierarchy, 9);
    let answer = || ocsp_spec(vec![about(good(1), &leaf, CertIdForm::Sha1Null)]);
    let text = openssl(
        &house.hierarchy,
        made(&other, answer()).der(),
        leaf.certificate(),
        "-sha1",
    );
    assert!(text.contains("Response Verify Failure"), "{text}");
    let text = openssl(
        &house.hierarchy,
        made(&house, ocsp_spec(vec![good(1)])).der(),
        leaf.certificate(),
        "-sha1",
    );
    assert!(text.contains("ERROR: No Status found"), "{text}");
    let mut spoilt = made(&house, answer()).der().to_vec();
    // The year of producedAt.
    let at = spoilt.windows(4).position(|w| w == b"2026").unwrap();
    spoilt[at + 3] = b'7';
    let text = openssl(&house.hierarchy, &spoilt, leaf.certificate(), "-sha1");
    assert!(text.contains("Response Verify Failure"), "{text}");
}

/// RFC 6960 in words of the `openssl` crate: it finds the status by its own CertID.
#[test]
fn the_openssl_crate() {
    use openssl::hash::MessageDigest;
    use openssl::ocsp::{OcspCertId, OcspCertStatus, OcspFlag, OcspResponse as Theirs, OcspRevokedStatus};
    use openssl::stack::Stack;
    use openssl::x509::store::X509StoreBuilder;
    use openssl::x509::verify::X509VerifyParam;

    let house = House::p256();
    let (one, two) = (leaf(&house.hierarchy, 9), leaf(&house.hierarchy, 10));
    let answers = vec![
        about(good(1), &one, CertIdForm::Sha1Null),
        about(revoked(1, RevocationReason::CertificateHold), &two, CertIdForm::Sha256),
    ];
    let response = made(&house, ocsp_spec(answers));
    let theirs = Theirs::from_der(response.der()).unwrap();
    assert_eq!(theirs.to_der().unwrap(), response.der());
    let basic = theirs.basic().unwrap();
    let chain = house.hierarchy.issuer.chain();
    let issuing = X509::from_der(&chain[0]).unwrap();
    let mut param = X509VerifyParam::new().unwrap();
    param.set_time(NOW + 60);
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(X509::from_der(&chain[1]).unwrap()).unwrap();
    store.set_param(&param).unwrap();
    let mut others = Stack::new().unwrap();
    others.push(issuing.clone()).unwrap();
    basic.verify(&others, &store.build(), OcspFlag::empty()).unwrap();
    let status = |certificate: &Issued, digest| {
        let subject = X509::from_der(certificate.certificate()).unwrap();
        let id = OcspCertId::from_cert(digest, &subject, &issuing).unwrap();
        let status = basic.find_status(&id).unwrap();
        (status.status, status.reason)
    };
    assert_eq!(status(&one, MessageDigest::sha1()).0, OcspCertStatus::GOOD);
    assert_eq!(
        status(&two, MessageDigest::sha256()),
        (OcspCertStatus::REVOKED, OcspRevokedStatus::STATUS_CERTIFICATE_HOLD)
    );
}
