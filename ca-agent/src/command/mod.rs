//! One verb, one file.

mod cert;
mod doctor;
mod enroll;
mod identify;
mod status;

use std::process::ExitCode;

use clap::CommandFactory as _;
use serde_json::Value;
use wire::Exit;
use zeroize::Zeroizing;

use crate::cli::{Cli, Command, Format};
use crate::error::AgentError;
use crate::tpm::{Passwords, Tpm};

/// What a command has to say: for programs and for people.
pub(crate) struct Said {
    json: Value,
    text: String,
    exit: Exit,
}

impl Said {
    fn new(json: Value, text: impl Into<String>) -> Self {
        Self {
            json,
            text: text.into(),
            exit: Exit::Done,
        }
    }
}

/// Run a command; data on standard output, everything else on standard error.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let format = cli.output;
    let result = match &cli.command {
        Command::Identify { qr, ek } => identify::run(&cli, *qr, *ek),
        Command::Enroll(wanted) => enroll::run(&cli, wanted),
        Command::Status { oneline } => status::run(&cli, *oneline),
        Command::Cert(command) => cert::run(&cli, command),
        Command::Doctor { server } => doctor::run(&cli, server.as_deref()),
        Command::Completion { shell } => Ok(completion(*shell)),
    };
    let exit = match result.and_then(|said| print(said, format)) {
        Ok(exit) => exit,
        Err(error) => {
            let report = error.report();
            match format {
                Format::Json => {
                    let value = serde_json::json!({ "schema": "holdfast.error.v1", "error": report });
                    tell(&format!("{value:#}"));
                }
                Format::Table => tell(&report.to_string()),
            }
            report.exit
        }
    };
    exit.into()
}

/// A line on standard error. That nobody reads it must not stop the work.
fn tell(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn print(said: Said, format: Format) -> Result<Exit, AgentError> {
    use std::io::Write as _;
    let text = match format {
        Format::Json => format!("{:#}", said.json),
        Format::Table => said.text,
    };
    // A reader that went away (`| head`) is not an error of ours.
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
    Ok(said.exit)
}

fn completion(shell: clap_complete::Shell) -> Said {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ca-agent", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Said::new(
        serde_json::json!({ "schema": "holdfast.completion.v1", "script": script }),
        script,
    )
}

/// Open the TPM that the command line names.
fn open(cli: &Cli) -> Result<Tpm, AgentError> {
    let password = |path: &Option<std::path::PathBuf>| -> Result<Option<Zeroizing<Vec<u8>>>, AgentError> {
        let Some(path) = path else { return Ok(None) };
        let mut bytes = Zeroizing::new(std::fs::read(path).map_err(|e| AgentError::Usage {
            message: format!("{}: {e}", path.display()),
            fix: "name a file with the password in it".into(),
        })?);
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        Ok(Some(bytes))
    };
    let passwords = Passwords {
        owner: password(&cli.owner_auth_file)?,
        endorsement: password(&cli.endorsement_auth_file)?,
    };
    Ok(Tpm::open(&cli.tcti()?, passwords)?)
}
