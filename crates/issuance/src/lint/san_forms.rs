//! Which forms of names each kind has, and how many. A device has its two TPM names, a service DNS names and at most
//! one URI, the server DNS names and addresses, a CA none. No name twice.

use attest::rot::{
    Basis, ID_HARDWARE_ALLOWLISTED, ID_ON_HARDWARE_MODULE_NAME, ID_ON_PERMANENT_IDENTIFIER, ID_ROT_BINDING,
    ID_SOFTWARE, ID_VIRTUAL, RotStatement,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{ID_CE_CERTIFICATE_POLICIES, ID_CE_SUBJECT_ALT_NAME};
use policies::ProfileKind;

use super::{Case, Lint};
use crate::encode::SEQUENCE;
use crate::view::{Element, OTHER_NAME, Reader, only, other_name};

pub(super) const LINT: Lint = Lint {
    name: "san_forms",
    citation: "RFC 5280 §4.2.1.6, RFC 4108 §5, RFC 4043 §2, SPIFFE X.509-SVID §2, docs/reference/profiles.md",
    judge,
};

const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;

fn named_by_subject(kind: ProfileKind) -> bool {
    kind.is_ca() || kind == ProfileKind::Ocsp
}

fn judge(case: &Case<'_>) -> Result<(), String> {
    let kind = case.promise.kind;
    let Some(extension) = case.tbs.extension(&ID_CE_SUBJECT_ALT_NAME) else {
        return if named_by_subject(kind) || by_iak(case) || may_lack_ek_certificate(case) {
            Ok(())
        } else {
            Err("no name".into())
        };
    };
    let names = only(extension.value, SEQUENCE, "subjectAltName")
        .and_then(|list| Reader(list.value).all())
        .map_err(|e| e.to_string())?;
    if names.is_empty() {
        return Err("an empty list of names".into());
    }
    if names
        .iter()
        .enumerate()
        .any(|(n, a)| names.iter().take(n).any(|b| a.raw == b.raw))
    {
        return Err("a name twice".into());
    }
    let of = |tag: u8| names.iter().filter(|n| n.tag == tag).count();
    let good = match kind {
        ProfileKind::Root | ProfileKind::Issuing | ProfileKind::Cross | ProfileKind::Ocsp => false,
        // On a manufacturer's word: what his certificate carries of them.
        ProfileKind::DeviceLdevid | ProfileKind::DeviceLak if by_iak(case) => {
            matches!(names.as_slice(), [a, b] if is(a, TpmName::HardwareModule) && is(b, TpmName::Permanent))
                || matches!(names.as_slice(), [a] if is(a, TpmName::HardwareModule) || is(a, TpmName::Permanent))
        }
        ProfileKind::DeviceIak | ProfileKind::DeviceIdevid | ProfileKind::DeviceLdevid | ProfileKind::DeviceLak => {
            matches!(names.as_slice(), [a, b] if is(a, TpmName::HardwareModule) && is(b, TpmName::Permanent))
        }
        ProfileKind::Service => of(DNS) + of(URI) == names.len() && of(URI) <= 1,
        ProfileKind::ServerTls => of(DNS) + of(IP) == names.len(),
    };
    if good {
        Ok(())
    } else {
        let tags: Vec<String> = names.iter().map(|n| format!("{:02x}", n.tag)).collect();
        Err(format!(
            "names of forms {} on a {} certificate",
            tags.join(" "),
            kind.as_str()
        ))
    }
}

/// Whether a device's certificate stands on a manufacturer's word. A binding that cannot be read is `rot_binding`'s.
/// A device's own identity at a level that an EK without certificate can have: the names of its TPM stand in that certificate.
fn may_lack_ek_certificate(case: &Case<'_>) -> bool {
    let says = |level: &ObjectIdentifier| {
        case.tbs
            .extension(&ID_CE_CERTIFICATE_POLICIES)
            .is_some_and(|extension| {
                let oid = level.as_bytes();
                extension.value.windows(oid.len()).any(|part| part == oid)
            })
    };
    matches!(case.promise.kind, ProfileKind::DeviceLdevid | ProfileKind::DeviceLak)
        && [ID_HARDWARE_ALLOWLISTED, ID_VIRTUAL, ID_SOFTWARE].iter().any(says)
}

fn by_iak(case: &Case<'_>) -> bool {
    matches!(case.promise.kind, ProfileKind::DeviceLdevid | ProfileKind::DeviceLak)
        && case
            .tbs
            .extension(&ID_ROT_BINDING)
            .and_then(|extension| RotStatement::from_der(extension.value).ok())
            .is_some_and(|statement| statement.basis() == Basis::IakCertified)
}

enum TpmName {
    HardwareModule,
    Permanent,
}

fn is(name: &Element<'_>, form: TpmName) -> bool {
    let expected = match form {
        TpmName::HardwareModule => ID_ON_HARDWARE_MODULE_NAME,
        TpmName::Permanent => ID_ON_PERMANENT_IDENTIFIER,
    };
    name.tag == OTHER_NAME && other_name(name.value).is_ok_and(|(id, _)| id == expected)
}

#[cfg(test)]
mod tests {
    use attest::rot::{TCG_HW_TYPE_TPM20, TCG_ON_EK_PERM_ID_SHA256};
    use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
    use policies::{ProfileKind, SanEntry};

    use crate::encode::{SEQUENCE, tlv};
    use crate::fixture::KINDS;
    use crate::lint::example::Example;

    fn refused(kind: ProfileKind, san: &[SanEntry]) -> Vec<&'static str> {
        Example::with(kind, |spec| spec.san = san.to_vec()).refused_by()
    }
    fn refused_by_iak(san: Vec<SanEntry>) -> Vec<&'static str> {
        Example::with(ProfileKind::DeviceLdevid, |spec| {
            (spec.rot, spec.policies) = crate::fixture::by_iak(false);
            spec.san = san;
        })
        .refused_by()
    }
    fn dns(name: &str) -> SanEntry {
        SanEntry::Dns(name.into())
    }
    fn uri(id: &str) -> SanEntry {
        SanEntry::Uri(id.into())
    }
    fn module() -> SanEntry {
        SanEntry::HardwareModuleName(TCG_HW_TYPE_TPM20, b"49465800:ab:cd".to_vec())
    }
    fn permanent() -> SanEntry {
        SanEntry::PermanentIdentifier("cd".repeat(32), TCG_ON_EK_PERM_ID_SHA256)
    }

    #[test]
    fn good() {
        assert!(refused(ProfileKind::DeviceIdevid, &[module(), permanent()]).is_empty());
        for names in [vec![], vec![module()], vec![permanent()], vec![module(), permanent()]] {
            assert!(refused_by_iak(names).is_empty());
        }
        assert!(refused(ProfileKind::Service, &[uri("spiffe://example.com/a")]).is_empty());
        assert!(refused(ProfileKind::Service, &[dns("a.example"), dns("b.example")]).is_empty());
        assert!(refused(ProfileKind::ServerTls, &[SanEntry::Ip(vec![10, 0, 0, 1])]).is_empty());
    }

    use attest::rot::{ID_HARDWARE_ALLOWLISTED, ID_HARDWARE_VERIFIED, ID_SOFTWARE, ID_VIRTUAL};

    fn refused_at(kind: ProfileKind, level: const_oid::ObjectIdentifier) -> Vec<&'static str> {
        Example::with(kind, |spec| {
            spec.san = vec![];
            let levels = [ID_HARDWARE_VERIFIED, ID_HARDWARE_ALLOWLISTED, ID_VIRTUAL, ID_SOFTWARE];
            let place = spec.policies.iter().position(|oid| levels.contains(oid)).unwrap();
            spec.policies[place] = level;
        })
        .refused_by()
    }

    #[test]
    fn an_ek_without_a_certificate_gives_no_names() {
        let refused = refused_at(ProfileKind::DeviceLdevid, ID_HARDWARE_ALLOWLISTED);
        assert!(refused.is_empty(), "{refused:?}");
        let refused = refused_at(ProfileKind::DeviceLdevid, ID_HARDWARE_VERIFIED);
        assert_eq!(refused, ["san_forms"]);
    }

    #[test]
    fn bad() {
        let lint = ["san_forms"];
        assert_eq!(refused_by_iak(vec![dns("a.example")]), lint);
        assert_eq!(refused_by_iak(vec![permanent(), module()]), lint);
        let bad = [
            (ProfileKind::DeviceIdevid, vec![module()]),
            (ProfileKind::DeviceIdevid, vec![permanent()]),
            (ProfileKind::DeviceIak, vec![module(), permanent(), dns("a.example")]),
            (ProfileKind::DeviceLdevid, vec![dns("a.example")]),
            (ProfileKind::DeviceLdevid, vec![]),
            (ProfileKind::Service, vec![]),
            (ProfileKind::Service, vec![dns("a.example"), module()]),
            (ProfileKind::Service, vec![SanEntry::Ip(vec![10, 0, 0, 1])]),
            (
                ProfileKind::Service,
                vec![uri("spiffe://example.com/a"), uri("spiffe://example.com/b")],
            ),
            (ProfileKind::Service, vec![dns("a.example"), dns("a.example")]),
            (ProfileKind::ServerTls, vec![uri("spiffe://example.com/a")]),
            (ProfileKind::Root, vec![dns("a.example")]),
            (ProfileKind::Issuing, vec![dns("a.example")]),
            (ProfileKind::Ocsp, vec![dns("a.example")]),
        ];
        for (kind, san) in bad {
            assert_eq!(refused(kind, &san), lint, "{kind:?} {san:?}");
        }
    }

    #[test]
    fn bad_forms_we_cannot_even_write() {
        // rfc822Name, x400Address, directoryName, ediPartyName, registeredID
        for (tag, value) in [
            (0x81, &b"a@example"[..]),
            (0xa3, b""),
            (0xa4, b"\x30\x00"),
            (0xa5, b""),
            (0x88, b"\x2a"),
        ] {
            for kind in KINDS.into_iter().filter(|k| !super::named_by_subject(*k)) {
                let names = tlv(SEQUENCE, &[&tlv(tag, &[value])]);
                let example = Example::new(kind).holding(ID_CE_SUBJECT_ALT_NAME, &names);
                assert_eq!(example.refused_by(), ["san_forms"], "{tag:02x} {kind:?}");
            }
        }
        let empty = Example::new(ProfileKind::Service).holding(ID_CE_SUBJECT_ALT_NAME, b"\x30\x00");
        assert_eq!(empty.refused_by(), ["san_forms"]);
    }
}
