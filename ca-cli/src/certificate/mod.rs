//! A certificate as people and programs read it. Reading only: nothing here is believed.

mod names;
mod oids;
mod words;

use attest::rot::{self, RotKind, RotStatement};
use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid as _;
use der::{Decode as _, Encode as _};
use issuance::SignatureAlgorithm;
use serde::Serialize;
use x509_cert::certificate::{Certificate, CertificateInner, Raw};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, SubjectAltName,
    SubjectKeyIdentifier,
};

use crate::exit::{Exit, Failure};
use crate::pem;

/// One certificate, read. Text in it is safe for a terminal.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct CertificateView {
    /// The certificate, DER.
    #[serde(skip)]
    pub(crate) der: Vec<u8>,
    /// Canonical SubjectPublicKeyInfo, DER.
    #[serde(skip)]
    pub(crate) spki: Vec<u8>,
    pub(crate) sha256: String,
    pub(crate) serial: String,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) key: String,
    /// SHA-256 of `spki`: of an EK certificate, what the inventory knows the EK by.
    pub(crate) spki_sha256: String,
    pub(crate) signature_algorithm: String,
    /// AlgorithmIdentifier of its signature, DER.
    #[serde(skip)]
    signed_with: Vec<u8>,
    pub(crate) ca: bool,
    pub(crate) path_length: Option<u8>,
    pub(crate) key_usage: Vec<String>,
    pub(crate) extended_key_usage: Vec<String>,
    pub(crate) subject_alternative_names: Vec<String>,
    pub(crate) policies: Vec<String>,
    pub(crate) subject_key_id: Option<String>,
    pub(crate) authority_key_id: Option<String>,
    /// SHA-256 of the EK certificate, out of a permanentIdentifier with the TCG's assigner.
    pub(crate) ek_certificate_sha256: Option<String>,
    pub(crate) rot_binding: Option<RotView>,
    /// Whether this certificate says that it comes from a rehearsal.
    pub(crate) rehearsal: bool,
    /// OIDs of critical extensions that this tool does not know.
    pub(crate) unknown_critical: Vec<String>,
    /// Extensions that this tool knows and cannot read: OID and why.
    pub(crate) unreadable: Vec<String>,
}

/// The RoT-binding extension, read.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RotView {
    pub(crate) version: u8,
    pub(crate) kind: &'static str,
    /// `ek-activation` or `iak-certified`.
    pub(crate) basis: &'static str,
    /// Proven where the basis is `ek-activation`; else the manufacturer's word, if he gave it.
    pub(crate) ek_spki_sha256: Option<String>,
    /// SHA-256 of the IAK's certificate, where the basis is `iak-certified`.
    pub(crate) iak_certificate_sha256: Option<String>,
    /// The attestation key that vouched: the activated AK, or the IAK.
    pub(crate) ak_name: String,
    pub(crate) ik_name: String,
    pub(crate) evidence_sha256: String,
    pub(crate) parent_rot: Option<String>,
}

impl RotView {
    fn new(statement: &RotStatement) -> Self {
        let (version, iak, parent) = match statement {
            RotStatement::Activation(binding) => (binding.version, None, binding.parent_rot.as_ref()),
            RotStatement::Certified(binding) => (binding.version, Some(&binding.iak_certificate_sha256), None),
        };
        Self {
            version,
            kind: match statement.rot_kind() {
                RotKind::Tpm => "tpm",
                RotKind::Vtpm => "vtpm",
                RotKind::Dice => "dice",
            },
            basis: statement.basis().as_str(),
            ek_spki_sha256: statement.ek_spki_sha256().map(hex::encode),
            iak_certificate_sha256: iak.map(|digest| hex::encode(digest.as_bytes())),
            ak_name: hex::encode(statement.voucher_name()),
            ik_name: hex::encode(statement.ik_name()),
            evidence_sha256: hex::encode(statement.evidence_sha256()),
            parent_rot: parent.map(|p| hex::encode(p.as_bytes())),
        }
    }
}

