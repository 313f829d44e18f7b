//! Each name by itself: syntax and characters of DNS names, URIs, addresses and the two names of a TPM.

use attest::rot::{
    ID_ON_HARDWARE_MODULE_NAME, ID_ON_PERMANENT_IDENTIFIER, TCG_HW_TYPE_TPM20, TCG_ON_EK_PERM_ID_SHA256,
};
use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
use policies::name;

use super::{Case, Lint};
use crate::encode::{OCTET_STRING, OID, SEQUENCE, UTF8_STRING};
use crate::view::{Malformed, OTHER_NAME, Reader, oid, only, other_name};

pub(super) const LINT: Lint = Lint {
    name: "san_names",
    citation: "RFC 5280 §4.2.1.6, RFC 1034 §3.5, RFC 5890 §2.3.2.1, SPIFFE-ID §2, RFC 4108 §5, RFC 4043 §2",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let Some(extension) = case.tbs.extension(&ID_CE_SUBJECT_ALT_NAME) else {
        return Ok(());
    };
    let names = only(extension.value, SEQUENCE, "subjectAltName").and_then(|list| Reader(list.value).all());
    let names = names.map_err(|e| e.to_string())?;
    names
        .iter()
        .enumerate()
        .try_for_each(|(n, name)| one(name.tag, name.value).map_err(|e| format!("name {}: {e}", n + 1)))
}

