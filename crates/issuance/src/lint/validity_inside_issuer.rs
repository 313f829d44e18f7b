//! Nothing is valid before or after its issuer, except initial identities: those outlive it by design, but begin before
//! its end.

use policies::Validity;

use super::{Case, Lint};
use crate::corridor::fits_issuer;
use crate::view::time;

pub(super) const LINT: Lint = Lint {
    name: "validity_inside_issuer",
    citation: "RFC 5280 §6.1.3 (a)(2), IEEE 802.1AR-2018 §8",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let (Ok(not_before), Ok(not_after)) = (time(case.tbs.not_before), time(case.tbs.not_after)) else {
        return Ok(());
    };
    if fits_issuer(case.promise.kind, Validity { not_before, not_after }, case.issuer) {
        Ok(())
    } else {
        Err(format!(
            "{}..={} is not inside {}..={}",
            not_before.0, not_after.0, case.issuer.not_before.0, case.issuer.not_after.0
        ))
    }
}

#[cfg(test)]
mod tests {
    use attest::UnixTime;
    use policies::ProfileKind;

    use crate::fixture::{DAY, KINDS, NOW};
    use crate::lint::example::Example;

    #[test]
    fn good() {
        for kind in KINDS {
            assert!(Example::new(kind).refused_by().is_empty());
        }
        let mut example = Example::new(ProfileKind::Service);
        example.issuer.not_before = UnixTime(NOW);
        example.issuer.not_after = UnixTime(NOW + 7 * DAY - 1);
        assert!(example.refused_by().is_empty());
        let mut example = Example::new(ProfileKind::DeviceIdevid);
        example.issuer.not_after = UnixTime(NOW);
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        for (first, last) in [(NOW + 1, NOW + 7 * DAY - 1), (NOW, NOW + 7 * DAY - 2)] {
            let mut example = Example::new(ProfileKind::Service);
            example.issuer.not_before = UnixTime(first);
            example.issuer.not_after = UnixTime(last);
            assert_eq!(example.refused_by(), ["validity_inside_issuer"]);
        }
        for kind in [ProfileKind::DeviceIdevid, ProfileKind::DeviceIak] {
            let mut example = Example::new(kind);
            example.issuer.not_after = UnixTime(NOW - 1);
            assert_eq!(example.refused_by(), ["validity_inside_issuer"]);
        }
    }
}
