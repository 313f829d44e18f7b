//! issuingDistributionPoint is there on the CRL of a shard and on no other: one URL, byte for byte that of the
//! certificates, plain http, without flags.

use super::{Case, Lint};
use crate::crl::scope::CrlScope;
use crate::issuer::plain_http;

pub(super) const LINT: Lint = Lint {
    name: "crl_issuing_distribution_point",
    citation: "RFC 5280 §5.2.5, §6.3.3 (b)(2)",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let found = case.tbs.point().map_err(|e| e.to_string())?;
    match (&case.promise.scope, found) {
        (CrlScope::Complete, None) => Ok(()),
        (CrlScope::Complete, Some(_)) => Err("on a CRL for all certificates".into()),
        (CrlScope::Point(url), None) => Err(format!("missing: the CRL would speak for more than {url}")),
        (CrlScope::Point(url), Some(found)) if found == url.as_bytes() => plain_http(url),
        (CrlScope::Point(url), Some(found)) => Err(format!("{:?} is not {url:?}", String::from_utf8_lossy(found))),
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_CE_ISSUING_DISTRIBUTION_POINT;

    use crate::crl::CrlScope;
    use crate::crl::lint::example::{Example, POINT};
    use crate::encode::{SEQUENCE, context, tlv};
    use crate::tbs::{distribution_point, issuing_distribution_point};

    const LINT: [&str; 1] = ["crl_issuing_distribution_point"];

    #[test]
    fn good() {
        assert!(Example::sharded().refused_by().is_empty());
        // The same octets as in the certificates, within their list.
        let mut example = Example::sharded();
        let in_certificates = distribution_point(POINT);
        assert!(in_certificates.ends_with(&example.extension(ID_CE_ISSUING_DISTRIBUTION_POINT).value));
    }

    #[test]
    fn bad() {
        assert_eq!(
            Example::sharded()
                .without(ID_CE_ISSUING_DISTRIBUTION_POINT)
                .refused_by(),
            LINT
        );
        let point = issuing_distribution_point(POINT);
        let example = Example::complete().and(ID_CE_ISSUING_DISTRIBUTION_POINT, true, &point);
        assert_eq!(example.refused_by(), LINT, "on a complete CRL");
        let other = issuing_distribution_point("http://pki.example.com/issuing-18.crl");
        let example = Example::sharded().holding(ID_CE_ISSUING_DISTRIBUTION_POINT, &other);
        assert_eq!(example.refused_by(), LINT, "another shard");
        // onlyContainsUserCerts, indirectCRL, and no name at all.
        for flag in [1, 4] {
            let flagged = tlv(SEQUENCE, &[&point[2..], &tlv(context(flag), &[&[0xff]])]);
            let example = Example::sharded().holding(ID_CE_ISSUING_DISTRIBUTION_POINT, &flagged);
            assert_eq!(example.refused_by(), LINT, "flag {flag}");
        }
        let example = Example::sharded().holding(ID_CE_ISSUING_DISTRIBUTION_POINT, b"\x30\x00");
        assert_eq!(example.refused_by(), LINT);
        let secure = "https://pki.example.com/17.crl";
        let point = issuing_distribution_point(secure);
        let mut example = Example::sharded().holding(ID_CE_ISSUING_DISTRIBUTION_POINT, &point);
        example.promise.scope = CrlScope::Point(secure.into());
        assert_eq!(example.refused_by(), LINT, "not plain http");
    }
}
