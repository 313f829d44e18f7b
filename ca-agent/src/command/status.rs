//! `ca-agent status`: where this device stands, from its own memory.

use wire::Exit;

use super::Said;
use crate::config::Config;
use crate::error::AgentError;
use crate::state::{State, Trouble};
use crate::stored;
use crate::watch::Watch;
use crate::words::{clean, date, span};

pub(super) fn run(config: &Config, oneline: bool) -> Result<Said, AgentError> {
    let state = State::look(&config.state_dir);
    let (pending, enrolled) = (state.journal()?, state.enrolled()?);
    let trouble = state.trouble()?;
    let expires = stored::not_after(&state, stored::IDENTITY)?;
    let watch = state.ledger()?.unwrap_or_default();
    let (word, mut exit, mut next) = match (&enrolled, &pending) {
        (_, Some(_)) => (
            "unfinished",
            Exit::TryAgain,
            "run the same `ca-agent enroll` again: it goes on where it stopped",
        ),
        (None, None) => (
            "not-enrolled",
            Exit::NotFound,
            "ca-agent enroll --server URL --root-sha256 FINGERPRINT",
        ),
        (Some(_), None) if stored::ended(&state)? => (
            "expired",
            Exit::No,
            "run the same `ca-agent enroll` again: the same keys get a new certificate",
        ),
        (Some(_), None) => ("enrolled", Exit::Done, ""),
    };
    if watch.alarm.is_some() {
        // Nothing that this device has is worth what it was, as long as the CA cannot explain it.
        (exit, next) = (
            Exit::No,
            "show ledger.json of the state directory to whoever runs the CA, and keep it",
        );
    }
    let json = serde_json::json!({
        "schema": "holdfast.status.v1",
        "state": word,
        "device": enrolled.as_ref().map(|d| &d.device),
        "server": enrolled.as_ref().map(|d| &d.server).or(pending.as_ref().map(|j| &j.server)),
        "profile": enrolled.as_ref().map(|d| &d.profile),
        "expires": expires,
        "ledger": {
            "state": watch.word(),
            "watched": config.ledger.is_some(),
            "open": watch.open(),
            "looked_at": watch.looked_at,
            "away": watch.away,
            "alarm": watch.alarm,
        },
        "last_error": trouble,
        "next": next,
    });
    let name = enrolled.as_ref().map(|d| clean(&d.device)).unwrap_or_default();
    let until = expires.filter(|_| enrolled.is_some());
    let until = until.map(|at| format!(", expires {}", date(at))).unwrap_or_default();
    let mut text = format!("{word} {name}").trim_end().to_owned() + &until;
    if oneline {
        if let Some(alarm) = &watch.alarm {
            text.push_str(&format!(", {}", alarm.what.code()));
        }
        if let Some(trouble) = &trouble {
            text.push_str(&format!(", last error {} {}", clean(&trouble.code), ago(trouble)));
        }
    } else {
        let mut line = |label: &str, value: String| text.push_str(&format!("\n{label:<12}{value}"));
        if let Some(device) = &enrolled {
            line("profile", clean(&device.profile));
            line("server", clean(&device.server));
        }
        let of_ledger = ledger_line(&watch, config.ledger.is_some());
        if !of_ledger.is_empty() {
            line("ledger", of_ledger);
        }
        if let Some(trouble) = &trouble {
            line("last error", format!("{} {}", clean(&trouble.code), ago(trouble)));
            line("", clean(&trouble.message));
        }
        if !next.is_empty() {
            line("next", next.to_owned());
        }
    }
    let mut said = Said::new(json, text, word);
    said.exit = exit;
    Ok(said)
}

/// What is known of the ledger's promises; nothing, where there are none.
fn ledger_line(watch: &Watch, watched: bool) -> String {
    if let Some(alarm) = &watch.alarm {
        return format!("{} {}, seen {}", alarm.what.code(), clean(&alarm.why), date(alarm.at));
    }
    let (all, open) = (watch.promises.len(), watch.open());
    if all == 0 {
        return String::new();
    }
    let mut text = match (watched, open) {
        (false, _) => format!("{all} promised, and nobody looks: no [ledger] in agent.toml"),
        (true, 0) => format!("{all} promised, all kept"),
        (true, open) => format!("{all} promised, {open} open"),
    };
    if let Some(at) = watch.looked_at {
        text.push_str(&format!(", looked at {}", date(at)));
    }
    if let Some(why) = &watch.away {
        text.push_str(&format!("; not readable now: {}", clean(why)));
    }
    text
}

fn ago(trouble: &Trouble) -> String {
    let passed = jiff::Timestamp::now().as_second().saturating_sub(trouble.at);
    match u64::try_from(passed) {
        Ok(passed) => format!("{} ago", span(std::time::Duration::from_secs(passed))),
        // The clock was put back since.
        Err(_) => "at another time of this clock".into(),
    }
}
