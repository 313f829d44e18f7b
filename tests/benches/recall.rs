//! `device find` over ten thousand and a million devices, on SQLite and PostgreSQL: every page of 50 that an operator
//! would look at first, by what was proven about the TPMs, by lot, by name, and by what ends soon.
//!
//! ```text
//! cargo bench -p tests --bench recall -- [--rounds N] [--devices N,N]
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

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Parser;
use device_kit::fleet::{DAY, NOW, fill};
use device_kit::postgres;
use schema::{DeviceFilter, Store, StoreOptions};
use wire::firmware::FirmwareRule;

/// What to measure.
#[derive(Parser)]
struct Arguments {
    /// How often each question is put.
    #[arg(long, default_value_t = 300)]
    rounds: usize,
    /// How many devices there are, a run for each.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000")]
    devices: Vec<u64>,
    /// Passed by cargo.
    #[arg(long)]
    bench: bool,
}

fn questions() -> Vec<(&'static str, DeviceFilter)> {
    let any = DeviceFilter::default;
    let text = |value: &str| Some(value.to_owned());
    let rule = |value: &str| Some(FirmwareRule::from_text(value).expect("a rule"));
    vec![
        ("all", any()),
        (
            "--tpm-vendor IFX",
            DeviceFilter {
                manufacturer: text("id:49465800"),
                ..any()
            },
        ),
        (
            "--tpm-vendor IFX --tpm-fw '<16.3'",
            DeviceFilter {
                manufacturer: text("id:49465800"),
                firmware: rule("<16.3"),
                ..any()
            },
        ),
        (
            "--tpm-model SLB9671 --tpm-fw '>=20'",
            DeviceFilter {
                model: text("SLB9671"),
                firmware: rule(">=20"),
                ..any()
            },
        ),
        (
            "--tpm-fw '>99' (none)",
            DeviceFilter {
                firmware: rule(">99"),
                ..any()
            },
        ),
        (
            "--batch",
            DeviceFilter {
                batch: text("lot-7"),
                ..any()
            },
        ),
        (
            "--batch --tpm-fw",
            DeviceFilter {
                batch: text("lot-7"),
                firmware: rule("<16.3"),
                ..any()
            },
        ),
        (
            "--expires-before, 1 day's worth",
            DeviceFilter {
                expires_before: Some(NOW + 21 * DAY),
                ..any()
            },
        ),
        (
            "--expires-before, half of all",
            DeviceFilter {
                expires_before: Some(NOW + 200 * DAY),
                ..any()
            },
        ),
        (
            "--expires-before --tpm-vendor",
            DeviceFilter {
                expires_before: Some(NOW + 21 * DAY),
                manufacturer: text("id:49465800"),
                ..any()
            },
        ),
        (
            "--name-contains (a scan, last)",
            DeviceFilter {
                name_contains: text("GW-9999"),
                ..any()
            },
        ),
    ]
}

fn main() {
    let arguments = Arguments::parse();
    println!("device find: a page of 50, wall time of the question");
    println!(
        "{:<12}{:>9}  {:<38}{:>6}{:>10}{:>10}{:>9}",
        "", "devices", "question", "found", "p50 ms", "p99 ms", "growth"
    );
    for engine in ["SQLite", "PostgreSQL"] {
        let mut before: BTreeMap<&str, f64> = BTreeMap::new();
        for &count in &arguments.devices {
            let folder = tempfile::tempdir().expect("a folder");
            let url = match engine {
                "SQLite" => format!("sqlite://{}", folder.path().join("recall.db").display()),
                _ => postgres::shared().and_then(|c| c.database()).expect("PostgreSQL"),
            };
            fill(&url, count);
            let store = Store::open(&url, &StoreOptions::default()).expect("the store");
            for (words, filter) in questions() {
                // What reads every name is asked less often.
                let rounds = if filter.name_contains.is_some() {
                    arguments.rounds / 20
                } else {
                    arguments.rounds
                }
                .max(5);
                let mut found = 0;
                let mut times: Vec<Duration> = (0..rounds)
                    .map(|_| {
                        let begun = Instant::now();
                        found = store.find_devices(&filter, None, 50).expect("a list").items.len();
                        begun.elapsed()
                    })
                    .collect();
                times.sort();
                let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
                let growth = before
                    .get(words)
                    .map_or(String::new(), |small| format!("{:.1}", at(0.5) / small));
                let _ = before.entry(words).or_insert_with(|| at(0.5));
                println!(
                    "{engine:<12}{count:>9}  {words:<38}{found:>6}{:>10.2}{:>10.2}{growth:>9}",
                    at(0.5),
                    at(0.99)
                );
            }
        }
    }
}
