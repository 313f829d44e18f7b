//! DER, not merely BER; inside the extensions too. Critical FALSE is left out.

use super::{Case, Lint};
use crate::lint::der_canonical::{DEEPEST, walk};

pub(super) const LINT: Lint = Lint {
    name: "ocsp_der_canonical",
    citation: "RFC 6960 §4.2.1, X.690 §10, §11",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    walk(case.tbs.raw, DEEPEST)?;
    case.tbs.extensions.iter().try_for_each(|extension| {
        if extension.critical == Some(&[0]) {
            return Err(format!("{} says that it is not critical", extension.oid));
        }
        walk(extension.value, DEEPEST).map_err(|e| format!("in {}: {e}", extension.oid))
    })
}

#[cfg(test)]
mod tests {
    use crate::ocsp::lint::example::Example;

    const LINT: [&str; 1] = ["ocsp_der_canonical"];

    #[test]
    fn good() {
        assert!(Example::several().refused_by().is_empty());
    }

    #[test]
    fn bad() {
        // A length in two octets where one is enough: in a date, a status, and inside the nonce.
        let mut example = Example::good();
        example.produced_at = [b"\x18\x81\x0f", &example.produced_at[2..]].concat();
        assert_eq!(example.refused_by(), LINT);
        let mut example = Example::good();
        example.answers[0].status = b"\x80\x81\x00".to_vec();
        assert_eq!(example.refused_by(), LINT);
        let mut example = Example::revoked();
        let nonce = &mut example.extensions[0].value;
        *nonce = [b"\x04\x81", &nonce[1..]].concat();
        assert_eq!(example.refused_by(), LINT);
        // A flag that is the default.
        let mut example = Example::revoked();
        example.extensions[0].critical = vec![1, 1, 0];
        assert_eq!(example.refused_by(), LINT);
    }
}