/// All certificates of a file, at least one: one DER certificate, or PEM blocks.
pub(crate) fn load(path: &std::path::Path) -> Result<Vec<CertificateView>, Failure> {
    let bad = |detail: String| Failure::new(Exit::Usage, format!("{}: {detail}", path.display()));
    split(&crate::exit::read(path)?)
        .map_err(bad)?
        .iter()
        .map(|der| CertificateView::read(der).map_err(|e| bad(e.to_string())))
        .collect()
}

/// DER of each certificate in `bytes`; at least one.
pub(crate) fn split(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.to_vec()]);
    }
    let ders = pem::blocks(bytes, "CERTIFICATE")?;
    if ders.is_empty() {
        return Err("no certificate in it (PEM or DER)".into());
    }
    Ok(ders)
}

/// A Name (DER) as text, safe for a terminal; what is not read as one stays hex.
pub(crate) fn name_text(der: &[u8]) -> String {
    x509_cert::name::Name::from_der(der).map_or_else(|_| hex::encode(der), |name| names::distinguished(&name))
}

/// Strict parse under RFC 5280's serial rules, for `verify`.
pub(crate) fn strict(der: &[u8]) -> Result<(), String> {
    Certificate::from_der(der).map(|_| ()).map_err(|e| e.to_string())
}

impl CertificateView {
    /// Read one DER certificate. An extension that cannot be read is listed, and the rest is shown.
    pub(crate) fn read(der: &[u8]) -> anyhow::Result<Self> {
        // The raw profile: an auditor wants to look into odd serial numbers too, not be refused.
        let certificate = CertificateInner::<Raw>::from_der(der)?;
        let tbs = certificate.tbs_certificate();
        let spki = tbs.subject_public_key_info().to_der()?;
        let spki = attest::ek::canonical_spki(&spki).unwrap_or(spki);
        let mut view = Self {
            sha256: hex::encode(openssl::sha::sha256(der)),
            serial: hex::encode(tbs.serial_number().as_bytes()),
            subject: names::distinguished(tbs.subject()),
            issuer: names::distinguished(tbs.issuer()),
            not_before: i64::try_from(tbs.validity().not_before.to_unix_duration().as_secs())?,
            not_after: i64::try_from(tbs.validity().not_after.to_unix_duration().as_secs())?,
            key: key(&spki),
            spki_sha256: hex::encode(openssl::sha::sha256(&spki)),
            signature_algorithm: oids::word(&certificate.signature_algorithm().oid),
            signed_with: certificate.signature_algorithm().to_der()?,
            der: der.to_vec(),
            spki,
            ..Self::default()
        };
        for extension in tbs.extensions().into_iter().flatten() {
            match view.extension(&extension.extn_id, extension.extn_value.as_bytes()) {
                Ok(true) => {}
                Ok(false) if extension.critical => view.unknown_critical.push(extension.extn_id.to_string()),
                Ok(false) => {}
                Err(why) => view.unreadable.push(format!("{}: {why}", extension.extn_id)),
            }
        }
        view.rehearsal |= view.subject.contains("CN=REHEARSAL ");
        Ok(view)
    }

