//! A TLS server that takes nobody whose certificate is revoked: it asks CRL and OCSP responder in every handshake, where the
//! certificate says. For the demo.
#![expect(clippy::print_stdout, reason = "this is a program for people")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use der::{Decode as _, Encode as _};
use issuance::crl::{CrlScope, Mark, RawCrl};
use issuance::{Issuer, IssuerUrls, Serial, SignatureAlgorithm};
use openssl::hash::MessageDigest;
use openssl::ocsp::{
    OcspCertId, OcspCertStatus, OcspFlag, OcspRequest, OcspResponse, OcspResponseStatus, OcspRevokedStatus,
};
use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod, SslStream, SslVerifyMode};
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::{X509, X509Ref, X509StoreContextRef, X509VerifyResult};

/// Demand a client certificate, look it up at each handshake, and tell each decision in a line.
#[derive(Parser)]
struct RelyingParty {
    /// Address to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Certificate of this server and its chain, PEM.
    #[arg(long)]
    cert: PathBuf,
    /// Its key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// Root that clients chain to, PEM.
    #[arg(long)]
    root: PathBuf,
}

/// What one source says of a certificate. That it cannot be asked is an error: then nobody comes in.
enum Said {
    Good(String),
    Revoked(String),
}

fn main() -> Result<()> {
    let party = RelyingParty::parse();
    let mut tls = SslAcceptor::mozilla_modern_v5(SslMethod::tls_server())?;
    tls.set_certificate_chain_file(&party.cert)?;
    tls.set_private_key_file(&party.key, SslFiletype::PEM)?;
    tls.set_ca_file(&party.root)?;
    // No tickets: a session that is taken up again would not be looked up.
    tls.set_num_tickets(0)?;
    let root = party.root.clone();
    tls.set_verify_callback(
        SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        // OpenSSL has judged the path when it calls with the leaf, depth 0, last.
        move |path_holds, context| path_holds && (context.error_depth() != 0 || comes_in(context, &root)),
    );
    let tls = tls.build();
    for client in TcpListener::bind(party.listen)?.incoming() {
        if let Err(error) = client.map_err(Into::into).and_then(|tcp| serve(&tls, tcp)) {
            eprintln!("{error:#}");
        }
    }
    Ok(())
}

/// One client, once: the handshake decides.
fn serve(tls: &SslAcceptor, tcp: TcpStream) -> Result<()> {
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = SslStream::new(Ssl::new(tls.context())?, tcp)?;
    stream.accept().context("handshake")?;
    let _ = stream.read(&mut [0; 4096])?;
    stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nwelcome\n")?;
    stream.shutdown()?;
    Ok(())
}

/// The decision on one client whose path holds, and its line. Both sources are asked and must say good.
fn comes_in(context: &mut X509StoreContextRef, root: &Path) -> bool {
    let verdict = context
        .chain()
        .context("no path")
        .map(|chain| chain.iter().map(ToOwned::to_owned).collect::<Vec<X509>>())
        .and_then(|chain| Ok((crl(&chain)?, ocsp(&chain, root)?)));
    let (line, yes) = match verdict {
        Ok((Said::Good(crl), Said::Good(ocsp))) => (format!("accepted: {crl}; {ocsp}"), true),
        Ok((Said::Good(crl) | Said::Revoked(crl), Said::Good(ocsp) | Said::Revoked(ocsp))) => {
            (format!("REFUSED: {crl}; {ocsp}"), false)
        }
        Err(error) => (format!("REFUSED: nobody to ask: {error:#}"), false),
    };
    println!("{line}");
    if !yes {
        context.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
    }
    yes
}

