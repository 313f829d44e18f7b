//! authorityInfoAccess is one plain-http caIssuers URL, the configured one; absent when none is configured and on roots.

use const_oid::db::rfc5280::{ID_AD_CA_ISSUERS, ID_PE_AUTHORITY_INFO_ACCESS};
use policies::ProfileKind;

use super::{Case, Lint};
use crate::encode::{SEQUENCE, context};
use crate::issuer::plain_http;
use crate::view::{Malformed, Reader, oid, only};

pub(super) const LINT: Lint = Lint {
    name: "authority_info_access",
    citation: "RFC 5280 §4.2.2.1, §8",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let configured = case
        .issuer
        .urls
        .ca_issuers
        .as_deref()
        .filter(|_| case.promise.kind != ProfileKind::Root);
    let extension = case.tbs.extension(&ID_PE_AUTHORITY_INFO_ACCESS);
    match (configured, extension) {
        (None, None) => Ok(()),
        (Some(url), None) => Err(format!("missing; configured is {url}")),
        (None, Some(_)) => Err("there, though none is configured".into()),
        (Some(url), Some(extension)) => {
            let found = read(extension.value).map_err(|e| e.to_string())?;
            if found != url.as_bytes() {
                return Err(format!("{:?} is not {url:?}", String::from_utf8_lossy(found)));
            }
            plain_http(url)
        }
    }
}

fn read(value: &[u8]) -> Result<&[u8], Malformed> {
    let list = only(value, SEQUENCE, "authorityInfoAccess")?;
    let mut description = Reader(only(list.value, SEQUENCE, "one AccessDescription")?.value);
    if oid(description.next()?.ok_or(Malformed("accessMethod"))?)? != ID_AD_CA_ISSUERS {
        return Err(Malformed("caIssuers"));
    }
    let uri = description.expect(context(6), "a URI")?.value;
    description.end("AccessDescription")?;
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::{ID_AD_OCSP, ID_PE_AUTHORITY_INFO_ACCESS};
    use policies::ProfileKind;

    use crate::encode::{SEQUENCE, context, oid, tlv};
    use crate::lint::example::Example;
    use crate::tbs::ca_issuers;

    const LINT: [&str; 1] = ["authority_info_access"];

    #[test]
    fn good() {
        assert!(Example::new(ProfileKind::Service).refused_by().is_empty());
        let mut example = Example::new(ProfileKind::Service).without(ID_PE_AUTHORITY_INFO_ACCESS);
        example.issuer.urls.ca_issuers = None;
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
            let mut example = Example::new(ProfileKind::Service).holding(ID_PE_AUTHORITY_INFO_ACCESS, &ca_issuers(url));
            assert_eq!(example.refused_by(), LINT, "another than configured: {url}");
            example.issuer.urls.ca_issuers = Some(url.into());
            assert_eq!(example.refused_by(), LINT, "not plain http: {url}");
        }
        assert_eq!(
            Example::new(ProfileKind::Service)
                .without(ID_PE_AUTHORITY_INFO_ACCESS)
                .refused_by(),
            LINT
        );
        let mut example = Example::new(ProfileKind::Service);
        example.issuer.urls.ca_issuers = None;
        assert_eq!(example.refused_by(), LINT);
        let url = "http://pki.example.com/issuing.crt";
        let ocsp = tlv(
            SEQUENCE,
            &[&tlv(
                SEQUENCE,
                &[&oid(&ID_AD_OCSP), &tlv(context(6), &[url.as_bytes()])],
            )],
        );
        let two = [ca_issuers(url), ca_issuers(url)].map(|v| v[2..].to_vec()).concat();
        for value in [ocsp, tlv(SEQUENCE, &[&two])] {
            let example = Example::new(ProfileKind::Service).holding(ID_PE_AUTHORITY_INFO_ACCESS, &value);
            assert_eq!(example.refused_by(), LINT);
        }
    }
}
