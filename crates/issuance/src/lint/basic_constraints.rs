//! A CA says so, critically: pathLen 0 on an issuing CA, 1 on a crossed root, none on a root. An end entity has no
//! basicConstraints: it can never be a CA. What a CA is permitted lies within what its issuer is: below pathLen 0 there is
//! no CA.

use const_oid::db::rfc5280::ID_CE_BASIC_CONSTRAINTS;
use policies::ProfileKind;

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "basic_constraints",
    citation: "RFC 5280 §4.2.1.9",
    judge,
};

/// `{ cA TRUE }`.
const ROOT: &[u8] = &[0x30, 3, 1, 1, 0xff];
/// `{ cA TRUE, pathLenConstraint 0 }`.
const ISSUING: &[u8] = &[0x30, 6, 1, 1, 0xff, 2, 1, 0];
/// `{ cA TRUE, pathLenConstraint 1 }`.
const CROSS: &[u8] = &[0x30, 6, 1, 1, 0xff, 2, 1, 1];

fn judge(case: &Case<'_>) -> Result<(), String> {
    let extension = case.tbs.extension(&ID_CE_BASIC_CONSTRAINTS);
    let expected = match case.promise.kind {
        ProfileKind::Root => ROOT,
        ProfileKind::Issuing => ISSUING,
        ProfileKind::Cross => CROSS,
        _ => {
            return if extension.is_none() {
                Ok(())
            } else {
                Err("on an end entity".into())
            };
        }
    };
    let extension = extension.ok_or("missing on a CA")?;
    if !extension.is_critical() {
        Err("not critical".into())
    } else if extension.value != expected {
        Err(format!(
            "{} is not {}",
            hex::encode(extension.value),
            hex::encode(expected)
        ))
    } else if let (Some(outer), Some(inner)) = (case.issuer.path_len, case.promise.kind.path_length())
        && inner >= outer
    {
        Err(format!("pathLen {inner} below a CA with pathLen {outer}"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_CE_BASIC_CONSTRAINTS;
    use policies::ProfileKind;

    use crate::fixture::KINDS;
    use crate::lint::example::Example;

    const LINT: [&str; 1] = ["basic_constraints"];

    #[test]
    fn good() {
        for kind in KINDS {
            let example = Example::new(kind);
            assert_eq!(
                example.extensions.iter().any(|e| e.oid == ID_CE_BASIC_CONSTRAINTS),
                kind.is_ca()
            );
            assert!(example.refused_by().is_empty());
        }
    }

    #[test]
    fn bad_leaf() {
        for kind in KINDS.into_iter().filter(|k| !k.is_ca()) {
            for value in [
                &b"\x30\x03\x01\x01\xff"[..],
                b"\x30\x06\x01\x01\xff\x02\x01\x00",
                b"\x30\x00",
            ] {
                for critical in [vec![], vec![1, 1, 0xff]] {
                    let mut example = Example::new(kind).and(ID_CE_BASIC_CONSTRAINTS, value);
                    example.extension(ID_CE_BASIC_CONSTRAINTS).critical = critical;
                    assert_eq!(example.refused_by(), LINT, "{kind:?}");
                }
            }
        }
    }

    #[test]
    fn bad_ca() {
        for kind in [ProfileKind::Root, ProfileKind::Issuing, ProfileKind::Cross] {
            let mut example = Example::new(kind);
            example.extension(ID_CE_BASIC_CONSTRAINTS).critical.clear();
            assert_eq!(example.refused_by(), LINT);
            assert_eq!(Example::new(kind).without(ID_CE_BASIC_CONSTRAINTS).refused_by(), LINT);
            assert_eq!(
                Example::new(kind)
                    .holding(ID_CE_BASIC_CONSTRAINTS, b"\x30\x00")
                    .refused_by(),
                LINT
            );
        }
        for value in [&b"\x30\x03\x01\x01\xff"[..], b"\x30\x06\x01\x01\xff\x02\x01\x01"] {
            assert_eq!(
                Example::new(ProfileKind::Issuing)
                    .holding(ID_CE_BASIC_CONSTRAINTS, value)
                    .refused_by(),
                LINT
            );
        }
        for value in [&b"\x30\x03\x01\x01\xff"[..], b"\x30\x06\x01\x01\xff\x02\x01\x00"] {
            let cross = Example::new(ProfileKind::Cross).holding(ID_CE_BASIC_CONSTRAINTS, value);
            assert_eq!(cross.refused_by(), LINT);
        }
        for (kind, most) in [(ProfileKind::Issuing, 0), (ProfileKind::Cross, 1)] {
            for outer in 0..=most {
                let mut below = Example::new(kind);
                below.issuer.path_len = Some(outer);
                assert_eq!(below.refused_by(), LINT, "{kind:?} {outer}");
            }
            let mut below = Example::new(kind);
            below.issuer.path_len = Some(most + 1);
            assert!(below.refused_by().is_empty());
        }
    }
}
