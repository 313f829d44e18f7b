//! Every certificate of the corpus with its verdict and the reason, as `docs/reference/ek-corpus.md` shows it.

use super::corpus::{corpus_anchors, files};
use super::*;
use crate::ek::examine;
use crate::trust::{CaFacts, TrustSources};
use std::fmt::Write as _;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/ek-corpus.md");

const HEAD: &str = "\
# The corpus of real EK certificates: every verdict

Made by the test `a39_the_page_of_verdicts_is_true` (`HOLDFAST_WRITE_PAGES=1` writes it anew); do not edit. Certificates are named by the first
digits of their SHA-256: EK certificates identify chips, so nothing else of them is here.

- **EK certificates** are judged without their TPM, below the corpus' own roots of their vendors, on 2026-11-22, as
  `ca-cli trust tpm try` does it. All reasons are given, not the first alone.
- **Roots** could be made anchors by a person; **intermediates** are links where a root of the corpus vouches for them. What is refused there can
  never issue EK certificates here, whoever decides what.
- A flipped bit in any accepted one is refused: tests `a39_a_flipped_bit_anywhere_in_a_real_certificate_is_refused`,
  `a39_a_flipped_bit_in_a_real_ca_is_refused`.
";

fn short(der: &[u8]) -> String {
    hex::encode(&openssl::sha::sha256(der)[..4])
}

/// `Vendor_Root_CA_0123abcd.der` as words, safe in a table.
fn words(file: &str) -> String {
    let stem = file.trim_end_matches(".der");
    let name = stem.rsplit_once('_').map_or(stem, |(name, _)| name);
    name.replace(|c: char| !c.is_ascii_alphanumeric(), " ")
        .trim()
        .to_owned()
}

/// Everything that is sound as an anchor, as one.
fn all_roots() -> Option<TrustSources> {
    let anchors = files("roots")?
        .into_iter()
        .filter(|(_, der)| CaFacts::read(der).is_ok_and(|facts| facts.self_signed))
        .map(|(name, certificate)| AnchorSource {
            name,
            certificate,
            kind: AnchorKind::Software,
            manufacturers: vec!["id:49465800".to_owned()],
            enforce_expiry: false,
        })
        .collect();
    Some(TrustSources {
        anchors,
        ..TrustSources::default()
    })
}

/// Why intermediates are no links below `sources`' anchors, by SHA-256; those that are links are not in it.
fn unfit(sources: &TrustSources, links: &[Vec<u8>]) -> BTreeMap<String, String> {
    let anchors = Anchors::of(TrustSources {
        intermediates: links.to_vec(),
        ..sources.clone()
    })
    .unwrap();
    let unused = anchors.unused_intermediates().iter();
    unused
        .map(|unused| {
            let (_, sha256) = unused.name.split_once("SHA-256 ").unwrap();
            (sha256.to_owned(), unused.detail.clone())
        })
        .collect()
}

