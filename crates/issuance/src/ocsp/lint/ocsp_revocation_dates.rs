//! revocationTime is not after thisUpdate: nothing is revoked in the future.

use super::{Case, Lint};
use crate::ocsp::CertStatus;

pub(super) const LINT: Lint = Lint {
    name: "ocsp_revocation_dates",
    citation: "RFC 6960 §2.4",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    // The bytes say what is promised, or another lint refuses.
    for answer in &case.promise.answers {
        if let CertStatus::Revoked { since, .. } = answer.status
            && since > case.promise.this_update
        {
            return Err(format!("{} is revoked after thisUpdate", answer.id.serial.hex()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use attest::UnixTime;
    use wire::revocation::RevocationReason;

    use crate::fixture::NOW;
    use crate::ocsp::CertStatus;
    use crate::ocsp::lint::example::{Example, ocsp_spec, revoked};

    fn at(since: i64) -> Example {
        let reason = RevocationReason::Superseded;
        let mut answer = revoked(1, reason);
        answer.status = CertStatus::Revoked {
            since: UnixTime(since),
            reason,
        };
        Example::of(ocsp_spec(vec![answer]))
    }

    #[test]
    fn good() {
        assert!(at(NOW).refused_by().is_empty());
    }

    #[test]
    fn bad() {
        assert_eq!(at(NOW + 1).refused_by(), ["ocsp_revocation_dates"]);
    }
}
