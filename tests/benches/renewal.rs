//! Renewals per second, end to end: release builds of the real server on SoftHSM, software devices that show their
//! certificate in TLS and answer a fresh challenge, each over a connection of its own, as devices in the field do. Beside
//! them, in the same run, the same devices' first enrollments, also over a connection each.
//!
//! ```text
//! cargo bench -p tests --bench renewal -- [--devices N] [--clients N,N] [--postgres]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "a program for people that measures: what fails must stop it"
)]

#[path = "measure/mod.rs"]
mod measure;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use device_kit::endorsement::Template;
use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use measure::{cpu_seconds, expect_all, manufacture, memory};

/// What to measure.
#[derive(Parser)]
struct Arguments {
    /// Devices of each run.
    #[arg(long, default_value_t = 2000)]
    devices: usize,
    /// How many clients at once, a run for each.
    #[arg(long, value_delimiter = ',', default_value = "8,64")]
    clients: Vec<usize>,
    /// Also on PostgreSQL.
    #[arg(long)]
    postgres: bool,
    /// Passed by cargo.
    #[arg(long)]
    bench: bool,
}

fn main() {
    without_the_machines_roots();
    let arguments = Arguments::parse();
    println!("renewals: mutual TLS and two calls over a new connection, same key, CA key P-256 in SoftHSM");
    println!(
        "{:<28}{:>8}{:>10}{:>10}{:>10}{:>13}{:>14}{:>9}",
        "", "clients", "per s", "p50 ms", "p99 ms", "server CPU", "x enrollment", "RSS MB"
    );
    for &clients in &arguments.clients {
        run("SQLite", &Wanted::default(), arguments.devices, clients);
        if arguments.postgres {
            run("PostgreSQL", &Wanted::postgres(), arguments.devices, clients);
        }
    }
}

/// OpenSSL reads the machine's list of CAs for every new client, tens of milliseconds: two clients would use up a machine
/// before the server is busy. None of ours believes that list.
fn without_the_machines_roots() {
    const NONE: &str = "/dev/null";
    if std::env::var_os("SSL_CERT_FILE").is_some_and(|file| file == NONE) {
        return;
    }
    let own = std::env::current_exe().expect("this program");
    let status = std::process::Command::new(own)
        .args(std::env::args_os().skip(1))
        .env("SSL_CERT_FILE", NONE)
        .status()
        .expect("this program starts");
    std::process::exit(status.code().unwrap_or(1));
}

/// Enroll all devices, then renew them all.
fn run(engine: &str, wanted: &Wanted, count: usize, clients: usize) {
    let mut rig = Rig::initialised(&wanted.clone().set("enrollment", "challenge_ttl", "10m"));
    let devices = manufacture(&rig, Template::L2, count);
    expect_all(&rig, wanted, &devices);
    rig.start();
    let certificates: Vec<Mutex<Vec<u8>>> = devices.iter().map(|_| Mutex::default()).collect();
    let floor = row(engine, "enrollment", &rig, clients, &devices, None, |at, device| {
        let request = device.request("device-ldevid", None, None);
        let result = rig.client().enroll(device, &request).expect("an identity");
        *certificates[at].lock().expect("no panic") = result.certificates[0].certificate.0.clone();
    });
    let _ = row(engine, "renewal", &rig, clients, &devices, Some(floor), |at, device| {
        let certificate = certificates[at].lock().expect("no panic").clone();
        let client = rig.client().showing(&certificate, &device.identity);
        let renewed = client.renew(device, &certificate, &device.identity).expect("a renewal");
        assert_ne!(renewed.certificates[0].certificate.0, certificate);
    });
    assert_eq!(rig.stop(), Some(0), "the server ends in order");
}

/// Do something for every device, by `clients` clients, and print a line; processor time of the server for one, seconds.
fn row(
    engine: &str,
    what: &str,
    rig: &Rig,
    clients: usize,
    devices: &[SoftTpm],
    floor: Option<f64>,
    job: impl Fn(usize, &SoftTpm) + Sync,
) -> f64 {
    let next = AtomicUsize::new(0);
    let times: Mutex<Vec<Duration>> = Mutex::default();
    let (cpu, begun) = (cpu_seconds(rig.pid()), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut own = Vec::new();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(device) = devices.get(at) else { break };
                    let begun = Instant::now();
                    job(at, device);
                    own.push(begun.elapsed());
                }
                times.lock().expect("no panic").extend(own);
            });
        }
    });
    let took = begun.elapsed().as_secs_f64();
    let cpu = (cpu_seconds(rig.pid()) - cpu) / devices.len() as f64;
    let mut times = times.into_inner().expect("no panic");
    times.sort();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    println!(
        "{:<28}{clients:>8}{:>10.0}{:>10.1}{:>10.1}{:>10.0} us{:>14.2}{:>9.0}",
        format!("{engine}, {what}"),
        devices.len() as f64 / took,
        at(0.5),
        at(0.99),
        cpu * 1e6,
        cpu / floor.unwrap_or(cpu),
        memory(rig.pid(), "VmHWM:")
    );
    cpu
}
