//! `ca-cli trust tpm list`.

use std::path::Path;

use attest::trust::{About, CaFacts};
use policies::trust::{Entry, State};
use serde_json::json;

use super::{counted, counts, entry_json};
use crate::certificate;
use crate::cli::trust::StateName;
use crate::command::vendor;
use crate::exit::Failure;
use crate::output::{Report, table};
use crate::{trust, words};

pub(super) fn run(
    state: Option<StateName>,
    part: Option<&str>,
    roots: bool,
    store: &Path,
    about: About,
) -> Result<Report, Failure> {
    let store = trust::open(store, about)?;
    let wanted = |entry: &&Entry| {
        let facts = facts(entry);
        let subject = facts
            .as_ref()
            .map(|f| certificate::name_text(&f.subject))
            .unwrap_or_default();
        let part = part.map(str::to_lowercase);
        state.is_none_or(|state| state.as_str() == entry.state.as_str())
            && part.is_none_or(|part| entry.name.contains(&part) || subject.to_lowercase().contains(&part))
            && (!roots || facts.is_some_and(|f| f.self_signed))
    };
    let found: Vec<Entry> = store.entries().filter(wanted).cloned().collect();
    let json = json!({
        "schema": "holdfast.trust-list.v1",
        "version": store.version(),
        "items": found.iter().map(entry_json).collect::<Vec<_>>(),
    });
    let all = counts(&store);
    let version = store.version();
    Ok(Report::new(json, move |_| {
        let now = words::now();
        let rows = found.iter().map(|entry| row(entry, now)).collect();
        let head = ["STATE", "CA", "SPEAKS FOR", "EXPIRES", "DECIDED", "WHY"];
        format!(
            "{}{} shown. Version {version}: {}.",
            table(&head, rows),
            found.len(),
            counted(&all)
        )
    }))
}

fn facts(entry: &Entry) -> Option<CaFacts> {
    entry.ca.certificate().and_then(|der| CaFacts::read(der).ok())
}

fn row(entry: &Entry, now: i64) -> Vec<String> {
    let speaks_for = match &entry.state {
        State::Trusted(terms) => {
            let makers: Vec<String> = terms.manufacturers.iter().map(|id| vendor::word(id)).collect();
            format!("{} ({})", makers.join(", "), super::kind(terms.kind))
        }
        State::Known | State::Unknown | State::Refused => "-".to_owned(),
    };
    let dash = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };
    vec![
        entry.state.as_str().to_owned(),
        entry.name.clone(),
        speaks_for,
        facts(entry).map_or_else(|| "-".to_owned(), |f| words::date(f.not_after.0, now)),
        format!("{} {}", entry.decision.date, entry.decision.by),
        dash(&entry.decision.why),
    ]
}
