//! Attested enrollments per second, end to end: release builds of the real server on SoftHSM, software devices over TLS
//! with kept connections, on the same machine. Baselines are measured in the same run.
//!
//! ```text
//! cargo bench -p tests --bench enrollment -- [--devices N] [--challenges N] [--clients N,N] [--postgres]
//! cargo bench -p tests --bench enrollment -- --ledger N [--devices N] [--postgres]
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

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use device_kit::endorsement::Template;
use device_kit::postgres;
use device_kit::rig::{Kept, Rig, Wanted};
use measure::{cpu_seconds, expect_all, manufacture, memory};

/// What to measure.
#[derive(Parser)]
struct Arguments {
    /// Devices of each run with ECC endorsement keys.
    #[arg(long, default_value_t = 6000)]
    devices: usize,
    /// Devices with RSA endorsement keys (making them takes time).
    #[arg(long, default_value_t = 300)]
    rsa_devices: usize,
    /// Challenges begun and never finished.
    #[arg(long, default_value_t = 1_000_000)]
    challenges: usize,
    /// Also on PostgreSQL.
    #[arg(long)]
    postgres: bool,
    /// Instead: with and without a ledger, taking turns so many times, 8 clients.
    #[arg(long)]
    ledger: Option<usize>,
    /// How many clients at once, a run for each.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    clients: Vec<usize>,
    /// Measure the floor with the token in this environment, then end. Used by the program itself.
    #[arg(long)]
    floor: Option<std::path::PathBuf>,
    /// Measure what the CA key of this environment signs, then end. Used by the program itself.
    #[arg(long)]
    signatures: Option<std::path::PathBuf>,
    /// Passed by cargo.
    #[arg(long)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    if let Some(dir) = &arguments.floor {
        floor::measure(dir);
        return;
    }
    if let Some(dir) = &arguments.signatures {
        floor::signatures(dir);
        return;
    }
    println!(
        "machine: {} cores",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    let floor = aside("--floor", "floor-cpu-us ", &Wanted::default());
    if let Some(rounds) = arguments.ledger {
        ledger(rounds, arguments.devices, arguments.postgres);
        return;
    }
    println!("\nenrollments: two calls, software devices, P-256 AK and identity key, CA key P-256 in SoftHSM");
    println!(
        "{:<26}{:>8}{:>10}{:>10}{:>10}{:>13}{:>10}{:>9}",
        "", "clients", "per s", "p50 ms", "p99 ms", "server CPU", "x floor", "RSS MB"
    );
    let run = |title: &str, wanted: &Wanted, template: Template, devices: usize| {
        if devices == 0 {
            return;
        }
        for &clients in &arguments.clients {
            // One client alone gets fewer devices: it only has to show its latency.
            let count = if clients == 1 { devices / 6 } else { devices };
            let _told = enroll(title, wanted, template, count.max(clients), clients, floor);
        }
    };
    let sqlite = Wanted::default();
    run("SQLite, ECC EK (L-2)", &sqlite, Template::L2, arguments.devices);
    run("SQLite, RSA EK (L-1)", &sqlite, Template::L1, arguments.rsa_devices);
    let rsa = Wanted {
        issuing: "rsa3072-pkcs1-sha256".to_owned(),
        ..Wanted::default()
    };
    let raw = aside("--signatures", "signatures-per-s ", &rsa);
    println!(
        "a CA key of RSA-3072 signs {raw:.0} per s through the pool; 80 % of that: {:.0}",
        raw * 0.8
    );
    run("SQLite, RSA-3072 CA key", &rsa, Template::L2, arguments.devices / 4);
    if arguments.postgres {
        for &clients in &arguments.clients {
            let cluster = postgres::shared().expect("PostgreSQL");
            let database = cluster.database().expect("a database");
            let wanted = Wanted {
                database,
                ..Wanted::default()
            };
            let _told = enroll(
                "PostgreSQL, ECC EK (L-2)",
                &wanted,
                Template::L2,
                if clients == 1 {
                    arguments.devices / 6
                } else {
                    arguments.devices
                },
                clients,
                floor,
            );
        }
    }
    if arguments.challenges > 0 {
        begun_and_never_finished(arguments.challenges);
    }
}

/// Run this program once more beside a hierarchy of its own, and read its last word.
fn aside(what: &str, word: &str, wanted: &Wanted) -> f64 {
    let rig = Rig::initialised(wanted);
    let output = Command::new(std::env::current_exe().expect("own path"))
        .arg(what)
        .arg(rig.dir.path())
        .env("SOFTHSM2_CONF", rig.path("softhsm2.conf"))
        .output()
        .expect("this program");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (told, last) = text.split_once(word).expect("a measure");
    print!("{told}");
    last.trim().parse().expect("a number")
}

