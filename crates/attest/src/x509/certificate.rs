//! The frame of a certificate (RFC 5280 §4.1).

use super::asn1::{self, BIT_STRING, BadDer, INTEGER, OID, Reader, SEQUENCE, SET, Tlv, constructed};
use super::{Extensions, Leniencies, Leniency, time};
use crate::UnixTime;

/// A certificate in place: every slice points into the bytes received.
#[derive(Clone, Debug)]
pub(crate) struct Certificate<'a> {
    /// The whole certificate.
    pub(crate) der: &'a [u8],
    /// TBSCertificate, whole: what is signed.
    pub(crate) tbs: &'a [u8],
    /// Content octets of serialNumber.
    pub(crate) serial: &'a [u8],
    /// Name, whole.
    pub(crate) issuer: &'a [u8],
    /// Name, whole.
    pub(crate) subject: &'a [u8],
    /// First second of validity.
    pub(crate) not_before: UnixTime,
    /// Last second of validity.
    pub(crate) not_after: UnixTime,
    /// SubjectPublicKeyInfo, whole; not yet parsed.
    pub(crate) spki: &'a [u8],
    /// AlgorithmIdentifier, whole; the one inside the TBS is equal byte for byte.
    pub(crate) signature_algorithm: &'a [u8],
    /// Signature octets.
    pub(crate) signature: &'a [u8],
    /// Extensions, none twice.
    pub(crate) extensions: Extensions<'a>,
    /// What was accepted in parsing.
    pub(crate) leniencies: Leniencies,
}

impl<'a> Certificate<'a> {
    /// Parse exactly one v3 certificate.
    pub(crate) fn parse(der: &'a [u8], leniencies: Leniencies) -> Result<Self, BadDer> {
        let outer = asn1::only(der, SEQUENCE, "certificate is not a SEQUENCE")?;
        let mut outer = Reader::new(outer.content);
        let tbs = outer.element(SEQUENCE, "TBSCertificate is not a SEQUENCE")?;
        let signature_algorithm = outer.element(SEQUENCE, "signatureAlgorithm is not a SEQUENCE")?.whole;
        let signature = asn1::octets(outer.content(BIT_STRING, "signature is not a BIT STRING")?)?;
        outer.finish("bytes follow the signature")?;

        let mut fields = Reader::new(tbs.content);
        let mut version = fields.nested(constructed(0), "version is missing")?;
        if asn1::small(version.content(INTEGER, "version is not an INTEGER")?)? != 2 {
            return Err(BadDer("version is not 3"));
        }
        version.finish("bytes follow the version")?;
        let serial = serial(fields.content(INTEGER, "serial is not an INTEGER")?, leniencies)?;
        if fields.element(SEQUENCE, "signature is not a SEQUENCE")?.whole != signature_algorithm {
            return Err(BadDer("the two signature algorithms differ"));
        }
        let issuer = name(&mut fields, leniencies)?;
        if name_is_empty(issuer) {
            return Err(BadDer("issuer is empty"));
        }
        let mut validity = fields.nested(SEQUENCE, "validity is not a SEQUENCE")?;
        let not_before = time::read(&mut validity, leniencies)?;
        let not_after = time::read(&mut validity, leniencies)?;
        validity.finish("bytes follow the validity")?;
        let subject = name(&mut fields, leniencies)?;
        let spki = fields
            .element(SEQUENCE, "SubjectPublicKeyInfo is not a SEQUENCE")?
            .whole;
        let extensions = match fields.optional(constructed(3))? {
            Some(tlv) => {
                let mut explicit = Reader::new(tlv.content);
                let list = explicit.element(SEQUENCE, "extensions are not a SEQUENCE")?;
                explicit.finish("bytes follow the extensions")?;
                Extensions::parse(list.content, leniencies)?
            }
            None => Extensions::none(),
        };
        // The unique identifiers of v2 would stand before the extensions: no CA may make them (RFC 5280 §4.1.2.8).
        fields.finish("unexpected field in the TBSCertificate")?;
        Ok(Self {
            der,
            tbs: tbs.whole,
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            spki,
            signature_algorithm,
            signature,
            extensions,
            leniencies,
        })
    }
}

fn serial(content: &[u8], leniencies: Leniencies) -> Result<&[u8], BadDer> {
    let positive = content.first().is_some_and(|first| first & 0x80 == 0) && content.iter().any(|octet| *octet != 0);
    if content.is_empty() {
        return Err(BadDer("serial is empty"));
    }
    if !asn1::integer_is_minimal(content) && !leniencies.allow(Leniency::NonMinimalSerial) {
        return Err(BadDer("serial is not minimal"));
    }
    if !positive && !leniencies.allow(Leniency::NonPositiveSerial) {
        return Err(BadDer("serial is not positive"));
    }
    // RFC 5280 §4.1.2.2; the upper bound of the leniency keeps what is shown readable.
    if content.len() > 20 && !leniencies.allow(Leniency::LongSerial) || content.len() > 64 {
        return Err(BadDer("serial is too long"));
    }
    Ok(content)
}

/// The next element as a Name: `SEQUENCE OF SET OF SEQUENCE { OID, value }`, its structure checked, its bytes kept.
pub(crate) fn name<'a>(reader: &mut Reader<'a>, leniencies: Leniencies) -> Result<&'a [u8], BadDer> {
    let name = reader.element(SEQUENCE, "name is not a SEQUENCE")?;
    attributes(name.content, leniencies, |_, _| Ok(()))?;
    Ok(name.whole)
}

/// Every attribute of a Name's content, as type and value.
pub(crate) fn attributes<'a>(
    content: &'a [u8],
    leniencies: Leniencies,
    mut each: impl FnMut(&'a [u8], Tlv<'a>) -> Result<(), BadDer>,
) -> Result<(), BadDer> {
    let mut rdns = Reader::new(content);
    while !rdns.is_empty() {
        let mut set = rdns.nested(SET, "RDN is not a SET")?;
        if set.is_empty() {
            return Err(BadDer("RDN is empty"));
        }
        let mut previous: Option<&[u8]> = None;
        while !set.is_empty() {
            let attribute = set.element(SEQUENCE, "name attribute is not a SEQUENCE")?;
            // X.690 §11.6: SET OF is ordered by encoding.
            if previous.is_some_and(|previous| previous > attribute.whole) && !leniencies.allow(Leniency::UnsortedRdn) {
                return Err(BadDer("RDN is not in DER order"));
            }
            previous = Some(attribute.whole);
            let mut fields = Reader::new(attribute.content);
            let oid = fields.content(OID, "name attribute has no type")?;
            if !asn1::oid_is_sound(oid) {
                return Err(BadDer("name attribute type is not an OID"));
            }
            let value = fields.any()?;
            fields.finish("bytes follow a name attribute")?;
            each(oid, value)?;
        }
    }
    Ok(())
}

/// Whether a whole Name is the empty one.
pub(crate) fn name_is_empty(whole: &[u8]) -> bool {
    whole == [SEQUENCE, 0]
}
