//! An endorsement key in the forms people have it in, as the one hash the inventory keeps.
#![cfg(feature = "online")]

use attest::ek::{canonical_spki, certificate_spki};
use attest::tpm::TpmtPublic;

use crate::exit::{Exit, Failure};
use crate::pem;

/// An EK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EkKey {
    /// SHA-256 of the SubjectPublicKeyInfo, lower-case hex.
    pub(crate) sha256: String,
    /// What it was read as.
    pub(crate) form: &'static str,
}

/// What a certificate is read as.
const CERTIFICATE: &str = "an EK certificate";

impl EkKey {
    /// Whether it was read from a certificate.
    pub(crate) fn is_certificate(&self) -> bool {
        self.form == CERTIFICATE
    }

    /// Detect the form: a hash, or a file that holds a certificate, a public key or a TPM structure.
    pub(crate) fn detect(text: &str) -> Result<Self, Failure> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
        if compact.len() == 64 && compact.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self {
                sha256: compact.to_ascii_lowercase(),
                form: "SHA-256 of the SubjectPublicKeyInfo",
            });
        }
        let bytes = crate::exit::read(std::path::Path::new(text))?;
        Self::from_bytes(&bytes).map_err(|why| {
            Failure::new(Exit::Usage, format!("{text}: no endorsement key: {why}")).fix(
                "give a certificate or public key (PEM or DER), a TPM2B_PUBLIC or TPMT_PUBLIC, or the hash that\n`ca-agent identify` prints",
            )
        })
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        const KEY: &str = "a SubjectPublicKeyInfo";
        let refused = |refusal: attest::Refusal| refusal.detail;
        if let Some(der) = pem::blocks(bytes, "CERTIFICATE")?.first() {
            return certificate_spki(der)
                .map(|spki| Self::new(&spki, CERTIFICATE))
                .map_err(refused);
        }
        if let Some(der) = pem::blocks(bytes, "PUBLIC KEY")?.first() {
            return canonical_spki(der).map(|spki| Self::new(&spki, KEY)).map_err(refused);
        }
        if bytes.first() == Some(&0x30) {
            return certificate_spki(bytes)
                .map(|spki| Self::new(&spki, CERTIFICATE))
                .or_else(|certificate| {
                    let key = canonical_spki(bytes).map(|spki| Self::new(&spki, KEY));
                    key.map_err(|key| format!("{}; {}", certificate.detail, key.detail))
                });
        }
        let tpm2b = bytes
            .split_first_chunk::<2>()
            .and_then(|(size, rest)| (usize::from(u16::from_be_bytes(*size)) == rest.len()).then_some(rest));
        let (area, form) = match tpm2b {
            Some(area) => (area, "a TPM2B_PUBLIC"),
            None => (bytes, "a TPMT_PUBLIC"),
        };
        let spki = TpmtPublic::parse(area)
            .and_then(|public| public.spki())
            .map_err(refused)?;
        Ok(Self::new(&spki, form))
    }

    fn new(spki: &[u8], form: &'static str) -> Self {
        Self {
            sha256: hex::encode(openssl::sha::sha256(spki)),
            form,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_taken_in_any_grouping() {
        let hash = "AB".repeat(32);
        let colons: Vec<String> = hash
            .as_bytes()
            .chunks(2)
            .map(|c| String::from_utf8_lossy(c).into_owned())
            .collect();
        for text in [hash.clone(), crate::fingerprint::groups(&[0xab; 32]), colons.join(":")] {
            assert_eq!(EkKey::detect(&text).unwrap().sha256, "ab".repeat(32));
        }
    }

    #[test]
    fn what_is_no_key_says_why() {
        for (bytes, why) in [
            (&b"nothing of the kind"[..], "algorithm"),
            (b"", ""),
            (b"\x30\x03\x02\x01\x01", "certificate"),
            (
                b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n",
                "certificate",
            ),
            (
                b"-----BEGIN PUBLIC KEY-----\nMAMCAQE=\n-----END PUBLIC KEY-----\n",
                "EK",
            ),
        ] {
            let said = EkKey::from_bytes(bytes).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
