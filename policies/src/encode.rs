//! The DER of names: one encoder for the request that asks, and for the certificate that is issued.

use const_oid::ObjectIdentifier;
use der::asn1::{Any, Ia5String, OctetString, PrintableString, SetOfVec, Utf8StringRef};
use der::{Decode, Encode, EncodeValue, Sequence, Tagged};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::name::{GeneralName, HardwareModuleName, OtherName};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

use attest::rot::{ID_ON_HARDWARE_MODULE_NAME, ID_ON_PERMANENT_IDENTIFIER};

use crate::{RdnKind, SanEntry, Subject};

/// PermanentIdentifier (RFC 4043 §2), both fields present.
#[derive(Sequence)]
struct PermanentIdentifier {
    identifier_value: String,
    assigner: ObjectIdentifier,
}

impl RdnKind {
    /// Attribute type (RFC 5280 A.1).
    #[must_use]
    pub fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Country => ObjectIdentifier::new_unwrap("2.5.4.6"),
            Self::Organization => ObjectIdentifier::new_unwrap("2.5.4.10"),
            Self::CommonName => ObjectIdentifier::new_unwrap("2.5.4.3"),
            Self::SerialNumber => ObjectIdentifier::new_unwrap("2.5.4.5"),
        }
    }
}

impl Subject {
    /// As a `Name`: one attribute per RDN, in order; country and serialNumber PrintableString, the others UTF8String
    /// (RFC 5280 §4.1.2.4).
    ///
    /// # Errors
    /// A value that its string type cannot hold; never for values that passed [`crate::name`].
    pub fn to_name(&self) -> der::Result<Name> {
        let mut sequence = RdnSequence::default();
        for rdn in &self.0 {
            let value = match rdn.kind {
                RdnKind::Country | RdnKind::SerialNumber => Any::encode_from(&PrintableString::new(&rdn.value)?)?,
                RdnKind::Organization | RdnKind::CommonName => Any::encode_from(&Utf8StringRef::new(&rdn.value)?)?,
            };
            let attribute = AttributeTypeAndValue {
                oid: rdn.kind.oid(),
                value,
            };
            sequence.push(RelativeDistinguishedName::from(SetOfVec::try_from(vec![attribute])?));
        }
        Name::from_der(&sequence.to_der()?)
    }
}

impl SanEntry {
    /// As a `GeneralName` (RFC 5280 §4.2.1.6).
    ///
    /// # Errors
    /// A value that its string type cannot hold; never for values that passed [`crate::name`].
    pub fn to_general_name(&self) -> der::Result<GeneralName> {
        Ok(match self {
            Self::Dns(text) => GeneralName::DnsName(Ia5String::new(text)?),
            Self::Uri(text) => GeneralName::UniformResourceIdentifier(Ia5String::new(text)?),
            Self::Ip(octets) => GeneralName::IpAddress(OctetString::new(octets.as_slice())?),
            Self::HardwareModuleName(hw_type, serial) => other_name(
                ID_ON_HARDWARE_MODULE_NAME,
                &HardwareModuleName {
                    hw_type: *hw_type,
                    hw_serial_num: OctetString::new(serial.as_slice())?,
                },
            )?,
            Self::PermanentIdentifier(value, assigner) => other_name(
                ID_ON_PERMANENT_IDENTIFIER,
                &PermanentIdentifier {
                    identifier_value: value.clone(),
                    assigner: *assigner,
                },
            )?,
        })
    }
}

fn other_name(type_id: ObjectIdentifier, value: &(impl EncodeValue + Tagged)) -> der::Result<GeneralName> {
    Ok(GeneralName::OtherName(OtherName {
        type_id,
        value: Any::encode_from(value)?,
    }))
}
