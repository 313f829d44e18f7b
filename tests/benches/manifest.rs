//! A manifest verified and imported: devices per second, and the largest memory of tool and server, for ten thousand and a
//! million devices, on SQLite and PostgreSQL.
//!
//! ```text
//! cargo bench -p tests --bench manifest -- [--devices N,N] [--sqlite] [--postgres]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a program for people that measures: what fails must stop it"
)]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use clap::Parser;
use device_kit::rig::{Rig, Wanted};
use manifest::{Entry, Header, Kind, Seal, Writer};
use openssl::ec::{EcGroup, EcKey};
use openssl::pkey::{PKey, Private};

/// What to measure.
#[derive(Parser)]
struct Arguments {
    /// How many devices a lot has, a run for each.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000")]
    devices: Vec<u64>,
    /// Only on SQLite.
    #[arg(long)]
    sqlite: bool,
    /// Only on PostgreSQL.
    #[arg(long)]
    postgres: bool,
    /// Passed by cargo.
    #[arg(long)]
    bench: bool,
}

/// A lot of so many devices, signed.
fn lot(path: &Path, count: u64, key: &PKey<Private>) {
    let header = Header::new(Kind::Lot, &format!("lot of {count}"), "Bench", None, 1_800_000_000).expect("a header");
    let sink = BufWriter::new(File::create(path).expect("a file"));
    let mut writer = Writer::open(sink, &header).expect("a writer");
    for n in 0..count {
        let ek = openssl::sha::sha256(format!("{count} {n}").as_bytes());
        let serial = format!("{count}-{n:08}");
        let entry = Entry::new(Kind::Lot, &serial, "GW-7", &[ek], &[], Vec::new()).expect("an entry");
        writer.push(&entry).expect("a line");
    }
    let (mut sink, closing) = writer.close().expect("a closing");
    let bytes = issuance::Statement::Manifest.bytes(&closing.digest().expect("a digest"));
    let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), key).expect("a signer");
    let signature = signer.sign_oneshot_to_vec(&bytes).expect("a signature");
    let spki = key.public_key_to_der().expect("a key");
    let seal = Seal::new("ecdsa-p256-sha256", &spki, &signature)
        .line()
        .expect("a line");
    sink.write_all(&seal)
        .and_then(|()| sink.write_all(b"\n"))
        .expect("written");
    sink.flush().expect("written");
}

/// Largest resident memory of a process so far, MiB.
fn peak(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Run the tool; seconds and its largest memory.
fn timed(rig: &Rig, arguments: &[&str]) -> (f64, f64) {
    let begun = Instant::now();
    let mut command = rig.command("ca-cli");
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("ca-cli runs");
    let mut largest = 0.0_f64;
    loop {
        if let Some(now) = peak(child.id()) {
            largest = largest.max(now);
        }
        if let Some(status) = child.try_wait().expect("a child") {
            assert!(status.success(), "{arguments:?}: {status}");
            return (begun.elapsed().as_secs_f64(), largest);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn main() {
    let arguments = Arguments::parse();
    let group = EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).expect("a curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    println!("engine      devices  verify/s  tool MiB  import/s  tool MiB  server MiB");
    let both = arguments.sqlite == arguments.postgres;
    for (engine, wanted) in [(arguments.sqlite, false), (arguments.postgres, true)]
        .into_iter()
        .filter(|(asked, _)| both || *asked)
        .map(|(_, postgres)| {
            if postgres {
                ("PostgreSQL", Wanted::postgres())
            } else {
                ("SQLite", Wanted::default())
            }
        })
    {
        for count in &arguments.devices {
            let mut rig = Rig::initialised(&wanted);
            let public = key.public_key_to_pem().expect("a key");
            std::fs::write(rig.path("maker.pem"), public).expect("written");
            let signers = toml::Value::from(vec!["maker.pem"]);
            rig.configure(&[("manifests".into(), "signers".into(), signers)]);
            rig.start();
            let file = rig.path("lot.signed");
            lot(&file, *count, &key);
            let (file, maker) = (file.display().to_string(), rig.path("maker.pem").display().to_string());
            let (verified, verifier) = timed(&rig, &["manifest", "verify", &file, "--signer", &maker]);
            let (imported, importer) = timed(&rig, &["manifest", "import", &file, "--all-or-nothing"]);
            let server = peak(rig.pid()).unwrap_or_default();
            let per = |seconds: f64| *count as f64 / seconds;
            println!(
                "{engine:<10} {count:>8}  {:>8.0}  {verifier:>8.1}  {:>8.0}  {importer:>8.1}  {server:>10.1}",
                per(verified),
                per(imported)
            );
        }
    }
}
