//! Only extensions this CA issues: nothing came along from a request, and nothing critical is unknown to verifiers.

use attest::rot::{ID_REHEARSAL, ID_ROT_BINDING};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_CERTIFICATE_POLICIES, ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
    ID_PE_AUTHORITY_INFO_ACCESS,
};
use const_oid::db::rfc6960::ID_PKIX_OCSP_NOCHECK;

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "extensions_known",
    citation: "RFC 5280 §4.2",
    judge,
};

pub(super) const KNOWN: [ObjectIdentifier; 12] = [
    ID_CE_AUTHORITY_KEY_IDENTIFIER,
    ID_CE_SUBJECT_KEY_IDENTIFIER,
    ID_CE_KEY_USAGE,
    ID_CE_BASIC_CONSTRAINTS,
    ID_CE_EXT_KEY_USAGE,
    ID_CE_SUBJECT_ALT_NAME,
    ID_CE_CERTIFICATE_POLICIES,
    ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_PE_AUTHORITY_INFO_ACCESS,
    ID_PKIX_OCSP_NOCHECK,
    ID_ROT_BINDING,
    ID_REHEARSAL,
];

fn judge(case: &Case<'_>) -> Result<(), String> {
    match case.tbs.extensions.iter().find(|e| !KNOWN.contains(&e.oid)) {
        Some(unknown) => Err(format!("extension {}", unknown.oid)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use const_oid::ObjectIdentifier;
    use const_oid::db::rfc5280::{ID_CE_NAME_CONSTRAINTS, ID_CE_SUBJECT_DIRECTORY_ATTRIBUTES};
    use const_oid::db::rfc6962::CT_PRECERT_POISON;
    use policies::ProfileKind;

    use crate::lint::example::Example;

    #[test]
    fn good() {
        assert!(Example::new(ProfileKind::DeviceLdevid).refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let ms_template = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.21.7");
        for oid in [
            ID_CE_NAME_CONSTRAINTS,
            ID_CE_SUBJECT_DIRECTORY_ATTRIBUTES,
            CT_PRECERT_POISON,
            ms_template,
        ] {
            for critical in [vec![], vec![1, 1, 0xff]] {
                let mut example = Example::new(ProfileKind::Service).and(oid, b"\x05\x00");
                example.extension(oid).critical = critical;
                assert_eq!(example.refused_by(), ["extensions_known"]);
            }
        }
    }
}
