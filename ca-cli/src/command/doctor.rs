//! `ca-cli doctor`: named checks of a running server, each with what to do.

use serde::Serialize;
use wire::Bytes;
use wire::admin::{DevicePage, OrphanPage};
use wire::enrollment::Issuers;

use crate::admin::Client;
use crate::certificate::CertificateView;
use crate::cli::Admin;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, table};
use crate::words;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

#[derive(Clone, Debug, Serialize)]
struct Check {
    check: &'static str,
    verdict: Verdict,
    found: String,
    fix: String,
}

impl Check {
    fn pass(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Pass,
            found: found.into(),
            fix: String::new(),
        }
    }
    fn of(check: &'static str, verdict: Verdict, found: impl Into<String>, fix: &str) -> Self {
        Self {
            check,
            verdict,
            found: found.into(),
            fix: fix.to_owned(),
        }
    }
}

pub(super) fn run(admin: &Admin) -> Result<Report, Failure> {
    let client = Client::new(admin);
    let mut checks = Vec::new();
    match client.get::<serde_json::Value>("/readyz", &[("verbose", String::new())]) {
        Ok(ready) => checks.extend(readiness(&ready)),
        Err(failure) => {
            checks.push(Check::of(
                "server.answers",
                Verdict::Fail,
                failure.message,
                failure.fix.as_deref().unwrap_or(""),
            ));
        }
    }
    if let Ok(issuers) = client.get::<Issuers>("/v1/issuers", &[]) {
        checks.push(Check::pass(
            "server.answers",
            format!("{} on {}", clean(&issuers.name), admin.admin.display()),
        ));
        checks.extend(issuers.chain.iter().map(|der| expiry(der, words::now())));
        let orphans = client.get::<OrphanPage>("/v1/orphans", &[]).map(|p| p.items.len());
        checks.push(match orphans {
            Ok(0) => Check::pass("issuance.orphans", "no signature without a record"),
            Ok(n) => Check::of(
                "issuance.orphans",
                Verdict::Warn,
                format!("{n} serials whose signature may exist unrecorded"),
                "they count as issued: revoke them",
            ),
            Err(f) => Check::of(
                "issuance.orphans",
                Verdict::Fail,
                f.message,
                "look at the log of ca-server",
            ),
        });
        checks.push(
            match client.get::<DevicePage>("/v1/devices", &[("limit", "1".into())]) {
                Ok(page) if page.items.is_empty() => Check::of(
                    "inventory",
                    Verdict::Warn,
                    "no device may enroll yet",
                    "ca-cli device allow NAME --ek HASH",
                ),
                Ok(_) => Check::pass("inventory", "devices are known"),
                Err(f) => Check::of("inventory", Verdict::Fail, f.message, "look at the log of ca-server"),
            },
        );
    }
    let red = checks.iter().any(|c| c.verdict == Verdict::Fail);
    let json = serde_json::json!({ "schema": "holdfast.doctor.v1", "checks": checks });
    let report = Report::new(json, move |style| {
        let rows = checks.iter().map(|c| {
            let word = match c.verdict {
                Verdict::Pass => format!("{} pass", style.tick(true)),
                Verdict::Warn => "! warn".to_owned(),
                Verdict::Fail => format!("{} fail", style.tick(false)),
            };
            vec![c.check.to_owned(), word, c.found.clone(), c.fix.clone()]
        });
        let attention = checks.iter().filter(|c| c.verdict != Verdict::Pass).count();
        table(&["CHECK", "RESULT", "FOUND", "DO"], rows.collect()) + &format!("{attention} need attention.")
    });
    Ok(report.exit(if red { Exit::No } else { Exit::Done }))
}

/// The server's own checks, as `/readyz?verbose` lists them: name -> "ok" or what is wrong.
fn readiness(ready: &serde_json::Value) -> Vec<Check> {
    let names = [
        ("database", "db.answers"),
        ("hsm", "hsm.signs"),
        ("halted", "issuance.running"),
    ];
    let checks = ready.get("checks").and_then(serde_json::Value::as_object);
    names
        .into_iter()
        .filter_map(|(key, check)| {
            let found = checks?.get(key)?;
            let ok = found.get("ok").and_then(serde_json::Value::as_bool).unwrap_or(false);
            let detail = clean(
                found
                    .get("detail")
                    .and_then(serde_json::Value::as_str)
                    .unwrap_or_default(),
            );
            Some(if ok {
                Check::pass(check, detail)
            } else {
                Check::of(check, Verdict::Fail, detail, "look at the log of ca-server")
            })
        })
        .collect()
}

fn expiry(der: &Bytes, now: i64) -> Check {
    match CertificateView::read(&der.0) {
        Ok(view) => {
            let left = view.not_after.saturating_sub(now);
            let found = format!("{} expires {}", view.subject, words::date(view.not_after, now));
            match left {
                ..=0 => Check::of(
                    "issuer.expiry",
                    Verdict::Fail,
                    found,
                    "a new issuing CA is needed: plan a ceremony",
                ),
                1..15_552_000 => Check::of(
                    "issuer.expiry",
                    Verdict::Warn,
                    found,
                    "plan a ceremony for its successor",
                ),
                _ => Check::pass("issuer.expiry", found),
            }
        }
        Err(error) => Check::of(
            "issuer.expiry",
            Verdict::Fail,
            error.to_string(),
            "check the issuer chain in server.toml",
        ),
    }
}
