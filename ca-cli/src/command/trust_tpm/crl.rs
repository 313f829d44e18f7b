//! `ca-cli trust tpm crl import FILE`: a vendor's CRL, checked and put where the servers read it.

use std::io::Write as _;
use std::path::Path;

use attest::trust::{About, CrlFacts};
use serde_json::json;

use crate::certificate;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, fields};
use crate::{pem, trust, words};

/// Largest CRL.
const BYTES: u64 = 64 << 20;

pub(super) fn import(from: &Path, dir: &Path, store: &Path) -> Result<Report, Failure> {
    let wrong = |exit, what: String| Failure::new(exit, format!("{}: {}", from.display(), clean(&what)));
    let bytes = crate::exit::read(from)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > BYTES {
        return Err(wrong(Exit::Usage, "larger than 64 MiB".to_owned()));
    }
    let der = match pem::blocks(&bytes, "X509 CRL")
        .map_err(|e| wrong(Exit::Usage, e))?
        .pop()
    {
        Some(der) => der,
        None => bytes,
    };
    let facts = CrlFacts::read(&der).map_err(|e| wrong(Exit::Usage, e))?;
    let store = trust::open(store, About::Tpm)?;
    let mut why = "no CA of the store is its issuer".to_owned();
    let mut signer = None;
    for entry in store.entries() {
        let Some(ca) = entry.ca.certificate() else { continue };
        if attest::trust::CaFacts::read(ca).is_ok_and(|ca| ca.subject == facts.issuer) {
            match CrlFacts::signed_by(&der, ca) {
                Ok(_) => signer = Some((entry.name.clone(), attest::sha256(ca))),
                Err(e) => why = e,
            }
        }
    }
    let Some((signer, ca_sha256)) = signer else {
        return Err(wrong(Exit::No, why).fix("import the CA first: ca-cli trust tpm import FILE"));
    };
    let place = dir.join(format!("{}.crl", hex::encode(ca_sha256.get(..8).unwrap_or_default())));
    if let Ok(before) = std::fs::read(&place)
        && let Ok(before) = CrlFacts::read(&before)
        && before.this_update > facts.this_update
    {
        return Err(wrong(
            Exit::No,
            format!(
                "it was made {}, and one of {} is there",
                words::rfc3339(facts.this_update.0),
                words::rfc3339(before.this_update.0)
            ),
        ));
    }
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", place.display()));
    let new = place.with_extension("new");
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::File::create(&new))
        .and_then(|mut file| {
            file.write_all(&der)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&new, &place))
        .map_err(failed)?;
    let next = facts.next_update.map(|at| words::rfc3339(at.0));
    let json = json!({
        "schema": "holdfast.trust-crl.v1",
        "file": place.display().to_string(),
        "ca": signer,
        "this_update": words::rfc3339(facts.this_update.0),
        "next_update": next,
        "revoked": facts.revoked,
        "whole": facts.whole,
    });
    let late = facts.next_update.is_some_and(|at| at.0 < words::now());
    let text = fields(&[
        ("file", place.display().to_string()),
        (
            "CA",
            format!("{signer} ({})", clean(&certificate::name_text(&facts.issuer))),
        ),
        ("made", words::rfc3339(facts.this_update.0)),
        (
            "next",
            match (next, late) {
                (None, _) => "not said".to_owned(),
                (Some(at), false) => at,
                (Some(at), true) => format!("{at}: past, look for a newer one"),
            },
        ),
        ("revoked", facts.revoked.to_string()),
    ]);
    Ok(Report::new(json, move |_| {
        format!("{text}next: restart the servers whose [trust] crls names this folder")
    }))
}
