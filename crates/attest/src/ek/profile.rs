//! The shape of an EK certificate (TCG EK Credential Profile, 3).

use super::name::{self, TpmName};
use crate::x509::asn1::BadDer;
use crate::x509::{Certificate, KeyUsage, Leniency, PublicKey, name_is_empty, oid};
use crate::{AnchorKind, Reason, Refusal};

/// Critical extensions that are processed; policies by having none to require.
const PROCESSED: [&[u8]; 5] = [
    oid::SUBJECT_ALT_NAME,
    oid::BASIC_CONSTRAINTS,
    oid::KEY_USAGE,
    oid::EXTENDED_KEY_USAGE,
    oid::CERTIFICATE_POLICIES,
];

/// An EK certificate of the right shape; what may depend on the anchor is still open.
#[derive(Debug)]
pub(super) struct Profile<'a> {
    pub(super) key: PublicKey,
    pub(super) authority_key_id: Option<&'a [u8]>,
    /// `None`: the certificate names no TPM at all.
    pub(super) name: Option<TpmName>,
    has_key_usage: bool,
    has_extended_key_usage: bool,
}

fn refuse(detail: impl core::fmt::Display) -> Refusal {
    Refusal::new(Reason::EkProfile, detail.to_string())
}

impl<'a> Profile<'a> {
    /// Judge everything that does not depend on the anchor.
    pub(super) fn read(certificate: &Certificate<'a>) -> Result<Self, Refusal> {
        let extensions = &certificate.extensions;
        if let Some(extension) = extensions.unprocessed_critical(&PROCESSED) {
            let oid = crate::x509::asn1::dotted(extension.oid).unwrap_or_default();
            return Err(refuse(format_args!("critical extension {oid} is not processed")));
        }
        basic_constraints(certificate)?;
        let key = PublicKey::parse(certificate.spki, certificate.leniencies)
            .map_err(|error| Refusal::new(Reason::EkKey, format!("the certified key: {error}")))?;
        let usage = extensions.key_usage().map_err(refuse)?;
        if let Some(usage) = usage {
            let (wanted, word) = match key {
                PublicKey::Rsa { .. } => (KeyUsage::KEY_ENCIPHERMENT, "keyEncipherment"),
                PublicKey::Ec { .. } => (KeyUsage::KEY_AGREEMENT, "keyAgreement"),
            };
            if !usage.has(wanted) {
                return Err(refuse(format_args!("keyUsage lacks {word}")));
            }
            if usage.has(KeyUsage::KEY_CERT_SIGN) {
                return Err(refuse("keyUsage has keyCertSign"));
            }
        }
        let purposes = extensions.extended_key_usage().map_err(refuse)?;
        if purposes
            .as_ref()
            .is_some_and(|purposes| !purposes.contains(&oid::EK_CERTIFICATE))
        {
            return Err(refuse("extKeyUsage lacks tcg-kp-EKCertificate"));
        }
        // RFC 5280 §4.2.1.6.
        if name_is_empty(certificate.subject)
            && !extensions
                .find(oid::SUBJECT_ALT_NAME)
                .is_some_and(|extension| extension.critical)
        {
            return Err(refuse("the subject is empty and subjectAltName is not critical"));
        }
        Ok(Self {
            key,
            authority_key_id: extensions.authority_key_id().map_err(refuse)?,
            name: tpm_name(certificate)?,
            has_key_usage: usage.is_some(),
            has_extended_key_usage: purposes.is_some(),
        })
    }

    /// Judge what depends on the anchor. A cloud operator's certificates (Google) have neither extKeyUsage nor TPM
    /// attributes; below an anchor of kind virtual both may be missing, if keyUsage says that the key is no signing key
    /// and the anchor speaks for one manufacturer only.
    pub(super) fn named_below(&self, kind: AnchorKind, manufacturers: &[String]) -> Result<TpmName, Refusal> {
        if !self.has_extended_key_usage {
            if kind != AnchorKind::Virtual {
                return Err(refuse("extKeyUsage is missing"));
            }
            if !self.has_key_usage {
                return Err(refuse("extKeyUsage and keyUsage are missing"));
            }
        }
        match (&self.name, kind, manufacturers) {
            (Some(name), _, _) => Ok(name.clone()),
            (None, AnchorKind::Virtual, [only]) => Ok(TpmName {
                manufacturer: only.clone(),
                model: String::new(),
                version: String::new(),
            }),
            (None, AnchorKind::Virtual, _) => Err(refuse(
                "no TPM is named, and the anchor speaks for several manufacturers",
            )),
            (None, _, _) => Err(refuse("subjectAltName names no TPM")),
        }
    }
}

fn basic_constraints(certificate: &Certificate<'_>) -> Result<(), Refusal> {
    let constraints = certificate.extensions.basic_constraints().map_err(refuse)?;
    if constraints.is_some_and(|constraints| constraints.ca) {
        return Err(refuse("it is a CA certificate"));
    }
    let firm = constraints.is_some_and(|constraints| constraints.critical);
    if !firm && !certificate.leniencies.allow(Leniency::LooseLeafConstraints) {
        return Err(refuse("basicConstraints is missing or not critical"));
    }
    Ok(())
}

/// The three attributes, from whichever RDN of whichever directoryName: none of them, or each exactly once.
fn tpm_name(certificate: &Certificate<'_>) -> Result<Option<TpmName>, Refusal> {
    let (mut manufacturer, mut model, mut version) = (None, None, None);
    certificate
        .extensions
        .alternative_attributes(|attribute, value| match attribute {
            oid::TPM_MANUFACTURER => {
                let id = name::manufacturer_id(name::text(&value)?);
                once(&mut manufacturer, id, "tpmManufacturer is not well-formed")
            }
            oid::TPM_MODEL => {
                let text = name::model(name::text(&value)?);
                once(&mut model, text, "tpmModel has characters that are not allowed")
            }
            oid::TPM_VERSION => {
                let text = name::version(name::text(&value)?);
                once(&mut version, text, "tpmVersion is not well-formed")
            }
            _ => Ok(()),
        })
        .map_err(refuse)?;
    match (manufacturer, model, version) {
        (Some(manufacturer), Some(model), Some(version)) => Ok(Some(TpmName {
            manufacturer,
            model,
            version,
        })),
        (None, None, None) => Ok(None),
        _ => Err(refuse("tpmManufacturer, tpmModel and tpmVersion are not all there")),
    }
}

fn once(slot: &mut Option<String>, value: Option<String>, wrong: &'static str) -> Result<(), BadDer> {
    match slot.replace(value.ok_or(BadDer(wrong))?) {
        None => Ok(()),
        Some(_) => Err(BadDer("a TPM attribute is there twice")),
    }
}
