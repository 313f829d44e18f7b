//! Which certificates a CRL speaks for, and which CRL speaks for a certificate.
//!
//! The shard of a certificate is fixed inside it: it is its distribution point, the URL, octet for octet. The number in
//! that URL is drawn from the serial when the certificate is drafted and never computed again, so that a change of the
//! number of shards moves no certificate.

use const_oid::db::rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS;

use crate::IssuerUrls;
use crate::issuer::plain_http;
use crate::lint::crl_distribution_points;
use crate::view::{Malformed, Tbs};

/// Stands in the configured URL where the number of the shard goes.
const PLACE: &str = "{shard}";

/// Which certificates of an issuer a CRL speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CrlScope {
    /// All of them.
    Complete,
    /// Those that carry this URL as their distribution point.
    Point(String),
}

impl std::fmt::Display for CrlScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Complete => f.write_str("all certificates"),
            Self::Point(url) => write!(f, "certificates of {url}"),
        }
    }
}

impl IssuerUrls {
    /// One plain-http URL without shards, or one with the place for the number when there are shards.
    pub(crate) fn check_crl(&self) -> Result<(), String> {
        let places = self.crl.as_deref().map(|url| url.matches(PLACE).count());
        match (places, self.crl_shards) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err("shards without a CRL URL".into()),
            (Some(0), Some(_)) => Err(format!("shards, but no {PLACE} in the CRL URL")),
            (Some(0), None) => self.crl.as_deref().map_or(Ok(()), plain_http),
            (Some(1), None) => Err(format!("{PLACE} in the CRL URL, but no shards")),
            (Some(1), Some(_)) => self.numbered(u16::MAX).map_or(Ok(()), |url| plain_http(&url)),
            (Some(_), _) => Err(format!("{PLACE} more than once in the CRL URL")),
        }
    }

    fn numbered(&self, shard: u16) -> Option<String> {
        let url = self.crl.as_deref()?;
        Some(url.replacen(PLACE, &shard.to_string(), 1))
    }

    /// The distribution point of a new certificate: with shards, the last 32 bits of its serial (random all of them),
    /// modulo their number.
    #[must_use]
    pub fn crl_url(&self, serial: &[u8]) -> Option<String> {
        let Some(shards) = self.crl_shards else {
            return self.crl.clone();
        };
        let drawn = serial.iter().rev().take(4).rev();
        let drawn = drawn.fold(0_u32, |n, octet| (n << 8) | u32::from(*octet));
        let shard = drawn % u32::from(shards.get());
        self.numbered(u16::try_from(shard).ok()?)
    }

    /// What is to be published for certificates drafted with these URLs: one CRL, or one of each shard. Certificates
    /// drafted with other URLs keep theirs ([`crl_point`]).
    #[must_use]
    pub fn crl_scopes(&self) -> Vec<CrlScope> {
        match (&self.crl, self.crl_shards) {
            (None, _) => Vec::new(),
            (Some(_), None) => vec![CrlScope::Complete],
            (Some(_), Some(shards)) => (0..shards.get())
                .filter_map(|shard| self.numbered(shard).map(CrlScope::Point))
                .collect(),
        }
    }
}

/// Where the delta CRLs of a CRL are published: beside it, `-delta` before `.crl`. `None` for a URL that does not end so.
#[must_use]
pub fn delta_url(url: &str) -> Option<String> {
    let stem = url.strip_suffix(".crl")?;
    // The end of a path, not of a query or of a host.
    let (_, rest) = stem.split_once("://")?;
    let in_path = rest.contains('/') && !rest.contains(['?', '#']);
    in_path.then(|| format!("{stem}-delta.crl"))
}

