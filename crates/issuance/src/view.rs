//! DER, read back: certificates and the bytes about to be signed, as slices of what is really there.
//!
//! The reader takes any definite length, minimal or not, so that `lint::der_canonical` has something to say.

use attest::UnixTime;
use const_oid::ObjectIdentifier;
use der::DateTime;

use crate::encode::{
    BIT_STRING, BOOLEAN, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, UTC_TIME, context_constructed,
};

/// Bytes that do not have the expected structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the expected structure: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// One element: its tag, its value, and all its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) value: &'a [u8],
    pub(crate) raw: &'a [u8],
    /// Whether the length is in its fewest octets.
    pub(crate) minimal: bool,
}

/// Elements one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element, whatever it is; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        let all = self.0;
        let Some((&tag, rest)) = all.split_first() else {
            return Ok(None);
        };
        if tag & 0x1f == 0x1f {
            return Err(Malformed("tag of several octets"));
        }
        let (&first, rest) = rest.split_first().ok_or(Malformed("length missing"))?;
        let (length, rest, minimal) = if first < 0x80 {
            (usize::from(first), rest, true)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return Err(Malformed("length indefinite or too long"));
            }
            let (octets, rest) = rest.split_at_checked(count).ok_or(Malformed("length cut off"))?;
            let length = octets.iter().fold(0_usize, |n, o| (n << 8) | usize::from(*o));
            (length, rest, octets.first() != Some(&0) && length >= 0x80)
        };
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed("value cut off"))?;
        let (raw, _) = all
            .split_at_checked(all.len() - rest.len())
            .ok_or(Malformed("value cut off"))?;
        self.0 = rest;
        Ok(Some(Element {
            tag,
            value,
            raw,
            minimal,
        }))
    }
    /// The next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8, what: &'static str) -> Result<Element<'a>, Malformed> {
        self.next()?.filter(|e| e.tag == tag).ok_or(Malformed(what))
    }
    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Malformed> {
        if self.0.first() == Some(&tag) {
            self.next()
        } else {
            Ok(None)
        }
    }
    /// Nothing may be left.
    pub(crate) fn end(self, what: &'static str) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed(what))
        }
    }
    /// All elements to the end.
    pub(crate) fn all(mut self) -> Result<Vec<Element<'a>>, Malformed> {
        let mut elements = Vec::new();
        while let Some(element) = self.next()? {
            elements.push(element);
        }
        Ok(elements)
    }
}

/// Exactly one element, which must have this tag.
pub(crate) fn only<'a>(bytes: &'a [u8], tag: u8, what: &'static str) -> Result<Element<'a>, Malformed> {
    let mut reader = Reader(bytes);
    let element = reader.expect(tag, what)?;
    reader.end(what)?;
    Ok(element)
}

pub(crate) fn oid(element: Element<'_>) -> Result<ObjectIdentifier, Malformed> {
    if element.tag != OID {
        return Err(Malformed("OBJECT IDENTIFIER"));
    }
    ObjectIdentifier::from_bytes(element.value).map_err(|_| Malformed("OBJECT IDENTIFIER"))
}

/// Tag of an otherName among GeneralNames.
pub(crate) const OTHER_NAME: u8 = context_constructed(0);

/// Content of an otherName -> type-id and the value inside `[0] EXPLICIT`.
pub(crate) fn other_name(content: &[u8]) -> Result<(ObjectIdentifier, &[u8]), Malformed> {
    let mut fields = Reader(content);
    let id = oid(fields.expect(OID, "type-id")?)?;
    let value = fields.expect(context_constructed(0), "otherName value")?.value;
    fields.end("otherName")?;
    Ok((id, value))
}

/// A certificate as received or assembled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Certificate<'a> {
    /// `TBSCertificate`, tag and length included: the bytes the signature is over.
    pub(crate) tbs: &'a [u8],
    /// Outer `AlgorithmIdentifier`, tag and length included.
    pub(crate) algorithm: &'a [u8],
    /// Signature octets.
    pub(crate) signature: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Reader(only(der, SEQUENCE, "Certificate")?.value);
        let tbs = fields.expect(SEQUENCE, "TBSCertificate")?.raw;
        let algorithm = fields.expect(SEQUENCE, "signatureAlgorithm")?.raw;
        let signature = fields.expect(BIT_STRING, "signature")?.value;
        fields.end("bytes after the signature")?;
        let (unused, signature) = signature.split_first().ok_or(Malformed("signature"))?;
        if *unused != 0 {
            return Err(Malformed("signature with unused bits"));
        }
        Ok(Self {
            tbs,
            algorithm,
            signature,
        })
    }
}

/// `TBSCertificate`, field by field.
#[derive(Debug, Clone)]
pub(crate) struct Tbs<'a> {
    /// All of it.
    pub(crate) raw: &'a [u8],
    /// Content of `[0]`, absent when the version is left to its default.
    pub(crate) version: Option<&'a [u8]>,
    /// Content octets of the serial.
    pub(crate) serial: &'a [u8],
    /// `AlgorithmIdentifier`, tag and length included.
    pub(crate) algorithm: &'a [u8],
    /// Issuer `Name`, tag and length included.
    pub(crate) issuer: &'a [u8],
    pub(crate) not_before: Element<'a>,
    pub(crate) not_after: Element<'a>,
    /// Subject `Name`, tag and length included.
    pub(crate) subject: &'a [u8],
    pub(crate) attributes: Vec<Attribute<'a>>,
    /// `SubjectPublicKeyInfo`, tag and length included.
    pub(crate) spki: &'a [u8],
    pub(crate) extensions: Vec<Extension<'a>>,
}

