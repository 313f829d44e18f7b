//! The issuer's name is the subject of its certificate byte for byte, string types included.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "crl_issuer_name",
    citation: "RFC 5280 §5.1.2.3, §6.3.3 (b)",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    if case.tbs.issuer == case.issuer.name {
        Ok(())
    } else {
        Err("not the bytes of the issuer's subject".into())
    }
}

#[cfg(test)]
mod tests {
    use crate::crl::lint::example::Example;

    #[test]
    fn good() {
        let example = Example::complete();
        assert_eq!(example.issuer_name, example.issuer.name);
    }

    #[test]
    fn bad() {
        // The last letter of the common name, and the same name in another string type.
        let mut example = Example::complete();
        *example.issuer_name.last_mut().unwrap() ^= 1;
        assert_eq!(example.refused_by(), ["crl_issuer_name"]);
        let mut example = Example::complete();
        let at = example.issuer_name.windows(2).rposition(|w| w == [0x0c, 17]).unwrap();
        example.issuer_name[at] = 0x13;
        assert_eq!(example.refused_by(), ["crl_issuer_name"]);
        example.issuer_name = b"\x30\x00".to_vec();
        assert_eq!(example.refused_by(), ["crl_issuer_name"]);
    }
}
