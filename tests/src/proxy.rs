//! Between a server and PostgreSQL: every byte passes, until a test wants a connection to end just before, or just after,
//! the database hears a COMMIT. Then neither side learns what the other knows.
//!
//! PostgreSQL's protocol 3.0 over a unix socket: a start-up message, then messages of a type octet and a length
//! (PostgreSQL documentation, Frontend/Backend Protocol, Message Flow).

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

/// Name of PostgreSQL's socket in its directory.
const SOCKET: &str = ".s.PGSQL.5432";

/// At which side of a COMMIT a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The database never hears it: nothing was committed.
    Before,
    /// The database did it, and said so; the server never hears that.
    After,
}

/// What becomes of bytes while there is trouble. Connections stay open, and new ones open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Every answer of the database comes so much later.
    Slow(Duration),
    /// What the database says is lost: one way only.
    Deaf,
    /// What the server says is lost: the other way only.
    Mute,
    /// Of the next answer half is heard; then the connection ends.
    Torn,
}

/// A proxy before one cluster.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    directory: TempDir,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// COMMITs to let pass, then the cut.
    next: Mutex<Option<(usize, Cut)>>,
    /// What there is now.
    trouble: Mutex<Option<Trouble>>,
    /// How often it touched something.
    touched: AtomicUsize,
    /// Both ends of every connection.
    open: Mutex<Vec<UnixStream>>,
    ended: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Whether this COMMIT is the one.
    fn strikes(&self) -> Option<Cut> {
        let mut next = lock(&self.next);
        let (left, cut) = next.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let cut = *cut;
        *next = None;
        Some(cut)
    }
}

impl Proxy {
    /// Before the cluster whose database has this URL (`postgres:///name?host=DIRECTORY&user=...`).
    ///
    /// # Panics
    /// When there is no socket to be had, or the URL is another.
    #[must_use]
    pub fn before(url: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("holdfast-proxy-")
            .tempdir()
            .expect("a folder");
        let real = host(url).join(SOCKET);
        let listener = UnixListener::bind(directory.path().join(SOCKET)).expect("a socket");
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if ours.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, UnixStream::connect(&real)) else {
                    continue;
                };
                // A connection that cannot be carried is one that was cut.
                let _ = carry(&ours, client, server);
            }
        });
        Self {
            shared,
            directory,
            accepting: Some(accepting),
        }
    }

    /// The same database through this proxy.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let real = host(url).display().to_string();
        url.replace(&real, &self.directory.path().display().to_string())
    }

    /// After `pass` more COMMITs, cut at one.
    pub fn cut(&self, pass: usize, cut: Cut) {
        *lock(&self.shared.next) = Some((pass, cut));
    }

    /// Whether a cut still waits for its COMMIT.
    #[must_use]
    pub fn waits(&self) -> bool {
        lock(&self.shared.next).is_some()
    }

    /// Take a cut back.
    pub fn withdraw(&self) {
        *lock(&self.shared.next) = None;
    }

    /// From now on.
    pub fn trouble(&self, trouble: Trouble) {
        *lock(&self.shared.trouble) = Some(trouble);
    }

    /// It is over. Connections that lost something would be found out by the kernel's timers, which a socket of this
    /// machine has not: they end now. How many messages were touched.
    pub fn heal(&self) -> usize {
        if let Some(Trouble::Deaf | Trouble::Mute) = lock(&self.shared.trouble).take() {
            self.cut_all();
        }
        self.shared.touched.swap(0, Ordering::SeqCst)
    }

    /// End every connection now.
    pub fn cut_all(&self) {
        for end in lock(&self.shared.open).drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.directory.path().join(SOCKET));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        self.cut_all();
    }
}

/// Directory of the socket in a URL.
fn host(url: &str) -> &Path {
    let host = url.split_once("host=").map(|(_, rest)| rest).expect("a host");
    Path::new(host.split('&').next().unwrap_or(host))
}

/// Carry bytes both ways, in two threads that end with the connection.
fn carry(shared: &Arc<Shared>, client: UnixStream, server: UnixStream) -> io::Result<()> {
    {
        let mut open = lock(&shared.open);
        open.push(client.try_clone()?);
        open.push(server.try_clone()?);
    }
    let deaf = Arc::new(AtomicBool::new(false));
    let (mut answers, mut to_client, silence) = (server.try_clone()?, client.try_clone()?, Arc::clone(&deaf));
    let answering = Arc::clone(shared);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = answers.read(&mut buffer) {
            let mut read = buffer.get(..length).unwrap_or_default();
            let last = match ours_now(&answering) {
                Some(Trouble::Slow(time)) => {
                    std::thread::sleep(time);
                    false
                }
                Some(Trouble::Deaf) => continue,
                Some(Trouble::Torn) => {
                    read = read.get(..length / 2).unwrap_or_default();
                    true
                }
                Some(Trouble::Mute) | None => false,
            };
            if silence.load(Ordering::SeqCst) {
                // COMMIT was heard, and this is what came of it: nobody is told.
                break;
            }
            if to_client.write_all(read).is_err() || last {
                break;
            }
        }
        let _ = answers.shutdown(Shutdown::Both);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let ours = Arc::clone(shared);
    std::thread::spawn(move || {
        let _ = questions(&ours, &client, &server, &deaf);
        let _ = server.shutdown(Shutdown::Write);
        let _ = client.shutdown(Shutdown::Read);
    });
    Ok(())
}

