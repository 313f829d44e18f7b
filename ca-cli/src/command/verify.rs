//! `ca-cli verify FILE`: chain, validity, binding, level; each check says what it found.

use std::path::Path;

use crate::certificate;
use crate::cli::{Level, Verify};
use crate::exit::{Exit, Failure};
use crate::output::{Report, Style, field};
use crate::verification::{Check, Question, level_of};
use crate::words;

/// Characters of a tick and the longest name of a check.
const LABEL: usize = 16;

pub(super) fn run(arguments: &Verify) -> Result<Report, Failure> {
    let mut chain = certificate::load(&arguments.file)?;
    let leaf = chain.remove(0);
    for path in &arguments.untrusted {
        chain.extend(certificate::load(path)?);
    }
    let mut anchors = Vec::new();
    for path in &arguments.trust {
        anchors.extend(certificate::load(path)?);
    }
    let question = Question {
        leaf,
        chain,
        anchors,
        at: arguments.at.unwrap_or_else(words::now),
        level: arguments.level,
        ek_certificate: arguments.ek_certificate.as_deref().map(single).transpose()?,
        crls: arguments.crl.iter().map(|path| list(path)).collect::<Result<_, _>>()?,
        rehearsal: arguments.rehearsal,
    };
    let checks = question.checks();
    let valid = checks.iter().all(|c| c.ok);
    let json = serde_json::json!({
        "schema": "holdfast.verification.v1",
        "verdict": if valid { "valid" } else { "refused" },
        "at": words::rfc3339(question.at),
        "level": level_of(&question.leaf).map(Level::as_str),
        "checks": checks,
        "certificate": question.leaf,
    });
    let explain = arguments.explain;
    let report = Report::new(json, move |style| in_words(&checks, explain, style));
    Ok(report.exit(if valid { Exit::Done } else { Exit::No }))
}

fn in_words(checks: &[Check], explain: bool, style: Style) -> String {
    let mut text = String::new();
    for check in checks {
        let label = format!("{} {}", style.tick(check.ok), check.id);
        text.push_str(&field(&label, LABEL, &check.found));
        if explain {
            text.push_str(&field("", LABEL, check.clause));
        }
    }
    let refused: Vec<&str> = checks.iter().filter(|c| !c.ok).map(|c| c.id).collect();
    text + &if refused.is_empty() {
        "valid".to_owned()
    } else {
        format!("refused: {}", refused.join(", "))
    }
}

/// DER of the CRL in a file.
fn list(path: &Path) -> Result<Vec<u8>, Failure> {
    crate::crl::der(crate::exit::read(path)?)
        .map_err(|detail| Failure::new(Exit::Usage, format!("{}: {detail}", path.display())))
}

/// DER of the one certificate in a file. It is compared, not believed: an EK certificate may be as odd as its vendor.
fn single(path: &Path) -> Result<Vec<u8>, Failure> {
    let bad = |detail: &str| Failure::new(Exit::Usage, format!("{}: {detail}", path.display()));
    let mut found = certificate::split(&crate::exit::read(path)?).map_err(|e| bad(&e))?;
    match (found.pop(), found.is_empty()) {
        (Some(der), true) => Ok(der),
        _ => Err(bad("one certificate is wanted, there are several")),
    }
}
