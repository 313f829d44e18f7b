//! A certificate as people and programs read it. Reading only: nothing here is believed.

use attest::rot::{self, RotBinding, RotKind};
use der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use der::{Decode as _, Encode as _, Tag, Tagged as _};
use serde::Serialize;
use x509_cert::Certificate;
use x509_cert::certificate::CertificateInner;
use x509_cert::certificate::Raw;
use x509_cert::ext::pkix::name::{GeneralName, GeneralNames, HardwareModuleName};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::name::Name;

use crate::exit::{Exit, Failure};
use crate::output::clean;
use crate::pem;

/// One certificate, read.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CertificateView {
    /// The certificate, DER.
    #[serde(skip)]
    pub(crate) der: Vec<u8>,
    pub(crate) sha256: String,
    pub(crate) serial: String,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) key: String,
    pub(crate) spki_sha256: String,
    pub(crate) signature_algorithm: String,
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
}

/// The RoT-binding extension, read.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RotView {
    pub(crate) version: u8,
    pub(crate) kind: &'static str,
    pub(crate) ek_spki_sha256: String,
    pub(crate) ak_name: String,
    pub(crate) ik_name: String,
    pub(crate) evidence_sha256: String,
    pub(crate) parent_rot: Option<String>,
}

impl RotView {
    fn new(binding: &RotBinding) -> Self {
        let kind = match binding.rot_kind {
            RotKind::Tpm => "tpm",
            RotKind::Vtpm => "vtpm",
            RotKind::Dice => "dice",
        };
        Self {
            version: binding.version,
            kind,
            ek_spki_sha256: hex::encode(binding.ek_spki_sha256.as_bytes()),
            ak_name: hex::encode(binding.ak_name.as_bytes()),
            ik_name: hex::encode(binding.ik_name.as_bytes()),
            evidence_sha256: hex::encode(binding.evidence_sha256.as_bytes()),
            parent_rot: binding.parent_rot.as_ref().map(|p| hex::encode(p.as_bytes())),
        }
    }
}

/// All certificates of a file: one DER certificate, or any number of PEM blocks.
pub(crate) fn load(path: &std::path::Path) -> Result<Vec<CertificateView>, Failure> {
    let bytes = crate::exit::read(path)?;
    let bad = |detail: String| Failure::new(Exit::Usage, format!("{}: {detail}", path.display()));
    let ders = split(&bytes).map_err(bad)?;
    if ders.is_empty() {
        return Err(bad("no certificate in it (PEM or DER)".into()));
    }
    ders.iter()
        .map(|der| CertificateView::read(der).map_err(|e| bad(e.to_string())))
        .collect()
}

/// DER of each certificate in `bytes`.
pub(crate) fn split(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.to_vec()]);
    }
    pem::blocks(bytes, "CERTIFICATE")
}

impl CertificateView {
    /// Read one DER certificate.
    pub(crate) fn read(der: &[u8]) -> anyhow::Result<Self> {
        // The raw profile: an auditor wants to look into odd serial numbers too, not be refused.
        let certificate = CertificateInner::<Raw>::from_der(der)?;
        let tbs = certificate.tbs_certificate();
        let spki = tbs.subject_public_key_info();
        let spki_der = spki.to_der()?;
        let mut view = Self {
            sha256: hex::encode(openssl::sha::sha256(der)),
            serial: hex::encode(tbs.serial_number().as_bytes()),
            subject: name(tbs.subject()),
            issuer: name(tbs.issuer()),
            not_before: i64::try_from(tbs.validity().not_before.to_unix_duration().as_secs())?,
            not_after: i64::try_from(tbs.validity().not_after.to_unix_duration().as_secs())?,
            key: key(&spki_der),
            spki_sha256: hex::encode(openssl::sha::sha256(&spki_der)),
            signature_algorithm: signature_algorithm(&certificate.signature_algorithm().oid),
            ca: false,
            path_length: None,
            key_usage: Vec::new(),
            extended_key_usage: Vec::new(),
            subject_alternative_names: Vec::new(),
            policies: Vec::new(),
            subject_key_id: None,
            authority_key_id: None,
            ek_certificate_sha256: None,
            rot_binding: None,
            rehearsal: false,
            unknown_critical: Vec::new(),
            der: der.to_vec(),
        };
        for extension in tbs.extensions().into_iter().flatten() {
            let known = view.extension(&extension.extn_id, extension.extn_value.as_bytes())?;
            if extension.critical && !known {
                view.unknown_critical.push(extension.extn_id.to_string());
            }
        }
        view.rehearsal |= view.subject.contains("CN=REHEARSAL ");
        Ok(view)
    }

