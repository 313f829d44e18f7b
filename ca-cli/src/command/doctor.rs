//! `ca-cli doctor`: named checks of a running server, each with what to do.

use serde::Serialize;
use wire::Bytes;
use wire::admin::{DevicePage, OrphanPage};
use wire::enrollment::Issuers;

use crate::admin::Client;
use crate::certificate::CertificateView;
use crate::cli::Admin;
use crate::exit::{Exit, Failure};
use crate::output::{Report, Style, clean, table};
use crate::words;

/// What to do when nothing better is known.
const READ_THE_LOG: &str = "look at the log of ca-server";

/// Remaining life of an issuer under which its successor should be planned: half a year.
const PLAN_AHEAD: i64 = 180 * 86_400;

/// The server's own checks: its word, ours, what to do when it is red.
const SERVER_CHECKS: [(&str, &str, &str); 5] = [
    (
        "database",
        "db.reachable",
        "start the database, or check `database.url` in server.toml",
    ),
    (
        "signer",
        "hsm.signs",
        "ca-cli hsm probe --module MODULE; the server signs again by itself once the token answers",
    ),
    (
        "audit",
        "audit.writable",
        "make room and give ca-server the right to write `audit.file`: nothing is refused or issued unrecorded",
    ),
    (
        "clock",
        "time.forward",
        "set the clock: it stands before what was recorded, and nothing is issued by such a clock",
    ),
    (
        "halt",
        "issuance.running",
        "find out why before anything else; issuing goes on after a restart of ca-server",
    ),
];

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    check: String,
    verdict: Verdict,
    found: String,
    fix: String,
}

impl Check {
    fn pass(check: &str, found: impl Into<String>) -> Self {
        Self::of(check, Verdict::Pass, found, "")
    }

    fn fail(check: &str, found: impl Into<String>, fix: &str) -> Self {
        Self::of(check, Verdict::Fail, found, fix)
    }

    fn of(check: &str, verdict: Verdict, found: impl Into<String>, fix: &str) -> Self {
        Self {
            check: check.to_owned(),
            verdict,
            found: found.into(),
            fix: fix.to_owned(),
        }
    }
}

pub(super) fn run(admin: &Admin) -> Report {
    let (checks, exit) = examine(admin);
    let json = serde_json::json!({ "schema": "holdfast.doctor.v1", "checks": checks });
    Report::new(json, move |style| words(&checks, style)).exit(exit)
}

/// Every check that can be made, and the exit code they amount to.
fn examine(admin: &Admin) -> (Vec<Check>, Exit) {
    let client = Client::new(admin);
    let issuers: Issuers = match client.get("/v1/issuers", &[]) {
        Ok(issuers) => issuers,
        Err(away) => {
            let fix = away.fix.as_deref().unwrap_or(READ_THE_LOG);
            return (vec![Check::fail("server.answers", away.message, fix)], away.exit);
        }
    };
    let mut checks = vec![Check::pass(
        "server.answers",
        format!("{} on {}", clean(&issuers.name), admin.admin.display()),
    )];
    match client.readiness() {
        Ok(lines) => checks.extend(lines.lines().filter_map(server_check)),
        Err(failure) => checks.push(Check::fail("server.ready", failure.message, READ_THE_LOG)),
    }
    checks.extend(issuers.chain.iter().map(|der| expiry(der, words::now())));
    checks.push(orphans(client.get("/v1/orphans", &[])));
    checks.push(inventory(client.get("/v1/devices", &[("limit", "1".into())])));
    let red = checks.iter().any(|c| c.verdict == Verdict::Fail);
    (checks, if red { Exit::No } else { Exit::Done })
}

/// One line of `/readyz?verbose`; the summary at its end is none.
fn server_check(line: &str) -> Option<Check> {
    let (ok, rest) = match line.split_at_checked(4)? {
        ("[!] ", rest) => {
            let (name, found) = rest.split_once(' ').unwrap_or((rest, ""));
            let fix = "docs/how-to/revoke.md#when-a-crl-is-not-published";
            return Some(Check::of(
                &format!("{}.alarm", clean(name)),
                Verdict::Warn,
                clean(found),
                fix,
            ));
        }
        ("[+] ", rest) => (true, rest),
        ("[-] ", rest) => (false, rest),
        _ => return None,
    };
    let (name, found) = rest.split_once(' ').unwrap_or((rest, ""));
    let known = SERVER_CHECKS.iter().find(|(theirs, _, _)| *theirs == name);
    let (check, fix) = known.map_or_else(
        // A newer server checks more than this tool knows.
        || (format!("server.{}", clean(name)), READ_THE_LOG),
        |(_, ours, fix)| ((*ours).to_owned(), *fix),
    );
    Some(if ok {
        Check::pass(&check, clean(found))
    } else {
        Check::fail(&check, clean(found), fix)
    })
}

