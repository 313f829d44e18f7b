//! The servers of one CA: one, or three behind haproxy; each with a token that obeys orders, and, on PostgreSQL, with a proxy
//! before the database.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use device_kit::clients::Door;
use device_kit::proxy::Proxy;
use device_kit::rig::{Own, Rig, Shim, Three, Wanted, Way, Witness};

/// Where orders to fail-points stand.
const VARIABLE: &str = "HOLDFAST_FAILPOINT";
/// What is published as files.
pub(crate) const PUBLIC: &str = "public";
/// How long a job may take to come by the point at which a server is to die.
const JOB: Duration = Duration::from_secs(3);

/// The servers, and what is around them.
pub(crate) struct House {
    pub(crate) rig: Rig,
    pub(crate) three: Option<Three>,
    /// One for each server.
    shims: Vec<Shim>,
    /// One for each server, on PostgreSQL.
    proxies: Vec<Arc<Proxy>>,
    /// Who sees the ledger first, when there is one.
    pub(crate) witness: Option<Witness>,
}

impl House {
    /// One server, which was never started.
    pub(crate) fn of_one(wanted: Wanted) -> Self {
        let mut wanted = settings(wanted);
        let mut proxies = Vec::new();
        if wanted.database.starts_with("postgres") {
            let real = wanted.database.clone();
            let before = Proxy::before(&real);
            wanted.database = before.url(&real);
            proxies.push(Arc::new(before));
        }
        let mut rig = Rig::initialised(&wanted);
        let shims = vec![rig.shim()];
        Self {
            rig,
            three: None,
            shims,
            proxies,
            witness: None,
        }
    }

    /// One server that publishes all there is to publish: delta CRLs, and a ledger that a witness has seen.
    pub(crate) fn of_a_publisher(wanted: Wanted) -> Self {
        let mut house = Self::of_one(publishing(wanted));
        house.witness = Some(witness(&house.rig));
        house
    }

    /// Three servers on one PostgreSQL and one token that publish all there is to publish, started.
    pub(crate) fn of_three(wanted: Wanted) -> Self {
        let wanted = publishing(settings(wanted));
        let mut rig = Rig::initialised(&wanted);
        let witness = Some(witness(&rig));
        let all = rig.shim();
        let shims: Vec<Shim> = (0..3).map(|number| all.of(number)).collect();
        let proxies: Vec<Arc<Proxy>> = (0..3).map(|_| Arc::new(Proxy::before(&wanted.database))).collect();
        let own = [0, 1, 2].map(|number: usize| {
            let url = toml::Value::from(proxies[number].url(&wanted.database));
            Own {
                environment: vec![shims[number].variable()],
                settings: vec![("database".to_owned(), "url".to_owned(), url)],
                ..Own::default()
            }
        });
        let three = Some(Three::of(&rig, own));
        Self {
            rig,
            three,
            shims,
            proxies,
            witness,
        }
    }

    /// How many servers there are when all are well.
    pub(crate) fn servers(&self) -> usize {
        self.shims.len()
    }

