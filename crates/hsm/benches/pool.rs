//! The signer pool against raw C_Sign through the same module, in one run: `cargo bench -p hsm`.
//!
//! Raw: every thread has a session and a key handle of its own and gives the token a digest. Pool: the same digest
//! through the pool. Whole: what issuance asks for, 1,200 bytes to be signed in, DER signature out; hashing and encoding
//! are in it. Bar: the pool reaches 95 % of raw.
//!
//! The room's sources are compiled in once more here: outside the crate nothing can make it sign bytes of one's own
//! choice, and that shall stay so.
#![expect(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "only a part of the room is used here, as a program"
)]

#[path = "../src/attributes.rs"]
mod attributes;
#[path = "../src/error.rs"]
mod error;
#[path = "../src/key.rs"]
mod key;
#[path = "../src/link.rs"]
mod link;
#[path = "../src/module.rs"]
mod module;
#[path = "../src/pin.rs"]
mod pin;
#[path = "../src/pool.rs"]
mod pool;
#[path = "../src/provision.rs"]
mod provision;
#[path = "../src/public.rs"]
mod public;
#[path = "../src/scheme.rs"]
mod scheme;
#[path = "../src/token.rs"]
mod token;
#[path = "../src/uri.rs"]
mod uri;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::object::ObjectClass;
use issuance::SignatureAlgorithm;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Verifier;
use secrecy::SecretString;

use attributes::KeyCustody;
use error::HsmError;
use key::HsmKey;
use module::PinWarning;
use provision::{GeneratedKey, KeySpec, init_token};
use token::{Token, TokenConfig};
use uri::Pkcs11Uri;

const HOME: &str = "HOLDFAST_BENCH_HOME";
const ROUNDS: usize = 21;
const ROUND: Duration = Duration::from_millis(150);
const THREADS: [usize; 3] = [1, 2, 8];
const BAR: f64 = 0.95;
const CROWD: u32 = 64;
const CROWDED: u32 = 102_400;

fn main() -> Result<(), Fault> {
    if std::env::var_os(HOME).is_some() {
        return measure();
    }
    // SoftHSM reads its configuration from the environment, which a program cannot safely change for itself.
    let home = tempfile::tempdir()?;
    let tokens = home.path().join("tokens");
    std::fs::create_dir(&tokens)?;
    let conf = home.path().join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(&conf, text)?;
    let status = Command::new(std::env::current_exe()?)
        .env(HOME, home.path())
        .env("SOFTHSM2_CONF", conf)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("the bench failed".into())
    }
}

fn softhsm() -> PathBuf {
    std::env::var_os("SOFTHSM2_MODULE").map_or_else(|| "/usr/lib/softhsm/libsofthsm2.so".into(), PathBuf::from)
}

fn secret(text: &str) -> SecretString {
    SecretString::new(Box::from(text))
}

fn measure() -> Result<(), Fault> {
    let path = softhsm();
    init_token(&path, "bench", &secret("87654321"), &secret("12345678"))?;
    let uri = Pkcs11Uri {
        token: Some("bench".into()),
        module_path: Some(path.clone()),
        ..Pkcs11Uri::default()
    };
    let token = Token::open(
        TokenConfig {
            sessions: 8,
            ..TokenConfig::new(uri)
        },
        secret("12345678"),
    )?;
    println!("signatures per second: medians over {ROUNDS} rounds of {ROUND:?} each");
    println!("cpu: signatures per second of CPU time, as a ratio to raw; it stays true on a busy machine. Bar {BAR}");
    println!(
        "{:<22} {:>7} {:>8} {:>8} {:>6} {:>6} {:>8} {:>6}",
        "algorithm", "threads", "raw", "pool", "ratio", "cpu", "whole", "cpu"
    );
    let cases = [
        (1, SignatureAlgorithm::EcdsaP256Sha256),
        (2, SignatureAlgorithm::EcdsaP384Sha384),
        (3, SignatureAlgorithm::Rsa3072PssSha256),
    ];
    for (id, algorithm) in cases {
        let made = token.generate(&KeySpec {
            label: format!("bench-{id}"),
            id: vec![id],
            algorithm,
        })?;
        let key = token.ca_key(&[id], &made.spki, algorithm)?;
        if id == 1 {
            crowd(&key, &made.spki)?;
        }
        for threads in THREADS {
            let input = scheme::input(algorithm, &[7; 1200]);
            let mut columns: [Vec<f64>; 6] = Default::default();
            for _ in 0..ROUNDS {
                let raw = through_raw(&path, &token, id, algorithm, threads)?;
                let pool = rate(threads, || Ok(()), |()| Ok(key.sign_input(&input).map(drop)?))?;
                let whole = rate(threads, || Ok(()), |()| Ok(key.sign_bytes(&[7; 1200]).map(drop)?))?;
                // Ratios of neighbours in time: what disturbs the machine disturbs both.
                let ratios = [pool.wall / raw.wall, pool.cpu / raw.cpu, whole.cpu / raw.cpu];
                let round = [raw.wall, pool.wall, whole.wall].into_iter().chain(ratios);
                columns.iter_mut().zip(round).for_each(|(column, one)| column.push(one));
            }
            let [raw, pool, whole, ratio, by_cpu, whole_by_cpu] = columns.map(median);
            let verdict = match (ratio >= BAR, by_cpu >= BAR) {
                (true, _) => "met",
                (false, true) => "disturbed: met by CPU time",
                (false, false) => "MISSED",
            };
            let name = scheme::name(algorithm);
            println!(
                "{name:<22} {threads:>7} {raw:>8.0} {pool:>8.0} {ratio:>6.3} {by_cpu:>6.3} {whole:>8.0} {whole_by_cpu:>6.3}  {verdict}"
            );
        }
    }
    Ok(())
}

