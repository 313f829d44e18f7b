//! Three servers of one CA behind haproxy: one database, one token, and what is each one's own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::balancer::get;
use super::records::people_call;
use super::{Balancer, Client, Hosts, Rig, Server};
use crate::clients::{Door, PROFILE, until};
use crate::soft_tpm::SoftTpm;

/// What one of three has for itself, from its next start on.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Environment variables; they come after those of all.
    pub environment: Vec<(String, String)>,
    /// Folder of the programs of another build.
    pub programs: Option<PathBuf>,
    /// Values of its configuration: (section, key, TOML value).
    pub settings: Vec<(String, String, toml::Value)>,
}

/// Three servers, of a rig that runs none of its own. Each may be missing.
pub struct Three {
    /// Before them.
    pub balancer: Balancer,
    hosts: Hosts,
    servers: [Mutex<Option<Server>>; 3],
    own: [Mutex<Own>; 3],
    asked: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Three {
    /// Started, and all three are in.
    ///
    /// # Panics
    /// When one does not start.
    #[must_use]
    pub fn of(rig: &Rig, own: [Own; 3]) -> Self {
        let hosts = Hosts::ours();
        let three = Self {
            balancer: rig.balancer(&hosts),
            hosts,
            servers: [(); 3].map(|()| Mutex::new(None)),
            own: own.map(Mutex::new),
            asked: AtomicUsize::new(0),
        };
        for number in 0..3 {
            three.start(rig, number);
        }
        for number in 0..3 {
            three.in_again(number);
        }
        three
    }

    fn place(&self, number: usize) -> MutexGuard<'_, Option<Server>> {
        lock(self.servers.get(number).expect("one of three"))
    }

    /// What is one server's own.
    ///
    /// # Panics
    /// There are three.
    pub fn own(&self, number: usize, change: impl FnOnce(&mut Own)) {
        change(&mut lock(self.own.get(number).expect("one of three")));
    }

    /// Do something with one of them.
    ///
    /// # Panics
    /// When it is not there.
    pub fn with<T>(&self, number: usize, what: impl FnOnce(&mut Server) -> T) -> T {
        what(self.place(number).as_mut().expect("a running server"))
    }

    /// SIGKILL, at once, in the middle of whatever it does; [`Self::kill`] buries it.
    pub fn strike(&self, number: usize) {
        if let Some(server) = self.place(number).as_ref() {
            server.strike();
        }
    }

    /// SIGKILL, if it is there.
    pub fn kill(&self, number: usize) {
        let server = self.place(number).take();
        if let Some(mut server) = server {
            server.kill();
        }
    }

    /// SIGTERM, and its end; its exit code.
    ///
    /// # Panics
    /// When it is not there.
    pub fn stop(&self, number: usize) -> Option<i32> {
        let mut server = self.place(number).take().expect("a running server");
        server.stop()
    }

    /// Start it again, at the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self, rig: &Rig, number: usize) {
        assert!(
            self.try_start(rig, number),
            "ca-server did not start: {}",
            log(rig, number)
        );
    }

    /// Start it, which may end before it listens; whether it listens.
    ///
    /// # Panics
    /// There are three.
    pub fn try_start(&self, rig: &Rig, number: usize) -> bool {
        self.kill(number);
        let own = lock(self.own.get(number).expect("one of three")).clone();
        let server = rig.try_one_of_three(&self.hosts, number, &own).ok();
        let listens = server.is_some();
        *self.place(number) = server;
        listens
    }

    /// Whether its process is there.
    #[must_use]
    pub fn is_alive(&self, number: usize) -> bool {
        self.place(number).as_mut().is_some_and(Server::is_alive)
    }

    /// Whether it is there and says that a person must look.
    #[must_use]
    pub fn is_halted(&self, number: usize) -> bool {
        let monitor = self.place(number).as_ref().map(Server::metrics);
        let said = monitor.and_then(|at| get(at, "/readyz?verbose"));
        said.is_some_and(|(_, text)| String::from_utf8_lossy(&text).contains("[-] halt"))
    }

    /// Three clients whose kept connections lead to three servers.
    ///
    /// # Panics
    /// When two lead to one.
    #[must_use]
    pub fn one_at_each(&self, rig: &Rig) -> [Client; 3] {
        let clients = [(); 3].map(|()| self.balancer.client());
        for client in &clients {
            let tpm = SoftTpm::p256(&rig.vendor);
            let _ = client.begin(&tpm.request(PROFILE, None, None)).expect("a challenge");
        }
        for number in 0..3 {
            self.with(number, |server| {
                assert_eq!(server.phase("challenge"), 1, "no two at one")
            });
        }
        clients
    }

    /// The balancer sends devices to it.
    pub fn in_again(&self, number: usize) {
        until("it is in", || self.balancer.sends_to(number));
    }

    /// The balancer sends nobody to it.
    pub fn taken_out(&self, number: usize) {
        until("it is taken out", || !self.balancer.sends_to(number));
    }

    /// The way in to them.
    #[must_use]
    pub fn door<'a>(&'a self, rig: &'a Rig) -> Way<'a> {
        Way { three: self, rig }
    }
}

/// The log of one of three so far.
fn log(rig: &Rig, number: usize) -> String {
    std::fs::read_to_string(rig.path(&format!("ca{}.log", number + 1))).unwrap_or_default()
}

impl Rig {
    /// The logs of all its servers so far, one behind the other.
    #[must_use]
    pub fn logs(&self) -> String {
        let of_three: String = (0..3).map(|number| log(self, number)).collect();
        self.log() + &of_three
    }
}

/// The way in to three servers: devices through the balancer, people to one after the other, each of which has a socket.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    three: &'a Three,
    rig: &'a Rig,
}

impl Way<'_> {
    fn socket(&self) -> std::path::PathBuf {
        let number = self.three.asked.fetch_add(1, Ordering::Relaxed) % 3;
        self.rig.path(&format!("ca{}.sock", number + 1))
    }
}

impl Door for Way<'_> {
    fn client(&self) -> Client {
        self.three.balancer.client()
    }

    fn revoke(&self, serial: &str) -> bool {
        let output = self
            .rig
            .command("ca-cli")
            .env("HOLDFAST_ADMIN_SOCKET", self.socket())
            .args(["revoke", serial, "--reason", "cessationOfOperation", "--no-input"])
            .output()
            .expect("ca-cli runs");
        output.status.success()
    }

    fn ask(&self, path: &str, body: &[u8]) -> Option<u16> {
        let answer = people_call(&self.socket(), "POST", path, body);
        answer.ok().map(|(status, _)| status)
    }
}