/// What there is for an answer; counted, when it is anything. A torn one is torn once.
fn ours_now(shared: &Shared) -> Option<Trouble> {
    let mut trouble = lock(&shared.trouble);
    let now = (*trouble)?;
    if now != Trouble::Mute {
        shared.touched.fetch_add(1, Ordering::SeqCst);
    }
    if now == Trouble::Torn {
        *trouble = None;
    }
    Some(now)
}

/// Carry the server's messages to the database, one by one.
fn questions(shared: &Shared, mut client: &UnixStream, mut server: &UnixStream, deaf: &AtomicBool) -> io::Result<()> {
    let mut started = false;
    loop {
        let mut message = Vec::new();
        if started {
            message.resize(1, 0);
            client.read_exact(&mut message)?;
        }
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        message.extend(length);
        let rest = u32::from_be_bytes(length).saturating_sub(4);
        let body = message.len();
        let read = io::copy(&mut client.take(rest.into()), &mut message)?;
        if read != u64::from(rest) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // A simple query: its text, and a zero.
        let commit = started && message.first() == Some(&b'Q') && message.get(body..) == Some(b"COMMIT\0");
        if *lock(&shared.trouble) == Some(Trouble::Mute) {
            shared.touched.fetch_add(1, Ordering::SeqCst);
            started = true;
            continue;
        }
        match commit.then(|| shared.strikes()).flatten() {
            Some(Cut::Before) => {
                server.shutdown(Shutdown::Both)?;
                return client.shutdown(Shutdown::Both);
            }
            Some(Cut::After) => {
                deaf.store(true, Ordering::SeqCst);
                server.write_all(&message)?;
            }
            None => server.write_all(&message)?,
        }
        started = true;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;
    use crate::postgres;

    /// COMMIT or not is what the database says afterwards; the client hears the same of both.
    #[test]
    fn a_connection_is_cut_on_the_side_that_was_asked_for() {
        let cluster = postgres::shared().unwrap();
        let url = cluster.database().unwrap();
        let name = postgres::Cluster::name_in(&url).to_owned();
        let proxy = Proxy::before(&url);
        let insert = |value: u32| {
            Command::new("psql")
                .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &proxy.url(&url)])
                .args([
                    "-c",
                    "BEGIN",
                    "-c",
                    &format!("INSERT INTO t VALUES ({value})"),
                    "-c",
                    "COMMIT",
                ])
                .output()
                .unwrap()
        };
        let _ = cluster.sql(&name, "CREATE TABLE t (n INTEGER)").unwrap();
        assert!(insert(1).status.success());
        proxy.cut(1, Cut::Before);
        assert!(insert(2).status.success());
        assert!(!insert(3).status.success());
        assert!(!proxy.waits());
        proxy.cut(0, Cut::After);
        assert!(!insert(4).status.success());
        assert!(insert(5).status.success());
        let rows = cluster.sql(&name, "SELECT n FROM t ORDER BY n").unwrap();
        assert_eq!(rows, "1\n2\n4\n5");
    }

    /// Under each trouble a client inserts a row: whether it heard of it, and whether the row is there.
    #[test]
    fn trouble_is_of_the_kind_that_was_asked_for() {
        let cluster = postgres::shared().unwrap();
        let url = cluster.database().unwrap();
        let name = postgres::Cluster::name_in(&url).to_owned();
        let proxy = Proxy::before(&url);
        let _ = cluster.sql(&name, "CREATE TABLE t (n INTEGER)").unwrap();
        let slow = Duration::from_millis(300);
        for (number, trouble, hears, happens) in [
            (1, Trouble::Slow(slow), true, true),
            (2, Trouble::Deaf, false, true),
            (3, Trouble::Mute, false, false),
            (4, Trouble::Torn, false, true),
        ] {
            let mut client = Command::new("psql")
                .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &proxy.url(&url)])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut input = client.stdin.take().unwrap();
            let mut output = BufReader::new(client.stdout.take().unwrap()).lines();
            input.write_all(b"SELECT 'connected';\n").unwrap();
            assert_eq!(output.next().unwrap().unwrap(), "connected");
            proxy.trouble(trouble);
            let begun = Instant::now();
            let told = format!("INSERT INTO t VALUES ({number}) RETURNING n;\n");
            input.write_all(told.as_bytes()).unwrap();
            while proxy.shared.touched.load(Ordering::SeqCst) == 0 {
                assert!(begun.elapsed() < Duration::from_secs(20), "{trouble:?}");
                std::thread::sleep(Duration::from_millis(1));
            }
            if hears {
                assert_eq!(output.next().unwrap().unwrap(), number.to_string());
                assert!(begun.elapsed() >= slow, "{trouble:?}");
            }
            assert!(proxy.heal() > 0, "{trouble:?}");
            drop(input);
            assert_eq!(client.wait().unwrap().success(), hears, "{trouble:?}");
            assert!(output.next().is_none(), "{trouble:?}");
            let there = cluster
                .sql(&name, &format!("SELECT count(*) FROM t WHERE n = {number}"))
                .unwrap();
            assert_eq!(there, u8::from(happens).to_string(), "{trouble:?}");
        }
    }

    #[test]
    fn a_proxy_that_goes_away_leaves_no_connection() {
        let cluster = postgres::shared().unwrap();
        let url = cluster.database().unwrap();
        let proxy = Proxy::before(&url);
        let mut one = UnixStream::connect(host(&proxy.url(&url)).join(SOCKET)).unwrap();
        drop(proxy);
        assert_eq!(one.read(&mut [0]).unwrap_or_default(), 0);
    }
}
