//! Bundles verified again: how many in a minute, on how many threads.
//!
//! ```text
//! cargo bench -p tests --bench bundle -- [--bundles N] [--threads N]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a program for people that measures: what fails must stop it"
)]

#[path = "../tests/bundle/iak.rs"]
#[expect(dead_code, reason = "the same, of the other kind of proof")]
mod iak;
#[path = "../tests/bundle/world.rs"]
#[expect(dead_code, reason = "the world of the tests, of which a bench needs the good half")]
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bundle::{Bundle, Trust, verify};
use clap::Parser;
use ledger::VerifierKey;

use crate::world::{Fault, World};

/// What to measure.
#[derive(Parser)]
struct Arguments {
    /// How many bundles.
    #[arg(long, default_value_t = 10_000)]
    bundles: usize,
    /// On how many threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Passed by cargo.
    #[arg(long)]
    bench: bool,
}

/// Different bundles, with keys of every kind; each is read and verified many times.
const KINDS: usize = 24;

fn main() {
    let arguments = Arguments::parse();
    let world = World::new();
    let cases: Vec<_> = (0..KINDS)
        .map(|round| Fault::of("good", &[]).case(&world, round))
        .collect();
    let trust = Trust {
        tpm_roots: cases[0].tpm.clone(),
        ledgers: cases[0]
            .ledgers
            .iter()
            .map(|key| VerifierKey::parse(key).unwrap())
            .collect(),
        ..Trust::default()
    };
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                while let Some(case) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .filter(|number| *number < arguments.bundles)
                    .and_then(|number| cases.get(number % KINDS))
                {
                    let bundle = Bundle::read(&case.bundle).unwrap();
                    let checks = verify(&bundle, &case.certificate, &trust);
                    assert!(checks.iter().all(|check| check.found.is_ok()), "{checks:?}");
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} bundles on {} threads: {seconds:.1} s, {:.0} a minute",
        arguments.bundles,
        arguments.threads,
        arguments.bundles as f64 / seconds * 60.0
    );
}
