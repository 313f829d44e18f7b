//! Lints for CRLs: one rule, one file, one citation; run over the bytes that will be signed.
//!
//! They know the issuer and what the draft was asked to say, and read the bytes back.

mod crl_authority_key_id;
mod crl_der_canonical;
mod crl_entries_promised;
mod crl_entry_dates;
mod crl_extensions;
mod crl_freshest;
mod crl_inside_issuer;
mod crl_issuer_name;
mod crl_issuing_distribution_point;
mod crl_list_omitted;
mod crl_numbers;
mod crl_reasons;
mod crl_serials;
mod crl_signature_algorithm;
mod crl_structure;
mod crl_time_encoding;
mod crl_update_order;
mod crl_version;
#[cfg(test)]
pub(super) mod example;

use super::statement::Statement;
use super::view::TbsCrl;
use crate::issuer::IssuerFacts;
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
    tbs: &'a TbsCrl<'a>,
    promise: &'a Statement,
    issuer: &'a IssuerFacts,
}

/// Every lint that runs on a CRL whose structure could be read.
const ALL: &[Lint] = &[
    crl_version::LINT,
    crl_signature_algorithm::LINT,
    crl_der_canonical::LINT,
    crl_issuer_name::LINT,
    crl_time_encoding::LINT,
    crl_update_order::LINT,
    crl_inside_issuer::LINT,
    crl_list_omitted::LINT,
    crl_serials::LINT,
    crl_entry_dates::LINT,
    crl_reasons::LINT,
    crl_entries_promised::LINT,
    crl_extensions::LINT,
    crl_authority_key_id::LINT,
    crl_numbers::LINT,
    crl_issuing_distribution_point::LINT,
    crl_freshest::LINT,
];

/// Name and citation of every lint, in the order they run.
pub fn catalogue() -> impl Iterator<Item = (&'static str, &'static str)> {
    std::iter::once((crl_structure::NAME, crl_structure::CITATION)).chain(ALL.iter().map(|l| (l.name, l.citation)))
}

/// Run every lint over `tbs`.
pub(super) fn judge(tbs: &[u8], promise: &Statement, issuer: &IssuerFacts) -> Vec<Finding> {
    let parsed = match TbsCrl::parse(tbs) {
        Ok(parsed) => parsed,
        Err(e) => return vec![crl_structure::finding(e)],
    };
    let case = Case {
        tbs: &parsed,
        promise,
        issuer,
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
        let files: BTreeSet<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/crl/lint"))
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
        for example in [
            Example::complete(),
            Example::sharded(),
            Example::empty(),
            Example::base(),
            Example::delta(),
        ] {
            assert_eq!(example.findings(), []);
            assert_eq!(example.encode(), example.original);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// One octet changed anywhere, and some lint refuses: everything in a CRL is promised.
        #[test]
        fn one_octet_changed(at in any::<prop::sample::Index>(), xor in 1_u8..) {
            thread_local!(static EXAMPLES: [Example; 3] = [Example::sharded(), Example::base(), Example::delta()]);
            EXAMPLES.with(|examples| {
                for example in examples {
                    let mut spoilt = example.original.clone();
                    let at = at.index(spoilt.len());
                    spoilt[at] ^= xor;
                    let refused = example.refused_as(&spoilt);
                    // The two times are checked against each other and the issuer, not against what was asked.
                    let read = TbsCrl::parse(&spoilt);
                    let times = read.is_ok_and(|read| {
                        read.this_update.raw != example.this_update
                            || read.next_update.is_some_and(|e| e.raw != example.next_update)
                    });
                    assert!(times || !refused.is_empty(), "octet {at} ^ {xor:02x}");
                }
            });
        }

        #[test]
        fn anything_at_all(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            thread_local!(static EXAMPLE: Example = Example::sharded());
            EXAMPLE.with(|example| {
                assert!(!example.refused_as(&bytes).is_empty());
                let framed = crate::encode::tlv(crate::encode::SEQUENCE, &[&bytes]);
                assert!(!example.refused_as(&framed).is_empty());
            });
        }
    }
}
