//! A trust store as TOML: reading, with the place of each error, and the one way to write it.

use core::fmt::Write as _;

use attest::AnchorKind;
use attest::trust::{About, CaFacts};
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::entry::{Ca, Decision, Entry, State, Terms};
use super::{RawKind, date, manufacturers, wrong};
use crate::{name, place};

/// The form this code reads and writes.
const FORMAT: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    format: Spanned<u32>,
    version: Spanned<u64>,
    #[serde(default)]
    about: RawAbout,
    #[serde(default)]
    ca: Vec<RawCa>,
}

/// Whose claims the CAs make.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawAbout {
    #[default]
    Tpm,
    Iak,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCa {
    name: Spanned<String>,
    state: Spanned<RawState>,
    kind: Option<Spanned<RawKind>>,
    manufacturers: Option<Spanned<Vec<Spanned<String>>>>,
    enforce_expiry: Option<Spanned<bool>>,
    source: Spanned<String>,
    date: Spanned<Datetime>,
    by: Spanned<String>,
    why: Option<Spanned<String>>,
    sha256: Option<Spanned<String>>,
    spki_sha256: Option<Spanned<String>>,
    certificate: Option<Spanned<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawState {
    Trusted,
    Known,
    Unknown,
    Refused,
}

/// Version, whose claims, and entries, in the order of the file.
pub(super) fn read(text: &str) -> Result<(u64, About, Vec<Entry>), String> {
    let raw: RawStore = toml::from_str(text).map_err(|error| place::toml(text, &error))?;
    if *raw.format.get_ref() != FORMAT {
        return Err(wrong(text, &raw.format, &format!("this program reads format {FORMAT}")));
    }
    if *raw.version.get_ref() == 0 || i64::try_from(*raw.version.get_ref()).is_err() {
        return Err(wrong(text, &raw.version, "versions count up from 1"));
    }
    let about = match raw.about {
        RawAbout::Tpm => About::Tpm,
        RawAbout::Iak => About::Iak,
    };
    let entries = raw
        .ca
        .into_iter()
        .map(|ca| entry(text, ca, about))
        .collect::<Result<_, _>>()?;
    Ok((*raw.version.get_ref(), about, entries))
}

fn entry(text: &str, raw: RawCa, about: About) -> Result<Entry, String> {
    name::profile(raw.name.get_ref())
        .map_err(|error| wrong(text, &raw.name, &error.to_string().replace("profile name", "CA name")))?;
    let source = said(text, "source", &raw.source)?;
    let by = said(text, "by", &raw.by)?;
    let why = match &raw.why {
        Some(why) => said(text, "why", why)?,
        None if *raw.state.get_ref() == RawState::Unknown => String::new(),
        None => return Err(wrong(text, &raw.state, "`why` is missing: it was decided for a reason")),
    };
    let ca = subject(text, &raw)?;
    let state = state(text, &raw, about)?;
    Ok(Entry {
        decision: Decision {
            date: date(text, &raw.date)?,
            by,
            why,
        },
        name: raw.name.into_inner(),
        state,
        source,
        ca,
    })
}

/// One line of text, not empty.
fn said(text: &str, what: &str, value: &Spanned<String>) -> Result<String, String> {
    let said = value.get_ref().trim();
    if said.is_empty() {
        return Err(wrong(text, value, &format!("`{what}` is empty")));
    }
    if said.chars().any(char::is_control) {
        return Err(wrong(text, value, &format!("`{what}` has control characters in it")));
    }
    Ok(said.to_owned())
}

/// The terms of an anchor belong to anchors only.
fn state(text: &str, raw: &RawCa, about: About) -> Result<State, String> {
    if *raw.state.get_ref() == RawState::Trusted {
        let missing = |what| {
            wrong(
                text,
                &raw.state,
                &format!("`{what}` is missing: an anchor speaks for someone"),
            )
        };
        let kind = raw.kind.as_ref().ok_or_else(|| missing("kind"))?;
        let manufacturers = match (about, &raw.manufacturers) {
            (About::Tpm, ids) => manufacturers(text, ids.as_ref().ok_or_else(|| missing("manufacturers"))?)?,
            (About::Iak, None) => Vec::new(),
            (About::Iak, Some(ids)) => {
                return Err(wrong(
                    text,
                    ids,
                    "these ids are of TPMs, and this store is about devices",
                ));
            }
        };
        return Ok(State::Trusted(Terms {
            kind: (*kind.get_ref()).into(),
            manufacturers,
            // EK certificates end long before their chips do; who vouches for devices has to be able to say so still.
            enforce_expiry: raw
                .enforce_expiry
                .as_ref()
                .map_or(about == About::Iak, |flag| *flag.get_ref()),
        }));
    }
    let only = "only a trusted CA has terms";
    if let Some(kind) = &raw.kind {
        return Err(wrong(text, kind, only));
    }
    if let Some(ids) = &raw.manufacturers {
        return Err(wrong(text, ids, only));
    }
    if let Some(flag) = &raw.enforce_expiry {
        return Err(wrong(text, flag, only));
    }
    Ok(match raw.state.get_ref() {
        RawState::Known => State::Known,
        RawState::Refused => State::Refused,
        RawState::Unknown | RawState::Trusted => State::Unknown,
    })
}

/// A certificate with its hash, or the hash of what is refused unseen.
fn subject(text: &str, raw: &RawCa) -> Result<Ca, String> {
    let sha256 = raw.sha256.as_ref().map(|value| hash(text, value)).transpose()?;
    let key = raw.spki_sha256.as_ref().map(|value| hash(text, value)).transpose()?;
    if let Some(pem) = &raw.certificate {
        let der = certificate(pem.get_ref()).map_err(|message| wrong(text, pem, &message))?;
        let facts = CaFacts::read(&der).map_err(|message| wrong(text, pem, &message))?;
        for (given, field, found) in [
            (sha256, &raw.sha256, facts.sha256),
            (key, &raw.spki_sha256, facts.spki_sha256),
        ] {
            if let (Some(given), Some(field)) = (given, field)
                && given != found
            {
                return Err(wrong(
                    text,
                    field,
                    &format!("the certificate below has {}", hex::encode(found)),
                ));
            }
        }
        if *raw.state.get_ref() == RawState::Trusted && !facts.self_signed {
            return Err(wrong(
                text,
                &raw.state,
                "it is not self-signed: it can be a link, not an anchor",
            ));
        }
        return Ok(Ca::Certificate(der));
    }
    if *raw.state.get_ref() != RawState::Refused {
        return Err(wrong(
            text,
            &raw.state,
            "`certificate` is missing: a hash alone can only be refused",
        ));
    }
    match (sha256, key) {
        (Some(sha256), None) => Ok(Ca::CertificateHash(sha256)),
        (None, Some(key)) => Ok(Ca::KeyHash(key)),
        _ => Err(wrong(
            text,
            &raw.state,
            "without a certificate exactly one of `sha256` and `spki_sha256` says what is refused",
        )),
    }
}

fn hash(text: &str, value: &Spanned<String>) -> Result<[u8; 32], String> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let mut bytes = [0; 32];
    if !value.get_ref().bytes().all(lower) || hex::decode_to_slice(value.get_ref(), &mut bytes).is_err() {
        return Err(wrong(text, value, "64 lower-case hex digits"));
    }
    Ok(bytes)
}

