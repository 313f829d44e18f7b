//! notBefore is not after notAfter.

use super::{Case, Lint};
use crate::view::time;

pub(super) const LINT: Lint = Lint {
    name: "validity_order",
    citation: "RFC 5280 §4.1.2.5",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    match (time(case.tbs.not_before), time(case.tbs.not_after)) {
        (Ok(before), Ok(after)) if before > after => Err(format!("from {} to {}", before.0, after.0)),
        // What cannot be read is `time_encoding`'s.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use attest::UnixTime;
    use policies::ProfileKind;

    use crate::encode::time;
    use crate::fixture::NOW;
    use crate::lint::example::Example;

    fn refused(seconds: i64) -> Vec<&'static str> {
        let mut example = Example::new(ProfileKind::Service);
        example.not_before = time(UnixTime(NOW + 60)).unwrap();
        example.not_after = time(UnixTime(NOW + 60 + seconds)).unwrap();
        example.promise.lifetime = Some(seconds + 1);
        example.refused_by()
    }

    #[test]
    fn good() {
        assert!(refused(0).is_empty());
    }

    #[test]
    fn bad() {
        assert_eq!(refused(-1), ["validity_order"]);
    }
}
