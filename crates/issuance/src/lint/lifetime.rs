//! The lifetime is the profile's to the second, the first and the last second included.

use policies::Validity;

use super::{Case, Lint};
use crate::view::time;

pub(super) const LINT: Lint = Lint {
    name: "lifetime",
    citation: "RFC 5280 §4.1.2.5 (both ends inclusive), docs/reference/profiles.md",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let (Ok(before), Ok(after)) = (time(case.tbs.not_before), time(case.tbs.not_after)) else {
        return Ok(());
    };
    // Both are in 1950..=9999: the difference and the one more second fit.
    let seconds = after.0 - before.0 + 1;
    match case.promise.lifetime {
        Some(promised) if seconds == promised => Ok(()),
        Some(promised) => Err(format!("{seconds} s, the profile says {promised} s")),
        None if after == Validity::NEVER => Ok(()),
        None => Err("the profile says never, the certificate does not".into()),
    }
}

#[cfg(test)]
mod tests {
    use attest::UnixTime;
    use policies::ProfileKind;

    use crate::encode::time;
    use crate::fixture::{DAY, NOW};
    use crate::lint::example::Example;

    fn refused(seconds: i64) -> Vec<&'static str> {
        let mut example = Example::new(ProfileKind::Service);
        example.not_after = time(UnixTime(NOW + seconds)).unwrap();
        example.refused_by()
    }

    #[test]
    fn good() {
        assert!(refused(7 * DAY - 1).is_empty());
    }

    #[test]
    fn bad() {
        // The whole week after the first second is one second too long (Boulder, June 2021).
        assert_eq!(refused(7 * DAY), ["lifetime"]);
        assert_eq!(refused(7 * DAY - 2), ["lifetime"]);
    }

    #[test]
    fn bad_never() {
        let mut example = Example::new(ProfileKind::DeviceIak);
        example.not_after = time(UnixTime(NOW + DAY)).unwrap();
        assert_eq!(example.refused_by(), ["lifetime"]);
    }
}
