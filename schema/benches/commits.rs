//! Durable orders per second: `cargo bench -p schema -- [SECONDS] [postgres://…]`, or `STORE_BENCH_POSTGRES` in the
//! environment.
//!
//! An order is what one enrollment writes: a device bound at first contact, evidence, two intents (AK and identity
//! key), audit; "complete" adds the record of both signatures, which is a second durable transaction.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a measurement that cannot go on stops"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use attest::ek::EkTemplate;
use attest::tpm::TpmsClockInfo;
use attest::{Assurance, EkFacts, Entropy, EntropyError, EvidenceRecord, UnixTime};
use issuance::{
    AuditRecord, ClockReading, ClockRule, Decision, DeviceBinding, Intent, IssuedRecord, KeyRole, Order, Recorder as _,
    Serial,
};
use schema::{AllowDevice, Store, StoreOptions};

const NOW: i64 = 1_800_000_000;
const TBS: usize = 900;
const EVIDENCE: usize = 2500;

/// A number spread over bytes; unlike a counter, no index sees it in order.
struct Spread(u64);

impl Entropy for Spread {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for part in out.chunks_mut(8) {
            // splitmix64
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            part.copy_from_slice(&z.to_le_bytes()[..part.len()]);
        }
        Ok(())
    }
}

fn spread<const N: usize>(number: u64, what: u64) -> [u8; N] {
    let mut out = [0; N];
    Spread(number.wrapping_mul(31).wrapping_add(what) << 8)
        .fill(&mut out)
        .unwrap();
    out
}

fn audit(subject: String) -> AuditRecord {
    AuditRecord {
        at: UnixTime(NOW),
        action: "enrollment.granted".to_owned(),
        actor: "bench".to_owned(),
        subject,
        reason: "RULE".to_owned(),
        detail: String::new(),
    }
}

fn order(number: u64) -> Order {
    Order {
        enrollment_id: spread(number, 1),
        request_sha256: spread(number, 2),
        device: Some(DeviceBinding {
            name: format!("bench-{number}"),
            ak_spki_sha256: spread(number, 9),
            clock: ClockReading {
                info: TpmsClockInfo {
                    clock: 1_000,
                    reset_count: 1,
                    restart_count: 0,
                    safe: true,
                },
                asked_at: UnixTime(NOW),
                rule: ClockRule::Hold,
            },
            root: attest::Root::Ek(EkFacts {
                certificate_sha256: spread(number, 3),
                spki_sha256: spread(number, 4),
                template: EkTemplate::L2,
                manufacturer: "id:53544D20".to_owned(),
                model: "ST33".to_owned(),
                version: "id:00010002".to_owned(),
                authority_key_id: String::new(),
                serial: "01".to_owned(),
                anchor: "bench-root".to_owned(),
                anchor_sha256: [7; 32],
                assurance: Assurance::HardwareVerified,
                passed: Vec::new(),
                path: Vec::new(),
            }),
        }),
        transcript: None,
        renews: None,
        evidence: Some(EvidenceRecord {
            digest: spread(number, 5),
            bytes: vec![0x5a; EVIDENCE],
        }),
        audit: audit(format!("bench-{number}")),
        at: UnixTime(NOW),
    }
}

fn intents(number: u64) -> [Intent; 2] {
    [
        (6, "device-iak", KeyRole::Attestation),
        (7, "device-idevid", KeyRole::Identity),
    ]
    .map(|(what, profile, key_role)| Intent {
        serial: Serial::draw(&mut Spread(number << 8 | what)).unwrap(),
        issuer_key_id: vec![1; 20],
        tbs: vec![0x30; TBS],
        profile: profile.to_owned(),
        profile_sha256: [2; 32],
        key_role,
        spki_sha256: spread(number, what),
        decision: Decision {
            rules: vec!["bench".to_owned()],
            reasons: vec!["bench".to_owned()],
            policy_sha256: [3; 32],
        },
        not_before: UnixTime(NOW),
        not_after: UnixTime(NOW + 86_400),
    })
}

fn signatures(intents: &[Intent]) -> Vec<IssuedRecord> {
    let signed = |i: &Intent| IssuedRecord {
        serial: i.serial,
        issuer_key_id: i.issuer_key_id.clone(),
        certificate: [i.tbs.as_slice(), &[0; 80]].concat(),
    };
    intents.iter().map(signed).collect()
}

/// Run `work` on `callers` threads until the time is over; how often it was done per second.
fn rate(callers: usize, time: Duration, work: impl Fn() -> bool + Sync) -> f64 {
    let done = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                while begun.elapsed() < time && work() {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// CPU time of this process so far, in ticks of a hundredth of a second: on a busy machine the steadier figure.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum()
}

fn measure(engine: &str, url: &str, time: Duration) {
    let store = Store::open(url, &StoreOptions::default()).unwrap();
    let next = Arc::new(AtomicU64::new(0));
    // The inventory comes first, and is not measured.
    let allowed = AtomicU64::new(0);
    let allow = |up_to: u64| {
        rate(64, Duration::from_secs(3600), || {
            let number = allowed.fetch_add(1, Ordering::Relaxed);
            let device = AllowDevice {
                ek_kind: None,
                iak_spki_sha256: None,
                name: format!("bench-{number}"),
                ek_spki_sha256: None,
                first_contact_until: Some(NOW + 1),
                dns_names: Vec::new(),
                spiffe_id: None,
                batch: Some("bench".to_owned()),
            };
            store.allow_device(&device, &audit("allow".to_owned())).unwrap();
            number < up_to
        })
    };
    for callers in [1, 8, 64] {
        for complete in [false, true] {
            let enough =
                next.load(Ordering::Relaxed) + time.as_secs().max(1) * if callers == 1 { 4_000 } else { 20_000 };
            allow(enough);
            let limit = allowed.load(Ordering::Relaxed) - 64;
            let (first, ticks) = (next.load(Ordering::Relaxed), cpu_ticks());
            let rate = rate(callers, time, || {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= limit {
                    return false;
                }
                let (order, intents) = (order(number), intents(number));
                store.intend(&order, &intents).unwrap();
                if complete {
                    store.issued(&order.enrollment_id, &signatures(&intents)).unwrap();
                }
                true
            });
            let what = if complete { "intended and issued" } else { "intended" };
            let orders = (next.load(Ordering::Relaxed) - first).max(1);
            let cpu = (cpu_ticks() - ticks) * 10_000 / orders;
            println!("{engine:<10} {callers:>3} callers  {rate:>8.0} orders/s  {cpu:>5} us CPU each  {what}");
        }
    }
}

fn main() {
    // cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let seconds = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(3);
    let time = Duration::from_secs(seconds);
    let directory = tempfile::tempdir().unwrap();
    measure(
        "SQLite",
        &format!("sqlite://{}/bench.db", directory.path().display()),
        time,
    );
    let given = arguments.into_iter().find(|a| a.starts_with("postgres"));
    match given.or_else(|| std::env::var("STORE_BENCH_POSTGRES").ok()) {
        Some(url) => measure("PostgreSQL", &url, time),
        None => println!("PostgreSQL is measured when its URL is given"),
    }
}
