//! `ca-cli enrollment review`, `approve`, `reject`.

use std::collections::BTreeMap;

use wire::review::{ApproveReview, RejectReview, Review, ReviewPage, TpmKind};

use super::revoke::agreed;
use super::vendor;
use crate::admin::Client;
use crate::cli::Admin;
use crate::cli::review::{EnrollmentCommand, How};
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, table};
use crate::words;

pub(super) fn run(command: &EnrollmentCommand, no_input: bool) -> Result<Report, Failure> {
    match command {
        EnrollmentCommand::Review { state, admin } => review(state.as_str(), admin),
        EnrollmentCommand::Approve { id, kind, how } => decide(*id, Some((*kind).into()), how, no_input),
        EnrollmentCommand::Reject { id, how } => decide(*id, None, how, no_input),
    }
}

/// All of one state, page after page.
fn all(client: &Client, state: &str) -> Result<Vec<Review>, Failure> {
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let mut query = vec![("state", state.to_owned()), ("limit", "1000".to_owned())];
        query.extend(cursor.take().map(|c| ("cursor", c)));
        let page: ReviewPage = client.get("/v1/reviews", &query)?;
        let empty = page.items.is_empty();
        items.extend(page.items);
        match page.next {
            Some(next) if !empty => cursor = Some(next),
            _ => return Ok(items),
        }
    }
}

/// What those have in common that one decision may be about.
type Alike = (String, Option<String>, String, String);

fn alike(one: &Review) -> Alike {
    let Review {
        reason,
        advisory,
        issuer,
        manufacturer,
        ..
    } = one.clone();
    (reason, advisory, issuer, manufacturer)
}

fn review(state: &'static str, admin: &Admin) -> Result<Report, Failure> {
    let items = all(&Client::new(admin), state)?;
    let mut groups: BTreeMap<Alike, Vec<Review>> = BTreeMap::new();
    for one in items {
        groups.entry(alike(&one)).or_default().push(one);
    }
    let told: Vec<_> = groups
        .iter()
        .map(|((reason, advisory, issuer, manufacturer), items)| {
            let first = items.first();
            serde_json::json!({
                "reason": reason, "advisory": advisory, "issuer": issuer, "manufacturer": manufacturer,
                "waiting": items.len(), "devices_of_manufacturer": first.map(|one| one.devices_of_manufacturer),
                "devices_of_advisory": first.and_then(|one| one.devices_of_advisory),
                "devices_expected": first.map(|one| one.devices_expected), "items": items })
        })
        .collect();
    let json = serde_json::json!({ "schema": "holdfast.reviews.v1", "state": state, "groups": told });
    Ok(Report::new(json, move |_| {
        let now = words::now();
        let mut text = String::new();
        for ((reason, _, issuer, manufacturer), items) in &groups {
            let Some(first) = items.first() else { continue };
            let maker = vendor::word(manufacturer);
            text.push_str(&match &first.advisory {
                Some(id) => format!(
                    "{} x {}: {maker}, {}\n",
                    items.len(),
                    clean(reason),
                    clean(first.why.as_deref().unwrap_or(id))
                ),
                None => format!(
                    "{} x {}: {maker}, by a CA named `{}`\n",
                    items.len(),
                    clean(reason),
                    clean(issuer)
                ),
            });
            let rows = items.iter().map(|one| {
                vec![
                    one.id.to_string(),
                    clean(&one.device),
                    clean(&one.tpm),
                    clean(&one.named_by),
                    words::date(one.asked_at, now),
                    clean(&one.ek_spki_sha256),
                ]
            });
            text.push_str(&table(
                &["NUMBER", "DEVICE", "TPM", "NAMED BY", "CAME", "EK SHA256"],
                rows.collect(),
            ));
            if state == "pending" {
                text.push_str(&ways(first, items.len()));
            }
        }
        let count: usize = groups.values().map(Vec::len).sum();
        text + &format!("{count} {state}.\n")
    }))
}

/// What each decision would admit.
fn ways(first: &Review, count: usize) -> String {
    let mut text = format!(
        "  ca-cli enrollment approve {id} --reason R          admits this TPM\n  \
         ca-cli enrollment approve {id} --alike --reason R  admits these {count}\n",
        id = first.id
    );
    text.push_str(&match (&first.advisory, first.devices_of_advisory) {
        (Some(id), of_advisory) => format!(
            "  [policy] advisories, verdict = \"allow\"      admits every TPM that {}\n    \
             speaks of, now and later: these {count}, and {} of the inventory\n",
            clean(id),
            of_advisory.unwrap_or_default()
        ),
        (None, _) => format!(
            "  ca-cli trust tpm add ROOT                    admits every TPM of that\n    \
             vendor, now and later: these {count}, and it speaks for {} of the inventory\n",
            first.devices_of_manufacturer
        ),
    });
    if first.devices_expected > 0 {
        text.push_str(&format!(
            "    and maybe for some of the {} devices that manifests say will come:\n    \
             no manifest says of what make their TPMs are\n",
            first.devices_expected
        ));
    }
    text
}

fn decide(id: u32, kind: Option<TpmKind>, how: &How, no_input: bool) -> Result<Report, Failure> {
    let client = Client::new(&how.admin);
    let mut ids = vec![i64::from(id)];
    if how.alike {
        let waiting = all(&client, "pending")?;
        let this = waiting.iter().find(|one| one.id == i64::from(id));
        let this = this.ok_or_else(|| Failure::new(Exit::NotFound, format!("review {id} does not wait")))?;
        ids = waiting
            .iter()
            .filter(|one| alike(one) == alike(this))
            .map(|one| one.id)
            .collect();
        agreed(ids.len(), "TPMs", how.yes_count, no_input)?;
    }
    let (mut done, mut failed) = (Vec::new(), None);
    for id in ids {
        let answer: Result<Review, Failure> = match kind {
            Some(kind) => client.post(
                &format!("/v1/reviews/{id}/approval"),
                &ApproveReview {
                    reason: how.reason.clone(),
                    kind,
                },
            ),
            None => client.post(
                &format!("/v1/reviews/{id}/rejection"),
                &RejectReview {
                    reason: how.reason.clone(),
                },
            ),
        };
        match answer {
            Ok(one) => done.push(one),
            Err(failure) if done.is_empty() => return Err(failure),
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    let exit = if failed.is_some() { Exit::Partly } else { Exit::Done };
    let why = failed.map(|failure| failure.message);
    let json = serde_json::json!({ "schema": "holdfast.review-decisions.v1", "items": done, "error": why });
    Ok(Report::new(json, move |style| {
        let mut text = String::new();
        for one in &done {
            text.push_str(&format!(
                "{} review {}: {} is {} by {}\n",
                style.tick(true),
                one.id,
                clean(&one.device),
                clean(&one.state),
                clean(one.decided_by.as_deref().unwrap_or("-"))
            ));
        }
        if let Some(why) = &why {
            text.push_str(&format!("then: {}\n", clean(why)));
        }
        text
    })
    .exit(exit))
}
