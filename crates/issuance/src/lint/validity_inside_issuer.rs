//! Nothing is valid before or after its issuer, except initial identities: those outlive it by design.

use super::{Case, Lint};
use crate::corridor::outlives_issuer;
use crate::view::time;

pub(super) const LINT: Lint = Lint {
    name: "validity_inside_issuer",
    citation: "RFC 5280 §6.1.3 (a)(2), IEEE 802.1AR-2018 §8",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let (Ok(before), Ok(after)) = (time(case.tbs.not_before), time(case.tbs.not_after)) else {
        return Ok(());
    };
    let (first, last) = (case.issuer.not_before, case.issuer.not_after);
    if outlives_issuer(case.promise.kind) || (first <= before && after <= last) {
        Ok(())
    } else {
        Err(format!(
            "{}..={} is not inside {}..={}",
            before.0, after.0, first.0, last.0
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
        example.issuer.not_after = UnixTime(NOW + 1);
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
    }
}
