//! `ca-cli completion SHELL`.

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::output::Report;

pub(super) fn run(shell: clap_complete::Shell) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ca-cli", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let json = serde_json::json!({ "schema": "holdfast.completion.v1", "shell": shell.to_string(), "script": script });
    Report::new(json, move |_| script)
}
