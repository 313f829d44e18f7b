//! `ca-cli audit show [ID]`.

use wire::admin::AuditPage;

use crate::admin::Client;
use crate::cli::Admin;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, table};
use crate::words;

pub(super) fn run(id: Option<&str>, admin: &Admin) -> Result<Report, Failure> {
    let query: Vec<(&str, String)> = id.map(|id| ("subject", id.to_owned())).into_iter().collect();
    let entries = Client::new(admin).get::<AuditPage>("/v1/audit", &query)?.items;
    if let (Some(id), true) = (id, entries.is_empty()) {
        return Err(
            Failure::new(Exit::NotFound, format!("no audit record for `{}`", clean(id)))
                .fix("refusals before a challenge was made are in the audit file of the server, not in its database"),
        );
    }
    let json = serde_json::json!({ "schema": "holdfast.audit.v1", "items": entries });
    Ok(Report::new(json, move |_| {
        let rows = entries.iter().map(|e| {
            vec![
                words::rfc3339(e.at),
                clean(&e.action),
                clean(&e.actor),
                clean(&e.subject),
                clean(&e.reason),
                clean(&e.detail),
            ]
        });
        table(
            &["AT", "ACTION", "ACTOR", "SUBJECT", "REASON", "DETAIL"],
            rows.collect(),
        )
    }))
}
