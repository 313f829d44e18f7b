//! The certificate a client has shown in its TLS handshake.

use std::any::Any;
use std::sync::Arc;

use actix_tls::accept::openssl::TlsStream;
use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;

/// A certificate whose key the client has, proven in this connection's own handshake. Nothing else is known of it.
#[derive(Clone, Debug)]
struct Presented(Arc<[u8]>);

/// Look once for each connection. A resumed session proves nothing new about a key, so it shows no certificate.
pub(super) fn on_connect(connection: &dyn Any, extensions: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>() else {
        return;
    };
    let ssl = stream.ssl();
    if ssl.session_reused() {
        return;
    }
    if let Some(Ok(der)) = ssl.peer_certificate().map(|certificate| certificate.to_der()) {
        extensions.insert(Presented(der.into()));
    }
}

/// Its DER, if there is one.
pub(super) fn presented(request: &HttpRequest) -> Option<Arc<[u8]>> {
    request
        .conn_data::<Presented>()
        .map(|presented| Arc::clone(&presented.0))
}