    /// Where devices and people come in.
    pub(crate) fn door(&self) -> Entrance<'_> {
        match &self.three {
            Some(three) => Entrance::Three(three.door(&self.rig)),
            None => Entrance::One(&self.rig),
        }
    }

    /// Where relying parties ask.
    pub(crate) fn status(&self) -> SocketAddr {
        match &self.three {
            Some(three) => three.balancer.status(),
            None => self.rig.server().status(),
        }
    }

    /// The token of a server; that of the only one.
    pub(crate) fn shim(&self, at: usize) -> &Shim {
        &self.shims[at]
    }

    /// The proxy between a server and PostgreSQL.
    pub(crate) fn proxy(&self, at: usize) -> &Arc<Proxy> {
        &self.proxies[at]
    }

    /// Whether a proxy stands before the database.
    pub(crate) fn is_proxied(&self) -> bool {
        !self.proxies.is_empty()
    }

    /// Nothing that was ordered of tokens and proxies happens any more.
    pub(crate) fn withdraw(&self) {
        self.shims.iter().for_each(Shim::withdraw);
        self.proxies.iter().for_each(|proxy| proxy.withdraw());
    }

    /// SIGKILL, in the middle of whatever it does.
    pub(crate) fn strike(&self, at: usize) {
        match &self.three {
            Some(three) => three.strike(at),
            None => self.rig.server().strike(),
        }
    }

    /// The balancer leads devices to it.
    pub(crate) fn comes_in(&self, at: usize) {
        if let Some(three) = &self.three {
            three.in_again(at);
        }
    }

    /// One of three dies and comes again with this order to its fail-points, which it may not survive; then without.
    pub(crate) fn starts_with(&self, at: usize, order: &str) {
        let three = self.three.as_ref().unwrap();
        three.own(at, |own| own.environment.push((VARIABLE.to_owned(), order.to_owned())));
        if three.try_start(&self.rig, at) {
            three.in_again(at);
        }
        three.own(at, |own| own.environment.retain(|(name, _)| name != VARIABLE));
    }

    /// Wait for the death of one of three, in which a job may have its part.
    pub(crate) fn dies(&self, at: usize) {
        let (three, begun) = (self.three.as_ref().unwrap(), Instant::now());
        while three.is_alive(at) && begun.elapsed() < JOB {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether there is nobody left who serves. `halted`: somebody said that he does not.
    pub(crate) fn is_dark(&mut self, halted: bool) -> bool {
        match &self.three {
            Some(three) => (0..3).all(|at| !three.is_alive(at) || halted && three.is_halted(at)),
            None => halted || !self.rig.is_alive(),
        }
    }

    /// Whoever is gone or halted is started again, and whoever else is to be; how many.
    pub(crate) fn start_again(&mut self, also: Option<usize>) -> usize {
        let Some(three) = &self.three else {
            self.rig.kill();
            self.rig.start();
            return 1;
        };
        let gone = |at: &usize| also == Some(*at) || !three.is_alive(*at) || three.is_halted(*at);
        let gone: Vec<usize> = (0..3).filter(gone).collect();
        for at in &gone {
            three.start(&self.rig, *at);
        }
        gone.len()
    }
}

/// The way in.
pub(crate) enum Entrance<'a> {
    One(&'a Rig),
    Three(Way<'a>),
}

impl<'a> Deref for Entrance<'a> {
    type Target = dyn Door + 'a;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::One(rig) => *rig,
            Self::Three(way) => way,
        }
    }
}

/// With delta CRLs, and an anchor on the token.
fn publishing(wanted: Wanted) -> Wanted {
    let terms = [("every", "10m"), ("valid", "1h")].map(|(key, value)| (key.to_owned(), value.into()));
    let deltas = toml::Table::from_iter(terms);
    wanted.set("crl", "delta", deltas).set("anchor", "token", true)
}

/// A witness that sees the ledger first.
fn witness(rig: &Rig) -> Witness {
    let witness = Witness::start(rig, "witness.example", &ledger_key(rig));
    let named = |key: &str, value| ("ledger".to_owned(), key.to_owned(), value);
    rig.configure(&[
        named("witness", toml::Value::Array(vec![witness.terms()])),
        named("quorum", 1.into()),
    ]);
    witness
}

/// The verifier key of the ledger.
fn ledger_key(rig: &Rig) -> String {
    let origin = ledger::KeyName::new("pki.example.net/ledger").unwrap();
    let pem = std::fs::read(rig.path("ledger.key")).unwrap();
    let key = ledger::SigningKey::from_pem(origin, ledger::SignatureKind::Ed25519, &pem);
    key.unwrap().verifier().to_string()
}

/// Faults come often here, and everything that waits for one is quick.
fn settings(wanted: Wanted) -> Wanted {
    let wanted = wanted
        .with_crls(0)
        .set("enrollment", "sign_deadline", "1s")
        .set("hsm", "login_backoff", "100ms")
        .set("hsm", "probe_interval", "1s")
        .set("crl", "folder", format!("{PUBLIC}/crls"))
        .set("ledger", "folder", format!("{PUBLIC}/ledger"))
        .set("anchor", "every", "1s");
    match wanted.database.starts_with("postgres") {
        true => wanted.set("database", "connect_timeout", "1s"),
        false => wanted,
    }
}
