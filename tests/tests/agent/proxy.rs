//! A wire between agent and server that fails when it is told to.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// The head of an activation is on its way when so many bytes were sent after it was remembered: more than a TLS
/// handshake, less than the keys and proofs in it.
const ACTIVATION: usize = 2000;
/// An answer with certificates is longer than this; the tickets of TLS 1.3 are shorter.
const ANSWER: usize = 1500;

/// What goes wrong with the next activation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It never arrives.
    Request,
    /// It arrives and is answered; the answer is lost.
    Answer,
}

struct Wire {
    target: SocketAddr,
    fault: Option<Fault>,
    /// There once the agent is about to send the activation.
    journal: PathBuf,
    happened: Sender<Fault>,
}

/// The wire.
pub(crate) struct Proxy {
    port: u16,
    wire: Arc<Mutex<Wire>>,
    happened: Receiver<Fault>,
}

impl Proxy {
    /// To `target`; `journal` is where the agent remembers what it sends.
    pub(crate) fn to(target: SocketAddr, journal: PathBuf) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, happened) = channel();
        let wire = Arc::new(Mutex::new(Wire {
            target,
            fault: None,
            journal,
            happened: sender,
        }));
        let shared = Arc::clone(&wire);
        // Ends with the process: it holds nothing but a port.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, wire) = (client.unwrap(), Arc::clone(&shared));
                let target = wire.lock().unwrap().target;
                // No server: the agent sees a connection that ends at once.
                if let Ok(server) = TcpStream::connect(target) {
                    join(client, server, wire);
                }
            }
        });
        Self { port, wire, happened }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(crate) fn retarget(&self, target: SocketAddr) {
        self.wire.lock().unwrap().target = target;
    }

    /// Let the next activation go wrong.
    pub(crate) fn arm(&self, fault: Fault) {
        self.wire.lock().unwrap().fault = Some(fault);
    }

    /// Wait until it did.
    pub(crate) fn wait(&self) -> Fault {
        self.happened.recv_timeout(std::time::Duration::from_secs(120)).unwrap()
    }
}

fn join(client: TcpStream, server: TcpStream, wire: Arc<Mutex<Wire>>) {
    let losing = Arc::new(Mutex::new(false));
    let (up, down) = (
        (client.try_clone().unwrap(), server.try_clone().unwrap()),
        (server, client),
    );
    let (up_wire, up_losing) = (Arc::clone(&wire), Arc::clone(&losing));
    std::thread::spawn(move || {
        let (mut from, mut to) = up;
        let (mut buffer, mut sent) = ([0; 16 * 1024], 0);
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let mut wire = up_wire.lock().unwrap();
            if wire.journal.exists() {
                sent += length;
            }
            if sent >= ACTIVATION {
                match wire.fault.take() {
                    Some(Fault::Request) => {
                        // Whoever waits must be done before the agent can try again: it waits for the wire's lock.
                        wire.happened.send(Fault::Request).unwrap();
                        break;
                    }
                    Some(Fault::Answer) => *up_losing.lock().unwrap() = true,
                    None => {}
                }
            }
            drop(wire);
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        end(&from, &to);
    });
    std::thread::spawn(move || {
        let (mut from, mut to) = down;
        let (mut buffer, mut lost) = ([0; 16 * 1024], 0);
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if *losing.lock().unwrap() {
                lost += length;
                if lost < ANSWER {
                    continue;
                }
                wire.lock().unwrap().happened.send(Fault::Answer).unwrap();
                break;
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        end(&from, &to);
    });
}

fn end(one: &TcpStream, other: &TcpStream) {
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}
