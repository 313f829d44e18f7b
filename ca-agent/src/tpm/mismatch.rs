//! Why the EK certificate in NV is not of the key that the TPM makes: for a person who asks.

use tss_esapi::interface_types::resource_handles::Hierarchy;

use super::ek::{Endorsement, certifies};
use super::nv::{NvCertificate, certificate_in};
use super::{Chip, TpmError, template};
use attest::ek::EkTemplate;

/// What was found instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The key is in another hierarchy: somebody certified a storage or platform key.
    Hierarchy(&'static str),
    /// Another template in the endorsement hierarchy gives the certified key.
    Template(EkTemplate),
    /// A nonce or template lies in NV, and neither with it nor without it comes the certified key.
    Nonce,
    /// No template gives it: the certificate is of another chip, or the seed was changed since.
    OtherKey,
}

impl Mismatch {
    /// In words: what it is, and what to do.
    #[must_use]
    pub fn words(self) -> (String, &'static str) {
        match self {
            Self::Hierarchy(name) => (
                format!(
                    "wrong hierarchy: the certificate is of a key in the {name} hierarchy, which is no endorsement key"
                ),
                "have the device's maker certify the key of the endorsement hierarchy",
            ),
            Self::Template(template) => (
                format!(
                    "wrong template: the certificate is of the EK of TCG template {}, and lies where another belongs",
                    template.as_str()
                ),
                "have the device's maker write it to the NV index of its template",
            ),
            Self::Nonce => (
                "nonce mismatch: with the nonce or template in NV the TPM makes another EK than the certificate names"
                    .to_owned(),
                "the maker's nonce in NV was changed or lost: ask him for it, or vouch for the key (ca-agent identify)",
            ),
            Self::OtherKey => (
                "certificate of another key: no template in no hierarchy gives it".to_owned(),
                "the endorsement seed was changed (TPM2_ChangeEPS), or the certificate is another chip's: it is of no use here",
            ),
        }
    }
}

impl Chip {
    /// Look for the key that the certificate names where it should not be.
    ///
    /// # Errors
    /// [`TpmError`] when the TPM does not answer.
    pub fn mismatch(&mut self, endorsement: &Endorsement) -> Result<Mismatch, TpmError> {
        let own = self.ek_templates(endorsement.template)?;
        for (hierarchy, name) in [(Hierarchy::Owner, "owner"), (Hierarchy::Platform, "platform")] {
            for bytes in &own {
                if self.gives(hierarchy, bytes, &endorsement.certificate) {
                    return Ok(Mismatch::Hierarchy(name));
                }
            }
        }
        for other in EkTemplate::ALL
            .into_iter()
            .filter(|other| *other != endorsement.template)
        {
            if self.gives(Hierarchy::Endorsement, &template::ek(other), &endorsement.certificate) {
                return Ok(Mismatch::Template(other));
            }
        }
        // The last of the templates is the default one.
        Ok(if own.len() > 1 {
            Mismatch::Nonce
        } else {
            Mismatch::OtherKey
        })
    }

    /// Whether this template gives the certified key there; a hierarchy that is closed gives none.
    fn gives(&mut self, hierarchy: Hierarchy, bytes: &[u8], certificate: &[u8]) -> bool {
        let Ok((handle, public)) = self.create_primary(hierarchy, bytes, "looking for the EK") else {
            return false;
        };
        self.flush(handle.into());
        certifies(certificate, &public)
    }

    /// NV indices of EK certificates that hold something else, and where it stops being one.
    ///
    /// # Errors
    /// [`TpmError`] when NV cannot be read.
    pub fn broken_certificates(&mut self) -> Result<Vec<(u32, String)>, TpmError> {
        let mut broken = Vec::new();
        for index in super::ek::certificate_indices() {
            let Some(blob) = self.read_nv(index)? else { continue };
            if certificate_in(&blob) == NvCertificate::Garbage {
                broken.push((index, break_in(&blob)));
            }
        }
        Ok(broken)
    }
}

/// Where a blob stops being one certificate with padding.
fn break_in(blob: &[u8]) -> String {
    let start = blob.iter().position(|byte| *byte == 0x30);
    match (start, start.and_then(|at| attest::trust::first_break(blob.get(at..)?))) {
        (None, _) => "no certificate begins in it".to_owned(),
        (Some(start), Some((at, what))) => format!("at byte {}: {what}", start.saturating_add(at)),
        (Some(_), None) => "what stands before or behind the certificate is no padding".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_der_is_told_with_its_place() {
        assert_eq!(break_in(b"hello"), "no certificate begins in it");
        assert_eq!(
            break_in(&[0x30, 0x82, 0x02, 0x00, 0x30]),
            "at byte 0: content is cut off"
        );
        assert_eq!(
            break_in(&[0x30, 0x04, 0x02, 0x05, 0x01, 0x01]),
            "at byte 2: content is cut off"
        );
        assert_eq!(
            break_in(&[0x10, 0x01, 0x00, 0x00, 0x02, 0x30, 0x00, 0x42]),
            "at byte 7: bytes follow the end"
        );
    }
}
