//! Where a certificate says that its issuer's is (RFC 5280 §4.2.2.1). For people and for a job of its own: nothing here
//! fetches, and no path is built from it.

use crate::x509::asn1::{self, OID, Reader, SEQUENCE, primitive};
use crate::x509::{Certificate, Leniencies, oid};

/// Longest URL.
const LONGEST: usize = 1024;
/// URLs of one certificate.
const MOST: usize = 8;

/// The caIssuers URLs of a certificate (DER), in its order; what is no printable ASCII is passed over. Bytes of a stranger.
#[must_use]
pub fn ca_issuers(certificate: &[u8]) -> Vec<String> {
    urls(certificate).unwrap_or_default()
}

fn urls(certificate: &[u8]) -> Option<Vec<String>> {
    let certificate = Certificate::parse(certificate, Leniencies::VENDOR).ok()?;
    let extension = certificate.extensions.find(oid::AUTHORITY_INFO_ACCESS)?;
    let mut list = Reader::new(asn1::only(extension.value, SEQUENCE, "").ok()?.content);
    let mut found = Vec::new();
    while !list.is_empty() && found.len() < MOST {
        let mut description = list.nested(SEQUENCE, "").ok()?;
        let method = description.content(OID, "").ok()?;
        let location = description.any().ok()?;
        if method != oid::CA_ISSUERS || location.tag != primitive(6) || location.content.len() > LONGEST {
            continue;
        }
        let text = core::str::from_utf8(location.content).ok();
        found.extend(
            text.filter(|text| text.bytes().all(|b| (0x20..0x7f).contains(&b)))
                .map(str::to_owned),
        );
    }
    Some(found)
}

/// The issuer's Name in a certificate, DER.
#[must_use]
pub fn issuer_name(certificate: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::parse(certificate, Leniencies::VENDOR).ok()?;
    Some(certificate.issuer.to_vec())
}

/// Where bytes that should be one DER element break off being DER: offset of the first element whose tag or length is wrong,
/// or that does not fit into the one around it; what is wrong with it. Only constructed elements are looked into.
#[must_use]
pub fn first_break(bytes: &[u8]) -> Option<(usize, &'static str)> {
    // Ends of the elements that are open, outermost first; of no use deeper than real certificates are.
    let mut open = vec![bytes.len()];
    let mut at = 0;
    while let Some(end) = open.last().copied() {
        if at == end {
            open.pop();
            if open.len() == 1 && at < bytes.len() {
                return Some((at, "bytes follow the end"));
            }
            continue;
        }
        let rest = bytes.get(at..end)?;
        match Reader::new(rest).any() {
            Err(fault) => return Some((at, fault.0)),
            Ok(tlv) if tlv.tag & 0x20 != 0 && open.len() < 32 => {
                let inside = at.checked_add(tlv.whole.len())?;
                open.push(inside);
                at = inside.checked_sub(tlv.content.len())?;
            }
            Ok(tlv) => at = at.checked_add(tlv.whole.len())?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_where_der_breaks_is_named() {
        let good = [0x30, 0x08, 0x02, 0x01, 0x05, 0x30, 0x03, 0x02, 0x01, 0x07];
        assert_eq!(first_break(&good), None);
        // The inner SEQUENCE says one octet more than there is.
        let mut longer = good;
        longer[6] = 4;
        assert_eq!(first_break(&longer), Some((5, "content is cut off")));
        // Its INTEGER says one more than its SEQUENCE.
        let mut inner = good;
        inner[8] = 2;
        assert_eq!(first_break(&inner), Some((7, "content is cut off")));
        assert_eq!(first_break(&good[..9]), Some((0, "content is cut off")));
        let mut more = good.to_vec();
        more.push(0xff);
        assert_eq!(first_break(&more), Some((10, "bytes follow the end")));
        assert_eq!(
            first_break(&[0x30, 0x80, 0, 0]),
            Some((0, "length is indefinite or beyond four octets"))
        );
        assert_eq!(first_break(&[]), None);
        // It ends, on a hundred thousand levels, too.
        let deep: Vec<u8> = [0x30, 0x80].repeat(100_000);
        assert!(first_break(&deep).is_some());
    }

    #[test]
    fn a_certificate_of_nobody_names_no_place() {
        assert_eq!(ca_issuers(b""), Vec::<String>::new());
        assert_eq!(ca_issuers(&[0x30, 0]), Vec::<String>::new());
        assert_eq!(issuer_name(&[0x30, 0]), None);
    }
}
