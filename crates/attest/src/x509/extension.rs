//! Extensions (RFC 5280 §4.2): kept as bytes, decoded when asked for.

use super::asn1::{
    self, BIT_STRING, BOOLEAN, BadDer, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, constructed, primitive,
};
use super::{Leniencies, Leniency, certificate, oid};

/// More than any real certificate has; comparing them pairwise stays cheap.
const MAX_EXTENSIONS: usize = 64;

/// One extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension<'a> {
    /// extnID, content octets.
    pub(crate) oid: &'a [u8],
    /// Critical.
    pub(crate) critical: bool,
    /// Content of extnValue.
    pub(crate) value: &'a [u8],
}

/// The extensions of one certificate or request, none twice.
#[derive(Clone, Debug)]
pub(crate) struct Extensions<'a> {
    list: Vec<Extension<'a>>,
    leniencies: Leniencies,
}

/// keyUsage bits (RFC 5280 §4.2.1.3); bit 0 is the highest of the first octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyUsage(u16);

impl KeyUsage {
    pub(crate) const DIGITAL_SIGNATURE: Self = Self(0x8000);
    pub(crate) const KEY_ENCIPHERMENT: Self = Self(0x2000);
    pub(crate) const KEY_AGREEMENT: Self = Self(0x0800);
    pub(crate) const KEY_CERT_SIGN: Self = Self(0x0400);
    pub(crate) const CRL_SIGN: Self = Self(0x0200);

    /// Whether the bit of `usage` is set.
    pub(crate) const fn has(self, usage: Self) -> bool {
        self.0 & usage.0 == usage.0
    }
}

/// basicConstraints (RFC 5280 §4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BasicConstraints {
    pub(crate) critical: bool,
    pub(crate) ca: bool,
    pub(crate) path_len: Option<u32>,
}

impl<'a> Extensions<'a> {
    /// A certificate without the field.
    pub(crate) fn none() -> Self {
        Self {
            list: Vec::new(),
            leniencies: Leniencies::NONE,
        }
    }

    /// Parse the content of `SEQUENCE OF Extension`; an empty one is refused.
    pub(crate) fn parse(content: &'a [u8], leniencies: Leniencies) -> Result<Self, BadDer> {
        let mut reader = Reader::new(content);
        if reader.is_empty() {
            return Err(BadDer("list of extensions is empty"));
        }
        let mut list: Vec<Extension<'a>> = Vec::new();
        while !reader.is_empty() {
            let mut fields = reader.nested(SEQUENCE, "extension is not a SEQUENCE")?;
            let oid = fields.content(OID, "extension has no OID")?;
            if !asn1::oid_is_sound(oid) {
                return Err(BadDer("extnID is not an OID"));
            }
            let critical = match fields.optional(BOOLEAN)? {
                Some(tlv) => default_false(tlv.content, leniencies)?,
                None => false,
            };
            let value = fields.content(OCTET_STRING, "extnValue is not an OCTET STRING")?;
            fields.finish("bytes follow an extension")?;
            if list.iter().any(|earlier| earlier.oid == oid) {
                return Err(BadDer("an extension is there twice"));
            }
            if list.len() == MAX_EXTENSIONS {
                return Err(BadDer("too many extensions"));
            }
            list.push(Extension { oid, critical, value });
        }
        Ok(Self { list, leniencies })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Extension<'a>> {
        self.list.iter()
    }

