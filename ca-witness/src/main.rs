//! `ca-witness`: shown a checkpoint of a ledger it knows, it signs that this tree continues all it saw of it before (C2SP
//! tlog-witness, tlog-cosignature). It is run by somebody else than the CA, on a machine of his own.

mod cli;
mod memory;
mod serve;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::start(&cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "ca-witness: {error}");
            error.exit().into()
        }
    }
}
