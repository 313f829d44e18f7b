//! Lints: one rule, one file, one citation; run over the TBS bytes that will be signed.
//!
//! A lint reads the bytes back and knows the issuer and what the profile promises; it never sees the grant, so that a
//! mistake between grant and bytes has somewhere to be found.

mod authority_info_access;
mod authority_key_id;
mod basic_constraints;
mod certificate_policies;
mod criticality;
pub(crate) mod crl_distribution_points;
mod default_omitted;
pub(crate) mod der_canonical;
mod empty_subject;
#[cfg(test)]
mod example;
mod extended_key_usage;
mod extensions_known;
mod extensions_unique;
mod idevid_never_expires;
mod issuer_name;
mod key_usage;
mod lifetime;
mod ocsp_no_check;
mod public_key;
mod public_key_not_issuers;
mod rehearsal_marker;
mod rot_binding;
mod san_forms;
mod san_names;
mod self_issued;
mod serial;
mod signature_algorithm;
mod structure;
mod subject_duplicates;
mod subject_key_id;
mod subject_required;
mod subject_types;
mod subject_values;
pub(crate) mod time_encoding;
mod validity_inside_issuer;
mod validity_order;
mod version;

use const_oid::ObjectIdentifier;
use policies::{ProfileKey, ProfileKind};

pub(crate) use public_key::Curves;

use crate::issuer::IssuerFacts;
use crate::view::Tbs;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Lint name, for example `validity_inside_issuer`.
    pub lint: &'static str,
    /// Clause, for example `RFC 5280 §4.1.2.5`.
    pub citation: &'static str,
    /// What was found.
    pub detail: String,
}

/// One rule.
struct Lint {
    /// Also the name of its file.
    name: &'static str,
    /// Clause.
    citation: &'static str,
    /// Says what is wrong. What another lint refuses is not refused here again.
    judge: fn(&Case<'_>) -> Result<(), String>,
}

/// What the profile promises about a certificate, beside its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    pub(crate) kind: ProfileKind,
    /// Seconds, first and last included; `None` means never expires.
    pub(crate) lifetime: Option<i64>,
    pub(crate) extended_key_usage: Vec<ObjectIdentifier>,
    pub(crate) keys: Vec<ProfileKey>,
    pub(crate) rehearsal: bool,
}

impl Promise {
    /// Whether the certificate says that its key lives in a root of trust.
    fn is_bound(&self) -> bool {
        match self.kind {
            ProfileKind::DeviceIak
            | ProfileKind::DeviceIdevid
            | ProfileKind::DeviceLdevid
            | ProfileKind::DeviceLak
            | ProfileKind::Service => true,
            ProfileKind::Root
            | ProfileKind::Issuing
            | ProfileKind::Cross
            | ProfileKind::ServerTls
            | ProfileKind::Ocsp => false,
        }
    }
    /// Whether the certificate names a device by its TPM.
    fn is_device(&self) -> bool {
        match self.kind {
            ProfileKind::DeviceIak | ProfileKind::DeviceIdevid | ProfileKind::DeviceLdevid | ProfileKind::DeviceLak => {
                true
            }
            ProfileKind::Root
            | ProfileKind::Issuing
            | ProfileKind::Cross
            | ProfileKind::Service
            | ProfileKind::ServerTls
            | ProfileKind::Ocsp => false,
        }
    }
}

/// What a lint looks at.
struct Case<'a> {
    tbs: &'a Tbs<'a>,
    promise: &'a Promise,
    issuer: &'a IssuerFacts,
}

/// Every lint that runs on a certificate whose structure could be read.
const ALL: &[Lint] = &[
    version::LINT,
    serial::LINT,
    signature_algorithm::LINT,
    der_canonical::LINT,
    default_omitted::LINT,
    issuer_name::LINT,
    self_issued::LINT,
    time_encoding::LINT,
    validity_order::LINT,
    validity_inside_issuer::LINT,
    lifetime::LINT,
    idevid_never_expires::LINT,
    subject_types::LINT,
    subject_values::LINT,
    subject_duplicates::LINT,
    subject_required::LINT,
    empty_subject::LINT,
    public_key::LINT,
    public_key_not_issuers::LINT,
    extensions_unique::LINT,
    extensions_known::LINT,
    criticality::LINT,
    authority_key_id::LINT,
    subject_key_id::LINT,
    key_usage::LINT,
    basic_constraints::LINT,
    extended_key_usage::LINT,
    ocsp_no_check::LINT,
    san_forms::LINT,
    san_names::LINT,
    certificate_policies::LINT,
    authority_info_access::LINT,
    crl_distribution_points::LINT,
    rot_binding::LINT,
    rehearsal_marker::LINT,
];

