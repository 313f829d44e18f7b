//! Only a root has the name of its issuer: a chain never loops, and pathLenConstraint counts every CA below the root.

use policies::ProfileKind;

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "self_issued",
    citation: "RFC 5280 §3.2, §4.2.1.9, §6.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    match (
        case.promise.kind == ProfileKind::Root,
        case.tbs.subject == case.tbs.issuer,
    ) {
        (true, false) => Err("a root whose issuer is another".into()),
        (false, true) => Err("subject and issuer are the same".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc4519::CN;
    use policies::ProfileKind;

    use crate::encode::UTF8_STRING;
    use crate::lint::example::{Example, name};

    #[test]
    fn good() {
        let example = Example::new(ProfileKind::Root);
        assert_eq!(example.subject, example.issuer_name);
        assert!(example.refused_by().is_empty());
        let example = Example::new(ProfileKind::Issuing);
        assert_ne!(example.subject, example.issuer_name);
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let mut example = Example::new(ProfileKind::Issuing);
        example.subject = example.issuer_name.clone();
        assert_eq!(example.refused_by(), ["self_issued"]);
        let mut example = Example::new(ProfileKind::Root);
        example.subject = name(&[(CN, UTF8_STRING, "Somebody else")]);
        assert_eq!(example.refused_by(), ["self_issued"]);
    }
}
