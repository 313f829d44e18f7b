//! `ca-cli crl …`.

use std::path::Path;

use issuance::Serial;
use issuance::crl::{Crl, MAX_CRL_BYTES};
use serde_json::{Value, json};
use wire::crl::{CrlPage, CrlPlace, CrlPublications, PublicationOutcome, PublishCrl};
use wire::enrollment::Issuers;

use crate::admin::Client;
use crate::certificate;
use crate::cli::Admin;
use crate::cli::crl::{CrlCommand, IssuerArguments};
use crate::crl::{believe, current, der, said_of};
use crate::exit::{Exit, Failure};
use crate::fetch::over_http;
use crate::output::{Report, clean, fields, table};
use crate::words;

pub(super) fn run(command: &CrlCommand) -> Result<Report, Failure> {
    match command {
        CrlCommand::List(admin) => list(admin),
        CrlCommand::Show { what, serial, issuer } => show(what, serial.as_deref(), issuer),
        CrlCommand::Publish { url, admin } => publish(url.clone(), admin),
        CrlCommand::Fetch { url, out, issuer } => fetch(url, out.as_deref(), issuer),
    }
}

fn list(admin: &Admin) -> Result<Report, Failure> {
    let page: CrlPage = Client::new(admin).get("/v1/crls", &[])?;
    let json = json!({ "schema": "holdfast.crls.v1", "items": page.items });
    Ok(Report::new(json, move |_| {
        let now = words::now();
        let rows: Vec<_> = page.items.iter().map(|place| row(place, now)).collect();
        let wrong = page.items.iter().filter(|place| !place.alarms.is_empty()).count();
        let mut text = table(&["URL", "NUMBER", "ENTRIES", "OF", "ENDS", "STATE"], rows);
        text.push_str(&match (page.items.len(), wrong) {
            (0, _) => "No CRL: `crl_url` is not set in server.toml.".to_owned(),
            (all, 0) => format!("{all} shown."),
            (all, wrong) => format!("{all} shown, {wrong} with an alarm."),
        });
        text
    }))
}

fn row(place: &CrlPlace, now: i64) -> Vec<String> {
    let mut state: Vec<String> = place
        .alarms
        .iter()
        .map(|alarm| format!("{}: {}", clean(&alarm.reason), clean(&alarm.detail)))
        .collect();
    if place.behind != 0 {
        state.push(format!("{} steps to come", place.behind));
    }
    if let Some(delta) = &place.delta {
        state.push(format!(
            "delta {} on {}, of {}",
            delta.published.number,
            delta.base,
            words::rfc3339(delta.published.this_update)
        ));
    }
    let Some(out) = &place.published else {
        let none = || "-".to_owned();
        state.push("not published yet".to_owned());
        return vec![clean(&place.url), none(), none(), none(), none(), state.join("; ")];
    };
    if state.is_empty() {
        state.push("ok".to_owned());
    }
    vec![
        clean(&place.url),
        out.number.to_string(),
        out.entries.to_string(),
        words::rfc3339(out.this_update),
        words::date(out.next_update, now),
        state.join("; "),
    ]
}

fn show(what: &str, serial: Option<&str>, issuer: &IssuerArguments) -> Result<Report, Failure> {
    let serial = serial.map(one_serial).transpose()?;
    let bytes = if what.starts_with("http://") {
        Client::new(&issuer.admin).bytes("/v1/crls/der", &[("url", what.to_owned())], MAX_CRL_BYTES as u64)?
    } else {
        crate::exit::read(Path::new(what))?
    };
    let crl = believed(what, bytes, issuer)?;
    Ok(report("holdfast.crl.v1", crl, serial, None))
}

fn publish(url: Option<String>, admin: &Admin) -> Result<Report, Failure> {
    let done: CrlPublications = Client::new(admin).post("/v1/crls/publications", &PublishCrl { url })?;
    let failed = done
        .items
        .iter()
        .filter(|i| i.outcome == PublicationOutcome::Failed)
        .count();
    let exit = match failed {
        0 => Exit::Done,
        n if n == done.items.len() => Exit::Failed,
        _ => Exit::Partly,
    };
    let json = json!({ "schema": "holdfast.crl-publications.v1", "items": done.items });
    let report = Report::new(json, move |_| {
        let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let rows = done.items.iter().map(|item| {
            let outcome = match item.outcome {
                PublicationOutcome::Published => "published".to_owned(),
                PublicationOutcome::Overtaken => "another server was faster".to_owned(),
                PublicationOutcome::Failed => format!(
                    "not published: {} {}",
                    clean(item.reason.as_deref().unwrap_or_default()),
                    clean(item.detail.as_deref().unwrap_or_default())
                ),
            };
            vec![clean(&item.url), number(item.number), number(item.entries), outcome]
        });
        table(&["URL", "NUMBER", "ENTRIES", "OUTCOME"], rows.collect())
            + &if failed == 0 {
                "Done.".to_owned()
            } else {
                format!("{failed} not published; the old ones stay.")
            }
    });
    Ok(report.exit(exit))
}

