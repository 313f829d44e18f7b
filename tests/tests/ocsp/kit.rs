//! A CA that answers OCSP, and a question to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use device_kit::rig::{Rig, Server, Wanted};
use device_kit::soft_tpm::SoftTpm;
use issuance::ocsp::{
    CertId, CertIdForm, CertStatus, IssuerHashes, Nonce, OcspError, OcspRequest, OcspResponse, RawOcspResponse,
};
use issuance::{Issuer, IssuerUrls, Serial, SignatureAlgorithm};
use openssl::x509::X509;

/// The usual settings, and a listener for relying parties.
pub(crate) fn answering(wanted: Wanted) -> Wanted {
    wanted
        .set("server", "status", "127.0.0.1:0")
        .set("issuer", "ocsp_url", "http://localhost/ocsp")
        .set("ocsp", "key_id", "02")
}

/// Where a server listens for relying parties, as its log says, a moment after it is ready.
pub(crate) fn status(server: &Server) -> SocketAddr {
    let patience = Instant::now();
    loop {
        let log = server.log();
        if let Some((_, last)) = log.rsplit_once("status=")
            && let Some(end) = last.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
        {
            return last[..end].parse().expect("an address");
        }
        assert!(
            patience.elapsed() < Duration::from_secs(30),
            "no status listener: {log}"
        );
        std::thread::yield_now();
    }
}

/// A certificate of a device.
pub(crate) struct Leaf {
    pub(crate) der: Vec<u8>,
    pub(crate) hex: String,
    pub(crate) serial: Serial,
}

impl Leaf {
    /// A new device's.
    pub(crate) fn of(rig: &Rig, name: &str) -> Self {
        let tpm = SoftTpm::p256(&rig.vendor);
        rig.allow(name, &tpm);
        let result = rig
            .client()
            .enroll(&tpm, &tpm.request("device-ldevid", None, None))
            .unwrap();
        let issued = result.certificates.into_iter().next().unwrap();
        let octets: [u8; 16] = hex::decode(&issued.serial).unwrap().try_into().unwrap();
        Self {
            der: issued.certificate.0,
            serial: Serial::from_octets(octets).unwrap(),
            hex: issued.serial,
        }
    }
    /// As a file.
    pub(crate) fn pem(&self, rig: &Rig) -> PathBuf {
        let path = rig.path(&format!("{}.pem", self.hex));
        std::fs::write(&path, X509::from_der(&self.der).unwrap().to_pem().unwrap()).unwrap();
        path
    }
}

/// The issuing CA of a rig.
pub(crate) fn issuer(rig: &Rig) -> Issuer {
    let pem = std::fs::read(rig.path("ca/chain.pem")).unwrap();
    let chain = X509::stack_from_pem(&pem).unwrap();
    let chain: Vec<Vec<u8>> = chain.iter().map(|c| c.to_der().unwrap()).collect();
    Issuer::from_chain(&chain, SignatureAlgorithm::EcdsaP256Sha256, IssuerUrls::default()).unwrap()
}

/// A question by POST; the answer's bytes.
pub(crate) fn post(at: SocketAddr, body: &[u8]) -> Vec<u8> {
    let mut answer = ureq::post(format!("http://{at}/ocsp"))
        .header("content-type", "application/ocsp-request")
        .send(body)
        .expect("an answer");
    answer.body_mut().read_to_vec().expect("an answer")
}

pub(crate) fn request(issuer: &Issuer, leaf: &Leaf, nonce: Option<&Nonce>) -> Vec<u8> {
    let id = CertId {
        form: CertIdForm::Sha256,
        serial: leaf.serial,
    };
    OcspRequest::encode(id, &IssuerHashes::of(issuer), nonce)
}

/// Ask, and believe only what verifies.
pub(crate) fn ask(at: SocketAddr, issuer: &Issuer, leaf: &Leaf) -> Result<OcspResponse, OcspError> {
    RawOcspResponse::decode(post(at, &request(issuer, leaf, None)))?.verify(issuer)
}

/// What is said about a certificate.
pub(crate) fn said(at: SocketAddr, issuer: &Issuer, leaf: &Leaf) -> Result<CertStatus, OcspError> {
    ask(at, issuer, leaf).map(|answer| answer.status(leaf.serial).expect("about it"))
}
