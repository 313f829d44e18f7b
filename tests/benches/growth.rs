//! What the record costs as it grows: pages that PostgreSQL touches and time, for each question and act of the daily work,
//! with ten thousand, a million and ten million identities; and how much room one takes. Pages are the same on any machine.
//!
//! ```text
//! cargo bench -p tests --bench growth -- [--rounds N] [--identities N,N]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "a program for people that measures: what fails must stop it"
)]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Parser;
use device_kit::{fleet, postgres};
use issuance::AuditRecord;
use schema::{AllowDevice, AuditFilter, DeviceFilter, Store, StoreOptions};

/// What to measure.
#[derive(Parser)]
struct Arguments {
    /// How often each is done.
    #[arg(long, default_value_t = 300)]
    rounds: u64,
    /// How many identities there are, a run for each.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000,10000000")]
    identities: Vec<u64>,
    /// Passed by cargo.
    #[arg(long)]
    bench: bool,
}

type Act = fn(&Store, u64);

/// Number `n` stands for another one at each call, somewhere in the record.
fn acts() -> [(&'static str, Act); 7] {
    [
        ("a certificate by serial", |store, n| {
            assert!(store.certificate(&key(n)).expect("an answer").is_some());
        }),
        ("statuses of 16 serials (OCSP)", |store, n| {
            let serials: Vec<[u8; 16]> = (0..16).map(|k| key(n.saturating_sub(k).max(1))).collect();
            let issuer = key(n);
            assert!(store.statuses(&issuer, &serials).expect("an answer").len() <= 16);
        }),
        ("a device by name", |store, n| {
            assert!(store.device_by_name(&format!("GW-{n}")).expect("an answer").is_some());
        }),
        ("a page of a lot", |store, n| {
            let filter = DeviceFilter {
                batch: Some(format!("lot-{}", n / 1000)),
                ..DeviceFilter::default()
            };
            assert!(!store.find_devices(&filter, None, 50).expect("a list").items.is_empty());
        }),
        ("a page of what ends soon", |store, _| {
            let filter = DeviceFilter {
                expires_before: Some(fleet::NOW + 21 * fleet::DAY),
                ..DeviceFilter::default()
            };
            assert!(!store.find_devices(&filter, None, 50).expect("a list").items.is_empty());
        }),
        ("the record of a subject", |store, n| {
            let filter = AuditFilter {
                subject: Some(format!("GW-{n}")),
            };
            let _ = store.audit_entries(&filter, 50).expect("a list");
        }),
        ("a device is expected (a write)", |store, n| {
            let name = format!("new-{n}-{}", store_clock());
            let device = AllowDevice {
                ek_kind: None,
                iak_spki_sha256: None,
                ek_spki_sha256: Some(digest(&name)),
                name,
                first_contact_until: None,
                dns_names: Vec::new(),
                spiffe_id: None,
                batch: Some(format!("lot-{}", n / 1000)),
            };
            let audit = AuditRecord {
                at: attest::UnixTime(fleet::NOW),
                action: "device.allowed".into(),
                actor: "bench".into(),
                subject: format!("GW-{n}"),
                reason: String::new(),
                detail: String::new(),
            };
            let _ = store.allow_device(&device, &audit).expect("a new device");
        }),
    ]
}

/// As `fill` makes them: sixteen digits.
fn key(n: u64) -> [u8; 16] {
    format!("{n:016}").as_bytes().try_into().expect("sixteen")
}

fn digest(of: &str) -> [u8; 32] {
    openssl::sha::sha256(of.as_bytes())
}

/// Something that is never the same.
fn store_clock() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_nanos())
}

/// One value, past the store.
fn sql(url: &str, query: &str) -> f64 {
    let output = Command::new("psql")
        .args(["-X", "-A", "-t", "-d", url, "-c", query])
        .output();
    let output = output.expect("psql is installed");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.parse()
        .unwrap_or_else(|_| panic!("{query}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Pages that were touched so far, in memory or not. Counted when a connection ends.
fn touched(url: &str) -> f64 {
    sql(
        url,
        "SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = current_database()",
    )
}

fn main() {
    let arguments = Arguments::parse();
    println!(
        "{:>10}  {:<34}{:>12}{:>9}{:>10}{:>10}",
        "identities", "", "pages each", "growth", "p50 ms", "p99 ms"
    );
    let mut before: BTreeMap<&str, f64> = BTreeMap::new();
    for &count in &arguments.identities {
        let url = postgres::shared().and_then(|c| c.database()).expect("PostgreSQL");
        let empty = sql(&url, "SELECT pg_database_size(current_database())");
        let begun = Instant::now();
        fleet::fill(&url, count);
        let (filled, size) = (
            begun.elapsed(),
            sql(&url, "SELECT pg_database_size(current_database())"),
        );
        for (words, act) in acts() {
            // What a connection itself costs, and the first plan: in the first round of two.
            let mut pages = Vec::new();
            let mut times: Vec<Duration> = Vec::new();
            for rounds in [1, arguments.rounds + 1] {
                let start = touched(&url);
                let store = Store::open(&url, &StoreOptions::default()).expect("the store");
                times = (0..rounds)
                    .map(|round| {
                        // Far from each other, and the same at each size of the record.
                        let n = round.wrapping_mul(7_919_999) % count + 1;
                        let begun = Instant::now();
                        act(&store, n);
                        begun.elapsed()
                    })
                    .collect();
                drop(store);
                // The other connections of the store end by themselves, soon.
                until_idle(&url);
                pages.push(touched(&url) - start);
            }
            times.sort();
            let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
            let each = (pages[1] - pages[0]) / arguments.rounds as f64;
            let growth = before
                .get(words)
                .map_or(String::new(), |small| format!("{:.2}", each / small));
            let _ = before.entry(words).or_insert(each);
            println!(
                "{count:>10}  {words:<34}{each:>12.1}{growth:>9}{:>10.2}{:>10.2}",
                at(0.5),
                at(0.99)
            );
        }
        println!(
            "{count:>10}  room: {:.0} bytes an identity without evidence; filled in {:.0} s",
            (size - empty) / count as f64,
            filled.as_secs_f64()
        );
    }
}

/// Until nobody but who asks is connected, so that everything is counted.
fn until_idle(url: &str) {
    while sql(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    ) > 0.0
    {
        std::thread::sleep(Duration::from_millis(20));
    }
}
