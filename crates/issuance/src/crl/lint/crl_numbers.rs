//! cRLNumber is the number drawn for this CRL; deltaCRLIndicator is there on a delta only, with the number of its base,
//! a smaller one.

use const_oid::db::rfc5280::{ID_CE_CRL_NUMBER, ID_CE_DELTA_CRL_INDICATOR};

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "crl_numbers",
    citation: "RFC 5280 §5.2.3, §5.2.4",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let number = case.tbs.number(&ID_CE_CRL_NUMBER).map_err(|e| e.to_string())?;
    let base = case.tbs.number(&ID_CE_DELTA_CRL_INDICATOR).map_err(|e| e.to_string())?;
    if number != Some(case.promise.number) {
        return Err(format!("cRLNumber is {number:?}, not {}", case.promise.number));
    }
    if base != case.promise.base {
        return Err(format!("base is {base:?}, not {:?}", case.promise.base));
    }
    if base >= number {
        return Err("the base is not before the delta".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::{ID_CE_CRL_NUMBER, ID_CE_DELTA_CRL_INDICATOR};

    use crate::crl::CrlNumber;
    use crate::crl::lint::example::Example;

    const LINT: [&str; 1] = ["crl_numbers"];

    #[test]
    fn good() {
        let mut example = Example::delta().holding(ID_CE_CRL_NUMBER, b"\x02\x02\x01\x2d");
        example.promise.number = CrlNumber::new(301).unwrap();
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        assert_eq!(Example::complete().without(ID_CE_CRL_NUMBER).refused_by(), LINT);
        for number in [
            &b"\x02\x02\x01\x2d"[..],
            b"\x02\x01\x05",
            b"\x02\x01\xff",
            b"\x02\x15\x01",
        ] {
            let mut value = number.to_vec();
            value.resize(usize::from(number[1]) + 2, 0);
            let example = Example::complete().holding(ID_CE_CRL_NUMBER, &value);
            assert_eq!(example.refused_by(), LINT, "{value:?}");
        }
        // A delta that is to be none, one that is not to be one, one on another base, one on itself.
        let mut example = Example::delta();
        example.promise.base = None;
        assert_eq!(example.refused_by(), LINT);
        let mut example = Example::complete();
        example.promise.base = CrlNumber::new(299);
        assert_eq!(example.refused_by(), LINT);
        let example = Example::delta().holding(ID_CE_DELTA_CRL_INDICATOR, b"\x02\x02\x01\x2a");
        assert_eq!(example.refused_by(), LINT);
        let mut example = Example::delta().holding(ID_CE_DELTA_CRL_INDICATOR, b"\x02\x02\x01\x2c");
        example.promise.base = CrlNumber::new(300);
        assert_eq!(example.refused_by(), LINT);
    }
}
