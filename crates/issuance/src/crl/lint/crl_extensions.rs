//! Only the extensions this CA issues, none twice: authorityKeyIdentifier and cRLNumber not critical,
//! issuingDistributionPoint and deltaCRLIndicator critical, freshestCRL not.

use const_oid::db::rfc5280::{
    ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_CRL_NUMBER, ID_CE_DELTA_CRL_INDICATOR, ID_CE_FRESHEST_CRL,
    ID_CE_ISSUING_DISTRIBUTION_POINT,
};

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "crl_extensions",
    citation: "RFC 5280 §5.2, §5.2.1, §5.2.3, §5.2.4, §5.2.5, §5.2.6",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let mut seen = Vec::with_capacity(5);
    for extension in &case.tbs.extensions {
        let critical = match extension.oid {
            ID_CE_AUTHORITY_KEY_IDENTIFIER | ID_CE_CRL_NUMBER | ID_CE_FRESHEST_CRL => false,
            ID_CE_DELTA_CRL_INDICATOR | ID_CE_ISSUING_DISTRIBUTION_POINT => true,
            other => return Err(format!("{other} is not one of ours")),
        };
        if extension.is_critical() != critical {
            let must = if critical { "must" } else { "must not" };
            return Err(format!("{} {must} be critical", extension.oid));
        }
        if seen.contains(&extension.oid) {
            return Err(format!("{} twice", extension.oid));
        }
        seen.push(extension.oid);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::{ID_CE_CERTIFICATE_ISSUER, ID_CE_CRL_NUMBER};

    use crate::crl::lint::example::Example;

    const LINT: [&str; 1] = ["crl_extensions"];

    #[test]
    fn good() {
        assert_eq!(Example::complete().extensions.len(), 2);
        for example in [Example::delta(), Example::base()] {
            assert_eq!(example.extensions.len(), 4);
            assert!(example.refused_by().is_empty());
        }
    }

    #[test]
    fn bad() {
        for (n, example) in (0..4).flat_map(|n| [(n, Example::delta as fn() -> Example), (n, Example::base)]) {
            let mut spoilt = example();
            let other = if spoilt.extensions[n].critical.is_empty() {
                vec![1, 1, 0xff]
            } else {
                vec![]
            };
            spoilt.extensions[n].critical = other;
            assert_eq!(spoilt.refused_by(), LINT, "criticality of extension {n}");
            let mut spoilt = example();
            let again = spoilt.extensions[n].clone();
            spoilt.extensions.push(again);
            assert_eq!(spoilt.refused_by(), LINT, "extension {n} twice");
        }
        let number = Example::complete().extension(ID_CE_CRL_NUMBER).value.clone();
        for critical in [false, true] {
            let example = Example::complete().and(ID_CE_CERTIFICATE_ISSUER, critical, &number);
            assert_eq!(example.refused_by(), LINT);
        }
    }
}
