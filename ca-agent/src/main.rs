//! `ca-agent`: see the library.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::Parser as _;

/// Where the TSS library reads how much to say.
const TSS_LOG: &str = "TSS2_LOG";

fn main() -> ExitCode {
    // The TSS library writes every TPM error to standard error by itself, unless it was born with this. What matters of
    // them, the agent says in words.
    if std::env::var_os(TSS_LOG).is_none()
        && let Ok(own) = std::env::current_exe()
    {
        // Comes back only when it failed; then the library is merely noisy.
        let _ = Command::new(own)
            .args(std::env::args_os().skip(1))
            .env(TSS_LOG, "all+none")
            .exec();
    }
    ca_agent::command::run(ca_agent::cli::Cli::parse())
}
