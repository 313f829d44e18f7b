//! Lints for OCSP answers: one rule, one file, one citation; run over the bytes that will be signed.
//!
//! They know the responder and what the draft was asked to say, and read the bytes back.

#[cfg(test)]
pub(super) mod example;
mod ocsp_answers_promised;
mod ocsp_der_canonical;
mod ocsp_extensions;
mod ocsp_inside_responder;
mod ocsp_reasons;
mod ocsp_responder_id;
mod ocsp_revocation_dates;
mod ocsp_structure;
mod ocsp_time_encoding;
mod ocsp_times_promised;
mod ocsp_update_order;
mod ocsp_version;

use super::responder::ResponderFacts;
use super::statement::Statement;
use super::view::TbsResponse;
use crate::lint::{Finding, findings};

/// One rule.
struct Lint {
    /// Also the name of its file.
    name: &'static str,
    /// Clause.
    citation: &'static str,
    /// Says what is wrong. What another lint refuses is not refused here again.
    judge: fn(&Case<'_>) -> Result<(), String>,
}

/// What a lint looks at.
struct Case<'a> {
    tbs: &'a TbsResponse<'a>,
    promise: &'a Statement,
    responder: &'a ResponderFacts,
}

/// Every lint that runs on an answer whose structure could be read.
const ALL: &[Lint] = &[
    ocsp_version::LINT,
    ocsp_der_canonical::LINT,
    ocsp_responder_id::LINT,
    ocsp_time_encoding::LINT,
    ocsp_times_promised::LINT,
    ocsp_update_order::LINT,
    ocsp_inside_responder::LINT,
    ocsp_answers_promised::LINT,
    ocsp_reasons::LINT,
    ocsp_revocation_dates::LINT,
    ocsp_extensions::LINT,
];

/// Name and citation of every lint, in the order they run.
pub fn catalogue() -> impl Iterator<Item = (&'static str, &'static str)> {
    std::iter::once((ocsp_structure::NAME, ocsp_structure::CITATION)).chain(ALL.iter().map(|l| (l.name, l.citation)))
}

/// Run every lint over `tbs`.
pub(super) fn judge(tbs: &[u8], promise: &Statement, responder: &ResponderFacts) -> Vec<Finding> {
    let parsed = match TbsResponse::parse(tbs) {
        Ok(parsed) => parsed,
        Err(e) => return vec![ocsp_structure::finding(e)],
    };
    let case = Case {
        tbs: &parsed,
        promise,
        responder,
    };
    findings(ALL.iter().map(|lint| (lint.name, lint.citation, (lint.judge)(&case))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::example::Example;
    use super::*;

    #[test]
    fn each_file_is_one_registered_lint() {
        let files: BTreeSet<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/ocsp/lint"))
            .unwrap()
            .map(|f| f.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|f| f != "mod" && f != "example")
            .collect();
        let names: Vec<String> = catalogue().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names.len(), files.len());
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), files);
        assert!(catalogue().all(|(_, citation)| citation.contains('§') || citation.contains("docs/")));
    }

    #[test]
    fn what_the_corridor_writes_is_clean_and_put_together_alike() {
        for example in [Example::good(), Example::revoked(), Example::several()] {
            assert_eq!(example.findings(), []);
            assert_eq!(example.encode(), example.original);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// One octet changed anywhere, and some lint refuses: everything in an answer is promised.
        #[test]
        fn one_octet_changed(at in any::<prop::sample::Index>(), xor in 1_u8..) {
            thread_local!(static EXAMPLES: [Example; 2] = [Example::revoked(), Example::several()]);
            EXAMPLES.with(|examples| {
                for example in examples {
                    let mut spoilt = example.original.clone();
                    let at = at.index(spoilt.len());
                    spoilt[at] ^= xor;
                    assert!(!example.refused_as(&spoilt).is_empty(), "octet {at} ^ {xor:02x}");
                }
            });
        }

        #[test]
        fn anything_at_all(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            thread_local!(static EXAMPLE: Example = Example::good());
            EXAMPLE.with(|example| {
                assert!(!example.refused_as(&bytes).is_empty());
                let framed = crate::encode::tlv(crate::encode::SEQUENCE, &[&bytes]);
                assert!(!example.refused_as(&framed).is_empty());
            });
        }
    }
}
