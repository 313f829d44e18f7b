//! Lengths and characters of the subject's values.

use const_oid::db::rfc4519::{C, SERIAL_NUMBER};
use policies::name;

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "subject_values",
    citation: "RFC 5280 §4.1.2.4, A.1 (upper bounds)",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    for attribute in &case.tbs.attributes {
        // What is no text is `der_canonical`'s or `subject_types`'.
        let Ok(text) = std::str::from_utf8(attribute.value) else {
            continue;
        };
        let good = match attribute.oid {
            C if matches!(attribute.value, [b'A'..=b'Z', b'A'..=b'Z']) => Ok(()),
            C => Err(format!("country {text:?}")),
            SERIAL_NUMBER => name::device(text).map_err(|e| e.to_string()),
            _ => name::directory_string(text).map_err(|e| e.to_string()),
        };
        good.map_err(|e| format!("attribute {}: {e}", attribute.oid))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc4519::{C, O, SERIAL_NUMBER};
    use policies::ProfileKind;

    use crate::encode::{PRINTABLE_STRING, UTF8_STRING};
    use crate::lint::example::{Example, name};

    fn refused(organization: &str, serial: &str, country: &str) -> Vec<&'static str> {
        let mut example = Example::new(ProfileKind::DeviceLdevid);
        example.subject = name(&[
            (C, PRINTABLE_STRING, country),
            (O, UTF8_STRING, organization),
            (SERIAL_NUMBER, PRINTABLE_STRING, serial),
        ]);
        example.refused_by()
    }

    #[test]
    fn good() {
        assert!(refused("Example Örg", "pump-0017", "SE").is_empty());
        assert!(refused(&"ö".repeat(64), &"7".repeat(64), "SE").is_empty());
    }

    #[test]
    fn bad() {
        let long = "x".repeat(65);
        for organization in ["", &long, "a\nlevel=info", "X\0.bank", "a\u{202e}b", "a\u{2028}b"] {
            assert_eq!(refused(organization, "7", "SE"), ["subject_values"], "{organization:?}");
        }
        for serial in ["", &long, "A,CN=admin", "a b"] {
            let refused = refused("Ex", serial, "SE");
            assert!(refused.contains(&"subject_values"), "{serial:?}");
            assert!(
                refused.iter().all(|l| ["subject_values", "der_canonical"].contains(l)),
                "{serial:?}"
            );
        }
        for country in ["se", "S", "SWE", ""] {
            assert_eq!(refused("Ex", "7", country), ["subject_values"], "{country:?}");
        }
    }
}