    pub(crate) fn find(&self, oid: &[u8]) -> Option<&Extension<'a>> {
        self.list.iter().find(|extension| extension.oid == oid)
    }

    /// A critical extension that is not among `processed`.
    pub(crate) fn unprocessed_critical(&self, processed: &[&[u8]]) -> Option<&Extension<'a>> {
        self.list
            .iter()
            .find(|extension| extension.critical && !processed.contains(&extension.oid))
    }

    pub(crate) fn basic_constraints(&self) -> Result<Option<BasicConstraints>, BadDer> {
        let Some(extension) = self.find(oid::BASIC_CONSTRAINTS) else {
            return Ok(None);
        };
        let mut fields =
            Reader::new(asn1::only(extension.value, SEQUENCE, "basicConstraints is not a SEQUENCE")?.content);
        let ca = match fields.optional(BOOLEAN)? {
            Some(tlv) => default_false(tlv.content, self.leniencies)?,
            None => false,
        };
        let path_len = fields
            .optional(INTEGER)?
            .map(|tlv| asn1::small(tlv.content))
            .transpose()?;
        fields.finish("bytes follow basicConstraints")?;
        if path_len.is_some() && !ca {
            return Err(BadDer("pathLenConstraint without cA"));
        }
        Ok(Some(BasicConstraints {
            critical: extension.critical,
            ca,
            path_len,
        }))
    }

    pub(crate) fn key_usage(&self) -> Result<Option<KeyUsage>, BadDer> {
        let Some(extension) = self.find(oid::KEY_USAGE) else {
            return Ok(None);
        };
        let content = asn1::only(extension.value, BIT_STRING, "keyUsage is not a BIT STRING")?.content;
        // A named bit list ends in a 1 bit (X.690 §11.2.2), and at least one bit is set (RFC 5280 §4.2.1.3).
        let (unused, bits) = match content {
            [unused, first] => (*unused, u16::from(*first) << 8),
            [unused, first, second] => (*unused, u16::from(*first) << 8 | u16::from(*second)),
            _ => return Err(BadDer("keyUsage has no bit or too many")),
        };
        let last = content.last().copied().unwrap_or_default();
        let zeros = last.trailing_zeros();
        if unused > 7 || u32::from(unused) > zeros || bits == 0 {
            return Err(BadDer("keyUsage has no bit, or one among the unused"));
        }
        if (u32::from(unused) != zeros || last == 0) && !self.leniencies.allow(Leniency::UntrimmedKeyUsage) {
            return Err(BadDer("keyUsage is not in DER form"));
        }
        Ok(Some(KeyUsage(bits)))
    }

    /// extKeyUsage: OIDs, at least one.
    pub(crate) fn extended_key_usage(&self) -> Result<Option<Vec<&'a [u8]>>, BadDer> {
        let Some(extension) = self.find(oid::EXTENDED_KEY_USAGE) else {
            return Ok(None);
        };
        let mut reader = Reader::new(asn1::only(extension.value, SEQUENCE, "extKeyUsage is not a SEQUENCE")?.content);
        let mut purposes = Vec::new();
        while !reader.is_empty() {
            let purpose = reader.content(OID, "key purpose is not an OID")?;
            if !asn1::oid_is_sound(purpose) {
                return Err(BadDer("key purpose is not an OID"));
            }
            purposes.push(purpose);
        }
        if purposes.is_empty() {
            return Err(BadDer("extKeyUsage is empty"));
        }
        Ok(Some(purposes))
    }

    /// certificatePolicies: OIDs, each once; qualifiers are passed over. No extension is no policy.
    pub(crate) fn policies(&self) -> Result<Vec<&'a [u8]>, BadDer> {
        let Some(extension) = self.find(oid::CERTIFICATE_POLICIES) else {
            return Ok(Vec::new());
        };
        let mut list =
            Reader::new(asn1::only(extension.value, SEQUENCE, "certificatePolicies is not a SEQUENCE")?.content);
        let mut policies = Vec::new();
        while !list.is_empty() {
            let mut information = list.nested(SEQUENCE, "PolicyInformation is not a SEQUENCE")?;
            let policy = information.content(OID, "policy is not an OID")?;
            if !asn1::oid_is_sound(policy) {
                return Err(BadDer("policy is not an OID"));
            }
            information.optional(SEQUENCE)?;
            information.finish("bytes follow a policy")?;
            // RFC 5280 §4.2.1.4.
            if policies.contains(&policy) {
                return Err(BadDer("a policy is there twice"));
            }
            policies.push(policy);
        }
        if policies.is_empty() {
            return Err(BadDer("certificatePolicies is empty"));
        }
        Ok(policies)
    }

    /// Every otherName of subjectAltName, as type and value; none without the extension.
    pub(crate) fn other_names(
        &self,
        mut each: impl FnMut(&'a [u8], asn1::Tlv<'a>) -> Result<(), BadDer>,
    ) -> Result<(), BadDer> {
        let Some(extension) = self.find(oid::SUBJECT_ALT_NAME) else {
            return Ok(());
        };
        for name in general_names(extension.value)? {
            if name.tag == constructed(0) {
                let mut fields = Reader::new(name.content);
                let kind = fields.content(OID, "otherName has no type")?;
                let mut explicit = fields.nested(constructed(0), "otherName has no value")?;
                fields.finish("bytes follow an otherName")?;
                let value = explicit.any()?;
                explicit.finish("bytes follow the value of an otherName")?;
                each(kind, value)?;
            }
        }
        Ok(())
    }

    /// keyIdentifier of authorityKeyIdentifier. Issuer and serial, which some vendors fill with a certificate that was
    /// never published, are not looked at.
    pub(crate) fn authority_key_id(&self) -> Result<Option<&'a [u8]>, BadDer> {
        let Some(extension) = self.find(oid::AUTHORITY_KEY_IDENTIFIER) else {
            return Ok(None);
        };
        let mut fields =
            Reader::new(asn1::only(extension.value, SEQUENCE, "authorityKeyIdentifier is not a SEQUENCE")?.content);
        let key_id = fields.optional(primitive(0))?.map(|tlv| tlv.content);
        fields.optional(constructed(1))?;
        fields.optional(primitive(2))?;
        fields.finish("bytes follow authorityKeyIdentifier")?;
        if key_id.is_some_and(|id| id.len() > 64) {
            return Err(BadDer("keyIdentifier is too long"));
        }
        Ok(key_id)
    }

    /// Every attribute of every directoryName of subjectAltName; `None` without the extension.
    pub(crate) fn alternative_attributes(
        &self,
        mut each: impl FnMut(&'a [u8], asn1::Tlv<'a>) -> Result<(), BadDer>,
    ) -> Result<Option<()>, BadDer> {
        let Some(extension) = self.find(oid::SUBJECT_ALT_NAME) else {
            return Ok(None);
        };
        for name in general_names(extension.value)? {
            if name.tag == constructed(4) {
                let directory = asn1::only(name.content, SEQUENCE, "directoryName is not a Name")?;
                certificate::attributes(directory.content, self.leniencies, &mut each)?;
            }
        }
        Ok(Some(()))
    }
}

