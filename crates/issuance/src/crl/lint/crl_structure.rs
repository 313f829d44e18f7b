//! The bytes are a `TBSCertList` at all: nothing missing, nothing after the end, and every entry can be read.

use crate::lint::Finding;
use crate::view::Malformed;

pub(super) const NAME: &str = "crl_structure";
pub(super) const CITATION: &str = "RFC 5280 §5.1, §5.1.2";

/// Without structure no other lint can run.
pub(super) fn finding(malformed: Malformed) -> Finding {
    Finding {
        lint: NAME,
        citation: CITATION,
        detail: malformed.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::crl::lint::example::Example;
    use crate::encode::{SEQUENCE, tlv};

    #[test]
    fn good() {
        assert!(Example::sharded().refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let mut example = Example::sharded();
        let good = example.encode();
        for length in 0..good.len() {
            assert_eq!(
                example.refused_as(&good[..length]),
                ["crl_structure"],
                "cut at {length}"
            );
        }
        assert_eq!(example.refused_as(&[&good[..], &[0]].concat()), ["crl_structure"]);
        // An entry with something after its extensions, and one without a date.
        let more = [&example.entry(1).extensions[..], b"\x05\x00"].concat();
        example.entry(1).extensions = more;
        assert_eq!(example.refused_by(), ["crl_structure"]);
        let mut example = Example::sharded();
        example.entry(0).date.clear();
        assert_eq!(example.refused_by(), ["crl_structure"]);
        // Entry extensions that are none.
        let mut example = Example::sharded();
        example.entry(0).extensions = tlv(SEQUENCE, &[b"\x05\x00"]);
        assert_eq!(example.refused_by(), ["crl_structure"]);
    }
}
