//! v3, since there are extensions.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "version",
    citation: "RFC 5280 §4.1.2.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    match case.tbs.version {
        Some(b"\x02\x01\x02") => Ok(()),
        Some(other) => Err(format!("version {}", hex::encode(other))),
        None => Err("v1".into()),
    }
}

#[cfg(test)]
mod tests {
    use policies::ProfileKind;

    use crate::lint::example::Example;

    #[test]
    fn good() {
        let example = Example::new(ProfileKind::Service);
        assert_eq!(example.version.as_deref(), Some(&b"\x02\x01\x02"[..]));
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        for version in [None, Some(b"\x02\x01\x01"), Some(b"\x02\x01\x03")] {
            let mut example = Example::new(ProfileKind::Service);
            example.version = version.map(|v| v.to_vec());
            assert_eq!(example.refused_by(), ["version"]);
        }
    }
}
