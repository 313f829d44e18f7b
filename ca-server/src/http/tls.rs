//! TLS 1.3 by OpenSSL, and nothing older.
//!
//! A client is asked for a certificate, and need not have one. Whichever it shows is taken here: that it has the key, the
//! handshake proves; what the certificate is worth, the record says when a route asks ([`super::presented`]). A chain, an
//! expiry or a revocation judged here would be judged twice, and the second time by something that cannot see the record.

use openssl::error::ErrorStack;
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslFiletype, SslMethod, SslOptions, SslVerifyMode, SslVersion};

use crate::config::Tls;

/// What accepts devices.
///
/// # Errors
/// OpenSSL's; the configuration proved before that key and certificate fit.
pub fn acceptor(tls: &Tls) -> Result<SslAcceptorBuilder, ErrorStack> {
    let mut acceptor = SslAcceptor::mozilla_modern_v5(SslMethod::tls_server())?;
    acceptor.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    acceptor.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
    acceptor.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    // Of what a stranger sends, no more than one issuer is looked at.
    acceptor.set_verify_depth(1);
    // Without it OpenSSL refuses to resume where certificates are asked for.
    acceptor.set_session_id_context(b"holdfast")?;
    acceptor.set_certificate_chain_file(&tls.certificate)?;
    acceptor.set_private_key_file(&tls.key, SslFiletype::PEM)?;
    acceptor.check_private_key()?;
    Ok(acceptor)
}
