//! DER by hand.

use const_oid::ObjectIdentifier;

/// One DER element with a definite, minimal length.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=0x7F => out.push(length as u8),
        0x80..=0xFF => out.extend([0x81, length as u8]),
        0x100..=0xFFFF => out.extend([0x82, (length >> 8) as u8, length as u8]),
        _ => out.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// SEQUENCE of elements.
pub fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// OBJECT IDENTIFIER.
pub fn oid(dotted: &str) -> Vec<u8> {
    tlv(0x06, ObjectIdentifier::new(dotted).unwrap().as_bytes())
}

/// UTF8String.
pub fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0C, text.as_bytes())
}

/// BIT STRING of whole octets.
pub fn bits(octets: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], octets].concat())
}

/// SEQUENCE { OID, value }: a name attribute.
pub fn attribute(kind: &str, value: &[u8]) -> Vec<u8> {
    seq(&[&oid(kind), value])
}

/// A Name with one commonName, UTF8String.
pub fn common_name(text: &str) -> Vec<u8> {
    seq(&[&tlv(0x31, &attribute("2.5.4.3", &utf8(text)))])
}

/// UTCTime or, from 2050 on, GeneralizedTime: `YYYYMMDDHHMMSS`.
pub fn time(digits: &str) -> Vec<u8> {
    let year: u32 = digits[..4].parse().unwrap();
    if year < 2050 {
        tlv(0x17, format!("{}Z", &digits[2..]).as_bytes())
    } else {
        tlv(0x18, format!("{digits}Z").as_bytes())
    }
}
