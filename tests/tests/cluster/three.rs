//! Three servers of one CA behind haproxy, and a way in.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use device_kit::rig::{Balancer, Client, Hosts, Rig, Server, Shim, Wanted};
use device_kit::soft_tpm::SoftTpm;

use crate::device::{Door, PROFILE};
use crate::journal::Journal;
use crate::until;

/// Three servers, whose rig runs none of its own.
pub(crate) struct Three {
    pub(crate) rig: Rig,
    pub(crate) shim: Shim,
    pub(crate) journal: Journal,
    pub(crate) database: String,
    pub(crate) balancer: Balancer,
    hosts: Hosts,
    servers: [Mutex<Option<Server>>; 3],
    asked: AtomicUsize,
}

impl Three {
    /// Started, and all three are in.
    pub(crate) fn on(wanted: Wanted) -> Self {
        let wanted = wanted
            .with_crls(0)
            .set("enrollment", "sign_deadline", "2s")
            .set("hsm", "login_backoff", "100ms")
            .set("hsm", "probe_interval", "1s")
            .set("server", "shutdown_grace", "10s")
            .set("database", "connect_timeout", "2s");
        let database = wanted.database.clone();
        let mut rig = Rig::initialised(&wanted);
        let shim = rig.shim();
        let hosts = Hosts::ours();
        let servers = [0, 1, 2].map(|number| Mutex::new(Some(rig.one_of_three(&hosts, number))));
        let three = Self {
            journal: Journal::of(&rig),
            balancer: rig.balancer(&hosts),
            rig,
            shim,
            database,
            hosts,
            servers,
            asked: AtomicUsize::new(0),
        };
        for number in 0..3 {
            until("it is in", || three.balancer.sends_to(number));
        }
        three
    }

    /// Do something with one of them.
    pub(crate) fn with<T>(&self, number: usize, what: impl FnOnce(&mut Server) -> T) -> T {
        what(self.servers[number].lock().unwrap().as_mut().unwrap())
    }

    /// SIGKILL, at once.
    pub(crate) fn kill(&self, number: usize) {
        self.servers[number].lock().unwrap().take().unwrap().kill();
    }

    /// SIGTERM, and its end; its exit code.
    pub(crate) fn stop(&self, number: usize) -> Option<i32> {
        let mut server = self.servers[number].lock().unwrap().take().unwrap();
        server.stop()
    }

    /// Start it again, at the same address.
    pub(crate) fn start(&self, number: usize) {
        let server = self.rig.one_of_three(&self.hosts, number);
        *self.servers[number].lock().unwrap() = Some(server);
    }

    /// Three clients whose kept connections lead to three servers.
    pub(crate) fn one_at_each(&self) -> [Client; 3] {
        let clients = [(); 3].map(|()| self.balancer.client());
        for client in &clients {
            let tpm = SoftTpm::p256(&self.rig.vendor);
            let _ = client.begin(&tpm.request(PROFILE, None, None)).unwrap();
        }
        for number in 0..3 {
            self.with(number, |server| {
                assert_eq!(server.phase("challenge"), 1, "no two at one")
            });
        }
        clients
    }

    /// The balancer sends devices to it.
    pub(crate) fn in_again(&self, number: usize) {
        until("it is in again", || self.balancer.sends_to(number));
    }

    /// The balancer sends nobody to it.
    pub(crate) fn taken_out(&self, number: usize) {
        until("it is taken out", || !self.balancer.sends_to(number));
    }

    /// What a relying party hears of the CRL now, for the reader.
    pub(crate) fn look(&self) {
        let began = crate::journal::now();
        let url = self.rig.sql("SELECT url FROM crl_point");
        let path = url.strip_prefix("http://pki.example.net").unwrap();
        if let Some((200, der)) = self.balancer.fetch(path) {
            self.journal.note(&serde_json::json!({
                "kind": "crl", "url": url, "began": began, "ended": crate::journal::now(), "der": hex::encode(der),
            }));
        }
    }
}

impl Door for Three {
    fn client(&self) -> Client {
        self.balancer.client()
    }

    /// At one of the three after the other: each has its own socket.
    fn revoke(&self, serial: &str) -> bool {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) % 3;
        let socket = self.rig.path(&format!("ca{}.sock", number + 1));
        let output = self
            .rig
            .command("ca-cli")
            .env("HOLDFAST_ADMIN_SOCKET", socket)
            .args(["revoke", serial, "--reason", "cessationOfOperation", "--no-input"])
            .output()
            .unwrap();
        output.status.success()
    }
}
