//! DER, written. Every byte of what is signed is written here and in `tbs`.

use attest::UnixTime;
use const_oid::ObjectIdentifier;
use der::DateTime;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// `[n] IMPLICIT` of a primitive type.
pub(crate) const fn context(n: u8) -> u8 {
    0x80 | n
}
/// `[n]` around or instead of a constructed type.
pub(crate) const fn context_constructed(n: u8) -> u8 {
    0xa0 | n
}

/// One tag-length-value; `parts` are concatenated as the value. Lengths in the fewest octets (X.690 §10.1).
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = Vec::with_capacity(length.saturating_add(6));
    header(&mut out, tag, length);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// Tag and length before a value of `length` octets.
pub(crate) fn header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let octets = length.to_be_bytes();
            let significant = octets.iter().skip_while(|o| **o == 0);
            let count = significant.clone().count();
            // At most size_of::<usize>() octets, far below 0x7f.
            out.push(0x80 | u8::try_from(count).unwrap_or(0));
            out.extend(significant);
        }
    }
}

pub(crate) fn oid(oid: &ObjectIdentifier) -> Vec<u8> {
    tlv(OID, &[oid.as_bytes()])
}

/// UTCTime through 2049, GeneralizedTime from 2050 on; seconds, `Z`, no fraction (RFC 5280 §4.1.2.5). `None` outside
/// 1970..=9999.
pub(crate) fn time(at: UnixTime) -> Option<Vec<u8>> {
    let seconds = u64::try_from(at.0).ok()?;
    let t = DateTime::from_unix_duration(std::time::Duration::from_secs(seconds)).ok()?;
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        t.month(),
        t.day(),
        t.hour(),
        t.minutes(),
        t.seconds()
    );
    Some(if t.year() < 2050 {
        tlv(
            UTC_TIME,
            &[format!("{:02}", t.year() % 100).as_bytes(), rest.as_bytes()],
        )
    } else {
        tlv(
            GENERALIZED_TIME,
            &[format!("{:04}", t.year()).as_bytes(), rest.as_bytes()],
        )
    })
}

/// GeneralizedTime in any year; seconds, `Z`, no fraction (RFC 6960 §4.2.2.1). `None` outside 1970..=9999.
pub(crate) fn generalized_time(at: UnixTime) -> Option<Vec<u8>> {
    let seconds = u64::try_from(at.0).ok()?;
    let t = DateTime::from_unix_duration(std::time::Duration::from_secs(seconds)).ok()?;
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        t.year(),
        t.month(),
        t.day(),
        t.hour(),
        t.minutes(),
        t.seconds()
    );
    Some(tlv(GENERALIZED_TIME, &[text.as_bytes()]))
}

/// X.680 §41.4.
pub(crate) fn is_printable(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::asn1::{Any, OctetString};
    use der::{Decode, Encode};
    use proptest::prelude::*;

    #[test]
    fn time_switches_at_2050() {
        let cases: [(i64, &[u8]); 5] = [
            (0, b"\x17\x0d700101000000Z"),
            (2_524_607_999, b"\x17\x0d491231235959Z"),
            (2_524_608_000, b"\x18\x0f20500101000000Z"),
            (1_709_164_799, b"\x17\x0d240228235959Z"),
            (253_402_300_799, b"\x18\x0f99991231235959Z"),
        ];
        for (at, want) in cases {
            assert_eq!(time(UnixTime(at)).as_deref(), Some(want), "{at}");
        }
        assert_eq!(time(UnixTime(-1)), None);
        assert_eq!(time(UnixTime(253_402_300_800)), None);
        assert_eq!(time(UnixTime(i64::MIN)), None);
    }

    #[test]
    fn generalized_time_in_every_year() {
        for (at, want) in [
            (0, Some(&b"\x18\x0f19700101000000Z"[..])),
            (1_709_164_799, Some(b"\x18\x0f20240228235959Z")),
            (1_709_164_800, Some(b"\x18\x0f20240229000000Z")),
            (2_147_483_648, Some(b"\x18\x0f20380119031408Z")),
            (2_524_608_000, Some(b"\x18\x0f20500101000000Z")),
            (253_402_300_799, Some(b"\x18\x0f99991231235959Z")),
            (253_402_300_800, None),
            (-1, None),
            (i64::MIN, None),
        ] {
            assert_eq!(generalized_time(UnixTime(at)).as_deref(), want, "{at}");
        }
    }

    proptest! {
        #[test]
        fn tlv_is_what_der_writes(value in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let ours = tlv(OCTET_STRING, &[&value]);
            prop_assert_eq!(&ours, &OctetString::new(value).unwrap().to_der().unwrap());
        }

        #[test]
        fn time_is_what_der_writes(at in 0_i64..=253_402_300_799) {
            let ours = time(UnixTime(at)).unwrap();
            let theirs = x509_cert::time::Time::from_der(&ours).unwrap();
            prop_assert_eq!(theirs.to_unix_duration().as_secs(), u64::try_from(at).unwrap());
            prop_assert_eq!(Any::from_der(&ours).unwrap().to_der().unwrap(), ours);
        }
    }
}
