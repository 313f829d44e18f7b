//! v2, since there are extensions.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "crl_version",
    citation: "RFC 5280 §5.1.2.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    match case.tbs.version {
        Some([1]) => Ok(()),
        Some(other) => Err(format!("version is {}, not 1", hex::encode(other))),
        None => Err("no version: v1".into()),
    }
}

#[cfg(test)]
mod tests {
    use crate::crl::lint::example::Example;

    #[test]
    fn good() {
        assert_eq!(Example::complete().version, [2, 1, 1]);
    }

    #[test]
    fn bad() {
        for version in [&b""[..], &[2, 1, 0], &[2, 1, 2], &[2, 2, 1, 1]] {
            let mut example = Example::complete();
            example.version = version.to_vec();
            assert_eq!(example.refused_by(), ["crl_version"], "{version:?}");
        }
    }
}
