//! cRLDistributionPoints is one plain-http URL, the configured one (of the certificate's shard), without reasons or another CRL issuer; absent when
//! none is configured, on roots and on OCSP responders.

use const_oid::db::rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS;

use super::{Case, Lint};
use crate::encode::{SEQUENCE, context, context_constructed};
use crate::issuer::plain_http;
use crate::tbs::points_to_issuer;
use crate::view::{Malformed, only};

pub(super) const LINT: Lint = Lint {
    name: "crl_distribution_points",
    citation: "RFC 5280 §4.2.1.13, §8",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let configured = case
        .issuer
        .urls
        .crl_url(case.tbs.serial)
        .filter(|_| points_to_issuer(case.promise.kind));
    let extension = case.tbs.extension(&ID_CE_CRL_DISTRIBUTION_POINTS);
    match (configured, extension) {
        (None, None) => Ok(()),
        (Some(url), None) => Err(format!("missing; configured is {url}")),
        (None, Some(_)) => Err("there, though none is configured".into()),
        (Some(url), Some(extension)) => {
            let found = read(extension.value).map_err(|e| e.to_string())?;
            if found != url.as_bytes() {
                return Err(format!("{:?} is not {url:?}", String::from_utf8_lossy(found)));
            }
            plain_http(&url)
        }
    }
}

/// The one URL in it.
pub(crate) fn read(value: &[u8]) -> Result<&[u8], Malformed> {
    let list = only(value, SEQUENCE, "cRLDistributionPoints")?;
    let point = only(list.value, SEQUENCE, "one DistributionPoint")?;
    let name = only(point.value, context_constructed(0), "distributionPoint alone")?;
    let full = only(name.value, context_constructed(0), "fullName")?;
    Ok(only(full.value, context(6), "one URI")?.value)
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS;
    use policies::ProfileKind;

    use crate::encode::{SEQUENCE, context, tlv};
    use crate::lint::example::Example;
    use crate::tbs::distribution_point;

    const LINT: [&str; 1] = ["crl_distribution_points"];

    #[test]
    fn good() {
        assert!(Example::new(ProfileKind::Service).refused_by().is_empty());
        let mut example = Example::new(ProfileKind::Service).without(ID_CE_CRL_DISTRIBUTION_POINTS);
        example.issuer.urls.crl = None;
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        for url in ["https://pki.example.com/a", "ldap://pki.example.com/a", "http:///a"] {
            let point = distribution_point(url);
            let mut example = Example::new(ProfileKind::Service).holding(ID_CE_CRL_DISTRIBUTION_POINTS, &point);
            assert_eq!(example.refused_by(), LINT, "another than configured: {url}");
            example.issuer.urls.crl = Some(url.into());
            assert_eq!(example.refused_by(), LINT, "not plain http: {url}");
        }
        assert_eq!(
            Example::new(ProfileKind::Service)
                .without(ID_CE_CRL_DISTRIBUTION_POINTS)
                .refused_by(),
            LINT
        );
        let mut example = Example::new(ProfileKind::Service);
        example.issuer.urls.crl = None;
        assert_eq!(example.refused_by(), LINT);
        // Some reasons only.
        let point = distribution_point("http://pki.example.com/issuing.crl");
        let reasons = tlv(
            SEQUENCE,
            &[&tlv(SEQUENCE, &[&point[4..], &tlv(context(1), &[&[5, 0x60]])])],
        );
        let example = Example::new(ProfileKind::Service).holding(ID_CE_CRL_DISTRIBUTION_POINTS, &reasons);
        assert_eq!(example.refused_by(), LINT);
    }
}
