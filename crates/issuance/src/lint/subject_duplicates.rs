//! No attribute twice: readers differ on which one counts.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "subject_duplicates",
    citation: "RFC 5280 §4.1.2.4, X.501 §9.3",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let attributes = &case.tbs.attributes;
    let twice = attributes
        .iter()
        .enumerate()
        .find(|(n, a)| attributes.iter().take(*n).any(|b| a.oid == b.oid));
    twice.map_or(Ok(()), |(_, a)| Err(format!("attribute {} twice", a.oid)))
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc4519::{O, SERIAL_NUMBER};
    use policies::ProfileKind;

    use crate::encode::{PRINTABLE_STRING, UTF8_STRING};
    use crate::lint::example::{Example, name};

    #[test]
    fn good() {
        let mut example = Example::new(ProfileKind::DeviceLdevid);
        example.subject = name(&[(O, UTF8_STRING, "7"), (SERIAL_NUMBER, PRINTABLE_STRING, "7")]);
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let mut example = Example::new(ProfileKind::DeviceLdevid);
        let serial = |value| (SERIAL_NUMBER, PRINTABLE_STRING, value);
        for subject in [
            vec![serial("7"), serial("8")],
            vec![serial("7"), (O, UTF8_STRING, "x"), serial("7")],
        ] {
            example.subject = name(&subject);
            assert_eq!(example.refused_by(), ["subject_duplicates"]);
        }
    }
}
