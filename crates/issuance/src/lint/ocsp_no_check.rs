//! An OCSP responder says that nobody need ask whether it is revoked itself; nothing else says so.

use const_oid::db::rfc6960::ID_PKIX_OCSP_NOCHECK;
use policies::ProfileKind;

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "ocsp_no_check",
    citation: "RFC 6960 §4.2.2.2.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let must = case.promise.kind == ProfileKind::Ocsp;
    match (must, case.tbs.extension(&ID_PKIX_OCSP_NOCHECK)) {
        (true, None) => Err("missing on a responder".into()),
        (false, Some(_)) => Err("on what is no responder".into()),
        (true, Some(found)) if found.value != [5, 0] => Err(format!("{} is not NULL", hex::encode(found.value))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc6960::ID_PKIX_OCSP_NOCHECK;
    use policies::ProfileKind;

    use crate::fixture::KINDS;
    use crate::lint::example::Example;

    const LINT: [&str; 1] = ["ocsp_no_check"];

    #[test]
    fn good() {
        let mut example = Example::new(ProfileKind::Ocsp);
        assert_eq!(example.extension(ID_PKIX_OCSP_NOCHECK).value, [5, 0]);
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let responder = || Example::new(ProfileKind::Ocsp);
        assert_eq!(responder().without(ID_PKIX_OCSP_NOCHECK).refused_by(), LINT);
        for value in [&[4, 0][..], &[5, 0, 5, 0], &[]] {
            assert!(
                responder()
                    .holding(ID_PKIX_OCSP_NOCHECK, value)
                    .refused_by()
                    .contains(&LINT[0])
            );
        }
        for kind in KINDS.into_iter().filter(|kind| *kind != ProfileKind::Ocsp) {
            assert_eq!(Example::new(kind).and(ID_PKIX_OCSP_NOCHECK, &[5, 0]).refused_by(), LINT);
        }
    }
}
