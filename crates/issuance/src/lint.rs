//! Lints: one rule, one file, one citation; run over the TBS bytes that will be signed.

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
