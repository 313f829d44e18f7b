//! `ca-cli trust tpm try CERT`: enrollment's checks on an EK certificate, each for itself, and what to do.

use std::path::{Path, PathBuf};

use attest::ek::{Examination, TpmIdentity, examine};
use attest::trust::{Anchors, CaFacts, TrustSources, ca_issuers, first_break};
use attest::{Reason, Refusal, UnixTime};
use serde_json::{Value, json};

use crate::certificate;
use crate::command::vendor;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, field};
use crate::{trust, words};

/// Characters of a tick and the longest name of a check.
const LABEL: usize = 16;

/// One line of the answer.
struct Line {
    id: &'static str,
    /// `None`: not reached.
    ok: Option<bool>,
    found: String,
}

pub(super) fn run(ek: &Path, chain: &[PathBuf], at: Option<i64>, store: &Path) -> Result<Report, Failure> {
    let sources = sources(store)?;
    let certificate = trust::single(ek)?;
    let mut offered = Vec::new();
    for path in chain {
        let found = certificate::split(&crate::exit::read(path)?)
            .map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", path.display())))?;
        offered.extend(found);
    }
    let known = Names::new(&sources, &offered);
    let anchors = Anchors::of(sources).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let now = at.unwrap_or_else(words::now);
    let (lines, refusals, level) = match examine(&certificate, &offered, &anchors, UnixTime(now)) {
        Ok(found) => {
            let refusals: Vec<Refusal> = found.refusals().into_iter().cloned().collect();
            let level = found.path.as_ref().ok().map(|path| path.assurance.as_str());
            (lines(&found, &known, now), refusals, level)
        }
        Err(refusal) => {
            // An offset where the bytes are no DER at all; an element that should not be there has none.
            let place = first_break(&certificate).map(|(at, what)| format!("; at byte {at}: {what}"));
            let line = Line {
                id: "certificate",
                ok: Some(false),
                found: format!("{refusal}{}", place.unwrap_or_default()),
            };
            (vec![line], vec![refusal], None)
        }
    };
    let accepted = refusals.is_empty();
    let issuers = ca_issuers(&certificate);
    let next = refusals.first().map(|refusal| next(refusal.reason, &issuers, ek));
    let json = json!({
        "schema": "holdfast.trust-try.v1",
        "verdict": if accepted { "accepted" } else { "refused" },
        "level": if accepted { level.map_or(Value::Null, Value::from) } else { Value::Null },
        "at": words::rfc3339(now),
        "sha256": hex::encode(openssl::sha::sha256(&certificate)),
        "checks": lines
            .iter()
            .map(|line| json!({ "id": line.id, "ok": line.ok, "found": line.found }))
            .collect::<Vec<_>>(),
        "reasons": refusals
            .iter()
            .map(|refusal| json!({ "code": refusal.reason.as_str(), "detail": refusal.detail }))
            .collect::<Vec<_>>(),
        "issuer_at": issuers,
        "next": next,
    });
    let codes: Vec<&str> = refusals.iter().map(|refusal| refusal.reason.as_str()).collect();
    let verdict = match (accepted, level) {
        (true, Some(level)) => format!("accepted as {level}, if the TPM holds the key"),
        _ => format!("refused: {}", codes.join(", ")),
    };
    let report = Report::new(json, move |style| {
        let mut text = String::new();
        for line in &lines {
            let tick = line.ok.map_or("-", |ok| style.tick(ok));
            text.push_str(&field(&format!("{tick} {}", line.id), LABEL, &line.found));
        }
        text.push_str(&verdict);
        if let Some(next) = &next {
            text.push_str(&format!("\n{}", field("next:", 6, next)));
        }
        text
    });
    Ok(report.exit(if accepted { Exit::Done } else { Exit::No }))
}

/// A trust file of either form.
fn sources(path: &Path) -> Result<TrustSources, Failure> {
    let bytes = crate::exit::read(path)
        .map_err(|failure| failure.fix("make one: ca-cli trust tpm import FOLDER; or name another: --store FILE"))?;
    let text =
        String::from_utf8(bytes).map_err(|_| Failure::new(Exit::Usage, format!("{}: not UTF-8", path.display())))?;
    policies::trust::sources(&path.display().to_string(), &text).map_err(|e| Failure::new(Exit::Usage, e.to_string()))
}

/// What the CAs that may be in a path are called.
struct Names(Vec<([u8; 32], String, i64)>);

