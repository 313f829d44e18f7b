//! The frame of a CRL (RFC 5280 §5.1), as vendors publish them.

use super::asn1::{self, BIT_STRING, BadDer, ENUMERATED, INTEGER, Reader, SEQUENCE, constructed};
use super::{Extensions, Leniencies, name, oid, time};
use crate::UnixTime;

/// A CRL in place: every slice points into the bytes received.
#[derive(Debug)]
pub(crate) struct Crl<'a> {
    /// TBSCertList, whole: what is signed.
    pub(crate) tbs: &'a [u8],
    /// AlgorithmIdentifier, whole; the one inside is equal.
    pub(crate) signature_algorithm: &'a [u8],
    /// Signature octets.
    pub(crate) signature: &'a [u8],
    /// Name, whole.
    pub(crate) issuer: &'a [u8],
    /// When it was made.
    pub(crate) this_update: UnixTime,
    /// When the next one is due, if that is said.
    pub(crate) next_update: Option<UnixTime>,
    /// Serials, content octets, in the order of the list.
    pub(crate) revoked: Vec<&'a [u8]>,
    /// Whether it speaks of all certificates of its issuer.
    pub(crate) whole: bool,
}

impl<'a> Crl<'a> {
    /// Parse exactly one CRL. Deltas, indirect CRLs, those for some reasons alone, and whatever is critical and not
    /// processed are refused.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, BadDer> {
        let leniencies = Leniencies::VENDOR;
        let outer = asn1::only(der, SEQUENCE, "CRL is not a SEQUENCE")?;
        let mut outer = Reader::new(outer.content);
        let tbs = outer.element(SEQUENCE, "TBSCertList is not a SEQUENCE")?;
        let signature_algorithm = outer.element(SEQUENCE, "signatureAlgorithm is not a SEQUENCE")?.whole;
        let signature = asn1::octets(outer.content(BIT_STRING, "signature is not a BIT STRING")?)?;
        outer.finish("bytes follow the signature")?;

        let mut fields = Reader::new(tbs.content);
        let version = fields.optional(INTEGER)?;
        if version.is_some_and(|version| version.content != [1]) {
            return Err(BadDer("version is not 2"));
        }
        if fields.element(SEQUENCE, "signature is not a SEQUENCE")?.whole != signature_algorithm {
            return Err(BadDer("the two signature algorithms differ"));
        }
        let issuer = name(&mut fields, leniencies)?;
        let this_update = time::read(&mut fields, leniencies)?;
        let next_update = if fields.next_is(&[asn1::UTC_TIME, asn1::GENERALIZED_TIME]) {
            Some(time::read(&mut fields, leniencies)?)
        } else {
            None
        };
        let mut revoked = Vec::new();
        if let Some(list) = fields.optional(SEQUENCE)? {
            let mut list = Reader::new(list.content);
            while !list.is_empty() {
                revoked.push(entry(list.nested(SEQUENCE, "an entry is not a SEQUENCE")?)?);
            }
        }
        let mut whole = true;
        if let Some(tlv) = fields.optional(constructed(0))? {
            let mut explicit = Reader::new(tlv.content);
            let list = explicit.element(SEQUENCE, "extensions are not a SEQUENCE")?;
            explicit.finish("bytes follow the extensions")?;
            let extensions = Extensions::parse(list.content, leniencies)?;
            if extensions
                .unprocessed_critical(&[oid::ISSUING_DISTRIBUTION_POINT])
                .is_some()
            {
                return Err(BadDer("it has a critical extension that is not processed"));
            }
            if extensions.find(oid::DELTA_CRL_INDICATOR).is_some() {
                return Err(BadDer("it is a delta CRL"));
            }
            if let Some(point) = extensions.find(oid::ISSUING_DISTRIBUTION_POINT) {
                whole = of_all(point.value)?;
            }
        }
        fields.finish("unexpected field in the TBSCertList")?;
        Ok(Self {
            tbs: tbs.whole,
            signature_algorithm,
            signature,
            issuer,
            this_update,
            next_update,
            revoked,
            whole,
        })
    }
}

/// `SEQUENCE { serial, date, extensions OPTIONAL }`: the serial.
fn entry(mut entry: Reader<'_>) -> Result<&[u8], BadDer> {
    let serial = entry.content(INTEGER, "serial is not an INTEGER")?;
    if serial.is_empty() || serial.len() > 64 {
        return Err(BadDer("serial is empty or too long"));
    }
    time::read(&mut entry, Leniencies::VENDOR)?;
    if let Some(list) = entry.optional(SEQUENCE)? {
        let extensions = Extensions::parse(list.content, Leniencies::VENDOR)?;
        // An entry of another issuer (certificateIssuer) is critical.
        if extensions.unprocessed_critical(&[]).is_some() {
            return Err(BadDer("an entry has a critical extension that is not processed"));
        }
        if let Some(reason) = extensions.find(oid::CRL_REASON) {
            asn1::only(reason.value, ENUMERATED, "a reason is not ENUMERATED")?;
        }
    }
    entry.finish("bytes follow an entry")?;
    Ok(serial)
}

/// Whether an issuingDistributionPoint leaves nothing out (RFC 5280 §5.2.5): no field at all.
fn of_all(value: &[u8]) -> Result<bool, BadDer> {
    let mut fields = Reader::new(asn1::only(value, SEQUENCE, "issuingDistributionPoint is not a SEQUENCE")?.content);
    let mut all = true;
    while !fields.is_empty() {
        match fields.any()?.tag {
            // distributionPoint, onlyContainsUserCerts, onlyContainsCACerts, onlyContainsAttributeCerts.
            0xA0 | 0x81 | 0x82 | 0x85 => all = false,
            0x83 => return Err(BadDer("it is for some reasons alone")),
            0x84 => return Err(BadDer("it is an indirect CRL")),
            _ => return Err(BadDer("issuingDistributionPoint has an unknown field")),
        }
    }
    Ok(all)
}
