//! DER, not merely BER: fewest octets everywhere, TRUE is FF, SET OF in order, no constructed strings; inside the
//! extensions too.

use const_oid::ObjectIdentifier;

use super::{Case, Lint};
use crate::encode::{
    BIT_STRING, BOOLEAN, ENUMERATED, INTEGER, NULL, OID, PRINTABLE_STRING, SEQUENCE, SET, UTF8_STRING,
};
use crate::view::{Element, Reader};

pub(super) const LINT: Lint = Lint {
    name: "der_canonical",
    citation: "RFC 5280 §4.1, X.690 §10, §11",
    judge,
};

const IA5_STRING: u8 = 0x16;
/// Nothing we issue nests deeper than ten.
pub(crate) const DEEPEST: u8 = 16;

fn judge(case: &Case<'_>) -> Result<(), String> {
    walk(case.tbs.raw, DEEPEST)?;
    case.tbs
        .extensions
        .iter()
        .try_for_each(|e| walk(e.value, DEEPEST).map_err(|d| format!("in {}: {d}", e.oid)))
}

pub(crate) fn walk(bytes: &[u8], depth: u8) -> Result<(), String> {
    let depth = depth.checked_sub(1).ok_or("nested too deeply")?;
    // One element at a time: a CRL has a million beside each other.
    let mut elements = Reader(bytes);
    while let Some(element) = elements.next().map_err(|e| e.to_string())? {
        if !element.minimal {
            return Err("a length not in its fewest octets".into());
        }
        let universal = element.tag & 0xc0 == 0;
        let constructed = element.tag & 0x20 != 0;
        match (universal, constructed) {
            (true, false) => primitive(element)?,
            (false, false) => (),
            (true, true) if element.tag == SET => {
                set_of(element.value)?;
                walk(element.value, depth)?;
            }
            (true, true) if element.tag != SEQUENCE => return Err("a string in parts".into()),
            (_, true) => walk(element.value, depth)?,
        }
    }
    Ok(())
}

fn primitive(element: Element<'_>) -> Result<(), String> {
    let value = element.value;
    let good = match element.tag {
        BOOLEAN => matches!(value, [0x00 | 0xff]),
        INTEGER | ENUMERATED => match value {
            [] => false,
            [0x00, second, ..] => *second >= 0x80,
            [0xff, second, ..] => *second < 0x80,
            _ => true,
        },
        BIT_STRING => match value {
            [0, ..] => true,
            [unused @ 1..=7, .., last] => last.trailing_zeros() >= u32::from(*unused),
            _ => false,
        },
        NULL => value.is_empty(),
        OID => ObjectIdentifier::from_bytes(value).is_ok(),
        UTF8_STRING => std::str::from_utf8(value).is_ok(),
        PRINTABLE_STRING => std::str::from_utf8(value).is_ok_and(crate::encode::is_printable),
        IA5_STRING => value.is_ascii(),
        _ => true,
    };
    if good {
        Ok(())
    } else {
        Err(format!("tag {:02x} holds {}", element.tag, hex::encode(value)))
    }
}

fn set_of(value: &[u8]) -> Result<(), String> {
    let elements = Reader(value).all().map_err(|e| e.to_string())?;
    if elements.is_sorted_by_key(|e| e.raw) {
        Ok(())
    } else {
        Err("a SET OF out of order".into())
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280;
    use policies::ProfileKind;

    use super::walk;
    use crate::lint::example::Example;

    #[test]
    fn good() {
        for good in [
            &b"\x01\x01\xff"[..],
            b"\x02\x02\x00\x80",
            b"\x02\x01\xff",
            b"\x03\x02\x07\x80",
            b"\x03\x01\x00",
        ] {
            assert_eq!(walk(good, 9), Ok(()), "{good:?}");
        }
        assert!(Example::new(ProfileKind::DeviceIdevid).refused_by().is_empty());
    }

    #[test]
    fn bad_bytes() {
        let bad: [&[u8]; 12] = [
            b"\x01\x01\x01",
            b"\x01\x00",
            b"\x02\x02\x00\x7f",
            b"\x02\x02\xff\x80",
            b"\x02\x00",
            b"\x03\x02\x07\xc0",
            b"\x03\x02\x08\x00",
            b"\x03\x01\x07",
            b"\x05\x01\x00",
            b"\x0c\x01\xff",
            b"\x13\x01_",
            b"\x24\x03\x04\x01\x00",
        ];
        for bad in bad {
            assert!(walk(bad, 9).is_err(), "{bad:?}");
        }
        assert!(walk(b"\x31\x06\x02\x01\x02\x02\x01\x01", 9).is_err());
        assert!(walk(b"\x04\x81\x01\x00", 9).is_err());
        assert!(walk(&[0x30, 0x80, 0, 0], 9).is_err());
        assert!(walk(b"\x30\x02\x30\x00", 1).is_err());
    }

    #[test]
    fn bad() {
        // A length in two octets where one is enough: in the validity, and inside an extension.
        let mut example = Example::new(ProfileKind::Service);
        example.not_before = [b"\x17\x81\x0d", &example.not_before[2..]].concat();
        assert_eq!(example.refused_by(), ["der_canonical"]);
        let mut example = Example::new(ProfileKind::Service);
        let names = example.extension(rfc5280::ID_CE_SUBJECT_ALT_NAME);
        names.value = [b"\x30\x81", &names.value[1..]].concat();
        assert_eq!(example.refused_by(), ["der_canonical"]);
        // A critical flag that is true in BER only.
        let mut example = Example::new(ProfileKind::Service);
        example.extension(rfc5280::ID_CE_KEY_USAGE).critical = vec![1, 1, 1];
        assert_eq!(example.refused_by(), ["der_canonical"]);
        // Not a UTF-8 string.
        let mut example = Example::new(ProfileKind::Issuing);
        let at = example.subject.iter().position(|b| *b == 0xc3).unwrap();
        example.subject[at + 1] = b'x';
        assert_eq!(example.refused_by(), ["der_canonical"]);
    }
}