impl Names {
    fn new(sources: &TrustSources, offered: &[Vec<u8>]) -> Self {
        let stored = sources.anchors.iter().map(|ca| (ca.name.clone(), &ca.certificate));
        let others = sources.others.iter().map(|ca| (ca.name.clone(), &ca.certificate));
        let offered = offered.iter().map(|der| ("offered".to_owned(), der));
        let named = stored.chain(others).chain(offered).filter_map(|(name, der)| {
            let facts = CaFacts::read(der).ok()?;
            Some((facts.sha256, name, facts.not_after.0))
        });
        Self(named.collect())
    }

    fn of(&self, sha256: &[u8; 32], now: i64) -> String {
        let found = self.0.iter().find(|(hash, ..)| hash == sha256);
        found.map_or_else(
            || hex::encode(sha256),
            |(_, name, not_after)| {
                if *not_after < now {
                    format!("{name} (expired {})", words::date(*not_after, now))
                } else {
                    name.clone()
                }
            },
        )
    }
}

fn lines(found: &Examination, known: &Names, now: i64) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |id, ok, found| lines.push(Line { id, ok, found });
    let (_, not_after) = found.validity;
    add(
        "certificate",
        Some(true),
        format!(
            "SHA-256 {}, issuer {}, expires {}",
            hex::encode(found.certificate_sha256),
            certificate::name_text(&found.issuer),
            words::date(not_after.0, now)
        ),
    );
    match &found.profile {
        Ok(Some(tpm)) => add("profile", Some(true), format!("it says: {}", identity(tpm))),
        Ok(None) => add("profile", Some(true), "it names no TPM".to_owned()),
        Err(refusal) => add("profile", Some(false), refusal.to_string()),
    }
    match &found.path {
        Ok(path) => {
            let names: Vec<String> = path.path.iter().map(|sha256| known.of(sha256, now)).collect();
            let expired = if path.expired {
                "; a certificate of it has expired, which this anchor lets pass"
            } else {
                ""
            };
            add("path", Some(true), format!("anchor {}{expired}", names.join(" > ")));
        }
        Err(refusal) => add("path", Some(false), refusal.to_string()),
    }
    match (&found.vendor, &found.path) {
        (Some(Ok(tpm)), Ok(path)) => {
            let makers: Vec<String> = path.manufacturers.iter().map(|id| vendor::word(id)).collect();
            let says = format!("{}; the anchor speaks for {}", identity(tpm), makers.join(", "));
            add("manufacturer", Some(true), says);
        }
        (Some(Err(refusal)), _) => add("manufacturer", Some(false), refusal.to_string()),
        _ => add("manufacturer", None, "not reached".to_owned()),
    }
    lines
}

fn identity(tpm: &TpmIdentity) -> String {
    let maker = vendor::word(&tpm.manufacturer);
    if tpm.model.is_empty() {
        return maker;
    }
    format!("{maker} {}, firmware {}", tpm.model, tpm.version)
}

/// The next step of whoever meets this.
fn next(reason: Reason, issuers: &[String], ek: &Path) -> String {
    let said = match reason {
        Reason::EkChain if !issuers.is_empty() => {
            return format!(
                "the certificate says that its issuer is at {}: ca-cli trust tpm fetch {} brings it; or import it from the \
                 vendor; or give what the device brings: --chain FILE",
                issuers.iter().map(|url| clean(url)).collect::<Vec<_>>().join(", "),
                ek.display()
            );
        }
        Reason::EkChain => {
            "look for the issuer above: ca-cli trust tpm list --name PART; import it from the vendor; or give what the device \
             brings: --chain FILE"
        }
        Reason::EkCaUntrusted => {
            "compare its fingerprint by another way, then: ca-cli trust tpm add NAME --kind hardware --manufacturer ID --why ..."
        }
        Reason::EkCaRefused => "ca-cli trust tpm list --state refused says who refused it and why",
        Reason::EkVendor => {
            "if the vendor confirms that this root speaks for that maker too: ca-cli trust tpm add NAME with all its --manufacturer"
        }
        Reason::Malformed => {
            "is it the certificate alone? What is read from NV may have a header or padding: ca-agent identify cuts it"
        }
        _ => {
            "the certificate is not one of an EK that can be believed here; docs/how-to/tpm-vendor.md says what each code means"
        }
    };
    said.to_owned()
}
