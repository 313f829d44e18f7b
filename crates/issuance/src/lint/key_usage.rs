//! keyUsage is critical and says exactly what the kind may do, in the fewest bits.

use const_oid::db::rfc5280::ID_CE_KEY_USAGE;

use super::{Case, Lint};
use crate::encode::BIT_STRING;
use crate::view::only;

pub(super) const LINT: Lint = Lint {
    name: "key_usage",
    citation: "RFC 5280 §4.2.1.3, X.690 §11.2.2",
    judge,
};

const DIGITAL_SIGNATURE: u8 = 1 << 7;
const KEY_CERT_SIGN: u8 = 1 << 2;
const CRL_SIGN: u8 = 1 << 1;

fn judge(case: &Case<'_>) -> Result<(), String> {
    let extension = case.tbs.extension(&ID_CE_KEY_USAGE).ok_or("missing")?;
    if !extension.is_critical() {
        return Err("not critical".into());
    }
    let bits = only(extension.value, BIT_STRING, "keyUsage")
        .map_err(|e| e.to_string())?
        .value;
    let expected = if case.promise.kind.is_ca() {
        KEY_CERT_SIGN | CRL_SIGN
    } else {
        DIGITAL_SIGNATURE
    };
    match bits {
        [unused, octet] if *octet == expected && u32::from(*unused) == expected.trailing_zeros() => Ok(()),
        _ => Err(format!(
            "{} on a {} certificate",
            hex::encode(bits),
            case.promise.kind.as_str()
        )),
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_CE_KEY_USAGE;
    use der::Decode;
    use policies::ProfileKind;
    use x509_cert::ext::pkix::{KeyUsage, KeyUsages};

    use crate::lint::example::Example;

    fn usage(kind: ProfileKind) -> KeyUsage {
        KeyUsage::from_der(&Example::new(kind).extension(ID_CE_KEY_USAGE).value).unwrap()
    }

    #[test]
    fn good() {
        assert_eq!(
            usage(ProfileKind::Service),
            KeyUsage(KeyUsages::DigitalSignature.into())
        );
        assert_eq!(
            usage(ProfileKind::Root),
            KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)
        );
        assert!(Example::new(ProfileKind::Service).refused_by().is_empty());
        assert!(Example::new(ProfileKind::Issuing).refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let lint = ["key_usage"];
        for kind in [
            ProfileKind::Root,
            ProfileKind::Issuing,
            ProfileKind::DeviceIak,
            ProfileKind::Service,
        ] {
            let mut example = Example::new(kind);
            example.extension(ID_CE_KEY_USAGE).critical.clear();
            assert_eq!(example.refused_by(), lint);
            assert_eq!(Example::new(kind).without(ID_CE_KEY_USAGE).refused_by(), lint);
        }
        // keyCertSign; keyCertSign and digitalSignature; keyAgreement too; encipherment; nothing; trailing zero bits
        let leaf: [&[u8]; 6] = [
            b"\x03\x02\x02\x04",
            b"\x03\x02\x02\x84",
            b"\x03\x02\x03\x88",
            b"\x03\x02\x05\xa0",
            b"\x03\x01\x00",
            b"\x03\x02\x00\x80",
        ];
        for value in leaf {
            assert_eq!(
                Example::new(ProfileKind::Service)
                    .holding(ID_CE_KEY_USAGE, value)
                    .refused_by(),
                lint
            );
        }
        for value in [
            &b"\x03\x02\x02\x04"[..],
            b"\x03\x02\x01\x02",
            b"\x03\x02\x01\x86",
            b"\x03\x03\x07\x06\x80",
        ] {
            assert_eq!(
                Example::new(ProfileKind::Issuing)
                    .holding(ID_CE_KEY_USAGE, value)
                    .refused_by(),
                lint
            );
        }
    }
}
