//! `ca-cli trust tpm …` and `ca-cli trust iak …`: one verb, one file.

mod add;
mod crl;
mod export;
#[cfg(feature = "online")]
mod fetch;
mod import;
mod list;
mod refuse;
mod try_ek;
mod verify;

use attest::trust::About;
use policies::trust::{Entry, State, TrustStore};
use serde_json::{Value, json};

use crate::certificate;
use crate::cli::trust::{IakCommand, TpmCommand, TpmCrlCommand};
use crate::exit::Failure;
use crate::output::Report;

pub(super) fn run(command: &TpmCommand) -> Result<Report, Failure> {
    match command {
        TpmCommand::List {
            state,
            name,
            roots,
            store,
        } => list::run(*state, name.as_deref(), *roots, &store.store, About::Tpm),
        TpmCommand::Import {
            from,
            source,
            who,
            store,
        } => import::run(from, source.as_deref(), who, &store.store, About::Tpm),
        TpmCommand::Add(arguments) => add::run(arguments),
        TpmCommand::Refuse(arguments) => refuse::run(arguments, About::Tpm),
        TpmCommand::Try {
            certificate,
            chain,
            at,
            store,
        } => try_ek::run(certificate, chain, *at, &store.store),
        TpmCommand::Export {
            file,
            sign,
            decided,
            store,
        } => export::run(file, *decided, sign.as_deref(), &store.store, About::Tpm),
        #[cfg(feature = "online")]
        TpmCommand::Fetch(arguments) => fetch::run(arguments),
        TpmCommand::Crl(TpmCrlCommand::Import { from, dir, store }) => crl::import(from, dir, &store.store),
        TpmCommand::Verify { file, key, after } => verify::run(file, key, after.as_deref()),
    }
}

/// `ca-cli trust iak …`: the same store, about device manufacturers.
pub(super) fn run_iak(command: &IakCommand) -> Result<Report, Failure> {
    match command {
        IakCommand::List {
            state,
            name,
            roots,
            store,
        } => list::run(*state, name.as_deref(), *roots, &store.store, About::Iak),
        IakCommand::Import {
            from,
            source,
            who,
            store,
        } => import::run(from, source.as_deref(), who, &store.store, About::Iak),
        IakCommand::Add(arguments) => add::run_iak(arguments),
        IakCommand::Refuse(arguments) => refuse::run_iak(arguments),
        IakCommand::Export {
            file,
            sign,
            decided,
            store,
        } => export::run(file, *decided, sign.as_deref(), &store.store, About::Iak),
    }
}

/// One entry for programs.
fn entry_json(entry: &Entry) -> Value {
    let facts = entry
        .ca
        .certificate()
        .and_then(|der| attest::trust::CaFacts::read(der).ok());
    let terms = match &entry.state {
        State::Trusted(terms) => json!({
            "kind": kind(terms.kind),
            "manufacturers": terms.manufacturers,
            "enforce_expiry": terms.enforce_expiry,
        }),
        State::Known | State::Unknown | State::Refused => Value::Null,
    };
    json!({
        "name": entry.name,
        "state": entry.state.as_str(),
        "terms": terms,
        "source": entry.source,
        "date": entry.decision.date,
        "by": entry.decision.by,
        "why": entry.decision.why,
        "sha256": entry.ca.certificate_sha256().map(hex::encode),
        "spki_sha256": entry.ca.key_sha256().map(hex::encode),
        "subject": facts.as_ref().map(|f| certificate::name_text(&f.subject)),
        "issuer": facts.as_ref().map(|f| certificate::name_text(&f.issuer)),
        "self_signed": facts.as_ref().map(|f| f.self_signed),
        "not_before": facts.as_ref().map(|f| f.not_before.0),
        "not_after": facts.as_ref().map(|f| f.not_after.0),
    })
}

fn kind(kind: attest::AnchorKind) -> &'static str {
    match kind {
        attest::AnchorKind::Hardware => "hardware",
        attest::AnchorKind::Virtual => "virtual",
        attest::AnchorKind::Software => "software",
    }
}

/// How many are in each state, in the order people think of them.
fn counts(store: &TrustStore) -> [(&'static str, usize); 4] {
    ["trusted", "known", "unknown", "refused"].map(|state| {
        (
            state,
            store.entries().filter(|entry| entry.state.as_str() == state).count(),
        )
    })
}

/// `2 trusted, 1 refused`.
fn counted(counts: &[(&'static str, usize)]) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    if parts.is_empty() {
        "no CA".to_owned()
    } else {
        parts.join(", ")
    }
}

/// What a decision changed, said back.
fn decided(store: &TrustStore, name: &str, before: Option<&str>) -> Report {
    let entry = store.get(name).map_or(Value::Null, entry_json);
    let json = json!({
        "schema": "holdfast.trust-decision.v1",
        "version": store.version(),
        "before": before,
        "ca": entry,
    });
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let lines = [
        ("CA", text("name")),
        ("subject", text("subject")),
        ("SHA-256", text("sha256")),
        ("key", text("spki_sha256")),
        (
            "state",
            format!("{}; before: {}", text("state"), before.unwrap_or("not there")),
        ),
        (
            "speaks for",
            entry
                .pointer("/terms/manufacturers")
                .and_then(Value::as_array)
                .map_or_else(
                    || "nobody".to_owned(),
                    |ids| {
                        if store.about() == About::Iak {
                            return "devices, by their IAK".to_owned();
                        }
                        let ids = ids.iter().filter_map(Value::as_str);
                        ids.map(super::vendor::word).collect::<Vec<_>>().join(", ")
                    },
                ),
        ),
        ("decided", format!("{}, {}", text("by"), text("date"))),
        ("why", text("why")),
        (
            "store",
            format!("version {}; servers read it when they start", store.version()),
        ),
    ];
    let lines = crate::output::fields(&lines);
    Report::new(json, move |_| lines)
}