    /// Read one extension; says whether it is known.
    fn extension(&mut self, oid: &ObjectIdentifier, value: &[u8]) -> anyhow::Result<bool> {
        use der::oid::AssociatedOid;
        match *oid {
            BasicConstraints::OID => {
                let constraints = BasicConstraints::from_der(value)?;
                (self.ca, self.path_length) = (constraints.ca, constraints.path_len_constraint);
            }
            KeyUsage::OID => {
                self.key_usage = KeyUsage::from_der(value)?
                    .0
                    .into_iter()
                    .map(|u| lower_first(&format!("{u:?}")))
                    .collect();
            }
            ExtendedKeyUsage::OID => {
                let usages = ExtendedKeyUsage::from_der(value)?;
                self.extended_key_usage = usages.0.iter().map(|o| crate::words::oid(&o.to_string())).collect();
            }
            SubjectAltName::OID => self.names(&SubjectAltName::from_der(value)?.0),
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
            rot::ID_ROT_BINDING => self.rot_binding = Some(RotView::new(&RotBinding::from_der(value)?)),
            rot::ID_REHEARSAL => self.rehearsal = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn names(&mut self, names: &GeneralNames) {
        for entry in names {
            let text = match entry {
                GeneralName::DnsName(dns) => format!("DNS:{}", dns.as_str()),
                GeneralName::UniformResourceIdentifier(uri) => format!("URI:{}", uri.as_str()),
                GeneralName::Rfc822Name(mail) => format!("email:{}", mail.as_str()),
                GeneralName::IpAddress(octets) => format!("IP:{}", ip(octets.as_bytes())),
                GeneralName::DirectoryName(directory) => format!("directory:{}", name(directory)),
                GeneralName::OtherName(other) => {
                    let der = other.value.to_der().unwrap_or_default();
                    self.other_name(&other.type_id, &der)
                }
                _ => "a name of a kind that this tool does not know".into(),
            };
            self.subject_alternative_names.push(clean(&text));
        }
    }

    fn other_name(&mut self, type_id: &ObjectIdentifier, der: &[u8]) -> String {
        if *type_id == rot::ID_ON_HARDWARE_MODULE_NAME
            && let Ok(module) = HardwareModuleName::from_der(der)
        {
            let serial = String::from_utf8_lossy(module.hw_serial_num.as_bytes()).into_owned();
            return format!("hardwareModuleName:{}:{serial}", module.hw_type);
        }
        if *type_id == rot::ID_ON_PERMANENT_IDENTIFIER
            && let Ok(identifier) = PermanentIdentifier::from_der(der)
        {
            let value = identifier.value.unwrap_or_default();
            if identifier.assigner == Some(rot::TCG_ON_EK_PERM_ID_SHA256) {
                self.ek_certificate_sha256 = Some(value.clone());
            }
            return format!("permanentIdentifier:{value}");
        }
        format!("otherName:{type_id}")
    }
}

/// RFC 4043 §2.
#[derive(der::Sequence)]
struct PermanentIdentifier {
    #[asn1(optional = "true")]
    value: Option<String>,
    #[asn1(optional = "true")]
    assigner: Option<ObjectIdentifier>,
}

/// RFC 4514-like text, attributes in the order of the certificate.
fn name(name: &Name) -> String {
    let mut parts = Vec::new();
    for rdn in name.iter_rdn() {
        for attribute in rdn.iter() {
            let label = match attribute.oid.to_string().as_str() {
                "2.5.4.3" => "CN".to_owned(),
                "2.5.4.5" => "serialNumber".to_owned(),
                "2.5.4.6" => "C".to_owned(),
                "2.5.4.7" => "L".to_owned(),
                "2.5.4.8" => "ST".to_owned(),
                "2.5.4.10" => "O".to_owned(),
                "2.5.4.11" => "OU".to_owned(),
                "2.23.133.2.1" => "tpmManufacturer".to_owned(),
                "2.23.133.2.2" => "tpmModel".to_owned(),
                "2.23.133.2.3" => "tpmVersion".to_owned(),
                other => other.to_owned(),
            };
            let value = match attribute.value.tag() {
                Tag::Utf8String => attribute
                    .value
                    .decode_as::<Utf8StringRef<'_>>()
                    .map(|s| s.as_str().to_owned()),
                Tag::PrintableString => attribute
                    .value
                    .decode_as::<PrintableStringRef<'_>>()
                    .map(|s| s.as_str().to_owned()),
                Tag::Ia5String => attribute
                    .value
                    .decode_as::<Ia5StringRef<'_>>()
                    .map(|s| s.as_str().to_owned()),
                _ => Ok(format!("#{}", hex::encode(attribute.value.value()))),
            };
            parts.push(format!(
                "{label}={}",
                clean(&value.unwrap_or_else(|_| "?".into())).replace(',', "\\,")
            ));
        }
    }
    parts.join(", ")
}

fn ip(octets: &[u8]) -> String {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        std::net::Ipv4Addr::from(four).to_string()
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(octets) {
        std::net::Ipv6Addr::from(sixteen).to_string()
    } else {
        hex::encode(octets)
    }
}

fn lower_first(text: &str) -> String {
    // KeyUsages' variants are the ASN.1 names with a capital: DigitalSignature, CRLSign.
    match text {
        "CRLSign" => "cRLSign".into(),
        other => {
            let mut characters = other.chars();
            characters
                .next()
                .map(|c| c.to_ascii_lowercase().to_string() + characters.as_str())
                .unwrap_or_default()
        }
    }
}

fn key(spki: &[u8]) -> String {
    let Ok(key) = openssl::pkey::PKey::public_key_from_der(spki) else {
        return "unknown".into();
    };
    if let Ok(rsa) = key.rsa() {
        return format!("RSA {}", rsa.size().saturating_mul(8));
    }
    let curve = key.ec_key().ok().and_then(|k| k.group().curve_name());
    match curve {
        Some(openssl::nid::Nid::X9_62_PRIME256V1) => "P-256".into(),
        Some(openssl::nid::Nid::SECP384R1) => "P-384".into(),
        Some(openssl::nid::Nid::SECP521R1) => "P-521".into(),
        _ => "unknown".into(),
    }
}

fn signature_algorithm(oid: &ObjectIdentifier) -> String {
    match oid.to_string().as_str() {
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256".into(),
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384".into(),
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512".into(),
        "1.2.840.113549.1.1.11" => "RSA PKCS#1 v1.5 with SHA-256".into(),
        "1.2.840.113549.1.1.12" => "RSA PKCS#1 v1.5 with SHA-384".into(),
        "1.2.840.113549.1.1.13" => "RSA PKCS#1 v1.5 with SHA-512".into(),
        "1.2.840.113549.1.1.10" => "RSA PSS".into(),
        other => other.to_owned(),
    }
}

impl CertificateView {
    /// The certificate in words, one line per fact.
    pub(crate) fn words(&self, now: i64) -> String {
        use crate::words::{date, oid};
        let mut lines: Vec<(&str, String)> = vec![
            (
                "subject",
                if self.subject.is_empty() {
                    "(empty: the names below are the identity)".into()
                } else {
                    self.subject.clone()
                },
            ),
            ("issuer", self.issuer.clone()),
            ("serial", self.serial.clone()),
            ("valid from", date(self.not_before, now)),
            ("expires", date(self.not_after, now)),
            ("key", self.key.clone()),
            ("signed with", self.signature_algorithm.clone()),
        ];
        if self.ca {
            let length = self.path_length.map_or_else(|| "any".to_owned(), |n| n.to_string());
            lines.push(("may issue", format!("yes, path length {length}")));
        }
        lines.push(("key usage", self.key_usage.join(", ")));
        if !self.extended_key_usage.is_empty() {
            lines.push(("for", self.extended_key_usage.join(", ")));
        }
        lines.extend(self.subject_alternative_names.iter().map(|n| ("name", n.clone())));
        lines.extend(self.policies.iter().map(|p| ("proven", oid(p))));
        if let Some(rot) = &self.rot_binding {
            lines.push((
                "bound to",
                format!("a {}, endorsement key sha256 {}", rot.kind, rot.ek_spki_sha256),
            ));
            lines.push(("  attested by", format!("AK {}", rot.ak_name)));
            lines.push(("  this key", format!("IK {}", rot.ik_name)));
            lines.push(("  evidence", format!("sha256 {}", rot.evidence_sha256)));
            if let Some(parent) = &rot.parent_rot {
                lines.push(("  on host", format!("endorsement key sha256 {parent}")));
            }
        }
        if self.rehearsal {
            lines.push(("REHEARSAL", "made in a rehearsal; worth nothing outside it".into()));
        }
        lines.extend(
            self.unknown_critical
                .iter()
                .map(|o| ("UNKNOWN", format!("critical extension {o}"))),
        );
        let mut text: String = lines
            .iter()
            .map(|(label, value)| format!("{label:<14}{value}\n"))
            .collect();
        for (i, line) in crate::fingerprint::groups(&hex::decode(&self.sha256).unwrap_or_default())
            .lines()
            .enumerate()
        {
            text.push_str(&format!("{:<14}{line}\n", if i == 0 { "sha256" } else { "" }));
        }
        text
    }
}

/// Strict parse under RFC 5280's serial rules, for `verify`.
pub(crate) fn strict(der: &[u8]) -> Result<(), String> {
    Certificate::from_der(der).map(|_| ()).map_err(|e| e.to_string())
}