/// What the ledger costs: promises, the tree, its signatures and its tiles. The leaf itself is written in both: no record is
/// issued without (`cargo bench -p schema --bench commits` tells what writing one costs).
fn ledger(rounds: usize, devices: usize, postgres: bool) {
    let floor = aside("--floor", "floor-cpu-us ", &Wanted::default());
    let mut measured: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..2 {
            let with = (round + turn) % 2 == 0;
            let database = match postgres {
                true => Wanted::postgres(),
                false => Wanted::default(),
            };
            let (title, wanted) = match with {
                true => ("with a ledger", database),
                false => ("without", database.without("ledger")),
            };
            let one = enroll(title, &wanted, Template::L2, devices, 8, floor);
            measured[usize::from(with)].push(one);
        }
    }
    let middle = |of: fn(&Measured) -> f64| {
        [0, 1].map(|which| {
            let mut all: Vec<f64> = measured[which].iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        })
    };
    let percent = |[without, with]: [f64; 2]| (with / without - 1.0) * 100.0;
    println!(
        "the ledger, medians of {rounds}: {:+.1} % a second, {:+.1} % of the server's processor time",
        percent(middle(|one| one.per_second)),
        percent(middle(|one| one.cpu))
    );
}

/// What a run came to.
struct Measured {
    per_second: f64,
    /// Microseconds of the server's processor time, each.
    cpu: f64,
}

/// Enroll `count` devices by `clients` clients and print a line.
fn enroll(title: &str, wanted: &Wanted, template: Template, count: usize, clients: usize, floor: f64) -> Measured {
    let mut rig = Rig::initialised(&wanted.clone().set("enrollment", "challenge_ttl", "10m"));
    let devices = manufacture(&rig, template, count);
    expect_all(&rig, wanted, &devices);
    rig.start();
    let next = AtomicUsize::new(0);
    let times: Mutex<Vec<Duration>> = Mutex::new(Vec::with_capacity(count));
    // The connections are kept: they are made before the clock starts.
    let connected = Barrier::new(clients + 1);
    let (cpu, threads, begun) = std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Kept::new(&rig.client());
                connected.wait();
                let mut own = Vec::new();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(device) = devices.get(at) else { break };
                    let begun = Instant::now();
                    let _issued = client.enroll(device, &device.request("device-ldevid", None, None));
                    own.push(begun.elapsed());
                }
                times.lock().expect("no panic").extend(own);
            });
        }
        connected.wait();
        (cpu_seconds(rig.pid()), thread_seconds(rig.pid()), Instant::now())
    });
    let took = begun.elapsed().as_secs_f64();
    let cpu = (cpu_seconds(rig.pid()) - cpu) / count as f64 * 1e6;
    let mut times = times.into_inner().expect("no panic");
    times.sort();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    println!(
        "{title:<26}{clients:>8}{:>10.0}{:>10.1}{:>10.1}{:>10.0} us{:>10.2}{:>9.0}",
        count as f64 / took,
        at(0.5),
        at(0.99),
        cpu,
        cpu / floor,
        memory(rig.pid(), "VmHWM:")
    );
    if clients == 1 {
        by_step("wall time", phases(&rig, "ca_enrollment_phase_seconds_sum", count));
    }
    by_step("CPU time", cpu_by_step(&rig, count, &threads));
    assert_eq!(rig.stop(), Some(0), "the server ends in order");
    Measured {
        per_second: count as f64 / took,
        cpu,
    }
}

/// A sum that the server keeps by phase, as microseconds of one enrollment.
fn phases(rig: &Rig, series: &str, count: usize) -> BTreeMap<String, f64> {
    let (_, text) = rig.monitor("/metrics");
    let of_line = |line: &str| {
        let (phase, rest) = line.strip_prefix(series)?.strip_prefix("{phase=\"")?.split_once('"')?;
        let value: f64 = rest.rsplit(' ').next()?.parse().ok()?;
        Some((phase.to_owned(), value / count as f64 * 1e6))
    };
    text.lines().filter_map(of_line).collect()
}

/// Where the processor time of one enrollment goes: the steps, the store's writer, and what is left of the threads.
fn cpu_by_step(rig: &Rig, count: usize, before: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let mut steps = phases(rig, "ca_enrollment_phase_cpu_seconds_total", count);
    let measured: f64 = steps.values().sum();
    let after = thread_seconds(rig.pid());
    let each = |name: &str| {
        let of = |all: &BTreeMap<String, f64>| all.get(name).copied().unwrap_or_default();
        (of(&after) - of(before)) / count as f64 * 1e6
    };
    steps.insert("(HTTP and TLS)".to_owned(), each("actix-rt|system"));
    steps.insert("(writer)".to_owned(), each("store-writer"));
    steps.insert("(between steps)".to_owned(), each("tokio-rt-worker") - measured);
    steps
}

