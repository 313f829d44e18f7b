//! A CA certificate as the trust page shows it: read once, then drawn many times.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::x509::{X509, X509NameRef};

/// Not a certificate that can be shown.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a CA certificate cannot be read: {0}")]
pub struct AuthorityError(String);

impl From<ErrorStack> for AuthorityError {
    fn from(error: ErrorStack) -> Self {
        Self(error.to_string())
    }
}

/// A CA certificate. It is shown, not judged: whoever makes the page says which ones are his.
#[derive(Clone, Debug)]
pub struct Authority {
    pub(crate) subject: String,
    pub(crate) root: bool,
    pub(crate) key: String,
    pub(crate) serial: String,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    /// Its fingerprint.
    pub sha256: [u8; 32],
    pub(crate) words: Vec<&'static str>,
    pub(crate) qr: Option<(usize, String)>,
    /// URLs of the CRLs that list it.
    pub crls: Vec<String>,
    pub(crate) issuers: Vec<String>,
    pub(crate) pem: String,
}

impl Authority {
    /// Read one, DER.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn read(der: &[u8]) -> Result<Self, AuthorityError> {
        let x509 = X509::from_der(der)?;
        let key = x509.public_key()?;
        let sha256: [u8; 32] = x509
            .digest(MessageDigest::sha256())?
            .as_ref()
            .try_into()
            .map_err(|_| AuthorityError("its digest is no SHA-256".to_owned()))?;
        let root = x509.subject_name().try_cmp(x509.issuer_name())?.is_eq() && x509.verify(&key)?;
        let crls = x509.crl_distribution_points().map(|points| {
            let names = points.iter().filter_map(|point| point.distpoint()?.fullname());
            names
                .flatten()
                .filter_map(|name| name.uri().map(str::to_owned))
                .collect()
        });
        let issuers = x509.authority_info().map(|all| {
            let issuers = all.iter().filter(|one| one.method().nid() == Nid::AD_CA_ISSUERS);
            issuers
                .filter_map(|one| one.location().uri().map(str::to_owned))
                .collect()
        });
        Ok(Self {
            subject: name(x509.subject_name()),
            root,
            key: of_key(&key),
            serial: hex::encode(x509.serial_number().to_bn()?.to_vec()),
            not_before: unix(x509.not_before())?,
            not_after: unix(x509.not_after())?,
            words: display::words(&sha256),
            qr: display::qr_path(&hex::encode(sha256)),
            sha256,
            crls: crls.unwrap_or_default(),
            issuers: issuers.unwrap_or_default(),
            pem: pem(der),
        })
    }

    /// Whether it has signed itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// The certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for (place, letter) in text.chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            out.push('\n');
        }
        out.push(letter);
    }
    out.push_str("\n-----END CERTIFICATE-----\n");
    out
}

/// The most specific part last in the certificate comes last here, too.
fn name(name: &X509NameRef) -> String {
    let parts = name.entries().map(|entry| {
        let kind = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string().unwrap_or_else(|_| "?".to_owned());
        format!("{kind}={value}")
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn of_key(key: &PKey<Public>) -> String {
    let curve = || key.ec_key().ok()?.group().curve_name();
    match (key.id(), curve()) {
        (Id::EC, Some(Nid::X9_62_PRIME256V1)) => "ECDSA on P-256".to_owned(),
        (Id::EC, Some(Nid::SECP384R1)) => "ECDSA on P-384".to_owned(),
        (Id::EC, Some(Nid::SECP521R1)) => "ECDSA on P-521".to_owned(),
        (Id::RSA, _) => format!("RSA, {} bits", key.bits()),
        (Id::ED25519, _) => "Ed25519".to_owned(),
        _ => format!("{} bits", key.bits()),
    }
}

fn unix(time: &Asn1TimeRef) -> Result<i64, AuthorityError> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * 86_400 + i64::from(since.secs))
}
