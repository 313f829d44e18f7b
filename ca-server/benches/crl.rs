//! CRLs from the record to the shelf: `cargo bench -p ca-server --bench crl`.
//!
//! Ten thousand and a million revoked certificates on record, in one CRL and in 128 shards: the first publication, the next
//! one with its comparison, and the peak of memory so far. On SQLite; with `CRL_BENCH_POSTGRES` (the URL of a database
//! that may be emptied) on PostgreSQL, too. The key is in software: one signature in a token is not what counts here.
#![expect(clippy::unwrap_used, reason = "a program that stops where it cannot go on")]

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::io::Write as _;
use std::num::NonZeroU16;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ca_server::flow::publish::{Published, publish};
use ca_server::house::{House, OsEntropy, Parts};
use issuance::{Issuer, IssuerUrls, Serial, SignatureAlgorithm};
use kit::Ca;
use schema::{Store, StoreOptions};

/// VmHWM in MiB: only ever grows, so sizes run from small to large.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib / 1024)
}

/// Where the records are.
#[derive(Clone)]
enum Engine {
    Sqlite(String),
    Postgres(String),
}

impl Engine {
    fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite://{path}"),
            Self::Postgres(url) => url.clone(),
        }
    }
    fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
    fn bytes(&self, bytes: &[u8]) -> String {
        match self {
            Self::Sqlite(_) => format!("x'{}'", hex::encode(bytes)),
            Self::Postgres(_) => format!("'\\x{}'", hex::encode(bytes)),
        }
    }
    /// Run what `write` writes as SQL.
    fn run(&self, write: impl FnOnce(&mut dyn std::io::Write)) {
        let mut command = match self {
            Self::Sqlite(path) => {
                let mut command = Command::new("sqlite3");
                command.args(["-batch", "-bail"]).arg(path);
                command
            }
            Self::Postgres(url) => {
                let mut command = Command::new("psql");
                command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]);
                command
            }
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut input = std::io::BufWriter::new(child.stdin.take().unwrap());
        write(&mut input);
        input.flush().unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());
    }
}

/// Put `count` revoked certificates on record. Their TBSCertificates are shorter than real ones: no CRL reads them.
fn seed(engine: &Engine, issuer: &Issuer, count: u32, at: i64) {
    let (key_id, digest) = (engine.bytes(issuer.key_id()), engine.bytes(&[7; 32]));
    let challenge = engine.bytes(&[7; 16]);
    engine.run(|out| {
        write!(
            out,
            "BEGIN; INSERT INTO enrollment (challenge, request_sha256, created_at) VALUES ({challenge}, {digest}, {at});"
        )
        .unwrap();
        for begin in (0..count).step_by(500) {
            let rows: Vec<String> = (begin..count.min(begin + 500))
                .map(|_| {
                    let serial = Serial::draw(&mut OsEntropy).unwrap();
                    let url = issuer.urls().crl_url(serial.octets()).unwrap();
                    let serial = engine.bytes(serial.octets());
                    // The URL waits in a column of free text.
                    format!(
                        "({serial}, {key_id}, 1, 'p', {digest}, 'identity', {digest}, {digest}, 'intent', {at}, {}, {at}, '{url}')",
                        at + 1_000_000_000
                    )
                })
                .collect();
            writeln!(
                out,
                "INSERT INTO certificate (serial, issuer_key_id, enrollment_id, profile, profile_sha256, key_role, \
                 spki_sha256, tbs, state, not_before, not_after, created_at, decision) VALUES {};",
                rows.join(",")
            )
            .unwrap();
        }
        writeln!(
            out,
            "INSERT INTO crl_entry (certificate_id, issuer_key_id, crl_url, serial, not_after) \
             SELECT id, issuer_key_id, decision, serial, not_after FROM certificate; \
             INSERT INTO revocation (certificate_id, step, state, reason, at, since, actor, comment) \
             SELECT certificate_id, 1, 'revoked', 'superseded', {at}, {at}, '', '' FROM crl_entry; COMMIT; ANALYZE;"
        )
        .unwrap();
    });
}

/// Publish every CRL once; how long, and how many entries.
fn round(house: &House) -> (Duration, usize) {
    let points = house.store.crl_points(house.issuer.key_id()).unwrap();
    let begun = Instant::now();
    let entries = points.iter().map(|point| match publish(house, point, true) {
        Ok(Published::Done { entries, .. }) => entries,
        _ => 0,
    });
    let entries = entries.sum();
    (begun.elapsed(), entries)
}

fn measure(engine: &Engine, ca: &Ca, count: u32, shards: u16) {
    let urls = IssuerUrls {
        crl: Some(
            if shards == 0 {
                "http://pki.example.net/all.crl"
            } else {
                "http://pki.example.net/{shard}.crl"
            }
            .into(),
        ),
        crl_shards: NonZeroU16::new(shards),
        ..IssuerUrls::default()
    };
    let issuer = Issuer::from_chain(&ca.chain, SignatureAlgorithm::EcdsaP256Sha256, urls).unwrap();
    let store = Store::open(&engine.url(), &StoreOptions::default()).unwrap();
    seed(engine, &issuer, count, ca.hands.now());
    let parts = Parts {
        issuer,
        ..ca.parts(&store)
    };
    let house = House::new(parts).unwrap();
    let ((first, entries), (next, again)) = (round(&house), round(&house));
    assert_eq!(
        [entries, again],
        [usize::try_from(count).unwrap(); 2],
        "every one is listed, twice"
    );
    let begun = Instant::now();
    let _ = house.store.crl_steps(house.issuer.key_id()).unwrap();
    let counted = begun.elapsed();
    let octets: usize = house.shelf.all().iter().map(|shelved| shelved.der.len()).sum();
    println!(
        "{:<10} {count:>9} revoked, {:>3} CRLs, {:>6} KiB: first {first:.2?}, next (compared) {next:.2?}, \
         steps counted {counted:.2?}, peak {} MiB",
        engine.name(),
        shards.max(1),
        octets / 1024,
        peak()
    );
}

fn main() {
    // `cargo test --benches` is no occasion to revoke a million certificates.
    if std::env::var_os("HOLDFAST_BENCH").is_none() {
        println!("skipped: set HOLDFAST_BENCH=1");
        return;
    }
    let most = std::env::var("CRL_BENCH_MOST").ok().and_then(|n| n.parse().ok());
    for count in [10_000, 1_000_000]
        .into_iter()
        .filter(|n| most.is_none_or(|most| *n <= most))
    {
        for shards in [128, 0] {
            let ca = Ca::rehearse();
            measure(
                &Engine::Sqlite(ca.path("ca.db").display().to_string()),
                &ca,
                count,
                shards,
            );
            if let Ok(url) = std::env::var("CRL_BENCH_POSTGRES") {
                let engine = Engine::Postgres(url);
                engine.run(|out| {
                    out.write_all(b"DROP SCHEMA public CASCADE; CREATE SCHEMA public;")
                        .unwrap()
                });
                measure(&engine, &ca, count, shards);
            }
        }
    }
}
