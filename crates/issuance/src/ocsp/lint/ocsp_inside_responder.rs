//! The responder's certificate is valid from thisUpdate to nextUpdate: no answer outlives the right to give it.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "ocsp_inside_responder",
    citation: "RFC 6960 §4.2.2.2, RFC 9919 §3.2.3",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    // The bytes say what is promised, or another lint refuses.
    let promise = case.promise;
    if promise.this_update < case.responder.not_before {
        return Err("thisUpdate is before the responder's notBefore".into());
    }
    if promise.next_update > case.responder.not_after {
        return Err("nextUpdate is after the responder's notAfter".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::fixture::NOW;
    use crate::ocsp::lint::example::{Example, HOURS_12};

    #[test]
    fn good() {
        assert!(Example::good().valid(NOW, NOW + HOURS_12).refused_by().is_empty());
    }

    #[test]
    fn bad() {
        for (from, to) in [(NOW + 1, NOW + HOURS_12), (NOW, NOW + HOURS_12 - 1)] {
            assert_eq!(Example::good().valid(from, to).refused_by(), ["ocsp_inside_responder"]);
        }
    }
}
