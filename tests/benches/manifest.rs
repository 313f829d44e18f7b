//! A lot made, signed, verified, imported, and one device of it shown: devices per second of each step, and the largest
//! memory of tool and server, for ten thousand to a million devices, on SQLite and PostgreSQL.
//!
//! ```text
//! cargo bench -p tests --bench manifest -- [--devices N,N] [--sqlite] [--postgres] [--identities] [--kill]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a program for people that measures: what fails must stop it"
)]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use clap::Parser;
use device_kit::rig::{Rig, Wanted};
use manifest::{Entry, Header, Identity, Kind, Writer};

/// What to measure.
#[derive(Parser)]
struct Arguments {
    /// How many devices a lot has, a run for each.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    devices: Vec<u64>,
    /// Only on SQLite.
    #[arg(long)]
    sqlite: bool,
    /// Only on PostgreSQL.
    #[arg(long)]
    postgres: bool,
    /// Lines that name two certificates each.
    #[arg(long)]
    identities: bool,
    /// Import this signed manifest instead, which has the number of devices told; `--signer` is its key.
    #[arg(long, requires = "signer")]
    file: Option<String>,
    /// Public key of that manifest's signer.
    #[arg(long)]
    signer: Option<String>,
    /// Kill tool and server in the middle of each import, and go on.
    #[arg(long)]
    kill: bool,
    /// Passed by cargo.
    #[arg(long)]
    bench: bool,
}

/// The table of a lot of so many devices, in no order.
fn table(path: &Path, count: u64) {
    let mut sink = BufWriter::new(File::create(path).expect("a file"));
    writeln!(sink, "serial,ek").expect("written");
    for n in 0..count {
        // 7919 is prime: every device once.
        let n = n * 7919 % count;
        let ek = openssl::sha::sha256(format!("{count} {n}").as_bytes());
        writeln!(sink, "{count}-{n:08},{}", hex::encode(ek)).expect("written");
    }
    sink.flush().expect("written");
}

/// The manifest of that table, not signed, with certificates of an IAK and an IDevID of each device: a table names files, and
/// a million of them are not what is measured here.
fn with_identities(path: &Path, count: u64) {
    let header = Header::new(Kind::Lot, &format!("lot of {count}"), "Bench", None, 1_800_000_000).expect("a header");
    let sink = BufWriter::new(File::create(path).expect("a file"));
    let mut writer = Writer::open(sink, &header).expect("a writer");
    for n in 0..count {
        let hash = |of: &str| openssl::sha::sha256(format!("{of}{count} {n}").as_bytes());
        let identity = |profile: &str| Identity {
            profile: profile.to_owned(),
            serial: hex::encode(hash(profile).first_chunk::<16>().expect("octets")),
            sha256: hex::encode(hash(profile)),
            not_after: 253_402_300_799,
        };
        let identities = ["device-iak", "device-idevid"].map(identity).to_vec();
        let serial = format!("{count}-{n:08}");
        let entry = Entry::new(Kind::Lot, &serial, "GW-7", &[hash("")], &[], identities).expect("an entry");
        writer.push(&entry).expect("a line");
    }
    let (mut sink, _) = writer.close().expect("a closing");
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

/// Kill the tool after a third, then the server after another, with SIGKILL; what is left is for the import that is measured.
fn killed(rig: &mut Rig, import: &[&str], count: u64) {
    for server in [false, true] {
        let upto = read(rig) + count / 3;
        let mut command = rig.command("ca-cli");
        command.args(import).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("ca-cli runs");
        while read(rig) < upto {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        if server {
            rig.kill();
        } else {
            child.kill().expect("killed");
        }
        let _ = child.wait();
        if server {
            rig.start();
        }
        println!(
            "  killed after {} devices: {}",
            read(rig),
            if server { "server" } else { "tool" }
        );
    }
}

/// Lines that the server has read.
fn read(rig: &Rig) -> u64 {
    let (_, body) = rig.admin_call("GET", "/v1/manifests", b"");
    let page: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    page["items"][0]["lines_read"].as_u64().unwrap_or(0)
}

fn main() {
    let arguments = Arguments::parse();
    let both = arguments.sqlite == arguments.postgres;
    let engines = [
        (both || arguments.sqlite, "SQLite", Wanted::default as fn() -> Wanted),
        (both || arguments.postgres, "PostgreSQL", Wanted::postgres),
    ];
    println!("engine      devices  step        per s    tool MiB  server MiB");
    for (_, engine, wanted) in engines.into_iter().filter(|(asked, ..)| *asked) {
        for count in &arguments.devices {
            let rig = Rig::initialised(&wanted());
            measure(rig, engine, *count, &arguments);
        }
    }
}

fn measure(mut rig: Rig, engine: &str, count: u64, arguments: &Arguments) {
    let told = |step: &str, (seconds, memory): (f64, f64), server: Option<f64>| {
        let server = server.map(|mib| format!("{mib:>10.1}")).unwrap_or_default();
        println!(
            "{engine:<10} {count:>8}  {step:<8} {:>9.0}  {memory:>9.1}  {server}",
            count as f64 / seconds
        );
    };
    let (signed, key) = match (&arguments.file, &arguments.signer) {
        (Some(file), Some(signer)) => (file.clone(), signer.clone()),
        _ => made(&rig, count, arguments.identities, told),
    };
    rig.configure(&[("manifests".into(), "signers".into(), vec![key].into())]);
    rig.start();
    let import = ["manifest", "import", &signed, "--all-or-nothing"];
    let begun = Instant::now();
    if arguments.kill {
        killed(&mut rig, &import, count);
    }
    let (_, memory) = timed(&rig, &import);
    told("import", (begun.elapsed().as_secs_f64(), memory), peak(rig.pid()));
    assert_eq!(read(&rig), count, "every device");
}

/// Make the lot, step by step: the signed manifest, and the key.
fn made(rig: &Rig, count: u64, identities: bool, told: impl Fn(&str, (f64, f64), Option<f64>)) -> (String, String) {
    let at = |name: &str| rig.path(name).display().to_string();
    let [csv, draft, signed, key, proof] =
        ["lot.csv", "lot.draft", "lot.signed", "manifest-key.pem", "one.proof"].map(at);
    let pin = at("secrets/issuing.pin");
    let token = [
        "--module",
        "/usr/lib/softhsm/libsofthsm2.so",
        "--token",
        "holdfast-issuing",
        "--id",
        "0a",
    ];
    let token = [&token[..], &["--label", "manifest-1", "--pin-file", &pin]].concat();
    timed(rig, &[&["manifest", "key", "--out", &key], &token[..]].concat());
    if identities {
        with_identities(Path::new(&draft), count);
    } else {
        table(Path::new(&csv), count);
        let lot = format!("lot of {count}");
        let create = [
            "manifest", "create", "--lot", &lot, "--maker", "Bench", "--model", "GW-7",
        ];
        let create = [&create[..], &["--from", &csv, "--out", &draft]].concat();
        told("create", timed(rig, &create), None);
    }
    told(
        "sign",
        timed(
            rig,
            &[&["manifest", "sign", &draft, "--out", &signed], &token[..]].concat(),
        ),
        None,
    );
    told(
        "verify",
        timed(rig, &["manifest", "verify", &signed, "--signer", &key]),
        None,
    );
    let device = format!("{count}-{:08}", count / 2);
    told(
        "prove",
        timed(
            rig,
            &["manifest", "prove", &signed, "--device", &device, "--out", &proof],
        ),
        None,
    );
    (signed, key)
}
