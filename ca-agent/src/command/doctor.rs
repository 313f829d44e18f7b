//! `ca-agent doctor`: what usually goes wrong, looked at one by one.

use openssl::x509::X509;
use serde::Serialize;
use wire::Exit;

use super::{Said, open};
use crate::config::Config;
use crate::error::AgentError;
use crate::report::Report;
use crate::server::Server;
use crate::state::State;
use crate::stored;
use crate::tpm::{EkChoice, Role};
use crate::words::{clean, date};

/// Clocks may differ by this much, seconds.
const CLOCK_TOLERANCE: i64 = 300;

#[derive(Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    found: String,
    fix: String,
}

impl Check {
    fn pass(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            ok: true,
            found: found.into(),
            fix: String::new(),
        }
    }
    fn fail(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            check,
            ok: false,
            found: found.into(),
            fix: fix.into(),
        }
    }
    fn of(check: &'static str, result: Result<String, Report>) -> Self {
        match result {
            Ok(found) => Self::pass(check, found),
            Err(report) => Self::fail(check, report.message, report.fix.join("; ")),
        }
    }
}

pub(super) fn run(config: &Config, server: Option<&str>) -> Result<Said, AgentError> {
    let state = State::look(&config.state_dir);
    let mut checks = tpm(config, &state);
    checks.extend(identity(&state));
    checks.extend(ca(config, &state, server));
    let red = checks.iter().filter(|c| !c.ok).count();
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic)
        .set_header(["CHECK", "RESULT", "FOUND", "DO"]);
    for c in &checks {
        table.add_row([
            c.check,
            if c.ok { "pass" } else { "FAIL" },
            &clean(&c.found),
            &clean(&c.fix),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let table: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    let json = serde_json::json!({ "schema": "holdfast.doctor.v1", "checks": checks });
    let summary = match red {
        0 => "All is well.".to_owned(),
        1 => "1 needs attention.".to_owned(),
        many => format!("{many} need attention."),
    };
    let failed: Vec<&str> = checks.iter().filter(|c| !c.ok).map(|c| c.check).collect();
    let mut said = Said::new(json, format!("{table}{summary}"), failed.join("\n"));
    said.exit = if red == 0 { Exit::Done } else { Exit::No };
    Ok(said)
}

fn tpm(config: &Config, state: &State) -> Vec<Check> {
    let tpm = match open(config) {
        Ok(tpm) => tpm,
        Err(error) => return vec![Check::of("tpm.opens", Err(error.report()))],
    };
    let said = |error: crate::tpm::TpmError| AgentError::from(error).report();
    let facts = tpm.run(|chip| chip.facts()).map_err(said);
    let lockout = tpm.run(|chip| chip.lockout()).map_err(said);
    let endorsement = tpm.run(|chip| chip.choose_endorsement(EkChoice::Auto)).map_err(said);
    let mut checks = vec![Check::of(
        "tpm.opens",
        facts.map(|f| {
            let model: Vec<&str> = f.model.split_whitespace().collect();
            format!("{} {}, firmware {}", f.vendor, model.join(" "), f.firmware)
        }),
    )];
    checks.push(match lockout {
        Ok(lockout) if lockout.active => Check::fail(
            "tpm.lockout",
            locked(&lockout),
            "wait, or clear it with the lockout password",
        ),
        Ok(lockout) => Check::pass(
            "tpm.lockout",
            format!("{} of {} tries used", lockout.tries, lockout.limit),
        ),
        Err(report) => Check::of("tpm.lockout", Err(report)),
    });
    match endorsement {
        Ok(endorsement) => {
            let found = format!("{} at NV {:08X}", endorsement.words(), endorsement.nv_index);
            checks.push(Check::pass("ek.certificate", found));
            let (certificate, wanted) = (endorsement.certificate.clone(), endorsement.clone());
            let same = tpm.run(move |chip| chip.load_ek(&endorsement).map(|ek| chip.unload_ek(&ek)));
            checks.push(match same {
                Ok(()) => Check::pass("ek.key", "the certificate is this TPM's"),
                Err(crate::tpm::TpmError::EkMismatch { .. }) => match tpm.run(move |chip| chip.mismatch(&wanted)) {
                    Ok(mismatch) => {
                        let (found, fix) = mismatch.words();
                        Check::fail("ek.key", found, fix)
                    }
                    Err(error) => Check::of("ek.key", Err(said(error))),
                },
                Err(error) => Check::of("ek.key", Err(said(error))),
            });
            let offered = tpm.run(|chip| chip.endorsement_chain()).unwrap_or_default();
            checks.push(Check::pass("ek.issuer", issuer(&certificate, &offered)));
        }
        Err(report) => checks.push(Check::of("ek.certificate", Err(report))),
    }
    for (index, place) in tpm.run(|chip| chip.broken_certificates()).unwrap_or_default() {
        checks.push(Check::fail(
            "ek.nv",
            format!("NV {index:08X} holds no certificate: {place}"),
            "have the device's maker write it again; another EK of this TPM may be in order (--ek rsa, --ek ecc)",
        ));
    }
    match state.key(Role::Identity) {
        Ok(None) => {}
        Ok(Some(key)) => {
            let signed = tpm.run(move |chip| chip.sign(&key, b"ca-agent doctor").map(|_| ()));
            checks.push(Check::of("key", signed.map(|()| "it signs".to_owned()).map_err(said)));
        }
        Err(error) => checks.push(Check::of("key", Err(error.report()))),
    }
    checks
}

/// Tries, and until when.
fn locked(lockout: &crate::tpm::Lockout) -> String {
    let tries = format!("locked: {} of {} tries used", lockout.tries, lockout.limit);
    match lockout.next_try_in() {
        None => format!("{tries}; it never opens by itself"),
        Some(wait) => {
            let at = jiff::Zoned::now().checked_add(jiff::SignedDuration::try_from(wait).unwrap_or_default());
            let at = at.map(|t| t.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default();
            format!("{tries}; until {at} at the latest, in {}", crate::words::span(wait))
        }
    }
}

/// Where the CA may get the certificate above this one: from the device, or from the place that it names.
fn issuer(certificate: &[u8], offered: &[Vec<u8>]) -> String {
    let above = attest::trust::issuer_name(certificate);
    let brought = offered
        .iter()
        .any(|der| attest::trust::CaFacts::read(der).is_ok_and(|facts| Some(facts.subject) == above));
    let urls = attest::trust::ca_issuers(certificate);
    match (brought, urls.as_slice()) {
        (true, _) => "the TPM brings its issuer's certificate in NV".to_owned(),
        (false, []) => {
            "the TPM does not bring its issuer's certificate, and the certificate does not say where that is".to_owned()
        }
        (false, urls) => format!(
            "the TPM does not bring its issuer's certificate; it is at {} (the CA's operator: ca-cli trust tpm fetch)",
            urls.iter().map(|url| clean(url)).collect::<Vec<_>>().join(", ")
        ),
    }
}

fn identity(state: &State) -> Vec<Check> {
    let unread = |e: crate::state::StateError| e.report();
    let mut checks = Vec::new();
    checks.push(match state.read("root.pem").map_err(unread) {
        Ok(Some(_)) => Check::pass("ca.root", "pinned"),
        Ok(None) => Check::fail(
            "ca.root",
            "no CA is pinned yet",
            "ca-agent enroll --server URL --root-sha256 FINGERPRINT",
        ),
        Err(report) => Check::of("ca.root", Err(report)),
    });
    checks.push(match stored::not_after(state, stored::IDENTITY).map_err(unread) {
        Ok(Some(at)) if at < jiff::Timestamp::now().as_second() => Check::fail(
            "certificate",
            format!("expired {}", date(at)),
            "ca-agent enroll: the same keys get a new one",
        ),
        Ok(Some(at)) => Check::pass("certificate", format!("expires {}", date(at))),
        Ok(None) => Check::fail("certificate", "none yet", "ca-agent enroll, once the CA is known"),
        Err(report) => Check::of("certificate", Err(report)),
    });
    checks
}

fn ca(config: &Config, state: &State, named: Option<&str>) -> Vec<Check> {
    let known = state.enrolled().ok().flatten().map(|e| e.server);
    let known = || known.or(config.server().map(str::to_owned));
    let Some(url) = named.map(str::to_owned).or_else(known) else {
        return vec![Check::fail(
            "ca.reached",
            "no server is known",
            "ca-agent doctor --server URL",
        )];
    };
    let root = state
        .read("root.pem")
        .ok()
        .flatten()
        .and_then(|pem| X509::from_pem(&pem).ok()?.to_der().ok());
    let Some(root) = root else {
        return vec![Check::fail(
            "ca.reached",
            "no root is pinned, so no server is believed",
            "ca-agent enroll --server URL --root-sha256 FINGERPRINT",
        )];
    };
    let clock = Server::pinned(&url, &root).and_then(|server| server.clock());
    match clock {
        Err(error) => vec![Check::of("ca.reached", Err(error.report()))],
        Ok(None) => vec![Check::pass("ca.reached", url)],
        Ok(Some((server, ours))) => {
            let off = ours.saturating_sub(server);
            let found = format!("{off} s apart");
            let clock = if off.abs() <= CLOCK_TOLERANCE {
                Check::pass("clock", found)
            } else {
                Check::fail("clock", found, "set this device's clock")
            };
            vec![Check::pass("ca.reached", url), clock]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tpm::Lockout;
    use std::time::Duration;

    #[test]
    fn a_lockout_is_told_with_its_end() {
        let mut lockout = Lockout {
            active: true,
            tries: 10,
            limit: 10,
            interval: Duration::from_secs(7200),
        };
        let said = locked(&lockout);
        assert!(
            said.starts_with("locked: 10 of 10 tries used; until 2") && said.contains(", in 2"),
            "{said}"
        );
        lockout.interval = Duration::ZERO;
        assert!(locked(&lockout).ends_with("it never opens by itself"));
    }
}
