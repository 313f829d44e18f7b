//! Names as text, safe for a terminal.

use attest::rot;
use der::asn1::{Any, BmpString, Ia5StringRef, ObjectIdentifier, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use der::{Decode as _, Encode as _, Tag, Tagged as _};
use x509_cert::ext::pkix::name::{GeneralName, HardwareModuleName, OtherName};
use x509_cert::name::Name;

use super::oids;
use crate::output::clean;

/// A general name, read.
#[derive(Debug, Default)]
pub(super) struct General {
    pub(super) text: String,
    /// SHA-256 of an EK certificate, when that is what it names.
    pub(super) ek_certificate_sha256: Option<String>,
}

/// RFC 4043 §2.
#[derive(der::Sequence)]
struct PermanentIdentifier {
    #[asn1(optional = "true")]
    value: Option<String>,
    #[asn1(optional = "true")]
    assigner: Option<ObjectIdentifier>,
}

/// One name of a subject alternative name.
pub(super) fn general(name: &GeneralName) -> General {
    let text = match name {
        GeneralName::DnsName(dns) => format!("DNS:{}", dns.as_str()),
        GeneralName::UniformResourceIdentifier(uri) => format!("URI:{}", uri.as_str()),
        GeneralName::Rfc822Name(mail) => format!("email:{}", mail.as_str()),
        GeneralName::IpAddress(octets) => format!("IP:{}", ip(octets.as_bytes())),
        GeneralName::DirectoryName(directory) => format!("directory:{}", distinguished(directory)),
        GeneralName::OtherName(other) => return other_name(other),
        _ => "a name of a kind that this tool does not know".into(),
    };
    General {
        text: clean(&text),
        ek_certificate_sha256: None,
    }
}

fn other_name(other: &OtherName) -> General {
    let der = other.value.to_der().unwrap_or_default();
    let (text, ek_certificate_sha256) = match other.type_id {
        rot::ID_ON_HARDWARE_MODULE_NAME => (hardware_module(&der), None),
        rot::ID_ON_PERMANENT_IDENTIFIER => match PermanentIdentifier::from_der(&der) {
            Ok(identifier) => {
                let value = clean(&identifier.value.unwrap_or_default());
                let of_ek = identifier.assigner == Some(rot::TCG_ON_EK_PERM_ID_SHA256);
                (Some(format!("permanentIdentifier:{value}")), of_ek.then_some(value))
            }
            Err(_) => (None, None),
        },
        _ => (None, None),
    };
    General {
        text: text.map_or_else(|| format!("otherName:{}", other.type_id), |text| clean(&text)),
        ek_certificate_sha256,
    }
}

fn hardware_module(der: &[u8]) -> Option<String> {
    let module = HardwareModuleName::from_der(der).ok()?;
    let serial = String::from_utf8_lossy(module.hw_serial_num.as_bytes());
    Some(format!("hardwareModuleName:{}:{serial}", module.hw_type))
}

/// RFC 4514-like text, attributes in the order of the certificate.
pub(super) fn distinguished(name: &Name) -> String {
    let rdns = name.iter_rdn().map(|rdn| {
        let attributes = rdn.iter().map(|attribute| {
            let value =
                string(&attribute.value).unwrap_or_else(|| format!("#{}", hex::encode(attribute.value.value())));
            let value = clean(&value).replace(',', "\\,").replace('+', "\\+");
            format!("{}={value}", oids::word(&attribute.oid))
        });
        attributes.collect::<Vec<_>>().join(" + ")
    });
    rdns.collect::<Vec<_>>().join(", ")
}

/// The text of a DirectoryString or IA5String.
fn string(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::Utf8String => value
            .decode_as::<Utf8StringRef<'_>>()
            .ok()
            .map(|s| s.as_str().to_owned()),
        Tag::PrintableString => value
            .decode_as::<PrintableStringRef<'_>>()
            .ok()
            .map(|s| s.as_str().to_owned()),
        Tag::Ia5String => value
            .decode_as::<Ia5StringRef<'_>>()
            .ok()
            .map(|s| s.as_str().to_owned()),
        Tag::TeletexString => value
            .decode_as::<TeletexStringRef<'_>>()
            .ok()
            .map(|s| s.as_str().to_owned()),
        Tag::BmpString => value.decode_as::<BmpString>().ok().map(|s| s.to_string()),
        _ => None,
    }
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