fn expiry(der: &Bytes, now: i64) -> Check {
    let view = match CertificateView::read(&der.0) {
        Ok(view) => view,
        Err(e) => {
            return Check::fail(
                "issuer.fresh",
                e.to_string(),
                "check `issuer.certificate` in server.toml",
            );
        }
    };
    let found = format!("{} expires {}", view.subject, words::date(view.not_after, now));
    let left = view.not_after.saturating_sub(now);
    if left <= 0 {
        Check::fail("issuer.fresh", found, "a new issuing CA is needed: plan a ceremony")
    } else if left < PLAN_AHEAD {
        Check::of(
            "issuer.fresh",
            Verdict::Warn,
            found,
            "plan a ceremony for its successor",
        )
    } else {
        Check::pass("issuer.fresh", found)
    }
}

fn orphans(answer: Result<OrphanPage, Failure>) -> Check {
    match answer.map(|page| page.items.len()) {
        Ok(0) => Check::pass("issuance.orphans", "no signature without a record"),
        Ok(n) => Check::of(
            "issuance.orphans",
            Verdict::Warn,
            format!("{n} serials whose signature may exist unrecorded"),
            "they count as issued: revoke them",
        ),
        Err(failure) => Check::fail("issuance.orphans", failure.message, READ_THE_LOG),
    }
}

fn inventory(answer: Result<DevicePage, Failure>) -> Check {
    match answer {
        Ok(page) if page.items.is_empty() => Check::of(
            "inventory.known",
            Verdict::Warn,
            "no device may enroll yet",
            "ca-cli device allow NAME --ek HASH",
        ),
        Ok(_) => Check::pass("inventory.known", "devices are in it"),
        Err(failure) => Check::fail("inventory.known", failure.message, READ_THE_LOG),
    }
}

fn words(checks: &[Check], style: Style) -> String {
    let rows = checks.iter().map(|c| {
        let word = match c.verdict {
            Verdict::Pass => format!("{} pass", style.tick(true)),
            Verdict::Warn => "! warn".to_owned(),
            Verdict::Fail => format!("{} fail", style.tick(false)),
        };
        vec![c.check.clone(), word, c.found.clone(), c.fix.clone()]
    });
    let of = |verdict| checks.iter().filter(|c| c.verdict == verdict).count();
    let (fail, warn) = (of(Verdict::Fail), of(Verdict::Warn));
    let summary = if fail + warn == 0 {
        "All is well.".to_owned()
    } else {
        format!("{} need attention ({fail} fail, {warn} warn).", fail + warn)
    };
    table(&["CHECK", "RESULT", "FOUND", "DO"], rows.collect()) + &summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_readyz_are_checks() {
        assert_eq!(server_check("[+] database ok"), Some(Check::pass("db.reachable", "ok")));
        let red = server_check("[-] signer away: token gone\u{1b}[2J").unwrap();
        assert_eq!((red.check.as_str(), red.verdict), ("hsm.signs", Verdict::Fail));
        assert_eq!(red.found, "away: token gone\u{fffd}[2J");
        assert!(red.fix.contains("hsm probe"));
        let newer = server_check("[-] ledger forked").unwrap();
        assert_eq!(
            (newer.check.as_str(), newer.fix.as_str()),
            ("server.ledger", READ_THE_LOG)
        );
        let alarm = server_check("[!] crl CRL_LATE http://a/7.crl: it ends\u{7}").unwrap();
        assert_eq!((alarm.check.as_str(), alarm.verdict), ("crl.alarm", Verdict::Warn));
        assert_eq!(alarm.found, "CRL_LATE http://a/7.crl: it ends\u{fffd}");
        for line in ["ready", "not ready", "busy", "", "[", "[+]x", "\u{e4}\u{e4}\u{e4}"] {
            assert_eq!(server_check(line), None, "{line}");
        }
    }
}
