//! `POST /add-checkpoint` and `GET /healthz`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use ledger::{AddCheckpoint, MAX_NOTE_BYTES, WitnessError};

use crate::memory::{Memory, NotSeen};

/// Longest request, octets: a proof of 63 lines and a note.
const LONGEST: usize = MAX_NOTE_BYTES + 64 * 64;

/// Serve until SIGTERM or SIGINT; `ready` is told where.
///
/// # Errors
/// The system's.
pub(crate) fn serve(memory: Memory, listen: SocketAddr, ready: impl FnOnce(SocketAddr)) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    let address = listener.local_addr()?;
    let memory = web::Data::from(Arc::new(memory));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(memory.clone())
            .app_data(web::PayloadConfig::new(LONGEST))
            .route("/add-checkpoint", web::post().to(add))
            .route("/healthz", web::get().to(HttpResponse::Ok))
    })
    .workers(1)
    .client_request_timeout(Duration::from_secs(10))
    .shutdown_timeout(5)
    .listen(listener)?
    .run();
    ready(address);
    actix_web::rt::System::new().block_on(server)
}

/// One request. It may wait for the disk: not on the thread that reads sockets.
async fn add(memory: web::Data<Memory>, body: web::Bytes) -> HttpResponse {
    let seen = web::block(move || {
        let request = AddCheckpoint::parse(&body)?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        memory.see(&request, now)
    });
    match seen.await {
        Ok(Ok(line)) => HttpResponse::Ok()
            .content_type("text/plain; charset=utf-8")
            .body(line.to_string()),
        Ok(Err(NotSeen::Request(error))) => refused(&error),
        Ok(Err(NotSeen::Own(why))) => {
            eprintln!("ca-witness: {why}");
            HttpResponse::ServiceUnavailable().finish()
        }
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

/// As C2SP says: 409 names the size at which the witness stands, and nothing else.
fn refused(error: &WitnessError) -> HttpResponse {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match error {
        WitnessError::Stands(size) | WitnessError::Fork(size) => HttpResponse::build(status)
            .content_type("text/x.tlog.size")
            .body(format!("{size}\n")),
        other => HttpResponse::build(status)
            .content_type("text/plain; charset=utf-8")
            .body(format!("{other}\n")),
    }
}
