//! `ca-cli trust tpm fetch EK`: the CAs above an EK certificate, from where it and they say that they are.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use aia::{Fetcher, HOSTS};
use attest::trust::{About, CaFacts, ca_issuers};
use policies::trust::Imported;
use serde_json::json;

use crate::cli::trust::Fetch;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, fields};
use crate::pem;
use crate::trust::{self, Held};

/// CAs above one another; real chains have three.
const LEVELS: usize = 6;

pub(super) fn run(arguments: &Fetch) -> Result<Report, Failure> {
    let fetcher = Fetcher {
        hosts: HOSTS
            .map(str::to_owned)
            .into_iter()
            .chain(arguments.host.clone())
            .collect(),
        pinned: arguments
            .resolve
            .iter()
            .map(|text| pinned(text))
            .collect::<Result<_, _>>()?,
        ..Fetcher::default()
    };
    let mut below = trust::single(&arguments.certificate)?;
    let mut held = Held::open(&arguments.store.store, About::Tpm)?;
    let (mut new, mut there, mut not) = (Vec::new(), Vec::new(), Vec::new());
    let mut asked = BTreeSet::new();
    for _ in 0..LEVELS {
        let mut found = None;
        for url in ca_issuers(&below) {
            // A certificate that points to itself, or two to each other, end here.
            if !asked.insert(url.clone()) {
                continue;
            }
            match fetcher.fetch(&url).and_then(|bytes| issuer_of(&below, bytes)) {
                Ok(der) => {
                    let (name, imported) = held.take_in(&der, &url, &arguments.who)?;
                    match imported {
                        Imported::New => new.push((name, url)),
                        Imported::There(_) => there.push((name, url)),
                    }
                    found = Some(der);
                    break;
                }
                Err(why) => not.push((url, why)),
            }
        }
        match found {
            Some(der) if !CaFacts::read(&der).is_ok_and(|facts| facts.self_signed) => below = der,
            _ => break,
        }
    }
    let nothing = new.is_empty() && there.is_empty();
    let store = if new.is_empty() { held.store } else { held.save()? };
    let list = |all: &[(String, String)], word: &str| -> Vec<_> {
        all.iter().map(|(one, two)| json!({ "url": two, word: one })).collect()
    };
    let json = json!({
        "schema": "holdfast.trust-fetch.v1",
        "version": store.version(),
        "new": list(&new, "name"),
        "there": list(&there, "name"),
        "not": not.iter().map(|(url, why)| json!({ "url": url, "why": why })).collect::<Vec<_>>(),
    });
    let mut lines = Vec::new();
    for (name, url) in &new {
        lines.push(("new", format!("{name}, unknown, from {}", clean(url))));
    }
    for (name, url) in &there {
        lines.push(("there", format!("{name}, at {}, too", clean(url))));
    }
    for (url, why) in &not {
        lines.push(("not", format!("{}: {}", clean(url), clean(why))));
    }
    if asked.is_empty() {
        lines.push(("not", "the certificate does not say where its issuer is".to_owned()));
    }
    let text = format!("{}next: ca-cli trust tpm try EK", fields(&lines));
    let report = Report::new(json, move |_| text);
    Ok(report.exit(if nothing { Exit::NotFound } else { Exit::Done }))
}

/// The one certificate among what was fetched that is called what the certificate below calls its issuer.
fn issuer_of(below: &[u8], bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let wanted = attest::trust::issuer_name(below).ok_or("the certificate below has no issuer")?;
    let all = match pem::blocks(&bytes, "CERTIFICATE")? {
        none if none.is_empty() => vec![bytes],
        blocks => blocks,
    };
    let mut why = "no certificate".to_owned();
    for der in all {
        match CaFacts::read(&der) {
            Ok(facts) if facts.subject == wanted => return Ok(der),
            Ok(_) => why = "the CA there has another name than the issuer".to_owned(),
            Err(other) => why = other,
        }
    }
    Err(why)
}

/// `HOST=ADDRESS:PORT`.
fn pinned(text: &str) -> Result<(String, SocketAddr), Failure> {
    text.split_once('=')
        .and_then(|(host, address)| Some((host.to_owned(), address.parse().ok()?)))
        .ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!("{text}: HOST=ADDRESS:PORT, for example pki.infineon.com=10.0.0.5:80"),
            )
        })
}