/// A TBSCertificate that does not say which CRL speaks for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// Not a TBSCertificate.
    #[error("not a TBSCertificate: {0}")]
    Structure(&'static str),
    /// A distribution point that this CA does not write.
    #[error("another distribution point than ours: {0}")]
    Point(&'static str),
}

/// The distribution point in a certificate, which is its shard; `None` when it has none. `tbs` is the TBSCertificate,
/// DER, as recorded: an orphan has nothing else.
///
/// # Errors
/// [`PointError`].
pub fn crl_point(tbs: &[u8]) -> Result<Option<String>, PointError> {
    let tbs = Tbs::parse(tbs).map_err(|Malformed(what)| PointError::Structure(what))?;
    let Some(extension) = tbs.extension(&ID_CE_CRL_DISTRIBUTION_POINTS) else {
        return Ok(None);
    };
    let url = crl_distribution_points::read(extension.value).map_err(|Malformed(what)| PointError::Point(what))?;
    let url = std::str::from_utf8(url).map_err(|_| PointError::Point("not text"))?;
    plain_http(url).map_err(|_| PointError::Point("not plain http"))?;
    Ok(Some(url.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::num::NonZeroU16;

    use policies::ProfileKind;
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{Hierarchy, leaf_spki, serial, spec, walk};
    use crate::view::Certificate;
    use crate::{CaKey, Draft, Issuer};

    fn urls(crl: &str, shards: u16) -> IssuerUrls {
        IssuerUrls {
            ca_issuers: None,
            ocsp: None,
            crl: Some(crl.into()),
            crl_shards: NonZeroU16::new(shards),
        }
    }

    #[test]
    fn urls_and_shards_go_together() {
        assert_eq!(urls("http://a/x.crl", 0).check_crl(), Ok(()));
        assert_eq!(urls("http://a/{shard}.crl", 128).check_crl(), Ok(()));
        for (url, shards) in [
            ("http://a/{shard}.crl", 0),
            ("http://a/x.crl", 128),
            ("http://a/{shard}/{shard}.crl", 128),
            ("http://a/{shard}/{shard}.crl", 0),
            ("https://a/{shard}.crl", 128),
            ("https://a/x.crl", 0),
            ("http://a/{shard}.crl|", 128),
        ] {
            assert!(urls(url, shards).check_crl().is_err(), "{url} {shards}");
        }
        let alone = IssuerUrls {
            crl_shards: NonZeroU16::new(1),
            ..IssuerUrls::default()
        };
        assert!(alone.check_crl().is_err());
        assert_eq!(IssuerUrls::default().check_crl(), Ok(()));
    }

    #[test]
    fn deltas_lie_beside_their_crl() {
        for (url, delta) in [
            ("http://a/7.crl", Some("http://a/7-delta.crl")),
            ("http://a/crl/{shard}.crl", Some("http://a/crl/{shard}-delta.crl")),
            ("http://a/.crl", Some("http://a/-delta.crl")),
            ("http://a.crl", None),
            ("http://a/x", None),
            ("http://a/x.crl/", None),
            ("http://a/x?y.crl", None),
            ("http://a/x#y.crl", None),
            ("http://a/x.CRL", None),
        ] {
            assert_eq!(delta_url(url).as_deref(), delta, "{url}");
        }
    }

    #[test]
    fn scopes() {
        assert_eq!(IssuerUrls::default().crl_scopes(), []);
        assert_eq!(urls("http://a/x.crl", 0).crl_scopes(), [CrlScope::Complete]);
        let three = ["http://a/0.crl", "http://a/1.crl", "http://a/2.crl"].map(|u| CrlScope::Point(u.into()));
        assert_eq!(urls("http://a/{shard}.crl", 3).crl_scopes(), three);
        assert_eq!(urls("http://a/{shard}.crl", u16::MAX).crl_scopes().len(), 65_535);
    }

    proptest! {
        /// Every serial has one of the published URLs.
        #[test]
        fn every_certificate_is_in_a_published_shard(octets in any::<[u8; 16]>(), shards in 1_u16..300) {
            let urls = urls("http://a/{shard}.crl", shards);
            let url = urls.crl_url(&octets).unwrap();
            prop_assert!(urls.crl_scopes().contains(&CrlScope::Point(url)));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = crl_point(&bytes);
        }
    }

    /// A sharded issuer writes what the rule says, and the certificate says it back; after a change of the number of
    /// shards the old certificate still does.
    #[test]
    fn the_shard_is_read_from_the_certificate() {
        let hierarchy = Hierarchy::p256();
        let mut seen = BTreeSet::new();
        for n in 0..40 {
            let issuer = |shards| {
                let urls = urls("http://pki.example.com/{shard}.crl", shards);
                Issuer::from_chain(hierarchy.issuer.chain(), hierarchy.key.algorithm(), urls).unwrap()
            };
            let draft = Draft::below(spec(ProfileKind::Service, &leaf_spki()), &issuer(4), serial(n)).unwrap();
            let issued = walk(draft, &hierarchy.key);
            let tbs = Certificate::parse(issued.certificate()).unwrap().tbs;
            let last = issued.serial().octets()[15];
            let expected = format!("http://pki.example.com/{}.crl", last % 4);
            assert_eq!(crl_point(tbs), Ok(Some(expected.clone())));
            seen.insert(expected);
        }
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn certificates_without_or_with_another_point() {
        let hierarchy = Hierarchy::p256();
        let bare = Issuer::from_chain(
            hierarchy.issuer.chain(),
            hierarchy.key.algorithm(),
            IssuerUrls::default(),
        )
        .unwrap();
        let issued = |issuer| {
            let draft = Draft::below(spec(ProfileKind::Service, &leaf_spki()), issuer, serial(9)).unwrap();
            let issued = walk(draft, &hierarchy.key);
            Certificate::parse(issued.certificate()).unwrap().tbs.to_vec()
        };
        assert_eq!(crl_point(&issued(&bare)), Ok(None));
        let tbs = issued(&hierarchy.issuer);
        assert_eq!(crl_point(&tbs), Ok(Some("http://pki.example.com/issuing.crl".into())));
        assert!(matches!(crl_point(&tbs[1..]), Err(PointError::Structure(_))));
        // The URL becomes one of the same length that is not plain http; then the tag of the name another one.
        let at = tbs.windows(7).position(|w| w == b"http://").unwrap();
        let at = at + tbs[at..].windows(8).position(|w| w == b"http://p").unwrap();
        let crl = (0..tbs.len())
            .find(|i| tbs[*i..].starts_with(b"http://pki.example.com/issuing.crl"))
            .unwrap();
        assert!(at <= crl);
        let mut other = tbs.clone();
        other[crl] = b'f';
        assert_eq!(crl_point(&other), Err(PointError::Point("not plain http")));
        let mut other = tbs;
        other[crl - 2] = 0x82;
        assert!(matches!(crl_point(&other), Err(PointError::Point(_))));
    }
}