/// A form that no kind has is `san_forms`'.
fn one(tag: u8, value: &[u8]) -> Result<(), String> {
    let text = || std::str::from_utf8(value).map_err(|e| e.to_string());
    match tag {
        0x82 => name::dns(text()?).map_err(|e| e.to_string()),
        0x86 => name::spiffe(text()?).map_err(|e| e.to_string()),
        0x87 => name::ip(value).map_err(|e| e.to_string()),
        OTHER_NAME => {
            let (id, value) = other_name(value).map_err(|e| e.to_string())?;
            match id {
                ID_ON_HARDWARE_MODULE_NAME => hardware_module(value),
                ID_ON_PERMANENT_IDENTIFIER => permanent(value),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// hwType TPM 2.0; hwSerialNum `<manufacturer, 8 hex digits>:<AKI in hex>:<serial in hex>`.
fn hardware_module(value: &[u8]) -> Result<(), String> {
    let read = || -> Result<_, Malformed> {
        let mut fields = Reader(only(value, SEQUENCE, "HardwareModuleName")?.value);
        let hw_type = oid(fields.expect(OID, "hwType")?)?;
        let serial = fields.expect(OCTET_STRING, "hwSerialNum")?.value;
        fields.end("HardwareModuleName")?;
        Ok((hw_type, serial))
    };
    let (hw_type, serial) = read().map_err(|e| e.to_string())?;
    if hw_type != TCG_HW_TYPE_TPM20 {
        return Err(format!("hwType {hw_type}"));
    }
    let parts: Vec<&[u8]> = serial.split(|b| *b == b':').collect();
    match parts.as_slice() {
        [manufacturer, _, last]
            if manufacturer.len() == 8
                && !last.is_empty()
                && serial.len() <= 128
                && parts.iter().all(|p| p.iter().all(u8::is_ascii_hexdigit)) =>
        {
            Ok(())
        }
        _ => Err(format!("hwSerialNum {}", hex::encode(serial))),
    }
}

/// identifierValue is a SHA-256 in lower-case hex, assigner says so.
fn permanent(value: &[u8]) -> Result<(), String> {
    let read = || -> Result<_, Malformed> {
        let mut fields = Reader(only(value, SEQUENCE, "PermanentIdentifier")?.value);
        let identifier = fields.expect(UTF8_STRING, "identifierValue")?.value;
        let assigner = oid(fields.expect(OID, "assigner")?)?;
        fields.end("PermanentIdentifier")?;
        Ok((identifier, assigner))
    };
    let (identifier, assigner) = read().map_err(|e| e.to_string())?;
    if assigner != TCG_ON_EK_PERM_ID_SHA256 {
        return Err(format!("assigner {assigner}"));
    }
    if identifier.len() == 64 && identifier.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(())
    } else {
        Err(format!("identifierValue {}", hex::encode(identifier)))
    }
}

#[cfg(test)]
mod tests {
    use attest::rot::{ID_HARDWARE_VERIFIED, TCG_HW_TYPE_TPM20, TCG_ON_EK_PERM_ID_SHA256};
    use policies::{ProfileKind, SanEntry};

    use crate::lint::example::Example;

    fn refused(kind: ProfileKind, san: Vec<SanEntry>) -> Vec<&'static str> {
        Example::with(kind, |spec| spec.san = san).refused_by()
    }

    fn device(serial: &[u8], identifier: &str) -> Vec<&'static str> {
        refused(
            ProfileKind::DeviceLdevid,
            vec![
                SanEntry::HardwareModuleName(TCG_HW_TYPE_TPM20, serial.to_vec()),
                SanEntry::PermanentIdentifier(identifier.into(), TCG_ON_EK_PERM_ID_SHA256),
            ],
        )
    }

    #[test]
    fn good() {
        assert!(device(b"49465800:2f6d:04D5", &"0a".repeat(32)).is_empty());
        assert!(device(b"49465800::01", &"0a".repeat(32)).is_empty());
        for dns in ["a.example", "xn--bcher-kva.example", "localhost"] {
            assert!(
                refused(ProfileKind::Service, vec![SanEntry::Dns(dns.into())]).is_empty(),
                "{dns}"
            );
        }
        let v6 = [&[0xfd][..], &[0; 14], &[1]].concat();
        assert!(refused(ProfileKind::ServerTls, vec![SanEntry::Ip(v6)]).is_empty());
    }

    #[test]
    fn bad() {
        let lint = ["san_names"];
        let long = "a".repeat(64);
        let dns = [
            "*.example",
            "A.example",
            "a.example.",
            "",
            "a..b",
            "1.2.3.4",
            "a_b.example",
            "-a.example",
            &long,
            "a b",
            "xn--a.example",
        ];
        for name in dns {
            assert_eq!(
                refused(ProfileKind::Service, vec![SanEntry::Dns(name.into())]),
                lint,
                "{name:?}"
            );
        }
        let uris = [
            "https://example.com/a",
            "spiffe://example.com",
            "spiffe://example.com/",
            "spiffe://EXAMPLE.com/a",
            "spiffe://example.com:1/a",
            "spiffe://u@example.com/a",
            "spiffe://example.com/a/../b",
            "spiffe://example.com/a?b",
            "spiffe://example.com/%61",
        ];
        for id in uris {
            assert_eq!(
                refused(ProfileKind::Service, vec![SanEntry::Uri(id.into())]),
                lint,
                "{id:?}"
            );
        }
        let mapped = [&[0; 10][..], &[0xff, 0xff, 10, 0, 0, 1]].concat();
        for ip in [vec![], vec![10, 0, 0], vec![10, 0, 0, 0, 255, 0, 0, 0], mapped] {
            assert_eq!(
                refused(ProfileKind::ServerTls, vec![SanEntry::Ip(ip.clone())]),
                lint,
                "{ip:?}"
            );
        }
        let digest = "0a".repeat(32);
        for serial in [
            &b""[..],
            b"49465800:2f6d",
            b"49465800:2f6d:",
            b"4946580:2f:01",
            b"IFX\0\0\0\0\0:2f:01",
            b"49465800:2f:01:02",
            b"49465800:2f\n:01",
        ] {
            assert_eq!(device(serial, &digest), lint, "{serial:?}");
        }
        for identifier in ["", &digest[..63], &digest.to_uppercase(), &format!("{digest}0")] {
            assert_eq!(device(b"49465800:2f6d:01", identifier), lint, "{identifier:?}");
        }
    }

    #[test]
    fn bad_identifiers_of_identifiers() {
        let module = |oid| SanEntry::HardwareModuleName(oid, b"49465800:2f6d:01".to_vec());
        let permanent = |oid| SanEntry::PermanentIdentifier("0a".repeat(32), oid);
        for san in [
            vec![module(ID_HARDWARE_VERIFIED), permanent(TCG_ON_EK_PERM_ID_SHA256)],
            vec![module(TCG_HW_TYPE_TPM20), permanent(ID_HARDWARE_VERIFIED)],
        ] {
            assert_eq!(refused(ProfileKind::DeviceLdevid, san), ["san_names"]);
        }
    }
}
