//! producedAt, and thisUpdate and nextUpdate of every answer, are the moments asked for.

use super::{Case, Lint};
use crate::view::time;

pub(super) const LINT: Lint = Lint {
    name: "ocsp_times_promised",
    citation: "RFC 6960 §2.4",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    // What cannot be read as a time is refused by the lint for that; a missing nextUpdate by the one for the order.
    if time(case.tbs.produced_at).is_ok_and(|at| at != case.promise.produced_at) {
        return Err("another producedAt".into());
    }
    for answer in &case.tbs.answers {
        if time(answer.this_update).is_ok_and(|at| at != case.promise.this_update) {
            return Err("another thisUpdate".into());
        }
        let next = answer.next_update.and_then(|element| time(element).ok());
        if next.is_some_and(|at| at != case.promise.next_update) {
            return Err("another nextUpdate".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use attest::UnixTime;

    use crate::encode::generalized_time;
    use crate::fixture::NOW;
    use crate::ocsp::lint::example::{Example, HOURS_12};

    const LINT: [&str; 1] = ["ocsp_times_promised"];

    #[test]
    fn good() {
        assert!(Example::several().refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let at = |seconds| generalized_time(UnixTime(seconds)).unwrap();
        let mut example = Example::good();
        example.produced_at = at(NOW + 1);
        assert_eq!(example.refused_by(), LINT);
        for n in 0..3 {
            let mut example = Example::several();
            example.answers[n].this_update = at(NOW - 1);
            assert_eq!(example.refused_by(), LINT);
            for shift in [-1, 1] {
                let mut example = Example::several();
                example.answers[n].next_update = at(NOW + HOURS_12 + shift);
                assert_eq!(example.refused_by(), LINT);
            }
        }
    }
}
