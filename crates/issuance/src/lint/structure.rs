//! The bytes are a `TBSCertificate` at all: nothing missing, nothing after the end, no unique identifiers.

use super::Finding;
use crate::view::Malformed;

pub(super) const NAME: &str = "structure";
pub(super) const CITATION: &str = "RFC 5280 §4.1, §4.1.2.8";

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
    use policies::ProfileKind;

    use crate::encode::{context, context_constructed, tlv};
    use crate::lint::example::Example;

    #[test]
    fn good() {
        assert!(Example::new(ProfileKind::Service).refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let mut example = Example::new(ProfileKind::Service);
        let good = example.encode();
        for length in 0..good.len() {
            assert_eq!(example.refused_as(&good[..length]), ["structure"], "cut at {length}");
        }
        assert_eq!(example.refused_as(&[&good[..], &[0]].concat()), ["structure"]);
        // issuerUniqueID after the key
        example.spki.extend(tlv(context(1), &[&[0, 1]]));
        assert_eq!(example.refused_by(), ["structure"]);
        // an RDN of nothing
        let mut example = Example::new(ProfileKind::Service);
        example.subject = b"\x30\x02\x31\x00".to_vec();
        assert_eq!(example.refused_by(), ["structure"]);
        // indefinite length
        let mut example = Example::new(ProfileKind::Service);
        example.not_before = b"\x37\x80\x17\x0d261122120000Z\0\0".to_vec();
        assert_eq!(example.refused_by(), ["structure"]);
        assert_eq!(
            example.refused_as(&tlv(context_constructed(0), &[&good])),
            ["structure"]
        );
    }
}
