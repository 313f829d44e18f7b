//! Only keyUsage, basicConstraints and subjectAltName may be critical; every other critical extension shuts out
//! verifiers, rustls among them.

use const_oid::db::rfc5280::{ID_CE_BASIC_CONSTRAINTS, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME};

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "criticality",
    citation: "RFC 5280 §4.2.1.1, §4.2.1.2, §4.2.1.4, §4.2.1.13, §4.2.2.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let may = [ID_CE_KEY_USAGE, ID_CE_BASIC_CONSTRAINTS, ID_CE_SUBJECT_ALT_NAME];
    // An extension nobody knows is `extensions_known`'s, critical or not.
    let known = |oid| super::extensions_known::KNOWN.contains(&oid);
    match case
        .tbs
        .extensions
        .iter()
        .find(|e| e.is_critical() && known(e.oid) && !may.contains(&e.oid))
    {
        Some(critical) => Err(format!("extension {} is critical", critical.oid)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use attest::rot::ID_ROT_BINDING;
    use const_oid::db::rfc5280::{
        ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_CERTIFICATE_POLICIES, ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_EXT_KEY_USAGE,
        ID_PE_AUTHORITY_INFO_ACCESS,
    };
    use policies::ProfileKind;

    use crate::lint::example::Example;

    #[test]
    fn good() {
        assert!(Example::new(ProfileKind::DeviceLdevid).refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let critical = [
            ID_CE_AUTHORITY_KEY_IDENTIFIER,
            ID_CE_EXT_KEY_USAGE,
            ID_CE_CERTIFICATE_POLICIES,
            ID_CE_CRL_DISTRIBUTION_POINTS,
            ID_PE_AUTHORITY_INFO_ACCESS,
            ID_ROT_BINDING,
        ];
        for oid in critical {
            let mut example = Example::new(ProfileKind::DeviceLdevid);
            example.extension(oid).critical = vec![1, 1, 0xff];
            assert_eq!(example.refused_by(), ["criticality"], "{oid}");
        }
    }
}
