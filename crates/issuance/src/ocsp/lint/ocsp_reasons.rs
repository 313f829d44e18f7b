//! revocationReason is one of RFC 5280 without removeFromCRL, and left out rather than unspecified.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "ocsp_reasons",
    citation: "RFC 6960 §4.2.1, RFC 5280 §5.3.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    for answer in &case.tbs.answers {
        let Some(revoked) = answer.revoked().map_err(|e| e.to_string())? else {
            continue;
        };
        revoked.reason().map_err(|e| e.to_string())?;
        if revoked.reason == Some(&[0]) {
            return Err("unspecified, said".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wire::revocation::RevocationReason;

    use crate::encode::{ENUMERATED, context_constructed, tlv};
    use crate::ocsp::lint::example::{Example, ocsp_spec, revoked};

    const LINT: [&str; 1] = ["ocsp_reasons"];

    #[test]
    fn good() {
        for reason in RevocationReason::ALL {
            assert!(Example::of(ocsp_spec(vec![revoked(1, reason)])).refused_by().is_empty());
        }
    }

    #[test]
    fn bad() {
        for code in [7, 8, 11, 0xff] {
            let mut example = Example::revoked();
            *example.answers[0].status.last_mut().unwrap() = code;
            assert_eq!(example.refused_by(), LINT, "{code}");
        }
        let mut example = Example::several();
        let status = &mut example.answers[1].status;
        let zero = tlv(context_constructed(0), &[&tlv(ENUMERATED, &[&[0]])]);
        *status = tlv(context_constructed(1), &[&status[2..], &zero]);
        assert_eq!(example.refused_by(), LINT);
    }
}
