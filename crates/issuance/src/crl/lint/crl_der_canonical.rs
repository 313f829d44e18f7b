//! DER, not merely BER; inside the extensions too. Critical FALSE is left out.

use super::{Case, Lint};
use crate::lint::der_canonical::{DEEPEST, walk};
use crate::view::Extension;

pub(super) const LINT: Lint = Lint {
    name: "crl_der_canonical",
    citation: "RFC 5280 §5.1, X.690 §10, §11",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    walk(case.tbs.raw, DEEPEST)?;
    case.tbs.extensions.iter().try_for_each(inside)?;
    for entry in case.tbs.entries() {
        let entry = entry.map_err(|e| e.to_string())?;
        let extensions = entry.extensions().map_err(|e| e.to_string())?;
        extensions
            .iter()
            .try_for_each(inside)
            .map_err(|e| format!("serial {}: {e}", hex::encode(entry.serial)))?;
    }
    Ok(())
}

fn inside(extension: &Extension<'_>) -> Result<(), String> {
    if extension.critical == Some(&[0]) {
        return Err(format!("{} says that it is not critical", extension.oid));
    }
    walk(extension.value, DEEPEST).map_err(|e| format!("in {}: {e}", extension.oid))
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::{ID_CE_CRL_NUMBER, ID_CE_ISSUING_DISTRIBUTION_POINT};

    use crate::crl::lint::example::Example;

    const LINT: [&str; 1] = ["crl_der_canonical"];

    #[test]
    fn good() {
        assert!(Example::delta().refused_by().is_empty());
    }

    #[test]
    fn bad() {
        // A length in two octets where one is enough: in a date, and inside an extension.
        let mut example = Example::sharded();
        example.this_update = [b"\x17\x81\x0d", &example.this_update[2..]].concat();
        assert_eq!(example.refused_by(), LINT);
        let mut example = Example::sharded();
        let point = example.extension(ID_CE_ISSUING_DISTRIBUTION_POINT);
        point.value = [b"\x30\x81", &point.value[1..]].concat();
        assert_eq!(example.refused_by(), LINT);
        // The same in the reason of an entry, after its tag 0a.
        let mut example = Example::sharded();
        let good = &example.entry(1).extensions;
        assert_eq!(good.len(), 14);
        let long = [b"\x30\x0d\x30\x0b", &good[4..9], b"\x04\x04\x0a\x81\x01", &good[13..]].concat();
        example.entry(1).extensions = long;
        assert_eq!(example.refused_by(), LINT);
        // A flag that is true in BER only, and one that is the default.
        for flag in [[1, 1, 1], [1, 1, 0]] {
            let mut example = Example::sharded();
            let oid = if flag[2] == 1 {
                ID_CE_ISSUING_DISTRIBUTION_POINT
            } else {
                ID_CE_CRL_NUMBER
            };
            example.extension(oid).critical = flag.to_vec();
            assert_eq!(example.refused_by(), LINT, "{flag:?}");
        }
    }
}
