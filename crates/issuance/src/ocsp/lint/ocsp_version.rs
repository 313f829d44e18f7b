//! v1 is the default, so it is left out.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "ocsp_version",
    citation: "RFC 6960 §4.2.1, X.690 §11.5",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    match case.tbs.version {
        None => Ok(()),
        Some(version) => Err(format!("version {}", hex::encode(version))),
    }
}

#[cfg(test)]
mod tests {
    use crate::ocsp::lint::example::Example;

    #[test]
    fn good() {
        assert!(Example::good().version.is_empty());
        assert!(Example::good().refused_by().is_empty());
    }

    #[test]
    fn bad() {
        for version in [b"\xa0\x03\x02\x01\x00", b"\xa0\x03\x02\x01\x01"] {
            let mut example = Example::good();
            example.version = version.to_vec();
            assert_eq!(example.refused_by(), ["ocsp_version"]);
        }
    }
}
