//! An issuing CA in a software key, and certificates of it that say which CRL speaks for them.

use der::{Decode as _, Encode as _};
use issuance::{CaKey, Issuer, IssuerUrls, KeyError, Serial, SignatureAlgorithm, ToSign};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Builder, X509Extension, X509Name, X509NameBuilder};

/// A root that issues by itself.
pub struct IssuingCa {
    key: PKey<Private>,
    spki: Vec<u8>,
    certificate: X509,
    name: X509Name,
    not_before: i64,
}

impl IssuingCa {
    /// One that is valid from `not_before` (unix seconds) for thirty years.
    ///
    /// # Panics
    /// When OpenSSL fails.
    #[must_use]
    pub fn new(common_name: &str, not_before: i64) -> Self {
        let make = || -> Result<Self, openssl::error::ErrorStack> {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
            let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
            let mut name = X509NameBuilder::new()?;
            name.append_entry_by_text("CN", common_name)?;
            let name = name.build();
            let mut builder = frame(&name, &name, &[0x41; 16], not_before, not_before + 946_080_000)?;
            builder.set_pubkey(&key)?;
            builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
            builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
            let key_id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
            builder.append_extension(key_id)?;
            builder.sign(&key, MessageDigest::sha256())?;
            Ok(Self {
                spki: key.public_key_to_der()?,
                certificate: builder.build(),
                key,
                name,
                not_before,
            })
        };
        make().expect("a CA")
    }

    /// It, as CRLs know it.
    ///
    /// # Panics
    /// When the URLs are none.
    #[must_use]
    pub fn issuer(&self, urls: IssuerUrls) -> Issuer {
        let der = self.certificate.to_der().expect("DER");
        Issuer::from_chain(&[der], SignatureAlgorithm::EcdsaP256Sha256, urls).expect("an issuer")
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &X509 {
        &self.certificate
    }

    /// The TBSCertificate of a certificate below it, and the whole.
    ///
    /// # Panics
    /// When OpenSSL fails.
    #[must_use]
    pub fn issue(&self, serial: Serial, crl_url: Option<&str>, not_after: i64) -> (Vec<u8>, Vec<u8>) {
        let make = || -> Result<Vec<u8>, openssl::error::ErrorStack> {
            let mut name = X509NameBuilder::new()?;
            name.append_entry_by_text("CN", "device")?;
            let name = name.build();
            let mut builder = frame(&name, &self.name, serial.octets(), self.not_before, not_after)?;
            builder.set_pubkey(&self.key)?;
            if let Some(url) = crl_url {
                #[expect(deprecated, reason = "the builder has no other way to a distribution point")]
                let point = X509Extension::new_nid(
                    None,
                    Some(&builder.x509v3_context(Some(&self.certificate), None)),
                    Nid::CRL_DISTRIBUTION_POINTS,
                    &format!("URI:{url}"),
                )?;
                builder.append_extension(point)?;
            }
            builder.sign(&self.key, MessageDigest::sha256())?;
            builder.build().to_der()
        };
        let whole = make().expect("a certificate");
        let read = x509_cert::Certificate::from_der(&whole).expect("a certificate");
        (read.tbs_certificate().to_der().expect("DER"), whole)
    }
}

fn frame(
    subject: &X509Name,
    issuer: &X509Name,
    serial: &[u8],
    not_before: i64,
    not_after: i64,
) -> Result<X509Builder, openssl::error::ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let serial = BigNum::from_slice(serial)?.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    let not_before = Asn1Time::from_unix(not_before)?;
    let not_after = Asn1Time::from_unix(not_after)?;
    builder.set_not_before(&not_before)?;
    builder.set_not_after(&not_after)?;
    Ok(builder)
}

impl CaKey for IssuingCa {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::EcdsaP256Sha256
    }
    fn spki(&self) -> &[u8] {
        &self.spki
    }
    fn sign(&self, what: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
        Signer::new(MessageDigest::sha256(), &self.key)
            .and_then(|mut signer| signer.sign_oneshot_to_vec(what.bytes()))
            .map_err(|e| KeyError::Unknown(e.to_string()))
    }
}
