//! TLS 1.3 by OpenSSL, and nothing older.

use openssl::error::ErrorStack;
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslFiletype, SslMethod, SslOptions, SslVersion};

use crate::config::Tls;

/// What accepts devices.
///
/// # Errors
/// OpenSSL's; the configuration proved before that key and certificate fit.
pub fn acceptor(tls: &Tls) -> Result<SslAcceptorBuilder, ErrorStack> {
    let mut acceptor = SslAcceptor::mozilla_modern_v5(SslMethod::tls_server())?;
    acceptor.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    acceptor.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
    acceptor.set_certificate_chain_file(&tls.certificate)?;
    acceptor.set_private_key_file(&tls.key, SslFiletype::PEM)?;
    acceptor.check_private_key()?;
    Ok(acceptor)
}
