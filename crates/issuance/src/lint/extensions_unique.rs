//! No extension twice.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "extensions_unique",
    citation: "RFC 5280 §4.2",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let extensions = &case.tbs.extensions;
    let twice = extensions
        .iter()
        .enumerate()
        .find(|(n, a)| extensions.iter().take(*n).any(|b| a.oid == b.oid));
    twice.map_or(Ok(()), |(_, a)| Err(format!("extension {} twice", a.oid)))
}

#[cfg(test)]
mod tests {
    use policies::ProfileKind;

    use crate::lint::example::Example;

    #[test]
    fn good() {
        assert!(Example::new(ProfileKind::DeviceLdevid).refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let count = Example::new(ProfileKind::DeviceLdevid).extensions.len();
        for n in 0..count {
            let mut example = Example::new(ProfileKind::DeviceLdevid);
            example.extensions.push(example.extensions[n].clone());
            assert_eq!(
                example.refused_by(),
                ["extensions_unique"],
                "{}",
                example.extensions[n].oid
            );
        }
    }
}
