//! The issuer's name is the subject of its certificate byte for byte, string types included, and not empty.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "issuer_name",
    citation: "RFC 5280 §4.1.2.4, §4.1.2.6",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    if case.tbs.issuer == [0x30, 0] {
        Err("empty".into())
    } else if case.tbs.issuer != case.issuer.name {
        Err(format!(
            "{} is not {}",
            hex::encode(case.tbs.issuer),
            hex::encode(&case.issuer.name)
        ))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc4519::{CN, O};
    use policies::ProfileKind;

    use crate::encode::{PRINTABLE_STRING, UTF8_STRING};
    use crate::lint::example::{Example, name};

    #[test]
    fn good() {
        // Whatever the issuer calls itself is copied: here a PrintableString where we would write UTF8String.
        let mut example = Example::new(ProfileKind::Service);
        example.issuer.name = name(&[(O, PRINTABLE_STRING, "Old"), (CN, UTF8_STRING, "CA")]);
        example.issuer_name = example.issuer.name.clone();
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        // The same name to a person and to RFC 5280 §7.1, but not the same bytes.
        let mut example = Example::new(ProfileKind::Service);
        example.issuer.name = name(&[(CN, UTF8_STRING, "CA")]);
        example.issuer_name = name(&[(CN, PRINTABLE_STRING, "CA")]);
        assert_eq!(example.refused_by(), ["issuer_name"]);
        let mut example = Example::new(ProfileKind::DeviceLdevid);
        example.issuer_name = vec![0x30, 0];
        example.issuer.name = vec![0x30, 0];
        assert_eq!(example.refused_by(), ["issuer_name"]);
    }
}
