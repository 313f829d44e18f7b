//! authorityInfoAccess is the configured plain-http URLs: ocsp, then caIssuers; absent when none is configured, on roots
//! and on OCSP responders.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{ID_AD_CA_ISSUERS, ID_AD_OCSP, ID_PE_AUTHORITY_INFO_ACCESS};

use super::{Case, Lint};
use crate::encode::{SEQUENCE, context};
use crate::issuer::plain_http;
use crate::tbs::points_to_issuer;
use crate::view::{Malformed, Reader, oid, only};

pub(super) const LINT: Lint = Lint {
    name: "authority_info_access",
    citation: "RFC 5280 §4.2.2.1, §8",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let urls = &case.issuer.urls;
    let mut configured: Vec<(ObjectIdentifier, &str)> = Vec::new();
    if points_to_issuer(case.promise.kind) {
        let methods = [(ID_AD_OCSP, &urls.ocsp), (ID_AD_CA_ISSUERS, &urls.ca_issuers)];
        configured.extend(
            methods
                .iter()
                .filter_map(|(method, url)| Some((*method, url.as_deref()?))),
        );
    }
    let Some(extension) = case.tbs.extension(&ID_PE_AUTHORITY_INFO_ACCESS) else {
        return match configured.first() {
            None => Ok(()),
            Some((_, url)) => Err(format!("missing; configured is {url}")),
        };
    };
    if configured.is_empty() {
        return Err("there, though none is configured".into());
    }
    let found = read(extension.value).map_err(|e| e.to_string())?;
    if found.len() != configured.len() {
        return Err(format!("{} URLs; configured are {}", found.len(), configured.len()));
    }
    for ((method, octets), (expected, url)) in found.into_iter().zip(configured) {
        if method != expected {
            return Err(format!("access method {method} instead of {expected}"));
        }
        if octets != url.as_bytes() {
            return Err(format!("{:?} is not {url:?}", String::from_utf8_lossy(octets)));
        }
        plain_http(url)?;
    }
    Ok(())
}

fn read(value: &[u8]) -> Result<Vec<(ObjectIdentifier, &[u8])>, Malformed> {
    let list = Reader(only(value, SEQUENCE, "authorityInfoAccess")?.value).all()?;
    list.into_iter()
        .map(|element| {
            if element.tag != SEQUENCE {
                return Err(Malformed("AccessDescription"));
            }
            let mut description = Reader(element.value);
            let method = oid(description.next()?.ok_or(Malformed("accessMethod"))?)?;
            let uri = description.expect(context(6), "a URI")?.value;
            description.end("AccessDescription")?;
            Ok((method, uri))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_PE_AUTHORITY_INFO_ACCESS;
    use policies::ProfileKind;

    use crate::IssuerUrls;
    use crate::encode::{SEQUENCE, tlv};
    use crate::lint::example::Example;
    use crate::tbs::information_access;

    const LINT: [&str; 1] = ["authority_info_access"];
    const OCSP: &str = "http://ocsp.example.com/issuing";
    const CERTIFICATE: &str = "http://pki.example.com/issuing.crt";

    fn urls(ocsp: Option<&str>, ca_issuers: Option<&str>) -> IssuerUrls {
        IssuerUrls {
            ocsp: ocsp.map(Into::into),
            ca_issuers: ca_issuers.map(Into::into),
            ..IssuerUrls::default()
        }
    }

    fn access(ocsp: Option<&str>, ca_issuers: Option<&str>) -> Vec<u8> {
        information_access(&urls(ocsp, ca_issuers)).unwrap()
    }

    #[test]
    fn good() {
        for (ocsp, ca_issuers) in [
            (Some(OCSP), Some(CERTIFICATE)),
            (None, Some(CERTIFICATE)),
            (Some(OCSP), None),
        ] {
            let mut example =
                Example::new(ProfileKind::Service).holding(ID_PE_AUTHORITY_INFO_ACCESS, &access(ocsp, ca_issuers));
            let whole = ocsp.is_some() && ca_issuers.is_some();
            assert_eq!(example.refused_by().is_empty(), whole, "an access method is missing");
            example.issuer.urls = IssuerUrls {
                crl: example.issuer.urls.crl.clone(),
                ..urls(ocsp, ca_issuers)
            };
            assert!(example.refused_by().is_empty());
        }
        let mut example = Example::new(ProfileKind::Service).without(ID_PE_AUTHORITY_INFO_ACCESS);
        (example.issuer.urls.ca_issuers, example.issuer.urls.ocsp) = (None, None);
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        for url in [
            "https://pki.example.com/a",
            "ldap://pki.example.com/a",
            "http:///a",
            "http://a/ b",
            "http://u@a/b",
        ] {
            for (ocsp, ca_issuers) in [(OCSP, url), (url, CERTIFICATE)] {
                let value = access(Some(ocsp), Some(ca_issuers));
                let mut example = Example::new(ProfileKind::Service).holding(ID_PE_AUTHORITY_INFO_ACCESS, &value);
                assert_eq!(example.refused_by(), LINT, "another than configured: {url}");
                example.issuer.urls.ocsp = Some(ocsp.into());
                example.issuer.urls.ca_issuers = Some(ca_issuers.into());
                assert_eq!(example.refused_by(), LINT, "not plain http: {url}");
            }
        }
        let service = || Example::new(ProfileKind::Service);
        assert_eq!(service().without(ID_PE_AUTHORITY_INFO_ACCESS).refused_by(), LINT);
        let mut example = service();
        (example.issuer.urls.ca_issuers, example.issuer.urls.ocsp) = (None, None);
        assert_eq!(example.refused_by(), LINT);
        // The other way round, the methods exchanged, one of them twice, one alone, none.
        let [ocsp, certificate] = [access(Some(OCSP), None), access(None, Some(CERTIFICATE))].map(|v| v[2..].to_vec());
        let list = |parts: &[&[u8]]| tlv(SEQUENCE, parts);
        for value in [
            list(&[&certificate, &ocsp]),
            access(Some(CERTIFICATE), Some(OCSP)),
            list(&[&ocsp, &ocsp, &certificate]),
            list(&[&ocsp, &certificate, &certificate]),
            list(&[&ocsp]),
            list(&[&certificate]),
            list(&[]),
        ] {
            assert_eq!(
                service().holding(ID_PE_AUTHORITY_INFO_ACCESS, &value).refused_by(),
                LINT
            );
        }
        // What points nowhere: a root, and a responder.
        for kind in [ProfileKind::Root, ProfileKind::Ocsp] {
            let value = access(Some(OCSP), Some(CERTIFICATE));
            assert_eq!(
                Example::new(kind).and(ID_PE_AUTHORITY_INFO_ACCESS, &value).refused_by(),
                LINT
            );
        }
    }
}
