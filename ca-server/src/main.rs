//! `ca-server`: parse, wire, run.

use std::process::ExitCode;

use ca_server::cli::{Cli, run};
use clap::Parser as _;

fn main() -> ExitCode {
    run(&Cli::parse())
}
