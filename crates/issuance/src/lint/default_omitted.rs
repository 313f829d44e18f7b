//! A value equal to its DEFAULT is left out: no `critical FALSE`, no `cA FALSE`.

use const_oid::db::rfc5280::ID_CE_BASIC_CONSTRAINTS;

use super::{Case, Lint};
use crate::encode::{BOOLEAN, SEQUENCE};
use crate::view::{Reader, only};

pub(super) const LINT: Lint = Lint {
    name: "default_omitted",
    citation: "X.690 §11.5, RFC 5280 §4.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    for extension in &case.tbs.extensions {
        if extension.critical.is_some() && !extension.is_critical() {
            return Err(format!("critical FALSE on {}", extension.oid));
        }
        if extension.oid == ID_CE_BASIC_CONSTRAINTS
            && let Ok(constraints) = only(extension.value, SEQUENCE, "basicConstraints")
            && let Ok(Some(ca)) = Reader(constraints.value).optional(BOOLEAN)
            && ca.value == [0]
        {
            return Err("cA FALSE in basicConstraints".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::{ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS};
    use policies::ProfileKind;

    use crate::lint::example::Example;

    #[test]
    fn good() {
        let mut example = Example::new(ProfileKind::Issuing);
        assert!(example.extension(ID_CE_AUTHORITY_KEY_IDENTIFIER).critical.is_empty());
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let mut example = Example::new(ProfileKind::Issuing);
        example.extension(ID_CE_AUTHORITY_KEY_IDENTIFIER).critical = vec![1, 1, 0];
        assert_eq!(example.refused_by(), ["default_omitted"]);
    }

    #[test]
    fn bad_where_it_cannot_be_alone() {
        // cA FALSE is not what any kind has, so its own lint refuses too.
        let example = Example::new(ProfileKind::Issuing).holding(ID_CE_BASIC_CONSTRAINTS, b"\x30\x03\x01\x01\x00");
        assert_eq!(example.refused_by(), ["default_omitted", "basic_constraints"]);
    }
}