/// One attribute of the subject.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute<'a> {
    /// Which RDN it is in, from 0.
    pub(crate) rdn: usize,
    pub(crate) oid: ObjectIdentifier,
    pub(crate) tag: u8,
    pub(crate) value: &'a [u8],
}

/// One extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extension<'a> {
    pub(crate) oid: ObjectIdentifier,
    /// The BOOLEAN as written, absent when left to its default.
    pub(crate) critical: Option<&'a [u8]>,
    /// Content of the OCTET STRING.
    pub(crate) value: &'a [u8],
}

impl Extension<'_> {
    pub(crate) fn is_critical(&self) -> bool {
        self.critical.is_some_and(|c| c.iter().any(|b| *b != 0))
    }
}

impl<'a> Tbs<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let whole = only(der, SEQUENCE, "TBSCertificate")?;
        let mut fields = Reader(whole.value);
        let version = fields.optional(context_constructed(0))?.map(|e| e.value);
        let serial = fields.expect(INTEGER, "serialNumber")?.value;
        let algorithm = fields.expect(SEQUENCE, "signature")?.raw;
        let issuer = fields.expect(SEQUENCE, "issuer")?.raw;
        let mut validity = Reader(fields.expect(SEQUENCE, "validity")?.value);
        let not_before = validity.next()?.ok_or(Malformed("notBefore"))?;
        let not_after = validity.next()?.ok_or(Malformed("notAfter"))?;
        validity.end("validity")?;
        let subject = fields.expect(SEQUENCE, "subject")?;
        let spki = fields.expect(SEQUENCE, "subjectPublicKeyInfo")?.raw;
        // Unique identifiers are never issued (RFC 5280 §4.1.2.8), so the next field is the last.
        let extensions = match fields.optional(context_constructed(3))? {
            Some(outer) => extensions(outer.value)?,
            None => Vec::new(),
        };
        fields.end("bytes after the extensions")?;
        Ok(Self {
            raw: whole.raw,
            version,
            serial,
            algorithm,
            issuer,
            not_before,
            not_after,
            subject: subject.raw,
            attributes: attributes(subject.value)?,
            spki,
            extensions,
        })
    }
    /// The first extension with this OID.
    pub(crate) fn extension(&self, oid: &ObjectIdentifier) -> Option<&Extension<'a>> {
        self.extensions.iter().find(|e| e.oid == *oid)
    }
}

/// Content of the explicit tag around `Extensions`.
pub(crate) fn extensions(value: &[u8]) -> Result<Vec<Extension<'_>>, Malformed> {
    extension_list(only(value, SEQUENCE, "extensions")?.value)
}

/// Content of `Extensions`.
pub(crate) fn extension_list(list: &[u8]) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut out = Vec::new();
    let mut elements = Reader(list);
    while let Some(element) = elements.next()? {
        if element.tag != SEQUENCE {
            return Err(Malformed("extension"));
        }
        let mut fields = Reader(element.value);
        let oid = oid(fields.expect(OID, "extnID")?)?;
        let critical = fields.optional(BOOLEAN)?.map(|e| e.value);
        let value = fields.expect(OCTET_STRING, "extnValue")?.value;
        fields.end("extension")?;
        out.push(Extension { oid, critical, value });
    }
    Ok(out)
}

fn attributes(value: &[u8]) -> Result<Vec<Attribute<'_>>, Malformed> {
    let mut out = Vec::new();
    for (number, rdn) in Reader(value).all()?.into_iter().enumerate() {
        if rdn.tag != SET {
            return Err(Malformed("RelativeDistinguishedName"));
        }
        let pairs = Reader(rdn.value).all()?;
        if pairs.is_empty() {
            return Err(Malformed("an empty RelativeDistinguishedName"));
        }
        for pair in pairs {
            if pair.tag != SEQUENCE {
                return Err(Malformed("AttributeTypeAndValue"));
            }
            let mut fields = Reader(pair.value);
            let oid = oid(fields.expect(OID, "attribute type")?)?;
            let value = fields.next()?.ok_or(Malformed("attribute value"))?;
            fields.end("AttributeTypeAndValue")?;
            out.push(Attribute {
                rdn: number,
                oid,
                tag: value.tag,
                value: value.value,
            });
        }
    }
    Ok(out)
}

/// A UTCTime or GeneralizedTime with seconds and `Z`.
pub(crate) fn time(element: Element<'_>) -> Result<UnixTime, Malformed> {
    const WHAT: Malformed = Malformed("time");
    let (century, rest) = match element.tag {
        UTC_TIME => (None, element.value),
        GENERALIZED_TIME => {
            let (century, rest) = element.value.split_at_checked(2).ok_or(WHAT)?;
            (Some(two_digits(century).ok_or(WHAT)?), rest)
        }
        _ => return Err(WHAT),
    };
    let (digits, zulu) = rest.split_at_checked(12).ok_or(WHAT)?;
    if zulu != b"Z" {
        return Err(WHAT);
    }
    let mut numbers = [0_u8; 6];
    for (number, pair) in numbers.iter_mut().zip(digits.chunks_exact(2)) {
        *number = two_digits(pair).ok_or(WHAT)?;
    }
    let [year, month, day, hour, minute, second] = numbers;
    // RFC 5280 §4.1.2.5.1: 50..=99 is 19YY.
    let century = century.unwrap_or(if year >= 50 { 19 } else { 20 });
    let year = u16::from(century) * 100 + u16::from(year);
    let at = DateTime::new(year, month, day, hour, minute, second).map_err(|_| WHAT)?;
    i64::try_from(at.unix_duration().as_secs())
        .map(UnixTime)
        .map_err(|_| WHAT)
}

fn two_digits(pair: &[u8]) -> Option<u8> {
    match pair {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some((a - b'0') * 10 + (b - b'0')),
        _ => None,
    }
}