/// The CRL that the certificate names: read, signed by its issuer, for this certificate, of now.
fn crl(chain: &[X509]) -> Result<Said> {
    let (leaf, cas) = chain.split_first().context("no leaf")?;
    let cas = cas.iter().map(|ca| ca.to_der()).collect::<Result<Vec<_>, _>>()?;
    let read = x509_cert::Certificate::from_der(&leaf.to_der()?)?;
    let url = issuance::crl::crl_point(&read.tbs_certificate().to_der()?)?.context("it names no CRL")?;
    let serial = read.tbs_certificate().serial_number().as_bytes();
    let serial = serial.try_into().ok().and_then(Serial::from_octets).context("serial")?;
    let issuer = Issuer::from_chain(&cas, SignatureAlgorithm::EcdsaP256Sha256, IssuerUrls::default())?;
    let crl = RawCrl::decode(http(&url, None)?)?.verify(&issuer)?;
    ensure!(crl.base().is_none(), "a delta CRL does not tell all");
    match crl.scope() {
        CrlScope::Complete => {}
        CrlScope::Point(of) => ensure!(*of == url, "a CRL for {of}, not for {url}"),
    }
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    ensure!(
        (crl.this_update().0..=crl.next_update().0).contains(&now),
        "the CRL is not of now"
    );
    let number = crl.number();
    Ok(match crl.find(serial).map(|entry| entry.mark) {
        Some(Mark::Revoked(reason)) => Said::Revoked(format!("CRL {number} lists it ({reason})")),
        _ => Said::Good(format!("CRL {number} does not list it")),
    })
}

/// The responder that the certificate names; its answer signed by a delegate of the issuer, for this certificate, of now.
fn ocsp(chain: &[X509], root: &Path) -> Result<Said> {
    let [leaf, issuer, ..] = chain else {
        bail!("no issuer");
    };
    let responders = leaf.ocsp_responders()?;
    let url = responders.iter().next().context("it names no OCSP responder")?;
    let mut request = OcspRequest::new()?;
    request.add_id(named(leaf, issuer)?)?;
    let answer = OcspResponse::from_der(&http(url, Some(&request.to_der()?))?)?;
    ensure!(
        answer.status() == OcspResponseStatus::SUCCESSFUL,
        "the responder gives no answer"
    );
    let basic = answer.basic()?;
    let mut between = Stack::new()?;
    between.push(issuer.clone())?;
    let store = trusting(root)?;
    basic.verify(&between, &store, OcspFlag::empty())?;
    let id = named(leaf, issuer)?;
    let said = basic
        .find_status(&id)
        .context("the answer is for another certificate")?;
    said.check_validity(60, None)?;
    Ok(match said.status {
        OcspCertStatus::GOOD => Said::Good("OCSP says good".into()),
        OcspCertStatus::REVOKED if said.reason == OcspRevokedStatus::KEY_COMPROMISE => {
            Said::Revoked("OCSP says revoked (keyCompromise)".into())
        }
        OcspCertStatus::REVOKED => Said::Revoked("OCSP says revoked".into()),
        _ => bail!("the responder does not know it"),
    })
}

fn named(leaf: &X509Ref, issuer: &X509Ref) -> Result<OcspCertId> {
    Ok(OcspCertId::from_cert(MessageDigest::sha256(), leaf, issuer)?)
}

fn trusting(root: &Path) -> Result<X509Store> {
    let mut store = X509StoreBuilder::new()?;
    store.add_cert(X509::from_pem(&std::fs::read(root)?)?)?;
    Ok(store.build())
}

/// `GET`, or `POST` of an OCSP request; at most 16 MiB, within five seconds, past every proxy.
fn http(url: &str, request: Option<&[u8]>) -> Result<Vec<u8>> {
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(5)));
    let agent: ureq::Agent = config.build().into();
    let mut answer = match request {
        None => agent.get(url).call(),
        Some(body) => agent
            .post(url)
            .header("content-type", "application/ocsp-request")
            .send(body),
    }
    .with_context(|| url.to_owned())?;
    Ok(answer.body_mut().with_config().limit(16 << 20).read_to_vec()?)
}
