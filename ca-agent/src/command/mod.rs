//! One verb, one file.

mod cert;
mod doctor;
mod enroll;
mod identify;
mod renew;
mod run;
mod status;

use std::process::ExitCode;

use clap::CommandFactory as _;
use serde_json::Value;
use wire::Exit;
use zeroize::Zeroizing;

use crate::cli::{Cli, Command, Format};
use crate::config::Config;
use crate::error::AgentError;
use crate::tpm::{Passwords, Tpm};

/// What a command has to say: for programs, for people, and for `--quiet`.
pub(crate) struct Said {
    json: Value,
    text: String,
    brief: String,
    exit: Exit,
}

impl Said {
    fn new(json: Value, text: impl Into<String>, brief: impl Into<String>) -> Self {
        Self {
            json,
            text: text.into(),
            brief: brief.into(),
            exit: Exit::Done,
        }
    }
}

/// Run a command; data on standard output, everything else on standard error.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    tracing(cli.verbose, cli.quiet);
    let format = cli.output;
    let exit = match answer(&cli) {
        Ok(said) => print(said, format, cli.quiet),
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

fn answer(cli: &Cli) -> Result<Said, AgentError> {
    if let Command::Completion { shell } = &cli.command {
        return Ok(completion(*shell));
    }
    let config = Config::of(cli)?;
    match &cli.command {
        Command::Identify { qr, ek } => identify::run(&config, *qr, *ek),
        Command::Enroll(flags) => enroll::run(&config, flags, cli.quiet),
        Command::Run { hooks } => run::run(&config, hooks.as_ref()),
        Command::Renew(flags) => renew::run(&config, flags, cli.quiet),
        Command::Status { oneline } => status::run(&config, *oneline),
        Command::Cert(command) => cert::run(&config, command),
        Command::Doctor { server } => doctor::run(&config, server.as_deref()),
        Command::Completion { shell } => Ok(completion(*shell)),
    }
}

/// Events go to standard error: `RUST_LOG` chooses, else `-v`. No secret is ever an event of ours; libraries that see
/// whole requests speak only when something is wrong.
fn tracing(verbose: u8, quiet: bool) {
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    use tracing_subscriber::{EnvFilter, Layer as _, fmt};
    let chosen = match (quiet, verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "warn,ca_agent=debug",
        _ => "info,ca_agent=trace",
    };
    let wanted = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(chosen));
    let ours = filter_fn(|event| event.target().starts_with("ca_agent") || *event.level() <= tracing::Level::INFO);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_filter(ours);
    // A second subscriber in one process (tests) is no reason to stop.
    let _ = tracing_subscriber::registry().with(wanted).with(lines).try_init();
}

/// A line on standard error. That nobody reads it must not stop the work.
fn tell(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn print(said: Said, format: Format, quiet: bool) -> Exit {
    use std::io::Write as _;
    let text = match format {
        Format::Json => format!("{:#}", said.json),
        Format::Table if quiet => said.brief,
        Format::Table => said.text,
    };
    let text = text.trim_end();
    // A reader that went away (`| head`) is not an error of ours.
    if !text.is_empty() {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }
    said.exit
}

fn completion(shell: clap_complete::Shell) -> Said {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ca-agent", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Said::new(
        serde_json::json!({ "schema": "holdfast.completion.v1", "script": script }),
        script.clone(),
        script,
    )
}

/// Open the TPM that was named.
fn open(config: &Config) -> Result<Tpm, AgentError> {
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
        owner: password(&config.owner_auth_file)?,
        endorsement: password(&config.endorsement_auth_file)?,
    };
    Ok(Tpm::open(&config.tcti, passwords)?)
}
