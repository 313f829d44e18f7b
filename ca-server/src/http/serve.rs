//! Sockets, and their end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use actix_web::dev::{Server, ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use openssl::ssl::SslAcceptorBuilder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::front::{Front, Manners};
use super::{admin, body, gate, monitor, peer, presented, public, status, third_party};
use crate::config;
use crate::house::House;

/// How long a client may take to read an answer after which the connection is closed, and how long what it still sends
/// is thrown away: closing at once would reset the connection, and the client might never see why (RFC 9112 §9.6).
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);

/// Where the server listens, with the ports that were taken.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Devices.
    pub public: SocketAddr,
    /// Supervisors.
    pub metrics: Option<SocketAddr>,
    /// Relying parties.
    pub status: Option<SocketAddr>,
    /// People.
    pub admin: Option<PathBuf>,
}

/// What each worker holds as long as it lives. One that is gone would be missed by actix at the next connection only, and
/// where no other takes its place the listener answers nobody.
struct Present(UnboundedSender<()>);

impl Drop for Present {
    fn drop(&mut self) {
        // Who ends is not listened to any more.
        let _ = self.0.send(());
    }
}

/// The beginning of what each worker of each listener serves: one that is gone is missed.
fn missed(leaves: &UnboundedSender<()>) -> App<impl Entry + use<>> {
    App::new().app_data(Present(leaves.clone()))
}

/// What [`App::new`] begins with, which actix has no public name for.
trait Entry:
    ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = actix_web::Error, InitError = ()>
{
}

impl<T> Entry for T where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse,
            Error = actix_web::Error,
            InitError = (),
        >
{
}

/// Servers under way.
pub struct Serving {
    /// Where.
    pub addresses: Addresses,
    servers: Vec<Server>,
    /// Hears of each worker that is gone.
    gone: UnboundedReceiver<()>,
    grace: std::time::Duration,
}

impl Serving {
    /// Open the listeners and start answering: whoever connects afterwards is let in. Call inside an actix system.
    ///
    /// # Errors
    /// What the system says, with the address in it.
    pub async fn start(
        house: Arc<House>,
        manners: Manners,
        server: &config::Server,
        tls: SslAcceptorBuilder,
    ) -> io::Result<Self> {
        let limits = manners.limits;
        let front = web::Data::new(Front::new(house, manners));
        let grace = server.shutdown_grace.as_secs().max(1);

        let workers = server
            .workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        // actix counts both for each worker.
        let connections = limits.connections.div_ceil(workers);
        let (leaves, gone) = unbounded_channel();
        let (shared, worker) = (front.clone(), leaves.clone());
        let http = HttpServer::new(move || {
            missed(&worker)
                .app_data(shared.clone())
                .wrap(from_fn(body::whole))
                .wrap(from_fn(gate))
                .configure(third_party::routes)
                .configure(public::routes)
        })
        .disable_signals()
        .shutdown_timeout(grace)
        .workers(workers)
        .max_connections(connections)
        .max_connection_rate(connections)
        .worker_max_blocking_threads(limits.concurrency)
        .keep_alive(limits.keep_alive)
        .client_request_timeout(limits.header_timeout)
        .client_disconnect_timeout(LAST_WORDS)
        .tls_handshake_timeout(limits.handshake_timeout)
        .on_connect(presented::on_connect)
        .tcp_nodelay(true);
        let listener = TcpListener::bind(server.public).map_err(|e| at(&server.public, &e))?;
        let mut addresses = Addresses {
            public: listener.local_addr()?,
            metrics: None,
            status: None,
            admin: None,
        };
        let mut servers = vec![begun(http.listen_openssl(listener, tls)?.run(), &server.public).await?];

        if let Some(address) = &server.metrics {
            let listener = TcpListener::bind(address).map_err(|e| at(address, &e))?;
            addresses.metrics = Some(listener.local_addr()?);
            let (shared, worker) = (front.clone(), leaves.clone());
            let http = HttpServer::new(move || {
                missed(&worker)
                    .app_data(shared.clone())
                    .wrap(from_fn(body::whole))
                    .configure(monitor::routes)
            })
            .disable_signals()
            .shutdown_timeout(1)
            .workers(1)
            .max_connections(64)
            .client_request_timeout(limits.header_timeout)
            .client_disconnect_timeout(LAST_WORDS)
            .listen(listener)?;
            servers.push(begun(http.run(), address).await?);
        }
        if let Some(address) = &server.status {
            let listener = TcpListener::bind(address).map_err(|e| at(address, &e))?;
            addresses.status = Some(listener.local_addr()?);
            let (shared, worker) = (front.clone(), leaves.clone());
            let http = HttpServer::new(move || {
                missed(&worker)
                    .app_data(shared.clone())
                    .wrap(from_fn(body::whole))
                    .wrap(from_fn(status::gate))
                    .configure(status::routes)
            })
            .disable_signals()
            .shutdown_timeout(grace)
            .workers(workers)
            .max_connections(connections)
            .worker_max_blocking_threads(limits.concurrency)
            .keep_alive(limits.keep_alive)
            .client_request_timeout(limits.header_timeout)
            .client_disconnect_timeout(LAST_WORDS)
            .tcp_nodelay(true)
            .listen(listener)?;
            servers.push(begun(http.run(), address).await?);
        }
        if let Some(path) = &server.admin {
            let mode = if front.manners.operators.is_empty() {
                0o600
            } else {
                0o660
            };
            let listener = private_socket(path, mode).map_err(|e| at(&path.display(), &e))?;
            addresses.admin = Some(path.clone());
            let (shared, worker) = (front.clone(), leaves.clone());
            let http = HttpServer::new(move || {
                missed(&worker)
                    .app_data(shared.clone())
                    .wrap(from_fn(body::whole))
                    .wrap(from_fn(peer::only_this_host))
                    .configure(admin::routes)
            })
            .disable_signals()
            .shutdown_timeout(grace)
            .workers(1)
            .client_request_timeout(limits.header_timeout)
            .client_disconnect_timeout(LAST_WORDS)
            .on_connect(peer::on_connect)
            .listen_uds(listener)?;
            servers.push(begun(http.run(), &path.display()).await?);
        }
        Ok(Self {
            addresses,
            servers,
            gone,
            grace: server.shutdown_grace,
        })
    }

