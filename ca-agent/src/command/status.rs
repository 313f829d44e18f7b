//! `ca-agent status`: where this device stands, from its own memory.

use wire::Exit;

use super::Said;
use crate::cli::Cli;
use crate::error::AgentError;
use crate::state::State;
use crate::words::{clean, date};

pub(super) fn run(cli: &Cli, oneline: bool) -> Result<Said, AgentError> {
    let state = State::look(&cli.state_dir);
    let pending = state.journal()?;
    let (word, exit, device, expires) = match (state.enrolled()?, &pending) {
        (_, Some(_)) => ("unfinished", Exit::TryAgain, None, None),
        (None, None) => ("not-enrolled", Exit::NotFound, None, None),
        (Some(enrolled), None) => {
            let expires = super::cert::not_after(&state, "cert.pem")?;
            let expired = expires.is_some_and(|at| at < jiff::Timestamp::now().as_second());
            let (word, exit) = if expired {
                ("expired", Exit::No)
            } else {
                ("enrolled", Exit::Done)
            };
            (word, exit, Some(enrolled), expires)
        }
    };
    let next = match word {
        "unfinished" => "run the same `ca-agent enroll` again: it goes on where it stopped",
        "not-enrolled" => "ca-agent enroll --server URL --root-sha256 FINGERPRINT",
        "expired" => "enroll again with a new --state-dir",
        _ => "",
    };
    let json = serde_json::json!({
        "schema": "holdfast.status.v1",
        "state": word,
        "device": device.as_ref().map(|d| &d.device),
        "server": device.as_ref().map(|d| &d.server),
        "profile": device.as_ref().map(|d| &d.profile),
        "expires": expires,
        "next": next,
    });
    let name = device.as_ref().map(|d| clean(&d.device)).unwrap_or_default();
    let until = expires.map(|at| format!(", expires {}", date(at))).unwrap_or_default();
    let mut text = format!("{word} {name}{until}").trim_end().to_owned();
    if !oneline && let Some(device) = &device {
        text.push_str(&format!(
            "\nprofile   {}\nserver    {}",
            clean(&device.profile),
            clean(&device.server)
        ));
    }
    if !oneline && !next.is_empty() {
        text.push_str(&format!("\nnext      {next}"));
    }
    let mut said = Said::new(json, text);
    said.exit = exit;
    Ok(said)
}
