//! `ca-cli device replace-tpm` and `ca-cli replacement …`: one person asks, another decides.

use wire::replacement::{Decide, ReplaceTpm, Replacement, ReplacementPage, ReplacementState};

use super::device_show::path;
use crate::admin::Client;
use crate::cli::replacement::{self, Decision, ReplacementCommand};
use crate::endorsement::EkKey;
use crate::exit::Failure;
use crate::output::{Report, clean, fields, table};
use crate::words;

pub(super) fn request(arguments: &replacement::ReplaceTpm) -> Result<Report, Failure> {
    let key = |given: &Option<String>| given.as_deref().map(EkKey::detect).transpose();
    let body = ReplaceTpm {
        ek_spki_sha256: key(&arguments.ek)?.map(|ek| ek.sha256),
        iak_spki_sha256: key(&arguments.iak)?.map(|iak| iak.sha256),
        first_contact_for: arguments.first_contact,
        revocation: arguments.revocation,
        reason: arguments.reason.clone(),
        valid_for: Some(arguments.valid),
    };
    let asked: Replacement = Client::new(&arguments.admin).post(&path(&arguments.name, "/replacement")?, &body)?;
    Ok(report(asked))
}

pub(super) fn run(command: &ReplacementCommand) -> Result<Report, Failure> {
    match command {
        ReplacementCommand::List { device, cursor, admin } => {
            let device = device.iter().map(|name| ("device", name.clone()));
            let cursor = cursor.iter().map(|cursor| ("cursor", cursor.clone()));
            let query: Vec<_> = device.chain(cursor).collect();
            Ok(list(Client::new(admin).get("/v1/replacements", &query)?))
        }
        ReplacementCommand::Show { id, admin } => {
            Ok(report(Client::new(admin).get(&format!("/v1/replacements/{id}"), &[])?))
        }
        ReplacementCommand::Approve(decision) => decide(decision, "approval"),
        ReplacementCommand::Reject(decision) => decide(decision, "rejection"),
    }
}

fn decide(decision: &Decision, what: &str) -> Result<Report, Failure> {
    let body = Decide {
        comment: decision.comment.clone(),
    };
    let path = format!("/v1/replacements/{}/{what}", decision.id);
    Ok(report(Client::new(&decision.admin).post(&path, &body)?))
}

fn list(page: ReplacementPage) -> Report {
    let json = serde_json::json!({ "schema": "holdfast.replacements.v1", "items": page.items, "next": page.next });
    Report::new(json, move |_| {
        let now = words::now();
        let rows = page.items.iter().map(|one| {
            vec![
                one.id.to_string(),
                clean(&one.device),
                word(one.state).to_owned(),
                clean(&one.requested_by),
                words::date(one.requested_at, now),
                one.decided_by.as_deref().map_or_else(|| "-".to_owned(), clean),
                clean(&one.reason),
            ]
        });
        let header = ["NUMBER", "DEVICE", "STATE", "ASKED BY", "ASKED", "DECIDED BY", "REASON"];
        let mut text = table(&header, rows.collect());
        text.push_str(&format!("{} shown.", page.items.len()));
        if let Some(next) = &page.next {
            text.push_str(&format!(" More: --cursor {}", clean(next)));
        }
        text
    })
}

fn word(state: ReplacementState) -> &'static str {
    match state {
        ReplacementState::Pending => "pending",
        ReplacementState::Approved => "approved",
        ReplacementState::Rejected => "rejected",
        ReplacementState::Expired => "expired",
    }
}

fn report(one: Replacement) -> Report {
    let json = serde_json::json!({ "schema": "holdfast.replacement.v1", "replacement": one });
    Report::new(json, move |_| {
        let now = words::now();
        let named = |ek: &Option<String>, iak: &Option<String>| match (ek, iak) {
            (Some(ek), _) => Some(format!("EK {}", clean(ek))),
            (None, Some(iak)) => Some(format!("IAK {}", clean(iak))),
            (None, None) => None,
        };
        let new = match (named(&one.ek_spki_sha256, &one.iak_spki_sha256), one.first_contact_for) {
            (Some(named), _) => named,
            (None, seconds) => format!(
                "the first that claims the name within {} s of the approval",
                seconds.unwrap_or_default()
            ),
        };
        let mut lines = vec![
            ("replacement", one.id.to_string()),
            ("device", clean(&one.device)),
            ("state", word(one.state).to_owned()),
            (
                "old TPM",
                named(&one.old_ek_spki_sha256, &one.old_iak_spki_sha256).unwrap_or_default(),
            ),
            ("new TPM", new),
            ("revocation", one.revocation.to_string()),
            ("reason", clean(&one.reason)),
            (
                "asked by",
                format!("{}, {}", clean(&one.requested_by), words::date(one.requested_at, now)),
            ),
        ];
        if let (Some(by), Some(at)) = (&one.decided_by, one.decided_at) {
            lines.push(("decided by", format!("{}, {}", clean(by), words::date(at, now))));
        }
        lines.extend(one.comment.iter().map(|comment| ("comment", clean(comment))));
        let mut text = fields(&lines);
        match one.state {
            ReplacementState::Pending => text.push_str(&format!(
                "next: another person, before {}\n  ca-cli replacement approve {}\n",
                words::rfc3339(one.expires_at),
                one.id
            )),
            ReplacementState::Approved => text.push_str(&format!(
                "The old identity is revoked, the old TPM never comes back.\nnext, on the device with the new TPM\n  \
                 ca-agent enroll --server URL --root-sha256 FINGERPRINT --device {}\n",
                clean(&one.device)
            )),
            ReplacementState::Rejected | ReplacementState::Expired => {}
        }
        text
    })
}
