//! The seeds of the fuzz targets: they stay what they are, or the targets test nothing.

use wire::revocation::RevocationReason;

use super::*;
use crate::{Issuer, IssuerUrls, SignatureAlgorithm};

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/");

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(format!("{SEEDS}{name}")).unwrap()
}

fn issuer() -> Issuer {
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    Issuer::from_chain(&[seed("ocsp-issuer.der")], algorithm, IssuerUrls::default()).unwrap()
}

#[test]
fn the_answers_are_believed() {
    let read = |name| RawOcspResponse::decode(seed(name)).unwrap().verify(&issuer()).unwrap();
    let (good, several) = (read("ocsp_response/good"), read("ocsp_response/several"));
    assert_eq!(good.answers().len(), 1);
    assert_eq!(good.answers()[0].status, CertStatus::Good);
    assert_eq!(several.answers().len(), 2);
    let reason = RevocationReason::KeyCompromise;
    assert!(matches!(several.answers()[1].status, CertStatus::Revoked { reason: r, .. } if r == reason));
    assert_eq!(several.nonce().unwrap().octets(), [9; 32]);
}

#[test]
fn the_requests_are_read() {
    let hashes = IssuerHashes::of(&issuer());
    for (name, questions, nonce) in [("sha1", 1, false), ("sha256-nonce", 1, true), ("eight", 8, true)] {
        let read = OcspRequest::decode(&seed(&format!("ocsp_request/{name}"))).unwrap();
        assert_eq!(
            (read.questions.len(), read.nonce.is_some()),
            (questions, nonce),
            "{name}"
        );
        assert!(
            read.questions
                .into_iter()
                .all(|question| question.of(&hashes).is_some()),
            "{name}"
        );
    }
}