fn fetch(url: &str, out: Option<&Path>, issuer: &IssuerArguments) -> Result<Report, Failure> {
    if !url.starts_with("http://") {
        return Err(Failure::new(
            Exit::Usage,
            format!("`{}`: CRLs are fetched over http://", clean(url)),
        ));
    }
    let crl = believed(url, over_http(url, MAX_CRL_BYTES as u64)?, issuer)?;
    current(&crl, words::now()).map_err(|why| Failure::new(Exit::No, format!("{}: {why}", clean(url))))?;
    if let Some(out) = out {
        std::fs::write(out, crl.der()).map_err(|e| Failure::new(Exit::Failed, format!("{}: {e}", out.display())))?;
    }
    Ok(report("holdfast.crl-fetch.v1", crl, None, out))
}

fn believed(what: &str, bytes: Vec<u8>, issuer: &IssuerArguments) -> Result<Crl, Failure> {
    let chain = match &issuer.issuer {
        Some(path) => certificate::load(path)?.into_iter().map(|view| view.der).collect(),
        None => {
            let issuers: Issuers = Client::new(&issuer.admin).get("/v1/issuers", &[])?;
            issuers.chain.into_iter().map(|der| der.0).collect::<Vec<_>>()
        }
    };
    let no = |why: String| Failure::new(Exit::No, format!("{}: {why}", clean(what)));
    believe(&der(bytes).map_err(no)?, &chain).map_err(no)
}

fn one_serial(text: &str) -> Result<Serial, Failure> {
    let wrong = || Failure::new(Exit::Usage, format!("`{}`: a serial has 32 hex digits", clean(text)));
    let mut octets = [0; 16];
    hex::decode_to_slice(text, &mut octets).map_err(|_| wrong())?;
    Serial::from_octets(octets).ok_or_else(wrong)
}

/// Entries of a table that a person may still read.
const MANY: usize = 50;

fn report(schema: &'static str, crl: Crl, serial: Option<Serial>, out: Option<&Path>) -> Report {
    let wanted = |entry: &&issuance::crl::CrlEntry| serial.is_none_or(|serial| entry.serial == serial);
    let listed: Vec<_> = crl.entries().iter().filter(wanted).copied().collect();
    let json = json!({
        "schema": schema,
        "crl": facts(&crl),
        "out": out.map(|path| path.display().to_string()),
        "listed": listed.iter().map(|entry| json!({
            "serial": entry.serial.hex(),
            "since": entry.at.0,
            "reason": reason(&crl, entry.serial),
        })).collect::<Vec<_>>(),
    });
    Report::new(json, move |_| {
        let mut text = in_words(&crl, words::now());
        if let Some(serial) = serial {
            let said = said_of(&crl, serial).unwrap_or_else(|| "not listed".to_owned());
            return text + &format!("\n{}: {said}", serial.hex());
        }
        let rows: Vec<_> = listed
            .iter()
            .take(MANY)
            .map(|entry| {
                let reason = reason(&crl, entry.serial).unwrap_or_default();
                vec![entry.serial.hex(), words::rfc3339(entry.at.0), reason.to_owned()]
            })
            .collect();
        if !rows.is_empty() {
            text.push_str(&format!("\n{}", table(&["SERIAL", "SINCE", "REASON"], rows)));
        }
        if listed.len() > MANY {
            text.push_str(&format!("and {} more: -o json", listed.len() - MANY));
        }
        text
    })
}

fn reason(crl: &Crl, serial: Serial) -> Option<&'static str> {
    match crl.find(serial)?.mark {
        issuance::crl::Mark::Revoked(reason) => Some(reason.as_str()),
        issuance::crl::Mark::Removed => Some("removeFromCRL"),
    }
}

/// The facts, for programs.
fn facts(crl: &Crl) -> Value {
    json!({
        "number": crl.number().get(),
        "base": crl.base().map(issuance::CrlNumber::get),
        "delta_url": crl.delta_url(),
        "scope": crl.scope().to_string(),
        "this_update": crl.this_update().0,
        "next_update": crl.next_update().0,
        "entries": crl.entries().len(),
        "sha256": hex::encode(openssl::sha::sha256(crl.der())),
    })
}

/// The facts, for people.
fn in_words(crl: &Crl, now: i64) -> String {
    let mut number = crl.number().to_string();
    if let Some(base) = crl.base() {
        number.push_str(&format!(", a delta: what differs from number {base}"));
    }
    let deltas = crl.delta_url().map_or_else(|| "none".to_owned(), clean);
    fields(&[
        ("number", number),
        ("deltas", deltas),
        ("speaks for", crl.scope().to_string()),
        ("this update", words::rfc3339(crl.this_update().0)),
        (
            "next update",
            format!(
                "{}, {}",
                words::rfc3339(crl.next_update().0),
                words::date(crl.next_update().0, now)
            ),
        ),
        ("entries", crl.entries().len().to_string()),
        ("sha256", hex::encode(openssl::sha::sha256(crl.der()))),
    ])
}
