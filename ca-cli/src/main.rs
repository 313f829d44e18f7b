//! Holdfast for people: rehearsals, devices, verification.

mod admin;
mod ceremony;
mod certificate;
mod cli;
mod command;
mod crl;
mod custody;
mod endorsement;
mod exit;
#[cfg(feature = "online")]
mod fetch;
mod fingerprint;
mod ledger;
mod manifest;
mod medium;
mod output;
mod pem;
mod rehearsal;
mod trust;
mod verification;
mod words;

use clap::Parser as _;

use crate::cli::Cli;

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let style = cli.style();
    match command::run(cli) {
        Ok(report) => report.print(style).into(),
        Err(failure) => failure.print().into(),
    }
}
