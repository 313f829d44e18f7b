//! thisUpdate lies in the issuer's life: a CA that has expired says nothing. nextUpdate may lie after it.

use super::{Case, Lint};
use crate::view::time;

pub(super) const LINT: Lint = Lint {
    name: "crl_inside_issuer",
    citation: "RFC 5280 §6.3.3 (f), §6.1.3 (a)(2)",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    match time(case.tbs.this_update) {
        Ok(at) if at < case.issuer.not_before => Err("thisUpdate is before the issuer's validity".into()),
        Ok(at) if at > case.issuer.not_after => Err("thisUpdate is after the issuer's validity".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::crl::lint::example::Example;

    #[test]
    fn good() {
        let example = Example::empty();
        let (first, last) = (example.issuer.not_before.0, example.issuer.not_after.0);
        for at in [first, last] {
            assert!(Example::empty().lasting(at, at + 9).refused_by().is_empty());
        }
    }

    #[test]
    fn bad() {
        let example = Example::empty();
        let (first, last) = (example.issuer.not_before.0, example.issuer.not_after.0);
        for at in [first - 1, last + 1] {
            assert_eq!(Example::empty().lasting(at, at + 9).refused_by(), ["crl_inside_issuer"]);
        }
    }
}
