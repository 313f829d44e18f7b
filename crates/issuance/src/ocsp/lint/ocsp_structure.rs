//! The bytes are a `ResponseData` at all: nothing missing, nothing after the end, and every answer is good or revoked.

use crate::lint::Finding;
use crate::view::Malformed;

pub(super) const NAME: &str = "ocsp_structure";
pub(super) const CITATION: &str = "RFC 6960 §4.2.1";

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
    use crate::ocsp::lint::example::Example;

    const LINT: [&str; 1] = ["ocsp_structure"];

    #[test]
    fn good() {
        assert!(Example::several().refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let example = Example::revoked();
        let good = example.encode();
        for length in 0..good.len() {
            assert_eq!(example.refused_as(&good[..length]), LINT, "cut at {length}");
        }
        assert_eq!(example.refused_as(&[&good[..], &[0]].concat()), LINT);
        // `unknown`, which this CA does not say; `good` with a content; no status.
        for status in [&b"\x82\x00"[..], b"\x80\x01\x00", b""] {
            let mut example = Example::good();
            example.answers[0].status = status.to_vec();
            assert_eq!(example.refused_by(), LINT, "{status:?}");
        }
        let mut example = Example::good();
        example.produced_at.clear();
        assert_eq!(example.refused_by(), LINT);
    }
}