/// The DER of exactly one PEM certificate, untouched. What is in it is for [`CaFacts`] to judge: it reads the departures
/// from DER that vendors' certificates have.
fn certificate(pem: &str) -> Result<Vec<u8>, String> {
    let (label, der) =
        der::pem::decode_vec(pem.trim().as_bytes()).map_err(|e| format!("not one PEM certificate: {e}"))?;
    if label != "CERTIFICATE" {
        return Err(format!("a PEM block of type `{label}`, not CERTIFICATE"));
    }
    Ok(der)
}

/// The file: the same entries always give the same bytes. `Err` never happens for entries that were read or checked.
pub(super) fn write<'a>(
    version: u64,
    about: About,
    entries: impl Iterator<Item = &'a Entry>,
) -> Result<String, String> {
    let (whom, verb) = match about {
        About::Tpm => ("TPMs", "tpm"),
        About::Iak => ("devices by their IAK", "iak"),
    };
    let mut out = format!(
        "# Whom we believe about {whom}. Written by `ca-cli trust {verb}`; how to read it: policies/trust/README.md.\n\
         format = {FORMAT}\nversion = {version}\n"
    );
    // Stores of before say nothing of it, and stay the same bytes.
    if about == About::Iak {
        out.push_str("about = \"iak\"\n");
    }
    for entry in entries {
        one(&mut out, about, entry)?;
    }
    Ok(out)
}

fn one(out: &mut String, about: About, entry: &Entry) -> Result<(), String> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut line = |key: &str, value: &str| {
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{key} = {value}");
    };
    line("\n[[ca]]\nname", &quoted(&entry.name));
    line("state", &quoted(entry.state.as_str()));
    if let State::Trusted(terms) = &entry.state {
        let kind = match terms.kind {
            AnchorKind::Hardware => "hardware",
            AnchorKind::Virtual => "virtual",
            AnchorKind::Software => "software",
        };
        let ids: Vec<String> = terms.manufacturers.iter().map(|id| quoted(id)).collect();
        line("kind", &quoted(kind));
        if about == About::Tpm {
            line("manufacturers", &format!("[{}]", ids.join(", ")));
        }
        line("enforce_expiry", if terms.enforce_expiry { "true" } else { "false" });
    }
    line("source", &quoted(&entry.source));
    line("date", &entry.decision.date);
    line("by", &quoted(&entry.decision.by));
    if !entry.decision.why.is_empty() {
        line("why", &quoted(&entry.decision.why));
    }
    if let Some(sha256) = entry.ca.certificate_sha256() {
        line("sha256", &quoted(&hex::encode(sha256)));
    }
    if let Some(key) = entry.ca.key_sha256() {
        line("spki_sha256", &quoted(&hex::encode(key)));
    }
    if let Some(der) = entry.ca.certificate() {
        let pem = der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der).map_err(|e| e.to_string())?;
        line("certificate", &format!("\"\"\"\n{pem}\"\"\""));
    }
    Ok(())
}