fn by_step(what: &str, steps: BTreeMap<String, f64>) {
    let mut parts: Vec<(String, f64)> = steps.into_iter().collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let words: Vec<String> = parts.iter().map(|(step, us)| format!("{step} {us:.0}")).collect();
    println!("{:<26}  {what} by step, us: {}", "", words.join(" · "));
}

/// Begin challenges that nobody answers: memory stays flat.
fn begun_and_never_finished(count: usize) {
    let mut rig = Rig::initialised(&Wanted::default());
    let devices = manufacture(&rig, Template::L2, 64);
    rig.start();
    let next = AtomicUsize::new(0);
    let clients = 8;
    let mut marks = Vec::new();
    let idle = memory(rig.pid(), "VmRSS:");
    let begun = Instant::now();
    for tenth in 1..=10usize {
        let until = count / 10 * tenth;
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    let mut client = Kept::new(&rig.client());
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= until {
                            break;
                        }
                        let device = &devices[at % devices.len()];
                        let _begun = client.begin(&device.request("device-ldevid", None, None));
                    }
                });
            }
        });
        next.store(until, Ordering::Relaxed);
        marks.push(memory(rig.pid(), "VmRSS:"));
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    let database = std::fs::metadata(rig.path("ca.db")).map_or(0, |m| m.len() / 1024);
    println!("\n{count} challenges begun and never finished: {rate:.0} per s");
    let marks: Vec<String> = marks.iter().map(|m| format!("{m:.0}")).collect();
    println!(
        "  resident set, MB: idle {idle:.0}, then after each tenth {}; database {database} KB",
        marks.join(" ")
    );
    assert_eq!(rig.stop(), Some(0));
}

/// Processor time by name of thread, seconds.
fn thread_seconds(pid: u32) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("a process")
        .flatten()
    {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        // Nanoseconds, where `stat` counts hundredths of seconds.
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let time: f64 = text.split(' ').next().and_then(|t| t.parse().ok()).unwrap_or_default();
        *all.entry(name.trim().to_owned()).or_default() += time / 1e9;
    }
    all
}

/// The floor: the cryptography and the two durable records of one enrollment, written tightly, without HTTP, TLS, JSON,
/// parsing, policy or lints.
mod floor {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use attest::EvidenceRecord;
    use hsm::{HsmKey, PinSource, Token, TokenConfig};
    use issuance::{Intent, IssuedRecord, KeyRole, Order, Serial, SignatureAlgorithm};
    use openssl::bn::BigNumContext;
    use openssl::ec::{EcGroup, EcKey, EcPoint};
    use openssl::ecdsa::EcdsaSig;
    use openssl::nid::Nid;
    use openssl::pkey::Private;
    use schema::{Store, StoreOptions};

    use super::measure::{audit, cpu_seconds};

    struct Parts {
        group: EcGroup,
        ek: EcKey<Private>,
        verifier: EcKey<Private>,
        signature: EcdsaSig,
        digest: [u8; 32],
        ca: HsmKey,
        probe: issuance::Probe,
        store: Store,
    }