fn page() -> Option<String> {
    let (leaves, roots, intermediates) = (files("leaves")?, files("roots")?, files("intermediates")?);
    let anchors = corpus_anchors()?;
    let mut page = HEAD.to_owned();
    let mut rows: Vec<(String, String, String)> = leaves
        .values()
        .map(|der| {
            let found = examine(der, &[], &anchors, NOW).unwrap();
            let refusals: Vec<String> = found.refusals().into_iter().map(ToString::to_string).collect();
            let (verdict, reason) = match (&found.path, &found.vendor) {
                (Ok(path), Some(Ok(tpm))) => {
                    let expired = if path.expired {
                        "; expired, which the anchor lets pass"
                    } else {
                        ""
                    };
                    let tpm = format!("{} {} {}", tpm.manufacturer, tpm.model, tpm.version);
                    let reason = format!("{}; {} CAs above it{expired}", tpm.trim(), path.path.len());
                    (format!("accepted: {}", path.assurance.as_str()), reason)
                }
                _ => ("refused".to_owned(), refusals.join("; ")),
            };
            assert_eq!(verdict == "refused", !refusals.is_empty());
            (short(der), verdict, reason)
        })
        .collect();
    rows.sort();
    writeln!(
        page,
        "\n## EK certificates ({})\n\n| SHA-256 | verdict | why |\n|---|---|---|",
        rows.len()
    )
    .unwrap();
    for (sha256, verdict, reason) in rows {
        writeln!(page, "| {sha256} | {verdict} | {reason} |").unwrap();
    }
    writeln!(
        page,
        "\n## Roots ({})\n\n| SHA-256 | name | verdict |\n|---|---|---|",
        roots.len()
    )
    .unwrap();
    for (name, der) in &roots {
        let verdict = match CaFacts::read(der) {
            Ok(facts) if facts.self_signed => "can be an anchor".to_owned(),
            Ok(_) => "refused: its own signature cannot be checked".to_owned(),
            Err(why) => format!("refused: {why}"),
        };
        writeln!(page, "| {} | {} | {verdict} |", short(der), words(name)).unwrap();
    }
    let links: Vec<Vec<u8>> = intermediates.values().cloned().collect();
    let unfit = unfit(&all_roots()?, &links);
    writeln!(
        page,
        "\n## Intermediates ({}, of them {} links)\n\n| SHA-256 | name | verdict |\n|---|---|---|",
        links.len(),
        links.len() - unfit.len()
    )
    .unwrap();
    for (name, der) in &intermediates {
        let verdict = unfit
            .get(&hex::encode(openssl::sha::sha256(der)))
            .map_or_else(|| "a link".to_owned(), |why| format!("no link: {why}"));
        writeln!(page, "| {} | {} | {verdict} |", short(der), words(name)).unwrap();
    }
    Some(page)
}

#[test]
fn a39_the_page_of_verdicts_is_true() {
    let Some(page) = page() else { return };
    if std::env::var_os("HOLDFAST_WRITE_PAGES").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap();
    for (ours, theirs) in page.lines().zip(written.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(page.len(), written.len());
}

/// Positions spread over the certificate, another bit at each.
#[test]
fn a39_a_flipped_bit_in_a_real_ca_is_refused() {
    let (Some(roots), Some(intermediates), Some(sources)) = (files("roots"), files("intermediates"), all_roots())
    else {
        return;
    };
    let flipped = |der: &[u8], step: usize| -> Vec<Vec<u8>> {
        let flip = |at: usize| {
            let mut der = der.to_vec();
            der[at] ^= 1 << (at % 8);
            der
        };
        (0..der.len()).step_by(step).chain([der.len() - 1]).map(flip).collect()
    };
    for (name, der) in &roots {
        if CaFacts::read(der).is_ok_and(|facts| facts.self_signed) {
            for flipped in flipped(der, 7) {
                assert!(!CaFacts::read(&flipped).is_ok_and(|facts| facts.self_signed), "{name}");
            }
        }
    }
    let links: Vec<Vec<u8>> = intermediates.values().cloned().collect();
    let no_links = unfit(&sources, &links);
    let sha256 = |der: &Vec<u8>| hex::encode(openssl::sha::sha256(der));
    let sound = links.iter().filter(|der| !no_links.contains_key(&sha256(der)));
    // Of those that still read as a certificate, not one finds an issuer that signed it.
    let broken: Vec<Vec<u8>> = sound
        .flat_map(|der| flipped(der, 61))
        .filter(|der| CaFacts::read(der).is_ok())
        .collect();
    assert!(broken.len() > 1000, "{}", broken.len());
    let shipped: Vec<Vec<u8>> = links.iter().chain(&broken).cloned().collect();
    let no_links = unfit(&sources, &shipped);
    for der in &broken {
        assert!(no_links.contains_key(&sha256(der)), "{}", sha256(der));
    }
}
