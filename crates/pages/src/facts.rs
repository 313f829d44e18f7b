//! What the trust page says, and the files beside it.

use der::Decode as _;
use der::oid::AssociatedOid as _;
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::CrlNumber;
use x509_cert::time::Time;

use crate::authority::Authority;
use crate::witness::LedgerHead;

/// A CRL that is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    /// Where.
    pub url: String,
    /// What it says of itself, when the maker of the page has it: number, thisUpdate and nextUpdate, unix seconds.
    pub says: Option<(String, i64, i64)>,
}

impl Crl {
    /// With what it says of itself, DER; nothing, if that cannot be read. It is shown, not judged.
    #[must_use]
    pub fn read(url: String, der: &[u8]) -> Self {
        let says = CertificateList::<Rfc5280>::from_der(der).ok().and_then(|crl| {
            let body = &crl.tbs_cert_list;
            let all = body.crl_extensions.as_ref()?;
            let number = all.iter().find(|one| one.extn_id == CrlNumber::OID)?;
            let number = CrlNumber::from_der(number.extn_value.as_bytes()).ok()?;
            let unix = |time: Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
            let digits = hex::encode(number.0.as_bytes());
            let number = u128::from_str_radix(&digits, 16).map_or_else(|_| format!("0x{digits}"), |n| n.to_string());
            Some((number, unix(body.this_update)?, unix(body.next_update?)?))
        });
        Self { url, says }
    }
}

/// What is published of certificates' status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// CRLs.
    pub crls: Vec<Crl>,
    /// URL of the OCSP responder.
    pub ocsp: Option<String>,
    /// URL of the issuing CA's certificate.
    pub issuers: Option<String>,
}

/// Everything the trust page says.
#[derive(Clone, Debug)]
pub struct Trust<'a> {
    /// Name of the CA.
    pub name: &'a str,
    /// Whether it may not be relied upon.
    pub rehearsal: bool,
    /// Its certificates, roots among them.
    pub authorities: &'a [Authority],
    /// Where status is found.
    pub lists: Lists,
    /// Its ledger, when it has one.
    pub ledger: Option<LedgerHead>,
    /// When the newest entry of the ledger was recorded, unix seconds.
    pub newest: Option<i64>,
    /// Where this page and the files beside it are found: `http://HOST`, without a slash at its end.
    pub base: Option<String>,
    /// Whether certificates can be looked up where the page is served.
    pub lookup: bool,
    /// When it was written, unix seconds.
    pub at: i64,
}

impl Trust<'_> {
    /// `roots.pem`: what a relying party trusts.
    #[must_use]
    pub fn roots_pem(&self) -> String {
        self.authorities
            .iter()
            .filter(|one| one.root)
            .map(Authority::pem)
            .collect()
    }

    /// `chain.pem`: the CAs between them and the certificates of devices.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.authorities
            .iter()
            .filter(|one| !one.root)
            .map(Authority::pem)
            .collect()
    }
}
