//! A rehearsal's CA certificates are marked, and so is every CA below one that is; nothing else is.

use attest::rot::ID_REHEARSAL;

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "rehearsal_marker",
    citation: "docs/reference/rot-binding.md",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let must = case.promise.kind.is_ca() && (case.promise.rehearsal || case.issuer.rehearsal);
    match (must, case.tbs.extension(&ID_REHEARSAL)) {
        (true, None) => Err("missing on a rehearsal's CA".into()),
        (false, Some(_)) => Err("on what is not a rehearsal's CA".into()),
        (true, Some(marker)) if marker.value != [5, 0] => Err(format!("{} is not NULL", hex::encode(marker.value))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use attest::rot::ID_REHEARSAL;
    use policies::ProfileKind;

    use crate::lint::example::Example;

    const LINT: [&str; 1] = ["rehearsal_marker"];

    fn rehearsal(kind: ProfileKind) -> Example {
        Example::with(kind, |spec| spec.promise.rehearsal = true)
    }

    #[test]
    fn good() {
        for kind in [ProfileKind::Root, ProfileKind::Issuing, ProfileKind::Cross] {
            let mut example = rehearsal(kind);
            assert_eq!(example.extension(ID_REHEARSAL).value, [5, 0]);
            assert!(example.refused_by().is_empty());
        }
        let mut leaf = Example::new(ProfileKind::Service);
        leaf.issuer.rehearsal = true;
        assert!(leaf.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        for kind in [ProfileKind::Root, ProfileKind::Issuing, ProfileKind::Cross] {
            assert_eq!(rehearsal(kind).without(ID_REHEARSAL).refused_by(), LINT);
            assert_eq!(rehearsal(kind).holding(ID_REHEARSAL, &[4, 0]).refused_by(), LINT);
            assert_eq!(Example::new(kind).and(ID_REHEARSAL, &[5, 0]).refused_by(), LINT);
        }
        assert_eq!(
            Example::new(ProfileKind::Service)
                .and(ID_REHEARSAL, &[5, 0])
                .refused_by(),
            LINT
        );
        // A CA that does not say so below one that does.
        let mut below = Example::new(ProfileKind::Issuing);
        below.issuer.rehearsal = true;
        assert_eq!(below.refused_by(), LINT);
    }
}