/// The elements of `GeneralNames ::= SEQUENCE SIZE (1..MAX)`, whole bytes given; tags [0] to [8] only.
pub(crate) fn general_names(value: &[u8]) -> Result<Vec<asn1::Tlv<'_>>, BadDer> {
    let mut reader = Reader::new(asn1::only(value, SEQUENCE, "GeneralNames is not a SEQUENCE")?.content);
    let mut names = Vec::new();
    while !reader.is_empty() {
        let name = reader.any()?;
        // otherName, x400Address, directoryName and ediPartyName are constructed, the others primitive.
        let constructed = matches!(name.tag & 0x1F, 0 | 3 | 4 | 5);
        if name.tag & 0x1F > 8 || name.tag & 0xC0 != 0x80 || (name.tag & 0x20 != 0) != constructed {
            return Err(BadDer("GeneralName of unknown form"));
        }
        names.push(name);
    }
    if names.is_empty() {
        return Err(BadDer("GeneralNames is empty"));
    }
    Ok(names)
}

fn default_false(content: &[u8], leniencies: Leniencies) -> Result<bool, BadDer> {
    let value = asn1::boolean(content)?;
    if !value && !leniencies.allow(Leniency::ExplicitFalse) {
        return Err(BadDer("DEFAULT FALSE is written out"));
    }
    Ok(value)
}
