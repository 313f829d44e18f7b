//! DER by hand: the kit must be able to write what no library would.

/// One TLV with definite length.
#[must_use]
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.extend(u8::try_from(length));
    } else {
        let octets: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
        out.push(0x80 | u8::try_from(octets.len()).unwrap_or(0x7f));
        out.extend(octets);
    }
    out.extend(content);
    out
}

/// SEQUENCE of parts.
#[must_use]
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// SET of parts, in the order given.
#[must_use]
pub fn set(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x31, &parts.concat())
}

/// OBJECT IDENTIFIER.
///
/// # Panics
/// When `dotted` is no OID.
#[must_use]
pub fn oid(dotted: &str) -> Vec<u8> {
    let oid: der::asn1::ObjectIdentifier = dotted.parse().expect("an OID");
    tlv(0x06, oid.as_bytes())
}

/// UTF8String.
#[must_use]
pub fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0c, text.as_bytes())
}

/// PrintableString.
#[must_use]
pub fn printable(text: &str) -> Vec<u8> {
    tlv(0x13, text.as_bytes())
}

/// OCTET STRING.
#[must_use]
pub fn octets(content: &[u8]) -> Vec<u8> {
    tlv(0x04, content)
}

/// BIT STRING without unused bits.
#[must_use]
pub fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content].concat())
}

/// INTEGER from unsigned big-endian octets.
#[must_use]
pub fn integer(octets: &[u8]) -> Vec<u8> {
    let mut content: Vec<u8> = octets.iter().copied().skip_while(|b| *b == 0).collect();
    if content.first().is_none_or(|b| b & 0x80 != 0) {
        content.insert(0, 0);
    }
    tlv(0x02, &content)
}

/// BOOLEAN TRUE.
#[must_use]
pub fn truth() -> Vec<u8> {
    vec![0x01, 0x01, 0xff]
}

/// Context-specific, constructed.
#[must_use]
pub fn context(number: u8, content: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, content)
}

/// GeneralizedTime; whole text with `Z`.
#[must_use]
pub fn generalized_time(text: &str) -> Vec<u8> {
    tlv(0x18, text.as_bytes())
}

/// UTCTime; whole text with `Z`.
#[must_use]
pub fn utc_time(text: &str) -> Vec<u8> {
    tlv(0x17, text.as_bytes())
}

/// `Name` with one attribute per RDN, UTF8String.
#[must_use]
pub fn name(attributes: &[(&str, &str)]) -> Vec<u8> {
    let rdns: Vec<Vec<u8>> = attributes
        .iter()
        .map(|(o, v)| set(&[&sequence(&[&oid(o), &utf8(v)])]))
        .collect();
    tlv(0x30, &rdns.concat())
}

/// One `Extension`.
#[must_use]
pub fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { truth() } else { Vec::new() };
    sequence(&[&oid(id), &critical, &octets(value)])
}