/// H06: many threads, many signatures, every one of them right.
fn crowd(key: &HsmKey, spki: &[u8]) -> Result<(), Fault> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CROWD)
            .map(|thread| {
                scope.spawn(move || -> Result<(), Fault> {
                    let public = PKey::public_key_from_der(spki)?;
                    for round in 0..CROWDED / CROWD {
                        let message = [thread.to_be_bytes(), round.to_be_bytes()].concat();
                        let signature = key.sign_bytes(&message)?;
                        let mut verifier = Verifier::new(MessageDigest::sha256(), &public)?;
                        if !verifier.verify_oneshot(&signature, &message)? {
                            return Err("a signature does not verify".into());
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a thread panicked")?)
    })?;
    println!(
        "{CROWDED} signatures by {CROWD} threads at once, each verified: {:.1?}",
        start.elapsed()
    );
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

type Fault = Box<dyn Error + Send + Sync>;

/// Signatures per second, of the clock and of CPU time.
struct Rate {
    wall: f64,
    cpu: f64,
}

fn cpu() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(now).unwrap_or_default().as_secs_f64()
}

/// Rate of `threads` threads, each with its own state made by `prepare`.
fn rate<S>(
    threads: usize,
    prepare: impl Fn() -> Result<S, Fault> + Sync,
    work: impl Fn(&mut S) -> Result<(), Fault> + Sync,
) -> Result<Rate, Fault> {
    let barrier = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> Result<(u32, f64), Fault> {
                    let state = prepare();
                    barrier.wait();
                    let (mut state, start, mut done) = (state?, Instant::now(), 0);
                    while start.elapsed() < ROUND {
                        work(&mut state)?;
                        done += 1;
                    }
                    Ok((done, f64::from(done) / start.elapsed().as_secs_f64()))
                })
            })
            .collect();
        barrier.wait();
        let before = cpu();
        let (mut done, mut wall) = (0, 0.0);
        for worker in workers {
            let (more, rate) = worker.join().map_err(|_| "a thread panicked")??;
            done += more;
            wall += rate;
        }
        Ok(Rate {
            wall,
            cpu: f64::from(done) / (cpu() - before),
        })
    })
}

fn through_raw(
    path: &Path,
    token: &Token,
    id: u8,
    algorithm: SignatureAlgorithm,
    threads: usize,
) -> Result<Rate, Fault> {
    // The module is initialised and logged in already; this is a second view of the same library.
    let pkcs11 = Pkcs11::new(path)?;
    let slot = pkcs11
        .get_slots_with_token()?
        .into_iter()
        .find(|slot| {
            pkcs11
                .get_token_info(*slot)
                .is_ok_and(|info| info.serial_number() == token.serial())
        })
        .ok_or("no slot")?;
    let digest = scheme::input(algorithm, &[7; 1200]);
    rate(
        threads,
        || {
            let session = pkcs11.open_ro_session(slot)?;
            let key = public::one(&session, ObjectClass::PRIVATE_KEY, &[id])?;
            Ok((session, key, scheme::mechanism(algorithm).0))
        },
        |(session, key, mechanism)| {
            session.sign(mechanism, *key, &digest)?;
            Ok(())
        },
    )
}
