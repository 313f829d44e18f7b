//! Mutual TLS with a key that never leaves its TPM: rustls asks for the handshake's signature, and the TPM gives it.
//!
//! OpenSSL could do it only through a provider that is installed beside us, finds the TPM by itself, and wants it at the
//! same moment as we do.

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SignatureAlgorithm, SignatureScheme, StreamOwned};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::ServerError;

/// Signs a message with the certificate's key; says why not.
pub type Sign = dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync;

/// Signatures of TLS 1.3 that keys of this house make (RFC 8446 §4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// ecdsa_secp256r1_sha256.
    P256,
    /// ecdsa_secp384r1_sha384.
    P384,
    /// rsa_pss_rsae_sha256.
    PssSha256,
    /// rsa_pss_rsae_sha384.
    PssSha384,
    /// rsa_pss_rsae_sha512.
    PssSha512,
}

impl Scheme {
    fn on_the_wire(self) -> SignatureScheme {
        match self {
            Self::P256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            Self::P384 => SignatureScheme::ECDSA_NISTP384_SHA384,
            Self::PssSha256 => SignatureScheme::RSA_PSS_SHA256,
            Self::PssSha384 => SignatureScheme::RSA_PSS_SHA384,
            Self::PssSha512 => SignatureScheme::RSA_PSS_SHA512,
        }
    }
}

/// A certificate, and the way to its key.
#[derive(Clone)]
pub struct Shown {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// What its key signs.
    pub scheme: Scheme,
    /// Its key.
    pub sign: Arc<Sign>,
}

impl core::fmt::Debug for Shown {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shown")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl SigningKey for Shown {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&self.scheme.on_the_wire())
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.scheme {
            Scheme::P256 | Scheme::P384 => SignatureAlgorithm::ECDSA,
            Scheme::PssSha256 | Scheme::PssSha384 | Scheme::PssSha512 => SignatureAlgorithm::RSA,
        }
    }
}

impl Signer for Shown {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        (self.sign)(message).map_err(rustls::Error::General)
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme.on_the_wire()
    }
}

/// The one certificate there is, whoever asks.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesClientCert for Only {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// TLS 1.3 to a server below the pinned root, over a connection that is there.
#[derive(Debug)]
pub(super) struct Mutual(Arc<ClientConfig>);

impl Mutual {
    /// Believe servers below `root` (DER), and show this certificate.
    pub(super) fn new(url: &str, root: &[u8], shown: Shown) -> Result<Self, ServerError> {
        let refuse = |detail| ServerError::Url {
            url: url.to_owned(),
            detail,
        };
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(root.to_vec()))
            .map_err(|_| refuse("its root certificate cannot be read"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificate = CertificateDer::from(shown.certificate.clone());
        let key = CertifiedKey::new(vec![certificate], Arc::new(shown));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| refuse("TLS 1.3 is not available"))?
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(Only(Arc::new(key))));
        // A resumed session proves no key, and the server would not take it.
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }
}

impl<In: Transport> Connector<In> for Mutual {
    type Out = Secured;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Secured>, ureq::Error> {
        let below = chained.ok_or(ureq::Error::ConnectionFailed)?;
        let host = details.uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ureq::Error::Tls("not the name of a server"))?;
        let mut conn =
            ClientConnection::new(Arc::clone(&self.0), name).map_err(|error| ureq::Error::Other(Box::new(error)))?;
        let mut sock = TransportAdapter::new(below.boxed(), details.current_time.clone());
        sock.set_timeout(details.timeout);
        conn.complete_io(&mut sock).map_err(handshake)?;
        Ok(Some(Secured {
            buffers: LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size()),
            stream: StreamOwned { conn, sock },
        }))
    }
}

/// What TLS said itself, told apart from a connection that broke.
fn handshake(error: std::io::Error) -> ureq::Error {
    match error.downcast::<rustls::Error>() {
        Ok(tls) => ureq::Error::Other(Box::new(tls)),
        Err(io) => ureq::Error::Io(io),
    }
}

/// A connection under TLS.
pub(super) struct Secured {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl core::fmt::Debug for Secured {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secured")
    }
}

impl Transport for Secured {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        use std::io::Write as _;
        self.stream.get_mut().set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        use std::io::Read as _;
        self.stream.get_mut().set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input).map_err(handshake)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
