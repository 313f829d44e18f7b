//! The certified key is not the issuer's own, except a root's.

use policies::ProfileKind;

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "public_key_not_issuers",
    citation: "RFC 5280 §3.2, §6.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    match (
        case.promise.kind == ProfileKind::Root,
        case.tbs.spki == case.issuer.spki,
    ) {
        (true, false) => Err("a root that certifies another key".into()),
        (false, true) => Err("the issuer's own key".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use policies::ProfileKind;

    use crate::fixture::leaf_spki;
    use crate::lint::example::Example;

    #[test]
    fn good() {
        let example = Example::new(ProfileKind::Root);
        assert_eq!(example.spki, example.issuer.spki);
        assert!(example.refused_by().is_empty());
        let example = Example::new(ProfileKind::Service);
        assert_ne!(example.spki, example.issuer.spki);
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let mut example = Example::new(ProfileKind::Service);
        example.spki = example.issuer.spki.clone();
        assert_eq!(example.refused_by(), ["public_key_not_issuers"]);
        let mut example = Example::new(ProfileKind::Root);
        example.issuer.spki = leaf_spki();
        assert_eq!(example.refused_by(), ["public_key_not_issuers"]);
    }
}