    /// Print floor and CPU time for 8 and 64 threads.
    pub(super) fn measure(dir: &Path) {
        let ca_dir = dir.join("ca");
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
        let verifier = EcKey::generate(&group).expect("a key");
        let digest = openssl::sha::sha256(b"floor");
        let ca = key(&ca_dir);
        let parts = Parts {
            ek: EcKey::generate(&group).expect("a key"),
            group,
            signature: EcdsaSig::sign(&digest, &verifier).expect("a signature"),
            verifier,
            digest,
            probe: issuance::Probe::of(&ca).expect("its own key"),
            ca,
            store: Store::open(
                &format!("sqlite://{}", dir.join("floor.db").display()),
                &StoreOptions::default(),
            )
            .expect("the store"),
        };
        println!("\nfloor of one enrollment: ECDH, 3 P-256 verifications, 1 SoftHSM P-256 signature, verified,");
        println!("and 2 durable records in SQLite with group commit");
        let mut best = f64::MAX;
        for threads in [8, 64] {
            let rounds = 4000;
            let next = AtomicUsize::new(0);
            let cpu = cpu_seconds(std::process::id());
            let begun = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        while next.fetch_add(1, Ordering::Relaxed) < rounds {
                            parts.once();
                        }
                    });
                }
            });
            let took = begun.elapsed().as_secs_f64();
            let cpu = (cpu_seconds(std::process::id()) - cpu) / rounds as f64 * 1e6;
            best = best.min(cpu);
            println!(
                "  {threads:>3} threads {:>8.0} per s {:>8.0} us CPU each",
                rounds as f64 / took,
                cpu
            );
        }
        println!("floor-cpu-us {best:.0}");
    }

    fn key(dir: &Path) -> HsmKey {
        let pin = PinSource::File(dir.join("secrets/issuing.pin"))
            .read(None)
            .expect("the PIN");
        let uri = "pkcs11:token=holdfast-issuing?module-path=/usr/lib/softhsm/libsofthsm2.so"
            .parse()
            .expect("a URI");
        let config = TokenConfig {
            uri,
            sessions: 8,
            queue_deadline: Duration::from_secs(30),
            login_backoff: Duration::from_secs(10),
        };
        let pem = std::fs::read(dir.join("ca/issuing.pem")).expect("the issuing CA");
        let spki = openssl::x509::X509::from_pem(&pem)
            .and_then(|c| c.public_key())
            .and_then(|k| k.public_key_to_der());
        let spki = spki.expect("a key");
        let rsa = openssl::rsa::Rsa::public_key_from_der(&spki).is_ok();
        let algorithm = if rsa {
            SignatureAlgorithm::Rsa3072Pkcs1Sha256
        } else {
            SignatureAlgorithm::EcdsaP256Sha256
        };
        let token = Token::open(config, pin).expect("the token");
        token.ca_key(&[1], &spki, algorithm).expect("the CA's key")
    }

    /// Signatures per second of the CA key through the pool, verified, by eight threads.
    pub(super) fn signatures(dir: &Path) {
        let ca = key(&dir.join("ca"));
        let probe = issuance::Probe::of(&ca).expect("its own key");
        let (begun, time) = (Instant::now(), Duration::from_secs(4));
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while begun.elapsed() < time {
                        probe.sign(&ca).expect("a signature, verified");
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let rate = made.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
        println!("signatures-per-s {rate:.0}");
    }

    impl Parts {
        fn once(&self) {
            // MakeCredential: an ephemeral key, one agreement; KDFs, HMAC and AES are noise beside it.
            let ephemeral = EcKey::generate(&self.group).expect("a key");
            let mut z = EcPoint::new(&self.group).expect("a point");
            let mut numbers = BigNumContext::new().expect("numbers");
            z.mul2(&self.group, self.ek.public_key(), ephemeral.private_key(), &mut numbers)
                .expect("ECDH");
            // EK certificate, TPM2_Certify, CSR.
            for _ in 0..3 {
                assert!(
                    self.signature
                        .verify(&self.digest, &self.verifier)
                        .expect("a verification")
                );
            }
            let (order, intent) = record();
            use issuance::Recorder as _;
            self.store
                .intend(&order, std::slice::from_ref(&intent))
                .expect("a record");
            self.probe.sign(&self.ca).expect("a signature, verified");
            let issued = IssuedRecord {
                serial: intent.serial,
                issuer_key_id: intent.issuer_key_id.clone(),
                certificate: vec![0x30; 900],
            };
            self.store.issued(&order.enrollment_id, &[issued]).expect("a record");
        }
    }

    struct Os;
    impl attest::Entropy for Os {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), attest::EntropyError> {
            openssl::rand::rand_bytes(out).map_err(|_| attest::EntropyError)
        }
    }

    /// An order of a ceremony's shape: no device, the size of a real one.
    fn record() -> (Order, Intent) {
        let mut id = [0; 16];
        openssl::rand::rand_bytes(&mut id).expect("randomness");
        let at = attest::UnixTime(1_795_305_600);
        let order = Order {
            enrollment_id: id,
            request_sha256: [0; 32],
            device: None,
            transcript: None,
            renews: None,
            evidence: Some(EvidenceRecord {
                digest: openssl::sha::sha256(&id),
                bytes: vec![0; 2000],
            }),
            audit: audit(),
            at,
        };
        let intent = Intent {
            serial: Serial::draw(&mut Os).expect("randomness"),
            issuer_key_id: vec![1; 20],
            tbs: vec![0x30; 800],
            profile: "device-ldevid".into(),
            profile_sha256: [0; 32],
            key_role: KeyRole::Identity,
            spki_sha256: openssl::sha::sha256(&id),
            decision: issuance::Decision {
                rules: vec!["floor".into()],
                reasons: Vec::new(),
                policy_sha256: [0; 32],
            },
            not_before: at,
            not_after: attest::UnixTime(at.0 + 86_400),
        };
        (order, intent)
    }
}