    /// Read one extension; says whether it is known.
    fn extension(&mut self, oid: &ObjectIdentifier, value: &[u8]) -> der::Result<bool> {
        match *oid {
            BasicConstraints::OID => {
                let constraints = BasicConstraints::from_der(value)?;
                (self.ca, self.path_length) = (constraints.ca, constraints.path_len_constraint);
            }
            KeyUsage::OID => {
                let usages = KeyUsage::from_der(value)?.0.into_iter();
                self.key_usage = usages.map(|u| lower_first(&format!("{u:?}"))).collect();
            }
            ExtendedKeyUsage::OID => {
                self.extended_key_usage = ExtendedKeyUsage::from_der(value)?.0.iter().map(oids::word).collect();
            }
            SubjectAltName::OID => {
                for name in &SubjectAltName::from_der(value)?.0 {
                    let name = names::general(name);
                    self.ek_certificate_sha256 = self.ek_certificate_sha256.take().or(name.ek_certificate_sha256);
                    self.subject_alternative_names.push(name.text);
                }
            }
            CertificatePolicies::OID => {
                let policies = CertificatePolicies::from_der(value)?;
                self.policies = policies.0.iter().map(|p| p.policy_identifier.to_string()).collect();
            }
            SubjectKeyIdentifier::OID => {
                self.subject_key_id = Some(hex::encode(SubjectKeyIdentifier::from_der(value)?.0.as_bytes()));
            }
            AuthorityKeyIdentifier::OID => {
                let identifier = AuthorityKeyIdentifier::from_der(value)?;
                self.authority_key_id = identifier.key_identifier.map(|k| hex::encode(k.as_bytes()));
            }
            rot::ID_ROT_BINDING => self.rot_binding = Some(RotView::new(&RotStatement::from_der(value)?)),
            rot::ID_REHEARSAL => self.rehearsal = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// An algorithm that a CA with this key signs with: what it signed itself with, if it did, else the server's own
    /// default.
    pub(crate) fn ca_algorithm(&self) -> Option<SignatureAlgorithm> {
        use SignatureAlgorithm as A;
        let (usual, other) = match self.key.as_str() {
            "P-256" => (A::EcdsaP256Sha256, None),
            "P-384" => (A::EcdsaP384Sha384, None),
            "RSA 3072" => (A::Rsa3072Pkcs1Sha256, Some(A::Rsa3072PssSha256)),
            "RSA 4096" => (A::Rsa4096Pkcs1Sha256, Some(A::Rsa4096PssSha256)),
            _ => return None,
        };
        let its_own = self.subject == self.issuer;
        Some(
            other
                .filter(|a| its_own && self.signed_with == a.identifier())
                .unwrap_or(usual),
        )
    }

    /// The certificate in few words: common name, serial number or first name.
    pub(crate) fn short(&self) -> String {
        let wanted = ["CN=", "serialNumber="];
        let part = wanted
            .iter()
            .find_map(|w| self.subject.split(", ").find_map(|p| p.strip_prefix(w)));
        part.or(self.subject_alternative_names.first().map(String::as_str))
            .unwrap_or(&self.serial)
            .to_owned()
    }
}

/// The ASN.1 name of a key usage, out of its variant's: DigitalSignature, CRLSign.
fn lower_first(variant: &str) -> String {
    let mut characters = variant.chars();
    characters
        .next()
        .map(|c| c.to_ascii_lowercase().to_string() + characters.as_str())
        .unwrap_or_default()
}

/// Kind and size of the key.
fn key(spki: &[u8]) -> String {
    use openssl::nid::Nid;
    let Ok(key) = openssl::pkey::PKey::public_key_from_der(spki) else {
        return "unknown".into();
    };
    if let Ok(rsa) = key.rsa() {
        return format!("RSA {}", rsa.size().saturating_mul(8));
    }
    let curve = key.ec_key().ok().and_then(|k| k.group().curve_name());
    let name = match curve {
        Some(Nid::X9_62_PRIME256V1) => "P-256",
        Some(Nid::SECP384R1) => "P-384",
        Some(Nid::SECP521R1) => "P-521",
        _ => "unknown",
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_usages_have_their_asn1_names() {
        assert_eq!(lower_first("DigitalSignature"), "digitalSignature");
        assert_eq!(lower_first("CRLSign"), "cRLSign");
        assert_eq!(lower_first(""), "");
    }

    #[test]
    fn nothing_is_no_certificate() {
        for bytes in [&b""[..], b"x", b"-----BEGIN CERTIFICATE-----"] {
            assert!(split(bytes).is_err());
        }
        for der in [&b"\x30\x00"[..], b"\x30\x84\xff\xff\xff\xff"] {
            assert!(CertificateView::read(der).is_err());
            assert!(strict(der).is_err());
        }
    }
}
