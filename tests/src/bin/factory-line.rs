//! A factory line in small: a lot of swtpm devices, each given IAK and IDevID by the real agent in one conversation.
#![expect(clippy::print_stdout, reason = "this is a program for people")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use device_kit::rig::binary;
use device_kit::swtpm::{Swtpm, VendorCa};
use indicatif::{ProgressBar, ProgressStyle};

/// Enroll a lot of swtpm devices and print a table.
#[derive(Parser)]
struct Line {
    /// How many devices.
    #[arg(long, default_value_t = 10)]
    devices: usize,
    /// Stations that work side by side.
    #[arg(long, default_value_t = 2)]
    stations: usize,
    /// URL of ca-server.
    #[arg(long)]
    server: String,
    /// Root fingerprint the devices pin.
    #[arg(long)]
    root_sha256: String,
    /// Folder of the TPM vendor's CA.
    #[arg(long)]
    vendor: PathBuf,
    /// Where the devices keep their state.
    #[arg(long)]
    state_dir: PathBuf,
    /// Lot.
    #[arg(long)]
    batch: String,
}

/// One device, done.
struct Unit {
    number: usize,
    outcome: Result<Identity>,
    manufactured: Duration,
    enrolled: Duration,
}

/// What a device got.
struct Identity {
    iak: String,
    idevid: String,
}

fn main() -> Result<()> {
    let line = Line::parse();
    std::fs::create_dir_all(&line.state_dir)?;
    let vendor = VendorCa::at(&line.vendor);
    // Off a terminal the bar is hidden: then each unit is a line.
    let bar = ProgressBar::new(line.devices as u64).with_style(ProgressStyle::with_template(
        "    {msg}  [{bar:32}]  {pos}/{len}  {per_sec}  ETA {eta}",
    )?);
    bar.set_message(line.batch.clone());
    let next = AtomicUsize::new(1);
    let done: Mutex<Vec<Unit>> = Mutex::new(Vec::new());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..line.stations.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number > line.devices {
                        break;
                    }
                    let unit = line.unit(number, &vendor);
                    if bar.is_hidden() {
                        let word = if unit.outcome.is_ok() { "pass" } else { "FAIL" };
                        println!(
                            "    {} {word} in {:.1} s",
                            line.name(number),
                            unit.enrolled.as_secs_f64()
                        );
                    }
                    bar.inc(1);
                    if let Ok(mut done) = done.lock() {
                        done.push(unit);
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    let took = started.elapsed();
    let mut units = done.into_inner().map_err(|_| anyhow::anyhow!("a station failed"))?;
    units.sort_by_key(|u| u.number);
    line.print(&units, took)
}

impl Line {
    fn name(&self, number: usize) -> String {
        format!("GW-{}-{number:05}", self.batch)
    }

    /// Make the device, expect it, enroll it.
    fn unit(&self, number: usize, vendor: &VendorCa) -> Unit {
        let begun = Instant::now();
        let device = Swtpm::manufacture(vendor);
        let manufactured = begun.elapsed();
        let begun = Instant::now();
        let outcome = device.and_then(|tpm| self.enroll(number, &tpm));
        Unit {
            number,
            outcome,
            manufactured,
            enrolled: begun.elapsed(),
        }
    }

    fn enroll(&self, number: usize, tpm: &Swtpm) -> Result<Identity> {
        let name = self.name(number);
        let mut allow = Command::new(binary("ca-cli"));
        allow.args([
            "device",
            "allow",
            &name,
            "--first-contact",
            "10min",
            "--batch",
            &self.batch,
            "-o",
            "json",
        ]);
        run(&mut allow)?;
        let state = self.state_dir.join(&name);
        let mut agent = Command::new(binary("ca-agent"));
        agent
            .args(["--tcti", &tpm.tcti(), "-o", "json", "--state-dir"])
            .arg(&state)
            .args(["enroll", "--server", &self.server, "--root-sha256", &self.root_sha256])
            .args(["--manufacturer", "--device", &name]);
        let result: serde_json::Value = serde_json::from_slice(&run(&mut agent)?)?;
        let serial = |profile: &str| -> Result<String> {
            let certificates = result
                .get("certificates")
                .and_then(|c| c.as_array())
                .context("no certificates")?;
            let found = certificates
                .iter()
                .find(|c| c.get("profile").and_then(|p| p.as_str()) == Some(profile));
            let serial = found
                .and_then(|c| c.get("serial")?.as_str())
                .with_context(|| format!("no {profile}"))?;
            Ok(serial.to_owned())
        };
        Ok(Identity {
            iak: serial("device-iak")?,
            idevid: serial("device-idevid")?,
        })
    }

    fn print(&self, units: &[Unit], took: Duration) -> Result<()> {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header([
            "    DEVICE",
            "RESULT",
            "IAK SERIAL",
            "IDEVID SERIAL",
            "TPM MADE",
            "ENROLLED",
        ]);
        let seconds = |d: Duration| format!("{:.1} s", d.as_secs_f64());
        for unit in units {
            let (result, iak, idevid) = match &unit.outcome {
                Ok(identity) => ("pass".to_owned(), identity.iak.clone(), identity.idevid.clone()),
                Err(error) => (format!("FAIL: {error:#}"), "-".into(), "-".into()),
            };
            let name = format!("    {}", self.name(unit.number));
            table.add_row([
                name,
                result,
                iak,
                idevid,
                seconds(unit.manufactured),
                seconds(unit.enrolled),
            ]);
        }
        println!("{table}");
        let passed = units.iter().filter(|u| u.outcome.is_ok()).count();
        let each = took.as_secs_f64() / units.len().max(1) as f64;
        println!(
            "\n    {passed} of {} passed in {:.1} s: {:.0} devices an hour, making the software TPMs included ({each:.1} s each)",
            units.len(),
            took.as_secs_f64(),
            3600.0 / each
        );
        if passed < units.len() {
            bail!("{} devices failed", units.len() - passed);
        }
        Ok(())
    }
}

/// Standard output of a command that must succeed; its standard error is the error.
fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .with_context(|| format!("{:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "{}",
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .next()
                .unwrap_or("no reason given")
        );
    }
    Ok(output.stdout)
}
