//! Whom a certificate names, and which key.

use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use policies::WouldGrant;
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

/// id-ce-subjectAltName (RFC 5280 §4.2.1.6).
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// Key, subject and alternative names of a certificate.
pub(crate) struct Named {
    /// SubjectPublicKeyInfo, DER.
    pub(crate) spki: Vec<u8>,
    subject: Name,
    alternative: Vec<GeneralName>,
}

impl Named {
    pub(crate) fn of(certificate: &Certificate) -> Result<Self, String> {
        let wrong = |e: der::Error| format!("the certificate cannot be read: {e}");
        let tbs = certificate.tbs_certificate();
        let alternative = extension(certificate, SUBJECT_ALT_NAME).map(SubjectAltName::from_der);
        Ok(Self {
            spki: tbs.subject_public_key_info().to_der().map_err(wrong)?,
            subject: tbs.subject().clone(),
            alternative: alternative
                .transpose()
                .map_err(wrong)?
                .map_or_else(Vec::new, |all| all.0),
        })
    }

    /// It names exactly whom it was granted for.
    pub(crate) fn is(&self, granted: &WouldGrant) -> Result<(), String> {
        let wrong = |e: der::Error| format!("what is granted cannot be written: {e}");
        let subject = granted.subject.to_name().map_err(wrong)?;
        if self.subject != subject {
            return Err(format!(
                "decided again, the subject is `{subject}`; the certificate has `{}`",
                self.subject
            ));
        }
        let all = granted.san.iter().map(policies::SanEntry::to_general_name);
        let all = all.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        if self.alternative == all {
            Ok(())
        } else {
            Err("decided again, other alternative names are granted than the certificate has".to_owned())
        }
    }
}

/// The value of an extension.
pub(crate) fn extension(certificate: &Certificate, oid: der::asn1::ObjectIdentifier) -> Option<&[u8]> {
    let all = certificate.tbs_certificate().extensions()?;
    all.iter()
        .find(|extension| extension.extn_id == oid)
        .map(|extension| extension.extn_value.as_bytes())
}
