//! `ca-agent renew`.

use super::enroll::{Progress, remember, serial};
use super::{Said, open};
use crate::cli;
use crate::config::Config;
use crate::error::AgentError;
use crate::hooks;
use crate::ledger;
use crate::renew::{self, Outcome, Renewal};
use crate::state::State;
use crate::stored;
use crate::words::{clean, date};

pub(super) fn run(config: &Config, flags: &cli::Renew, quiet: bool) -> Result<Said, AgentError> {
    let wish = config.renewal(flags);
    if State::look(&config.state_dir).enrolled()?.is_none() {
        return Err(AgentError::NotFound(
            "this device has no certificate yet: ca-agent enroll".into(),
        ));
    }
    let state = State::open(&config.state_dir)?;
    let progress = Progress::new(quiet);
    let say = |step: &str| progress.say(step);
    // A CA that cannot be asked calls for nothing; the renewal itself says what is wrong.
    let called = !flags.force && renew::advice(&state).is_ok_and(|advice| advice.now);
    if called {
        say("the CA asks for a renewal before its time");
    }
    let result = Renewal {
        state: &state,
        rekey: wish.rekey,
        force: flags.force || called,
        wait: wish.wait,
        say: &say,
    }
    .run(|| open(config));
    remember(&state, result.as_ref().err());
    let due = match result? {
        Outcome::Done(_) => None,
        Outcome::NotDue(at) => Some(at),
    };
    let ran = hooks::settle(&state, &wish.hooks, &say)?;
    drop(progress);
    ledger::tend(config.ledger.as_ref(), &state, &super::tell);
    let certificate = stored::certificate(&state, stored::IDENTITY)?;
    let serial = certificate.as_ref().map(serial).unwrap_or_default();
    let expires = certificate.as_ref().and_then(stored::last_second).unwrap_or_default();
    let device = state.enrolled()?.map(|enrolled| enrolled.device).unwrap_or_default();
    let key = state.openssl_key()?.unwrap_or_default();
    let json = serde_json::json!({
        "schema": "holdfast.renewed.v1",
        "device": device,
        "renewed": due.is_none(),
        "due": due,
        "serial": serial,
        "expires": expires,
        "certificate": state.path(stored::IDENTITY),
        "openssl_key": key,
        "hooks": ran,
    });
    let mut text = match due {
        None => format!("{} has a new certificate, expires {}", clean(&device), date(expires)),
        Some(at) => format!("{}: nothing to do before {}", clean(&device), date(at)),
    };
    if due.is_none() {
        text.push_str("\n  proven: the same TPM answered again\n");
        text.push_str(&format!("  {:<15}{serial}\n", "serial"));
        text.push_str(&format!("  {:<15}{}\n", "file", state.path(stored::IDENTITY).display()));
        text.push_str(&format!("  {:<15}{key}", "key"));
    }
    for hook in &ran {
        let end = hook
            .exit
            .map_or("did not end by itself".to_owned(), |code| format!("exit {code}"));
        text.push_str(&format!("\n  hook {} {end}", hook.file.display()));
    }
    Ok(Said::new(json, text, serial))
}
