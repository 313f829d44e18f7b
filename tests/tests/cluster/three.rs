//! Three servers of one CA behind haproxy, and a way in.

use std::ops::Deref;

use device_kit::clients::Door;
use device_kit::rig::{self, Client, Own, Rig, Shim, Surroundings, Wanted};
use serde_json::json;

use crate::journal::{Journal, now};
use crate::until;

/// Three servers, and who looks at them.
pub(crate) struct Three {
    pub(crate) rig: Rig,
    pub(crate) shim: Shim,
    pub(crate) journal: Journal,
    pub(crate) database: String,
    servers: rig::Three,
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
        Self {
            journal: Journal::of(&rig),
            servers: rig::Three::of(&rig, [(); 3].map(|()| Own::default())),
            rig,
            shim,
            database,
        }
    }

    /// Start it again, at the same address.
    pub(crate) fn start(&self, number: usize) {
        self.servers.start(&self.rig, number);
    }

    /// Start it as another version, or with a fail-point; whether it listens.
    pub(crate) fn start_as(&self, number: usize, around: &Surroundings) -> bool {
        self.own(number, |own| {
            own.environment.clone_from(&around.environment);
            own.programs.clone_from(&around.programs);
        });
        self.try_start(&self.rig, number)
    }

    /// End it, and start it as another version.
    pub(crate) fn exchanged(&self, number: usize, around: &Surroundings) {
        assert_eq!(self.stop(number), Some(0));
        assert!(self.start_as(number, around), "it starts");
        self.in_again(number);
    }

    /// Run it to its end, with its configuration.
    pub(crate) fn refuses(&self, number: usize) -> std::process::Output {
        let config = self.rig.path(&format!("ca{}.toml", number + 1));
        let mut command = self.rig.command_of(&self.rig.around, "ca-server");
        command.arg("--config").arg(config).output().unwrap()
    }

    /// Three clients whose kept connections lead to three servers.
    pub(crate) fn one_at_each(&self) -> [Client; 3] {
        self.servers.one_at_each(&self.rig)
    }

    /// Wait until devices have got so many more certificates.
    pub(crate) fn answers(&self, count: usize) {
        let enough = self.journal.received() + count;
        until("devices get what they ask for", || self.journal.received() >= enough);
    }

    /// What a relying party hears of the CRL now, for the reader.
    pub(crate) fn look(&self) {
        let began = now();
        let url = self.rig.sql("SELECT url FROM crl_point");
        let path = url.strip_prefix("http://pki.example.net").unwrap();
        if let Some((200, der)) = self.balancer.fetch(path) {
            self.journal.note(&json!({
                "kind": "crl", "url": url, "began": began, "ended": now(), "der": hex::encode(der),
            }));
        }
    }
}

impl Deref for Three {
    type Target = rig::Three;

    fn deref(&self) -> &rig::Three {
        &self.servers
    }
}

impl Door for Three {
    fn client(&self) -> Client {
        self.servers.door(&self.rig).client()
    }

    fn revoke(&self, serial: &str) -> bool {
        self.servers.door(&self.rig).revoke(serial)
    }

    fn ask(&self, path: &str, body: &[u8]) -> Option<u16> {
        self.servers.door(&self.rig).ask(path, body)
    }
}