    /// Answer until `end` comes; then finish what is under way, within the grace. One listener or worker that ends before it
    /// ends the others, too: whoever supervises the process starts it again, whole.
    ///
    /// # Errors
    /// What the servers say.
    pub async fn until(mut self, end: impl Future<Output = ()>) -> io::Result<()> {
        let handles: Vec<ServerHandle> = self.servers.iter().map(Server::handle).collect();
        let mut running = JoinSet::new();
        for server in self.servers {
            running.spawn_local(server);
        }
        let early = tokio::select! {
            () = end => None,
            Some(ended) = running.join_next() => {
                Some(ended.map_err(io::Error::other).flatten().err().unwrap_or_else(|| io::Error::other("a listener ended by itself")))
            }
            Some(()) = self.gone.recv() => Some(io::Error::other("a worker ended by itself")),
        };
        match &early {
            None => tracing::info!(grace = ?self.grace, "ending: requests under way are finished"),
            Some(why) => tracing::error!(%why, "not whole any more: what is left ends, too"),
        }
        let stops: Vec<_> = handles
            .into_iter()
            .map(|handle| actix_web::rt::spawn(async move { handle.stop(true).await }))
            .collect();
        for stop in stops {
            stop.await.map_err(io::Error::other)?;
        }
        while let Some(server) = running.join_next().await {
            server.map_err(io::Error::other)??;
        }
        if let Some(path) = &self.addresses.admin {
            let _ = std::fs::remove_file(path);
        }
        early.map_or(Ok(()), Err)
    }
}

/// A server whose threads are there. They are made when it is polled for the first time, and what fails then is its end.
async fn begun(mut server: Server, address: &dyn core::fmt::Display) -> io::Result<Server> {
    let first = core::future::poll_fn(|context| Poll::Ready(Pin::new(&mut server).poll(context))).await;
    match first {
        Poll::Pending => Ok(server),
        Poll::Ready(Ok(())) => Err(at(address, &io::Error::other("it ended at once"))),
        Poll::Ready(Err(error)) => Err(at(address, &error)),
    }
}

/// A socket for its owner, or for its group, too. The process's umask keeps others out from the first moment.
fn private_socket(path: &Path, mode: u32) -> io::Result<UnixListener> {
    // What a crash left behind is removed; anything that is not a socket, or answers, is not.
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() || std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

fn at(address: &dyn core::fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    /// Two listeners, the first of which lets a worker end that is asked to.
    async fn serving() -> Serving {
        let (leaves, gone) = unbounded_channel();
        let (mut servers, mut addresses) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let worker = leaves.clone();
            let http = HttpServer::new(move || {
                let ends = web::to(|| async {
                    actix_rt::Arbiter::current().stop();
                    "ends"
                });
                missed(&worker).route("/ends", ends)
            });
            let http = http.workers(1).disable_signals().listen(listener).unwrap();
            servers.push(begun(http.run(), &address).await.unwrap());
            addresses.push(address);
        }
        Serving {
            addresses: Addresses {
                public: addresses[0],
                metrics: Some(addresses[1]),
                status: None,
                admin: None,
            },
            servers,
            gone,
            grace: Duration::from_secs(1),
        }
    }

    /// It ends without an order, says why, and nobody listens any more.
    async fn ends(serving: Serving, why: &str) {
        let all = [serving.addresses.public, serving.addresses.metrics.unwrap()];
        let never = core::future::pending();
        let ended = tokio::time::timeout(Duration::from_secs(30), serving.until(never)).await;
        assert_eq!(ended.unwrap().unwrap_err().to_string(), why);
        for address in all {
            assert!(TcpStream::connect(address).is_err());
        }
    }

    #[test]
    fn a_listener_that_ends_by_itself_ends_the_others() {
        actix_web::rt::System::new().block_on(async {
            let serving = serving().await;
            let first = serving.servers[0].handle();
            // Its workers end with it, and may be heard of before.
            let deaf = unbounded_channel();
            let serving = Serving {
                gone: deaf.1,
                ..serving
            };
            actix_web::rt::spawn(async move { first.stop(false).await });
            ends(serving, "a listener ended by itself").await;
        });
    }

    #[test]
    fn a_worker_that_ends_by_itself_ends_the_others() {
        actix_web::rt::System::new().block_on(async {
            let serving = serving().await;
            let mut stream = TcpStream::connect(serving.addresses.public).unwrap();
            stream.write_all(b"GET /ends HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            ends(serving, "a worker ended by itself").await;
        });
    }
}
