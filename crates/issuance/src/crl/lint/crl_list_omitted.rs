//! An empty list is left out, and so are the extensions of an entry that has none.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "crl_list_omitted",
    citation: "RFC 5280 §5.1.2.6, A.1 (Extensions SIZE (1..MAX))",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    if case.tbs.revoked.is_some_and(<[u8]>::is_empty) {
        return Err("an empty revokedCertificates".into());
    }
    for entry in case.tbs.entries() {
        let entry = entry.map_err(|e| e.to_string())?;
        if entry.extensions.is_some_and(<[u8]>::is_empty) {
            return Err(format!("serial {}: empty extensions", hex::encode(entry.serial)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::crl::lint::example::Example;

    #[test]
    fn good() {
        let example = Example::empty();
        assert!(example.entries.is_none());
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let mut example = Example::empty();
        example.entries = Some(vec![]);
        assert_eq!(example.refused_by(), ["crl_list_omitted"]);
        let mut example = Example::complete();
        let unspecified = (0..3).find(|n| example.entry(*n).extensions.is_empty()).unwrap();
        example.entry(unspecified).extensions = b"\x30\x00".to_vec();
        assert_eq!(example.refused_by(), ["crl_list_omitted"]);
    }
}
