//! What a CSR asks for is compared with what will be issued. More is refused, never dropped.

use attest::csr::CsrRequest;
use der::{Decode, Encode, Tag, Tagged};
use x509_cert::ext::pkix::name::GeneralNames;
use x509_cert::name::Name;

use crate::{SanEntry, Subject};

/// Accepted: an empty subject, or the issued one; no SAN, or only names that are issued; nothing else.
pub(super) fn check(requested: &CsrRequest, subject: &Subject, san: &[SanEntry]) -> Result<(), String> {
    if let Some(oid) = requested.other_extensions.first() {
        return Err(format!("the CSR asks for extension {oid}"));
    }
    if let Some(oid) = requested.other_attributes.first() {
        return Err(format!("the CSR carries attribute {oid}"));
    }
    check_subject(&requested.subject, subject)?;
    match &requested.subject_alt_name {
        None => Ok(()),
        Some(der) => check_san(der, san),
    }
}

fn check_subject(der: &[u8], issued: &Subject) -> Result<(), String> {
    let asked = Name::from_der(der).map_err(|_| "the CSR's subject is not a Name".to_owned())?;
    if asked.is_empty() {
        return Ok(());
    }
    let differs = || Err("the CSR's subject is neither empty nor the one that is issued".to_owned());
    if asked.len() != issued.0.len() {
        return differs();
    }
    for (rdn, issued) in asked.iter_rdn().zip(&issued.0) {
        let mut attributes = rdn.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else {
            return differs();
        };
        // Encoders disagree on PrintableString or UTF8String; the characters are the same ASCII or UTF-8 in both.
        let text = matches!(attribute.value.tag(), Tag::PrintableString | Tag::Utf8String);
        if !text || attribute.oid != issued.kind.oid() || attribute.value.value() != issued.value.as_bytes() {
            return differs();
        }
    }
    Ok(())
}

/// Each requested name for itself, as DER: a name is the issued one exactly or it is another name.
fn check_san(der: &[u8], issued: &[SanEntry]) -> Result<(), String> {
    let asked = GeneralNames::from_der(der).map_err(|_| "the CSR's subjectAltName cannot be read".to_owned())?;
    if asked.is_empty() {
        return Err("the CSR's subjectAltName is empty".to_owned());
    }
    let issued = issued
        .iter()
        .map(|entry| entry.to_general_name()?.to_der())
        .collect::<der::Result<Vec<_>>>()
        .map_err(|e| format!("encoding the issued names: {e}"))?;
    for (index, name) in asked.iter().enumerate() {
        let entitled = name.to_der().is_ok_and(|name| issued.contains(&name));
        if !entitled {
            let place = index.saturating_add(1);
            return Err(format!(
                "the CSR asks for name {place} of its subjectAltName, which is not issued"
            ));
        }
    }
    Ok(())
}
