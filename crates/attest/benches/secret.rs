//! A43: does the time of a refusal tell how much of the secret was right? `cargo bench -p attest`.
//!
//! In the manner of dudect (Reparaz, Balasch, Verbauwhede 2017): wrong answers of two classes in random order, the time
//! of each refusal, the slow tail cut off, and Welch's t. Beyond 4.5 the classes differ: then the refusal leaks. Two
//! controls show what the method sees on this machine: a comparison that stops at the first difference, and one class
//! against itself.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program; the kit is that of the tests"
)]

#[path = "../tests/tpm/kit/mod.rs"]
mod kit;

use std::hint::black_box;
use std::time::Instant;

use attest::{Answer, Entropy as _, Pending, SealKey};
use kit::Os;
use kit::device::{Device, NOW};

const ID: [u8; 16] = [7; 16];
/// Refusals in each class.
const SAMPLES: usize = 20_000;
/// The threshold of dudect.
const LEAKS: f64 = 4.5;

fn main() {
    let device = Device::p256();
    let key = SealKey::new(&[1; 32], &[]);
    let (challenge, pending) = device.begin(ID);
    let ticket = pending.seal(&key, &mut Os).unwrap();
    let honest = device.reply(&challenge, ID).answer();
    let right = honest.secret.clone();
    let refuse = |secret: Vec<u8>| {
        let pending = Pending::open(&key, &ID, &ticket, NOW).unwrap();
        let answer = Answer {
            secret,
            ..honest.clone()
        };
        let begun = Instant::now();
        let outcome = pending.answer(answer);
        let took = begun.elapsed().as_nanos();
        assert!(outcome.is_err(), "a wrong secret");
        took
    };
    let wrong_at = |place: usize| {
        let mut secret = right.clone();
        secret[place] ^= 1;
        secret
    };
    let random = || {
        let mut secret = vec![0; 32];
        Os.fill(&mut secret).unwrap();
        secret
    };
    println!("{SAMPLES} refusals in each class; |t| beyond {LEAKS} is a leak");
    report("first byte wrong / last byte wrong", |last| {
        refuse(wrong_at(if last { 31 } else { 0 }))
    });
    report("one wrong secret / random secrets", |fixed| {
        refuse(if fixed { wrong_at(15) } else { random() })
    });
    report("control: a class against itself", |_| refuse(wrong_at(0)));
    report("control: a comparison that stops at a difference", |last| {
        let given = wrong_at(if last { 31 } else { 0 });
        let begun = Instant::now();
        for _ in 0..16 {
            black_box(stops(black_box(&given), black_box(&right)));
        }
        begun.elapsed().as_nanos()
    });
}

/// What must not be.
fn stops(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).all(|(a, b)| black_box(a) == black_box(b))
}

fn report(what: &str, mut sample: impl FnMut(bool) -> u128) {
    let mut classes = [Vec::new(), Vec::new()];
    let mut coins = vec![0; 2 * SAMPLES / 8];
    Os.fill(&mut coins).unwrap();
    for _ in 0..SAMPLES / 20 {
        sample(false);
    }
    for number in 0..2 * SAMPLES {
        let second = coins[number / 8] >> (number % 8) & 1 == 1;
        classes[usize::from(second)].push(sample(second));
    }
    // Interrupts and other processes make the tail; what is left is the work. The cut is the same for both.
    let mut all: Vec<u128> = classes.iter().flatten().copied().collect();
    all.sort_unstable();
    let cut = all[all.len() * 9 / 10];
    let [first, second] = classes.map(|class| Moments::of(class.into_iter().filter(|time| *time <= cut)));
    let t = (first.mean - second.mean) / (first.variance / first.count + second.variance / second.count).sqrt();
    println!(
        "{what:<52} {:>10.1} ns {:>10.1} ns   t = {t:>7.2}   {}",
        first.mean,
        second.mean,
        if t.abs() > LEAKS { "differ" } else { "alike" }
    );
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(times: impl Iterator<Item = u128>) -> Self {
        let times: Vec<f64> = times.map(|time| f64::from(u32::try_from(time).unwrap())).collect();
        let count = f64::from(u32::try_from(times.len()).unwrap());
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - mean) * (time - mean)).sum::<f64>() / (count - 1.0);
        Self { count, mean, variance }
    }
}
