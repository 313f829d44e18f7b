//! One PostgreSQL, and one, two and three servers on it behind haproxy: certificates per second; and for how long nobody gets
//! one when the token goes away and comes back, when the database restarts, and when its standby takes over.
//!
//! ```text
//! cargo bench -p tests --bench replicas -- [--devices N] [--clients N]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a program for people that measures: what fails must stop it"
)]

#[path = "measure/mod.rs"]
mod measure;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use device_kit::endorsement::Template;
use device_kit::postgres::Cluster;
use device_kit::rig::{Balancer, Hosts, Rig, Server, Wanted};
use device_kit::soft_tpm::SoftTpm;
use measure::{cpu_seconds, expect_all, manufacture, memory};
use wire::enrollment::EnrollmentChallenge;

/// What to measure.
#[derive(Parser)]
struct Arguments {
    /// Devices of each run.
    #[arg(long, default_value_t = 1000)]
    devices: usize,
    /// How many ask at once.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Passed by cargo.
    #[arg(long)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    println!("enrollments: two calls, each over a new connection through haproxy, CA key P-256 in one SoftHSM");
    println!(
        "{:<28}{:>8}{:>10}{:>16}{:>9}",
        "", "clients", "per s", "servers' CPU", "RSS MB"
    );
    for servers in 1..=3 {
        throughput(servers, &arguments);
    }
    println!("\nwithout service, three servers: from the fault to the first certificate after it");
    outages(arguments.clients);
}

/// A primary with a standby that is waited for, three servers' configurations, and a balancer before them.
struct Site {
    primary: Cluster,
    standby: Cluster,
    _third: Cluster,
    rig: Rig,
    hosts: Hosts,
    devices: std::sync::Arc<Vec<SoftTpm>>,
}

impl Site {
    fn with(devices: usize) -> Self {
        const NAMES: &str = "synchronous_standby_names = 'FIRST 1 (b, c)'\n";
        let primary = Cluster::start().expect("PostgreSQL");
        let url = primary.database().expect("a database");
        let name = Cluster::name_in(&url).to_owned();
        let standby = primary.standby("b", &[]).expect("a standby");
        let third = primary.standby("c", &[&standby]).expect("a standby");
        let wanted = Wanted {
            database: Cluster::url_of_all(&name, &[&primary, &standby]),
            ..Wanted::default()
        };
        let wanted = wanted
            .set("server", "status", "127.0.0.1:0")
            .set("enrollment", "challenge_ttl", "10m")
            .set("enrollment", "sign_deadline", "5s")
            .set("hsm", "login_backoff", "100ms")
            .set("hsm", "probe_interval", "1s")
            .set("database", "connect_timeout", "2s");
        let rig = Rig::initialised(&wanted);
        let devices = manufacture(&rig, Template::L2, devices);
        expect_all(&rig, &wanted, &devices);
        for one in [&primary, &standby] {
            one.append_settings(NAMES).expect("settings");
            one.reload().expect("settings");
        }
        let waited = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        while primary.sql("postgres", waited).expect("SQL") != "1" {
            std::thread::sleep(Duration::from_millis(20));
        }
        rig.configure(&[("database".into(), "synchronous".into(), "required".into())]);
        Self {
            primary,
            standby,
            _third: third,
            rig,
            hosts: Hosts::ours(),
            devices,
        }
    }

    fn start(&self, servers: usize) -> (Vec<Server>, Balancer) {
        let started = (0..servers).map(|n| self.rig.one_of_three(&self.hosts, n)).collect();
        let balancer = self.rig.balancer(&self.hosts);
        // All three count as up before they were asked.
        while (0..3).any(|n| balancer.sends_to(n) != (n < servers)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        (started, balancer)
    }
}

fn throughput(servers: usize, arguments: &Arguments) {
    let site = Site::with(arguments.devices);
    let (started, balancer) = site.start(servers);
    let cpu = || started.iter().map(|server| cpu_seconds(server.pid())).sum::<f64>();
    let next = AtomicUsize::new(0);
    let (before, begun) = (cpu(), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..arguments.clients {
            scope.spawn(|| {
                while let Some(device) = site.devices.get(next.fetch_add(1, Ordering::Relaxed)) {
                    while !enrolls(&balancer, device) {}
                }
            });
        }
    });
    let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu() - before);
    let count = site.devices.len() as f64;
    println!(
        "{:<28}{:>8}{:>10.0}{:>13.0} us{:>9.0}",
        format!("{servers} server(s)"),
        arguments.clients,
        count / took,
        cpu * 1e6 / count,
        started.iter().map(|server| memory(server.pid(), "VmHWM:")).sum::<f64>()
    );
}

/// Both calls; whether there is a certificate.
fn enrolls(balancer: &Balancer, device: &SoftTpm) -> bool {
    let request = serde_json::to_vec(&device.request("device-ldevid", None, None)).expect("JSON");
    let Ok(raw) = balancer.client().try_post("/v1/enrollments", &request) else {
        return false;
    };
    if raw.status != 201 {
        return false;
    }
    let challenge: EnrollmentChallenge = serde_json::from_slice(&raw.body).expect("a challenge");
    let answer = serde_json::to_vec(&device.answer(&challenge).expect("the right TPM")).expect("JSON");
    let path = format!("/v1/enrollments/{}/activation", challenge.id);
    // Whoever has a certificate already gets it again: for the time without service that is as good.
    matches!(balancer.client().try_post(&path, &answer), Ok(raw) if raw.status == 200)
}

fn outages(clients: usize) {
    let site = Site::with(clients.max(8));
    let (_servers, balancer) = site.start(3);
    let (done, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    let served: Mutex<Vec<Instant>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::Relaxed) % site.devices.len();
                    let device = site.devices.get(number).expect("a device");
                    if enrolls(&balancer, device) {
                        served.lock().expect("no panic").push(Instant::now());
                    } else {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
            });
        }
        let latest = || served.lock().expect("no panic").last().copied();
        let after = |moment: Instant| {
            loop {
                if let Some(last) = latest().filter(|last| *last > moment) {
                    return last;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        // From the fault on; `back`: when what was away is there again.
        let print = |what: &str, fault: Instant, back: Instant| {
            // One that was under way does not count: the token or the database is back first.
            let first = after(back);
            println!(
                "{what:<28}{:>8.2} s, of which it was away {:.2} s",
                first.duration_since(fault).as_secs_f64(),
                back.duration_since(fault).as_secs_f64()
            );
            std::thread::sleep(Duration::from_secs(3));
        };
        let _ = after(Instant::now());
        let (here, away) = (site.rig.path("tokens"), site.rig.path("tokens-away"));
        let fault = Instant::now();
        std::fs::rename(&here, &away).expect("a folder");
        std::thread::sleep(Duration::from_secs(2));
        std::fs::rename(&away, &here).expect("a folder");
        print("token away", fault, Instant::now());

        let fault = Instant::now();
        site.primary.crash().expect("PostgreSQL");
        site.primary.up().expect("PostgreSQL");
        print("database restarted", fault, Instant::now());

        let fault = Instant::now();
        site.primary.crash().expect("PostgreSQL");
        site.standby.promote().expect("PostgreSQL");
        print("standby takes over", fault, Instant::now());
        done.store(true, Ordering::SeqCst);
    });
}
