//! freshestCRL is there on a complete CRL that has deltas and on no other, never on a delta: one URL, plain http, and not
//! the one of the CRL itself.

use super::{Case, Lint};
use crate::crl::scope::CrlScope;
use crate::issuer::plain_http;

pub(super) const LINT: Lint = Lint {
    name: "crl_freshest",
    citation: "RFC 5280 §5.2.6, §8",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let found = case.tbs.freshest().map_err(|e| e.to_string())?;
    match (&case.promise.delta_url, found) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err("there, though it has no deltas".into()),
        (Some(_), _) if case.promise.base.is_some() => Err("on a delta CRL".into()),
        (Some(url), None) => Err(format!("missing; its deltas are at {url}")),
        (Some(url), Some(_)) if case.promise.scope == CrlScope::Point(url.clone()) => {
            Err("the CRL itself is not its own delta".into())
        }
        (Some(url), Some(found)) if found == url.as_bytes() => plain_http(url),
        (Some(url), Some(found)) => Err(format!("{:?} is not {url:?}", String::from_utf8_lossy(found))),
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_CE_FRESHEST_CRL;

    use crate::crl::lint::example::{DELTA, Example, POINT};
    use crate::encode::{SEQUENCE, context, tlv};
    use crate::tbs::{distribution_point, issuing_distribution_point};

    const LINT: [&str; 1] = ["crl_freshest"];

    #[test]
    fn good() {
        assert!(Example::base().refused_by().is_empty());
        assert!(Example::delta().refused_by().is_empty());
    }

    #[test]
    fn bad() {
        assert_eq!(
            Example::base().without(ID_CE_FRESHEST_CRL).refused_by(),
            LINT,
            "missing"
        );
        let point = distribution_point(DELTA);
        let example = Example::sharded().and(ID_CE_FRESHEST_CRL, false, &point);
        assert_eq!(example.refused_by(), LINT, "without deltas");
        let example = Example::delta().and(ID_CE_FRESHEST_CRL, false, &point);
        assert_eq!(example.refused_by(), LINT, "on a delta, unasked");
        let mut example = Example::delta().and(ID_CE_FRESHEST_CRL, false, &point);
        example.promise.delta_url = Some(DELTA.into());
        assert_eq!(example.refused_by(), LINT, "on a delta, asked for");
        for other in [
            distribution_point("http://pki.example.com/issuing-18-delta.crl"),
            // Two points; reasons; no name at all; no list.
            tlv(SEQUENCE, &[&point[2..], &point[2..]]),
            tlv(
                SEQUENCE,
                &[&tlv(SEQUENCE, &[&point[4..], &tlv(context(1), &[&[1, 2]])])],
            ),
            b"\x30\x02\x30\x00".to_vec(),
            issuing_distribution_point(DELTA),
        ] {
            let example = Example::base().holding(ID_CE_FRESHEST_CRL, &other);
            assert_eq!(example.refused_by(), LINT, "{other:02x?}");
        }
        for url in ["https://pki.example.com/17-delta.crl", POINT] {
            let mut example = Example::base().holding(ID_CE_FRESHEST_CRL, &distribution_point(url));
            example.promise.delta_url = Some(url.into());
            assert_eq!(example.refused_by(), LINT, "{url}");
        }
    }
}
