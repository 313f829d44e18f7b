//! An entry has a reasonCode and no other extension: one of RFC 5280's, never unspecified, not critical; removeFromCRL in
//! delta CRLs only.

use const_oid::db::rfc5280::ID_CE_DELTA_CRL_INDICATOR;

use super::{Case, Lint};
use crate::crl::view::EntryView;
use crate::crl::{Mark, RevocationReason};

pub(super) const LINT: Lint = Lint {
    name: "crl_reasons",
    citation: "RFC 5280 §5.3, §5.3.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let delta = case.tbs.extension(&ID_CE_DELTA_CRL_INDICATOR).is_some();
    for entry in case.tbs.entries() {
        let entry = entry.map_err(|e| e.to_string())?;
        one(entry, delta).map_err(|e| format!("serial {}: {e}", hex::encode(entry.serial)))?;
    }
    Ok(())
}

fn one(entry: EntryView<'_>, delta: bool) -> Result<(), String> {
    let mark = entry.mark().map_err(|e| e.to_string())?;
    let extensions = entry.extensions().map_err(|e| e.to_string())?;
    let Some(reason) = extensions.first() else {
        return Ok(());
    };
    if reason.is_critical() {
        return Err("a critical reasonCode".into());
    }
    match mark {
        Mark::Revoked(RevocationReason::Unspecified) => Err("unspecified is said by leaving it out".into()),
        Mark::Removed if !delta => Err("removeFromCRL in a complete CRL".into()),
        Mark::Removed | Mark::Revoked(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::{ID_CE_CRL_REASONS, ID_CE_INVALIDITY_DATE};

    use crate::crl::lint::example::Example;
    use crate::crl::{Mark, RevocationReason};
    use crate::encode::{SEQUENCE, tlv};
    use crate::tbs::extension;

    const LINT: [&str; 1] = ["crl_reasons"];

    /// Entry 0 with these extensions; what was asked for agrees, if it can.
    fn refused(mut example: Example, extensions: &[u8], mark: Mark) -> Vec<&'static str> {
        example.entry(0).extensions = tlv(SEQUENCE, &[extensions]);
        example.promise.entries[0].mark = mark;
        example.refused_by()
    }
    fn reason(code: u8) -> Vec<u8> {
        extension(&ID_CE_CRL_REASONS, false, &[0x0a, 1, code])
    }

    #[test]
    fn good() {
        for why in RevocationReason::ALL {
            if why != RevocationReason::Unspecified {
                let refused = refused(Example::complete(), &reason(why.code()), Mark::Revoked(why));
                assert!(refused.is_empty(), "{why:?}");
            }
        }
        assert!(refused(Example::delta(), &reason(8), Mark::Removed).is_empty());
    }

    #[test]
    fn bad() {
        let unspecified = Mark::Revoked(RevocationReason::Unspecified);
        assert_eq!(refused(Example::complete(), &reason(0), unspecified), LINT);
        assert_eq!(refused(Example::complete(), &reason(8), Mark::Removed), LINT);
        for code in [7, 11, 0x7f, 0xff] {
            assert_eq!(refused(Example::complete(), &reason(code), unspecified), LINT, "{code}");
        }
        let compromise = Mark::Revoked(RevocationReason::KeyCompromise);
        let critical = extension(&ID_CE_CRL_REASONS, true, &[0x0a, 1, 1]);
        assert_eq!(refused(Example::complete(), &critical, compromise), LINT);
        let twice = [reason(1), reason(1)].concat();
        assert_eq!(refused(Example::complete(), &twice, compromise), LINT);
        let date = extension(&ID_CE_INVALIDITY_DATE, false, b"\x18\x0f20261101000000Z");
        assert_eq!(refused(Example::complete(), &date, unspecified), LINT);
        assert_eq!(
            refused(Example::complete(), &[reason(1), date].concat(), compromise),
            LINT
        );
        // An INTEGER, two octets, nothing.
        for value in [&[2, 1, 1][..], &[0x0a, 2, 1, 1], &[]] {
            let odd = extension(&ID_CE_CRL_REASONS, false, value);
            assert_eq!(refused(Example::complete(), &odd, compromise), LINT, "{value:?}");
        }
    }
}