/// Name and citation of every lint, in the order they run.
pub fn catalogue() -> impl Iterator<Item = (&'static str, &'static str)> {
    std::iter::once((structure::NAME, structure::CITATION)).chain(ALL.iter().map(|l| (l.name, l.citation)))
}

/// What lints found, of their name, citation and verdict: those that said no.
pub(crate) fn findings(said: impl Iterator<Item = (&'static str, &'static str, Result<(), String>)>) -> Vec<Finding> {
    said.filter_map(|(lint, citation, verdict)| {
        let detail = verdict.err()?;
        Some(Finding { lint, citation, detail })
    })
    .collect()
}

/// Run every lint over `tbs`.
pub(crate) fn judge(tbs: &[u8], promise: &Promise, issuer: &IssuerFacts) -> Vec<Finding> {
    let parsed = match Tbs::parse(tbs) {
        Ok(parsed) => parsed,
        Err(e) => return vec![structure::finding(e)],
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

    use der::{Decode, Encode};
    use policies::ProfileKind;
    use proptest::prelude::*;

    use super::example::Example;
    use super::*;
    use crate::fixture::KINDS;

    #[test]
    fn each_file_is_one_registered_lint() {
        let files: BTreeSet<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lint"))
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
    fn the_reference_lists_them_all() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/lints.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| `")).collect();
        let expected: Vec<String> = catalogue()
            .chain(crate::crl::lint::catalogue())
            .chain(crate::ocsp::lint::catalogue())
            .map(|(name, citation)| format!("| `{name}` | {citation} | "))
            .collect();
        assert_eq!(rows.len(), expected.len());
        for (row, start) in rows.iter().zip(&expected) {
            assert!(row.starts_with(start), "{row}\nis not {start}");
        }
    }

    #[test]
    fn what_the_corridor_writes_is_clean() {
        for kind in KINDS {
            assert_eq!(Example::new(kind).findings(), [], "{kind:?}");
        }
    }

    #[test]
    fn examples_are_put_together_as_the_corridor_does() {
        for kind in KINDS {
            let example = Example::new(kind);
            assert_eq!(example.encode(), example.original, "{kind:?}");
        }
    }

    /// Change `spoilt` anywhere: what still passes must be what other parsers read and write alike.
    fn accepted_is_sound(example: &Example, spoilt: &[u8]) -> Result<(), TestCaseError> {
        let passes = judge(spoilt, &example.promise, &example.issuer).is_empty();
        if passes && spoilt != example.original {
            let parsed = x509_cert::TbsCertificate::from_der(spoilt);
            prop_assert!(parsed.is_ok(), "x509-cert does not read {}", hex::encode(spoilt));
            let again = parsed.and_then(|p| p.to_der()).ok();
            prop_assert_eq!(again.as_deref(), Some(spoilt));
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn one_octet_changed(at in any::<prop::sample::Index>(), xor in 1_u8..) {
            thread_local!(static EXAMPLE: Example = Example::new(ProfileKind::DeviceIak));
            EXAMPLE.with(|example| {
                let mut spoilt = example.original.clone();
                spoilt[at.index(example.original.len())] ^= xor;
                accepted_is_sound(example, &spoilt)
            })?;
        }

        #[test]
        fn anything_at_all(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            thread_local!(static EXAMPLE: Example = Example::new(ProfileKind::Service));
            EXAMPLE.with(|example| {
                assert!(!judge(&bytes, &example.promise, &example.issuer).is_empty());
                let framed = crate::encode::tlv(crate::encode::SEQUENCE, &[&bytes]);
                assert!(!judge(&framed, &example.promise, &example.issuer).is_empty());
            });
        }
    }
}
