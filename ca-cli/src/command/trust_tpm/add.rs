//! `ca-cli trust tpm add CA`, `ca-cli trust iak add CA`: a person trusts a root, or says that it is known.

use attest::trust::{About, Anchors};
use policies::trust::Terms;

use super::decided;
use crate::cli::trust::{Add, IakAdd, KindName, Who};
use crate::command::vendor;
use crate::exit::{Exit, Failure};
use crate::output::Report;
use crate::trust::{Held, decision, hash};

/// A decision about a CA, whichever store it is in.
struct Wanted<'a> {
    about: About,
    store: &'a std::path::Path,
    ca: &'a str,
    /// To trust it on these terms; none: it is known.
    terms: Option<Terms>,
    sha256: Option<&'a String>,
    lift_refusal: bool,
    who: &'a Who,
    why: &'a str,
}

pub(super) fn run(arguments: &Add) -> Result<Report, Failure> {
    let terms = |kind: KindName| {
        Ok::<_, Failure>(Terms {
            kind: kind.into(),
            manufacturers: makers(&arguments.manufacturer)?,
            enforce_expiry: arguments.enforce_expiry,
        })
    };
    decide(Wanted {
        about: About::Tpm,
        store: &arguments.store.store,
        ca: &arguments.ca,
        terms: arguments.kind.map(terms).transpose()?,
        sha256: arguments.sha256.as_ref(),
        lift_refusal: arguments.lift_refusal,
        who: &arguments.who,
        why: &arguments.why,
    })
}

pub(super) fn run_iak(arguments: &IakAdd) -> Result<Report, Failure> {
    decide(Wanted {
        about: About::Iak,
        store: &arguments.store.store,
        ca: &arguments.ca,
        terms: arguments.kind.map(|kind| Terms {
            kind: kind.into(),
            manufacturers: Vec::new(),
            enforce_expiry: !arguments.allow_expired,
        }),
        sha256: arguments.sha256.as_ref(),
        lift_refusal: arguments.lift_refusal,
        who: &arguments.who,
        why: &arguments.why,
    })
}

fn decide(arguments: Wanted<'_>) -> Result<Report, Failure> {
    let mut held = Held::open(arguments.store, arguments.about)?;
    let before = held.store.clone();
    let name = held.meant(arguments.ca, arguments.who)?;
    if let Some(given) = arguments.sha256 {
        let found = held.store.get(&name).and_then(|entry| entry.ca.certificate_sha256());
        if Some(hash(given)?) != found {
            return Err(Failure::new(
                Exit::No,
                format!(
                    "the certificate of `{name}` has SHA-256 {}, not the one you were given",
                    found.map(hex::encode).unwrap_or_default()
                ),
            )
            .fix("do not trust it; ask its vendor"));
        }
    }
    let decision = decision(arguments.who, arguments.why);
    match arguments.terms {
        Some(terms) => held.store.trust(&name, terms, decision, arguments.lift_refusal)?,
        None => held.store.know(&name, decision, arguments.lift_refusal)?,
    }
    // A store that no server would start with is not written.
    Anchors::of(held.store.sources()).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let store = held.save()?;
    let was = before.get(&name).map(|entry| entry.state.as_str());
    Ok(decided(&store, &name, was))
}

/// Ids of makers. A word of more than four octets would be cut to another maker's.
fn makers(given: &[String]) -> Result<Vec<String>, Failure> {
    let id = |text: &String| {
        let word = text.to_ascii_lowercase().starts_with("id:") || (1..=4).contains(&text.len());
        word.then(|| vendor::id(text)).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{text}: no TPM maker")).fix("write IFX, STM, NTC, ... or id:49465800")
        })
    };
    given.iter().map(id).collect()
}
