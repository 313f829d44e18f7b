//! `ca-cli trust tpm import PATH`: taken in, never trusted by that.

use std::collections::BTreeMap;
use std::path::Path;

use attest::trust::About;
use policies::trust::Imported;
use serde_json::json;

use super::{counted, counts};
use crate::cli::trust::Who;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, fields};
use crate::trust::Held;
use crate::trust::gather::gather;

pub(super) fn run(from: &Path, source: Option<&str>, who: &Who, store: &Path, about: About) -> Result<Report, Failure> {
    let mut held = Held::open(store, about)?;
    let gathered = gather(from)?;
    let place = source.map_or_else(|| from.display().to_string(), str::to_owned);
    let (mut new, mut there, mut not) = (Vec::new(), Vec::new(), gathered.passed_over);
    for (origin, der) in gathered.certificates {
        match held.take_in(&der, &format!("{place}: {origin}"), who) {
            Ok((name, Imported::New)) => new.push((name, origin)),
            Ok((name, Imported::There(_))) => there.push((name, origin)),
            Err(failure) => not.push((origin, failure.message)),
        }
    }
    let nothing = new.is_empty() && there.is_empty();
    let store = if new.is_empty() { held.store } else { held.save()? };
    let list = |all: &[(String, String)]| -> Vec<_> {
        all.iter()
            .map(|(name, origin)| json!({ "name": name, "origin": origin }))
            .collect()
    };
    let json = json!({
        "schema": "holdfast.trust-import.v1",
        "form": gathered.form,
        "version": store.version(),
        "new": list(&new),
        "there": list(&there),
        "not": not.iter().map(|(origin, why)| json!({ "origin": origin, "why": why })).collect::<Vec<_>>(),
    });
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (origin, why) in &not {
        reasons.entry(why.clone()).or_default().push(origin.clone());
    }
    let mut lines = vec![
        ("read as", gathered.form.to_owned()),
        (
            "new",
            format!("{}, all unknown: nothing is trusted by an import", new.len()),
        ),
        ("there", format!("{}, each keeps its state", there.len())),
    ];
    for (why, origins) in &reasons {
        let first = origins.first().map(|o| clean(o)).unwrap_or_default();
        let more = match origins.len() {
            1 => first,
            several => format!("{first} and {} more", several.saturating_sub(1)),
        };
        lines.push(("not taken", format!("{}: {more}", clean(why))));
    }
    lines.push((
        "store",
        format!("version {}: {}", store.version(), counted(&counts(&store))),
    ));
    let text = format!(
        "{}next: ca-cli trust {} list --state unknown --roots",
        fields(&lines),
        about.as_str()
    );
    let report = Report::new(json, move |_| text);
    Ok(report.exit(if nothing { Exit::Failed } else { Exit::Done }))
}
