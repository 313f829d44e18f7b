//! Only the attributes of its kind, each in its own RDN and in its one string type.

use const_oid::db::rfc4519::{C, CN, O, SERIAL_NUMBER};
use policies::ProfileKind;

use super::{Case, Lint};
use crate::encode::{PRINTABLE_STRING, UTF8_STRING};

pub(super) const LINT: Lint = Lint {
    name: "subject_types",
    citation: "RFC 5280 §4.1.2.4, A.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    for (number, attribute) in case.tbs.attributes.iter().enumerate() {
        if attribute.rdn != number {
            return Err("several attributes in one RDN".into());
        }
        let allowed = match case.promise.kind {
            ProfileKind::Root | ProfileKind::Issuing | ProfileKind::Cross | ProfileKind::Ocsp => [C, O, CN].as_slice(),
            ProfileKind::DeviceIak | ProfileKind::DeviceIdevid | ProfileKind::DeviceLdevid | ProfileKind::DeviceLak => {
                &[C, O, CN, SERIAL_NUMBER]
            }
            // What answers to names in the SAN has no second place for them.
            ProfileKind::Service | ProfileKind::ServerTls => &[C, O],
        };
        if !allowed.contains(&attribute.oid) {
            return Err(format!("attribute {}", attribute.oid));
        }
        let tag = if [C, SERIAL_NUMBER].contains(&attribute.oid) {
            PRINTABLE_STRING
        } else {
            UTF8_STRING
        };
        if attribute.tag != tag {
            return Err(format!("attribute {} has tag {:02x}", attribute.oid, attribute.tag));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc4519::{C, CN, O, OU, SERIAL_NUMBER};
    use policies::ProfileKind;

    use crate::encode::{PRINTABLE_STRING, SEQUENCE, SET, UTF8_STRING, tlv};
    use crate::lint::example::{Example, attribute, name};

    const T61_STRING: u8 = 0x14;

    fn refused(kind: ProfileKind, subject: Vec<u8>) -> Vec<&'static str> {
        let mut example = Example::new(kind);
        example.subject = subject;
        example.refused_by()
    }

    #[test]
    fn good() {
        let all = [
            (C, PRINTABLE_STRING, "SE"),
            (O, UTF8_STRING, "Ex"),
            (CN, UTF8_STRING, "x"),
            (SERIAL_NUMBER, PRINTABLE_STRING, "7"),
        ];
        assert!(refused(ProfileKind::DeviceLdevid, name(&all)).is_empty());
        assert!(refused(ProfileKind::Issuing, name(&all[..3])).is_empty());
    }

    #[test]
    fn bad() {
        let serial = (SERIAL_NUMBER, PRINTABLE_STRING, "7");
        let cases = [
            name(&[(OU, UTF8_STRING, "x"), serial]),
            name(&[(O, PRINTABLE_STRING, "x"), serial]),
            name(&[(O, T61_STRING, "x"), serial]),
            name(&[(SERIAL_NUMBER, UTF8_STRING, "7")]),
            name(&[(C, UTF8_STRING, "SE"), serial]),
            // Two attributes in one RDN, in DER order.
            tlv(
                SEQUENCE,
                &[&tlv(SET, &[&attribute(&serial), &attribute(&(O, UTF8_STRING, "xxx"))])],
            ),
        ];
        for subject in cases {
            assert_eq!(
                refused(ProfileKind::DeviceLdevid, subject.clone()),
                ["subject_types"],
                "{}",
                hex::encode(subject)
            );
        }
        let issuing = name(&[(CN, UTF8_STRING, "x"), serial]);
        assert_eq!(refused(ProfileKind::Issuing, issuing), ["subject_types"]);
    }
}
