//! A wire to PostgreSQL that can be cut at the worst moment.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

/// Where to cut the next COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server never hears it.
    Before,
    /// The server does it, the client never hears of it.
    After,
}

#[derive(Default)]
struct State {
    next: Option<Cut>,
    cuts: usize,
    closed: bool,
}

/// The wire.
pub(crate) struct Proxy {
    directory: TempDir,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// In front of the server whose socket lies in `behind`.
    pub(crate) fn new(behind: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = PathBuf::from(behind).join(".s.PGSQL.5432");
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if shared.lock().unwrap().closed {
                    continue;
                }
                let Ok(server) = UnixStream::connect(&server) else {
                    continue;
                };
                carry(client, server, &shared);
            }
        });
        Self { directory, state }
    }

    /// The URL of a database, through the wire.
    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgres:///{database}?host={}&user=postgres",
            self.directory.path().display()
        )
    }

    /// Cut the next COMMIT.
    pub(crate) fn cut(&self, how: Cut) {
        self.state.lock().unwrap().next = Some(how);
    }

    /// How often it was cut.
    pub(crate) fn cuts(&self) -> usize {
        self.state.lock().unwrap().cuts
    }

    /// After the next cut, let nobody through any more.
    pub(crate) fn close(&self) {
        self.state.lock().unwrap().closed = true;
    }
}

fn carry(client: UnixStream, server: UnixStream, state: &Arc<Mutex<State>>) {
    let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let mute = Arc::new(Mutex::new(false));
    let muted = Arc::clone(&mute);
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(n @ 1..) = from_server.read(&mut buffer) {
            if *muted.lock().unwrap() {
                // The answer to the COMMIT: it was done.
                break;
            }
            if to_client.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _gone = (from_server.shutdown(Shutdown::Both), to_client.shutdown(Shutdown::Both));
    });
    let (mut client, mut server, state) = (client, server, Arc::clone(state));
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(n @ 1..) = client.read(&mut buffer) {
            let commit = buffer[..n].windows(7).any(|w| w == b"COMMIT\0");
            let cut = if commit {
                state.lock().unwrap().next.take()
            } else {
                None
            };
            if cut.is_some() {
                state.lock().unwrap().cuts += 1;
            }
            match cut {
                Some(Cut::Before) => break,
                Some(Cut::After) => *mute.lock().unwrap() = true,
                None => {}
            }
            if server.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _gone = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Write));
    });
}
