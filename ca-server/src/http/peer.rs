//! Who is at the other end of the administration socket.

use std::any::Any;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, web};
use wire::problem::{Problem, ProblemCode};

use super::front::Front;
use super::problem::response;

/// Who is at the other end of the socket, as the kernel says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    uid: u32,
}

/// Ask the kernel once for each connection.
pub(super) fn on_connect(connection: &dyn Any, extensions: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<tokio::net::UnixStream>()
        && let Ok(credentials) = stream.peer_cred()
    {
        extensions.insert(Peer { uid: credentials.uid() });
    }
}

/// Root, the server's own user and the operators by name, nobody else.
///
/// # Errors
/// What the handler returns; ours never do.
pub(super) async fn only_this_host<B: MessageBody>(
    front: web::Data<Front>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let own = rustix::process::geteuid().as_raw();
    let operators = &front.manners.operators;
    let reads = request.method() == actix_web::http::Method::GET;
    let who = actor(request.request());
    let answer = match request.conn_data::<Peer>() {
        Some(peer) if peer.uid == 0 || peer.uid == own || operators.name(peer.uid).is_some() => {
            next.call(request).await?.map_into_left_body()
        }
        _ => {
            let answer = response(&front.manners.base_url, Problem::new(ProblemCode::Forbidden));
            request.into_response(answer).map_into_right_body()
        }
    };
    let status = answer.status();
    if status.is_client_error() && (!reads || status == actix_web::http::StatusCode::FORBIDDEN) {
        refused(&front, answer.request(), who, status.as_u16());
    }
    Ok(answer)
}

/// What was refused to people is in the audit file.
fn refused(front: &Front, request: &HttpRequest, actor: String, status: u16) {
    let record = issuance::AuditRecord {
        at: front.house.clock.read().now,
        action: "admin.refused".to_owned(),
        actor,
        subject: request.path().to_owned(),
        reason: format!("HTTP_{status}"),
        detail: request.method().to_string(),
    };
    if let Err(error) = front.house.audit.append(&record) {
        tracing::error!(%error, "the audit file does not take records");
    }
}

/// Who asks, for the record: a person's name, else the uid.
pub(super) fn actor(request: &HttpRequest) -> String {
    person(request).unwrap_or_else(|| {
        let peer = request.conn_data::<Peer>();
        peer.map_or_else(|| "unknown".to_owned(), |peer| format!("uid:{}", peer.uid))
    })
}

/// The person who asks; root and the server's own user are nobody in particular.
pub(super) fn person(request: &HttpRequest) -> Option<String> {
    let front = request.app_data::<web::Data<Front>>()?;
    let peer = request.conn_data::<Peer>()?;
    front.manners.operators.name(peer.uid).map(ToOwned::to_owned)
}
