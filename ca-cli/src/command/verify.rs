//! `ca-cli verify FILE`: chain, validity, binding, level; each check says what it found.

use std::path::Path;

use bundle::{Bundle, BundleError};

use crate::certificate::{self, CertificateView};
use crate::cli::certificate::{Level, Verify};
use crate::exit::{Exit, Failure};
use crate::output::{Report, Style, clean, field};
use crate::trust::party::Party;
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
    let mut party = Party::default();
    for path in &arguments.trust {
        party.add(path)?;
    }
    let view = |der: &Vec<u8>| CertificateView::read(der).map_err(|e| Failure::new(Exit::Usage, e.to_string()));
    let anchors = party.ca.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    let bundle = arguments.bundle.as_deref().map(crate::exit::read).transpose()?;
    let bundle = bundle.map(|bytes| Bundle::read(&bytes));
    if let Some(Ok(bundle)) = &bundle {
        // Path material, as any other: an issuer that cannot be read is none.
        chain.extend(bundle.issuers.iter().filter_map(|der| CertificateView::read(der).ok()));
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
    // Of a bundle that cannot be read nothing else can be said: the path leads through it.
    let unreadable = matches!(bundle, Some(Err(_)));
    let mut checks = if unreadable { Vec::new() } else { question.checks() };
    checks.extend(
        bundle
            .map(|bundle| again(bundle, &question.leaf.der, party))
            .unwrap_or_default(),
    );
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

/// The checks of the enrollment, made again over what the bundle holds.
fn again(bundle: Result<Bundle, BundleError>, certificate: &[u8], party: Party) -> Vec<Check> {
    let clause = "Holdfast docs/adr/0022-evidence-bundle.md";
    let bundle = match bundle {
        Ok(bundle) => bundle,
        Err(error) => return vec![Check::new("bundle", clause, Err(error.to_string()))],
    };
    let trust = bundle::Trust {
        tpm_roots: party.tpm,
        iak_roots: party.iak,
        ledgers: party.ledgers,
        ..bundle::Trust::default()
    };
    let found = bundle::verify(&bundle, certificate, &trust);
    let archive = bundle.digest().map(|digest| format!("sha256 {}", hex::encode(digest)));
    let whole = Check::new("bundle", clause, archive.map_err(|e| e.to_string()));
    let checks = found.into_iter().map(|check| {
        // The bundle is a stranger's: text of it stays text.
        let found = check.found.map(|text| clean(&text)).map_err(|text| clean(&text));
        Check::new(check.id, clause, found)
    });
    std::iter::once(whole).chain(checks).collect()
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
