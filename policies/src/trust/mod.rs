//! `policies/trust/*.toml` and an operator's own: whom we believe about TPMs, with source, date and reason.
//!
//! A file is either a list of anchors, written by hand ([`parse`]), or a [`TrustStore`], in which every CA has a state and
//! which `ca-cli trust tpm` writes. [`sources`] reads both. The certificates themselves are judged by
//! [`attest::trust::Anchors::of`].

pub mod bundle;
mod entry;
mod raw;
mod store;
mod test_cas;

pub use entry::{Ca, Decision, Entry, State, Terms};
pub use store::{Imported, StoreError, TrustStore};
pub use test_cas::{TestCa, test_ca, test_cas, without_test_cas};

use attest::AnchorKind;
use attest::trust::{AnchorSource, TrustSources};
use der::Decode as _;
use der::asn1::AnyRef;
use openssl::x509::X509;
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use crate::{name, place};

/// A trust file that does not load.
#[derive(Debug, Clone, thiserror::Error)]
#[error("trust `{file}`: {message}")]
pub struct TrustFileError {
    /// File name.
    pub file: String,
    /// Message with line and caret.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    anchor: Vec<RawAnchor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAnchor {
    name: Spanned<String>,
    kind: RawKind,
    manufacturers: Spanned<Vec<Spanned<String>>>,
    certificate: Spanned<String>,
    source: Spanned<String>,
    added: Spanned<Datetime>,
    why: Spanned<String>,
    #[serde(default)]
    enforce_expiry: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawKind {
    Hardware,
    Virtual,
    Software,
}

impl From<RawKind> for AnchorKind {
    fn from(raw: RawKind) -> Self {
        match raw {
            RawKind::Hardware => Self::Hardware,
            RawKind::Virtual => Self::Virtual,
            RawKind::Software => Self::Software,
        }
    }
}

/// Parse one list of anchors: `[[anchor]]` tables with `name`, `kind`, `manufacturers`, `certificate` (PEM), `source`,
/// `added`, `why`, optional `enforce_expiry`.
///
/// # Errors
/// [`TrustFileError`].
pub fn parse(file: &str, toml: &str) -> Result<Vec<AnchorSource>, TrustFileError> {
    read(toml).map_err(|message| TrustFileError {
        file: file.to_owned(),
        message,
    })
}

/// What a trust file of either form says.
///
/// # Errors
/// [`TrustFileError`].
pub fn sources(file: &str, toml: &str) -> Result<TrustSources, TrustFileError> {
    if is_store(toml) {
        return TrustStore::parse(file, toml).map(|store| store.sources());
    }
    Ok(TrustSources {
        anchors: parse(file, toml)?,
        ..TrustSources::default()
    })
}

/// Whether a file means to be a store: it has a `format` or a `[[ca]]`. What does not parse is for [`parse`] to explain.
fn is_store(toml: &str) -> bool {
    toml.parse::<toml::Table>()
        .is_ok_and(|table| table.contains_key("format") || table.contains_key("ca"))
}

fn read(text: &str) -> Result<Vec<AnchorSource>, String> {
    let raw: RawFile = toml::from_str(text).map_err(|error| place::toml(text, &error))?;
    let mut anchors: Vec<AnchorSource> = Vec::new();
    for entry in raw.anchor {
        let anchor = anchor(text, entry, &anchors)?;
        anchors.push(anchor);
    }
    Ok(anchors)
}

fn anchor(text: &str, raw: RawAnchor, earlier: &[AnchorSource]) -> Result<AnchorSource, String> {
    name::profile(raw.name.get_ref()).map_err(|error| {
        wrong(
            text,
            &raw.name,
            &error.to_string().replace("profile name", "anchor name"),
        )
    })?;
    if earlier.iter().any(|anchor| anchor.name == *raw.name.get_ref()) {
        return Err(wrong(text, &raw.name, "another anchor of this file has this name"));
    }
    for (what, value) in [("source", &raw.source), ("why", &raw.why)] {
        if value.get_ref().trim().is_empty() {
            return Err(wrong(
                text,
                value,
                &format!("`{what}` is empty: an anchor is trusted for a reason"),
            ));
        }
    }
    date(text, &raw.added)?;
    let certificate = certificate(raw.certificate.get_ref()).map_err(|m| wrong(text, &raw.certificate, &m))?;
    if earlier.iter().any(|anchor| anchor.certificate == certificate) {
        return Err(wrong(
            text,
            &raw.certificate,
            "another anchor of this file is this certificate",
        ));
    }
    Ok(AnchorSource {
        name: raw.name.into_inner(),
        certificate,
        kind: raw.kind.into(),
        manufacturers: manufacturers(text, &raw.manufacturers)?,
        enforce_expiry: raw.enforce_expiry,
    })
}

/// A date and nothing else.
fn date(text: &str, value: &Spanned<Datetime>) -> Result<String, String> {
    let given = value.get_ref();
    if given.date.is_none() || given.time.is_some() {
        return Err(wrong(text, value, "a date, for example 2026-01-31"));
    }
    Ok(given.to_string())
}

fn wrong<T>(text: &str, value: &Spanned<T>, message: &str) -> String {
    place::point(text, value.span(), message)
}

/// TPM vendor ids as EK certificates carry them: `id:` and 8 upper-case hex digits.
fn manufacturers(text: &str, raw: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<String>, String> {
    if raw.get_ref().is_empty() {
        return Err(wrong(
            text,
            raw,
            "an anchor speaks for the manufacturers named here; name one",
        ));
    }
    let mut ids: Vec<String> = Vec::new();
    for id in raw.get_ref() {
        let digits = id.get_ref().strip_prefix("id:").unwrap_or_default();
        let upper = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
        if digits.len() != 8 || !digits.bytes().all(upper) {
            return Err(wrong(
                text,
                id,
                "`id:` and 8 upper-case hex digits, for example \"id:49465800\"",
            ));
        }
        if ids.contains(id.get_ref()) {
            return Err(wrong(text, id, "this manufacturer is named twice"));
        }
        ids.push(id.get_ref().clone());
    }
    Ok(ids)
}

/// The DER of exactly one PEM certificate, untouched.
fn certificate(pem: &str) -> Result<Vec<u8>, String> {
    let (label, der) =
        der::pem::decode_vec(pem.trim().as_bytes()).map_err(|e| format!("not one PEM certificate: {e}"))?;
    if label != "CERTIFICATE" {
        return Err(format!("a PEM block of type `{label}`, not CERTIFICATE"));
    }
    // OpenSSL forgives bytes after the certificate; AnyRef does not.
    AnyRef::from_der(&der).map_err(|e| format!("not a certificate: {e}"))?;
    X509::from_der(&der).map_err(|_| "not an X.509 certificate".to_owned())?;
    Ok(der)
}
